//! Jobs: what a user asks for as a whole, and how far it has come.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, JobId, NodeName, PoolName, TaskNumber};
use crate::model::owner::Owner;
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

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobSpec {
    /// A name for people; may be empty.
    #[serde(default)]
    pub name: String,
    /// Higher goes first.
    #[serde(default)]
    pub priority: Priority,
    /// Only nodes of this pool; none means all pools.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// Only nodes that are in all of these groups (HPC Pack's default, Intersect).
    #[serde(default)]
    pub node_groups: Vec<GroupName>,
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
}

/// ```text
///   Queued --first grant--> Running --last task--> Ended
///     |                       |                      ^
///     '------- cancel --------+--> Canceling --------'   (skipped when nothing runs)
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobState {
    /// Nothing of it was started yet.
    Queued,
    /// A task was started.
    Running {
        /// The first grant.
        started_at: Timestamp,
    },
    /// Its end is decided; nodes still have to confirm that its tasks are gone.
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
            Self::Queued => "Queued",
            Self::Running { .. } => "Running",
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
    /// When the submission was accepted.
    pub submitted_at: Timestamp,
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
