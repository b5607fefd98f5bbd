//! Whether spinning pays. Pure.
//!
//! Two ranks that share a core only take it from each other by spinning: the peer can't answer before the spinner
//! sleeps. A rank cannot know where its peer runs, but it sees that its spins end without news. After a few of those
//! it sleeps at once for a while, then tries again.

/// Fruitless spins in a row before spinning stops.
const PATIENCE: u32 = 8;

/// How many waits go without spinning after that. A fruitless try per this many waits costs under one per cent.
const PAUSE_WAITS: u32 = 512;

/// The memory of past spins.
#[derive(Debug, Default)]
pub(super) struct SpinHabit {
    fruitless: u32,
    waits_to_skip: u32,
}

impl SpinHabit {
    /// Whether to spin in this wait.
    pub(super) fn tries(&mut self) -> bool {
        if self.waits_to_skip > 0 {
            self.waits_to_skip -= 1;
            return false;
        }
        true
    }

    /// A spin ended with news.
    pub(super) fn paid(&mut self) {
        self.fruitless = 0;
    }

    /// A spin ended without news.
    pub(super) fn wasted(&mut self) {
        self.fruitless += 1;
        if self.fruitless >= PATIENCE {
            self.waits_to_skip = PAUSE_WAITS;
            // One more fruitless try is enough to stop again.
            self.fruitless = PATIENCE - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_stops_when_it_never_pays_and_is_tried_again() {
        let mut habit = SpinHabit::default();
        for _ in 0..PATIENCE {
            assert!(habit.tries());
            habit.wasted();
        }
        let skipped = (0..).take_while(|_| !habit.tries()).count();
        assert_eq!(skipped, 512);
        habit.wasted();
        assert!(!habit.tries(), "one fruitless try is enough now");
    }

    #[test]
    fn spinning_that_pays_goes_on() {
        let mut habit = SpinHabit::default();
        for round in 0..100 {
            assert!(habit.tries());
            if round % 2 == 0 { habit.wasted() } else { habit.paid() }
        }
    }
}
