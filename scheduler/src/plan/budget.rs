//! What a job may hold at a time, where it set itself a bound (`Units`): counted over all its tasks, in its own unit.

use std::collections::BTreeMap;

use proto::ids::{JobId, NodeId};
use proto::model::job::Units;

use super::Part;
use super::need::{Measure, Need, slots_per_socket};
use super::place::Place;
use crate::cluster::Cluster;

pub(crate) struct Budget {
    measure: Measure,
    /// The bound.
    most: u32,
    held: u32,
    /// Slots that the job holds, by node.
    nodes: BTreeMap<NodeId, u32>,
}

impl Budget {
    /// What is left to a job; none when it has no bound.
    pub(crate) fn of(cluster: &Cluster, job: JobId, units: Option<Units>) -> Option<Self> {
        let units = units?;
        let mut new = Self {
            measure: Measure::of(units.min),
            most: units.max?,
            held: 0,
            nodes: cluster.floor().held_by(job).collect(),
        };
        for (node, slots) in &new.nodes {
            let per_socket = cluster.node(*node).map_or(1, slots_per_socket);
            new.held = new.held.saturating_add(new.measure.units_in(*slots, per_socket));
        }
        Some(new)
    }

    fn left(&self) -> u32 {
        self.most.saturating_sub(self.held)
    }

    /// The need with what is left as its most; none when that is too little for it. Where job and task count in other
    /// units, the bound is looked at when nodes have been chosen.
    pub(crate) fn bound(&self, need: Need) -> Option<Need> {
        if self.counts_otherwise(need) || need.least == 0 {
            return Some(need);
        }
        (need.least <= self.left()).then_some(Need {
            most: need.most.min(self.left()),
            ..need
        })
    }

    /// Whether the job may use no further node: a bound of nodes that is reached leaves those that it is on.
    pub(crate) fn is_tied(&self) -> bool {
        self.measure == Measure::Nodes && self.left() == 0
    }

    /// Whether the bound is in another unit than the need.
    pub(crate) fn counts_otherwise(&self, need: Need) -> bool {
        need.measure() != self.measure
    }

    /// Whether a node may be used at all: the least that the need would take there is within the bound.
    pub(super) fn admits(&self, place: &Place<'_>, need: Need) -> bool {
        let measure = need.measure();
        let least = match measure {
            Measure::Nodes => place.free,
            Measure::Slots | Measure::Sockets => {
                need.least.saturating_mul(place.slots_per_unit(measure)).min(place.free)
            }
        };
        let affordable = !self.counts_otherwise(need) || self.cost(place, least) <= self.left();
        affordable && (!self.is_tied() || self.nodes.contains_key(&place.node))
    }

    /// Whether these parts may be taken too.
    pub(super) fn affords(&self, parts: &[Part], places: &[Place<'_>]) -> bool {
        let cost = parts.iter().map(|(index, slots)| self.cost(&places[*index], *slots));
        cost.fold(0, u32::saturating_add) <= self.left()
    }

    /// They are taken.
    pub(super) fn take(&mut self, parts: &[Part], places: &[Place<'_>]) {
        for (index, slots) in parts {
            let place = &places[*index];
            self.held = self.held.saturating_add(self.cost(place, *slots));
            *self.nodes.entry(place.node).or_default() += slots;
        }
    }

    fn cost(&self, place: &Place<'_>, slots: u32) -> u32 {
        let held = self.nodes.get(&place.node).copied().unwrap_or(0);
        let units = |slots| self.measure.units_in(slots, place.slots_per_socket);
        units(held.saturating_add(slots)) - units(held)
    }
}
