//! The only reader of time in the head node.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proto::units::{Monotonic, Now, Timestamp};
use transport::wall;

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
        let wall = timestamp(wall::now());
        let since_start = self.start.elapsed();
        Now {
            wall,
            monotonic: Monotonic(millis(since_start)),
        }
    }

    /// The moment of the standard library at which the monotonic clock shows `at`.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Instant {
        self.start + Duration::from_millis(at.0)
    }
}

/// A moment as it is stored and sent; moments before 1970 are its beginning.
#[must_use]
pub fn timestamp(moment: SystemTime) -> Timestamp {
    Timestamp(millis(moment.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// A moment as the standard library has it.
#[must_use]
pub fn system_time(at: Timestamp) -> SystemTime {
    // The system's seconds hold all milliseconds of 64 bits.
    UNIX_EPOCH + Duration::from_millis(at.0)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
