//! Nodes, groups, pools and the sums of everything.

use std::collections::BTreeMap;

use proto::client::{GroupView, NodeView, PoolView, Refusal, Reply};
use proto::ids::{GroupName, NodeId, NodeName, PoolName, TaskId};
use proto::model::attempt::Held;
use proto::model::node::{AdminState, Liveness, NodeRow};
use proto::model::owner::{Caller, Role};

use super::View;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Nodes.
    pub nodes: u32,
    /// Nodes that answer.
    pub up: u32,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
}

impl View {
    /// Names of nodes, each once.
    #[must_use]
    pub fn names(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<(NodeId, NodeName)> {
        let cluster = self.cluster();
        let known = nodes.filter_map(|id| cluster.node(id).map(|node| (id, node.name.clone())));
        known.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// The rows of the nodes of these names, in that order; all that answer when there are none.
    ///
    /// # Errors
    /// A refusal when there is no node of a name.
    pub fn node_rows(&self, names: &[NodeName]) -> Result<Vec<NodeRow>, Refusal> {
        let cluster = self.cluster();
        if names.is_empty() {
            let mut up: Vec<NodeRow> = cluster.nodes().filter(|node| is_up(node)).cloned().collect();
            up.sort_by(|a, b| scheduler::natural_order(a.name.as_str(), b.name.as_str()));
            return Ok(up);
        }
        let row = |name: &NodeName| {
            cluster.node_by_name(name).cloned().ok_or_else(|| {
                let all = cluster.nodes().map(|node| node.name.as_str());
                scheduler::unknown("node", name.as_str(), all, "see 'node list'")
            })
        };
        names.iter().map(row).collect()
    }

    /// All nodes by name, or one. A plain user is told of their own tasks only.
    ///
    /// # Errors
    /// A refusal when there is no node of that name.
    pub fn nodes(&self, caller: &Caller, only: Option<&NodeName>) -> Result<Reply, Refusal> {
        let cluster = self.cluster();
        let mut rows: Vec<&NodeRow> = cluster.nodes().collect();
        rows.sort_by(|a, b| scheduler::natural_order(a.name.as_str(), b.name.as_str()));
        if let Some(name) = only {
            rows.retain(|row| row.name == *name);
            if rows.is_empty() {
                let names = cluster.nodes().map(|node| node.name.as_str());
                return Err(scheduler::unknown("node", name.as_str(), names, "see 'node list'"));
            }
        }
        let seen = |task: TaskId| {
            let owned = cluster.job(task.job).map(|job| caller.may_touch(&job.owner));
            owned.unwrap_or(caller.role >= Role::Operator)
        };
        let mut tasks: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
        for attempt in cluster.attempts().filter(|attempt| seen(attempt.task)) {
            for share in attempt.shares.iter().filter(|share| share.held == Held::Yes) {
                tasks.entry(share.node).or_default().push(attempt.task);
            }
        }
        let view = |row: &NodeRow| NodeView {
            row: row.clone(),
            slots_held: cluster.slots_held(row.id),
            tasks: tasks.remove(&row.id).unwrap_or_default(),
        };
        Ok(Reply::Nodes {
            nodes: rows.into_iter().map(view).collect(),
        })
    }

    /// All groups by name, with their nodes.
    #[must_use]
    pub fn groups(&self) -> Reply {
        let cluster = self.cluster();
        let members = |group: &GroupName| names_of(cluster.nodes().filter(|node| node.groups.contains(group)));
        let groups = cluster.groups().map(|row| GroupView {
            name: row.name.clone(),
            nodes: members(&row.name),
        });
        Reply::Groups {
            groups: groups.collect(),
        }
    }

    /// All pools by name, or one.
    ///
    /// # Errors
    /// A refusal when there is no pool of that name.
    pub fn pools(&self, only: Option<&PoolName>) -> Result<Reply, Refusal> {
        let cluster = self.cluster();
        let mut pools = Vec::new();
        for row in cluster.pools().filter(|row| only.is_none_or(|name| row.name == *name)) {
            let nodes: Vec<&NodeRow> = cluster.nodes().filter(|node| node.pool == row.name).collect();
            let ready: Vec<&NodeRow> = nodes.iter().copied().filter(|node| is_ready(node)).collect();
            pools.push(PoolView {
                row: row.clone(),
                ready: u32::try_from(ready.len()).unwrap_or(u32::MAX),
                slots: ready.iter().map(|node| node.slots).sum(),
                slots_held: ready.iter().map(|node| cluster.slots_held(node.id)).sum(),
                nodes: names_of(nodes.into_iter()),
            });
        }
        match only {
            Some(name) if pools.is_empty() => {
                let names = cluster.pools().map(|pool| pool.name.as_str());
                Err(scheduler::unknown("pool", name.as_str(), names, "see 'pool list'"))
            }
            _ => Ok(Reply::Pools { pools }),
        }
    }

    /// How much there is of everything.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let cluster = self.cluster();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut totals = Totals {
            nodes: count(cluster.nodes().count()),
            up: count(cluster.nodes().filter(|node| is_up(node)).count()),
            ..Totals::default()
        };
        for job in cluster.jobs() {
            totals.jobs = totals.jobs.saturating_add(1);
            totals.queued += u64::from(job.counts.queued);
            totals.running += u64::from(job.counts.running);
        }
        totals
    }
}

fn is_up(node: &NodeRow) -> bool {
    matches!(node.liveness, Liveness::Up { .. })
}

fn is_ready(node: &NodeRow) -> bool {
    is_up(node) && node.admin == AdminState::Online
}

fn names_of<'a>(nodes: impl Iterator<Item = &'a NodeRow>) -> Vec<NodeName> {
    let mut names: Vec<NodeName> = nodes.map(|node| node.name.clone()).collect();
    names.sort_by(|a, b| scheduler::natural_order(a.as_str(), b.as_str()));
    names
}
