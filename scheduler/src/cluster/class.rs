//! Classes of jobs: all jobs that may use the same nodes, in the same order of preference, share one, so that a planning
//! pass looks at it once.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{GroupName, NodeId, NodeName, PoolName};
use proto::model::job::{GroupOperator, JobSpec, OrderBy, OrderKey, Span};
use proto::model::node::NodeRow;
use proto::model::why::Cause;

use super::MIB;

/// Names a class for as long as a job of it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u64);

impl ClassId {
    /// For a job that is not in memory: no job in memory has this one.
    pub(crate) const NEW: Self = Self(0);
}

/// Which nodes a job may use, and which it likes best.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pool: Option<PoolName>,
    /// Sorted, unless their order says which is tried first.
    groups: Vec<GroupName>,
    operator: GroupOperator,
    nodes: Vec<NodeName>,
    cores: Option<Span<u32>>,
    memory_mib: Option<Span<u64>>,
    order: Vec<OrderBy>,
    /// Nodes where the preparation task of the job failed.
    barred: BTreeSet<NodeId>,
}

impl Class {
    pub(crate) fn of(spec: &JobSpec) -> Self {
        let mut class = Self {
            pool: spec.pool.clone(),
            groups: spec.node_groups.clone(),
            operator: spec.group_operator,
            nodes: spec.requested_nodes.clone(),
            cores: spec.cores_per_node,
            memory_mib: spec.memory_per_node,
            order: spec.order_by.clone(),
            barred: BTreeSet::new(),
        };
        if class.operator == GroupOperator::Uniform {
            let mut seen = BTreeSet::new();
            class.groups.retain(|group| seen.insert(group.clone()));
        } else {
            class.groups.sort();
            class.groups.dedup();
        }
        if class.groups.len() < 2 {
            class.operator = GroupOperator::default();
        }
        class.nodes.sort();
        class.nodes.dedup();
        class
    }

    /// The same, without nodes where the preparation task of the job failed.
    pub(crate) fn without(self, barred: BTreeSet<NodeId>) -> Self {
        Self { barred, ..self }
    }

    /// What keeps the node out of the class, whatever its state; none when nothing does.
    pub(crate) fn excludes(&self, node: &NodeRow) -> Option<Cause> {
        self.outside(node)
            .or_else(|| self.is_other_size(node).then_some(Cause::OtherSize))
    }

    /// What keeps the node out of the class, whatever it has.
    pub(crate) fn outside(&self, node: &NodeRow) -> Option<Cause> {
        if self.pool.as_ref().is_some_and(|pool| *pool != node.pool) {
            return Some(Cause::OtherPool);
        }
        let grouped = match self.operator {
            _ if self.groups.is_empty() => true,
            GroupOperator::Intersect => self.groups.iter().all(|group| is_in(node, group)),
            GroupOperator::Union | GroupOperator::Uniform => self.groups.iter().any(|group| is_in(node, group)),
        };
        if !grouped {
            return Some(Cause::OtherGroup);
        }
        let requested = self.nodes.is_empty() || self.nodes.binary_search(&node.name).is_ok();
        if !requested {
            return Some(Cause::NotRequested);
        }
        self.barred.contains(&node.id).then_some(Cause::PreparationFailed)
    }

    /// Whether the node has more or less than the job allows. A node that never said what it has is of no size.
    pub(crate) fn is_other_size(&self, node: &NodeRow) -> bool {
        if self.cores.is_none() && self.memory_mib.is_none() {
            return false;
        }
        let Some(inventory) = &node.inventory else { return true };
        let cores = self.cores.is_none_or(|span| holds(span, inventory.cores));
        let memory = self
            .memory_mib
            .is_none_or(|span| holds(span, inventory.memory_bytes / MIB));
        !(cores && memory)
    }

    /// How many sets of nodes there are of which a task must take one only: a set per group under `Uniform`, else one.
    pub(crate) const fn lanes(&self) -> usize {
        match self.operator {
            GroupOperator::Uniform => self.groups.len(),
            GroupOperator::Intersect | GroupOperator::Union => 1,
        }
    }

    /// Whether a node of the class is in one of those sets.
    pub(crate) fn is_in_lane(&self, lane: usize, node: &NodeRow) -> bool {
        self.operator != GroupOperator::Uniform || self.groups.get(lane).is_some_and(|group| is_in(node, group))
    }

    /// Sorts nodes as the job prefers them; equal for all when it does not say.
    pub(crate) fn rank(&self, node: &NodeRow) -> Vec<u64> {
        let inventory = node.inventory.as_ref();
        let key = |order: &OrderBy| {
            let value = match order.by {
                OrderKey::Cores => inventory.map_or(0, |inventory| u64::from(inventory.cores)),
                OrderKey::Memory => inventory.map_or(0, |inventory| inventory.memory_bytes),
            };
            if order.more_first { u64::MAX - value } else { value }
        };
        self.order.iter().map(key).collect()
    }
}

fn holds<T: PartialOrd>(span: Span<T>, value: T) -> bool {
    span.min.is_none_or(|min| value >= min) && span.max.is_none_or(|max| value <= max)
}

/// Whether a node is in a group; each pool is a group of its nodes too, and so is each tag that nodes say of themselves.
fn is_in(node: &NodeRow, group: &GroupName) -> bool {
    let tags = || node.inventory.iter().flat_map(|inventory| &inventory.tags);
    node.pool.as_str().eq_ignore_ascii_case(group.as_str())
        || node.groups.iter().any(|own| own == group)
        || tags().any(|tag| tag == group)
}

/// The classes of all jobs in memory.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    ids: BTreeMap<Class, ClassId>,
    classes: BTreeMap<ClassId, (Class, u32)>,
    next: u64,
}

impl Classes {
    /// The class of a job that comes into memory, or has other wishes or barred nodes now.
    pub(crate) fn enter(&mut self, class: Class) -> ClassId {
        let id = *self.ids.entry(class.clone()).or_insert_with(|| {
            self.next += 1;
            ClassId(self.next)
        });
        self.classes.entry(id).or_insert((class, 0)).1 += 1;
        id
    }

    /// A job of the class leaves memory.
    pub(crate) fn leave(&mut self, id: ClassId) {
        if let Some((class, jobs)) = self.classes.get_mut(&id) {
            *jobs -= 1;
            if *jobs == 0 {
                self.ids.remove(class);
                self.classes.remove(&id);
            }
        }
    }

    pub(crate) fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(&id).map(|(class, _)| class)
    }

    /// Jobs over all classes.
    pub(crate) fn jobs(&self) -> usize {
        self.classes.values().map(|(_, jobs)| *jobs as usize).sum()
    }
}
