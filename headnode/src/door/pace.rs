//! How often one stream of news is told while much happens. Pure: the clock and the waiting are the caller's.
//!
//! The first few are told at once, so a short task's end is known when it is; then there is a pause between two, in which
//! news gathers. A thousand rounds in a second thus cost a watcher twenty looks, and five hundred watchers nothing that the
//! rounds would notice.

use std::time::Duration;

use tokio::time::Instant;

/// Between two of a stream that has much to tell.
const PAUSE: Duration = Duration::from_millis(50);

/// So many may be told without one, after a time of quiet.
const BURST: u32 = 16;

/// What one stream may still tell at once.
#[derive(Debug)]
pub(super) struct Pace {
    /// Grows with time, and is spent with each one.
    saved: Duration,
    at: Instant,
}

impl Pace {
    /// All of it, now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            saved: PAUSE * BURST,
            at: now,
        }
    }

    /// One was told: how long to wait before the next.
    pub(super) fn told(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at);
        self.saved = self.saved.saturating_add(since).min(PAUSE * BURST);
        self.at = now;
        if let Some(rest) = self.saved.checked_sub(PAUSE) {
            self.saved = rest;
            return Duration::ZERO;
        }
        let pause = PAUSE - self.saved;
        self.saved = Duration::ZERO;
        // The pause itself pays for the one after it.
        self.at = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_at_once_and_then_at_a_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            assert_eq!(pace.told(start), Duration::ZERO);
        }
        assert_eq!(pace.told(start), PAUSE);
        let mut now = start + PAUSE;
        for _ in 0..100 {
            assert_eq!(pace.told(now), PAUSE);
            now += PAUSE;
        }
    }

    #[test]
    fn quiet_gives_back_what_was_spent_and_no_more() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        while pace.told(start) == Duration::ZERO {}
        let later = start + Duration::from_secs(3600);
        let at_once = (0..1000).take_while(|_| pace.told(later) == Duration::ZERO).count();
        assert_eq!(at_once, 16);
    }
}
