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

/// One header line: its name, the whole line, and the value without the white space around it.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Range<usize>,
    pub line: Range<usize>,
    pub value: Range<usize>,
}

/// A message in parts. `body` is where the body starts; Content-Length has not been looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Plain {
    pub start: Start,
    pub fields: Vec<Field>,
    pub body: usize,
}

/// Take an ordinary message apart: CRLF line ends only, no folded lines, every name a token, no limit passed.
pub fn scan(data: &[u8]) -> Option<Plain> {
    let first = line_end(data, 0)?;
    let start = start_line(&data[..first])?;
    let mut fields = Vec::with_capacity(16);
    let mut at = first + 2;
    loop {
        let end = line_end(data, at)?;
        if end == at {
            return Some(Plain {
                start,
                fields,
                body: at + 2,
            });
        }
        if fields.len() == MAX_HEADERS {
            return None;
        }
        fields.push(field(data, at..end)?);
        at = end + 2;
    }
}

/// Return where the line that begins at `from` ends, if it ends in CRLF and is not too long.
fn line_end(data: &[u8], from: usize) -> Option<usize> {
    let end = from + memchr2(b'\r', b'\n', data.get(from..)?)?;
    (data[end] == b'\r' && data.get(end + 1) == Some(&b'\n') && end - from <= MAX_LINE)
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

fn field(data: &[u8], line: Range<usize>) -> Option<Field> {
    let colon = line.start + memchr(b':', &data[line.clone()])?;
    let name = line.start..colon;
    if !is_token(&data[name.clone()]) {
        return None;
    }
    let mut value = colon + 1..line.end;
    while value.start < value.end && is_space(data[value.start]) {
        value.start += 1;
    }
    while value.end > value.start && is_space(data[value.end - 1]) {
        value.end -= 1;
    }
    Some(Field { name, line, value })
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
        let plain = scan(data).unwrap();
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
            .map(|field| &data[field.value.clone()])
            .collect();
        assert_eq!(values, [b"x".as_slice(), b"2"]);
        assert_eq!(body_end(data, plain.body, b"2"), Some(plain.body + 2));
        assert_eq!(body_end(data, plain.body, b"6"), None);
    }

    #[test]
    fn a_response_comes_apart() {
        let data = b"SIP/2.0 603 Not\xff now\r\n\r\n";
        let plain = scan(data).unwrap();
        assert_eq!(
            plain.start,
            Start::Response {
                status: 603,
                phrase: 12..20
            }
        );
        assert_eq!(
            scan(b"SIP/2.0 200\r\n\r\n").unwrap().start,
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
            assert_eq!(scan(data), None, "{:?}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn every_end_of_a_message_is_met() {
        let data = b"INVITE sip:a SIP/2.0\r\nVia: x\r\nContent-Length: 0\r\n\r\n";
        for end in 0..data.len() {
            assert_eq!(scan(&data[..end]), None);
        }
        assert!(scan(data).is_some());
    }
}
