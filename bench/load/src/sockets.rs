//! UDP sockets that are connected to one peer and move datagrams in batches: recvmmsg(2), sendmmsg(2).
//!
//! This is the one file with unsafe code. What makes it sound: the headers that the system is given point at
//! vectors of the same object, which is borrowed mutably until the call has returned.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use libc::{c_int, iovec, mmsghdr, sockaddr_in, socklen_t};

/// Datagrams in one system call.
const BATCH: usize = 64;
/// Room for one datagram; no message of a benchmark comes near it.
const ROOM: usize = 8_192;
/// Room for bursts in the socket, as far as the system grants it.
const SOCKET_BUFFER: c_int = 8 << 20;
/// SO_MEMINFO's place of the datagrams that were dropped (linux/sock_diag.h).
const MEMINFO_DROPS: usize = 8;

/// Open a socket on loopback, bound to `port` and connected to `peer`. Several may share a port: the system
/// gives each datagram to the one that is connected to its sender.
pub fn open(port: u16, peer: u16) -> io::Result<(Inbox, Outbox)> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain calls of the system; the descriptor is new and has no other owner.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, kind, 0);
        checked(fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    let fd = socket.as_raw_fd();
    set(fd, libc::SO_REUSEPORT, 1)?;
    set(fd, libc::SO_RCVBUF, SOCKET_BUFFER)?;
    set(fd, libc::SO_SNDBUF, SOCKET_BUFFER)?;
    let length = size_of::<sockaddr_in>() as socklen_t;
    let (here, there) = (address(port), address(peer));
    // SAFETY: both addresses live through the calls and are as long as is said.
    unsafe {
        checked(libc::bind(fd, (&raw const here).cast(), length))?;
        checked(libc::connect(fd, (&raw const there).cast(), length))?;
    }
    let socket = Rc::new(socket);
    Ok((Inbox::new(Rc::clone(&socket)), Outbox::new(socket)))
}

fn checked(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set(fd: RawFd, option: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: the value lives through the call and is as long as is said.
    checked(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            length,
        )
    })
}

fn address(port: u16) -> sockaddr_in {
    let name = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    // SAFETY: a plain C structure, for which all zeros is a value.
    let mut address: sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = name.port().to_be();
    address.sin_addr.s_addr = u32::from(*name.ip()).to_be();
    address
}

/// Headers that point at `parts`, one each.
fn headers(parts: &mut [iovec]) -> Vec<mmsghdr> {
    parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a plain C structure, for which all zeros is a value: no address, no control message.
            let mut header: mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect()
}

/// An error that a UDP socket may show now and then without being broken: nothing there, no room, or an
/// ICMP error because the other end is not up.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ECONNREFUSED | libc::ENOBUFS | libc::EINTR)
    )
}

/// Where datagrams come in.
pub struct Inbox {
    socket: Rc<OwnedFd>,
    buffers: Vec<u8>,
    lengths: Vec<usize>,
}

impl Inbox {
    fn new(socket: Rc<OwnedFd>) -> Self {
        Self {
            socket,
            buffers: vec![0; BATCH * ROOM],
            lengths: Vec::with_capacity(BATCH),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Take in the datagrams that are there, at most a batch; `datagrams` then gives them.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.lengths.clear();
        let mut parts: Vec<iovec> = self
            .buffers
            .chunks_exact_mut(ROOM)
            .map(|room| iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: ROOM,
            })
            .collect();
        let mut headers = headers(&mut parts);
        // SAFETY: see the top of the file.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if let Err(error) = checked(count) {
            return if passing(&error) { Ok(0) } else { Err(error) };
        }
        let got = headers.iter().take(count as usize);
        self.lengths
            .extend(got.map(|header| (header.msg_len as usize).min(ROOM)));
        Ok(self.lengths.len())
    }

    /// The datagrams of the last batch.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.buffers.chunks_exact(ROOM);
        rooms
            .zip(&self.lengths)
            .map(|(room, length)| &room[..*length])
    }

    /// Datagrams that the system dropped because the socket's buffer was full.
    pub fn dropped(&self) -> u32 {
        let mut values = [0_u32; MEMINFO_DROPS + 1];
        let mut length = size_of_val(&values) as socklen_t;
        // SAFETY: the values live through the call and are as long as is said. A system that lacks the
        // option leaves them as they are.
        unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                values.as_mut_ptr().cast(),
                &raw mut length,
            );
        }
        values[MEMINFO_DROPS]
    }
}

/// Where datagrams go out: written into buffers that are used over and over, sent together.
pub struct Outbox {
    socket: Rc<OwnedFd>,
    buffers: Vec<Vec<u8>>,
    used: usize,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Datagrams that it did not take.
    pub refused: u64,
}

impl Outbox {
    fn new(socket: Rc<OwnedFd>) -> Self {
        Self {
            socket,
            buffers: Vec::new(),
            used: 0,
            sent: 0,
            refused: 0,
        }
    }

    /// An empty buffer whose bytes will be sent by the next `flush`.
    pub fn datagram(&mut self) -> &mut Vec<u8> {
        if self.used == self.buffers.len() {
            self.buffers.push(Vec::with_capacity(2_048));
        }
        let buffer = &mut self.buffers[self.used];
        self.used += 1;
        buffer.clear();
        buffer
    }

    /// Send all that was written. What the system does not take is lost, as on any network.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut parts: Vec<iovec> = self.buffers[..self.used]
            .iter_mut()
            .map(|buffer| iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let mut headers = headers(&mut parts);
        let mut first = 0;
        while first < headers.len() {
            let rest = &mut headers[first..];
            // SAFETY: see the top of the file; the system only reads.
            let count = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len().min(BATCH) as u32,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match checked(count) {
                Ok(()) => {
                    first += count as usize;
                    self.sent += count as u64;
                }
                Err(error) if passing(&error) => {
                    first += 1;
                    self.refused += 1;
                }
                Err(error) => return Err(error),
            }
        }
        self.used = 0;
        Ok(())
    }
}

/// Wait until one of the sockets has something, or `nanoseconds` are over.
pub fn wait(fds: [RawFd; 2], nanoseconds: u64) {
    let mut polled = fds.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let limit = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as _,
        tv_nsec: (nanoseconds % 1_000_000_000) as _,
    };
    // SAFETY: both structures live through the call. An interruption is as good as an event.
    unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as _,
            &raw const limit,
            std::ptr::null(),
        );
    }
}

/// Let naps end when they were asked to, not 50 microseconds later.
pub fn be_punctual() {
    // SAFETY: a plain call; a system that refuses it leaves things as they are.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}

/// CPU seconds of this process so far.
pub fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives through the call.
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time);
    }
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    }

    #[test]
    fn a_batch_arrives_whole_and_in_order() {
        let (left, right) = (free_port(), free_port());
        let (_, mut out) = open(left, right).unwrap();
        let (mut inbox, _) = open(right, left).unwrap();
        assert_eq!(inbox.receive().unwrap(), 0);
        for number in 0..100_u8 {
            out.datagram().extend([number, number]);
        }
        out.flush().unwrap();
        assert_eq!((out.sent, out.refused), (100, 0));
        let mut got = Vec::new();
        while inbox.receive().unwrap() > 0 {
            got.extend(inbox.datagrams().map(<[u8]>::to_vec));
        }
        let sent: Vec<Vec<u8>> = (0..100).map(|number| vec![number, number]).collect();
        assert_eq!(got, sent);
        assert_eq!(inbox.dropped(), 0);
    }

    #[test]
    fn two_sockets_on_one_port_each_hear_their_own_peer() {
        let (left, middle, right) = (free_port(), free_port(), free_port());
        let (mut from_left, _) = open(middle, left).unwrap();
        let (mut from_right, _) = open(middle, right).unwrap();
        for (port, text) in [(left, b"left"), (right, b"away")] {
            let (_, mut out) = open(port, middle).unwrap();
            out.datagram().extend(text);
            out.flush().unwrap();
        }
        assert_eq!(from_left.receive().unwrap(), 1);
        assert_eq!(from_left.datagrams().next(), Some(&b"left"[..]));
        assert_eq!(from_right.receive().unwrap(), 1);
        assert_eq!(from_right.datagrams().next(), Some(&b"away"[..]));
    }

    #[test]
    fn a_peer_that_is_not_there_is_no_error() {
        let (_, mut out) = open(free_port(), free_port()).unwrap();
        for _ in 0..3 {
            out.datagram().push(b'x');
            out.flush().unwrap();
        }
        assert_eq!(out.sent + out.refused, 3);
    }
}
