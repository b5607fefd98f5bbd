//! What the shell is told to do. Every action may be repeated without harm, and one that was lost is made again by
//! [`crate::resync`] when its node connects.

use proto::control::{AllocatedNode, Order, StartOrder, StepStart};
use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskNumber};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held};
use proto::model::node::{Liveness, NodeErrandKind, NodeRow};
use proto::model::role::TaskRole;
use proto::units::Millis;

use crate::cluster::{Cluster, coordination_of, errand_id, is_single};

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
        Event::Advanced {
            attempt,
            by_node: false,
            ..
        } => to_primary(cluster, *attempt, Order::Advance { attempt: *attempt }),
        Event::Recalled { attempt } => to_primary(cluster, *attempt, Order::Recall { attempt: *attempt }),
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

fn to_primary(cluster: &Cluster, id: AttemptId, order: Order) -> Vec<Action> {
    let node = cluster
        .attempt(id)
        .filter(|attempt| attempt.sent)
        .and_then(AttemptRow::primary);
    node.map(|node| Action::Order { node, order }).into_iter().collect()
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
    let order = pattern_order(cluster, attempt, node)?;
    // What runs once per node is no element of a sweep: its step is the node.
    let step = order.task.step.filter(|_| !order.role.is_per_node());
    Some(match step {
        None => order,
        Some(step) => order.for_step(StepStart {
            attempt: attempt.id,
            step,
            requeues: order.requeues,
            ahead: order.ahead,
            authority: None,
        }),
    })
}

/// The same with texts as the user wrote them, the pattern for all steps of a sweep.
fn pattern_order(cluster: &Cluster, attempt: &AttemptRow, node: NodeId) -> Option<StartOrder> {
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
    Some(StartOrder {
        attempt: attempt.id,
        task: task.id,
        job_name: job.spec.name.clone(),
        task_name: task.spec.name.clone(),
        requeues: task.requeues,
        owner: job.owner.clone(),
        nodes: nodes?,
        command: task.spec.command.clone(),
        workdir: task.spec.workdir.clone(),
        stdout: task.spec.stdout.clone(),
        stderr: task.spec.stderr.clone(),
        stdin: task.spec.stdin.clone(),
        script: task.spec.script.clone(),
        interactive: task.spec.interactive,
        env,
        runtime_limit: task.spec.runtime_limit,
        exclusive: job.spec.exclusive || task.spec.exclusive,
        rerunnable: attempt.rerunnable,
        role: TaskRole::of(task.id, job.spec.kind),
        coordination: coordination_of(&task.spec, attempt.shares.len()),
        common_files: task.spec.common_files.clone(),
        retention: task.spec.retention,
        pool: attempt
            .primary()
            .and_then(|node| cluster.node(node))
            .map(|row| row.pool.clone()),
        prepared_by: prepared_by(cluster, attempt, node),
        single: is_single(attempt, job.spec.exclusive, task),
        ahead: attempt.ahead.is_some(),
        authority: None,
    })
}

/// What is to be done about events that were applied one after the other, with the starts of steps of one sweep on one node
/// as one order. The same as [`react`] for each, in fewer words.
#[must_use]
pub fn react_to_all(cluster: &Cluster, events: &[Event]) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    for event in events {
        match event {
            Event::Granted { attempt, shares, .. } if shares.len() == 1 => start_step(cluster, *attempt, &mut actions),
            event => actions.extend(react(cluster, event)),
        }
    }
    actions
}

/// Joins the newest order to the same node, if that starts steps of the same sweep.
fn start_step(cluster: &Cluster, id: AttemptId, actions: &mut Vec<Action>) {
    let Some(attempt) = cluster.attempt(id).filter(|attempt| attempt.sent) else {
        return;
    };
    let step = attempt.task.step.filter(|_| !attempt.task.number.is_per_node());
    let (Some(step), Some(node)) = (step, attempt.primary()) else {
        return actions.extend(start(cluster, id));
    };
    let start = StepStart {
        attempt: id,
        step,
        requeues: cluster.task(attempt.task).map_or(0, |task| task.requeues),
        ahead: attempt.ahead.is_some(),
        authority: None,
    };
    let earlier = actions.iter_mut().rev().find_map(|action| match action {
        Action::Order { node: to, order } if *to == node => Some(order),
        _ => None,
    });
    match earlier {
        Some(Order::StartSteps { order, steps })
            if order.task == attempt.task.without_step() && steps.len() < MAX_STEPS_OF_ORDER =>
        {
            steps.push(start);
        }
        _ => {
            let pattern = pattern_order(cluster, attempt, node).map(|order| StartOrder {
                task: order.task.without_step(),
                ..order
            });
            actions.extend(pattern.map(|order| Action::Order {
                node,
                order: Order::StartSteps {
                    order: Box::new(order),
                    steps: vec![start],
                },
            }));
        }
    }
}

/// The most steps that one order starts.
const MAX_STEPS_OF_ORDER: usize = 256;
