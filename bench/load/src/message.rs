//! Messages as two peers of a benchmark read them: only what they check or send back.

#![forbid(unsafe_code)]

/// What the start line says.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Start<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Response { status: u16 },
}

/// A message in parts; the header values are without the white space around them.
#[derive(Debug)]
pub struct Message<'a> {
    pub start: Start<'a>,
    pub via: Vec<&'a [u8]>,
    pub record_route: Vec<&'a [u8]>,
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub call_id: &'a [u8],
    pub cseq: &'a [u8],
    pub contact: &'a [u8],
}

/// Take a message apart; None for what is not SIP, or lacks a header that every message has.
pub fn parse(data: &[u8]) -> Option<Message<'_>> {
    let mut lines = Lines(data);
    let mut message = Message {
        start: start_line(lines.next()?)?,
        via: Vec::with_capacity(2),
        record_route: Vec::new(),
        from: b"",
        to: b"",
        call_id: b"",
        cseq: b"",
        contact: b"",
    };
    for line in lines {
        if line.is_empty() {
            let whole = !message.via.is_empty()
                && ![message.from, message.to, message.call_id, message.cseq].contains(&&b""[..]);
            return whole.then_some(message);
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line[colon + 1..].trim_ascii();
        match &*line[..colon].trim_ascii_end().to_ascii_lowercase() {
            b"via" | b"v" => message.via.push(value),
            b"record-route" => message.record_route.push(value),
            b"from" | b"f" => message.from = value,
            b"to" | b"t" => message.to = value,
            b"call-id" | b"i" => message.call_id = value,
            b"cseq" => message.cseq = value,
            b"contact" | b"m" => message.contact = value,
            _ => {}
        }
    }
    None
}

struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 2..];
        Some(line)
    }
}

fn start_line(line: &[u8]) -> Option<Start<'_>> {
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let status = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
        return Some(Start::Response { status });
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (method, uri, version) = (words.next()?, words.next()?, words.next()?);
    (version == b"SIP/2.0").then_some(Start::Request { method, uri })
}

/// The value of a parameter that stands outside the angle brackets: `;tag=` of From and To, `;branch=` of Via.
pub fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let outside = value
        .iter()
        .rposition(|byte| *byte == b'>')
        .map_or(value, |end| &value[end + 1..]);
    outside
        .split(|byte| *byte == b';')
        .skip(1)
        .find_map(|each| {
            let rest = each.trim_ascii().strip_prefix(name)?;
            rest.strip_prefix(b"=")
        })
}

/// The URI of a Contact.
pub fn uri(contact: &[u8]) -> &[u8] {
    match contact.iter().position(|byte| *byte == b'<') {
        Some(open) => {
            let inside = &contact[open + 1..];
            let close = inside.iter().position(|byte| *byte == b'>');
            &inside[..close.unwrap_or(inside.len())]
        }
        None => contact.split(|byte| *byte == b';').next().unwrap_or(b""),
    }
}

/// The number of a call, the last eight digits of the user part of its URIs.
pub fn number(uri: &[u8]) -> Option<usize> {
    let user = uri.split(|byte| *byte == b'@').next()?;
    let digits = user.get(user.len().checked_sub(8)?..)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A caller's route set: the Record-Route of the answer, last first (RFC 3261 12.1.2).
pub fn route_set(record_route: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut routes: Vec<Vec<u8>> = record_route
        .iter()
        .flat_map(|value| value.split_inclusive(|byte| *byte == b'>'))
        .map(|route| {
            let open = route.iter().position(|byte| *byte == b'<');
            route[open.unwrap_or(route.len())..].to_vec()
        })
        .filter(|route| !route.is_empty())
        .collect();
    routes.reverse();
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGING: &[u8] =
        b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport\r\n\
        v:SIP/2.0/UDP 127.0.0.2\r\nFrom: \"A;tag=x\" <sip:a;tag=y@b>;tag=z\r\nTo: <sip:b>\r\n\
        Call-ID : 7\r\nCSeq: 1 INVITE\r\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\r\n\
        Record-Route: <sip:p3;lr>\r\nm: <sip:+49302100000042@127.0.0.1:5>;q=1\r\n\r\n";

    #[test]
    fn a_response_comes_apart() {
        let message = parse(RINGING).unwrap();
        assert_eq!(message.start, Start::Response { status: 180 });
        assert_eq!(message.via.len(), 2);
        assert_eq!(parameter(message.via[0], b"branch"), Some(&b"z9hG4bK1"[..]));
        assert_eq!(parameter(message.from, b"tag"), Some(&b"z"[..]));
        assert_eq!(parameter(message.to, b"tag"), None);
        assert_eq!(
            (message.call_id, message.cseq),
            (&b"7"[..], &b"1 INVITE"[..])
        );
        assert_eq!(number(uri(message.contact)), Some(42));
    }

    #[test]
    fn the_route_set_is_the_record_route_last_first() {
        let message = parse(RINGING).unwrap();
        let routes = route_set(&message.record_route);
        assert_eq!(
            routes,
            [&b"<sip:p3;lr>"[..], b"<sip:p2;lr>", b"<sip:p1;lr>"]
        );
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for end in 0..RINGING.len() {
            assert!(parse(&RINGING[..end]).is_none());
        }
        assert!(parse(b"SIP/2.0 180 Ringing\r\n\r\n").is_none());
        assert!(parse(b"BYE sip:b SIP/1.0\r\n\r\n").is_none());
        assert!(number(b"sip:ab@c").is_none() && number(b"sip").is_none());
    }

    #[test]
    fn a_contact_may_stand_without_brackets() {
        assert_eq!(uri(b"sip:a@b;q=1"), b"sip:a@b");
        assert_eq!(uri(b"\"A\" <sip:a@b;x>;q=1"), b"sip:a@b;x");
    }
}
