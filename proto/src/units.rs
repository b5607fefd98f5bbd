//! Quantities with their unit in the type.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Wall-clock time as the head node told it: milliseconds since 1970-01-01 UTC.
///
/// For showing and storing only. Leases and liveness count on [`Monotonic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; nothing when a clock went backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// Milliseconds on a clock that only goes forward and means nothing across restarts. Never stored, never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// How long after `earlier` this is.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Monotonic {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// The two clocks of one moment, read once by the shell and handed to the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For what is stored and shown.
    pub wall: Timestamp,
    /// For intervals.
    pub monotonic: Monotonic,
}

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The span as the standard library has it.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Add for Millis {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Millis {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Millis {
    /// Two units at most, as people say it: `850ms`, `12s`, `3m 5s`, `2h 10m`, `4d 2h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        let text = match self.0 {
            0..1000 => format!("{}ms", self.0),
            1000..60_000 => format!("{seconds}s"),
            60_000..3_600_000 => format!("{minutes}m {}s", seconds % 60),
            3_600_000..86_400_000 => format!("{hours}h {}m", minutes % 60),
            _ => format!("{days}d {}h", hours % 24),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let shown = |ms: u64| Millis(ms).to_string();
        assert_eq!(
            [
                shown(850),
                shown(12_000),
                shown(185_000),
                shown(7_800_000),
                shown(352_800_000)
            ],
            ["850ms", "12s", "3m 5s", "2h 10m", "4d 2h"]
        );
    }

    #[test]
    fn a_clock_that_went_back_gives_no_span() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Millis(0));
    }
}
