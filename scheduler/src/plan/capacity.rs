//! What the ready nodes of a lane have, if all of it were free: what tells waiting from never.

use std::collections::BTreeMap;

use proto::ids::DomainName;

use super::need::{Measure, Need, Reach};
use super::place::domain_of;
use crate::cluster::{Class, Cluster, Wares, hindrance, wares_of};

/// What the ready nodes of a lane have, if all of it were free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// All nodes.
    nodes: u64,
    /// Units of all of them.
    units: u64,
    /// Units of the largest node.
    pub(crate) largest: u32,
    /// Nodes that may work together.
    together: u64,
    /// Units of these.
    units_together: u64,
    /// The most of these nodes in one placement domain.
    of_domain: u64,
    /// The most units of these nodes in one placement domain.
    units_of_domain: u64,
}

impl Capacity {
    /// Of the nodes in a lane of a class that could ever give these wares.
    pub(crate) fn of(cluster: &Cluster, class: &Class, lane: usize, measure: Measure, wares: Option<&Wares>) -> Self {
        let mut all = Self::default();
        let mut domains: BTreeMap<Option<&DomainName>, (u64, u64)> = BTreeMap::new();
        for row in cluster.nodes() {
            let fits = row.slots > 0 && hindrance(row).is_none() && class.excludes(row).is_none();
            let gives = || wares.is_none_or(|wares| wares.lack(&wares_of(row)).is_none());
            if !fits || !class.is_in_lane(lane, row) || !gives() {
                continue;
            }
            let units = measure.units_of(row);
            all.nodes += 1;
            all.units += u64::from(units);
            all.largest = all.largest.max(units);
            if cluster.pool(&row.pool).is_none_or(|pool| pool.spec.inter_node) {
                all.together += 1;
                all.units_together += u64::from(units);
                let domain = domains.entry(domain_of(row)).or_default();
                domain.0 += 1;
                domain.1 += u64::from(units);
            }
        }
        for (nodes, units) in domains.into_values() {
            all.of_domain = all.of_domain.max(nodes);
            all.units_of_domain = all.units_of_domain.max(units);
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

    /// Whether it needs several nodes as far as these are concerned.
    pub(crate) const fn takes_several(self, need: Need) -> bool {
        match need.measure() {
            Measure::Nodes => need.least > 1,
            Measure::Slots | Measure::Sockets => !need.single_node && need.least > self.largest,
        }
    }

    /// Whether today's ready nodes could hold it if they were all free.
    pub(crate) fn can_ever(self, need: Need) -> bool {
        let (nodes, units) = match need.reach {
            Reach::Apart => (self.nodes, self.units),
            Reach::Together | Reach::OneDomain => (self.together, self.units_together),
        };
        let least = u64::from(need.least);
        match need.measure() {
            Measure::Nodes if need.least == 1 => self.nodes > 0,
            Measure::Nodes => least <= nodes && !need.single_node,
            Measure::Slots | Measure::Sockets => need.least <= self.largest || (!need.single_node && least <= units),
        }
    }

    /// Nodes like those that are there, which would have to be added before it could be held; none when it can be.
    pub(crate) fn short_of(self, need: Need) -> Option<u32> {
        if self.can_ever(need) {
            return None;
        }
        let apart = need.reach == Reach::Apart;
        let nodes = match need.measure() {
            Measure::Nodes => {
                let there = if apart { self.nodes } else { self.together };
                u64::from(need.least).saturating_sub(there)
            }
            Measure::Slots | Measure::Sockets if need.single_node || self.largest == 0 => 1,
            Measure::Slots | Measure::Sockets => {
                let there = if apart { self.units } else { self.units_together };
                u64::from(need.least)
                    .saturating_sub(there)
                    .div_ceil(u64::from(self.largest))
            }
        };
        Some(u32::try_from(nodes.max(1)).unwrap_or(u32::MAX))
    }

    /// Whether its nodes have to be of one placement domain: it asks for that, and one alone could hold it.
    pub(crate) fn in_one_domain(self, need: Need) -> bool {
        let most = match need.measure() {
            Measure::Nodes => self.of_domain,
            Measure::Slots | Measure::Sockets => self.units_of_domain,
        };
        need.reach == Reach::OneDomain && self.takes_several(need) && u64::from(need.least) <= most
    }
}
