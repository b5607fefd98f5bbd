//! A fence: everyone arrives, bringing pairs; the last one releases all, and everyone gets the union.
//!
//! The same machine stands at every level of the tree: on a node its members are the ranks, above it the members are
//! nodes. Fences of one launch come one after the other, so a member that arrives twice has broken the protocol.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::kvs::Pair;

/// Why an arrival is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FenceError<M: Display> {
    /// It is in the fence already.
    #[error("{member} entered a barrier that it is in already")]
    Twice {
        /// Who.
        member: M,
    },
    /// It is not one of the members.
    #[error("{member} entered a barrier that it does not belong to")]
    Stranger {
        /// Who.
        member: M,
    },
}

/// Who must come, who is there, and what they brought.
#[derive(Debug, Clone)]
pub struct Fence<M> {
    members: BTreeSet<M>,
    arrived: BTreeSet<M>,
    pairs: Vec<Pair>,
    completed: u64,
}

impl<M: Ord + Copy + Display> Fence<M> {
    /// A fence among these members.
    pub fn new(members: impl IntoIterator<Item = M>) -> Self {
        let members = members.into_iter().collect();
        Self {
            members,
            arrived: BTreeSet::new(),
            pairs: Vec::new(),
            completed: 0,
        }
    }

    /// A member arrives. The last one gets the union of all pairs, and the next fence begins.
    ///
    /// # Errors
    /// [`FenceError`] when this member cannot arrive now.
    pub fn arrive(&mut self, member: M, pairs: Vec<Pair>) -> Result<Option<Vec<Pair>>, FenceError<M>> {
        if !self.members.contains(&member) {
            return Err(FenceError::Stranger { member });
        }
        if !self.arrived.insert(member) {
            return Err(FenceError::Twice { member });
        }
        self.pairs.extend(pairs);
        if self.arrived.len() < self.members.len() {
            return Ok(None);
        }
        self.arrived.clear();
        self.completed += 1;
        Ok(Some(std::mem::take(&mut self.pairs)))
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Whether this member is in the fence that is under way.
    #[must_use]
    pub fn has_arrived(&self, member: M) -> bool {
        self.arrived.contains(&member)
    }

    /// Those who are awaited, ascending.
    pub fn missing(&self) -> impl Iterator<Item = M> {
        self.members.difference(&self.arrived).copied()
    }

    /// How many fences are complete.
    #[must_use]
    pub const fn completed(&self) -> u64 {
        self.completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str) -> Pair {
        (key.to_owned(), "v".to_owned())
    }

    #[test]
    fn the_last_one_gets_the_union_and_the_next_fence_begins() {
        let mut fence = Fence::new([0, 1, 2]);
        assert_eq!(fence.arrive(2, vec![pair("c")]), Ok(None));
        assert_eq!(fence.arrive(0, vec![]), Ok(None));
        assert_eq!(fence.missing().collect::<Vec<_>>(), [1]);
        assert_eq!(fence.arrive(1, vec![pair("b")]), Ok(Some(vec![pair("c"), pair("b")])));
        assert!(!fence.is_waiting());
        assert_eq!(fence.completed(), 1);
        assert_eq!(fence.arrive(1, vec![]), Ok(None));
    }

    #[test]
    fn strangers_and_repeats_are_refused_and_change_nothing() {
        let mut fence = Fence::new([0, 1]);
        assert_eq!(fence.arrive(7, vec![]), Err(FenceError::Stranger { member: 7 }));
        assert_eq!(fence.arrive(0, vec![]), Ok(None));
        assert_eq!(fence.arrive(0, vec![pair("x")]), Err(FenceError::Twice { member: 0 }));
        assert_eq!(fence.arrive(1, vec![]), Ok(Some(vec![])));
    }
}
