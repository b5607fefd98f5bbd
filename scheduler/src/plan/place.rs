//! A ready node with something free, as far as the placement pass has come.

use proto::ids::NodeId;
use proto::model::node::NodeRow;

use super::need::{Measure, slots_per_socket};
use crate::cluster::{Cluster, Occupancy};

pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) slots: u32,
    pub(super) slots_per_socket: u32,
    pub(super) free: u32,
    pub(super) occupancy: Occupancy,
    /// Kept for a task that waits for it.
    pub(super) reserved: bool,
}

impl Place {
    pub(super) fn of(cluster: &Cluster, row: &NodeRow) -> Self {
        Self {
            node: row.id,
            slots: row.slots,
            slots_per_socket: slots_per_socket(row),
            free: cluster.floor().free(row),
            occupancy: cluster.floor().occupancy(row.id),
            reserved: false,
        }
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

    /// Whole units, free or not.
    pub(super) const fn units(&self, measure: Measure) -> u32 {
        self.slots / self.slots_per_unit(measure)
    }
}
