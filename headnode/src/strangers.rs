//! Peers that have proved nothing yet: how many there may be at once, and how often the log speaks of them.
//!
//! Whoever can send a packet can begin a handshake. No one address may hold so many that nodes and users find no room,
//! nor fill the log. An address is believed when its owner has answered from it; before that, and when room gets scarce,
//! it has to come back with a token that was sent there (QUIC's Retry).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::units::{Millis, Monotonic};

use crate::throttle::Source;

/// How many may be here at once: in their handshake, or joining, or logging in.
pub const MAX_STRANGERS: usize = 1024;

/// How many of them may come from one address; all nodes of a site may be behind one.
pub const MAX_STRANGERS_OF_ONE: usize = 256;

/// With so many here, an address has to prove itself first: so who lies about theirs never takes all of another's places.
pub const CROWDED: usize = MAX_STRANGERS_OF_ONE / 2;

/// Lines of the log in one minute; what is above is counted.
const MAX_LINES: u32 = 60;

const MINUTE: Millis = Millis::from_seconds(60);

/// Who is here without having proved anything.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Guards the counts for the length of one change.
    counts: Mutex<Counts>,
    /// Guards the log's budget likewise.
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_source: BTreeMap<Source, usize>,
}

#[derive(Debug, Default)]
struct Lines {
    began: Option<Monotonic>,
    said: u32,
    unsaid: u32,
}

/// A stranger's place, given back when it goes out of scope.
#[derive(Debug)]
pub struct Stay<'a> {
    strangers: &'a Strangers,
    source: Source,
}

/// Whether the log may speak of a stranger now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It may; so many lines were left out before.
    Line {
        /// How many.
        left_out: u32,
    },
    /// It has said enough.
    Nothing,
}

impl Strangers {
    /// A place for one more from there.
    pub fn take(&self, source: Source) -> Option<Stay<'_>> {
        let mut counts = self.counts();
        let own = counts.by_source.get(&source).copied().unwrap_or_default();
        if counts.all >= MAX_STRANGERS || own >= MAX_STRANGERS_OF_ONE {
            return None;
        }
        counts.all += 1;
        *counts.by_source.entry(source).or_default() += 1;
        Some(Stay {
            strangers: self,
            source,
        })
    }

    /// Whether addresses have to prove themselves.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.counts().all >= CROWDED
    }

    /// Asks whether the log may have a line more.
    pub fn says(&self, now: Monotonic) -> Says {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.began.is_none_or(|began| now.since(began) >= MINUTE) {
            lines.began = Some(now);
            lines.said = 0;
        }
        if lines.said >= MAX_LINES {
            lines.unsaid = lines.unsaid.saturating_add(1);
            return Says::Nothing;
        }
        lines.said += 1;
        let left_out = std::mem::take(&mut lines.unsaid);
        Says::Line { left_out }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let mut counts = self.strangers.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(own) = counts.by_source.get_mut(&self.source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    #[test]
    fn one_address_leaves_room_for_others_and_all_are_bounded() {
        let strangers = Strangers::default();
        let host = source("192.0.2.1");
        let mut stays: Vec<_> = (0..MAX_STRANGERS_OF_ONE).filter_map(|_| strangers.take(host)).collect();
        assert_eq!(stays.len(), MAX_STRANGERS_OF_ONE);
        assert!(strangers.take(host).is_none());
        assert!(strangers.is_crowded(), "now addresses have to be proved");
        for other in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            stays.extend((0..MAX_STRANGERS_OF_ONE).filter_map(|_| strangers.take(source(other))));
        }
        assert_eq!(stays.len(), MAX_STRANGERS);
        assert!(strangers.take(source("192.0.2.5")).is_none());
        stays.clear();
        assert!(!strangers.is_crowded() && strangers.take(host).is_some());
    }

    #[test]
    fn the_log_says_so_much_in_a_minute_and_counts_the_rest() {
        let strangers = Strangers::default();
        let said = |ms| strangers.says(Monotonic(ms));
        for _ in 0..MAX_LINES {
            assert_eq!(said(5), Says::Line { left_out: 0 });
        }
        assert_eq!([said(6), said(60_004)], [Says::Nothing; 2]);
        assert_eq!(said(60_005), Says::Line { left_out: 2 });
    }
}
