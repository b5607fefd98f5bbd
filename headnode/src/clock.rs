//! The only reader of time in the head node.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proto::units::{Monotonic, Now, Timestamp};

/// Both clocks, the monotonic one counted from the start of the process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks of this moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_start = self.start.elapsed();
        Now {
            wall: Timestamp(millis(wall)),
            monotonic: Monotonic(millis(since_start)),
        }
    }

    /// The moment of the standard library at which the monotonic clock shows `at`.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Instant {
        self.start + std::time::Duration::from_millis(at.0)
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
