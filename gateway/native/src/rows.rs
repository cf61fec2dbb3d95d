//! What passes of a message's header rows.

#![forbid(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet, PyList, PyTuple};

/// Return the lines of the rows whose key is not left out, in order.
#[pyfunction]
pub fn lines_except<'py>(
    rows: &Bound<'py, PyList>,
    left_out: &Bound<'py, PyFrozenSet>,
) -> PyResult<Bound<'py, PyList>> {
    let lines = PyList::empty(rows.py());
    for row in rows.iter() {
        let row = row.cast_into::<PyTuple>()?;
        if !left_out.contains(row.get_item(0)?)? {
            lines.append(row.get_item(1)?.cast_into::<PyBytes>()?)?;
        }
    }
    Ok(lines)
}
