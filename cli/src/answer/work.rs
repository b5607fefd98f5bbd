//! What the commands about jobs and tasks return beside single rows.

use proto::ids::NodeName;
use proto::model::job::{JobRow, TaskCounts};
pub use proto::model::line::{SweepLine, TaskLine, span};
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskRow, TaskState};
use proto::model::why::Why;

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

/// Of a service's counts those that stand for instances that nobody touched: all that wait, or, once it was canceled, what
/// was canceled with it.
pub(crate) fn untouched(counts: &TaskCounts) -> TaskCounts {
    TaskCounts {
        queued: counts.queued,
        canceled: if counts.queued == 0 { counts.canceled } else { 0 },
        ..TaskCounts::default()
    }
}

/// A service's instances that there were.
pub(crate) fn instances(sweep: &SweepLine) -> TaskCounts {
    let rest = untouched(&sweep.counts);
    TaskCounts {
        queued: 0,
        canceled: sweep.counts.canceled - rest.canceled,
        ..sweep.counts
    }
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

/// Which task of a submission starts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The manager.
    Manager,
    /// The first of the others.
    First,
}

/// `job submit --dry-run`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// Whether it is about the manager task, which starts first.
    pub subject: Subject,
    /// What that task asks for at least.
    pub asked: Request,
    /// How many of that it takes at most, where it said so.
    pub most: Option<u32>,
    /// How many tasks it has.
    pub tasks: usize,
    /// Whether it would start at once.
    pub starts_now: bool,
    /// On which nodes.
    pub nodes: Vec<NodeName>,
    /// Why it would wait.
    pub why: Option<Box<Why>>,
    /// Names of the nodes that the reason mentions.
    pub names: Names,
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
