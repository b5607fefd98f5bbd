//! Who is connected, so that no account locks the others out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use proto::model::owner::Role;

/// How many clients may be connected at once; more are told to come back.
pub(super) const MAX_CLIENTS: usize = 512;

/// How many of them one account may have.
pub(super) const MAX_CLIENTS_OF_ONE: usize = 64;

/// Connected clients by account.
#[derive(Debug, Default)]
pub struct Places {
    /// Guards the counts for the length of one change.
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A client's place, given back when it goes out of scope.
#[derive(Debug)]
pub struct Place<'a> {
    places: &'a Places,
    uid: u32,
}

impl Places {
    /// A place for a client of that account; none when all are taken. Administrators always get one.
    #[must_use]
    pub fn take(&self, uid: u32, role: Role) -> Option<Place<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&uid).copied().unwrap_or_default();
        let full = all >= MAX_CLIENTS || own >= MAX_CLIENTS_OF_ONE;
        if full && role < Role::Administrator {
            return None;
        }
        *taken.entry(uid).or_default() += 1;
        Some(Place { places: self, uid })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
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
        assert!(places.take(1000, Role::User).is_none());
        assert!(places.take(1001, Role::User).is_some(), "others get in");
        assert!(
            places.take(1000, Role::Administrator).is_some(),
            "administrators always do"
        );
        taken.pop();
        assert!(places.take(1000, Role::User).is_some(), "a place that was given back");
    }
}
