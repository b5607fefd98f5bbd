//! Heartbeats and the fencing lease: what was sent when, what was answered, until when the lease holds.
//!
//! Pure. The lease counts from the *sending* of the last answered heartbeat: that is the latest moment at which the head
//! node surely still had this node as alive.

use std::collections::VecDeque;

use proto::control::Timing;
use proto::units::Millis;

use crate::spawner::clock::BootTime;

/// So many unanswered heartbeats in a row mean that the connection is dead.
const MISSED: u64 = 3;

/// Unanswered heartbeats that are remembered.
const MAX_REMEMBERED: usize = 64;

/// The heartbeats of one connection.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    timing: Timing,
    last_number: u64,
    unanswered: VecDeque<(u64, BootTime)>,
}

impl Heartbeats {
    pub(crate) const fn new(timing: Timing) -> Self {
        Self {
            timing,
            last_number: 0,
            unanswered: VecDeque::new(),
        }
    }

    /// A heartbeat is sent now; returns its number.
    pub(crate) fn beat(&mut self, now: BootTime) -> u64 {
        self.last_number += 1;
        if self.unanswered.len() >= MAX_REMEMBERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((self.last_number, now));
        self.last_number
    }

    /// A heartbeat was answered; returns until when the lease holds now.
    pub(crate) fn taken(&mut self, number: u64) -> Option<BootTime> {
        let mut sent_at = None;
        while let Some((sent, at)) = self.unanswered.front()
            && *sent <= number
        {
            sent_at = (*sent == number).then_some(*at);
            self.unanswered.pop_front();
        }
        sent_at.map(|at| self.lease_from(at))
    }

    /// Until when the lease holds that began then.
    pub(crate) fn lease_from(&self, sent_at: BootTime) -> BootTime {
        sent_at + self.timing.lease
    }

    /// Whether the other side has been silent for too long.
    pub(crate) fn is_dead(&self, now: BootTime) -> bool {
        let longest = Millis(self.timing.heartbeat.0.saturating_mul(MISSED));
        self.unanswered.front().is_some_and(|(_, at)| *at + longest < now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats() -> Heartbeats {
        Heartbeats::new(Timing {
            heartbeat: Millis(10),
            lease: Millis(100),
            kill_grace: Millis(1),
        })
    }

    #[test]
    fn the_lease_counts_from_the_sending_of_what_was_answered() {
        let mut beats = beats();
        let (first, second) = (beats.beat(BootTime(1000)), beats.beat(BootTime(1010)));
        assert_eq!(beats.taken(second), Some(BootTime(1110)));
        assert_eq!(beats.taken(first), None, "an older answer shortens nothing");
        assert_eq!(beats.taken(99), None, "a number that was never sent means nothing");
    }

    #[test]
    fn three_unanswered_ones_mean_a_dead_connection() {
        let mut beats = beats();
        let number = beats.beat(BootTime(1000));
        assert!(!beats.is_dead(BootTime(1030)));
        assert!(beats.is_dead(BootTime(1031)));
        beats.taken(number);
        assert!(!beats.is_dead(BootTime(9999)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut beats = beats();
        for now in 0..1000 {
            beats.beat(BootTime(now));
        }
        assert_eq!(beats.unanswered.len(), MAX_REMEMBERED);
    }
}
