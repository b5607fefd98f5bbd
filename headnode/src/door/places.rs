//! Room of which there is little, such as connections, so that no account locks the others out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use proto::model::owner::Role;

/// How many clients may be connected at once; more are told to come back.
pub(super) const MAX_CLIENTS: usize = 512;

/// How many of them one account may have.
pub(super) const MAX_CLIENTS_OF_ONE: usize = 64;

/// Places that are taken, by account.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_of_one: usize,
    /// Guards the counts for the length of one change.
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A place, or some, given back when it goes out of scope.
#[derive(Debug)]
pub struct Place<'a> {
    places: &'a Places,
    uid: u32,
    count: usize,
}

/// For clients.
impl Default for Places {
    fn default() -> Self {
        Self::with(MAX_CLIENTS, MAX_CLIENTS_OF_ONE)
    }
}

impl Places {
    /// So many, of which one account may have so many.
    pub(super) const fn with(most: usize, most_of_one: usize) -> Self {
        Self {
            most,
            most_of_one,
            taken: Mutex::new(BTreeMap::new()),
        }
    }

    /// A place for that account; none when all are taken. Administrators always get one.
    #[must_use]
    pub fn take(&self, uid: u32, role: Role) -> Option<Place<'_>> {
        self.take_many(uid, role, 1)
    }

    /// So many places at once, or none.
    pub(super) fn take_many(&self, uid: u32, role: Role, count: usize) -> Option<Place<'_>> {
        // Made only when it was taken: its end gives back.
        if !self.add(uid, role, count) {
            return None;
        }
        Some(Place {
            places: self,
            uid,
            count,
        })
    }

    fn add(&self, uid: u32, role: Role, count: usize) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&uid).copied().unwrap_or_default();
        let fits = all.saturating_add(count) <= self.most && own.saturating_add(count) <= self.most_of_one;
        if fits || role >= Role::Administrator {
            *taken.entry(uid).or_default() += count;
            return true;
        }
        false
    }
}

impl Place<'_> {
    /// How many it is.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Takes so many more. Whether there were.
    pub(super) fn grow(&mut self, more: usize, role: Role) -> bool {
        let grown = self.places.add(self.uid, role, more);
        if grown {
            self.count += more;
        }
        grown
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own = own.saturating_sub(self.count);
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_lock_the_others_out() {
        let places = Places::default();
        let mut taken: Vec<Place<'_>> = (0..MAX_CLIENTS_OF_ONE)
            .filter_map(|_| places.take(1000, Role::User))
            .collect();
        assert_eq!(taken.len(), MAX_CLIENTS_OF_ONE);
        for _ in 0..3 {
            assert!(places.take(1000, Role::User).is_none(), "a refusal gives nothing back");
        }
        assert!(places.take(1001, Role::User).is_some(), "others get in");
        assert!(
            places.take(1000, Role::Administrator).is_some(),
            "administrators always do"
        );
        taken.pop();
        assert!(places.take(1000, Role::User).is_some(), "a place that was given back");
    }

    #[test]
    fn several_places_are_taken_and_given_back_together() {
        let places = Places::with(10, 6);
        let mut some = places.take_many(1000, Role::User, 4).expect("there is room");
        assert!(!some.grow(3, Role::User), "more than one account may have");
        assert!(some.grow(2, Role::User));
        assert_eq!(some.count(), 6);
        assert!(places.take_many(1001, Role::User, 5).is_none(), "more than there are");
        drop(some);
        assert!(places.take_many(1001, Role::User, 5).is_some());
    }
}
