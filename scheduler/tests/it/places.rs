//! Whether what a task is given is what it and its job asked for: how many units, of which nodes. Part of the checker, and
//! like it written apart from the scheduler: it shares no code with what it watches.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{GroupName, NodeId, TaskId};
use proto::model::job::{GroupOperator, JobSpec, Units};
use proto::model::node::Inventory;
use proto::model::task::{Request, TaskSpec};

/// What nodes are like.
#[derive(Default)]
pub(crate) struct Places {
    groups: BTreeMap<NodeId, BTreeSet<GroupName>>,
    inventories: BTreeMap<NodeId, Inventory>,
}

impl Places {
    pub(crate) fn see(&mut self, event: &Event) {
        if let Event::NodeUp { node, inventory, .. } = event {
            self.inventories.insert(*node, (**inventory).clone());
        }
    }

    pub(crate) fn joined(&mut self, node: NodeId, groups: &[&str]) {
        let groups = groups.iter().map(|name| GroupName::new(name).expect("a group name"));
        self.groups.insert(node, groups.collect());
    }

    pub(crate) fn expect_fit(
        &self,
        task: TaskId,
        job: &JobSpec,
        spec: &TaskSpec,
        shares: &[(NodeId, u32)],
        slots: &BTreeMap<NodeId, u32>,
    ) {
        if let Request::Beside { node } = spec.request {
            assert_eq!(shares, [(node, 0)], "task {task} takes nothing on its node");
            return;
        }
        assert!(
            shares.iter().all(|(_, slots)| *slots > 0),
            "task {task} gets an empty share"
        );
        let least = match spec.request {
            Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
            Request::Beside { .. } => 0,
        };
        let most = spec.request_max.map_or(least, |most| most.max(least));
        let units: u32 = shares
            .iter()
            .map(|(node, held)| match spec.request {
                Request::Sockets { .. } => {
                    assert_eq!(held % self.socket(*node, slots), 0, "task {task} gets whole sockets");
                    held / self.socket(*node, slots)
                }
                Request::Nodes { .. } => {
                    assert_eq!(*held, slots[node], "task {task} gets whole nodes");
                    1
                }
                Request::Cores { .. } | Request::Beside { .. } => *held,
            })
            .sum();
        assert!(
            (least..=most).contains(&units),
            "task {task} gets {units} units of {least} to {most}"
        );
        assert!(!job.single_node || shares.len() == 1, "task {task} is on one node");
        let nodes: Vec<NodeId> = shares.iter().map(|(node, _)| *node).collect();
        self.expect_grouped(task, job, &nodes);
        for node in nodes {
            let cores = self.inventories[&node].cores;
            let span = job.cores_per_node;
            let fits = span
                .is_none_or(|span| span.min.is_none_or(|min| cores >= min) && span.max.is_none_or(|max| cores <= max));
            assert!(fits, "task {task} is on node {node} of {cores} cores");
        }
    }

    fn expect_grouped(&self, task: TaskId, job: &JobSpec, nodes: &[NodeId]) {
        let inside = |node: &NodeId, group: &GroupName| self.groups[node].contains(group);
        let groups = &job.node_groups;
        let fits = match job.group_operator {
            _ if groups.is_empty() => true,
            GroupOperator::Intersect => nodes.iter().all(|node| groups.iter().all(|group| inside(node, group))),
            GroupOperator::Union => nodes.iter().all(|node| groups.iter().any(|group| inside(node, group))),
            GroupOperator::Uniform => groups.iter().any(|group| nodes.iter().all(|node| inside(node, group))),
        };
        assert!(fits, "task {task} is on {nodes:?}, of other groups than {groups:?}");
    }

    /// The job holds no more than it may, with what it was just given.
    pub(crate) fn expect_within(
        &self,
        task: TaskId,
        units: Units,
        held: impl Iterator<Item = (NodeId, u32)>,
        slots: &BTreeMap<NodeId, u32>,
    ) {
        let mut by_node: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (node, slots) in held {
            *by_node.entry(node).or_default() += slots;
        }
        let sum: u32 = by_node
            .iter()
            .map(|(node, held)| match units.min {
                Request::Sockets { .. } => held.div_ceil(self.socket(*node, slots)),
                Request::Nodes { .. } => 1,
                Request::Cores { .. } | Request::Beside { .. } => *held,
            })
            .sum();
        let most = units.max.unwrap_or(u32::MAX);
        assert!(sum <= most, "with task {task} its job holds {sum} units of {most}");
    }

    /// The tasks on a node hold no more memory than it has.
    pub(crate) fn expect_memory(&self, node: NodeId, tasks: impl Iterator<Item = u64>) {
        let (held, has) = (tasks.sum::<u64>(), self.inventories[&node].memory_bytes >> 20);
        assert!(held <= has, "node {node}: {held} MiB are held of {has}");
    }

    /// Slots of a socket.
    fn socket(&self, node: NodeId, slots: &BTreeMap<NodeId, u32>) -> u32 {
        (slots[&node] / self.inventories[&node].sockets.max(1)).max(1)
    }
}
