//! Job schedules: a job that is made again and again (Azure Batch's job schedule).
//!
//! ```text
//!   Active <--enable, disable--> Disabled
//!     |                             |
//!     '--- terminate, no more runs -+--> Terminating --its job is over--> Completed
//! ```
//!
//! At most one job of a schedule is alive. A run that is due meanwhile waits for the end of that job and is lost after the
//! start window. Without a recurrence it makes one job and is over with it.

use serde::{Deserialize, Serialize};

use super::job::JobSpec;
use super::owner::Owner;
use super::task::TaskSpec;
use crate::ids::{JobId, ScheduleName};
use crate::units::{Millis, Timestamp};

/// The least recurrence and the least start window: Azure Batch's one minute.
pub const MIN_RECURRENCE: Millis = Millis::from_seconds(60);

/// When jobs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recurrence {
    /// No job before; none means from now on.
    pub do_not_run_until: Option<Timestamp>,
    /// No job after, and the schedule is over then.
    pub do_not_run_after: Option<Timestamp>,
    /// A run that could not be made for so long after its time is lost; none means that it waits until the next is due. At
    /// least [`MIN_RECURRENCE`].
    pub start_window: Option<Millis>,
    /// Between the times of two runs; none means one run. At least [`MIN_RECURRENCE`].
    pub interval: Option<Millis>,
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// When.
    #[serde(default)]
    pub recurrence: Recurrence,
    /// The jobs that it makes.
    pub job: JobSpec,
    /// Their tasks; none only with a job manager task.
    #[serde(default)]
    pub tasks: Vec<TaskSpec>,
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ScheduleState {
    /// Makes jobs.
    Active,
    /// Makes none until it is enabled.
    Disabled,
    /// Makes none any more; its last job is ending.
    Terminating,
    /// Over.
    Completed {
        /// When.
        ended_at: Timestamp,
    },
}

impl ScheduleState {
    /// For people.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Disabled => "Disabled",
            Self::Terminating => "Terminating",
            Self::Completed { .. } => "Completed",
        }
    }
}

/// A job schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// Its name.
    pub name: ScheduleName,
    /// Whose it is, and whose its jobs are.
    pub owner: Owner,
    /// What was asked.
    pub spec: ScheduleSpec,
    /// How far it is.
    pub state: ScheduleState,
    /// When it was made.
    pub created_at: Timestamp,
    /// The time of the next run; none when there is none, or while it is disabled.
    #[serde(default)]
    pub next_run: Option<Timestamp>,
    /// The job that it made last.
    #[serde(default)]
    pub recent_job: Option<JobId>,
    /// Jobs that it made.
    #[serde(default)]
    pub runs: u32,
    /// Runs that were lost, because the job before was not over in time or the head node was not there.
    #[serde(default)]
    pub missed: u32,
    /// Whether it is taken away as soon as its last job is.
    #[serde(default)]
    pub deleting: bool,
}

/// What may be done to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleAction {
    /// Makes no jobs until it is enabled; a live job goes on.
    Disable,
    /// Makes jobs again.
    Enable,
    /// Ends it and its live job (`TerminateJobSchedule`).
    Terminate,
    /// Ends it, and takes it and all its jobs away.
    Delete,
}
