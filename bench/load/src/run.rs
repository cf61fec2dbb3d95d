//! One run: calls that stay up, a warm-up, the load that is measured, and the wait for what is still open.

#![forbid(unsafe_code)]

use std::io;
use std::time::Instant;

use crate::arrivals::Random;
use crate::calls::{Calls, Flow, Wake};
use crate::options::Options;
use crate::sockets::{be_punctual, cpu_seconds, open, wait, Inbox, Outbox};
use crate::timers::Time;
use crate::{callee, caller};

const SECOND: f64 = 1e9;
/// The longest nap, so that the end of a phase is noticed.
const NAP: Time = 10_000_000;

/// Calls that stay up are set up at most so many at once, as fast as the server takes them.
const AT_ONCE: u64 = 500;

pub struct Plan {
    me: caller::Identity,
    callee: u16,
    flow: String,
    rate: f64,
    seconds: f64,
    warm_up: f64,
    live: f64,
    live_rate: f64,
    patience: f64,
    seed: u64,
}

impl Plan {
    /// Make a plan of options; the error is one sentence.
    pub fn new(options: &Options) -> Result<Self, String> {
        let flow = options.text("--flow", "rejected");
        if !["rejected", "answered", "mixed"].contains(&flow.as_str()) {
            return Err(format!("--flow {flow}: not rejected, answered or mixed"));
        }
        Ok(Self {
            me: caller::Identity {
                run: std::process::id(),
                port: options.port("--caller")?,
                middle: options.port("--middle")?,
                expected: options.number("--expected", 404.0)? as u16,
            },
            callee: options.port("--callee")?,
            flow,
            rate: options.number("--rate", 1_000.0)?,
            seconds: options.number("--seconds", 5.0)?,
            warm_up: options.number("--warm-up", 2.0)?,
            live: options.number("--live", 0.0)?,
            live_rate: options.number("--live-rate", 1_000.0)?.max(1.0),
            patience: options.number("--patience", 10.0)?,
            seed: options.number("--seed", 1.0)? as u64,
        })
    }
}

struct Run<'a> {
    plan: &'a Plan,
    start: Instant,
    calls: Calls,
    random: Random,
    caller: (Inbox, Outbox),
    callee: (Inbox, Outbox),
    received: u64,
}

/// Carry a plan out and print what came of it.
pub fn run(plan: &Plan) -> io::Result<()> {
    be_punctual();
    // Without a server between them the two are each other's peers.
    let direct = plan.me.middle == plan.callee;
    let behind = if direct { plan.me.port } else { plan.me.middle };
    let mut run = Run {
        plan,
        start: Instant::now(),
        calls: Calls::new((plan.patience * SECOND) as Time),
        random: Random::new(plan.seed),
        caller: open(plan.me.port, plan.me.middle)?,
        callee: open(plan.callee, behind)?,
        received: 0,
    };
    let wanted = plan.live as usize;
    if wanted > 0 {
        run.play(plan.live_rate, true, |calls, _| calls.placed() >= wanted)?;
        run.play(0.0, true, |calls, _| calls.open == 0)?;
        println!("live {}", run.calls.live);
    }
    let end = run.now() + (plan.warm_up * SECOND) as Time;
    run.play(plan.rate, false, |_, now| now >= end)?;
    run.calls.measuring = true;
    println!("measuring");
    let (begin, cpu, sent) = (run.now(), cpu_seconds(), run.sent());
    let end = begin + (plan.seconds * SECOND) as Time;
    run.play(plan.rate, false, |_, now| now >= end)?;
    let took = (run.now() - begin) as f64 / SECOND;
    run.calls.measuring = false;
    let (cpu, sent) = (cpu_seconds() - cpu, run.sent() - sent);
    println!("measured");
    run.play(0.0, false, |calls, _| calls.open == 0)?;
    println!("{}", run.report(took, cpu, sent));
    Ok(())
}

impl Run<'_> {
    fn now(&self) -> Time {
        self.start.elapsed().as_nanos() as Time
    }

    fn sent(&self) -> u64 {
        self.caller.1.sent + self.callee.1.sent
    }

    /// Place `rate` calls a second until `done`, and do all that the calls under way ask for.
    fn play(
        &mut self,
        rate: f64,
        live: bool,
        done: impl Fn(&Calls, Time) -> bool,
    ) -> io::Result<()> {
        let mut arrival = self.now() + self.gap(rate);
        loop {
            let now = self.now();
            if done(&self.calls, now) {
                return Ok(());
            }
            while arrival <= now && !done(&self.calls, now) {
                if live && self.calls.open >= AT_ONCE {
                    // They are not measured: they come up as fast as they can, and no faster.
                    arrival = now + self.gap(rate);
                    break;
                }
                if self.calls.measuring {
                    self.calls.tally.lateness.record(now - arrival);
                }
                let flow = if live { Flow::Answered } else { self.flow() };
                caller::place(
                    &self.plan.me,
                    &mut self.calls,
                    &mut self.caller.1,
                    flow,
                    live,
                    now,
                );
                arrival += self.gap(rate);
            }
            self.wake(now);
            if self.exchange()? == 0 {
                let next = self
                    .calls
                    .timers
                    .next()
                    .map_or(arrival, |due| due.min(arrival));
                let nap = next.saturating_sub(self.now()).min(NAP);
                wait([self.caller.0.fd(), self.callee.0.fd()], nap);
            }
        }
    }

    fn gap(&mut self, rate: f64) -> Time {
        if rate > 0.0 {
            self.random.gap(rate)
        } else {
            Time::MAX / 2
        }
    }

    fn flow(&mut self) -> Flow {
        match self.plan.flow.as_str() {
            "rejected" => Flow::Rejected,
            "answered" => Flow::Answered,
            _ if self.random.share() < 0.5 => Flow::Rejected,
            _ => Flow::Answered,
        }
    }

    /// See to the timers that are due.
    fn wake(&mut self, now: Time) {
        let (me, calls) = (&self.plan.me, &mut self.calls);
        let (front, back) = (&mut self.caller.1, &mut self.callee.1);
        while let Some(wake) = calls.timers.due(now) {
            match wake {
                Wake::Invite(..) | Wake::Bye(..) => caller::again(me, calls, front, wake, now),
                Wake::LastWord(number, count) => {
                    callee::last_word_again(calls, back, number, count, now);
                }
                Wake::Patience(number) => {
                    if let Some(why) = calls.overdue(number) {
                        calls.fail(number, why);
                    }
                }
            }
        }
    }

    /// Send what is written, take in what is there and act on it; return how many datagrams came.
    fn exchange(&mut self) -> io::Result<usize> {
        let (front_in, front_out) = &mut self.caller;
        let (back_in, back_out) = &mut self.callee;
        front_out.flush()?;
        let mut count = back_in.receive()?;
        let now = self.start.elapsed().as_nanos() as Time;
        for data in back_in.datagrams() {
            callee::hear(self.plan.callee, &mut self.calls, back_out, data, now);
        }
        back_out.flush()?;
        count += front_in.receive()?;
        let now = self.start.elapsed().as_nanos() as Time;
        for data in front_in.datagrams() {
            caller::hear(&self.plan.me, &mut self.calls, front_out, data, now);
        }
        front_out.flush()?;
        self.received += count as u64;
        Ok(count)
    }

    fn report(&self, took: f64, cpu: f64, sent: u64) -> String {
        let tally = &self.calls.tally;
        let failures: Vec<String> = tally
            .failures
            .iter()
            .map(|(why, count)| format!(r#""{why}":{count}"#))
            .collect();
        let dropped = self.caller.0.dropped() + self.callee.0.dropped();
        let refused = self.caller.1.refused + self.callee.1.refused;
        format!(
            r#"{{"flow":"{}","asked":{},"seconds":{took:.6},"placed":{},"succeeded":{},"failed":{},"failures":{{{}}},"failed_early":{},"live":{},"retransmissions":{},"repeats":{},"strays":{},"dropped":{dropped},"refused":{refused},"received":{},"sent":{sent},"cpu":{cpu:.6},"setup":{},"hangup":{},"lateness":{}}}"#,
            self.plan.flow,
            self.plan.rate,
            tally.placed,
            tally.succeeded,
            tally.failed,
            failures.join(","),
            self.calls.failed_early,
            self.calls.live,
            tally.retransmissions,
            tally.repeats,
            tally.strays,
            self.received,
            tally.setup.json(),
            tally.hangup.json(),
            tally.lateness.json(),
        )
    }
}
