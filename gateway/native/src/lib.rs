//! The native core of the gateway: what grows with bytes, not with decisions.
//!
//! `Reader` reads ordinary messages. Nothing here calls back into Python code, keeps the state of a dialog or
//! reads a clock. Whatever is out of the ordinary is left to the Python code, which is the one that decides what
//! is wrong with a message.

#![forbid(unsafe_code)]

use pyo3::prelude::*;

pub mod plain;
mod reader;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<reader::Reader>()?;
    Ok(())
}
