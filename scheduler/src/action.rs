//! What the shell is told to do. Every action may be repeated without harm, and one that was lost is made again by
//! [`crate::resync`] when its node connects.

use proto::control::{AllocatedNode, Order, StartOrder};
use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskNumber};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held};
use proto::model::node::{Liveness, NodeErrandKind, NodeRow};
use proto::model::role::TaskRole;
use proto::model::sweep::fill_in;
use proto::units::Millis;

use crate::cluster::{Cluster, coordination_of, errand_id};

/// Work for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Say this to a node, or drop it when the node is not connected.
    Order {
        /// Which.
        node: NodeId,
        /// What. A start comes without its `authority`: the shell, which has keys, fills it in.
        order: Order,
    },
    /// End a node's connection, if there is one.
    Disconnect {
        /// Which.
        node: NodeId,
        /// For its log.
        reason: String,
    },
    /// Tell a node that it is no longer part of the cluster, then end its connection; drop it when it is not connected. Its
    /// next attempt to connect is refused, because its key is no longer known.
    Remove {
        /// Which.
        node: NodeId,
        /// For its log.
        reason: String,
    },
}

/// What is to be done about an event that was applied and stored.
#[must_use]
pub fn react(cluster: &Cluster, event: &Event) -> Vec<Action> {
    match event {
        Event::Granted { attempt, .. } | Event::AttemptSent { attempt } => start(cluster, *attempt),
        Event::Coordinated { attempt, .. } => begin(cluster, *attempt),
        Event::AttemptStopping { attempt, .. } => stop(cluster, *attempt),
        Event::AttemptEnded { attempt, .. } => release(cluster, *attempt),
        Event::NodeLost { node, .. } => {
            let reason = "the node was silent for too long and was given up; connect again".to_owned();
            vec![Action::Disconnect { node: *node, reason }]
        }
        Event::JobDeleted { job } => forget(cluster, *job),
        Event::NodeRemoved { node } => {
            let reason = "the node was removed by the administrator".to_owned();
            vec![Action::Remove { node: *node, reason }]
        }
        Event::NodeErrandChanged { node, .. } => errand_order(cluster, *node)
            .map(|order| Action::Order { node: *node, order })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// Nodes that do not answer keep the job's files until the end of their retention.
fn forget(cluster: &Cluster, job: JobId) -> Vec<Action> {
    let up = cluster
        .nodes()
        .filter(|row| matches!(row.liveness, Liveness::Up { .. }));
    let order = |row: &NodeRow| Action::Order {
        node: row.id,
        order: Order::ForgetJob { job },
    };
    up.map(order).collect()
}

/// What a node was told to do for itself, if it has not done it yet.
pub(crate) fn errand_order(cluster: &Cluster, node: NodeId) -> Option<Order> {
    let errand = cluster.node(node)?.errand.filter(|errand| errand.sent)?;
    match errand.kind {
        NodeErrandKind::Reboot => Some(Order::Restart { reimage: false }),
        NodeErrandKind::Reimage => Some(Order::Restart { reimage: true }),
        NodeErrandKind::Leave => None,
    }
}

fn start(cluster: &Cluster, id: AttemptId) -> Vec<Action> {
    let Some(attempt) = cluster.attempt(id) else {
        return Vec::new();
    };
    let to = |node| {
        let order = Order::Start(Box::new(start_order(cluster, attempt, node)?));
        Some(Action::Order { node, order })
    };
    holders(attempt).filter_map(to).collect()
}

fn begin(cluster: &Cluster, id: AttemptId) -> Vec<Action> {
    let order = cluster.attempt(id).and_then(|attempt| begin_order(cluster, attempt));
    order
        .map(|(node, order)| Action::Order { node, order })
        .into_iter()
        .collect()
}

/// What the primary waits for, once all nodes of a gang have coordinated.
pub(crate) fn begin_order(cluster: &Cluster, attempt: &AttemptRow) -> Option<(NodeId, Order)> {
    let spec = &cluster.task(attempt.task)?.spec;
    let coordinates = coordination_of(spec, attempt.shares.len()).is_some();
    let due = coordinates && attempt.sent && attempt.phase == AttemptPhase::Granted && attempt.coordinating.is_empty();
    due.then_some((attempt.primary()?, Order::Begin { attempt: attempt.id }))
}

fn stop(cluster: &Cluster, id: AttemptId) -> Vec<Action> {
    let attempt = cluster.attempt(id);
    let order = attempt.and_then(|attempt| Some((attempt.primary()?, stop_order(cluster, attempt)?)));
    order
        .map(|(node, order)| Action::Order { node, order })
        .into_iter()
        .collect()
}

fn release(cluster: &Cluster, id: AttemptId) -> Vec<Action> {
    let to = |node| Action::Order {
        node,
        order: Order::Release { attempt: id },
    };
    cluster
        .attempt(id)
        .map(|attempt| holders(attempt).map(to).collect())
        .unwrap_or_default()
}

fn holders(attempt: &AttemptRow) -> impl Iterator<Item = NodeId> {
    attempt
        .shares
        .iter()
        .filter(|share| share.held == Held::Yes)
        .map(|share| share.node)
}

/// The stop that is due for an attempt, if one is.
pub(crate) fn stop_order(cluster: &Cluster, attempt: &AttemptRow) -> Option<Order> {
    let AttemptPhase::Stopping { force, .. } = attempt.phase else {
        return None;
    };
    if !attempt.sent {
        return None; // No node knows of it, and it ends at once.
    }
    let grace = if force { Millis(0) } else { cluster.cancel_grace() };
    Some(Order::Stop {
        attempt: attempt.id,
        grace,
    })
}

/// The newest try of the job's preparation task on a node, for a task of the job that comes after it.
fn prepared_by(cluster: &Cluster, attempt: &AttemptRow, node: NodeId) -> Option<AttemptId> {
    let own = !attempt.task.number.is_per_node();
    let id = own.then_some(errand_id(TaskNumber::PREPARATION, attempt.task.job, node))?;
    cluster.task(id)?.last_attempt
}

/// Everything that a node has to know to hold or run an attempt. None while it waits for the job's preparation task, when
/// its job is over, or when a node of it was never heard of, which a grant excludes.
pub(crate) fn start_order(cluster: &Cluster, attempt: &AttemptRow, node: NodeId) -> Option<StartOrder> {
    let task = cluster.task(attempt.task).filter(|_| attempt.sent)?;
    let job = cluster.job(attempt.task.job)?;
    let nodes: Option<Vec<AllocatedNode>> = attempt
        .shares
        .iter()
        .map(|share| {
            let row = cluster.node(share.node)?;
            Some(AllocatedNode {
                node: row.id,
                name: row.name.clone(),
                slots: share.slots,
                peer: row.peer?,
            })
        })
        .collect();
    let mut env = cluster.settings_row().env.clone();
    env.extend(job.spec.env.clone());
    env.extend(task.spec.env.clone());
    let role = TaskRole::of(task.id, job.spec.kind);
    // What runs once per node is no element of a sweep: its step is the node.
    let step = task.id.step.filter(|_| !role.is_per_node());
    let filled = |text: &String| step.map_or_else(|| text.clone(), |step| fill_in(text, step));
    let path = |path: &Option<String>| path.as_ref().map(filled);
    Some(StartOrder {
        attempt: attempt.id,
        task: task.id,
        job_name: job.spec.name.clone(),
        task_name: task.spec.name.clone(),
        requeues: task.requeues,
        owner: job.owner.clone(),
        nodes: nodes?,
        command: task.spec.command.iter().map(filled).collect(),
        workdir: path(&task.spec.workdir),
        stdout: path(&task.spec.stdout),
        stderr: path(&task.spec.stderr),
        stdin: path(&task.spec.stdin),
        script: task.spec.script.clone(),
        interactive: task.spec.interactive,
        env,
        runtime_limit: task.spec.runtime_limit,
        exclusive: job.spec.exclusive || task.spec.exclusive,
        rerunnable: attempt.rerunnable,
        role,
        coordination: coordination_of(&task.spec, attempt.shares.len()),
        common_files: task.spec.common_files.clone(),
        retention: task.spec.retention,
        pool: attempt
            .primary()
            .and_then(|node| cluster.node(node))
            .map(|row| row.pool.clone()),
        prepared_by: prepared_by(cluster, attempt, node),
        authority: None,
    })
}
