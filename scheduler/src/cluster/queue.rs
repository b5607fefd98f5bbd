//! What waits: jobs by priority, then by their numbers, and in each job its tasks by theirs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{JobId, NodeId, TaskId};
use proto::model::job::Priority;
use proto::model::task::{Request, TaskSpec};

/// What placing a task depends on. Tasks of one job with the same shape fit or do not fit alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) request: Request,
    /// Up to so many units where they are free; at least those of the request.
    pub(crate) most: u32,
    /// No other task on its nodes.
    pub(crate) alone: bool,
}

impl Shape {
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let least = match spec.request {
            Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
            Request::Beside { .. } => 0,
        };
        Self {
            request: spec.request,
            most: spec.request_max.map_or(least, |most| most.max(least)),
            alone: spec.exclusive,
        }
    }
}

/// The waiting tasks of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitingJob {
    tasks: BTreeMap<TaskId, Shape>,
    shapes: BTreeMap<Shape, u32>,
}

impl WaitingJob {
    pub(crate) fn contains(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    /// In the order of their numbers.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = (TaskId, Shape)> {
        self.tasks.iter().map(|(task, shape)| (*task, *shape))
    }

    /// How many kinds of tasks there are.
    pub(crate) fn kinds(&self) -> usize {
        self.shapes.len()
    }
}

/// Everything that waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    jobs: BTreeMap<(Reverse<Priority>, JobId), WaitingJob>,
    /// Tasks that wait for one node to answer and for nothing else. They stand in no order, and nobody is behind them.
    beside: BTreeMap<TaskId, NodeId>,
    beside_on: BTreeMap<NodeId, BTreeSet<TaskId>>,
}

impl Queue {
    pub(crate) fn insert(&mut self, priority: Priority, task: TaskId, shape: Shape) {
        if let Request::Beside { node } = shape.request {
            self.beside.insert(task, node);
            self.beside_on.entry(node).or_default().insert(task);
            return;
        }
        let job = self.jobs.entry((Reverse(priority), task.job)).or_default();
        if job.tasks.insert(task, shape).is_none() {
            *job.shapes.entry(shape).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, priority: Priority, task: TaskId) {
        if let Some(node) = self.beside.remove(&task) {
            if let Some(tasks) = self.beside_on.get_mut(&node) {
                tasks.remove(&task);
                if tasks.is_empty() {
                    self.beside_on.remove(&node);
                }
            }
            return;
        }
        let key = (Reverse(priority), task.job);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if let Some(shape) = job.tasks.remove(&task)
            && let Some(count) = job.shapes.get_mut(&shape)
        {
            *count -= 1;
            if *count == 0 {
                job.shapes.remove(&shape);
            }
        }
        if job.tasks.is_empty() {
            self.jobs.remove(&key);
        }
    }

    /// Whether a task is in the queue, and not held back by something else.
    pub(crate) fn contains(&self, priority: Priority, task: TaskId) -> bool {
        let job = self.jobs.get(&(Reverse(priority), task.job));
        self.beside.contains_key(&task) || job.is_some_and(|job| job.contains(task))
    }

    /// Nodes that tasks wait for beside the order, with those tasks.
    pub(crate) fn beside(&self) -> impl Iterator<Item = (NodeId, &BTreeSet<TaskId>)> {
        self.beside_on.iter().map(|(node, tasks)| (*node, tasks))
    }

    /// The tasks of a job wait with another priority now.
    pub(crate) fn change_priority(&mut self, job: JobId, from: Priority, to: Priority) {
        if let Some(waiting) = self.jobs.remove(&(Reverse(from), job)) {
            self.jobs.insert((Reverse(to), job), waiting);
        }
    }

    /// In the order in which they are served.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &WaitingJob)> {
        self.jobs.iter().map(|((_, id), job)| (*id, job))
    }
}
