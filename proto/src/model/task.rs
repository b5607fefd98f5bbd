//! Tasks: one command and the nodes it needs, and how far it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, NodeId, NodeName, ResourceName, TaskId, TaskNumber};
use crate::model::array::ArrayState;
use crate::model::exit::{ExitConditions, Retries};
use crate::model::job::Env;
use crate::model::sweep::Sweep;
use crate::units::{Millis, Timestamp};

/// The most bytes of a command line, all words together, and likewise of a job's or task's variables. A stored row stays
/// well below 128 KiB, above which the store would keep it in a file of its own.
pub const MAX_COMMAND_BYTES: usize = 32 * 1024;

/// How much a task needs. One unit each for HPC Pack's cores and nodes and Azure Batch's slots and instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "unit")]
pub enum Request {
    /// So many slots: on one node where one is large enough, else spread over several.
    Cores {
        /// At least 1.
        count: u32,
    },
    /// So many whole sockets: on a node with `s` sockets each is `slots / s` slots, at least one. On one node where one is
    /// large enough, else spread over several.
    Sockets {
        /// At least 1.
        count: u32,
    },
    /// So many whole nodes, all of them at once (a multi-instance task when more than one).
    Nodes {
        /// At least 1.
        count: u32,
    },
    /// No slots, on this very node, beside whatever runs there: for [`super::job::JobKind::Admin`] only. Waits for the node
    /// to answer, and for nothing else.
    Beside {
        /// Which.
        node: NodeId,
    },
}

impl Default for Request {
    fn default() -> Self {
        Self::Cores { count: 1 }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self {
            Self::Cores { count } => (count, "core"),
            Self::Sockets { count } => (count, "socket"),
            Self::Nodes { count } => (count, "node"),
            Self::Beside { node } => return f.pad(&format!("a place on node {node}")),
        };
        f.pad(&format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
    }
}

/// The most bytes of a script that is carried with a task.
pub const MAX_SCRIPT_BYTES: usize = 64 * 1024;

/// Exit codes that count as success, as ranges with both ends; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i32, i32)>", into = "Vec<(i32, i32)>")]
pub struct ExitCodes(Vec<(i32, i32)>);

/// Ranges that are no exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExitCodesError {
    /// None at all.
    #[error("no exit code is given")]
    Empty,
    /// More than anybody means.
    #[error("{given} ranges of exit codes are too many: 64 are the most")]
    TooMany {
        /// How many.
        given: usize,
    },
    /// The end is before the start.
    #[error("the exit codes {first}..{last} are none")]
    Backwards {
        /// Start.
        first: i32,
        /// End.
        last: i32,
    },
}

impl ExitCodes {
    /// Checks and takes ranges.
    ///
    /// # Errors
    /// When there is none, one is backwards, or they are more than 64.
    pub fn new(ranges: Vec<(i32, i32)>) -> Result<Self, ExitCodesError> {
        if ranges.is_empty() {
            return Err(ExitCodesError::Empty);
        }
        if ranges.len() > 64 {
            return Err(ExitCodesError::TooMany { given: ranges.len() });
        }
        match ranges.iter().find(|(first, last)| last < first) {
            Some((first, last)) => Err(ExitCodesError::Backwards {
                first: *first,
                last: *last,
            }),
            None => Ok(Self(ranges)),
        }
    }

    /// Whether a code counts as success.
    #[must_use]
    pub fn contains(&self, code: i32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[(i32, i32)] {
        &self.0
    }
}

impl TryFrom<Vec<(i32, i32)>> for ExitCodes {
    type Error = ExitCodesError;
    fn try_from(ranges: Vec<(i32, i32)>) -> Result<Self, ExitCodesError> {
        Self::new(ranges)
    }
}

impl From<ExitCodes> for Vec<(i32, i32)> {
    fn from(codes: ExitCodes) -> Self {
        codes.0
    }
}

impl fmt::Display for ExitCodes {
    /// As the option is written: `0,5..9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(i32, i32)| match first == last {
            true => first.to_string(),
            false => format!("{first}..{last}"),
        };
        f.pad(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

/// What a task of HPC Pack's `/type:` is. The types NodePrep and NodeRelease are wishes of the job
/// ([`super::job::JobSpec::preparation`], [`super::job::JobSpec::release`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Runs to its end once, or once per step of its sweep.
    #[default]
    Basic,
    /// An instance on whatever its job may hold, new ones as there is room, until the job is canceled or finished. Its
    /// instances are the steps of an array without an end; its job bounds itself ([`super::job::JobSpec::units`] with a
    /// maximum, or [`super::job::JobSpec::max_parallel_tasks`]).
    Service,
}

/// Tasks of the same job by their numbers, both ends included (Azure Batch's `taskIdRanges`). A number that no task has yet
/// keeps the task waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRange {
    /// The first.
    pub first: TaskNumber,
    /// The last, not before the first.
    pub last: TaskNumber,
}

/// A file that every node of a task gets before anything of it runs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonFile {
    /// Relative to the task's directory (`AZ_BATCH_TASK_SHARED_DIR`), without `..`.
    pub path: String,
    /// Its text. All of a task's files together at most [`MAX_SCRIPT_BYTES`].
    pub text: String,
    /// Permission bits, for example 0o644; owned by the task's user.
    pub mode: u32,
}

/// A task that takes input from whoever attached to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interactive {
    /// On a terminal of its own: standard error goes to standard output, and `^C` ends the program in front.
    pub terminal: bool,
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// A name for people; may be empty.
    #[serde(default)]
    pub name: String,
    /// The program and its arguments, at least one word, started without a shell.
    pub command: Vec<String>,
    /// What it needs.
    #[serde(default)]
    pub request: Request,
    /// No other task on its nodes, not even of the same job.
    #[serde(default)]
    pub exclusive: bool,
    /// Whether it may be started again after its node was lost.
    #[serde(default = "yes")]
    pub rerunnable: bool,
    /// From its start; then it is stopped and has failed.
    #[serde(default)]
    pub runtime_limit: Option<Millis>,
    /// Where it starts; none means its own directory `wd`.
    #[serde(default)]
    pub workdir: Option<String>,
    /// Where standard output goes; none means `stdout.txt` in its directory. Relative paths start at the workdir.
    #[serde(default)]
    pub stdout: Option<String>,
    /// The same for standard error and `stderr.txt`; the same path as stdout merges both.
    #[serde(default)]
    pub stderr: Option<String>,
    /// Where standard input comes from, read as its owner; none means nothing. Relative paths start at the workdir.
    #[serde(default)]
    pub stdin: Option<String>,
    /// The text of a script, at most [`MAX_SCRIPT_BYTES`]: it is put into the task's directory and started in place of the
    /// command's first word, which is its name; the other words are its arguments.
    #[serde(default)]
    pub script: Option<String>,
    /// Takes input from whoever attaches; then `stdin` is none.
    #[serde(default)]
    pub interactive: Option<Interactive>,
    /// Run once per step; `*` in command, workdir and the three paths becomes the step ([`super::sweep::fill_in`]).
    #[serde(default)]
    pub sweep: Option<Sweep>,
    /// Up to so many units where they are free when it starts; none means as many as `request` says, and no more.
    #[serde(default)]
    pub request_max: Option<u32>,
    /// Names of tasks of the same job that have to end well before: all tasks of each name.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Exit codes that count as success; none means what the job says.
    #[serde(default)]
    pub valid_exit_codes: Option<ExitCodes>,
    /// Its own variables, over the job's.
    #[serde(default)]
    pub env: Env,
    /// How often it may be started again after failures that are not its own (a lost node, a refused start); none means
    /// what the cluster says ([`crate::stored::Parameters::task_retry_count`]).
    #[serde(default)]
    pub max_requeues: Option<u32>,
    /// HPC Pack's type.
    #[serde(default)]
    pub kind: TaskKind,
    /// Memory that it needs on each of its nodes, in MiB; taken off what others may have there.
    #[serde(default)]
    pub memory_mib: Option<u64>,
    /// Countable resources that it needs on each of its nodes, each at least 1.
    #[serde(default)]
    pub resources: BTreeMap<ResourceName, u32>,
    /// Run on every node of the task before its command starts on the first; none means nothing
    /// (Azure Batch's `coordinationCommandLine`). What it leaves running ends with the task.
    #[serde(default)]
    pub coordination: Option<Vec<String>>,
    /// Put into the task's directory on every node, first of all.
    #[serde(default)]
    pub common_files: Vec<CommonFile>,
    /// Its nodes may be of several placement domains, even if one alone would hold it.
    #[serde(default)]
    pub any_domain: bool,
    /// The node that it likes best; another will do (Azure Batch's `affinityInfo`).
    #[serde(default)]
    pub affinity: Option<NodeName>,
    /// Tasks of the same job, by number, that have to end well before.
    #[serde(default)]
    pub depends_on_ranges: Vec<TaskRange>,
    /// What follows from its ends, for tasks that depend on it and for its job.
    #[serde(default)]
    pub exit_conditions: Option<Box<ExitConditions>>,
    /// How often it is run again after an exit that is no success; none means what the job says. A failed start is not
    /// retried so, a lost node is counted by itself ([`Self::max_requeues`]).
    #[serde(default)]
    pub max_retries: Option<Retries>,
    /// How long its directory is kept after its end; none means [`DEFAULT_RETENTION`].
    #[serde(default)]
    pub retention: Option<Millis>,
}

/// How long the files of a task are kept where nobody says: Azure Batch's seven days.
pub const DEFAULT_RETENTION: Millis = Millis::from_seconds(7 * 24 * 3600);

const fn yes() -> bool {
    true
}

/// How often a task is started again where nobody has said anything: HPC Pack's TaskRetryCount.
pub const DEFAULT_REQUEUES: u32 = 3;

impl TaskSpec {
    /// A task of one core with every choice left at its default.
    #[must_use]
    pub const fn of_command(command: Vec<String>) -> Self {
        Self {
            name: String::new(),
            command,
            request: Request::Cores { count: 1 },
            exclusive: false,
            rerunnable: yes(),
            runtime_limit: None,
            workdir: None,
            stdout: None,
            stderr: None,
            stdin: None,
            script: None,
            interactive: None,
            sweep: None,
            request_max: None,
            depends_on: Vec::new(),
            valid_exit_codes: None,
            env: Env::new(),
            max_requeues: None,
            kind: TaskKind::Basic,
            memory_mib: None,
            resources: BTreeMap::new(),
            coordination: None,
            common_files: Vec::new(),
            any_domain: false,
            affinity: None,
            depends_on_ranges: Vec::new(),
            exit_conditions: None,
            max_retries: None,
            retention: None,
        }
    }
}

/// How one attempt ended, as its primary node tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum AttemptOutcome {
    /// The program ended by itself.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal that nobody here sent ended it.
    Signaled {
        /// As `kill -l` counts.
        signal: i32,
    },
    /// It could not be started: no such program, no such directory, no such user.
    NotStarted {
        /// For people, naming the node and the thing.
        reason: String,
    },
    /// Stopped because its run time was over.
    TimedOut {
        /// The limit.
        limit: Millis,
    },
    /// Stopped because the head node said so.
    Stopped,
    /// Stopped by the node itself when its fencing lease ran out.
    Fenced,
    /// The node was lost, was restarted, or lost its task keeper.
    NodeLost {
        /// Which.
        node: NodeId,
        /// For people.
        reason: String,
    },
    /// A newer node said something this build does not know.
    #[serde(other)]
    Unknown,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TaskOutcome {
    /// An exit code that counts as success, or somebody finished it.
    Finished,
    /// Anything else of its own or, after all retries, of its nodes.
    Failed {
        /// What the last attempt said.
        cause: AttemptOutcome,
    },
    /// Canceled, with its job or alone, before or while it ran; or a task that it depends on failed.
    Canceled,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(is: &bool) -> bool {
    !*is
}

/// ```text
///   Queued --grant--> Granted --started--> Running --ended--> Ended
///     ^                  |                    |                 ^
///     |                  +---- cancel, limit -+--> Stopping ----'
///     '--- node lost, start refused: while retries remain ----'
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TaskState {
    /// Waiting.
    Queued,
    /// Nodes are taken; the start is on its way (HPC Pack's Dispatching).
    Granted {
        /// The try.
        attempt: AttemptId,
        /// Whether it waits on its node for a slot there: for people it is queued.
        #[serde(default, skip_serializing_if = "is_false")]
        ahead: bool,
    },
    /// The primary node started it.
    Running {
        /// The try.
        attempt: AttemptId,
        /// When.
        started_at: Timestamp,
    },
    /// A stop is on its way to its nodes (HPC Pack's Canceling).
    Stopping {
        /// The try.
        attempt: AttemptId,
        /// When it was started, if it was.
        started_at: Option<Timestamp>,
        /// How it will have ended, unless it waits again.
        outcome: TaskOutcome,
        /// Whether it goes back into the queue after that (`task requeue`, a drain with requeue).
        #[serde(default)]
        again: bool,
    },
    /// Over for good.
    Ended {
        /// When the last try was started, if one was.
        started_at: Option<Timestamp>,
        /// When.
        ended_at: Timestamp,
        /// How.
        outcome: TaskOutcome,
    },
}

impl TaskState {
    /// HPC Pack's word for the state.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Queued | Self::Granted { ahead: true, .. } => "Queued",
            Self::Granted { .. } => "Dispatching",
            Self::Running { .. } => "Running",
            Self::Stopping { .. } => "Canceling",
            Self::Ended {
                outcome: TaskOutcome::Finished,
                ..
            } => "Finished",
            Self::Ended {
                outcome: TaskOutcome::Failed { .. },
                ..
            } => "Failed",
            Self::Ended {
                outcome: TaskOutcome::Canceled,
                ..
            } => "Canceled",
        }
    }

    /// The try that holds nodes for it now.
    #[must_use]
    pub const fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Granted { attempt, .. } | Self::Running { attempt, .. } | Self::Stopping { attempt, .. } => {
                Some(*attempt)
            }
            Self::Queued | Self::Ended { .. } => None,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// A task; or an array of tasks, which is one row, and those of its elements that somebody touched.
///
/// The row of an array has [`Self::array`] and no step. Its state is Queued while an element of it is not over, and then
/// Ended; which elements are where is told by the array's state and by their own rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Job and number.
    pub id: TaskId,
    /// What was asked; shared by all elements of an array.
    pub spec: Arc<TaskSpec>,
    /// How far it is.
    pub state: TaskState,
    /// How often it was put back into the queue.
    #[serde(default)]
    pub requeues: u32,
    /// How often it was run again after an exit that was no success.
    #[serde(default)]
    pub retries: u32,
    /// For an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<Box<ArrayState>>,
    /// The newest try, also after its end; its files lie under this number.
    #[serde(default)]
    pub last_attempt: Option<AttemptId>,
    /// The nodes of the newest try, primary first.
    #[serde(default)]
    pub last_nodes: Vec<NodeId>,
    /// Exit code of the newest try, once there is one.
    #[serde(default)]
    pub exit_code: Option<i32>,
}
