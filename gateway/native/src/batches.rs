//! Datagrams in and out of a UDP socket, many a system call: recvmmsg(2) and sendmmsg(2).
//!
//! This is the one file with unsafe code. What makes it sound: all buffers belong to the `Batches` that calls
//! the system, are as long as what is told of them, and do not move between being pointed at and the call's
//! end; what the system reports is clamped to those lengths before it is believed. The calls do not block, so
//! the interpreter is not let go.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{iovec, mmsghdr, sa_family_t, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

/// Room for the biggest datagram there is.
const ROOM: usize = 65_535;
/// Room for the control message that SO_RXQ_OVFL brings, and some more.
const CONTROL: usize = 64;
/// Peers whose addresses are kept ready; beyond that they are forgotten, and learnt again.
const PEERS: usize = 4_096;

/// What a call is told and tells of one datagram, but for its bytes.
struct Slot {
    name: sockaddr_storage,
    iov: iovec,
    control: [u64; CONTROL / 8],
}

/// A UDP socket's batches of at most `size` datagrams. The socket stays the caller's and must not block.
#[pyclass(module = "gateway._native")]
pub struct Batches {
    fd: c_int,
    buffers: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<mmsghdr>,
    lost: u32,
    /// Python's address of a peer by its socket address.
    seen: HashMap<Vec<u8>, Py<PyTuple>>,
    /// The socket address of a peer by Python's.
    wanted: Py<PyDict>,
}

// SAFETY: the pointers in slots and headers are set anew by each call before the system sees them, and mean
// nothing between calls; the methods that do so have the object to themselves (`&mut self`).
unsafe impl Send for Batches {}
unsafe impl Sync for Batches {}

#[pymethods]
impl Batches {
    #[new]
    fn new(py: Python<'_>, fd: c_int, size: usize) -> PyResult<Self> {
        if !(1..=1024).contains(&size) {
            return Err(PyValueError::new_err("a batch has 1 to 1024 datagrams"));
        }
        // SAFETY: these are plain C structures, for which all zeros is a value.
        let blank = || unsafe { zeroed::<mmsghdr>() };
        let slot = || Slot {
            name: unsafe { zeroed() },
            iov: iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            control: [0; CONTROL / 8],
        };
        let on: c_int = 1;
        // SAFETY: the option's value is an int that lives through the call. Systems that lack the option
        // refuse it, and then nothing is counted.
        unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_RXQ_OVFL,
                (&raw const on).cast(),
                size_of::<c_int>() as socklen_t,
            );
        }
        Ok(Self {
            fd,
            buffers: vec![0; size * ROOM],
            slots: (0..size).map(|_| slot()).collect(),
            headers: (0..size).map(|_| blank()).collect(),
            lost: 0,
            seen: HashMap::new(),
            wanted: PyDict::new(py).unbind(),
        })
    }

    /// Datagrams that the system dropped because the receive buffer was full, as far as it has told.
    #[getter]
    fn lost(&self) -> u32 {
        self.lost
    }

    /// Return the datagrams that are there, at most a batch, each with its peer's address as `recvfrom` of
    /// Python gives it. Raises BlockingIOError when there is none, and OSError.
    fn receive<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let size = self.slots.len();
        for at in 0..size {
            self.point(at, at * ROOM, ROOM, size_of::<sockaddr_storage>(), CONTROL);
        }
        // SAFETY: each header points at a slot and a part of `buffers` that nothing else uses (see `point`).
        let count = unsafe {
            libc::recvmmsg(
                self.fd,
                self.headers.as_mut_ptr(),
                size as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(last_error());
        }
        let batch = PyList::empty(py);
        for at in 0..(count as usize).min(size) {
            let header = &self.headers[at];
            let length = (header.msg_len as usize).min(ROOM);
            if header.msg_hdr.msg_controllen > 0 {
                self.lost = overflow(header).unwrap_or(self.lost);
            }
            let data = PyBytes::new(py, &self.buffers[at * ROOM..at * ROOM + length]);
            if let Some(peer) = self.peer(py, at)? {
                batch.append((data, peer))?;
            }
        }
        Ok(batch)
    }

    /// Send datagrams of a list of (bytes, flow), each to its flow's `peer`, from the `first` on; return how
    /// many the system took, which may be fewer than there are. Raises OSError with the reason when it took
    /// none.
    fn send(&mut self, py: Python<'_>, batch: &Bound<'_, PyList>, first: usize) -> PyResult<usize> {
        // The bytes stay alive while the system reads them.
        let mut held: Vec<Bound<'_, PyBytes>> = Vec::with_capacity(self.slots.len());
        for item in batch.iter().skip(first).take(self.slots.len()) {
            let (data, flow): (Bound<'_, PyBytes>, Bound<'_, PyAny>) = item.extract()?;
            let peer = flow.getattr(intern!(py, "peer"))?.cast_into::<PyTuple>()?;
            let at = held.len();
            let length = match self.address(py, at, &peer) {
                Err(error) if at == 0 => return Err(error),
                Err(_) => break, // its turn to be the first comes
                Ok(length) => length,
            };
            self.point(at, 0, 0, length, 0);
            let bytes = data.as_bytes();
            self.slots[at].iov = iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            held.push(data);
        }
        if held.is_empty() {
            return Ok(0);
        }
        // SAFETY: each of the first `held.len()` headers points at a slot and at bytes that `held` keeps; the
        // system only reads them.
        let count = unsafe {
            libc::sendmmsg(
                self.fd,
                self.headers.as_mut_ptr(),
                held.len() as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(count).map_err(|_| last_error())
    }
}

impl Batches {
    /// Make a header speak of its slot, and of `room` bytes of the buffers.
    fn point(&mut self, at: usize, buffer: usize, room: usize, name: usize, control: usize) {
        let base = self.buffers[buffer..buffer + room].as_mut_ptr();
        let slot = &mut self.slots[at];
        slot.iov = iovec {
            iov_base: base.cast(),
            iov_len: room,
        };
        let header = &mut self.headers[at].msg_hdr;
        header.msg_name = (&raw mut slot.name).cast();
        header.msg_namelen = name as socklen_t;
        header.msg_iov = &raw mut slot.iov;
        header.msg_iovlen = 1;
        header.msg_control = if control == 0 {
            std::ptr::null_mut()
        } else {
            slot.control.as_mut_ptr().cast()
        };
        header.msg_controllen = control as _;
        header.msg_flags = 0;
    }

    /// Return the peer of a received datagram, as Python writes addresses; None for a family that is not IP.
    fn peer<'py>(&mut self, py: Python<'py>, at: usize) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let name = &self.slots[at].name;
        let length = match c_int::from(name.ss_family) {
            libc::AF_INET => size_of::<sockaddr_in>(),
            libc::AF_INET6 => size_of::<sockaddr_in6>(),
            _ => return Ok(None),
        };
        // SAFETY: both kinds of address fit into the storage, which is initialised throughout.
        let raw = unsafe { std::slice::from_raw_parts((&raw const *name).cast::<u8>(), length) };
        if let Some(peer) = self.seen.get(raw) {
            return Ok(Some(peer.bind(py).clone()));
        }
        let peer = if length == size_of::<sockaddr_in>() {
            // SAFETY: the family says that it is one.
            let address = unsafe { &*(&raw const *name).cast::<sockaddr_in>() };
            let host = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            (host.to_string(), u16::from_be(address.sin_port)).into_pyobject(py)?
        } else {
            // SAFETY: the family says that it is one.
            let address = unsafe { &*(&raw const *name).cast::<sockaddr_in6>() };
            let host = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let flow = u32::from_be(address.sin6_flowinfo);
            (
                host.to_string(),
                u16::from_be(address.sin6_port),
                flow,
                address.sin6_scope_id,
            )
                .into_pyobject(py)?
        };
        let raw = raw.to_vec();
        if self.seen.len() >= PEERS {
            self.seen.clear();
        }
        self.seen.insert(raw, peer.clone().unbind());
        Ok(Some(peer))
    }

    /// Write a peer's address into a slot and return its length. Raises OSError for what is no address.
    fn address(&mut self, py: Python<'_>, at: usize, peer: &Bound<'_, PyTuple>) -> PyResult<usize> {
        let wanted = self.wanted.bind(py);
        let raw = match wanted.get_item(peer)? {
            Some(known) => known.cast_into::<PyBytes>()?,
            None => {
                let raw = PyBytes::new(py, &socket_address(peer)?);
                if wanted.len() >= PEERS {
                    wanted.clear();
                }
                wanted.set_item(peer, &raw)?;
                raw
            }
        };
        let raw = raw.as_bytes();
        debug_assert!(raw.len() <= size_of::<sockaddr_storage>());
        // SAFETY: `socket_address` makes addresses of IP only, which fit into the storage.
        unsafe {
            std::ptr::copy_nonoverlapping(
                raw.as_ptr(),
                (&raw mut self.slots[at].name).cast::<u8>(),
                raw.len(),
            );
        }
        Ok(raw.len())
    }
}

/// What the system says of a call that failed, as an OSError with its number, which chooses the subclass.
fn last_error() -> PyErr {
    let error = io::Error::last_os_error();
    PyOSError::new_err((error.raw_os_error(), error.to_string()))
}

/// Return what SO_RXQ_OVFL says of datagrams dropped so far (a count since the socket was opened).
fn overflow(header: &mmsghdr) -> Option<u32> {
    // SAFETY: the system has written well-formed control messages into the slot's control buffer, of the
    // length that stands in the header; the CMSG functions keep to that length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET
                && (*message).cmsg_type == libc::SO_RXQ_OVFL
            {
                return Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&raw const header.msg_hdr, message);
        }
    }
    None
}

/// Make a socket address of (host, port) or (host, port, flow info, scope).
fn socket_address(peer: &Bound<'_, PyTuple>) -> PyResult<Vec<u8>> {
    let host: String = peer.get_item(0)?.extract()?;
    let port: u16 = peer.get_item(1)?.extract()?;
    let part = |at: usize| match peer.len() > at {
        true => peer.get_item(at)?.extract::<u32>(),
        false => Ok(0),
    };
    let address: IpAddr = host
        .parse()
        .map_err(|_| PyOSError::new_err((libc::EINVAL, "not an IP address")))?;
    // SAFETY (all three): plain C structures, for which all zeros is a value, and which are read as the bytes
    // they are made of.
    match address {
        IpAddr::V4(host) => {
            let mut name: sockaddr_in = unsafe { zeroed() };
            name.sin_family = libc::AF_INET as sa_family_t;
            name.sin_port = port.to_be();
            name.sin_addr.s_addr = u32::from(host).to_be();
            Ok(unsafe { bytes_of(&name) })
        }
        IpAddr::V6(host) => {
            let mut name: sockaddr_in6 = unsafe { zeroed() };
            name.sin6_family = libc::AF_INET6 as sa_family_t;
            name.sin6_port = port.to_be();
            name.sin6_flowinfo = part(2)?.to_be();
            name.sin6_addr.s6_addr = host.octets();
            name.sin6_scope_id = part(3)?;
            Ok(unsafe { bytes_of(&name) })
        }
    }
}

/// The bytes of a plain C structure without padding.
unsafe fn bytes_of<T>(value: &T) -> Vec<u8> {
    unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }.to_vec()
}
