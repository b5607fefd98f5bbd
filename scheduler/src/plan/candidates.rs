//! The open nodes that a task may use, sorted by preference and by what is free on them: a *lane*. A class of jobs has one,
//! or one per node group where a task must stay within one group.
//!
//! Entries age: another class may have taken from a node since. An old entry is corrected when it is met, so a grant costs
//! a few steps in a tree and not a walk over all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::need::{Measure, Need};
use super::place::Place;
use crate::cluster::{Class, Cluster, hindrance};

/// What the ready nodes of a lane have, if all of it were free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) nodes: u64,
    pub(crate) units: u64,
    /// Units of the largest node.
    pub(crate) largest: u32,
}

impl Capacity {
    pub(crate) fn of(cluster: &Cluster, class: &Class, lane: usize, measure: Measure) -> Self {
        let mut all = Self::default();
        for row in cluster.nodes() {
            let fits = row.slots > 0 && hindrance(row).is_none() && class.excludes(row).is_none();
            if fits && class.is_in_lane(lane, row) {
                let units = measure.units_of(row);
                all.nodes += 1;
                all.units += u64::from(units);
                all.largest = all.largest.max(units);
            }
        }
        all
    }

    /// The units that a node must have to take a part: where one node is large enough for all of a need, smaller nodes
    /// are of no use to it.
    pub(crate) const fn least_units(self, need: Need) -> u32 {
        if matches!(need.measure(), Measure::Nodes) || (need.least > self.largest && !need.single_node) {
            1
        } else {
            need.least
        }
    }

    /// Whether today's ready nodes could hold it if they were all free.
    pub(crate) fn can_ever(self, need: Need) -> bool {
        let least = u64::from(need.least);
        match need.measure() {
            Measure::Nodes => least <= self.nodes && (need.least == 1 || !need.single_node),
            Measure::Slots | Measure::Sockets if need.single_node => need.least <= self.largest,
            Measure::Slots | Measure::Sockets => least <= self.units,
        }
    }
}

/// An entry: preference, free units, index into the places of the pass.
type Entry = (u32, u32, usize);

/// Indexes into the places of a pass.
pub(super) struct Lane {
    number: usize,
    measure: Measure,
    by_free: BTreeSet<Entry>,
    /// Nodes with nothing on them, by preference, then by name.
    idle: BTreeSet<(u32, usize)>,
    /// The preference of each place; without a wish all have 0, and nothing stands here.
    ranks: BTreeMap<usize, u32>,
    capacity: Option<Capacity>,
}

impl Lane {
    /// All lanes of a class, in the order in which they are tried.
    pub(super) fn all(cluster: &Cluster, class: &Class, places: &[Place], measure: Measure) -> Vec<Self> {
        (0..class.lanes())
            .map(|number| Self::new(cluster, class, places, number, measure))
            .collect()
    }

    fn new(cluster: &Cluster, class: &Class, places: &[Place], number: usize, measure: Measure) -> Self {
        let row = |place: &Place| cluster.node(place.node);
        let fitting = |(_, place): &(usize, &Place)| {
            row(place).is_some_and(|row| class.excludes(row).is_none() && class.is_in_lane(number, row))
        };
        let members: Vec<(usize, &Place)> = places.iter().enumerate().filter(fitting).collect();
        let mut new = Self {
            number,
            measure,
            by_free: BTreeSet::new(),
            idle: BTreeSet::new(),
            ranks: BTreeMap::new(),
            capacity: None,
        };
        let mut levels: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
        for (index, place) in &members {
            let rank = row(place).map(|row| class.rank(row)).unwrap_or_default();
            levels.entry(rank).or_default().push(*index);
        }
        if levels.len() > 1 {
            for (rank, level) in (0..).zip(levels.into_values()) {
                new.ranks.extend(level.into_iter().map(|index| (index, rank)));
            }
        }
        for (index, place) in members {
            if !place.reserved {
                new.put_back(index, place);
            }
        }
        new
    }

    pub(super) fn put_back(&mut self, index: usize, place: &Place) {
        let (rank, free) = (self.rank(index), place.free_units(self.measure));
        if free > 0 {
            self.by_free.insert((rank, free, index));
        }
        if place.is_idle() {
            self.idle.insert((rank, index));
        }
    }

    fn rank(&self, index: usize) -> u32 {
        self.ranks.get(&index).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_free.is_empty()
    }

    pub(super) fn capacity(&mut self, cluster: &Cluster, class: &Class) -> Capacity {
        let (number, measure) = (self.number, self.measure);
        *self
            .capacity
            .get_or_insert_with(|| Capacity::of(cluster, class, number, measure))
    }

    /// Of the most preferred places that pass and have `least` units free, the one with the fewest; equal ones by name.
    pub(super) fn fullest(&mut self, places: &[Place], least: u32, passes: impl Fn(&Place) -> bool) -> Option<usize> {
        let mut rank = self.by_free.first()?.0;
        loop {
            if let Some(index) = self.fullest_of(rank, places, least, &passes) {
                return Some(index);
            }
            rank = self.next_rank(rank)?;
        }
    }

    fn next_rank(&self, rank: u32) -> Option<u32> {
        self.by_free
            .range((rank.checked_add(1)?, 0, 0)..)
            .next()
            .map(|entry| entry.0)
    }

    fn fullest_of(
        &mut self,
        rank: u32,
        places: &[Place],
        least: u32,
        passes: &impl Fn(&Place) -> bool,
    ) -> Option<usize> {
        let mut from = Bound::Included((rank, least, 0));
        let end = Bound::Included((rank, u32::MAX, usize::MAX));
        while let Some(entry) = self.by_free.range((from, end)).next().copied() {
            from = Bound::Excluded(entry);
            let place = &places[entry.2];
            if self.is_old(entry, place) {
                self.correct(entry, place);
                // It has less than the entry said, so it may belong before here: fewer is fuller.
                if !place.reserved && place.free_units(self.measure) >= least && passes(place) {
                    return Some(entry.2);
                }
            } else if passes(place) {
                return Some(entry.2);
            }
        }
        None
    }

    /// Of the most preferred places that pass and have `least` units free, the one with the most; equal ones by name.
    pub(super) fn roomiest(&mut self, places: &[Place], least: u32, passes: impl Fn(&Place) -> bool) -> Option<usize> {
        let mut rank = self.by_free.first()?.0;
        loop {
            let start = Bound::Included((rank, least, 0));
            let mut to = Bound::Included((rank, u32::MAX, usize::MAX));
            while let Some(entry) = self.by_free.range((start, to)).next_back().copied() {
                to = Bound::Excluded(entry);
                let place = &places[entry.2];
                if self.is_old(entry, place) {
                    self.correct(entry, place);
                } else if passes(place) {
                    return self.fullest_of(rank, places, entry.1, &passes);
                }
            }
            rank = self.next_rank(rank)?;
        }
    }

    /// All places that pass: the most preferred first, of these the emptiest, equal ones by name.
    pub(super) fn emptiest(&mut self, places: &[Place], passes: impl Fn(&Place) -> bool) -> Vec<usize> {
        self.correct_all(places);
        let mut found: Vec<Entry> = self.by_free.iter().copied().collect();
        found.retain(|(_, _, index)| passes(&places[*index]));
        found.sort_by_key(|(rank, free, index)| (*rank, std::cmp::Reverse(*free), *index));
        found.into_iter().map(|(_, _, index)| index).collect()
    }

    /// From `least` to `most` places with nothing on them, the most preferred, then the first by name; or none.
    pub(super) fn idle(&mut self, places: &[Place], least: usize, most: usize) -> Option<Vec<usize>> {
        if self.idle.len() < least {
            return None;
        }
        let mut found = Vec::with_capacity(least);
        let mut used = Vec::new();
        for entry in &self.idle {
            if found.len() == most {
                break;
            }
            let place = &places[entry.1];
            if place.reserved || !place.is_idle() {
                used.push(*entry)
            } else {
                found.push(entry.1)
            }
        }
        for entry in used {
            self.idle.remove(&entry);
        }
        found.sort_unstable();
        (found.len() >= least).then_some(found)
    }

    /// Units that are free on all places that pass together, or how many of them have nothing on them.
    pub(super) fn free(&mut self, places: &[Place], passes: impl Fn(&Place) -> bool) -> u64 {
        if self.measure == Measure::Nodes {
            let idle = self.idle.iter().map(|(_, index)| &places[*index]);
            return idle.filter(|place| !place.reserved && place.is_idle()).count() as u64;
        }
        self.correct_all(places);
        let passing = self.by_free.iter().filter(|(_, _, index)| passes(&places[*index]));
        passing.map(|(_, free, _)| u64::from(*free)).sum()
    }

    /// Empties the lane; those that are to stay are put back by the caller.
    pub(super) fn take_all(&mut self, places: &[Place]) -> Vec<usize> {
        self.idle.clear();
        let all = std::mem::take(&mut self.by_free);
        all.into_iter()
            .map(|(_, _, index)| index)
            .filter(|index| !places[*index].reserved)
            .collect()
    }

    fn is_old(&self, entry: Entry, place: &Place) -> bool {
        place.reserved || place.free_units(self.measure) != entry.1
    }

    fn correct_all(&mut self, places: &[Place]) {
        let old = |entry: &Entry| self.is_old(*entry, &places[entry.2]);
        let old: Vec<Entry> = self.by_free.iter().copied().filter(old).collect();
        for entry in old {
            self.correct(entry, &places[entry.2]);
        }
    }

    fn correct(&mut self, entry: Entry, place: &Place) {
        self.by_free.remove(&entry);
        let free = place.free_units(self.measure);
        if !place.reserved && free > 0 {
            self.by_free.insert((entry.0, free, entry.2));
        }
    }
}
