//! What really ran: every process with its true start and end. Knows nothing of the scheduler.

use std::collections::BTreeMap;

use proto::ids::{AttemptId, NodeId, TaskId};

use super::clock::Time;

/// What ran.
#[derive(Debug, Default)]
pub(super) struct Truth {
    running: BTreeMap<(AttemptId, NodeId), TaskId>,
    /// Attempts whose program runs, by task.
    by_task: BTreeMap<TaskId, AttemptId>,
    runs: BTreeMap<TaskId, Vec<Run>>,
    pub(super) started: usize,
}

/// One run of a task's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) attempt: AttemptId,
    pub(super) from: Time,
    pub(super) to: Option<Time>,
    /// The exit code, when it ended by itself.
    pub(super) code: Option<i32>,
}

impl Truth {
    /// A task's program starts on its primary node.
    ///
    /// # Errors
    /// When another attempt of the task runs: that must never be.
    pub(super) fn starts(&mut self, task: TaskId, attempt: AttemptId, node: NodeId, now: Time) -> Result<(), String> {
        if let Some(other) = self.by_task.get(&task) {
            return Err(format!(
                "task {task} runs twice: attempt {attempt} starts on node {node} while attempt {other} runs"
            ));
        }
        self.started += 1;
        self.by_task.insert(task, attempt);
        self.running.insert((attempt, node), task);
        self.runs.entry(task).or_default().push(Run {
            attempt,
            from: now,
            to: None,
            code: None,
        });
        Ok(())
    }

    /// It ended, by itself or not.
    pub(super) fn ends(&mut self, attempt: AttemptId, node: NodeId, code: Option<i32>, now: Time) {
        let Some(task) = self.running.remove(&(attempt, node)) else {
            return;
        };
        self.by_task.remove(&task);
        let runs = self.runs.get_mut(&task).into_iter().flatten();
        for run in runs.filter(|run| run.attempt == attempt) {
            run.to = Some(now);
            run.code = code;
        }
    }

    /// All runs of a task, in order.
    pub(super) fn runs(&self, task: TaskId) -> &[Run] {
        self.runs.get(&task).map_or(&[], Vec::as_slice)
    }

    /// What runs now.
    pub(super) fn running(&self) -> impl Iterator<Item = (AttemptId, NodeId, TaskId)> {
        self.running
            .iter()
            .map(|((attempt, node), task)| (*attempt, *node, *task))
    }
}
