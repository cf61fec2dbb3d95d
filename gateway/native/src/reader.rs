//! The parts of a message as Python objects.

#![forbid(unsafe_code)]

use std::ops::Range;

use memchr::memchr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};

use crate::names::{
    Keys, CALL_ID, CONTACT, CONTENT_LENGTH, CSEQ, FROM, MAX_FORWARDS, READ, RECORD_ROUTE,
    TIMESTAMP, TO, VIA,
};
use crate::plain::{body_end, scan, Field, Start};
use crate::rows::Rows;
use crate::values;

/// Words that nearly every message says, kept as objects.
const WORDS: [&[u8]; 18] = [
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"OPTIONS",
    b"REGISTER",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"INFO",
    b"REFER",
    b"MESSAGE",
    b"UPDATE",
    b"UDP",
    b"TCP",
    b"TLS",
    b"sip",
    b"sips",
];

/// Reads ordinary messages, whose headers `keys` number.
#[pyclass(frozen, module = "gateway._native")]
pub struct Reader {
    keys: Py<Keys>,
    words: Vec<Py<PyBytes>>,
}

/// What is known of the headers that are read at once.
#[derive(Default)]
struct First {
    /// Of each number: where in the fields its first header is, counted from 1.
    at: [u16; READ],
    /// A header that may stand once stands twice, or a Record-Route or Contact is not of the usual form.
    is_odd: bool,
    has_two_vias: bool,
}

impl First {
    fn value(&self, fields: &[Field], id: u8) -> Option<Range<usize>> {
        let at = usize::from(self.at[usize::from(id)]);
        Some(fields.get(at.checked_sub(1)?)?.value())
    }
}

/// A message in parts, of which Content-Length has been looked at.
struct Parts {
    start: Start,
    fields: Vec<Field>,
    first: First,
    body: Range<usize>,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(py: Python<'_>, keys: Py<Keys>) -> Self {
        let words = WORDS.map(|word| PyBytes::new(py, word).unbind()).into();
        Self { keys, words }
    }

    /// Return of a request: method, URI, rows, body, Call-ID, whether it has one Via, number and method of
    /// CSeq, Max-Forwards; raw value, transport, host, port, branch, rport and parameters of the Via; the value
    /// without its tag, URI and tag of From, and of To; scheme, user, host, port and parameters of the URI. Of what is not
    /// of the usual form there is b"", and -1 for Max-Forwards; the URI is given where nothing is wrong with the
    /// request. None where it is not an ordinary one.
    fn read_request<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = message.py();
        let data = message.as_bytes();
        let Some(parts) = self.parts(data) else {
            return Ok(None);
        };
        let Start::Request { method, uri } = parts.start else {
            return Ok(None);
        };
        let (fields, first) = (&parts.fields, &parts.first);
        let value = |id| first.value(fields, id).map(|value| &data[value]);
        let call_id = value(CALL_ID).unwrap_or_default();
        let via_value = value(VIA).unwrap_or_default();
        let via = values::via(via_value);
        let cseq = value(CSEQ).and_then(values::cseq);
        let seq_method = match (cseq, value(CSEQ)) {
            (Some((_, at)), Some(value)) => &value[at..],
            _ => b"",
        };
        let hops = value(MAX_FORWARDS).map_or(Some(70), values::hops);
        let from = End::of(value(FROM));
        let to = End::of(value(TO));
        let sound = (!first.is_odd
            && !call_id.is_empty()
            && seq_method == &data[method.clone()]
            && via.is_some()
            && from.is_read()
            && to.is_read()
            && hops.is_some())
        .then(|| values::uri(&data[uri.clone()]))
        .flatten();

        let bytes = |part: &[u8]| PyBytes::new(py, part).into_any();
        let none = || PyBytes::new(py, b"").into_any();
        let number = |number: i64| PyInt::new(py, number).into_any();
        let seq_method = self.word(py, seq_method);
        let named = match seq_method.as_bytes() == &data[method.clone()] {
            true => seq_method.clone(),
            false => self.word(py, &data[method]),
        };
        let has_one_via = via.is_some() && !first.has_two_vias;
        let [via_raw, transport, host, port, branch, rport, params] = match via {
            Some(via) => [
                bytes(via_value),
                self.word(py, &via_value[via.transport]).into_any(),
                bytes(&via_value[via.host]),
                number(via.port.into()),
                bytes(&via_value[via.branch]),
                flag(py, via.rport),
                bytes(&via_value[via.params]),
            ],
            None => [
                none(),
                none(),
                none(),
                number(0),
                none(),
                flag(py, false),
                none(),
            ],
        };
        let raw = &data[uri.clone()];
        let [scheme, user, uri_host, uri_port, uri_params] = match sound {
            Some(uri) => [
                self.word(py, &raw[uri.scheme]).into_any(),
                bytes(&raw[uri.user]),
                bytes(&raw[uri.host]),
                number(uri.port.into()),
                bytes(&raw[uri.params]),
            ],
            None => [none(), none(), none(), number(0), none()],
        };
        let parts = [
            named.into_any(),
            bytes(raw),
            self.rows(message, parts.fields)?,
            bytes(&data[parts.body]),
            bytes(call_id),
            flag(py, has_one_via),
            number(cseq.map_or(0, |(number, _)| number.into())),
            seq_method.into_any(),
            number(hops.map_or(-1, i64::from)),
            via_raw,
            transport,
            host,
            port,
            branch,
            rport,
            params,
            bytes(from.bare),
            bytes(from.uri),
            bytes(from.tag),
            bytes(to.bare),
            bytes(to.uri),
            bytes(to.tag),
            scheme,
            user,
            uri_host,
            uri_port,
            uri_params,
        ];
        PyTuple::new(py, parts).map(Some)
    }

    /// Return of a response: status, phrase, rows, body, Call-ID, whether it has one Via, the branch of that,
    /// number and method of CSeq; and of one that may open a dialog the value without its tag, URI and tag of To. Of what is
    /// not of the usual form there is b"". None where it is not an ordinary one.
    fn read_response<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = message.py();
        let data = message.as_bytes();
        let Some(parts) = self.parts(data) else {
            return Ok(None);
        };
        let Start::Response { status, phrase } = parts.start else {
            return Ok(None);
        };
        let (fields, first) = (&parts.fields, &parts.first);
        let value = |id| first.value(fields, id).map(|value| &data[value]);
        let via = value(VIA).unwrap_or_default();
        let branch = values::branch(via).unwrap_or_default();
        let has_one_via = !first.has_two_vias && memchr(b',', via).is_none();
        let call_id = value(CALL_ID).unwrap_or_default();
        let (seq, seq_method) = match value(CSEQ).map(|value| (value, values::cseq(value))) {
            Some((value, Some((number, at)))) => (number, &value[at..]),
            _ => (0, b"".as_slice()),
        };
        let opens = 100 < status && status < 300;
        let to = End::of(value(TO).filter(|_| opens));
        let bytes = |part: &[u8]| PyBytes::new(py, part).into_any();
        let number = |number: i64| PyInt::new(py, number).into_any();
        let parts = [
            number(status.into()),
            bytes(&data[phrase]),
            self.rows(message, parts.fields)?,
            bytes(&data[parts.body]),
            bytes(call_id),
            flag(py, has_one_via),
            bytes(&via[branch]),
            number(seq.into()),
            self.word(py, seq_method).into_any(),
            bytes(to.bare),
            bytes(to.uri),
            bytes(to.tag),
        ];
        PyTuple::new(py, parts).map(Some)
    }
}

impl Reader {
    /// Take a message apart, unless Content-Length says what only the Python code can judge.
    fn parts(&self, data: &[u8]) -> Option<Parts> {
        let names = &self.keys.get().names;
        let plain = scan(data, |name| names.id(name))?;
        let mut first = First::default();
        let mut end = data.len();
        for (at, field) in plain.fields.iter().enumerate() {
            let Some(place) = first.at.get_mut(usize::from(field.id)) else {
                continue;
            };
            let repeated = *place > 0;
            if !repeated {
                *place = at as u16 + 1;
            }
            match field.id {
                VIA => first.has_two_vias |= repeated,
                CONTENT_LENGTH if repeated => return None,
                CONTENT_LENGTH => end = body_end(data, plain.body, &data[field.value()])?,
                RECORD_ROUTE => {
                    first.is_odd |= !values::is_plain_contact(&data[field.value()]);
                }
                CONTACT => {
                    first.is_odd |= repeated || !values::is_plain_contact(&data[field.value()]);
                }
                TIMESTAMP => (),
                _ => first.is_odd |= repeated,
            }
        }
        Some(Parts {
            start: plain.start,
            fields: plain.fields,
            first,
            body: plain.body..end,
        })
    }

    fn rows<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
        fields: Vec<Field>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let rows = Rows::new(message.clone().unbind(), fields, self.keys.clone_ref(py));
        Ok(Bound::new(py, rows)?.into_any())
    }

    /// Return the object that we keep of a word, or one made for it.
    fn word<'py>(&self, py: Python<'py>, text: &[u8]) -> Bound<'py, PyBytes> {
        match WORDS.iter().position(|word| *word == text) {
            Some(at) => self.words[at].bind(py).clone(),
            None => PyBytes::new(py, text),
        }
    }
}

/// A From or To in parts, all of them empty where it is not of the usual form.
#[derive(Default)]
struct End<'a> {
    /// The value but for the tag.
    bare: &'a [u8],
    uri: &'a [u8],
    tag: &'a [u8],
}

impl<'a> End<'a> {
    fn of(value: Option<&'a [u8]>) -> Self {
        let Some((value, address)) =
            value.and_then(|value| Some((value, values::name_addr(value)?)))
        else {
            return Self::default();
        };
        Self {
            bare: &value[..address.uri.end + 1],
            uri: &value[address.uri],
            tag: address.tag.map_or(b"", |tag| &value[tag]),
        }
    }

    fn is_read(&self) -> bool {
        !self.uri.is_empty()
    }
}

fn flag(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    value
        .into_pyobject(py)
        .map_or_else(|never| match never {}, |value| value.to_owned().into_any())
}
