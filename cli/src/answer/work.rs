//! What the commands about jobs and tasks return beside single rows.

use proto::ids::{NodeName, TaskId};
use proto::model::job::{JobRow, TaskCounts};
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::model::why::Why;
use proto::units::Timestamp;

use super::Names;
use crate::exit::Exit;

/// One of several things that could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong and what to do.
    pub what: String,
    /// The exit code that tells it.
    pub exit: Exit,
}

/// A part of a list of tasks. A long list is told in several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPage {
    /// In order.
    pub lines: Vec<TaskLine>,
    /// Names of their nodes.
    pub names: Names,
    /// Whether nothing came before it.
    pub first: bool,
    /// Whether nothing comes after it.
    pub last: bool,
}

/// A line of a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskLine {
    /// A task, or a step of a sweep.
    Task(TaskRow),
    /// All steps of a sweep.
    Sweep(SweepLine),
}

impl TaskLine {
    /// The id of the task, or of the sweep.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        match self {
            Self::Task(row) => row.id,
            Self::Sweep(sweep) => sweep.id,
        }
    }
}

/// All steps of a sweep in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepLine {
    /// Of the sweep.
    pub id: TaskId,
    /// What was asked.
    pub spec: TaskSpec,
    /// Its steps by state.
    pub counts: TaskCounts,
    /// The first start of a step.
    pub started_at: Option<Timestamp>,
    /// The last end of a step, when all are over.
    pub ended_at: Option<Timestamp>,
    /// Its first steps that failed, at most [`SweepLine::SHOWN`].
    pub failed: Vec<TaskId>,
}

impl SweepLine {
    /// How many failed steps are named.
    pub const SHOWN: usize = 10;

    /// A sweep of which one step is known.
    #[must_use]
    pub fn of(row: &TaskRow) -> Self {
        let mut line = Self {
            id: TaskId { step: None, ..row.id },
            spec: row.spec.clone(),
            counts: TaskCounts::default(),
            started_at: None,
            ended_at: None,
            failed: Vec::new(),
        };
        line.add(row);
        line
    }

    /// Takes a further step in.
    pub fn add(&mut self, row: &TaskRow) {
        let (started, ended) = span(&row.state);
        self.started_at = match (self.started_at, started) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.ended_at = self.ended_at.max(ended);
        let counts = &mut self.counts;
        match &row.state {
            TaskState::Queued => counts.queued += 1,
            TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => counts.running += 1,
            TaskState::Ended { outcome, .. } => match outcome {
                TaskOutcome::Finished => counts.finished += 1,
                TaskOutcome::Canceled => counts.canceled += 1,
                TaskOutcome::Failed { .. } => {
                    counts.failed += 1;
                    if self.failed.len() < Self::SHOWN {
                        self.failed.push(row.id);
                    }
                }
            },
        }
    }

    /// The word for all of them: what goes on, else the worst end.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match &self.counts {
            counts if counts.running > 0 => "Running",
            counts if counts.queued > 0 => "Queued",
            counts if counts.failed > 0 => "Failed",
            counts if counts.canceled > 0 => "Canceled",
            _ => "Finished",
        }
    }

    /// Whether no step waits or runs.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.counts.queued == 0 && self.counts.running == 0
    }
}

/// From when to when a task ran.
#[must_use]
pub const fn span(state: &TaskState) -> (Option<Timestamp>, Option<Timestamp>) {
    match state {
        TaskState::Queued | TaskState::Granted { .. } => (None, None),
        TaskState::Running { started_at, .. } => (Some(*started_at), None),
        TaskState::Stopping { started_at, .. } => (*started_at, None),
        TaskState::Ended {
            started_at, ended_at, ..
        } => (*started_at, Some(*ended_at)),
    }
}

/// `job submit --dry-run`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The task, for what it asks.
    pub task: TaskSpec,
    /// Whether it would start at once.
    pub starts_now: bool,
    /// On which nodes.
    pub nodes: Vec<NodeName>,
    /// Why it would wait.
    pub why: Option<Box<Why>>,
    /// What is probably meant otherwise.
    pub remarks: Vec<String>,
}

/// A job whose output was shown while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The job.
    pub job: Box<JobRow>,
    /// Its one task.
    pub task: Box<TaskRow>,
    /// Names of its nodes.
    pub names: Names,
}

impl Shown {
    /// The task's own exit code: 0 when it ended well, 128 and the signal when one ended it, and 1 when nothing better is
    /// known.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let TaskState::Ended { outcome, .. } = &self.task.state else {
            return Exit::Failed;
        };
        let code = match outcome {
            TaskOutcome::Finished => return Exit::Ok,
            TaskOutcome::Failed {
                cause: AttemptOutcome::Exited { code },
            } => u8::try_from(*code).ok(),
            TaskOutcome::Failed {
                cause: AttemptOutcome::Signaled { signal },
            } => u8::try_from(signal.saturating_add(128)).ok(),
            TaskOutcome::Failed { .. } | TaskOutcome::Canceled => None,
        };
        code.filter(|code| *code != 0).map_or(Exit::Failed, Exit::Program)
    }
}
