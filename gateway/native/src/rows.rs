//! The header rows of a message: key and line, in order.

#![forbid(unsafe_code)]

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet, PyIterator, PyList, PyTuple};

/// The rows of a message that was read natively: like a list of pairs, of which none is made before somebody
/// looks at it.
#[pyclass(frozen, module = "gateway._native")]
pub struct Rows {
    message: Py<PyBytes>,
    fields: Vec<(Py<PyBytes>, Range<usize>)>,
}

impl Rows {
    /// `fields` have the key of each header line, and where in the message it stands.
    pub fn new(message: Py<PyBytes>, fields: Vec<(Py<PyBytes>, Range<usize>)>) -> Self {
        Self { message, fields }
    }

    fn row<'py>(
        &self,
        py: Python<'py>,
        field: &(Py<PyBytes>, Range<usize>),
    ) -> PyResult<Bound<'py, PyTuple>> {
        let line = PyBytes::new(py, &self.message.as_bytes(py)[field.1.clone()]);
        PyTuple::new(py, [field.0.bind(py), &line])
    }

    fn to_list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows: PyResult<Vec<_>> = self
            .fields
            .iter()
            .map(|field| self.row(py, field))
            .collect();
        PyList::new(py, rows?)
    }
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.fields.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.to_list(index.py())?.as_any().get_item(index)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.to_list(py)?.try_iter()
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = other.py();
        match other.cast::<Rows>() {
            Ok(rows) => self.to_list(py)?.eq(rows.get().to_list(py)?),
            Err(_) => self.to_list(py)?.eq(other),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.to_list(py)?.repr()?.to_string())
    }
}

/// Hand each line whose key is not left out to `take`, in order.
fn each_line(
    rows: &Bound<'_, PyAny>,
    left_out: &Bound<'_, PyFrozenSet>,
    mut take: impl FnMut(&[u8]) -> PyResult<()>,
) -> PyResult<()> {
    let py = rows.py();
    if let Ok(rows) = rows.cast::<Rows>() {
        let rows = rows.get();
        let message = rows.message.as_bytes(py);
        for (key, line) in &rows.fields {
            if !left_out.contains(key)? {
                take(&message[line.clone()])?;
            }
        }
        return Ok(());
    }
    for row in rows.cast::<PyList>()?.iter() {
        let row = row.cast_into::<PyTuple>()?;
        if !left_out.contains(row.get_item(0)?)? {
            take(row.get_item(1)?.cast::<PyBytes>()?.as_bytes())?;
        }
    }
    Ok(())
}

/// Return the lines of the rows whose key is not left out, in order.
#[pyfunction]
pub fn lines_except<'py>(
    rows: &Bound<'py, PyAny>,
    left_out: &Bound<'py, PyFrozenSet>,
) -> PyResult<Bound<'py, PyList>> {
    let py = rows.py();
    let lines = PyList::empty(py);
    each_line(rows, left_out, |line| lines.append(PyBytes::new(py, line)))?;
    Ok(lines)
}

/// Return the same lines in one piece, each ended by CRLF, and behind them what is added.
#[pyfunction]
pub fn text_except<'py>(
    rows: &Bound<'py, PyAny>,
    left_out: &Bound<'py, PyFrozenSet>,
    added: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let mut text = Vec::with_capacity(1024);
    each_line(rows, left_out, |line| {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
        Ok(())
    })?;
    text.extend_from_slice(added);
    Ok(PyBytes::new(rows.py(), &text))
}
