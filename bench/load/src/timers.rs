//! Timers by delay: those of one delay fall due in the order in which they were set, so a queue for each
//! delay is all it takes. Nothing is taken out early; who is woken looks whether there is still a reason.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

/// Nanoseconds since the clock's start.
pub type Time = u64;

pub struct Timers<T> {
    /// (delay, the timers of that delay, earliest first)
    queues: Vec<(Time, VecDeque<(Time, T)>)>,
}

impl<T> Timers<T> {
    pub fn new() -> Self {
        Self { queues: Vec::new() }
    }

    pub fn set(&mut self, now: Time, delay: Time, what: T) {
        let entry = (now + delay, what);
        match self.queues.iter_mut().find(|(each, _)| *each == delay) {
            Some((_, queue)) => queue.push_back(entry),
            None => self.queues.push((delay, VecDeque::from([entry]))),
        }
    }

    /// Take one timer that is due, if there is one.
    pub fn due(&mut self, now: Time) -> Option<T> {
        self.queues
            .iter_mut()
            .find(|(_, queue)| queue.front().is_some_and(|(due, _)| *due <= now))
            .and_then(|(_, queue)| queue.pop_front())
            .map(|(_, what)| what)
    }

    /// When the next one falls due.
    pub fn next(&self) -> Option<Time> {
        self.queues
            .iter()
            .filter_map(|(_, queue)| queue.front().map(|(due, _)| *due))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fall_due_by_their_time_whatever_their_delay() {
        let mut timers = Timers::new();
        timers.set(0, 500, "first");
        timers.set(10, 100, "second");
        timers.set(20, 500, "third");
        assert_eq!(timers.next(), Some(110));
        assert_eq!(timers.due(109), None);
        assert_eq!(timers.due(500), Some("first"));
        assert_eq!(timers.due(500), Some("second"));
        assert_eq!(timers.due(500), None);
        assert_eq!(timers.due(520), Some("third"));
        assert_eq!(timers.next(), None);
    }
}
