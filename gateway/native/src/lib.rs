//! The native core of the gateway: what grows with bytes, not with decisions.
//!
//! `Reader` reads ordinary messages; whatever is out of the ordinary is left to the Python code, which is the one
//! that decides what is wrong with a message. `Batches` moves datagrams in and out of a socket many at a time.
//! Nothing here calls back into Python code, keeps the state of a dialog or reads a clock.

#![deny(unsafe_code)]

use pyo3::prelude::*;

mod ack;
#[cfg(target_os = "linux")]
mod batches;
mod names;
pub mod plain;
mod reader;
mod rows;
pub mod values;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<reader::Reader>()?;
    module.add_class::<rows::Rows>()?;
    module.add_class::<names::Keys>()?;
    module.add_class::<names::KeySet>()?;
    module.add_function(wrap_pyfunction!(ack::ack_key, module)?)?;
    module.add_function(wrap_pyfunction!(rows::packed_lines, module)?)?;
    module.add_function(wrap_pyfunction!(rows::joined_lines, module)?)?;
    module.add_function(wrap_pyfunction!(rows::text_except, module)?)?;
    module.add_function(wrap_pyfunction!(rows::replaced, module)?)?;
    #[cfg(target_os = "linux")]
    module.add_class::<batches::Batches>()?;
    Ok(())
}
