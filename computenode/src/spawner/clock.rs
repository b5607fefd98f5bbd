//! The two clocks of this machine: wall time for what is told to people, boot time for leases and limits.
//!
//! Boot time goes on while the machine sleeps, so a lease cannot outlive a closed lid; both processes of a node read
//! the same clock, so a deadline can be handed from one to the other.

use std::time::{Duration, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use proto::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use transport::wall;

/// Milliseconds since this machine booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        // The clock exists on every Linux since 2.6.39; if it did not, the machine would only seem to have just booted.
        let span = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long until this moment; nothing once it has passed.
    #[must_use]
    pub const fn after(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Millis> for BootTime {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// The wall clock, in the form in which it is told.
#[must_use]
pub fn wall_clock() -> Timestamp {
    // A clock before 1970 is told as 1970.
    let span = wall::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
