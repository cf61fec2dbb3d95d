//! Finds the parts of an ordinary message. What `scan` does not take is not wrong, only not ordinary.
//!
//! The limits and the white space are those of `gateway/sip/message.py`.

#![forbid(unsafe_code)]

use std::ops::Range;

use memchr::{memchr, memchr2};

const MAX_HEADERS: usize = 256;
const MAX_LINE: usize = 8_192;

/// What the start line says; the ranges point into the message.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    Request {
        method: Range<usize>,
        uri: Range<usize>,
    },
    Response {
        status: u16,
        phrase: Range<usize>,
    },
}

/// One header line, as offsets into the message: where it begins, its colon, its value without the white space
/// around it, where it ends. `id` is what the scan was told of its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    start: u32,
    colon: u32,
    value: u32,
    value_end: u32,
    end: u32,
    pub id: u8,
}

impl Field {
    /// Return it as the field of another message, in which its line begins at `start`.
    pub fn moved(&self, start: usize) -> Self {
        let at = |offset: u32| offset - self.start + start as u32;
        Self {
            start: start as u32,
            colon: at(self.colon),
            value: at(self.value),
            value_end: at(self.value_end),
            end: at(self.end),
            id: self.id,
        }
    }

    pub fn name(&self) -> Range<usize> {
        self.start as usize..self.colon as usize
    }

    pub fn line(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub fn value(&self) -> Range<usize> {
        self.value as usize..self.value_end as usize
    }
}

/// A message in parts. `body` is where the body starts; Content-Length has not been looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Plain {
    pub start: Start,
    pub fields: Vec<Field>,
    pub body: usize,
}

/// Take an ordinary message apart: CRLF line ends only, no folded lines, every name a token, no limit passed.
/// `id_of` numbers the names; it gives u8::MAX for what may be no token.
pub fn scan(data: &[u8], id_of: impl Fn(&[u8]) -> u8) -> Option<Plain> {
    u32::try_from(data.len()).ok()?;
    let first = line_end(data, 0, 0)?;
    let start = start_line(&data[..first])?;
    let mut fields = Vec::with_capacity(16);
    let mut at = first + 2;
    loop {
        if data.get(at) == Some(&b'\r') {
            return (data.get(at + 1) == Some(&b'\n')).then_some(Plain {
                start,
                fields,
                body: at + 2,
            });
        }
        if fields.len() == MAX_HEADERS {
            return None;
        }
        let field = field(data, at, &id_of)?;
        at = field.end as usize + 2;
        fields.push(field);
    }
}

/// Return where the line that begins at `start` ends, if it ends in CRLF and is not too long; no line end stands
/// before `from`.
fn line_end(data: &[u8], start: usize, from: usize) -> Option<usize> {
    let end = from + memchr2(b'\r', b'\n', data.get(from..)?)?;
    (data[end] == b'\r' && data.get(end + 1) == Some(&b'\n') && end - start <= MAX_LINE)
        .then_some(end)
}

fn start_line(line: &[u8]) -> Option<Start> {
    if line.starts_with(b"SIP/2.0 ") {
        let digits = line.get(8..11)?;
        if !digits.iter().all(u8::is_ascii_digit) || line.len() > 11 && line[11] != b' ' {
            return None;
        }
        let status = digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        let phrase = line.len().min(12)..line.len();
        return (100..700)
            .contains(&status)
            .then_some(Start::Response { status, phrase });
    }
    let method = memchr(b' ', line)?;
    let uri = method + 1 + memchr(b' ', &line[method + 1..])?;
    (&line[uri + 1..] == b"SIP/2.0" && uri > method + 1 && is_token(&line[..method])).then_some(
        Start::Request {
            method: 0..method,
            uri: method + 1..uri,
        },
    )
}

pub fn field(data: &[u8], start: usize, id_of: impl Fn(&[u8]) -> u8) -> Option<Field> {
    let colon = start + data[start..].iter().position(|byte| *byte == b':')?;
    let id = id_of(&data[start..colon]);
    if id == u8::MAX && !is_token(&data[start..colon]) {
        return None;
    }
    let end = line_end(data, start, colon + 1)?;
    let mut value = colon + 1;
    while value < end && is_space(data[value]) {
        value += 1;
    }
    let mut value_end = end;
    while value_end > value && is_space(data[value_end - 1]) {
        value_end -= 1;
    }
    Some(Field {
        start: start as u32,
        colon: colon as u32,
        value: value as u32,
        value_end: value_end as u32,
        end: end as u32,
        id,
    })
}

/// What `bytes.strip` of Python takes off.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// RFC 3261 25.1.
fn is_token(text: &[u8]) -> bool {
    const fn table() -> [bool; 256] {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"-.!%*_+`'~";
        let mut at = 0;
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    }
    static IN_TOKEN: [bool; 256] = table();
    !text.is_empty() && text.iter().all(|byte| IN_TOKEN[usize::from(*byte)])
}

/// Return the end of the body by the one Content-Length, or None where that is not a plain number that fits.
pub fn body_end(data: &[u8], body: usize, content_length: &[u8]) -> Option<usize> {
    if content_length.is_empty() || content_length.len() > 10 {
        return None;
    }
    let mut length: usize = 0;
    for byte in content_length {
        if !byte.is_ascii_digit() {
            return None;
        }
        length = length
            .checked_mul(10)?
            .checked_add(usize::from(byte - b'0'))?;
    }
    let end = body.checked_add(length)?;
    (end <= data.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_apart() {
        let data = b"BYE sip:a SIP/2.0\r\nVia:  x \r\nl: 2\r\n\r\nhello";
        let plain = scan(data, |_| u8::MAX).unwrap();
        assert_eq!(
            plain.start,
            Start::Request {
                method: 0..3,
                uri: 4..9
            }
        );
        let values: Vec<&[u8]> = plain
            .fields
            .iter()
            .map(|field| &data[field.value()])
            .collect();
        assert_eq!(values, [b"x".as_slice(), b"2"]);
        assert_eq!(body_end(data, plain.body, b"2"), Some(plain.body + 2));
        assert_eq!(body_end(data, plain.body, b"6"), None);
    }

    #[test]
    fn a_response_comes_apart() {
        let data = b"SIP/2.0 603 Not\xff now\r\n\r\n";
        let plain = scan(data, |_| u8::MAX).unwrap();
        assert_eq!(
            plain.start,
            Start::Response {
                status: 603,
                phrase: 12..20
            }
        );
        assert_eq!(
            scan(b"SIP/2.0 200\r\n\r\n", |_| u8::MAX).unwrap().start,
            Start::Response {
                status: 200,
                phrase: 11..11
            }
        );
    }

    #[test]
    fn what_is_odd_is_left() {
        let odd: [&[u8]; 13] = [
            b"",
            b"\r\n\r\n",
            b"BYE sip:a SIP/2.0",
            b"BYE sip:a SIP/2.0\r\n",
            b"BYE sip:a SIP/2.0\n\n",
            b"BYE sip:a SIP/2.0\r\nVia: x\n\r\n\r\n",
            b"BYE sip:a SIP/2.0\r\nVia: x\r\n folded\r\n\r\n",
            b"BYE sip:a SIP/2.0\r\nVia : x\r\n\r\n",
            b"BYE sip:a SIP/2.0\r\nVia\r\n\r\n",
            b"BYE  sip:a SIP/2.0\r\n\r\n",
            b"BYE sip:a sip/2.0\r\n\r\n",
            b"sip/2.0 200 OK\r\n\r\n",
            b"SIP/2.0 700 OK\r\n\r\n",
        ];
        for data in odd {
            assert_eq!(
                scan(data, |_| u8::MAX),
                None,
                "{:?}",
                String::from_utf8_lossy(data)
            );
        }
    }

    #[test]
    fn every_end_of_a_message_is_met() {
        let data = b"INVITE sip:a SIP/2.0\r\nVia: x\r\nContent-Length: 0\r\n\r\n";
        for end in 0..data.len() {
            assert_eq!(scan(&data[..end], |_| u8::MAX), None);
        }
        assert!(scan(data, |_| u8::MAX).is_some());
    }
}
