//! The table of options: one file of rows for each noun.

mod access;
mod cluster;
mod job;
mod node;
mod pool;
mod roles;
mod schedule;
mod task;

use super::Verb;

/// An option that is built, as the code names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table below")]
pub enum Key {
    Scheduler,
    Socket,
    State,
    Output,
    Color,
    NumNodes,
    NumCores,
    NodeGroup,
    RequestedNodes,
    Exclusive,
    Priority,
    RunTime,
    JobName,
    TaskName,
    WorkDir,
    StdOut,
    StdErr,
    Env,
    JobEnv,
    Rerunnable,
    Pool,
    SubmissionId,
    NumSockets,
    GroupOperator,
    MemoryPerNode,
    SingleNode,
    OrderBy,
    HoldUntil,
    FailOnTaskFailure,
    FailDependentTasks,
    RunUntilCanceled,
    ProgressPercent,
    ProgressMessage,
    Project,
    ValidExitCodes,
    RetryLimit,
    Parametric,
    Depend,
    TaskType,
    StdIn,
    JobId,
    Wait,
    Interactive,
    Terminal,
    DryRun,
    Filter,
    Expand,
    Follow,
    Label,
    NoLabel,
    Lines,
    SubmitDate,
    All,
    User,
    JobState,
    Format,
    Force,
    Message,
    Group,
    NodeState,
    Nodes,
    CoresPerNode,
    Port,
    Fresh,
    Purge,
    Groups,
    Uses,
    Lifetime,
    HeadAddress,
    Requeue,
    Role,
    Uid,
    Gid,
    Listen,
    Print,
    Probe,
    ReadyNodes,
    NodeNames,
    Exclude,
    OfJob,
    OfTask,
    Interleaved,
    Sorted,
    OutputDir,
    Input,
    FollowEvents,
    After,
    Dir,
    MaxWallClock,
    MaxTaskRetries,
    PerformExitActions,
    MaxParallelTasks,
    Parents,
    JobFile,
    Manager,
    ManagerKeepJob,
    ManagerShared,
    Prep,
    PrepNoWait,
    PrepOnce,
    Release,
    DisableTasks,
    Reason,
    Memory,
    ProcessMemory,
    Resource,
    Coordination,
    CommonFile,
    AnyDomain,
    Affinity,
    DependIds,
    MaxRetries,
    Retention,
    OnExit,
    Deallocation,
    Every,
    From,
    Until,
    Window,
    Slots,
    Size,
    Fill,
    NoInterNode,
    StartTask,
    StartTaskRetries,
    StartTaskNoWait,
    RunningJobs,
    Cores,
    QueuedTasks,
    Timeout,
    Stop,
}

/// Whether an option does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Built(Key),
    /// HPC Pack documents it; it is refused by name.
    NotYet,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Nothing, or true or false.
    Flag,
    /// A text; the word is for help.
    Text(&'static str),
}

/// An option's row.
#[derive(Debug)]
pub struct OptionSpec {
    /// Whether it is built.
    pub status: Status,
    /// The long name. HPC Pack's is the same without dashes.
    pub name: &'static str,
    /// Older or other names.
    pub also: &'static [&'static str],
    /// One letter after one dash.
    pub short: Option<&'static str>,
    /// What it takes.
    pub value: Value,
    /// Whether it may be given more than once.
    pub repeats: bool,
    /// Of which commands; none for those that every command has.
    pub on: &'static [Verb],
    /// One line.
    pub help: &'static str,
    /// What to do in place of an option that is not built; may be empty.
    pub instead: &'static str,
}

impl OptionSpec {
    /// As it is written: `--num-nodes` or `/numnodes`.
    #[must_use]
    pub fn spelling(&self, slash: bool) -> String {
        if slash {
            format!("/{}", plain(self.name))
        } else {
            format!("--{}", self.name)
        }
    }

    /// With a value.
    #[must_use]
    pub fn example(&self, slash: bool, what: &str) -> String {
        format!("{}{}{what}", self.spelling(slash), if slash { ":" } else { "=" })
    }

    pub(in crate::args) fn answers_to(&self, name: &str) -> bool {
        let name = plain(name);
        self.plain_names().any(|own| own == name)
    }

    pub(in crate::args) fn plain_names(&self) -> impl Iterator<Item = String> + use<> {
        std::iter::once(self.name).chain(self.also.iter().copied()).map(plain)
    }
}

/// A name as it is compared: without dashes and regard to case.
pub(in crate::args) fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

const fn built(key: Key, name: &'static str, value: Value, on: &'static [Verb], help: &'static str) -> OptionSpec {
    OptionSpec {
        status: Status::Built(key),
        name,
        also: &[],
        short: None,
        value,
        repeats: false,
        on,
        help,
        instead: "",
    }
}

const fn not_yet(name: &'static str, on: &'static [Verb]) -> OptionSpec {
    OptionSpec {
        status: Status::NotYet,
        name,
        also: &[],
        short: None,
        value: Value::Flag,
        repeats: false,
        on,
        help: "",
        instead: "",
    }
}

impl OptionSpec {
    const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    const fn short(mut self, letter: &'static str) -> Self {
        self.short = Some(letter);
        self
    }

    /// What refusing an option that is not built advises.
    const fn instead(mut self, advice: &'static str) -> Self {
        self.instead = advice;
        self
    }

    const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }
}

/// The options of every command.
pub const GLOBAL: &[OptionSpec] = &[
    built(
        Key::Output,
        "output",
        Value::Text("FORM"),
        &[],
        "table, wide, list, json, quiet (ids only), or fields: '{id} {status}'",
    )
    .short("o"),
    built(
        Key::Color,
        "color",
        Value::Text("auto|always|never"),
        &[],
        "auto: on a terminal, unless NO_COLOR is set",
    ),
    built(
        Key::Scheduler,
        "scheduler",
        Value::Text("HOST"),
        &[],
        "the head node; else CCP_SCHEDULER, else this machine",
    ),
    built(
        Key::Socket,
        "socket",
        Value::Text("PATH"),
        &[],
        "the head node's socket; else MUSTER_SOCKET",
    ),
];

/// The options of single commands, in the order of help. `--state` is a folder where the cluster is meant, and HPC Pack's
/// filter in lists; no command has both.
pub fn options() -> impl Iterator<Item = &'static OptionSpec> {
    [
        job::OPTIONS,
        roles::OPTIONS,
        schedule::OPTIONS,
        task::OPTIONS,
        node::OPTIONS,
        pool::OPTIONS,
        access::OPTIONS,
        cluster::OPTIONS,
    ]
    .into_iter()
    .flatten()
}
