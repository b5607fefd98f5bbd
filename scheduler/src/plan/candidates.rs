//! The open nodes that a task may use, sorted by preference and by what is free on them: a *lane*. A class of jobs has one,
//! or one per node group where a task must stay within one group.
//!
//! Entries age: another class may have taken from a node since. An old entry is corrected when it is met, so a grant costs
//! a few steps in a tree and not a walk over all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proto::ids::DomainName;

use super::LaneKey;
use super::capacity::Capacity;
use super::need::Measure;
use super::place::Place;
use crate::cluster::{Class, Cluster, Wares, wares_of};

/// An entry: preference, free units, index into the places of the pass.
type Entry = (u32, u32, usize);

/// Idle places of one placement domain: preference and index, and how many there are in all.
pub(super) struct IdleDomain {
    pub(super) found: Vec<(u32, usize)>,
    pub(super) count: usize,
}

/// Indexes into the places of a pass.
pub(super) struct Lane<'a> {
    number: usize,
    measure: Measure,
    /// What its nodes could ever give beside slots.
    wares: Option<std::sync::Arc<Wares>>,
    by_free: BTreeSet<Entry>,
    /// Nodes with nothing on them, by placement domain, in each by preference, then by name.
    idle: BTreeMap<Option<&'a DomainName>, BTreeSet<(u32, usize)>>,
    /// The preference of each place; without a wish all have 0, and nothing stands here.
    ranks: BTreeMap<usize, u32>,
    capacity: Option<Capacity>,
}

impl<'a> Lane<'a> {
    /// All lanes of a class, in the order in which they are tried.
    pub(super) fn all(class: &Class, places: &[Place<'a>], key: &LaneKey) -> Vec<Self> {
        (0..class.lanes())
            .map(|number| Self::new(class, places, number, key))
            .collect()
    }

    fn new(class: &Class, places: &[Place<'a>], number: usize, (_, measure, wares): &LaneKey) -> Self {
        let gives = |place: &Place<'a>| {
            wares
                .as_ref()
                .is_none_or(|wares| wares.lack(&wares_of(place.row)).is_none())
        };
        let fitting = |(_, place): &(usize, &Place<'a>)| {
            class.excludes(place.row).is_none() && class.is_in_lane(number, place.row) && gives(place)
        };
        let members: Vec<(usize, &Place<'a>)> = places.iter().enumerate().filter(fitting).collect();
        let mut new = Self {
            number,
            measure: *measure,
            wares: wares.clone(),
            by_free: BTreeSet::new(),
            idle: BTreeMap::new(),
            ranks: BTreeMap::new(),
            capacity: None,
        };
        let mut levels: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
        for (index, place) in &members {
            levels.entry(class.rank(place.row)).or_default().push(*index);
        }
        if levels.len() > 1 {
            for (rank, level) in (0..).zip(levels.into_values()) {
                new.ranks.extend(level.into_iter().map(|index| (index, rank)));
            }
        }
        for (index, place) in members {
            if !place.is_closed() {
                new.put_back(index, place);
            }
        }
        new
    }

    fn put_back(&mut self, index: usize, place: &Place<'a>) {
        let (rank, free) = (self.rank(index), place.free_units(self.measure));
        if free > 0 {
            self.by_free.insert((rank, free, index));
        }
        if place.is_idle() {
            self.idle.entry(place.domain).or_default().insert((rank, index));
        }
    }

    fn rank(&self, index: usize) -> u32 {
        self.ranks.get(&index).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_free.is_empty()
    }

    pub(super) fn capacity(&mut self, cluster: &Cluster, class: &Class) -> Capacity {
        let (number, measure, wares) = (self.number, self.measure, self.wares.as_deref());
        *self
            .capacity
            .get_or_insert_with(|| Capacity::of(cluster, class, number, measure, wares))
    }

    /// Of the most preferred places that pass and have `least` units free, the one with the fewest; equal ones by name.
    pub(super) fn fullest(
        &mut self,
        places: &[Place<'_>],
        least: u32,
        passes: impl Fn(&Place<'_>) -> bool,
    ) -> Option<usize> {
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
        places: &[Place<'_>],
        least: u32,
        passes: &impl Fn(&Place<'_>) -> bool,
    ) -> Option<usize> {
        let mut from = Bound::Included((rank, least, 0));
        let end = Bound::Included((rank, u32::MAX, usize::MAX));
        while let Some(entry) = self.by_free.range((from, end)).next().copied() {
            from = Bound::Excluded(entry);
            let place = &places[entry.2];
            if self.is_old(entry, place) {
                self.correct(entry, place);
                // It has less than the entry said, so it may belong before here: fewer is fuller.
                if !place.is_closed() && place.free_units(self.measure) >= least && passes(place) {
                    return Some(entry.2);
                }
            } else if passes(place) {
                return Some(entry.2);
            }
        }
        None
    }

    /// Of the most preferred places that pass and have `least` units free, the one with the most; equal ones by name.
    pub(super) fn roomiest(
        &mut self,
        places: &[Place<'_>],
        least: u32,
        passes: impl Fn(&Place<'_>) -> bool,
    ) -> Option<usize> {
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
    pub(super) fn emptiest(&mut self, places: &[Place<'_>], passes: impl Fn(&Place<'_>) -> bool) -> Vec<usize> {
        self.correct_all(places);
        let mut found: Vec<Entry> = self.by_free.iter().copied().collect();
        found.retain(|(_, _, index)| passes(&places[*index]));
        found.sort_by_key(|(rank, free, index)| (*rank, std::cmp::Reverse(*free), *index));
        found.into_iter().map(|(_, _, index)| index).collect()
    }

    /// Places with nothing on them that pass, by placement domain: of each up to `most`, the most preferred, then the first
    /// by name; and how many there are beside those that do not pass, about.
    pub(super) fn idle(
        &mut self,
        places: &[Place<'_>],
        most: usize,
        passes: impl Fn(&Place<'_>) -> bool,
    ) -> Vec<IdleDomain> {
        let mut all = Vec::with_capacity(self.idle.len());
        for entries in self.idle.values_mut() {
            let mut found = Vec::new();
            let mut used = Vec::new();
            let mut barred = 0;
            for entry in entries.iter() {
                let place = &places[entry.1];
                if place.is_closed() || !place.is_idle() {
                    used.push(*entry);
                } else if found.len() == most {
                    break;
                } else if passes(place) {
                    found.push(*entry);
                } else {
                    barred += 1;
                }
            }
            for entry in used {
                entries.remove(&entry);
            }
            let count = entries.len() - barred;
            if !found.is_empty() {
                all.push(IdleDomain { found, count });
            }
        }
        all
    }

    /// Units that are free on all places that pass together, or how many of them have nothing on them.
    pub(super) fn free(&mut self, places: &[Place<'_>], passes: impl Fn(&Place<'_>) -> bool) -> u64 {
        if self.measure == Measure::Nodes {
            let idle = self.idle.values().flatten().map(|(_, index)| &places[*index]);
            let free = idle.filter(|place| !place.is_closed() && place.is_idle() && passes(place));
            return free.count() as u64;
        }
        self.correct_all(places);
        let passing = self.by_free.iter().filter(|(_, _, index)| passes(&places[*index]));
        passing.map(|(_, free, _)| u64::from(*free)).sum()
    }

    fn is_old(&self, entry: Entry, place: &Place<'_>) -> bool {
        place.is_closed() || place.free_units(self.measure) != entry.1
    }

    fn correct_all(&mut self, places: &[Place<'_>]) {
        let old = |entry: &Entry| self.is_old(*entry, &places[entry.2]);
        let old: Vec<Entry> = self.by_free.iter().copied().filter(old).collect();
        for entry in old {
            self.correct(entry, &places[entry.2]);
        }
    }

    fn correct(&mut self, entry: Entry, place: &Place<'_>) {
        self.by_free.remove(&entry);
        let free = place.free_units(self.measure);
        if !place.is_closed() && free > 0 {
            self.by_free.insert((entry.0, free, entry.2));
        }
    }
}
