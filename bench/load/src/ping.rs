//! Pings: OPTIONS on a fixed beat, whatever becomes of the ones before, so that a server that stops for a
//! moment shows it by the answers that come late. Nobody needs to know the sender: a refusal is an answer.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::time::Instant;

use crate::histogram::Histogram;
use crate::message::parse;
use crate::options::Options;
use crate::sockets::{be_punctual, open, wait, Outbox};
use crate::timers::Time;

const SECOND: f64 = 1e9;
/// How long after the last ping answers are waited for.
const PATIENCE: Time = 2_000_000_000;

pub struct Plan {
    port: u16,
    middle: u16,
    every: Time,
    count: usize,
}

impl Plan {
    /// Make a plan of options; the error is one sentence.
    pub fn new(options: &Options) -> Result<Self, String> {
        let every = options.number("--every", 5.0)?.max(0.1) * 1e6;
        Ok(Self {
            port: options.port("--port")?,
            middle: options.port("--middle")?,
            every: every as Time,
            count: (options.number("--seconds", 5.0)? * SECOND / every) as usize,
        })
    }
}

/// Carry a plan out and print one line of JSON: how many pings were sent and answered, how long answers took,
/// and how much later than planned pings were sent.
pub fn run(plan: &Plan) -> io::Result<()> {
    be_punctual();
    let (mut inbox, mut outbox) = open(plan.port, plan.middle)?;
    let start = Instant::now();
    let clock = || start.elapsed().as_nanos() as Time;
    let mut sent: Vec<Option<Time>> = Vec::with_capacity(plan.count);
    let (mut took, mut lateness) = (Histogram::new(), Histogram::new());
    let mut answered = 0;
    let last = plan.count as Time * plan.every;
    while answered < plan.count && clock() < last + PATIENCE {
        let next = sent.len() as Time * plan.every;
        if sent.len() < plan.count && clock() >= next {
            let now = clock();
            lateness.record(now - next);
            ping(plan, sent.len(), &mut outbox);
            sent.push(Some(now));
            outbox.flush()?;
        } else if inbox.receive()? > 0 {
            let now = clock();
            for number in inbox.datagrams().filter_map(answer) {
                if let Some(at) = sent.get_mut(number).and_then(Option::take) {
                    took.record(now - at);
                    answered += 1;
                }
            }
        } else {
            let due = if sent.len() < plan.count {
                next
            } else {
                last + PATIENCE
            };
            wait([inbox.fd(), inbox.fd()], due.saturating_sub(clock()));
        }
    }
    println!(
        r#"{{"sent":{},"answered":{answered},"took":{},"lateness":{}}}"#,
        sent.len(),
        took.json(),
        lateness.json()
    );
    Ok(())
}

fn ping(plan: &Plan, number: usize, out: &mut Outbox) {
    let (port, middle, run) = (plan.port, plan.middle, std::process::id());
    _ = write!(
        out.datagram(),
        "OPTIONS sip:127.0.0.1:{middle} SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-ping-{run}-{number}\r\nMax-Forwards: 70\r\n\
        From: <sip:ping@127.0.0.1:{port}>;tag=ping{number}\r\nTo: <sip:127.0.0.1:{middle}>\r\n\
        Call-ID: ping-{run}-{number}@127.0.0.1\r\nCSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
}

/// The number of the ping that a message answers.
fn answer(data: &[u8]) -> Option<usize> {
    let cseq = parse(data)?.cseq;
    let digits = cseq.strip_suffix(b" OPTIONS")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
