//! The table of options.

use super::Verb;

/// An option that is built, as the code names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table below")]
pub enum Key {
    Scheduler,
    Socket,
    State,
    Output,
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
        "table, json or quiet (ids only)",
    )
    .short("o"),
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

const SUBMIT: &[Verb] = &[Verb::JobSubmit];
const JOBS: &[Verb] = &[Verb::JobList];
const NODES: &[Verb] = &[Verb::NodeList];
const UP: &[Verb] = &[Verb::Up];
const TOKEN: &[Verb] = &[Verb::Token];
const HERE: &[Verb] = &[Verb::Up, Verb::Down, Verb::Env, Verb::Status, Verb::Token];

/// The options of single commands. `--state` is a folder where the cluster is meant, and HPC Pack's filter in lists;
/// no command has both.
pub const OPTIONS: &[OptionSpec] = &[
    built(
        Key::NumNodes,
        "num-nodes",
        Value::Text("N"),
        SUBMIT,
        "so many whole nodes, all at once",
    ),
    built(
        Key::NumCores,
        "num-cores",
        Value::Text("N"),
        SUBMIT,
        "so many cores; 1 when nothing is said",
    )
    .also(&["num-processors"]),
    built(
        Key::NodeGroup,
        "node-group",
        Value::Text("G1,G2"),
        SUBMIT,
        "only nodes that are in all of these groups",
    ),
    built(
        Key::Pool,
        "pool",
        Value::Text("POOL"),
        SUBMIT,
        "only nodes of this pool",
    ),
    built(
        Key::Pool,
        "pool",
        Value::Text("POOL"),
        TOKEN,
        "the pool that its nodes join; made if it is new",
    ),
    built(
        Key::RequestedNodes,
        "requested-nodes",
        Value::Text("N1,N2"),
        SUBMIT,
        "only these nodes; n[1-4] names four",
    )
    .also(&["asked-nodes"]),
    built(
        Key::Exclusive,
        "exclusive",
        Value::Flag,
        SUBMIT,
        "no other job on its nodes",
    ),
    built(
        Key::Priority,
        "priority",
        Value::Text("P"),
        SUBMIT,
        "0 to 4000, or Lowest, BelowNormal, Normal, AboveNormal, Highest, or Normal+50",
    ),
    built(
        Key::RunTime,
        "runtime",
        Value::Text("TIME"),
        SUBMIT,
        "stop it after [[days:]hours:]minutes, or 90s; Infinite",
    ),
    built(Key::JobName, "job-name", Value::Text("NAME"), SUBMIT, "the job's name"),
    built(
        Key::JobName,
        "job-name",
        Value::Text("NAME"),
        JOBS,
        "only jobs of this name",
    ),
    built(Key::TaskName, "name", Value::Text("NAME"), SUBMIT, "the task's name"),
    built(
        Key::WorkDir,
        "workdir",
        Value::Text("DIR"),
        SUBMIT,
        "where the program starts, for example $PWD; absolute, and there on the nodes; else a new folder of the task's own",
    ),
    built(
        Key::StdOut,
        "stdout",
        Value::Text("FILE"),
        SUBMIT,
        "file for standard output; else kept with the task",
    ),
    built(
        Key::StdErr,
        "stderr",
        Value::Text("FILE"),
        SUBMIT,
        "file for standard error; the same as stdout merges both",
    ),
    built(
        Key::Env,
        "env",
        Value::Text("A=B;C=D"),
        SUBMIT,
        "variables of the task; A= takes one away, \\; is a semicolon",
    )
    .repeats(),
    built(
        Key::JobEnv,
        "job-env",
        Value::Text("A=B;C=D"),
        SUBMIT,
        "variables of all tasks of the job",
    )
    .repeats(),
    built(
        Key::Rerunnable,
        "rerunnable",
        Value::Flag,
        SUBMIT,
        "start it again after a node was lost; true when nothing is said",
    ),
    built(
        Key::SubmissionId,
        "submission-id",
        Value::Text("HEX"),
        SUBMIT,
        "repeating a submission with the same id gives the first job",
    ),
    built(
        Key::All,
        "all",
        Value::Flag,
        JOBS,
        "jobs of everyone that you may see, also those that are over",
    ),
    built(
        Key::All,
        "all",
        Value::Flag,
        &[Verb::TaskView],
        "as much of the output as the node hands over, 256 KiB per file",
    ),
    built(
        Key::All,
        "all",
        Value::Flag,
        &[Verb::NodeOnline, Verb::NodeOffline],
        "all nodes",
    ),
    built(Key::User, "user", Value::Text("NAME"), JOBS, "only jobs of this user"),
    built(
        Key::JobState,
        "state",
        Value::Text("S1,S2"),
        JOBS,
        "only jobs in these states: Queued, Running, Canceling, Finished, Failed, Canceled, All",
    )
    .also(&["status"]),
    built(
        Key::Format,
        "format",
        Value::Text("list|table"),
        &[Verb::JobList, Verb::TaskList, Verb::NodeList],
        "a table, or a block per row",
    ),
    built(
        Key::Force,
        "force",
        Value::Flag,
        &[Verb::JobCancel],
        "kill at once; else programs are asked to end and have 15 s",
    ),
    built(
        Key::Message,
        "message",
        Value::Text("TEXT"),
        &[Verb::JobCancel],
        "up to 128 characters, kept with the job",
    ),
    built(
        Key::Group,
        "group",
        Value::Text("GROUP"),
        NODES,
        "only nodes of this group",
    ),
    built(
        Key::NodeState,
        "state",
        Value::Text("S1,S2"),
        NODES,
        "only nodes in these states: Online, Draining, Offline",
    ),
    built(
        Key::State,
        "state",
        Value::Text("DIR"),
        HERE,
        "the cluster's folder; else MUSTER_STATE, else the usual place",
    ),
    built(
        Key::Nodes,
        "nodes",
        Value::Text("N"),
        UP,
        "so many compute nodes; 4 when nothing is said",
    ),
    built(
        Key::CoresPerNode,
        "cores-per-node",
        Value::Text("N"),
        UP,
        "cores that each node offers; else what the machine has",
    ),
    built(
        Key::Port,
        "port",
        Value::Text("N"),
        UP,
        "UDP port of the head node; else any free one",
    ),
    built(
        Key::Fresh,
        "fresh",
        Value::Flag,
        UP,
        "throw away an earlier cluster in the folder",
    ),
    built(
        Key::Purge,
        "purge",
        Value::Flag,
        &[Verb::Down],
        "throw away jobs, results and settings too",
    ),
    built(
        Key::Groups,
        "groups",
        Value::Text("G1,G2"),
        TOKEN,
        "the groups that its nodes are in",
    ),
    built(
        Key::Uses,
        "uses",
        Value::Text("N"),
        TOKEN,
        "how many nodes may join with it; 1 when nothing is said",
    ),
    built(
        Key::Lifetime,
        "lifetime",
        Value::Text("TIME"),
        TOKEN,
        "how long it is good for: 90s, 30m, 1h, 2d; 1h when nothing is said",
    ),
    not_yet("parametric", SUBMIT),
    not_yet("type", SUBMIT),
    not_yet("depend", SUBMIT),
    not_yet("required-nodes", SUBMIT),
    not_yet("stdin", SUBMIT),
    not_yet("valid-exit-codes", SUBMIT),
    not_yet("taskfile", SUBMIT),
    not_yet("jobfile", SUBMIT),
    not_yet("id", SUBMIT),
    not_yet("project-name", SUBMIT),
    not_yet("job-template", &[Verb::JobSubmit, Verb::JobList]),
    not_yet("node-group-op", SUBMIT),
    not_yet("num-sockets", SUBMIT),
    not_yet("cores-per-node", SUBMIT),
    not_yet("memory-per-node", SUBMIT),
    not_yet("estimated-process-memory", SUBMIT),
    not_yet("single-node", SUBMIT),
    not_yet("order-by", SUBMIT),
    not_yet("fail-on-task-failure", SUBMIT),
    not_yet("fail-dependent-tasks", SUBMIT),
    not_yet("run-until-canceled", SUBMIT),
    not_yet("hold-until", SUBMIT),
    not_yet("parent-job-ids", SUBMIT),
    not_yet("license", SUBMIT),
    not_yet("custom-properties", SUBMIT),
    not_yet("email-address", SUBMIT),
    not_yet("notify-on-start", SUBMIT),
    not_yet("notify-on-completion", SUBMIT),
    not_yet("progress", SUBMIT),
    not_yet("progress-msg", SUBMIT),
    not_yet("task-execution-failure-retry-limit", SUBMIT),
    not_yet("project", JOBS),
    not_yet("submit-date", JOBS),
    not_yet("detailed", &[Verb::JobView, Verb::NodeView]),
    not_yet("history", &[Verb::JobView, Verb::NodeView, Verb::NodeList]),
    not_yet("last-days", NODES),
    not_yet("active-head-node", NODES),
];
