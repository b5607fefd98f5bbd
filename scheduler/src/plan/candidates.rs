//! The open nodes that jobs of one class may use, sorted by what is free on them.
//!
//! Entries age: another class may have taken from a node since. An old entry is corrected when it is met, so a grant costs
//! a few steps in a tree and not a walk over all nodes.

use std::collections::BTreeSet;
use std::ops::Bound;

use proto::model::task::Request;

use super::Place;
use crate::cluster::{ClassId, Cluster, hindrance};

/// What the ready nodes of a class have, if all of it were free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) nodes: u64,
    pub(crate) slots: u64,
    /// Slots of the largest node.
    pub(crate) largest: u32,
}

impl Capacity {
    pub(crate) fn of(cluster: &Cluster, class: ClassId) -> Self {
        let mut all = Self::default();
        let Some(class) = cluster.class(class) else { return all };
        for row in cluster
            .nodes()
            .filter(|row| row.slots > 0 && hindrance(row).is_none() && class.excludes(row).is_none())
        {
            all.nodes += 1;
            all.slots += u64::from(row.slots);
            all.largest = all.largest.max(row.slots);
        }
        all
    }

    /// The slots that a node must have to take a part: where one node is large enough for all of a request, smaller nodes
    /// are of no use to it.
    pub(crate) const fn least_slots(self, request: Request) -> u32 {
        match request {
            Request::Cores { count } if count <= self.largest => count,
            Request::Cores { .. } | Request::Nodes { .. } => 1,
        }
    }
}

/// Whether today's ready nodes could hold the request if they were all free.
pub(crate) fn can_ever(capacity: Capacity, request: Request) -> bool {
    match request {
        Request::Cores { count } => u64::from(count) <= capacity.slots,
        Request::Nodes { count } => u64::from(count) <= capacity.nodes,
    }
}

/// Indexes into the places of a pass.
pub(super) struct Candidates {
    class: ClassId,
    /// By free slots, then by name.
    by_free: BTreeSet<(u32, usize)>,
    /// Nodes with nothing on them, by name.
    idle: BTreeSet<usize>,
    capacity: Option<Capacity>,
}

impl Candidates {
    pub(super) fn new(cluster: &Cluster, id: ClassId, places: &[Place]) -> Self {
        let mut new = Self {
            class: id,
            by_free: BTreeSet::new(),
            idle: BTreeSet::new(),
            capacity: None,
        };
        let Some(class) = cluster.class(id) else { return new };
        for (index, place) in places.iter().enumerate() {
            let fits = cluster
                .node(place.node)
                .is_some_and(|row| class.excludes(row).is_none());
            if fits && !place.reserved {
                new.put_back(index, place);
            }
        }
        new
    }

    pub(super) fn put_back(&mut self, index: usize, place: &Place) {
        if place.free > 0 {
            self.by_free.insert((place.free, index));
        }
        if place.is_idle() {
            self.idle.insert(index);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_free.is_empty()
    }

    pub(super) fn capacity(&mut self, cluster: &Cluster) -> Capacity {
        *self.capacity.get_or_insert_with(|| Capacity::of(cluster, self.class))
    }

    /// The place with the fewest free slots, at least `least`, that passes; equal ones by name.
    pub(super) fn fullest(&mut self, places: &[Place], least: u32, passes: impl Fn(&Place) -> bool) -> Option<usize> {
        let mut from = Bound::Included((least, 0));
        while let Some(entry) = self.by_free.range((from, Bound::Unbounded)).next().copied() {
            from = Bound::Excluded(entry);
            let (free, index) = entry;
            let place = &places[index];
            if place.reserved || place.free != free {
                self.correct(entry, place);
                // It has less than the entry said, so it may belong before here: fewer is fuller.
                if !place.reserved && place.free >= least && passes(place) {
                    return Some(index);
                }
            } else if passes(place) {
                return Some(index);
            }
        }
        None
    }

    /// All places that pass, emptiest first, equal ones by name.
    pub(super) fn emptiest(&mut self, places: &[Place], passes: impl Fn(&Place) -> bool) -> Vec<usize> {
        let aged = |(free, index): &(u32, usize)| places[*index].reserved || places[*index].free != *free;
        let old: Vec<(u32, usize)> = self.by_free.iter().copied().filter(aged).collect();
        for entry in old {
            self.correct(entry, &places[entry.1]);
        }
        let mut found: Vec<(u32, usize)> = self
            .by_free
            .iter()
            .copied()
            .filter(|(_, i)| passes(&places[*i]))
            .collect();
        found.sort_by_key(|(free, index)| (std::cmp::Reverse(*free), *index));
        found.into_iter().map(|(_, index)| index).collect()
    }

    /// So many places with nothing on them, the first by name; or none.
    pub(super) fn idle(&mut self, places: &[Place], count: usize) -> Option<Vec<usize>> {
        if self.idle.len() < count {
            return None;
        }
        let mut found = Vec::with_capacity(count);
        let mut used = Vec::new();
        for index in &self.idle {
            if found.len() == count {
                break;
            }
            let place = &places[*index];
            if place.reserved || !place.is_idle() {
                used.push(*index)
            } else {
                found.push(*index)
            }
        }
        for index in used {
            self.idle.remove(&index);
        }
        (found.len() == count).then_some(found)
    }

    /// Empties the list; those that are to stay are put back by the caller.
    pub(super) fn take_all(&mut self, places: &[Place]) -> Vec<usize> {
        self.idle.clear();
        let all = std::mem::take(&mut self.by_free);
        all.into_iter()
            .map(|(_, index)| index)
            .filter(|index| !places[*index].reserved)
            .collect()
    }

    fn correct(&mut self, entry: (u32, usize), place: &Place) {
        self.by_free.remove(&entry);
        if !place.reserved && place.free > 0 {
            self.by_free.insert((place.free, entry.1));
        }
    }
}
