//! The parts of a message as Python objects.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::plain::{body_end, scan, Field, Start};
use crate::rows::Rows;
use crate::values;

/// Hashes a header's name; the table is ours and does not grow, so nobody can crowd it.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

type Keys = HashMap<Vec<u8>, Py<PyBytes>, BuildHasherDefault<NameHasher>>;

/// The types of header values, to be called with the values of their fields.
struct Types {
    via: Py<PyAny>,
    name_addr: Py<PyAny>,
    uri: Py<PyAny>,
}

/// The keys of the headers whose values are read at once. They are known by identity.
struct Known {
    via: Py<PyBytes>,
    from: Py<PyBytes>,
    to: Py<PyBytes>,
    call_id: Py<PyBytes>,
    cseq: Py<PyBytes>,
    contact: Py<PyBytes>,
    max_forwards: Py<PyBytes>,
    record_route: Py<PyBytes>,
    content_length: Py<PyBytes>,
    tag: Py<PyBytes>,
}

/// Reads ordinary messages. `keys` maps the spellings of header names to the keys they are indexed under;
/// each key is one object, whatever the spelling.
#[pyclass(frozen, module = "gateway._native")]
pub struct Reader {
    keys: Keys,
    known: Known,
    types: Types,
}

/// What both kinds of message have behind the start line.
struct Parts<'py> {
    rows: Bound<'py, Rows>,
    index: Bound<'py, PyDict>,
    more: Option<Bound<'py, PyDict>>,
    body: Bound<'py, PyBytes>,
    first: First,
}

/// Where the first value of each header stands that is read at once.
#[derive(Default)]
struct First {
    via: Option<Range<usize>>,
    from: Option<Range<usize>>,
    to: Option<Range<usize>>,
    call_id: Option<Range<usize>>,
    cseq: Option<Range<usize>>,
    contact: Option<Range<usize>>,
    max_forwards: Option<Range<usize>>,
    /// A header that stands twice though it may stand once, or one that has to be looked at besides.
    is_special: bool,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(
        py: Python<'_>,
        keys: &Bound<'_, PyDict>,
        via: Py<PyAny>,
        name_addr: Py<PyAny>,
        uri: Py<PyAny>,
    ) -> PyResult<Self> {
        let mut table = Keys::default();
        let mut one_of_each = Keys::default();
        for (name, key) in keys.iter() {
            let key = key.cast_into::<PyBytes>()?;
            let one = one_of_each
                .entry(key.as_bytes().to_vec())
                .or_insert_with(|| key.unbind());
            table.insert(name.extract()?, one.clone_ref(py));
        }
        let one = |name: &'static str| match one_of_each.get(name.as_bytes()) {
            Some(key) => Ok(key.clone_ref(py)),
            None => Err(PyKeyError::new_err(name)),
        };
        let known = Known {
            via: one("Via")?,
            from: one("From")?,
            to: one("To")?,
            call_id: one("Call-ID")?,
            cseq: one("CSeq")?,
            contact: one("Contact")?,
            max_forwards: one("Max-Forwards")?,
            record_route: one("Record-Route")?,
            content_length: one("Content-Length")?,
            tag: PyBytes::new(py, b"tag").unbind(),
        };
        let types = Types {
            via,
            name_addr,
            uri,
        };
        Ok(Self {
            keys: table,
            known,
            types,
        })
    }

    /// Return method, URI, rows, index, more and body of a request, then Via, CSeq, From, To and Max-Forwards
    /// as far as they are of the usual form, and the URI, parsed, where nothing is wrong with the request;
    /// None where it is not an ordinary one.
    fn read_request<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = message.py();
        let data = message.as_bytes();
        let Some(plain) = scan(data) else {
            return Ok(None);
        };
        let Start::Request { method, uri } = plain.start else {
            return Ok(None);
        };
        let Some(parts) = self.parts(message, plain.fields, plain.body)? else {
            return Ok(None);
        };
        let first = parts.first;
        let via = self.via(py, data, first.via)?;
        let cseq = self.cseq(py, data, first.cseq)?;
        let sender = self.name_addr(py, data, first.from)?;
        let receiver = self.name_addr(py, data, first.to)?;
        let hops = match first.max_forwards {
            None => Some(70),
            Some(value) => values::hops(&data[value]),
        };
        let is_sound = !first.is_special
            && first.call_id.is_some_and(|value| !value.is_empty())
            && cseq
                .as_ref()
                .is_some_and(|(named, _)| data[named.clone()] == data[method.clone()])
            && via.is_some()
            && sender.is_some()
            && receiver.is_some()
            && hops.is_some()
            && first
                .contact
                .map_or(true, |value| values::is_plain_contact(&data[value]));
        let sound = if is_sound {
            self.uri(py, data, uri.clone())?
        } else {
            None
        };
        let parts = [
            PyBytes::new(py, &data[method]).into_any(),
            PyBytes::new(py, &data[uri]).into_any(),
            parts.rows.into_any(),
            parts.index.into_any(),
            parts.more.into_pyobject(py)?.into_any(),
            parts.body.into_any(),
            via.into_pyobject(py)?,
            cseq.map(|(_, cseq)| cseq).into_pyobject(py)?.into_any(),
            sender.into_pyobject(py)?,
            receiver.into_pyobject(py)?,
            hops.map_or(-1, i64::from).into_pyobject(py)?.into_any(),
            sound.into_pyobject(py)?,
        ];
        PyTuple::new(py, parts).map(Some)
    }

    /// Return status, phrase, rows, index, more and body of a response, then the branch of its Via, and CSeq,
    /// and of one that may open a dialog To, as far as they are of the usual form; None where it is not an
    /// ordinary one.
    fn read_response<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = message.py();
        let data = message.as_bytes();
        let Some(plain) = scan(data) else {
            return Ok(None);
        };
        let Start::Response { status, phrase } = plain.start else {
            return Ok(None);
        };
        let Some(parts) = self.parts(message, plain.fields, plain.body)? else {
            return Ok(None);
        };
        let first = parts.first;
        let branch = first.via.and_then(|value| {
            let whole = &data[value];
            values::branch(whole).map(|branch| PyBytes::new(py, &whole[branch]))
        });
        let cseq = self.cseq(py, data, first.cseq)?;
        let opens = 100 < status && status < 300;
        let receiver = self.name_addr(py, data, first.to.filter(|_| opens))?;
        let parts = [
            status.into_pyobject(py)?.into_any(),
            PyBytes::new(py, &data[phrase]).into_any(),
            parts.rows.into_any(),
            parts.index.into_any(),
            parts.more.into_pyobject(py)?.into_any(),
            parts.body.into_any(),
            branch.into_pyobject(py)?.into_any(),
            cseq.map(|(_, cseq)| cseq).into_pyobject(py)?.into_any(),
            receiver.into_pyobject(py)?,
        ];
        PyTuple::new(py, parts).map(Some)
    }
}

impl Reader {
    /// Index the header lines, unless Content-Length says what only the Python code can judge.
    fn parts<'py>(
        &self,
        message: &Bound<'py, PyBytes>,
        fields: Vec<Field>,
        body: usize,
    ) -> PyResult<Option<Parts<'py>>> {
        let py = message.py();
        let data = message.as_bytes();
        let index = PyDict::new(py);
        let mut more: Option<Bound<'py, PyDict>> = None;
        let mut rows = Vec::with_capacity(fields.len());
        let mut end = data.len();
        let mut first = First::default();
        for field in fields {
            let key = self.key(py, &data[field.name]);
            let value = PyBytes::new(py, &data[field.value.clone()]);
            let repeated = index.contains(&key)?;
            if key.is(&self.known.content_length) {
                match body_end(data, body, &data[field.value.clone()]) {
                    Some(length) if !repeated => end = length,
                    _ => return Ok(None),
                }
            }
            rows.push((key.clone().unbind(), field.line));
            self.known.note(&mut first, &key, field.value, repeated);
            if repeated {
                append(more.get_or_insert_with(|| PyDict::new(py)), &key, value)?;
            } else {
                index.set_item(key, value)?;
            }
        }
        Ok(Some(Parts {
            rows: Bound::new(py, Rows::new(message.clone().unbind(), rows))?,
            index,
            more,
            body: PyBytes::new(py, &data[body..end]),
            first,
        }))
    }

    fn via<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        value: Option<Range<usize>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(value) = value.map(|value| &data[value]) else {
            return Ok(None);
        };
        let Some(via) = values::via(value) else {
            return Ok(None);
        };
        let part = |range: Range<usize>| PyBytes::new(py, &value[range]);
        let fields = (
            PyBytes::new(py, value),
            part(via.transport),
            part(via.host),
            via.port,
            part(via.branch),
            via.rport,
            part(via.params),
        );
        self.types.via.bind(py).call1(fields).map(Some)
    }

    fn name_addr<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        value: Option<Range<usize>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(value) = value.map(|value| &data[value]) else {
            return Ok(None);
        };
        let Some(address) = values::name_addr(value) else {
            return Ok(None);
        };
        let params = PyDict::new(py);
        if let Some(tag) = address.tag {
            params.set_item(&self.known.tag, PyBytes::new(py, &value[tag]))?;
        }
        let fields = (
            PyBytes::new(py, &value[address.display]),
            PyBytes::new(py, &value[address.uri]),
            params,
        );
        self.types.name_addr.bind(py).call1(fields).map(Some)
    }

    /// Return where the method stands, and what Python has for the whole.
    fn cseq<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        value: Option<Range<usize>>,
    ) -> PyResult<Option<(Range<usize>, Bound<'py, PyTuple>)>> {
        let Some(value) = value else {
            return Ok(None);
        };
        let Some((number, method)) = values::cseq(&data[value.clone()]) else {
            return Ok(None);
        };
        let named = value.start + method..value.end;
        let cseq = (number, PyBytes::new(py, &data[named.clone()])).into_pyobject(py)?;
        Ok(Some((named, cseq)))
    }

    fn uri<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        raw: Range<usize>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let raw = &data[raw];
        let Some(uri) = values::uri(raw) else {
            return Ok(None);
        };
        let part = |range: Range<usize>| PyBytes::new(py, &raw[range]);
        let fields = (
            PyBytes::new(py, raw),
            part(uri.scheme),
            part(uri.user),
            part(uri.host),
            uri.port,
            part(uri.params),
        );
        self.types.uri.bind(py).call1(fields).map(Some)
    }

    fn key<'py>(&self, py: Python<'py>, name: &[u8]) -> Bound<'py, PyBytes> {
        if let Some(key) = self.keys.get(name) {
            return key.bind(py).clone();
        }
        let lower = name.to_ascii_lowercase();
        match self.keys.get(&lower) {
            Some(key) => key.bind(py).clone(),
            None => PyBytes::new(py, &lower),
        }
    }
}

impl Known {
    /// Note where the first value of a header stands, if it is one of those that are read at once.
    fn note(
        &self,
        first: &mut First,
        key: &Bound<'_, PyBytes>,
        value: Range<usize>,
        repeated: bool,
    ) {
        let place = if key.is(&self.via) {
            if repeated {
                return;
            }
            &mut first.via
        } else if key.is(&self.from) {
            &mut first.from
        } else if key.is(&self.to) {
            &mut first.to
        } else if key.is(&self.call_id) {
            &mut first.call_id
        } else if key.is(&self.cseq) {
            &mut first.cseq
        } else if key.is(&self.contact) {
            &mut first.contact
        } else if key.is(&self.max_forwards) {
            &mut first.max_forwards
        } else {
            first.is_special |= key.is(&self.record_route);
            return;
        };
        if repeated {
            first.is_special = true;
        } else {
            *place = Some(value);
        }
    }
}

fn append<'py>(
    more: &Bound<'py, PyDict>,
    key: &Bound<'py, PyBytes>,
    value: Bound<'py, PyBytes>,
) -> PyResult<()> {
    match more.get_item(key)? {
        Some(values) => values.cast::<PyList>()?.append(value),
        None => more.set_item(key, PyList::new(more.py(), [value])?),
    }
}
