//! What goes into the windows of nodes, and what is wanted back from them; see [`crate::cluster`]'s windows.
//!
//! Runs after the pass: what waits now found no free slot. Windows are filled in the order of the queue, so nothing in them
//! is before anything that waits. A job that waits and cannot be put into windows keeps later ones out of those of its nodes.

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId};
use proto::model::attempt::{Held, Share};
use proto::model::job::{JobRow, JobState, Priority};
use proto::model::task::Request;
use proto::units::{Millis, Now};
use std::cmp::Reverse;

use crate::cluster::{ClassId, Cluster, Shape, WaitingJob, hindrance};

/// Waiting jobs that are looked at.
const MOST_JOBS: usize = 256;

/// Grants of one call; more follow with the next reports.
const MOST_GRANTS: usize = 4096;

/// What has not begun after that long may be wanted back for a free slot elsewhere.
const PATIENCE: Millis = Millis(20);

/// Grants ahead of time and recalls, to be applied after those of [`super::plan`].
#[must_use]
pub fn windows(cluster: &Cluster, now: Now) -> Vec<Event> {
    let mut events = Vec::new();
    recall_late(cluster, &mut events);
    recall_for_free_slots(cluster, now, &mut events);
    if events.is_empty() && !cluster.has_limits() {
        fill(cluster, now, &mut events);
    }
    events
}

/// What waits in the windows of nodes that get no work, of jobs that are not to run now, or behind a job that came before it.
fn recall_late(cluster: &Cluster, events: &mut Vec<Event>) {
    let windows = cluster.windows();
    let order = |job: JobId| cluster.job(job).map(order_of);
    let first = cluster.queue().jobs().find(|(job, _)| !is_at_its_limit(cluster, *job));
    let first = first.and_then(|(job, _)| Some((order(job)?, cluster.class(cluster.class_of(job)?)?)));
    let late = |job| match (order(job), &first) {
        (Some(job), Some((first, _))) => job > *first,
        (None, _) => true,
        (Some(_), None) => false,
    };
    let halted = |job| cluster.job(job).is_none_or(|row| !is_running(row));
    let some_late = windows.jobs().any(late);
    let some_halted = windows.jobs().any(halted);
    for node in windows.filled() {
        let Some(row) = cluster.node(node) else { continue };
        let closed = hindrance(row).is_some();
        if !(closed || some_late || some_halted) {
            continue;
        }
        let in_reach = || first.as_ref().is_some_and(|(_, class)| class.excludes(row).is_none());
        let due = |job| closed || halted(job) || (late(job) && in_reach());
        let waiting = windows.waiting(node).filter(|(_, job)| due(*job));
        events.extend(waiting.map(|(attempt, _)| Event::Recalled { attempt }));
    }
}

/// When nothing waits and slots are free, what waits in windows elsewhere is wanted back for them, last ones first.
fn recall_for_free_slots(cluster: &Cluster, now: Now, events: &mut Vec<Event>) {
    let windows = cluster.windows();
    if windows.filled().next().is_none() || cluster.queue().jobs().next().is_some() {
        return;
    }
    let mut free: Vec<(NodeId, u32)> = cluster
        .floor()
        .open()
        .filter_map(|id| cluster.node(id))
        .map(|row| (row.id, cluster.floor().free(row)))
        .collect();
    let old = |attempt: AttemptId| {
        let row = cluster.attempt(attempt);
        row.is_some_and(|row| now.wall.since(row.granted_at) >= PATIENCE)
    };
    for node in windows.filled() {
        for (attempt, job) in windows.waiting(node).rev().filter(|(attempt, _)| old(*attempt)) {
            let class = cluster.class_of(job).and_then(|class| cluster.class(class));
            let fits = |(id, left): &&mut (NodeId, u32)| {
                let row = cluster.node(*id);
                *left > 0 && class.zip(row).is_some_and(|(class, row)| class.excludes(row).is_none())
            };
            let Some((_, left)) = free.iter_mut().find(fits) else {
                break;
            };
            *left -= 1;
            events.push(Event::Recalled { attempt });
        }
    }
}

fn fill(cluster: &Cluster, now: Now, events: &mut Vec<Event>) {
    let mut hungry: Vec<(NodeId, u64, u64)> = cluster.windows().hungry().collect();
    let mut barred: Vec<ClassId> = Vec::new();
    let mut next = cluster.meta().next_attempt;
    for (id, waiting) in cluster.queue().jobs().take(MOST_JOBS) {
        if hungry.is_empty() || events.len() >= MOST_GRANTS {
            return;
        }
        let (Some(job), Some(class)) = (cluster.job(id), cluster.class_of(id)) else {
            continue;
        };
        if is_at_its_limit(cluster, id) {
            continue;
        }
        let mut filler = Filler {
            cluster,
            now,
            barred: &barred,
            next: &mut next,
            events,
        };
        if !may_wait_ahead(job) || !filler.fill(class, waiting, &mut hungry) {
            barred.push(class);
        }
        hungry.retain(|(_, missing, _)| *missing > 0);
    }
}

struct Filler<'a, 'b> {
    cluster: &'a Cluster,
    now: Now,
    barred: &'b [ClassId],
    next: &'b mut AttemptId,
    events: &'b mut Vec<Event>,
}

impl Filler<'_, '_> {
    /// Puts tasks of a job into windows. False when others of it wait that cannot be put there.
    fn fill(&mut self, class: ClassId, waiting: &WaitingJob, hungry: &mut [(NodeId, u64, u64)]) -> bool {
        let mut walk = waiting.walk();
        let mut left = waiting.count();
        let mut all_fit = true;
        // Half of what is left, shared out by slots: so that all nodes come to the end at about the same time.
        let slots = 2 * self.cluster.windows().singles().max(1);
        for (node, missing, singles) in hungry {
            if !self.is_open(class, *node) {
                continue;
            }
            let share = (left * *singles / slots).min(*missing);
            let mut given = 0;
            while given < share && self.events.len() < MOST_GRANTS {
                let Some((task, shape)) = walk.next() else { break };
                if !fits(shape) || !self.may_rerun(task) {
                    walk.block(shape);
                    all_fit = false;
                    continue;
                }
                self.grant(task, *node);
                given += 1;
            }
            left -= given;
            *missing -= given;
        }
        all_fit
    }

    fn is_open(&self, class: ClassId, node: NodeId) -> bool {
        let Some(row) = self.cluster.node(node).filter(|row| hindrance(row).is_none()) else {
            return false;
        };
        let takes = |class: ClassId| {
            self.cluster
                .class(class)
                .is_some_and(|class| class.excludes(row).is_none())
        };
        takes(class) && !self.barred.iter().any(|earlier| takes(*earlier))
    }

    fn may_rerun(&self, task: TaskId) -> bool {
        let row = self.cluster.task_or_untouched(task);
        row.is_some_and(|row| self.cluster.may_rerun(&row))
    }

    fn grant(&mut self, task: TaskId, node: NodeId) {
        let attempt = *self.next;
        *self.next = AttemptId(attempt.0.saturating_add(1));
        self.events.push(Event::Granted {
            attempt,
            task,
            shares: vec![Share {
                node,
                slots: 1,
                held: Held::Yes,
            }],
            ahead: true,
            at: self.now.wall,
        });
    }
}

/// The place in the queue.
const fn order_of(job: &JobRow) -> (Reverse<Priority>, JobId) {
    (Reverse(job.spec.priority), job.id)
}

const fn is_running(job: &JobRow) -> bool {
    matches!(job.state, JobState::Queued | JobState::Running { .. })
}

/// Whether a job waits for its own tasks to end, and not for nodes.
fn is_at_its_limit(cluster: &Cluster, job: JobId) -> bool {
    let row = cluster.job(job);
    let most = row.and_then(|row| Some((row.spec.max_parallel_tasks?, row.counts.running)));
    most.is_some_and(|(most, running)| running >= most)
}

/// Whether tasks of a job may wait in windows: not where the job as a whole is bounded or wants nodes for itself, or where
/// its nodes have to be prepared.
fn may_wait_ahead(job: &JobRow) -> bool {
    let spec = &job.spec;
    is_running(job)
        && spec.units.is_none()
        && spec.max_parallel_tasks.is_none()
        && spec.preparation.is_none()
        && !spec.exclusive
}

/// Whether a task takes one slot and nothing else.
fn fits(shape: &Shape) -> bool {
    shape.request == Request::Cores { count: 1 }
        && shape.most == 1
        && !shape.alone
        && shape.wares.is_none()
        && shape.affinity.is_none()
}
