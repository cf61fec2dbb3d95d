//! The header names that we know, by small numbers, and sets of them.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet};

/// The number of a header that we do not know.
pub const UNKNOWN: u8 = u8::MAX;

// The headers that the reader looks at have the first numbers.
pub const VIA: u8 = 0;
pub const FROM: u8 = 1;
pub const TO: u8 = 2;
pub const CALL_ID: u8 = 3;
pub const CSEQ: u8 = 4;
pub const CONTACT: u8 = 5;
pub const MAX_FORWARDS: u8 = 6;
pub const CONTENT_LENGTH: u8 = 7;
pub const RECORD_ROUTE: u8 = 8;
pub const TIMESTAMP: u8 = 9;
/// How many the first are.
pub const READ: usize = 10;
const FIRST: [&[u8]; READ] = [
    b"Via",
    b"From",
    b"To",
    b"Call-ID",
    b"CSeq",
    b"Contact",
    b"Max-Forwards",
    b"Content-Length",
    b"Record-Route",
    b"Timestamp",
];

const SLOTS: usize = 1024;
/// A name in lower case, and its length; no name that we know is longer.
type Folded = [u64; 4];

/// Finds the number of a name, whatever its case. The table is ours and does not grow, so nobody can crowd it.
pub struct Names {
    names: Vec<(Folded, u8)>,
    slots: Vec<u16>,
}

impl Names {
    /// `names` have each spelling, in lower case, and its number; they are fewer than half of the slots.
    fn new(names: &[(Vec<u8>, u8)]) -> Option<Self> {
        let fold_one = |(name, id): &(Vec<u8>, u8)| Some((fold(name)?, *id));
        let names: Vec<(Folded, u8)> = names.iter().map(fold_one).collect::<Option<_>>()?;
        let mut slots = vec![0; SLOTS];
        for (at, (name, _)) in names.iter().enumerate() {
            let mut slot = slot_of(name);
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = at as u16 + 1;
        }
        Some(Self { names, slots })
    }

    /// Return the number of a name, or UNKNOWN.
    pub fn id(&self, name: &[u8]) -> u8 {
        let Some(folded) = fold(name) else {
            return UNKNOWN;
        };
        let mut slot = slot_of(&folded);
        while self.slots[slot] != 0 {
            let (known, id) = &self.names[usize::from(self.slots[slot]) - 1];
            if *known == folded {
                return *id;
            }
            slot = (slot + 1) % SLOTS;
        }
        UNKNOWN
    }
}

/// Put a name in lower case, eight letters at a time; None where it is too long to be known. Of all bytes with
/// the bit of letters, those that are no letters stand in no name that we know.
fn fold(name: &[u8]) -> Option<Folded> {
    let mut bytes = [0; 32];
    bytes[..31].get_mut(..name.len())?.copy_from_slice(name);
    bytes[31] = name.len() as u8; // else a name could be filled up with zeros of its own
    let mut words = [0; 4];
    for (word, eight) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut raw = [0; 8];
        raw.copy_from_slice(eight);
        let read = u64::from_ne_bytes(raw);
        *word = read | (read & 0x4040_4040_4040_4040) >> 1;
    }
    Some(words)
}

/// Where the search begins.
fn slot_of(name: &Folded) -> usize {
    let mixed = name[0] ^ name[1].rotate_left(17) ^ name[2].rotate_left(31) ^ name[3];
    (mixed.wrapping_mul(0x517c_c1b7_2722_0a95) >> 54) as usize
}

/// The keys of the headers that we know. Made of what maps the spellings of names to the keys that headers are
/// indexed under; each key is one object, whatever the spelling.
#[pyclass(frozen, module = "gateway._native")]
pub struct Keys {
    pub names: Names,
    keys: Vec<Py<PyBytes>>,
}

#[pymethods]
impl Keys {
    #[new]
    fn new(spellings: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = spellings.py();
        let mut keys: Vec<Py<PyBytes>> = FIRST.map(|key| PyBytes::new(py, key).unbind()).into();
        let mut names: Vec<(Vec<u8>, u8)> = Vec::new();
        for (name, key) in spellings.iter() {
            let name = name.cast::<PyBytes>()?.as_bytes().to_ascii_lowercase();
            let key = key.cast_into::<PyBytes>()?;
            let known = keys
                .iter()
                .position(|one| one.as_bytes(py) == key.as_bytes());
            let id = known.unwrap_or_else(|| {
                keys.push(key.unbind());
                keys.len() - 1
            });
            if !names.iter().any(|(known, _)| *known == name) {
                names.push((name, id as u8));
            }
        }
        if keys.len() >= usize::from(UNKNOWN) || names.len() > SLOTS / 2 {
            return Err(PyValueError::new_err("too many names"));
        }
        let names =
            Names::new(&names).ok_or_else(|| PyValueError::new_err("a name is too long"))?;
        for (id, key) in FIRST.iter().enumerate() {
            if usize::from(names.id(key)) != id {
                return Err(PyKeyError::new_err(key.to_vec()));
            }
        }
        Ok(Self { names, keys })
    }

    /// Return these keys as a set to be asked of many messages.
    fn set_of(set: &Bound<'_, Self>, keys: &Bound<'_, PyFrozenSet>) -> PyResult<KeySet> {
        let mut known = Bits::default();
        let mut unknown = HashSet::new();
        for key in keys.iter() {
            let key = key.cast::<PyBytes>()?.as_bytes();
            match set.get().id_of(keys.py(), key) {
                UNKNOWN => {
                    unknown.insert(key.to_vec());
                }
                id => known.add(id),
            }
        }
        Ok(KeySet {
            known,
            unknown,
            keys: keys.clone().unbind(),
            of: set.clone().unbind(),
        })
    }
}

impl Keys {
    /// Return the number of a key, or UNKNOWN.
    fn id_of(&self, py: Python<'_>, key: &[u8]) -> u8 {
        match self.names.id(key) {
            UNKNOWN => UNKNOWN,
            // A spelling is not the key.
            id if self.keys[usize::from(id)].as_bytes(py) == key => id,
            _ => UNKNOWN,
        }
    }

    /// Return the key of a header.
    pub fn key<'py>(&self, py: Python<'py>, id: u8, name: &[u8]) -> Bound<'py, PyBytes> {
        match self.keys.get(usize::from(id)) {
            Some(key) => key.bind(py).clone(),
            None => PyBytes::new(py, &name.to_ascii_lowercase()),
        }
    }

    /// Return what finds the headers of this key.
    pub fn wanted<'a>(&self, py: Python<'_>, key: &'a [u8]) -> Wanted<'a> {
        match self.id_of(py, key) {
            UNKNOWN => Wanted::Name(key),
            id => Wanted::Id(id),
        }
    }
}

/// A key that is looked for.
pub enum Wanted<'a> {
    Id(u8),
    /// The key of headers that we do not know: their name in lower case.
    Name(&'a [u8]),
}

/// A set of keys, made once, to be asked of many messages.
#[pyclass(frozen, module = "gateway._native")]
pub struct KeySet {
    known: Bits,
    unknown: HashSet<Vec<u8>>,
    keys: Py<PyFrozenSet>,
    of: Py<Keys>,
}

#[pymethods]
impl KeySet {
    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.keys.bind(key.py()).contains(key)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("KeySet({})", self.keys.bind(py).repr()?))
    }
}

impl KeySet {
    /// Tell whether a header's key is one of them.
    pub fn has(&self, id: u8, name: &[u8]) -> bool {
        if id == UNKNOWN {
            return !self.unknown.is_empty() && self.unknown.contains(&name.to_ascii_lowercase());
        }
        self.known.has(id)
    }

    /// Tell whether one of the headers with these numbers is one of them; None where their names must be asked.
    pub fn meets(&self, present: &Bits) -> Option<bool> {
        match (self.known.meets(present), self.unknown.is_empty()) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Tell whether a key is one of them.
    pub fn has_key(&self, key: &Bound<'_, PyBytes>) -> bool {
        match self.of.get().id_of(key.py(), key.as_bytes()) {
            UNKNOWN => !self.unknown.is_empty() && self.unknown.contains(key.as_bytes()),
            id => self.known.has(id),
        }
    }
}

/// A set of numbers.
#[derive(Clone, Copy, Default)]
pub struct Bits([u64; 4]);

impl Bits {
    pub fn add(&mut self, id: u8) {
        self.0[usize::from(id >> 6)] |= 1 << (id & 63);
    }

    pub fn has(&self, id: u8) -> bool {
        self.0[usize::from(id >> 6)] >> (id & 63) & 1 == 1
    }

    fn meets(&self, others: &Self) -> bool {
        self.0
            .iter()
            .zip(others.0)
            .any(|(one, other)| one & other != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(&[u8], u8)]) -> Names {
        let owned: Vec<_> = of.iter().map(|(name, id)| (name.to_vec(), *id)).collect();
        Names::new(&owned).unwrap()
    }

    #[test]
    fn a_name_is_found_whatever_its_case() {
        let names = names(&[(b"via", 0), (b"v", 0), (b"to", 2), (b"call-id", 3)]);
        for name in [b"Via".as_slice(), b"VIA", b"vIa", b"v", b"V"] {
            assert_eq!(names.id(name), 0);
        }
        assert_eq!((names.id(b"TO"), names.id(b"Call-ID")), (2, 3));
        let others: [&[u8]; 9] = [
            b"",
            b"t",
            b"Tx",
            b"Vib",
            b"Vi",
            b"V\x49a",
            b"Call\rID",
            b"Via\0",
            &[b'v'; 40],
        ];
        for name in others {
            assert_eq!(names.id(name) == 0, name == b"VIa", "{name:?}");
        }
    }

    #[test]
    fn names_that_begin_their_search_alike_are_told_apart() {
        let all: Vec<Vec<u8>> = (0..2000_u16)
            .map(|n| format!("x-{n}").into_bytes())
            .collect();
        let first = slot_of(&fold(&all[0]).unwrap());
        let alike: Vec<&Vec<u8>> = all
            .iter()
            .filter(|name| slot_of(&fold(name).unwrap()) == first)
            .collect();
        assert!(alike.len() > 1);
        let known: Vec<(Vec<u8>, u8)> = alike.iter().map(|name| (*name).clone()).zip(5..).collect();
        let last = known.len() - 1;
        let names = Names::new(&known[..last]).unwrap();
        for (name, id) in &known[..last] {
            assert_eq!(names.id(name), *id);
        }
        assert_eq!(names.id(&known[last].0), UNKNOWN);
    }
}
