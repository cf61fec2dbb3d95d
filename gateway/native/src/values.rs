//! Takes the values of the headers that every request has apart, where they are of the usual form.
//!
//! Each function is the first, quick expression of its namesake in `gateway/sip/headers.py` and `uri.py`: what it
//! does not take is not wrong, only left to the full grammar there. Ranges point into the value.

#![forbid(unsafe_code)]

use std::ops::Range;

use memchr::{memchr, memchr2};

/// A Via: `SIP/2.0/UDP host:port;branch=z9hG4bK1;rport`, with `received` and a number behind `rport` at will.
#[derive(Debug, PartialEq, Eq)]
pub struct Via {
    pub transport: Range<usize>,
    pub host: Range<usize>,
    pub port: u32,
    pub branch: Range<usize>,
    pub rport: bool,
    pub params: Range<usize>,
}

/// A name-addr: `"Display" <uri>;tag=1`.
#[derive(Debug, PartialEq, Eq)]
pub struct NameAddr {
    pub display: Range<usize>,
    pub uri: Range<usize>,
    pub tag: Option<Range<usize>>,
}

/// A sip or sips URI of a host that is no IPv6 reference, without headers.
#[derive(Debug, PartialEq, Eq)]
pub struct Uri {
    pub scheme: Range<usize>,
    pub user: Range<usize>,
    pub host: Range<usize>,
    pub port: u32,
    pub params: Range<usize>,
}

const MARK: u8 = 1;
const BRACKETS: u8 = 2;
/// What each byte may be part of.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') {
            kinds[at] |= MARK;
        }
        // No control characters, no white space, and not what ends a URI.
        if !matches!(byte, 0..=b' ' | 0x7f | b'<' | b'>' | b'"') {
            kinds[at] |= BRACKETS;
        }
        at += 1;
    }
    kinds
}

/// `[\w.\-]`.
fn in_mark(byte: u8) -> bool {
    KINDS[usize::from(byte)] & MARK != 0
}

/// What may stand in the brackets of a name-addr.
fn in_brackets(byte: u8) -> bool {
    KINDS[usize::from(byte)] & BRACKETS != 0
}

/// Return where the run of bytes that begins at `from` and is made of these ends.
fn run(text: &[u8], from: usize, of: impl Fn(u8) -> bool) -> usize {
    from + text[from..].iter().take_while(|byte| of(**byte)).count()
}

/// Read up to five digits from `from`; return the port and where it ends. None where there is none.
fn port(text: &[u8], from: usize) -> Option<(u32, usize)> {
    let end = run(text, from, |byte| byte.is_ascii_digit());
    let port = decimal(&text[from..end], 5)?;
    (port <= 65_535).then_some((port, end))
}

/// Read a number of at most so many digits, nine of them at most.
fn decimal(digits: &[u8], most: usize) -> Option<u32> {
    let usual = (1..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    usual.then(|| {
        digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    })
}

pub fn via(value: &[u8]) -> Option<Via> {
    if !value.starts_with(b"SIP/2.0/") {
        return None;
    }
    let transport = 8..run(value, 8, |byte| byte.is_ascii_uppercase());
    if transport.is_empty() || value.get(transport.end) != Some(&b' ') {
        return None;
    }
    let start = transport.end + 1;
    let host = start..host_end(value, start)?;
    let (port, end) = match value.get(host.end) {
        Some(b':') => port(value, host.end + 1)?,
        _ => (0, host.end),
    };
    let mut branch = None;
    let mut rport = false;
    let mut at = end;
    while at < value.len() {
        if value[at] != b';' {
            return None;
        }
        let start = at + 1;
        at = memchr(b';', &value[start..]).map_or(value.len(), |next| start + next);
        let param = &value[start..at];
        if param == b"rport" {
            rport = true;
        } else if let Some(digits) = param.strip_prefix(b"rport=") {
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            rport = true;
        } else if let Some(address) = param.strip_prefix(b"received=") {
            if address.is_empty() || !address.iter().all(|byte| in_address(*byte)) {
                return None;
            }
        } else if let Some(mark) = param.strip_prefix(b"branch=") {
            if branch.is_some() || mark.is_empty() || !mark.iter().all(|byte| in_mark(*byte)) {
                return None;
            }
            branch = Some(at - mark.len()..at);
        } else {
            return None;
        }
    }
    Some(Via {
        transport,
        host,
        port,
        branch: branch?,
        rport,
        params: end..value.len(),
    })
}

fn in_address(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'[' | b']')
}

/// A host name, an IPv4 address, or an IPv6 reference.
fn host_end(value: &[u8], from: usize) -> Option<usize> {
    let end = if value.get(from) == Some(&b'[') {
        let inner = run(value, from + 1, |byte| {
            byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
        });
        if inner == from + 1 || value.get(inner) != Some(&b']') {
            return None;
        }
        inner + 1
    } else {
        run(value, from, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
        })
    };
    (end > from).then_some(end)
}

/// The branch of a Via where it is the first parameter, which is where we put it.
pub fn branch(value: &[u8]) -> Option<Range<usize>> {
    let semicolon = memchr2(b',', b';', value)?;
    let start = semicolon + 8;
    if value.get(semicolon..start)? != b";branch=" {
        return None;
    }
    let end = run(value, start, in_mark);
    let whole = value.get(end).map_or(true, |next| *next == b';');
    (end > start && whole).then_some(start..end)
}

pub fn name_addr(value: &[u8]) -> Option<NameAddr> {
    let (display_end, open) = match value.first()? {
        b'"' => {
            let close = 1 + memchr(b'"', &value[1..])?;
            if value[1..close]
                .iter()
                .any(|byte| matches!(byte, b'\\' | b'<' | b'>'))
            {
                return None;
            }
            let open = close + 1 + usize::from(value.get(close + 1) == Some(&b' '));
            (close + 1, open)
        }
        _ => {
            let open = run(value, 0, |byte| in_mark(byte) || byte == b' ');
            let display = value[..open].iter().rposition(|byte| *byte != b' ');
            (display.map_or(0, |last| last + 1), open)
        }
    };
    if value.get(open) != Some(&b'<') {
        return None;
    }
    let uri = open + 1..run(value, open + 1, in_brackets);
    if uri.is_empty() || value.get(uri.end) != Some(&b'>') {
        return None;
    }
    let rest = &value[uri.end + 1..];
    let tag = if rest.is_empty() {
        None
    } else {
        let tag = rest.strip_prefix(b";tag=")?;
        if tag.is_empty() || !tag.iter().all(|byte| in_mark(*byte)) {
            return None;
        }
        Some(value.len() - tag.len()..value.len())
    };
    Some(NameAddr {
        display: 0..display_end,
        uri,
        tag,
    })
}

pub fn uri(text: &[u8]) -> Option<Uri> {
    let scheme = if text.starts_with(b"sip:") {
        0..3
    } else if text.starts_with(b"sips:") {
        0..4
    } else {
        return None;
    };
    let start = scheme.end + 1;
    let user = match memchr(b'@', &text[start..]) {
        Some(0) => return None,
        Some(length) => start..start + length,
        None => start..start,
    };
    if !text[user.clone()].iter().all(|byte| in_brackets(*byte)) {
        return None;
    }
    let begin = if user.is_empty() { start } else { user.end + 1 };
    let host = begin..run(text, begin, in_mark);
    if host.is_empty() {
        return None;
    }
    let (port, end) = match text.get(host.end) {
        Some(b':') => port(text, host.end + 1)?,
        _ => (0, host.end),
    };
    let usual = match text.get(end) {
        None => true,
        Some(b';') => text[end..]
            .iter()
            .all(|byte| in_brackets(*byte) && *byte != b'?'),
        Some(_) => false,
    };
    usual.then_some(Uri {
        scheme,
        user,
        host,
        port,
        params: end..text.len(),
    })
}

/// Sequence number and where the method starts.
pub fn cseq(value: &[u8]) -> Option<(u32, usize)> {
    let space = memchr(b' ', value)?;
    let number = decimal(&value[..space], 9)?;
    let method = &value[space + 1..];
    (!method.is_empty() && method.iter().all(u8::is_ascii_alphabetic))
        .then_some((number, space + 1))
}

/// Max-Forwards: 0 to 255, without zeros before it.
pub fn hops(value: &[u8]) -> Option<u32> {
    let usual = value.len() == 1 || value.first() != Some(&b'0');
    decimal(value, 3).filter(|hops| usual && *hops <= 255)
}

/// Whether this is one Contact with a SIP URI and no parameters of its own.
pub fn is_plain_contact(value: &[u8]) -> bool {
    let inner = match name_addr(value) {
        Some(address) => &value[address.uri],
        None => value,
    };
    let bare = |byte: &u8| in_brackets(*byte) && !matches!(byte, b',' | b';' | b'?');
    (inner.len() < value.len() || inner.iter().all(bare)) && uri(inner).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_comes_apart() {
        let value = b"SIP/2.0/UDP 192.0.2.1:5070;rport=7;branch=z9hG4bK-1;received=192.0.2.9";
        let read = via(value).unwrap();
        assert_eq!(&value[read.transport], b"UDP");
        assert_eq!(&value[read.host], b"192.0.2.1");
        assert_eq!((read.port, read.rport), (5070, true));
        assert_eq!(&value[read.branch], b"z9hG4bK-1");
        assert_eq!(
            &value[read.params.start..read.params.start + 8],
            b";rport=7"
        );
        assert_eq!(via(b"SIP/2.0/TCP [2001:db8::1];branch=a").unwrap().port, 0);
    }

    #[test]
    fn an_odd_via_is_left() {
        let odd: [&[u8]; 14] = [
            b"",
            b"SIP/2.0/ a;branch=1",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/2.0/UDP a",
            b"SIP/2.0/UDP a:;branch=1",
            b"SIP/2.0/UDP a:65536;branch=1",
            b"SIP/2.0/UDP a;branch=",
            b"SIP/2.0/UDP a;branch=1;branch=2",
            b"SIP/2.0/UDP a;branch=1;ttl=1",
            b"SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b;branch=2",
            b"SIP/2.0/UDP a;branch=1;",
            b"SIP/2.0/UDP [::1;branch=1",
            b"SIP / 2.0 / UDP a;branch=1",
        ];
        for value in odd {
            assert_eq!(via(value), None, "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn our_branch_is_found_where_we_put_it() {
        assert_eq!(branch(b"SIP/2.0/UDP a;branch=1;rport"), Some(21..22));
        for value in [
            b"SIP/2.0/UDP a".as_slice(),
            b"a,b;branch=1",
            b"a;rport;branch=1",
            b"a;branch=1,",
        ] {
            assert_eq!(branch(value), None);
        }
    }

    #[test]
    fn name_addrs_come_apart() {
        let value = b"\"A b\" <sip:a@b>;tag=1.x";
        let read = name_addr(value).unwrap();
        assert_eq!(&value[read.display], b"\"A b\"");
        assert_eq!(&value[read.uri], b"sip:a@b");
        assert_eq!(&value[read.tag.unwrap()], b"1.x");
        let odd: [&[u8]; 7] = [
            b"",
            b"sip:a@b",
            b"<>",
            b"<sip:a",
            b"<sip:a b>",
            b"\"a\\\"\" <sip:a>",
            b"<sip:a>;x=1",
        ];
        for value in odd {
            assert_eq!(
                name_addr(value),
                None,
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn uris_come_apart() {
        let text = b"sips:+1-2;x=1@a.example:5061;transport=tls";
        let read = uri(text).unwrap();
        assert_eq!(&text[read.user], b"+1-2;x=1");
        assert_eq!(
            (&text[read.host], read.port),
            (b"a.example".as_slice(), 5061)
        );
        assert_eq!(&text[read.params], b";transport=tls");
        let odd: [&[u8]; 11] = [
            b"",
            b"sip:",
            b"sip:a\0b@c",
            b"sip:a;b=\x7f",
            b"SIP:a",
            b"tel:1",
            b"sip:@a",
            b"sip:a?b=c",
            b"sip:[::1]",
            b"sip:a:x",
            b"sip:a@b@c",
        ];
        for text in odd {
            assert_eq!(uri(text), None, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(cseq(b"123456789 INVITE"), Some((123_456_789, 10)));
        assert_eq!(
            (cseq(b"1234567890 INVITE"), cseq(b"1  INVITE"), cseq(b"1 ")),
            (None, None, None)
        );
        assert_eq!(
            (hops(b"0"), hops(b"255"), hops(b"256"), hops(b"070")),
            (Some(0), Some(255), None, None)
        );
    }

    #[test]
    fn a_contact_is_plain_or_left() {
        for value in [
            b"<sip:a@b;transport=udp>".as_slice(),
            b"sip:a@b:5070",
            b"A <sip:a>;tag=1",
        ] {
            assert!(
                is_plain_contact(value),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
        for value in [
            b"*".as_slice(),
            b"",
            b"sip:a@b;x=1",
            b"<sip:a>, <sip:b>",
            b"<tel:1>",
            b"<sip:a>;q=1",
        ] {
            assert!(
                !is_plain_contact(value),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
    }
}
