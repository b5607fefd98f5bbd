//! What is written down while a cluster is tortured: the log of a client, and the trace of a task. One JSON object a line,
//! appended by one `write`, so that lines of several processes never mix and a kill -9 leaves whole lines.
//!
//! All times are milliseconds of the boot clock, which every process on this machine reads alike, also in namespaces.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use proto::ids::{AttemptId, JobId, TaskId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One line of a client's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(super) enum Line {
    /// Written before it is asked, so that a client that was killed asks the same again.
    Ask { number: u64, at_ms: u64, wish: Wish },
    /// Written when the answer is there. The same number may have been asked more than once.
    Answered { number: u64, at_ms: u64, answer: Answer },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub(super) enum Wish {
    /// The key is the submission id and the name of the traces.
    Submit {
        key: String,
        shape: Shape,
    },
    CancelJob {
        job: JobId,
        force: bool,
    },
    CancelTask {
        task: TaskId,
    },
    RequeueTask {
        task: TaskId,
    },
    /// How far its tasks are.
    Look {
        job: JobId,
    },
}

/// A job, in as few words as its exact repetition needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// Also how it is told to the head node: one that is not has no retries.
    pub(super) rerunnable: bool,
    /// What each task ends with.
    pub(super) code: u8,
    /// How long each task takes.
    pub(super) millis: u64,
    /// Whether each task leaves a process in a session of its own behind.
    pub(super) litters: bool,
}

/// Which tasks a job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Kind {
    Single { tasks: u32 },
    Sweep { steps: u32 },
    Gang { nodes: u32 },
}

impl Shape {
    /// How many tasks the head node has to tell of, steps of a sweep counted.
    pub(super) const fn tasks(&self) -> u32 {
        match self.kind {
            Kind::Single { tasks } => tasks,
            Kind::Sweep { steps } => steps,
            Kind::Gang { .. } => 1,
        }
    }
}

/// What the head node said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Answer {
    Submitted { job: JobId },
    Done,
    Told { tasks: Vec<(TaskId, Told)> },
    Refused { code: String, what: String },
}

/// How far a task is, as the head node told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) state: State,
    /// The newest attempt, if there was one.
    pub(super) attempt: Option<AttemptId>,
}

/// The state of a task, as far as promises are about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum State {
    /// Not over; the head node's word for it.
    Live {
        word: String,
    },
    Finished,
    /// Failed by its own exit code.
    Exited {
        code: i32,
    },
    /// Failed by something else: a lost node, a folder that could not be made.
    Failed {
        cause: String,
    },
    Canceled,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(super) enum Mark {
    Start {
        attempt: AttemptId,
        task: TaskId,
        at_ms: u64,
        host: String,
        pid: u32,
    },
    /// Its start found the trace locked: some process of an earlier attempt still runs.
    Twice {
        attempt: AttemptId,
        at_ms: u64,
        host: String,
    },
    End {
        attempt: AttemptId,
        at_ms: u64,
        code: i32,
    },
}

impl Mark {
    pub(super) const fn attempt(&self) -> AttemptId {
        match self {
            Self::Start { attempt, .. } | Self::Twice { attempt, .. } | Self::End { attempt, .. } => *attempt,
        }
    }
}

/// The boot clock.
pub(super) fn boot_ms() -> anyhow::Result<u64> {
    let span = std::time::Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
    Ok(u64::try_from(span.as_millis())?)
}

/// Opens a file to be appended to.
pub(super) fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Appends one line by one write.
pub(super) fn write_line<T: Serialize>(mut file: &File, line: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    Ok(file.write_all(text.as_bytes())?)
}

/// All whole lines of a file; none when it is not there.
///
/// # Errors
/// When a line is not what it should be: that is a fault of ours.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
