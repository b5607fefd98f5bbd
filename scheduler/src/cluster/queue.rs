//! What waits: jobs by priority, then by their numbers, and in each job its tasks by theirs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::job::Priority;
use proto::model::task::{Request, TaskSpec};

/// What placing a task depends on. Tasks of one job with the same shape fit or do not fit alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) request: Request,
    /// No other task on its nodes.
    pub(crate) alone: bool,
}

impl Shape {
    pub(crate) const fn of(spec: &TaskSpec) -> Self {
        Self {
            request: spec.request,
            alone: spec.exclusive,
        }
    }
}

/// The waiting tasks of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitingJob {
    tasks: BTreeMap<TaskNumber, Shape>,
    shapes: BTreeMap<Shape, u32>,
}

impl WaitingJob {
    /// In the order of their numbers.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = (TaskNumber, Shape)> {
        self.tasks.iter().map(|(number, shape)| (*number, *shape))
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
}

impl Queue {
    pub(crate) fn insert(&mut self, priority: Priority, task: TaskId, shape: Shape) {
        let job = self.jobs.entry((Reverse(priority), task.job)).or_default();
        if job.tasks.insert(task.number, shape).is_none() {
            *job.shapes.entry(shape).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, priority: Priority, task: TaskId) {
        let key = (Reverse(priority), task.job);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if let Some(shape) = job.tasks.remove(&task.number)
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

    /// In the order in which they are served.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &WaitingJob)> {
        self.jobs.iter().map(|((_, id), job)| (*id, job))
    }
}
