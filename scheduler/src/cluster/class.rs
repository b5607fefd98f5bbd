//! Classes of jobs: all jobs that may use the same nodes share one, so that a planning pass looks at it once.

use std::collections::BTreeMap;

use proto::ids::{GroupName, NodeName, PoolName};
use proto::model::job::JobSpec;
use proto::model::node::NodeRow;
use proto::model::why::Cause;

/// Names a class for as long as a job of it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u64);

/// Which nodes a job may use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pool: Option<PoolName>,
    groups: Vec<GroupName>,
    nodes: Vec<NodeName>,
}

impl Class {
    fn of(spec: &JobSpec) -> Self {
        let mut class = Self {
            pool: spec.pool.clone(),
            groups: spec.node_groups.clone(),
            nodes: spec.requested_nodes.clone(),
        };
        class.groups.sort();
        class.nodes.sort();
        class
    }

    /// What keeps the node out of the class, whatever its state; none when nothing does.
    pub(crate) fn excludes(&self, node: &NodeRow) -> Option<Cause> {
        if self.pool.as_ref().is_some_and(|pool| *pool != node.pool) {
            return Some(Cause::OtherPool);
        }
        if !self.groups.iter().all(|group| is_in(node, group)) {
            return Some(Cause::OtherGroup);
        }
        let requested = self.nodes.is_empty() || self.nodes.binary_search(&node.name).is_ok();
        (!requested).then_some(Cause::NotRequested)
    }
}

/// Whether a node is in a group; each pool is a group of its nodes too.
fn is_in(node: &NodeRow, group: &GroupName) -> bool {
    node.pool.as_str().eq_ignore_ascii_case(group.as_str()) || node.groups.iter().any(|own| own == group)
}

/// The classes of all jobs in memory.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    ids: BTreeMap<Class, ClassId>,
    classes: BTreeMap<ClassId, (Class, u32)>,
    next: u64,
}

impl Classes {
    /// The class of a job that comes into memory.
    pub(crate) fn enter(&mut self, spec: &JobSpec) -> ClassId {
        let class = Class::of(spec);
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
