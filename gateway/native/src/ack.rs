//! The transaction of an ACK, read off its first two lines.

#![forbid(unsafe_code)]

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

const COOKIE: &[u8] = b"z9hG4bK";

/// Return the key of the INVITE's transaction that an ACK belongs to, None where its topmost Via is not of the
/// usual form.
#[pyfunction]
pub fn ack_key<'py>(py: Python<'py>, data: &[u8]) -> Option<Bound<'py, PyBytes>> {
    let (sent_by, branch) = topmost_via(data)?;
    let mut key = Vec::with_capacity(sent_by.len() + branch.len() + 8);
    key.extend_from_slice(&data[branch]);
    key.push(b' ');
    key.extend_from_slice(&data[sent_by]);
    key.extend_from_slice(b" INVITE");
    Some(PyBytes::new(py, &key))
}

/// Return where sent-by and branch of an ACK's topmost Via stand, if that is the second line.
pub fn topmost_via(data: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let uri = after(data, 0, b"ACK ")?;
    let end = run(data, uri, |byte| !matches!(byte, b' ' | 9..=13));
    let host = after(data, end, b" SIP/2.0\r\nVia: SIP/2.0/UDP ").filter(|_| end > uri)?;
    let colon = if data.get(host) == Some(&b'[') {
        let end = run(data, host + 1, |byte| {
            byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
        });
        after(data, end, b"]").filter(|_| end > host + 1)?
    } else {
        run(data, host, is_word)
    };
    let port = after(data, colon, b":").filter(|_| colon > host)?;
    let end = run(data, port, |byte| byte.is_ascii_digit());
    if !(1..=5).contains(&(end - port)) || data[port] == b'0' {
        return None;
    }
    let branch = after(data, end, b";branch=")?;
    let token = after(data, branch, COOKIE)?;
    let close = run(data, token, is_word);
    let is_whole = close > token && matches!(data.get(close), Some(b';' | b',' | b'\r'));
    is_whole.then_some((host..end, branch..close))
}

/// Return the position behind `text` if that stands at `at`.
fn after(data: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    data.get(at..)?.starts_with(text).then_some(at + text.len())
}

/// Return where the bytes that are like this end, from `at` on.
fn run(data: &[u8], at: usize, is_like: impl Fn(u8) -> bool) -> usize {
    let rest = &data[at.min(data.len())..];
    at + rest.iter().take_while(|byte| is_like(**byte)).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::topmost_via;

    fn read(data: &[u8]) -> Option<(&[u8], &[u8])> {
        topmost_via(data).map(|(sent_by, branch)| (&data[sent_by], &data[branch]))
    }

    #[test]
    fn the_usual_form_is_read() {
        let ack = b"ACK sip:a SIP/2.0\r\nVia: SIP/2.0/UDP [::1]:5060;branch=z9hG4bK-1;rport\r\n";
        assert_eq!(read(ack), Some((&b"[::1]:5060"[..], &b"z9hG4bK-1"[..])));
    }

    #[test]
    fn whatever_ends_early_is_not() {
        let ack = b"ACK sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a.b:5060;branch=z9hG4bK1,";
        assert!(read(ack).is_some());
        for end in 0..ack.len() {
            assert_eq!(read(&ack[..end]), None);
        }
    }
}
