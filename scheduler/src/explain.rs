//! Why a job waits: its first waiting task against every node, with counts. Made when somebody asks, never in the
//! placement pass.

use std::collections::BTreeMap;

use proto::ids::{JobId, NodeId, TaskId};
use proto::model::node::NodeRow;
use proto::model::task::{Request, TaskState};
use proto::model::why::{Cause, Why};

use crate::cluster::{Class, ClassId, Cluster, Shape, Tenant, hindrance};
use crate::plan::Capacity;

/// Why a job waits; none when nothing of it does, or when there is no such job in memory.
#[must_use]
pub fn explain(cluster: &Cluster, id: JobId) -> Option<Why> {
    let job = cluster.job(id)?;
    let class_id = cluster.class_of(id)?;
    let class = cluster.class(class_id)?;
    let (task, shape) = first_waiting(cluster, id)?;
    let least = Capacity::of(cluster, class_id).least_slots(shape.request);
    let tenant = Tenant {
        job: id,
        job_alone: job.spec.exclusive,
        task_alone: shape.alone,
    };
    let mut why = Why {
        job: id,
        task,
        asked: shape.request,
        nodes: 0,
        eligible: 0,
        eligible_slots: 0,
        free: 0,
        free_slots: 0,
        causes: BTreeMap::new(),
        ahead: ahead(cluster, task, class_id),
    };
    for row in cluster.nodes() {
        why.nodes += 1;
        let cause = class
            .excludes(row)
            .or_else(|| hindrance(row))
            .or_else(|| (row.slots < least).then_some(Cause::TooSmall));
        if let Some(cause) = cause {
            *why.causes.entry(cause).or_default() += 1;
            continue;
        }
        why.eligible += 1;
        why.eligible_slots = why.eligible_slots.saturating_add(row.slots);
        match taken(cluster, row, shape.request, least, tenant) {
            Some(cause) => *why.causes.entry(cause).or_default() += 1,
            None => {
                why.free += 1;
                why.free_slots = why.free_slots.saturating_add(cluster.floor().free(row));
            }
        }
    }
    Some(why)
}

/// The first task that waits, in the queue or for its last try to be let go.
fn first_waiting(cluster: &Cluster, id: JobId) -> Option<(TaskId, Shape)> {
    let task = cluster.tasks_of(id).find(|task| task.state == TaskState::Queued)?;
    Some((task.id, Shape::of(&task.spec)))
}

/// What keeps an eligible node from taking a part now.
fn taken(cluster: &Cluster, row: &NodeRow, request: Request, least: u32, tenant: Tenant) -> Option<Cause> {
    let free = cluster.floor().free(row);
    let enough = match request {
        Request::Nodes { .. } => free == row.slots,
        // Of a request that one node can hold, a node takes all; of a larger one, what it has.
        Request::Cores { count } => free >= if least == count { count } else { 1 },
    };
    let admits = cluster.floor().occupancy(row.id).admits(tenant);
    match (admits, enough) {
        (false, _) if !tenant.job_alone && !tenant.task_alone => Some(Cause::HeldExclusively),
        (false, _) | (true, false) => Some(Cause::Busy),
        (true, true) => None,
    }
}

/// Tasks that are served before this one and want some of the same nodes.
fn ahead(cluster: &Cluster, task: TaskId, class: ClassId) -> u32 {
    let mut shares: BTreeMap<ClassId, bool> = BTreeMap::new();
    let mut count = 0;
    let own = nodes_of(cluster, class);
    for (id, waiting) in cluster.queue().jobs() {
        if id == task.job {
            let before = waiting.tasks().take_while(|(number, _)| *number < task.number).count();
            return u32::try_from(count + before).unwrap_or(u32::MAX);
        }
        let Some(other) = cluster.class_of(id) else { continue };
        let same = *shares.entry(other).or_insert_with(|| {
            other == class
                || cluster
                    .class(other)
                    .is_some_and(|other| own.iter().any(|node| may_use(cluster, other, *node)))
        });
        if same {
            count += waiting.tasks().len();
        }
    }
    // It waits for its last try to be let go and stands in no queue.
    0
}

fn nodes_of(cluster: &Cluster, class: ClassId) -> Vec<NodeId> {
    let Some(class) = cluster.class(class) else {
        return Vec::new();
    };
    cluster
        .nodes()
        .map(|row| row.id)
        .filter(|node| may_use(cluster, class, *node))
        .collect()
}

fn may_use(cluster: &Cluster, class: &Class, node: NodeId) -> bool {
    cluster.node(node).is_some_and(|row| class.excludes(row).is_none())
}
