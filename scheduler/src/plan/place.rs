//! A ready node with something free, as far as the placement pass has come.

use proto::ids::{DomainName, NodeId};
use proto::model::node::NodeRow;
use proto::model::pool::FillType;
use proto::units::Timestamp;

use super::need::{Measure, slots_per_socket};
use crate::cluster::{Cluster, Occupancy, Tenant, Wares};

pub(super) struct Place<'a> {
    pub(super) row: &'a NodeRow,
    pub(super) node: NodeId,
    pub(super) slots: u32,
    pub(super) slots_per_socket: u32,
    pub(super) free: u32,
    /// What is free beside slots.
    pub(super) wares: Wares,
    pub(super) occupancy: Occupancy,
    pub(super) domain: Option<&'a DomainName>,
    pub(super) fill: FillType,
    /// Whether its pool lets nodes work together.
    pub(super) together: bool,
    pub(super) kept: Kept,
}

/// Whether a place is kept for a task that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    No,
    /// From that moment on; and of its slots so many are not needed by then.
    From {
        at: Timestamp,
        spare: u32,
    },
    /// Nobody else gets any of it.
    Always,
}

/// Who looks for a place.
#[derive(Clone, Copy)]
pub(super) struct Taker<'a> {
    pub(super) tenant: Tenant,
    pub(super) wares: Option<&'a Wares>,
    /// When it will have ended by its limits at the latest.
    pub(super) end: Option<Timestamp>,
}

impl Taker<'_> {
    pub(super) const fn is_alone(&self) -> bool {
        self.tenant.job_alone || self.tenant.task_alone
    }
}

impl<'a> Place<'a> {
    pub(super) fn of(cluster: &'a Cluster, row: &'a NodeRow) -> Self {
        let pool = cluster.pool(&row.pool);
        Self {
            row,
            node: row.id,
            slots: row.slots,
            slots_per_socket: slots_per_socket(row),
            free: cluster.floor().free(row),
            wares: cluster.floor().free_wares(row),
            occupancy: cluster.floor().occupancy(row.id),
            domain: domain_of(row),
            fill: pool.map_or(FillType::Pack, |pool| pool.spec.fill),
            together: pool.is_none_or(|pool| pool.spec.inter_node),
            kept: Kept::No,
        }
    }

    /// Whether a task may come in that takes up to so many slots, if there are as many.
    pub(super) fn admits(&self, taker: &Taker<'_>, slots: u32) -> bool {
        let in_time = match self.kept {
            Kept::No => true,
            Kept::Always => false,
            Kept::From { at, spare } => taker.end.is_some_and(|end| end <= at) || (slots <= spare && !taker.is_alone()),
        };
        in_time
            && self.occupancy.admits(taker.tenant)
            && taker.wares.is_none_or(|wares| wares.lack(&self.wares).is_none())
    }

    /// A task takes slots here.
    pub(super) fn take(&mut self, taker: &Taker<'_>, slots: u32) {
        self.free -= slots;
        self.occupancy = self.occupancy.with(taker.tenant);
        if let Some(wares) = taker.wares {
            wares.take_off(&mut self.wares);
        }
        if let Kept::From { at, spare } = &mut self.kept
            && taker.end.is_none_or(|end| end > *at)
        {
            *spare = spare.saturating_sub(slots);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.kept == Kept::Always
    }

    /// Nothing runs there, and every slot is free.
    pub(super) fn is_idle(&self) -> bool {
        self.free == self.slots && self.occupancy == Occupancy::Empty
    }

    pub(super) const fn slots_per_unit(&self, measure: Measure) -> u32 {
        match measure {
            Measure::Slots | Measure::Nodes => 1,
            Measure::Sockets => self.slots_per_socket,
        }
    }

    /// Whole units that are free. A lane of whole nodes is sorted by slots.
    pub(super) const fn free_units(&self, measure: Measure) -> u32 {
        self.free / self.slots_per_unit(measure)
    }
}

/// The placement domain of a node; those that say none are of one together.
pub(crate) fn domain_of(row: &NodeRow) -> Option<&DomainName> {
    row.inventory.as_ref().and_then(|inventory| inventory.domain.as_ref())
}
