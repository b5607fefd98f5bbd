//! What could change why something waits: the first thing that somebody may look out for.

use proto::ids::{NodeId, TaskId};
use proto::model::node::NodeRow;
use proto::model::task::TaskState;
use proto::model::why::{Cause, Hold, NextEvent, Why};
use proto::units::Timestamp;

use super::Subject;
use crate::cluster::{Cluster, hindrance};
use crate::plan::end_of;

impl Subject<'_> {
    /// What could change it next, given all else that is known.
    pub(super) fn next(&self, cluster: &Cluster, why: &Why, fits: impl Fn(&NodeRow) -> bool) -> Option<NextEvent> {
        if let Some(held) = &why.held {
            return self.after_hold(cluster, held);
        }
        if let Some(count) = why.short_nodes {
            if why.causes.contains_key(&Cause::PreparationFailed) {
                let command = format!("job requeue {}", self.job);
                return Some(NextEvent::Somebody { command });
            }
            let node = self.first_unready(cluster);
            return Some(node.map_or(NextEvent::NodesAdded { count }, |node| NextEvent::NodeReady { node }));
        }
        let nodes: Vec<NodeId> = cluster.nodes().filter(|row| fits(row)).map(|row| row.id).collect();
        first_end(cluster, &nodes).map(|(task, by)| NextEvent::TaskEnds { task, by })
    }

    fn after_hold(&self, cluster: &Cluster, held: &Hold) -> Option<NextEvent> {
        let somebody = |command: String| Some(NextEvent::Somebody { command });
        let own = || cluster.tasks_of(self.job).find(|task| task.state.attempt().is_some());
        match held {
            Hold::Configuring => somebody(format!("job submit /id:{}", self.job)),
            Hold::Disabled => somebody(format!("job enable {}", self.job)),
            Hold::Until { at } => Some(NextEvent::Moment { at: *at }),
            Hold::Parents { jobs } => jobs.first().map(|job| NextEvent::JobEnds { job: *job }),
            Hold::TaskNumbers { first, .. } => Some(task_ends(cluster, *first)),
            Hold::Tasks { names, .. } => {
                let named =
                    |task: &&proto::model::task::TaskRow| !task.state.is_ended() && names.contains(&task.spec.name);
                let task = cluster.tasks_of(self.job).find(named)?;
                Some(task_ends(cluster, task.id))
            }
            Hold::JobUnits { .. } | Hold::Parallel { .. } => own().map(|task| task_ends(cluster, task.id)),
            Hold::LastTry => Some(NextEvent::NodeReady {
                node: *cluster.task(self.task)?.last_nodes.first()?,
            }),
            Hold::Preparing { nodes } => nodes.first().map(|node| NextEvent::NodeReady { node: *node }),
            Hold::UserLimit { user, .. } => {
                let is_own = |job| cluster.job(job).is_some_and(|job| job.owner.name == *user);
                first_of(cluster, |task| is_own(task.job))
            }
            Hold::PoolLimit { pool, .. } => {
                let nodes: Vec<NodeId> = cluster
                    .nodes()
                    .filter(|row| row.pool == *pool)
                    .map(|row| row.id)
                    .collect();
                first_end(cluster, &nodes).map(|(task, by)| NextEvent::TaskEnds { task, by })
            }
            Hold::NoSuchResource { .. } => Some(NextEvent::NodesAdded { count: 1 }),
        }
    }

    /// A node that the job could use if it were ready.
    fn first_unready(&self, cluster: &Cluster) -> Option<NodeId> {
        let unready = |row: &&NodeRow| {
            let gone = matches!(hindrance(row), None | Some(Cause::NeverSeen | Cause::Lost));
            !gone && self.class.excludes(row).is_none()
        };
        cluster.nodes().find(unready).map(|row| row.id)
    }
}

/// The end of a task, with its limit if it runs and has one.
fn task_ends(cluster: &Cluster, id: TaskId) -> NextEvent {
    let attempt = cluster.task(id).and_then(|task| match task.state {
        TaskState::Granted { attempt, .. }
        | TaskState::Running { attempt, .. }
        | TaskState::Stopping { attempt, .. } => cluster.attempt(attempt),
        TaskState::Queued | TaskState::Ended { .. } => None,
    });
    NextEvent::TaskEnds {
        task: id,
        by: attempt.and_then(|attempt| end_of(cluster, attempt)),
    }
}

fn first_of(cluster: &Cluster, wanted: impl Fn(TaskId) -> bool) -> Option<NextEvent> {
    let ends = cluster.attempts().filter(|attempt| wanted(attempt.task));
    let ends = ends.map(|attempt| (end_of(cluster, attempt), attempt.task));
    let (by, task) = ends.min_by_key(|(by, task)| (by.is_none(), *by, *task))?;
    Some(NextEvent::TaskEnds { task, by })
}

/// Of what holds slots of these nodes, what ends first by its limit; without limits, the first by number.
fn first_end(cluster: &Cluster, nodes: &[NodeId]) -> Option<(TaskId, Option<Timestamp>)> {
    let holders = nodes.iter().flat_map(|node| cluster.floor().holds(*node));
    let attempts = holders.filter_map(|(id, slots, ..)| cluster.attempt(id).filter(|_| slots > 0));
    let ends = attempts.map(|attempt| (end_of(cluster, attempt), attempt.task));
    let (by, task) = ends.min_by_key(|(by, task)| (by.is_none(), *by, *task))?;
    Some((task, by))
}
