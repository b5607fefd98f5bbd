//! Jobs: what a user asks for as a whole, and how far it has come.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, JobId, NodeId, NodeName, PoolName, ScheduleName, TaskNumber};
use crate::model::exit::Retries;
use crate::model::owner::Owner;
use crate::model::role::{ManagerSpec, PreparationSpec};
use crate::model::task::{ExitCodes, Request, TaskSpec};
use crate::units::{Millis, Timestamp};

/// Environment variables to set; no value takes the variable away (HPC Pack's `/env:a=`).
pub type Env = BTreeMap<String, Option<String>>;

/// Azure Batch's -1000..=1000; HPC Pack's 0..=4000 maps on it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Priority(i16);

/// A number that is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority {given} is out of range: use {least} to {most}")]
pub struct PriorityError {
    given: i32,
    least: i32,
    most: i32,
}

impl Priority {
    /// From Azure Batch's range.
    ///
    /// # Errors
    /// Outside -1000..=1000.
    pub fn new(value: i32) -> Result<Self, PriorityError> {
        let refused = PriorityError {
            given: value,
            least: -1000,
            most: 1000,
        };
        let small = i16::try_from(value).map_err(|_| refused)?;
        if (-1000..=1000).contains(&small) {
            Ok(Self(small))
        } else {
            Err(refused)
        }
    }

    /// From HPC Pack's range: `azure = round((hpc - 2000) / 2)`.
    ///
    /// # Errors
    /// Outside 0..=4000.
    pub fn from_hpc(value: i32) -> Result<Self, PriorityError> {
        if !(0..=4000).contains(&value) {
            return Err(PriorityError {
                given: value,
                least: 0,
                most: 4000,
            });
        }
        Self::new((value - 2000) / 2)
    }

    /// In Azure Batch's range.
    #[must_use]
    pub const fn value(self) -> i16 {
        self.0
    }

    /// In HPC Pack's range.
    #[must_use]
    pub const fn hpc(self) -> i16 {
        2000 + 2 * self.0
    }
}

impl TryFrom<i16> for Priority {
    type Error = PriorityError;
    fn try_from(value: i16) -> Result<Self, PriorityError> {
        Self::new(i32::from(value))
    }
}

impl From<Priority> for i16 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl fmt::Display for Priority {
    /// HPC Pack's name where one fits, else its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hpc() {
            0 => f.pad("Lowest"),
            1000 => f.pad("BelowNormal"),
            2000 => f.pad("Normal"),
            3000 => f.pad("AboveNormal"),
            4000 => f.pad("Highest"),
            other => f.pad(&other.to_string()),
        }
    }
}

/// How several node groups of a job make one set of nodes (HPC Pack's `/nodegroupop`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupOperator {
    /// Nodes that are in all of them.
    #[default]
    Intersect,
    /// Nodes that are in any of them, all of a task's nodes from the same one.
    Uniform,
    /// Nodes that are in any of them.
    Union,
}

/// At least and at most, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span<T> {
    /// At least; none means no bound.
    #[serde(default)]
    pub min: Option<T>,
    /// At most; none means no bound.
    #[serde(default)]
    pub max: Option<T>,
}

/// One key by which nodes are preferred (HPC Pack's `/orderby`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderBy {
    /// What counts.
    pub by: OrderKey,
    /// More first (`cores`), or less first (`-cores`).
    pub more_first: bool,
}

/// What nodes are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKey {
    /// Cores of the node.
    Cores,
    /// Memory of the node.
    Memory,
}

/// What kind of work a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A user's work.
    #[default]
    Batch,
    /// Commands on named nodes beside the queue (`clusrun`; HPC Pack's Admin). Operators and administrators only; its tasks
    /// ask for [`Request::Beside`] and nothing else.
    Admin,
    /// The start task of a pool: one task per node, run again in each life of the node. Made by the head node.
    Start,
}

/// The most jobs that one may wait for ([`JobSpec::parents`]).
pub const MAX_PARENTS: usize = 64;

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobSpec {
    /// A name for people; may be empty.
    #[serde(default)]
    pub name: String,
    /// For people; may be empty (`/projectname`).
    #[serde(default)]
    pub project: String,
    /// What kind of work it is.
    #[serde(default)]
    pub kind: JobKind,
    /// Higher goes first.
    #[serde(default)]
    pub priority: Priority,
    /// Only nodes of this pool; none means all pools.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// Only nodes of these groups; a pool is a group of its nodes too.
    #[serde(default)]
    pub node_groups: Vec<GroupName>,
    /// How the groups are taken together.
    #[serde(default)]
    pub group_operator: GroupOperator,
    /// Only nodes with so many cores.
    #[serde(default)]
    pub cores_per_node: Option<Span<u32>>,
    /// Only nodes with so much memory, in MiB.
    #[serde(default)]
    pub memory_per_node: Option<Span<u64>>,
    /// All of a task on one node.
    #[serde(default)]
    pub single_node: bool,
    /// Which of the fitting nodes are taken first; later keys count among equals.
    #[serde(default)]
    pub order_by: Vec<OrderBy>,
    /// All its tasks together: not started before so much is free (`min`), and never more at a time (`max`).
    #[serde(default)]
    pub units: Option<Units>,
    /// Only these nodes; empty means any.
    #[serde(default)]
    pub requested_nodes: Vec<NodeName>,
    /// No other job on its nodes while it runs there.
    #[serde(default)]
    pub exclusive: bool,
    /// From its first start; what still runs then is stopped and the job has failed.
    #[serde(default)]
    pub runtime_limit: Option<Millis>,
    /// For every task, under the task's own.
    #[serde(default)]
    pub env: Env,
    /// Nothing of it is started before.
    #[serde(default)]
    pub hold_until: Option<Timestamp>,
    /// The first failure of a task ends the job: what runs is stopped, what waits is canceled.
    #[serde(default)]
    pub fail_on_task_failure: bool,
    /// A task whose predecessor failed can never run. It is canceled, unless this says that it runs all the same
    /// (HPC Pack's `/faildependenttasks:false`).
    #[serde(default)]
    pub run_dependents_of_failed: bool,
    /// It goes on without tasks until somebody finishes or cancels it.
    #[serde(default)]
    pub run_until_canceled: bool,
    /// Exit codes that count as success for tasks that say nothing themselves; none means 0 only.
    #[serde(default)]
    pub valid_exit_codes: Option<ExitCodes>,
    /// From its submission, waiting included (Azure Batch's `maxWallClockTime`); then it is terminated.
    #[serde(default)]
    pub max_wall_clock: Option<Millis>,
    /// How often a task that says nothing itself is run again after an exit that is no success
    /// (Azure Batch's `maxTaskRetryCount`); none means never.
    #[serde(default)]
    pub max_retries: Option<Retries>,
    /// Whether the job actions of its tasks' exit conditions are carried out, and any other failure terminates it
    /// (Azure Batch's `onTaskFailure=performexitoptionsjobaction`).
    #[serde(default)]
    pub perform_exit_actions: bool,
    /// So many tasks at a time, at most (Azure Batch's `maxParallelTasks`); at least 1.
    #[serde(default)]
    pub max_parallel_tasks: Option<u32>,
    /// A task that is started first and may add tasks to its job.
    #[serde(default)]
    pub manager: Option<Box<ManagerSpec>>,
    /// Run on each node before the first task of the job there (HPC Pack's NodePrep).
    #[serde(default)]
    pub preparation: Option<Box<PreparationSpec>>,
    /// Run on each node where the job's tasks may have run, when the job comes to its end (HPC Pack's NodeRelease). At most
    /// [`crate::model::role::MAX_RELEASE_TIME`], once, and its failure changes nothing.
    #[serde(default)]
    pub release: Option<Box<TaskSpec>>,
    /// Jobs that have to finish before (HPC Pack's `/parentjobids`). When one ends otherwise, this job fails.
    #[serde(default)]
    pub parents: Vec<JobId>,
}

/// What happens to running tasks of a job that is disabled (Azure Batch's `disableTasks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisableTasks {
    /// They are stopped and wait again.
    Requeue,
    /// They are stopped and canceled.
    Terminate,
    /// They go on to their end.
    Wait,
}

/// Units of a job as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// The least; also says which unit. Never [`Request::Beside`].
    pub min: Request,
    /// The most, in the same unit; none means no bound.
    #[serde(default)]
    pub max: Option<u32>,
}

/// What an optional wish is changed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetTo<T> {
    /// The wish is taken back.
    Nothing,
    /// The wish is this now.
    Value(T),
}

impl<T> SetTo<T> {
    /// As the specification has it.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Nothing => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// What is to be changed of a job that is not over; none leaves a thing as it is.
///
/// What decides where tasks go may be changed while nothing of the job has started; the rest at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobChange {
    /// See [`JobSpec::name`].
    pub name: Option<String>,
    /// See [`JobSpec::project`].
    pub project: Option<String>,
    /// See [`JobSpec::priority`].
    pub priority: Option<Priority>,
    /// See [`JobSpec::pool`].
    pub pool: Option<SetTo<PoolName>>,
    /// See [`JobSpec::node_groups`].
    pub node_groups: Option<Vec<GroupName>>,
    /// See [`JobSpec::group_operator`].
    pub group_operator: Option<GroupOperator>,
    /// See [`JobSpec::requested_nodes`].
    pub requested_nodes: Option<Vec<NodeName>>,
    /// See [`JobSpec::cores_per_node`].
    pub cores_per_node: Option<SetTo<Span<u32>>>,
    /// See [`JobSpec::memory_per_node`].
    pub memory_per_node: Option<SetTo<Span<u64>>>,
    /// See [`JobSpec::single_node`].
    pub single_node: Option<bool>,
    /// See [`JobSpec::order_by`].
    pub order_by: Option<Vec<OrderBy>>,
    /// See [`JobSpec::units`].
    pub units: Option<SetTo<Units>>,
    /// See [`JobSpec::exclusive`].
    pub exclusive: Option<bool>,
    /// See [`JobSpec::runtime_limit`].
    pub runtime_limit: Option<SetTo<Millis>>,
    /// Variables to set or to unset; the others stay.
    pub env: Env,
    /// See [`JobSpec::hold_until`].
    pub hold_until: Option<SetTo<Timestamp>>,
    /// See [`JobSpec::fail_on_task_failure`].
    pub fail_on_task_failure: Option<bool>,
    /// See [`JobSpec::run_dependents_of_failed`].
    pub run_dependents_of_failed: Option<bool>,
    /// See [`JobSpec::run_until_canceled`].
    pub run_until_canceled: Option<bool>,
    /// See [`JobSpec::valid_exit_codes`].
    pub valid_exit_codes: Option<SetTo<ExitCodes>>,
    /// See [`JobRow::progress`].
    pub progress: Option<Progress>,
    /// See [`JobSpec::max_wall_clock`].
    pub max_wall_clock: Option<SetTo<Millis>>,
    /// See [`JobSpec::max_retries`].
    pub max_retries: Option<SetTo<Retries>>,
    /// See [`JobSpec::perform_exit_actions`].
    pub perform_exit_actions: Option<bool>,
    /// See [`JobSpec::max_parallel_tasks`].
    pub max_parallel_tasks: Option<SetTo<u32>>,
    /// See [`JobSpec::preparation`].
    pub preparation: Option<SetTo<Box<PreparationSpec>>>,
    /// See [`JobSpec::release`].
    pub release: Option<SetTo<Box<TaskSpec>>>,
    /// See [`JobSpec::parents`].
    pub parents: Option<Vec<JobId>>,
}

/// How far a job says it is (`job modify /progress /progressmsg`). Shown, never acted on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    #[serde(default)]
    pub percent: Option<u8>,
    /// Up to 80 characters; may be empty.
    #[serde(default)]
    pub message: String,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobOutcome {
    /// Every task ended well.
    Finished,
    /// A task failed, or the run time was over.
    Failed {
        /// For people: which task, or which limit.
        reason: String,
    },
    /// Somebody canceled it.
    Canceled {
        /// Login name of who did.
        by: String,
        /// What they said, may be empty.
        message: String,
    },
    /// Brought to its end: by somebody, by its manager task, by a limit, by an exit condition (Azure Batch's `terminate`).
    Terminated {
        /// Login name of who did; empty when the rules of the job did.
        by: String,
        /// Azure Batch's `terminateReason`: given, or `UserTerminate`, `JMComplete`, `MaxWallClockTimeExpiry`,
        /// `AllTasksComplete`, `TaskFailed`, `TerminateJobSchedule`.
        reason: String,
    },
}

/// ```text
///   Configuring --submit--> Queued --first grant--> Running --last task--> Ended
///        |                    |                       |                      ^
///        '------ cancel ------+------- cancel --------+--> Canceling --------'   (skipped when nothing runs and no
///                             ^ |                     | |                    |    release task is due)
///                  enable ----' '-- disable --> Disabled'                    |
///                             '--- requeue, or a task added or requeued -----'
/// ```
///
/// A job whose tasks are all over, and whose release tasks are not, is Canceling too, with the outcome that it will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobState {
    /// Being put together; nothing of it is started.
    Configuring,
    /// Nothing of it was started yet.
    Queued,
    /// A task was started.
    Running {
        /// The first grant.
        started_at: Timestamp,
    },
    /// Nothing of it is started until somebody enables it; what ran may still be ending.
    Disabled {
        /// The first grant, if there was one.
        started_at: Option<Timestamp>,
    },
    /// Its end is decided; nodes still have to confirm that its tasks are gone, or its release tasks run.
    Canceling {
        /// The first grant, if there was one.
        started_at: Option<Timestamp>,
        /// How it will have ended: canceled, or failed by its run time.
        outcome: JobOutcome,
    },
    /// Nothing of it runs any more, for good.
    Ended {
        /// The first grant, if there was one.
        started_at: Option<Timestamp>,
        /// The last end of a task.
        ended_at: Timestamp,
        /// How.
        outcome: JobOutcome,
    },
}

impl JobState {
    /// HPC Pack's word for the state.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Configuring => "Configuring",
            Self::Queued => "Queued",
            Self::Running { .. } => "Running",
            Self::Disabled { .. } => "Disabled",
            Self::Canceling {
                outcome: JobOutcome::Finished,
                ..
            } => "Finishing",
            Self::Canceling {
                outcome: JobOutcome::Terminated { .. },
                ..
            } => "Terminating",
            Self::Canceling { .. } => "Canceling",
            Self::Ended {
                outcome: JobOutcome::Finished,
                ..
            } => "Finished",
            Self::Ended {
                outcome: JobOutcome::Failed { .. },
                ..
            } => "Failed",
            Self::Ended {
                outcome: JobOutcome::Canceled { .. },
                ..
            } => "Canceled",
            Self::Ended {
                outcome: JobOutcome::Terminated { .. },
                ..
            } => "Terminated",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// How many tasks are in which state; they sum up to all tasks of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Waiting.
    pub queued: u32,
    /// Granted, running or being stopped.
    pub running: u32,
    /// Ended well.
    pub finished: u32,
    /// Ended badly.
    pub failed: u32,
    /// Canceled.
    pub canceled: u32,
}

impl TaskCounts {
    /// All tasks.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.queued + self.running + self.finished + self.failed + self.canceled
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its number.
    pub id: JobId,
    /// Whose it is.
    pub owner: Owner,
    /// What was asked.
    pub spec: JobSpec,
    /// How far it is.
    pub state: JobState,
    /// Its tasks by state.
    pub counts: TaskCounts,
    /// The number the next added task gets.
    pub next_task: TaskNumber,
    /// When the submission was accepted; for a job in configuration, when it was made.
    pub submitted_at: Timestamp,
    /// How far it says it is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// How often somebody put it back into the queue.
    #[serde(default)]
    pub requeues: u32,
    /// The job schedule that made it.
    #[serde(default)]
    pub schedule: Option<ScheduleName>,
    /// Whether it is taken away, with all that is kept of it, as soon as it is over.
    #[serde(default)]
    pub deleting: bool,
    /// Nodes that were given to its tasks and where its release task is still to be made; kept for jobs that have one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub touched_nodes: BTreeSet<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_map_both_ways() {
        for azure in -1000..=1000 {
            let priority = Priority::new(azure).expect("in range");
            assert_eq!(Priority::from_hpc(i32::from(priority.hpc())), Ok(priority));
        }
        assert_eq!(Priority::default().to_string(), "Normal");
        assert_eq!(
            Priority::from_hpc(4001).unwrap_err().to_string(),
            "priority 4001 is out of range: use 0 to 4000"
        );
    }
}
