//! The parts of a message as Python objects.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::plain::{body_end, scan, Field, Start};

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

/// Reads ordinary messages. `keys` maps the spellings of header names to the keys they are indexed under;
/// each key is one object, whatever the spelling.
#[pyclass(frozen, module = "gateway._native")]
pub struct Reader {
    keys: Keys,
    /// The one object that stands for Content-Length in `keys`: known by identity.
    content_length: Py<PyBytes>,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(py: Python<'_>, keys: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut table = Keys::default();
        let mut one_of_each = Keys::default();
        for (name, key) in keys.iter() {
            let key = key.cast_into::<PyBytes>()?;
            let one = one_of_each
                .entry(key.as_bytes().to_vec())
                .or_insert_with(|| key.unbind());
            table.insert(name.extract()?, one.clone_ref(py));
        }
        let content_length = one_of_each
            .remove(b"Content-Length".as_slice())
            .ok_or_else(|| PyKeyError::new_err("Content-Length"))?;
        Ok(Self {
            keys: table,
            content_length,
        })
    }

    /// Return (method, URI, rows, index, more, body) of a request; None where it is not an ordinary one.
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
        self.tuple(
            py,
            data,
            PyBytes::new(py, &data[method]).into_any(),
            uri,
            plain.fields,
            plain.body,
        )
    }

    /// Return (status, phrase, rows, index, more, body) of a response; None where it is not an ordinary one.
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
        self.tuple(
            py,
            data,
            status.into_pyobject(py)?.into_any(),
            phrase,
            plain.fields,
            plain.body,
        )
    }
}

impl Reader {
    /// Make the tuple, unless Content-Length says what only the Python code can judge.
    fn tuple<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        first: Bound<'py, PyAny>,
        second: Range<usize>,
        fields: Vec<Field>,
        body: usize,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let index = PyDict::new(py);
        let mut more: Option<Bound<'py, PyDict>> = None;
        let mut rows = Vec::with_capacity(fields.len());
        let mut end = data.len();
        for field in fields {
            let key = self.key(py, &data[field.name]);
            let value = PyBytes::new(py, &data[field.value.clone()]);
            let repeated = index.contains(&key)?;
            if key.is(&self.content_length) {
                match body_end(data, body, &data[field.value]) {
                    Some(length) if !repeated => end = length,
                    _ => return Ok(None),
                }
            }
            rows.push(PyTuple::new(
                py,
                [&key, &PyBytes::new(py, &data[field.line])],
            )?);
            if repeated {
                append(more.get_or_insert_with(|| PyDict::new(py)), &key, value)?;
            } else {
                index.set_item(key, value)?;
            }
        }
        let parts = [
            first,
            PyBytes::new(py, &data[second]).into_any(),
            PyList::new(py, rows)?.into_any(),
            index.into_any(),
            more.into_pyobject(py)?.into_any(),
            PyBytes::new(py, &data[body..end]).into_any(),
        ];
        PyTuple::new(py, parts).map(Some)
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
