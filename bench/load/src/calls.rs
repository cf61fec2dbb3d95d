//! The calls under way: what each end of a call has come to, and what went well or wrong.
//!
//! Caller and callee live in one process and share this table, so that a call is found by its number, which
//! stands in its Call-ID on the caller's side and in its URIs on the callee's.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::timers::{Time, Timers};

pub const T1: Time = 500_000_000;
pub const T2: Time = 4_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Rejected,
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Calling,
    Ringing,
    Up,
    Leaving,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee {
    Waiting,
    Refused,
    Answered,
    Up,
    Over,
}

/// Where the requests of an answered call go, as its caller has learnt.
pub struct Dialog {
    pub to: Vec<u8>,
    pub target: Vec<u8>,
    pub routes: Vec<Vec<u8>>,
}

pub struct Call {
    pub flow: Flow,
    /// It stays up; nobody hangs up.
    pub live: bool,
    /// It counts: it was placed after the warm-up.
    pub measured: bool,
    pub failed: bool,
    pub caller: Caller,
    pub callee: Callee,
    pub placed: Time,
    pub left: Time,
    pub dialog: Option<Box<Dialog>>,
    /// The callee's final response, until it is acknowledged.
    pub last_word: Vec<u8>,
}

impl Call {
    fn finished(&self) -> bool {
        if self.live {
            return self.caller == Caller::Up && self.callee == Callee::Up;
        }
        self.caller == Caller::Over && self.callee == Callee::Over
    }
}

/// What a timer was set for; the second part counts how often it has fired for this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    Invite(usize, u32),
    Bye(usize, u32),
    LastWord(usize, u32),
    Patience(usize),
}

/// What is counted of calls that were placed after the warm-up; latencies in nanoseconds.
pub struct Tally {
    pub placed: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Failed calls by what was wrong first.
    pub failures: BTreeMap<&'static str, u64>,
    /// Requests and final responses that were sent again because nothing had come back.
    pub retransmissions: u64,
    /// Messages that came again though they had been heard.
    pub repeats: u64,
    /// Messages that belong to no call, or that no peer should send.
    pub strays: u64,
    pub setup: Histogram,
    pub hangup: Histogram,
    pub lateness: Histogram,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            placed: 0,
            succeeded: 0,
            failed: 0,
            failures: BTreeMap::new(),
            retransmissions: 0,
            repeats: 0,
            strays: 0,
            setup: Histogram::new(),
            hangup: Histogram::new(),
            lateness: Histogram::new(),
        }
    }
}

pub struct Calls {
    all: Vec<Call>,
    pub timers: Timers<Wake>,
    pub tally: Tally,
    /// Whether calls that are placed now count.
    pub measuring: bool,
    /// Calls that are neither finished nor failed.
    pub open: u64,
    /// Calls that are up and stay up.
    pub live: u64,
    /// Calls that failed without being counted: before or during the warm-up.
    pub failed_early: u64,
    patience: Time,
}

impl Calls {
    /// A call that is not over after `patience` nanoseconds has failed.
    pub fn new(patience: Time) -> Self {
        Self {
            all: Vec::new(),
            timers: Timers::new(),
            tally: Tally::new(),
            measuring: false,
            open: 0,
            live: 0,
            failed_early: 0,
            patience,
        }
    }

    pub fn place(&mut self, flow: Flow, live: bool, now: Time) -> usize {
        let number = self.all.len();
        self.all.push(Call {
            flow,
            live,
            measured: self.measuring,
            failed: false,
            caller: Caller::Calling,
            callee: Callee::Waiting,
            placed: now,
            left: 0,
            dialog: None,
            last_word: Vec::new(),
        });
        self.open += 1;
        self.tally.placed += u64::from(self.measuring);
        self.timers.set(now, self.patience, Wake::Patience(number));
        number
    }

    pub fn placed(&self) -> usize {
        self.all.len()
    }

    pub fn get(&mut self, number: usize) -> Option<&mut Call> {
        self.all.get_mut(number)
    }

    /// Count the call if its last step has been taken.
    pub fn settle(&mut self, number: usize) {
        let call = &mut self.all[number];
        if call.failed || !call.finished() {
            return;
        }
        self.open -= 1;
        self.live += u64::from(call.live);
        self.tally.succeeded += u64::from(call.measured);
        if !call.live {
            call.dialog = None;
        }
    }

    /// Something is wrong with a call; the first such thing counts, and ends it.
    pub fn fail(&mut self, number: usize, why: &'static str) {
        let call = &mut self.all[number];
        if call.failed {
            return;
        }
        if call.finished() {
            self.tally.strays += 1;
            return;
        }
        call.failed = true;
        call.dialog = None;
        call.last_word = Vec::new();
        self.open -= 1;
        if call.measured {
            self.tally.failed += 1;
            *self.tally.failures.entry(why).or_default() += 1;
        } else {
            self.failed_early += 1;
        }
    }

    /// What a call whose time is up has been waiting for; None when it is over.
    pub fn overdue(&self, number: usize) -> Option<&'static str> {
        let call = &self.all[number];
        if call.failed || call.finished() {
            return None;
        }
        Some(match (call.caller, call.callee) {
            (Caller::Calling, Callee::Waiting) => "the INVITE was lost",
            (Caller::Ringing, Callee::Waiting) => "the INVITE was not passed on",
            (Caller::Calling | Caller::Ringing, _) => "no final response",
            (Caller::Leaving, _) => "no answer to BYE",
            (_, Callee::Refused | Callee::Answered) => "no ACK",
            _ => "no BYE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_over_when_both_ends_are() {
        let mut calls = Calls::new(T2);
        calls.measuring = true;
        let number = calls.place(Flow::Rejected, false, 0);
        calls.get(number).unwrap().caller = Caller::Over;
        calls.settle(number);
        assert_eq!((calls.open, calls.tally.succeeded), (1, 0));
        assert_eq!(calls.overdue(number), Some("no BYE"));
        calls.get(number).unwrap().callee = Callee::Over;
        calls.settle(number);
        assert_eq!((calls.open, calls.tally.succeeded), (0, 1));
        calls.fail(number, "too late");
        assert_eq!((calls.tally.failed, calls.tally.strays), (0, 1));
    }

    #[test]
    fn a_call_fails_once_and_of_the_first_fault() {
        let mut calls = Calls::new(T2);
        calls.measuring = true;
        let number = calls.place(Flow::Answered, false, 0);
        calls.fail(number, "first");
        calls.fail(number, "second");
        assert_eq!(calls.tally.failures, BTreeMap::from([("first", 1)]));
        assert_eq!((calls.open, calls.overdue(number)), (0, None));
    }

    #[test]
    fn what_fails_before_measuring_is_counted_apart() {
        let mut calls = Calls::new(T2);
        let number = calls.place(Flow::Answered, true, 0);
        calls.fail(number, "lost");
        assert_eq!((calls.failed_early, calls.tally.failed), (1, 0));
    }
}
