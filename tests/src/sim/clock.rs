//! True time, and the clocks that parts of the cluster believe in.

use proto::units::{Monotonic, Now, Timestamp};

/// Wall-clock time at the start of a run; nodes and head may be off by days.
const EPOCH: u64 = 1_800_000_000_000;

/// True time: milliseconds since the start of the run.
pub(super) type Time = u64;

/// A clock that may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    ahead_ms: i64,
    /// When the process started, for its monotonic clock.
    pub(super) started: Time,
}

impl Clock {
    pub(super) const fn new(started: Time) -> Self {
        Self { ahead_ms: 0, started }
    }

    /// Somebody sets the wall clock.
    pub(super) const fn jump(&mut self, by_ms: i64) {
        self.ahead_ms = self.ahead_ms.saturating_add(by_ms);
    }

    /// What it shows.
    pub(super) const fn wall(&self, now: Time) -> Timestamp {
        Timestamp((EPOCH + now).saturating_add_signed(self.ahead_ms))
    }

    /// Both clocks.
    pub(super) const fn now(&self, now: Time) -> Now {
        Now {
            wall: self.wall(now),
            monotonic: Monotonic(now - self.started),
        }
    }

    /// True time of a moment of this process's monotonic clock.
    pub(super) const fn true_time(&self, at: Monotonic) -> Time {
        self.started + at.0
    }
}
