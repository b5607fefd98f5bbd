//! A list of tasks as people read it: the steps of a sweep are one line with counts.
//!
//! The head node counts, because a sweep has up to 100,000 rows of which nobody who asks for its line wants to have one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::TaskCounts;
use super::task::{TaskOutcome, TaskRow, TaskSpec, TaskState};
use crate::ids::TaskId;
use crate::units::Timestamp;

/// A line of a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum TaskLine {
    /// A task, or a step of a sweep.
    Task(Box<TaskRow>),
    /// All steps of a sweep, or those of them that one answer has counted.
    Sweep(Box<SweepLine>),
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

    /// The last task that it tells of.
    #[must_use]
    pub const fn last(&self) -> TaskId {
        match self {
            Self::Task(row) => row.id,
            Self::Sweep(sweep) => sweep.last,
        }
    }
}

/// Steps of a sweep in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepLine {
    /// Of the sweep.
    pub id: TaskId,
    /// The last step that is counted.
    pub last: TaskId,
    /// What was asked.
    pub spec: Arc<TaskSpec>,
    /// Its steps by state.
    pub counts: TaskCounts,
    /// The first start of a step.
    pub started_at: Option<Timestamp>,
    /// The last end of a step.
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
            last: row.id,
            spec: Arc::clone(&row.spec),
            counts: TaskCounts::default(),
            started_at: None,
            ended_at: None,
            failed: Vec::new(),
        };
        line.add(row);
        line
    }

    /// An array, by its row, with its first elements that failed. None for a task that is none.
    #[must_use]
    pub fn of_array(row: &TaskRow, failed: Vec<TaskId>) -> Option<Self> {
        let (state, sweep) = (row.array.as_ref()?, row.spec.sweep?);
        Some(Self {
            id: row.id,
            last: TaskId {
                step: sweep.step(sweep.count() - 1),
                ..row.id
            },
            spec: Arc::clone(&row.spec),
            counts: state.counts,
            started_at: state.started_at,
            ended_at: state.ended_at,
            failed,
        })
    }

    /// Takes a further step in.
    pub fn add(&mut self, row: &TaskRow) {
        let (started, ended) = span(&row.state);
        self.reach(started, ended);
        self.last = self.last.max(row.id);
        let counts = &mut self.counts;
        match &row.state {
            TaskState::Queued | TaskState::Granted { ahead: true, .. } => counts.queued += 1,
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

    /// Takes in what the next answer has counted of the same sweep.
    pub fn merge(&mut self, next: &Self) {
        self.reach(next.started_at, next.ended_at);
        self.last = self.last.max(next.last);
        let (counts, more) = (&mut self.counts, &next.counts);
        for (count, more) in [
            (&mut counts.queued, more.queued),
            (&mut counts.running, more.running),
            (&mut counts.finished, more.finished),
            (&mut counts.failed, more.failed),
            (&mut counts.canceled, more.canceled),
        ] {
            *count = count.saturating_add(more);
        }
        self.failed.extend(&next.failed);
        self.failed.truncate(Self::SHOWN);
    }

    fn reach(&mut self, started: Option<Timestamp>, ended: Option<Timestamp>) {
        self.started_at = match (self.started_at, started) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.ended_at = self.ended_at.max(ended);
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
