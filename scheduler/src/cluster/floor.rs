//! What is held on each node, and which nodes have something free, in the order of their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::ids::{AttemptId, JobId, NodeId};
use proto::model::node::NodeRow;

use super::shape::Wares;
use super::{MIB, hindrance};
use crate::names::natural_key;

/// Who holds or wants a part of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) job: JobId,
    /// No other job beside it.
    pub(crate) job_alone: bool,
    /// No other task beside it.
    pub(crate) task_alone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hold {
    slots: u32,
    tenant: Tenant,
    /// What is held beside slots.
    wares: Option<Arc<Wares>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    /// Sorts the node among all nodes.
    order: Vec<u8>,
    held: u32,
    holds: BTreeMap<AttemptId, Hold>,
}

/// Who is on a node, as far as exclusive tenants care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupancy {
    /// Nobody.
    Empty,
    /// Tasks of one job only.
    One {
        job: JobId,
        /// Whether other jobs are kept out.
        job_alone: bool,
        /// Whether even the job's own other tasks are kept out.
        task_alone: bool,
    },
    /// Tasks of several jobs, so none of them is exclusive.
    Many,
}

impl Occupancy {
    /// Whether one more tenant may come in, slots aside.
    pub(crate) fn admits(self, tenant: Tenant) -> bool {
        match self {
            Self::Empty => true,
            Self::One { task_alone: true, .. } => false,
            Self::One { job, job_alone, .. } => {
                !tenant.task_alone && (job == tenant.job || !(job_alone || tenant.job_alone))
            }
            Self::Many => !tenant.task_alone && !tenant.job_alone,
        }
    }

    /// Who is there with one more tenant.
    pub(crate) fn with(self, tenant: Tenant) -> Self {
        let Tenant {
            job,
            job_alone,
            task_alone,
        } = tenant;
        match self {
            Self::Empty => Self::One {
                job,
                job_alone,
                task_alone,
            },
            Self::One {
                job: other,
                job_alone: alone,
                task_alone: task,
            } if other == job => Self::One {
                job,
                job_alone: alone || job_alone,
                task_alone: task || task_alone,
            },
            Self::One { .. } | Self::Many => Self::Many,
        }
    }
}

/// All nodes by what is held on them. What holds no slots is beside all others: it is counted on its node, and keeps
/// nobody out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    uses: BTreeMap<NodeId, Use>,
    /// Slots that each job holds, by node.
    jobs: BTreeMap<JobId, BTreeMap<NodeId, u32>>,
    /// Ready nodes with at least one free slot, in the order of their names.
    open: BTreeMap<Vec<u8>, NodeId>,
}

impl Floor {
    /// Follows a change of the node's row.
    pub(crate) fn refresh(&mut self, node: &NodeRow) {
        let used = self.uses.entry(node.id).or_insert_with(|| Use {
            order: natural_key(node.name.as_str()),
            held: 0,
            holds: BTreeMap::new(),
        });
        if hindrance(node).is_none() && used.held < node.slots {
            self.open.insert(used.order.clone(), node.id);
        } else {
            self.open.remove(&used.order);
        }
    }

    pub(crate) fn hold(
        &mut self,
        node: &NodeRow,
        attempt: AttemptId,
        slots: u32,
        (tenant, wares): (Tenant, Option<Arc<Wares>>),
    ) {
        if let Some(used) = self.uses.get_mut(&node.id)
            && used.holds.insert(attempt, Hold { slots, tenant, wares }).is_none()
        {
            used.held += slots;
            if slots > 0 {
                *self.jobs.entry(tenant.job).or_default().entry(node.id).or_default() += slots;
            }
        }
        self.refresh(node);
    }

    pub(crate) fn release(&mut self, node: &NodeRow, attempt: AttemptId) {
        if let Some(used) = self.uses.get_mut(&node.id)
            && let Some(hold) = used.holds.remove(&attempt)
        {
            used.held -= hold.slots;
            self.let_go(node.id, &hold);
        }
        self.refresh(node);
    }

    fn let_go(&mut self, node: NodeId, hold: &Hold) {
        let Some(nodes) = self.jobs.get_mut(&hold.tenant.job) else {
            return;
        };
        if let Some(slots) = nodes.get_mut(&node) {
            *slots = slots.saturating_sub(hold.slots);
            if *slots == 0 {
                nodes.remove(&node);
            }
        }
        if nodes.is_empty() {
            self.jobs.remove(&hold.tenant.job);
        }
    }

    /// Forgets a node that is no longer part of the cluster, and what was held there.
    pub(crate) fn remove(&mut self, node: NodeId) {
        let Some(used) = self.uses.remove(&node) else { return };
        self.open.remove(&used.order);
        for hold in used.holds.into_values() {
            self.let_go(node, &hold);
        }
    }

    /// Slots that a job holds, by node.
    pub(crate) fn held_by(&self, job: JobId) -> impl Iterator<Item = (NodeId, u32)> {
        let nodes = self.jobs.get(&job).into_iter().flatten();
        nodes.map(|(node, slots)| (*node, *slots))
    }

    /// Slots held on a node.
    pub(crate) fn held(&self, node: NodeId) -> u32 {
        self.uses.get(&node).map_or(0, |used| used.held)
    }

    /// Slots of a node that nobody holds; none when it shrank below what is held.
    pub(crate) fn free(&self, node: &NodeRow) -> u32 {
        node.slots.saturating_sub(self.held(node.id))
    }

    /// What each attempt holds on a node: slots, who it is, and what is held beside slots.
    pub(crate) fn holds(&self, node: NodeId) -> impl Iterator<Item = (AttemptId, u32, Tenant, Option<&Arc<Wares>>)> {
        let holds = self.uses.get(&node).into_iter().flat_map(|used| &used.holds);
        holds.map(|(attempt, hold)| (*attempt, hold.slots, hold.tenant, hold.wares.as_ref()))
    }

    /// What a node has beside slots that nobody holds.
    pub(crate) fn free_wares(&self, node: &NodeRow) -> Wares {
        let mut free = wares_of(node);
        for wares in self.holds(node.id).filter_map(|(_, _, _, wares)| wares) {
            wares.take_off(&mut free);
        }
        free
    }

    /// Jobs that hold slots, with the slots by node.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &BTreeMap<NodeId, u32>)> {
        self.jobs.iter().map(|(job, nodes)| (*job, nodes))
    }

    pub(crate) fn occupancy(&self, node: NodeId) -> Occupancy {
        let holds = self.uses.get(&node).into_iter().flat_map(|used| used.holds.values());
        holds
            .filter(|hold| hold.slots > 0)
            .fold(Occupancy::Empty, |all, hold| all.with(hold.tenant))
    }

    pub(crate) fn attempts_on(&self, node: NodeId) -> impl Iterator<Item = AttemptId> {
        self.uses
            .get(&node)
            .into_iter()
            .flat_map(|used| used.holds.keys().copied())
    }

    /// Ready nodes with at least one free slot, in the order of their names.
    pub(crate) fn open(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.open.values().copied()
    }
}

/// What a node has beside slots, all of it free; nothing before its first hello.
pub(crate) fn wares_of(node: &NodeRow) -> Wares {
    node.inventory.as_ref().map_or_else(Wares::default, |inventory| Wares {
        memory_mib: inventory.memory_bytes / MIB,
        resources: inventory.resources.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tenant(job: u64, job_alone: bool, task_alone: bool) -> Tenant {
        Tenant {
            job: JobId(job),
            job_alone,
            task_alone,
        }
    }

    #[test]
    fn exclusive_tenants_keep_others_out() {
        let empty = Occupancy::Empty;
        let shared = empty.with(tenant(1, false, false));
        assert!(shared.admits(tenant(2, false, false)));
        assert!(!shared.admits(tenant(2, true, false)), "job 1 is there");
        assert!(shared.admits(tenant(1, true, false)), "its own tasks are no other job");
        assert!(!shared.admits(tenant(1, false, true)), "a task is there");

        let alone = empty.with(tenant(1, true, false));
        assert!(alone.admits(tenant(1, true, false)) && !alone.admits(tenant(2, false, false)));
        assert!(!empty.with(tenant(1, false, true)).admits(tenant(1, false, false)));

        let many = shared.with(tenant(2, false, false));
        assert!(many.admits(tenant(3, false, false)) && !many.admits(tenant(1, true, false)));
    }
}
