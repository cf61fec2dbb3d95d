//! A bare relay: what one side sends goes to the other, unread. What it costs is the kernel's, not SIP's.

#![forbid(unsafe_code)]

use std::io;

use crate::sockets::{open, wait};

/// Copy datagrams between `left` and `right` until the process is ended.
pub fn run(port: u16, left: u16, right: u16) -> io::Result<()> {
    let mut sides = [open(port, left)?, open(port, right)?];
    let fds = [sides[0].0.fd(), sides[1].0.fd()];
    loop {
        let mut copied = 0;
        for from in 0..2 {
            let [(left_in, left_out), (right_in, right_out)] = &mut sides;
            let (inbox, outbox) = if from == 0 {
                (left_in, right_out)
            } else {
                (right_in, left_out)
            };
            copied += inbox.receive()?;
            for datagram in inbox.datagrams() {
                outbox.datagram().extend(datagram);
            }
            outbox.flush()?;
        }
        if copied == 0 {
            wait(fds, 1_000_000_000);
        }
    }
}
