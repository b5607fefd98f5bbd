//! The tasks that a job, a pool or a node needs beside the tasks that users add: manager, preparation, release, start task.
//!
//! They are ordinary tasks with attempts, directories and output, under numbers that no user gives ([`TaskNumber`]):
//! `7.manager`, `7.prep.3` and `7.release.3` (job 7 on node 3). A pool's start task is a job of kind
//! [`super::job::JobKind::Start`] whose task 1 has a step per node: `2.1.3`. All but the manager take no slots.

use serde::{Deserialize, Serialize};

use super::job::JobKind;
use super::task::TaskSpec;
use crate::ids::{TaskId, TaskNumber};
use crate::units::Millis;

/// What a task is for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskRole {
    /// A user's task.
    #[default]
    Task,
    /// The job manager task.
    Manager,
    /// The job preparation task on one node.
    Preparation,
    /// The job release task on one node.
    Release,
    /// The start task of a pool on one node.
    Start,
}

impl TaskRole {
    /// What the task of that id is in a job of that kind.
    #[must_use]
    pub fn of(task: TaskId, kind: JobKind) -> Self {
        match task.number {
            TaskNumber::MANAGER => Self::Manager,
            TaskNumber::PREPARATION => Self::Preparation,
            TaskNumber::RELEASE => Self::Release,
            _ if kind == JobKind::Start => Self::Start,
            _ => Self::Task,
        }
    }

    /// Whether it runs once per node, beside what is there.
    #[must_use]
    pub const fn is_per_node(self) -> bool {
        matches!(self, Self::Preparation | Self::Release | Self::Start)
    }
}

/// The longest that a release task may run: Azure Batch's bound.
pub const MAX_RELEASE_TIME: Millis = Millis::from_seconds(15 * 60);

/// A job manager task (Azure Batch's `jobManagerTask`). It is rerun without bound after the loss of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerSpec {
    /// What it runs.
    pub task: TaskSpec,
    /// Its end terminates the job, with the reason `JMComplete`.
    #[serde(default = "yes")]
    pub kill_job_on_completion: bool,
    /// No other task on its node.
    #[serde(default = "yes")]
    pub run_exclusive: bool,
}

/// A job preparation task (Azure Batch's `jobPreparationTask`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparationSpec {
    /// What it runs. Its own `max_retries` counts per node.
    pub task: TaskSpec,
    /// The job's tasks on the node wait for it, and stay away from a node where it failed.
    #[serde(default = "yes")]
    pub wait_for_success: bool,
    /// Run again in a new life of the node.
    #[serde(default = "yes")]
    pub rerun_after_reboot: bool,
}

/// The start task of a pool (Azure Batch's `startTask`): run on each node when it joins, and in each new life of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTaskSpec {
    /// What it runs. Its own `max_retries` counts per life of a node.
    pub task: TaskSpec,
    /// Nothing else is started on the node before it has ended well.
    #[serde(default = "yes")]
    pub wait_for_success: bool,
}

const fn yes() -> bool {
    true
}
