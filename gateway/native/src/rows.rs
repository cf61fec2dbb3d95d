//! The header rows of a message: key and line, in order, and what is found by key.

#![forbid(unsafe_code)]

use std::ops::Range;

use memchr::memchr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyTuple};

use crate::names::{Bits, KeySet, Keys, Wanted, CALL_ID, CSEQ, FROM, TIMESTAMP, TO, UNKNOWN, VIA};
use crate::plain::{field, Field};
use crate::values;

/// The rows of a message that was read natively: like a list of pairs, and asked for a key like the index of
/// the message. Nothing is made of them before somebody looks.
#[pyclass(frozen, module = "gateway._native")]
pub struct Rows {
    message: Py<PyBytes>,
    fields: Vec<Field>,
    keys: Py<Keys>,
    /// The numbers of the headers that are there.
    present: Bits,
}

impl Rows {
    /// `fields` are those of the message, numbered by `keys`.
    pub fn new(message: Py<PyBytes>, fields: Vec<Field>, keys: Py<Keys>) -> Self {
        let mut present = Bits::default();
        for field in &fields {
            present.add(field.id);
        }
        Self {
            message,
            fields,
            keys,
            present,
        }
    }

    fn row<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        field: &Field,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let key = self.keys.get().key(py, field.id, &data[field.name()]);
        PyTuple::new(py, [key, PyBytes::new(py, &data[field.line()])])
    }

    fn to_list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let data = self.message.as_bytes(py);
        let row = |field| self.row(py, data, field);
        let rows: PyResult<Vec<_>> = self.fields.iter().map(row).collect();
        PyList::new(py, rows?)
    }

    /// Return where the headers of a key stand from a place on.
    fn next(&self, data: &[u8], wanted: &Wanted<'_>, from: usize) -> Option<usize> {
        let mut left = self.fields[from..].iter();
        let ahead = match wanted {
            Wanted::Id(id) if !self.present.has(*id) => None,
            Wanted::Id(id) => left.position(|field| field.id == *id),
            Wanted::Name(key) => {
                left.position(|field| is_named(&data[field.name()], field.id, key))
            }
        };
        ahead.map(|ahead| from + ahead)
    }

    fn wanted<'a>(&self, key: &'a Bound<'_, PyBytes>) -> Wanted<'a> {
        self.keys.get().wanted(key.py(), key.as_bytes())
    }

    /// Return the first value of a header that has this number.
    fn first<'a>(&self, data: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| field.id == id)?;
        Some(&data[field.value()])
    }
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.fields.len()
    }

    /// A number or a slice chooses rows; a key its first value, None where there is none.
    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        let Ok(key) = index.cast::<PyBytes>() else {
            return self.to_list(py)?.as_any().get_item(index);
        };
        let data = self.message.as_bytes(py);
        Ok(match self.next(data, &self.wanted(key), 0) {
            Some(at) => PyBytes::new(py, &data[self.fields[at].value()]).into_any(),
            None => py.None().into_bound(py),
        })
    }

    /// Whether this is one of the rows, or the key of one.
    fn __contains__(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = item.py();
        match item.cast::<PyBytes>() {
            Ok(key) => {
                let data = self.message.as_bytes(py);
                Ok(self.next(data, &self.wanted(key), 0).is_some())
            }
            Err(_) => self.to_list(py)?.contains(item),
        }
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

    /// Return the value of each line of a header, in order.
    fn values<'py>(&self, key: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyList>> {
        let py = key.py();
        let data = self.message.as_bytes(py);
        let values = PyList::empty(py);
        let wanted = self.wanted(key);
        let mut from = 0;
        while let Some(at) = self.next(data, &wanted, from) {
            values.append(PyBytes::new(py, &data[self.fields[at].value()]))?;
            from = at + 1;
        }
        Ok(values)
    }

    /// Tell whether a header stands on more than one line.
    fn repeated(&self, key: &Bound<'_, PyBytes>) -> bool {
        let data = self.message.as_bytes(key.py());
        let wanted = self.wanted(key);
        self.next(data, &wanted, 0)
            .is_some_and(|at| self.next(data, &wanted, at + 1).is_some())
    }

    /// Tell whether there is a header of one of these keys.
    fn has_any(&self, py: Python<'_>, keys: &Bound<'_, KeySet>) -> bool {
        let (data, keys) = (self.message.as_bytes(py), keys.get());
        let has = |field: &Field| keys.has(field.id, &data[field.name()]);
        let asked = || self.fields.iter().any(has);
        keys.meets(&self.present).unwrap_or_else(asked)
    }

    /// Return the first value of each header by its key, and the further ones, None where there are none.
    fn by_key<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyDict>, Option<Bound<'py, PyDict>>)> {
        let data = self.message.as_bytes(py);
        let first = PyDict::new(py);
        let mut more: Option<Bound<'py, PyDict>> = None;
        for field in &self.fields {
            let key = self.keys.get().key(py, field.id, &data[field.name()]);
            let value = PyBytes::new(py, &data[field.value()]);
            if !first.contains(&key)? {
                first.set_item(key, value)?;
                continue;
            }
            let more = more.get_or_insert_with(|| PyDict::new(py));
            match more.get_item(&key)? {
                Some(values) => values.cast::<PyList>()?.append(value)?,
                None => more.set_item(key, PyList::new(py, [value])?)?,
            }
        }
        Ok((first, more))
    }

    /// Return the lines that every response copies from its request, the To without its line end. The topmost
    /// Via gets `received` unless that is b"", and `rport` unless that is negative. None where a header is missing,
    /// or the Via that is to be marked is not of the usual form.
    fn echo<'py>(
        &self,
        py: Python<'py>,
        received: &[u8],
        rport: i32,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let data = self.message.as_bytes(py);
        let mut text = Vec::with_capacity(512);
        Ok(self
            .write_echo(data, received, rport, &mut text)
            .map(|()| PyBytes::new(py, &text)))
    }
}

impl Rows {
    /// Do what the function of this name does; None where a line among the others is not of the usual form.
    fn replaced(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyBytes>,
        others: &Bound<'_, PyTuple>,
    ) -> PyResult<Option<Self>> {
        let data = self.message.as_bytes(py);
        let wanted = self.wanted(key);
        let first = self.next(data, &wanted, 0);
        let mut text: Vec<u8> = Vec::with_capacity(data.len() + 64);
        let mut fields = Vec::with_capacity(self.fields.len() + others.len());
        for (at, field) in self.fields.iter().enumerate() {
            if first == Some(at) && !self.write_others(others, &mut text, &mut fields)? {
                return Ok(None);
            }
            let is_replaced = match wanted {
                Wanted::Id(id) => field.id == id,
                Wanted::Name(key) => is_named(&data[field.name()], field.id, key),
            };
            if !is_replaced {
                fields.push(field.moved(text.len()));
                text.extend_from_slice(&data[field.line()]);
                text.extend_from_slice(b"\r\n");
            }
        }
        if first.is_none() && !self.write_others(others, &mut text, &mut fields)? {
            return Ok(None);
        }
        let message = PyBytes::new(py, &text).unbind();
        Ok(Some(Self::new(message, fields, self.keys.clone_ref(py))))
    }

    /// Write the lines of other rows; false where one of them is not of the usual form.
    fn write_others(
        &self,
        others: &Bound<'_, PyTuple>,
        text: &mut Vec<u8>,
        fields: &mut Vec<Field>,
    ) -> PyResult<bool> {
        for row in others.iter() {
            let line = row.get_item(1)?;
            let line = line.cast::<PyBytes>()?.as_bytes();
            let start = text.len();
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
            match field(text, start, |name: &[u8]| self.keys.get().names.id(name)) {
                Some(field) if field.line().len() == line.len() => fields.push(field),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn write_echo(
        &self,
        data: &[u8],
        received: &[u8],
        rport: i32,
        text: &mut Vec<u8>,
    ) -> Option<()> {
        let mut vias = self.fields.iter().filter(|field| field.id == VIA);
        let top = &data[vias.next()?.value()];
        text.extend_from_slice(b"Via: ");
        if received.is_empty() {
            text.extend_from_slice(top);
        } else {
            values::via(top)?;
            write_marked(top, received, rport, text);
        }
        text.extend_from_slice(b"\r\n");
        for via in vias {
            text.extend_from_slice(&data[via.line()]);
            text.extend_from_slice(b"\r\n");
        }
        if let Some(stamp) = self.first(data, TIMESTAMP) {
            write_header(b"Timestamp: ", stamp, text);
        }
        write_header(b"From: ", self.first(data, FROM)?, text);
        write_header(b"Call-ID: ", self.first(data, CALL_ID)?, text);
        write_header(b"CSeq: ", self.first(data, CSEQ)?, text);
        text.extend_from_slice(b"To: ");
        text.extend_from_slice(self.first(data, TO)?);
        Some(())
    }
}

/// Tell whether a header that we do not know has this key, its name in lower case.
fn is_named(name: &[u8], id: u8, key: &[u8]) -> bool {
    let is_key = id == UNKNOWN && name.eq_ignore_ascii_case(key);
    is_key && !key.iter().any(u8::is_ascii_uppercase)
}

fn write_header(name: &[u8], value: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(name);
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Write a Via of the usual form with where the request really came from in place of what it says of that.
fn write_marked(via: &[u8], received: &[u8], rport: i32, text: &mut Vec<u8>) {
    let mut from = 0;
    loop {
        let end = memchr(b';', &via[from..]).map_or(via.len(), |length| from + length);
        let part = &via[from..end];
        if !(part.starts_with(b"rport") || part.starts_with(b"received=")) {
            if from > 0 {
                text.push(b';');
            }
            text.extend_from_slice(part);
        }
        if end == via.len() {
            break;
        }
        from = end + 1;
    }
    text.extend_from_slice(b";received=");
    text.extend_from_slice(received);
    if rport >= 0 {
        text.extend_from_slice(b";rport=");
        text.extend_from_slice(rport.to_string().as_bytes());
    }
}

/// Take each line of the rows whose key is not left out, in order.
fn each_kept(
    rows: &Bound<'_, PyAny>,
    left_out: &KeySet,
    mut take: impl FnMut(&[u8]),
) -> PyResult<()> {
    if let Ok(rows) = rows.cast::<Rows>() {
        let data = rows.get().message.as_bytes(rows.py());
        for field in &rows.get().fields {
            if !left_out.has(field.id, &data[field.name()]) {
                take(&data[field.line()]);
            }
        }
        return Ok(());
    }
    for row in rows.cast::<PyList>()?.iter() {
        let row = row.cast_into::<PyTuple>()?;
        if !left_out.has_key(row.get_item(0)?.cast::<PyBytes>()?) {
            take(row.get_item(1)?.cast::<PyBytes>()?.as_bytes());
        }
    }
    Ok(())
}

/// Return the lines whose key is not left out, and behind them what is added unless it is b"", as msgpack has a
/// list of byte strings. Raises ValueError for more than 65,535 lines.
#[pyfunction]
pub fn packed_lines<'py>(
    rows: &Bound<'py, PyAny>,
    left_out: &Bound<'py, KeySet>,
    added: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    const ROOM: usize = 3; // for the longest head of a list
    let mut packed = Vec::with_capacity(1024);
    packed.resize(ROOM, 0);
    let mut count = 0_usize;
    each_kept(rows, left_out.get(), |line| {
        write_packed(line, &mut packed);
        count += 1;
    })?;
    if !added.is_empty() {
        write_packed(added, &mut packed);
        count += 1;
    }
    let count = u16::try_from(count)?;
    let start = if count < 16 {
        packed[ROOM - 1] = 0x90 | count as u8;
        ROOM - 1
    } else {
        packed[0] = 0xdc;
        packed[1..ROOM].copy_from_slice(&count.to_be_bytes());
        0
    };
    Ok(PyBytes::new(rows.py(), &packed[start..]))
}

/// Write bytes as msgpack has them.
fn write_packed(bytes: &[u8], packed: &mut Vec<u8>) {
    let length = (bytes.len() as u32).to_be_bytes(); // no line is of 4 GiB
    match bytes.len() {
        0..=0xff => packed.extend_from_slice(&[0xc4, length[3]]),
        0x100..=0xffff => packed.extend_from_slice(&[0xc5, length[2], length[3]]),
        _ => {
            packed.push(0xc6);
            packed.extend_from_slice(&length);
        }
    }
    packed.extend_from_slice(bytes);
}

/// Return the lines whose key is not left out, with LF between them.
#[pyfunction]
pub fn joined_lines<'py>(
    rows: &Bound<'py, PyAny>,
    left_out: &Bound<'py, KeySet>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut text = Vec::with_capacity(1024);
    each_kept(rows, left_out.get(), |line| {
        text.extend_from_slice(line);
        text.push(b'\n');
    })?;
    text.pop();
    Ok(PyBytes::new(rows.py(), &text))
}

/// Return the lines whose key is not left out in one piece, each ended by CRLF, and behind them what is added.
#[pyfunction]
pub fn text_except<'py>(
    rows: &Bound<'py, PyAny>,
    left_out: &Bound<'py, KeySet>,
    added: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let py = rows.py();
    let left_out = left_out.get();
    let mut text = Vec::with_capacity(1024);
    if let Ok(rows) = rows.cast::<Rows>() {
        let data = rows.get().message.as_bytes(py);
        // Lines that stand one behind the other are copied together, their line ends with them.
        let mut run: Range<usize> = 0..0;
        for field in &rows.get().fields {
            if left_out.has(field.id, &data[field.name()]) {
                continue;
            }
            let line = field.line();
            if line.start != run.end {
                text.extend_from_slice(&data[run]);
                run = line.start..line.start;
            }
            run.end = line.end + 2;
        }
        text.extend_from_slice(&data[run]);
    } else {
        each_kept(rows, left_out, |line| {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        })?;
    }
    text.extend_from_slice(added);
    Ok(PyBytes::new(py, &text))
}

/// Return the rows with others in the place of those of a key: where the first of these stood, or else at the end.
#[pyfunction]
pub fn replaced<'py>(
    rows: &Bound<'py, PyAny>,
    key: &Bound<'py, PyBytes>,
    others: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = rows.py();
    let native = match rows.cast::<Rows>() {
        Ok(rows) => rows.get().replaced(py, key, others)?,
        Err(_) => None,
    };
    if let Some(rows) = native {
        return Ok(Bound::new(py, rows)?.into_any());
    }
    let kept = PyList::empty(py);
    let mut is_in = false;
    for row in rows.try_iter()? {
        let row = row?;
        if !row.get_item(0)?.eq(key)? {
            kept.append(row)?;
        } else if !is_in {
            is_in = true;
            extend(&kept, others)?;
        }
    }
    if !is_in {
        extend(&kept, others)?;
    }
    Ok(kept.into_any())
}

fn extend<'py>(list: &Bound<'py, PyList>, more: &Bound<'py, PyTuple>) -> PyResult<()> {
    more.iter().try_for_each(|item| list.append(item))
}
