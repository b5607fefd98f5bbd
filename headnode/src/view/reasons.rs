//! Why jobs wait, as lists tell it. A reason costs a look at the queue and the nodes, and the lists of many clients ask for
//! the same ones. Where many lists are asked for in a second they share reasons that are a second old at most, and finding new
//! ones takes a tenth of the time at most: meanwhile a list has older ones, or none. What happens must not wait for them.
//!
//! Few lists, and every other question, get them as they are now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::ids::JobId;
use proto::model::why::Why;
use proto::units::{Millis, Monotonic};

/// So many lists in a second are few.
const FEW: u32 = 8;

/// How old a shared reason may be.
const GOOD_FOR: Millis = Millis::from_seconds(1);

/// How old one may be while no new one may be found.
const BEARABLE_FOR: Millis = Millis::from_seconds(10);

/// So many times as long as finding one took, no other is looked for.
const REST: u32 = 9;

/// The longest that finding one is thought to take.
const LONGEST: Duration = Duration::from_secs(10);

/// When so many are remembered, those that are too old are forgotten.
const MAX_REMEMBERED: usize = 4096;

/// What lists were told lately.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    /// Guards the count for one list.
    lists: Mutex<Count>,
    /// Guards the table for one look-up.
    told: Mutex<BTreeMap<JobId, (Monotonic, Option<Why>)>>,
    /// Until when no list of many looks for a new one. Guards it for one look.
    rest_until: Mutex<Option<Instant>>,
}

/// Lists of one second and of the one before.
#[derive(Debug, Default)]
struct Count {
    second: u64,
    lists: u32,
    before: u32,
}

impl Count {
    /// Counts one, and tells whether they are many.
    fn is_crowded(&mut self, now: Monotonic) -> bool {
        let second = now.0 / 1000;
        if second != self.second {
            let follows = second == self.second + 1;
            self.before = if follows { self.lists } else { 0 };
            (self.second, self.lists) = (second, 0);
        }
        self.lists = self.lists.saturating_add(1);
        self.lists.max(self.before) > FEW
    }
}

/// A list that is being made.
#[derive(Debug)]
pub(super) struct List<'a> {
    reasons: &'a Reasons,
    crowded: bool,
    now: Monotonic,
}

impl Reasons {
    pub(super) fn list(&self, now: Monotonic) -> List<'_> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        List {
            reasons: self,
            crowded: lists.is_crowded(now),
            now,
        }
    }

    /// Whether a reason may be looked for now; then no other is until [`Self::rest`].
    fn begin(&self, now: Instant) -> bool {
        let mut until = self.rest_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| now < until) {
            return false;
        }
        *until = Some(now + LONGEST);
        true
    }

    fn rest(&self, span: Duration) {
        *self.rest_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + span);
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<JobId, (Monotonic, Option<Why>)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List<'_> {
    /// Why a job waits; `explain` finds out.
    pub(super) fn reason(&self, job: JobId, explain: impl FnOnce() -> Option<Why>) -> Option<Why> {
        let began = Instant::now();
        if self.crowded {
            let known = self.reasons.told().get(&job).cloned();
            let known = known.map(|(at, why)| (self.now.since(at), why));
            match known {
                Some((age, why)) if age < GOOD_FOR => return why,
                Some((age, why)) if !self.reasons.begin(began) => return why.filter(|_| age < BEARABLE_FOR),
                None if !self.reasons.begin(began) => return None,
                _ => {}
            }
        }
        let why = explain();
        if self.crowded {
            self.reasons.rest(began.elapsed() * REST);
        }
        let mut told = self.reasons.told();
        if told.len() >= MAX_REMEMBERED {
            told.retain(|_, (at, _)| self.now.since(*at) < BEARABLE_FOR);
        }
        if told.len() < MAX_REMEMBERED {
            told.insert(job, (self.now, why.clone()));
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(list: &List<'_>) -> bool {
        let mut asked = false;
        list.reason(JobId(1), || {
            asked = true;
            None
        });
        asked
    }

    #[test]
    fn few_lists_are_told_as_it_is_now() {
        let reasons = Reasons::default();
        for ms in 0..100 {
            assert!(asked(&reasons.list(Monotonic(ms * 200))));
        }
    }

    #[test]
    fn many_share_reasons_for_a_moment_and_seldom_look_for_new_ones() {
        let reasons = Reasons::default();
        for _ in 0..FEW {
            assert!(asked(&reasons.list(Monotonic(5000))));
        }
        assert!(!asked(&reasons.list(Monotonic(5900))), "known");
        reasons.rest(Duration::from_secs(600));
        assert!(
            !asked(&reasons.list(Monotonic(6001))),
            "too old, but it was just looked for another"
        );
        reasons.rest(Duration::ZERO);
        assert!(asked(&reasons.list(Monotonic(6001))), "too old");
        assert!(asked(&reasons.list(Monotonic(8000))), "they are few again");
    }
}
