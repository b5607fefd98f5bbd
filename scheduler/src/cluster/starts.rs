//! Start tasks of pools become state. Each is a task of its pool's hidden job, with the node as its step, and counted in that
//! job as any other; it waits beside the queue for its node.

use std::sync::Arc;

use proto::ids::{NodeId, Step, TaskId, TaskNumber};
use proto::model::pool::PoolRow;
use proto::model::task::{Request, TaskRow, TaskSpec, TaskState};
use proto::stored::{FIRST_TASK, RowKey};

use super::Cluster;
use super::apply::counter;
use super::dependency::Standing;

impl Cluster {
    /// The task waits for its node. One that was there before waits again, as if nobody had tried it.
    pub(super) fn start_task_added(&mut self, id: TaskId) {
        let (Some(spec), Some(job)) = (self.start_spec(id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let before = self.tasks.get(&id);
        if before.is_some_and(|task| task.state.attempt().is_some()) {
            return;
        }
        if let Some(task) = before {
            *counter(&mut job.row.counts, &task.state) -= 1;
        }
        let row = TaskRow {
            id,
            spec: Arc::new(spec),
            state: TaskState::Queued,
            requeues: 0,
            retries: 0,
            array: None,
            last_attempt: before.and_then(|task| task.last_attempt),
            last_nodes: before.map(|task| task.last_nodes.clone()).unwrap_or_default(),
            exit_code: None,
        };
        let from = before.map(Standing::of);
        job.row.counts.queued += 1;
        job.row.next_task = job.row.next_task.max(TaskNumber(2));
        if from.is_none() && !job.dependencies.is_empty() {
            job.dependencies.enter(&row.spec.name, id.number, Standing::Open, 1);
        }
        self.tasks.insert(id, row);
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
        if let Some(from) = from {
            self.stands(id, from, Standing::Open);
        }
        self.refresh(id);
    }

    /// What the pool runs on the node that the task is for.
    fn start_spec(&self, id: TaskId) -> Option<TaskSpec> {
        let Step(node) = id.step?;
        let start = self.pool_of_start_job(id)?.spec.start_task.as_ref()?;
        Some(TaskSpec {
            request: Request::Beside { node: NodeId(node) },
            // It is run in each life of the node anyway.
            rerunnable: true,
            ..start.task.clone()
        })
    }

    /// The task may wait still: its node may begin a new life and be taken out in one decision.
    pub(super) fn start_task_forgotten(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_none_or(|task| task.state.attempt().is_some()) {
            return;
        }
        let (Some(task), Some(job)) = (self.tasks.remove(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        *counter(&mut job.row.counts, &task.state) -= 1;
        self.queue.remove(job.row.spec.priority, id);
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
    }

    /// The pool whose start task a job stands for.
    fn pool_of_start_job(&self, task: TaskId) -> Option<&PoolRow> {
        self.pools.values().find(|pool| pool.start_job == Some(task.job))
    }

    /// The task that runs a pool's start task on a node, if it is there.
    pub(crate) fn start_task_on(&self, pool: &PoolRow, node: NodeId) -> Option<TaskId> {
        let task = start_task(pool, node)?;
        self.tasks.contains_key(&task).then_some(task)
    }
}

/// The id of the task that runs a pool's start task on a node; none when the pool has no start task.
pub(crate) fn start_task(pool: &PoolRow, node: NodeId) -> Option<TaskId> {
    Some(TaskId {
        step: Some(Step(node.0)),
        ..TaskId::new(pool.start_job?, FIRST_TASK)
    })
}
