//! How long to wait before trying again. Pure: the clock and the waiting are the caller's.

use std::time::Duration;

/// Waits that double up to a cap, each cut at random by up to a half, so that a thousand nodes that lost one head do not
/// come back in the same instant. One seed gives one sequence.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Begins with about `first` and never waits longer than `cap`. Different machines take different seeds.
    #[must_use]
    pub fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        let first = first.min(cap);
        Self {
            first,
            cap,
            next: first,
            random: seed,
        }
    }

    /// How long to wait now; the next one is longer.
    pub fn next_wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.cap);
        let half = whole / 2;
        half + half.mul_f64(self.next_fraction())
    }

    /// After a success: begins anew.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// From 0 to 1, by SplitMix64.
    fn next_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        for whole in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(
                wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole),
                "{wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }

    #[test]
    fn a_seed_gives_its_own_sequence_again() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            [(); 5].map(|()| backoff.next_wait())
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn the_longest_wait_does_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX, 1);
        assert!(backoff.next_wait() >= Duration::MAX / 3);
    }
}
