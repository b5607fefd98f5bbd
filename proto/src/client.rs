//! Command line ↔ head node: one request per stream, framed alike on the unix socket and on QUIC.
//!
//! ```text
//!   client                       head
//!   Greeting ------------------>       once per connection
//!            <------------------ Greeted | Refused
//!   Request ------------------->       one after the other on a unix socket, one per stream on QUIC
//!            <------------------ Reply      exactly one, except Wait: a Reply per change until the job ended
//! ```
//!
//! Who asks is proved by SO_PEERCRED or a certificate, never by what the client says.

use serde::{Deserialize, Serialize};

use crate::control::{FileReply, TaskFile};
use crate::frame::Version;
use crate::ids::{AttemptId, GroupName, JobId, NodeId, NodeName, PoolName, Sequence, SubmissionId, TaskId};
use crate::model::job::{JobRow, JobSpec};
use crate::model::node::{AdminState, NodeRow};
use crate::model::owner::Role;
use crate::model::task::{TaskRow, TaskSpec};
use crate::model::why::Why;
use crate::units::{Millis, Timestamp};

/// The most tasks of one submission.
pub const MAX_TASKS: usize = 100_000;

/// The most rows of one list; the reply says when there were more.
pub const MAX_ROWS: usize = 10_000;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// What it speaks.
    pub version: Version,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum Greeted {
    /// Go on.
    Welcome {
        /// What the head speaks.
        version: Version,
        /// The cluster's name.
        cluster: String,
        /// Who the caller is taken for.
        user: String,
        /// What the caller may do.
        role: Role,
    },
    /// The connection closes.
    Refused(Refusal),
}

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum Request {
    /// A job with its tasks, all or nothing. Repeating it with the same id returns the first answer.
    Submit {
        /// Made by the client.
        submission: SubmissionId,
        /// The job.
        job: Box<JobSpec>,
        /// Its tasks, at least one, at most [`MAX_TASKS`].
        tasks: Vec<TaskSpec>,
    },
    /// Jobs, newest first.
    ListJobs {
        /// Whose and which.
        filter: JobFilter,
    },
    /// One job with its tasks' states.
    ViewJob {
        /// Which.
        job: JobId,
    },
    /// A reply now and at every change of the job's state or counts, the last one when it has ended.
    WaitJob {
        /// Which.
        job: JobId,
    },
    /// Ends a job.
    CancelJob {
        /// Which.
        job: JobId,
        /// Without a grace period.
        force: bool,
        /// Up to 128 characters, kept with the job.
        message: String,
    },
    /// Why a job waits.
    WhyJob {
        /// Which.
        job: JobId,
    },
    /// The tasks of a job, in order.
    ListTasks {
        /// Which.
        job: JobId,
        /// The first number to show, for paging.
        from: u32,
    },
    /// One task with the ends of its output.
    ViewTask {
        /// Which.
        task: TaskId,
        /// Of each file, at most [`crate::control::MAX_PIECE_BYTES`].
        output_bytes: u32,
    },
    /// All nodes, by name.
    ListNodes,
    /// One node.
    ViewNode {
        /// Which.
        node: NodeName,
    },
    /// The administrator's switch.
    SwitchNodes {
        /// Which; empty means all.
        nodes: Vec<NodeName>,
        /// To what.
        admin: AdminState,
    },
    /// All groups with their nodes.
    ListGroups,
    /// Makes a group if it is new, and puts nodes in.
    AddToGroup {
        /// The group.
        group: GroupName,
        /// The nodes, may be empty.
        nodes: Vec<NodeName>,
    },
    /// Takes nodes out, or, without nodes, the whole group away.
    RemoveFromGroup {
        /// The group.
        group: GroupName,
        /// The nodes.
        nodes: Vec<NodeName>,
    },
    /// All pools.
    ListPools,
    /// One pool.
    ViewPool {
        /// Which.
        pool: PoolName,
    },
    /// Makes a join token.
    MakeToken {
        /// The pool, made if it is new.
        pool: PoolName,
        /// The groups, made if they are new.
        groups: Vec<GroupName>,
        /// How many nodes may join with it.
        uses: u32,
        /// How long it is good for.
        lifetime: Millis,
    },
    /// What is there and how it goes.
    Status,
    /// From a newer client.
    #[serde(other)]
    Unknown,
}

/// Which jobs a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobFilter {
    /// Of all users, not only the caller's. A plain user still sees only their own.
    #[serde(default)]
    pub all_users: bool,
    /// Also jobs that are over.
    #[serde(default)]
    pub ended: bool,
    /// Only of this user.
    #[serde(default)]
    pub user: Option<String>,
    /// Only in these states (HPC Pack's words, any case).
    #[serde(default)]
    pub states: Vec<String>,
    /// Only with this name.
    #[serde(default)]
    pub name: Option<String>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum Reply {
    /// The job is durable.
    Submitted {
        /// Its number.
        job: JobId,
        /// The state of the cluster that holds it.
        sequence: Sequence,
        /// Whether this submission had been answered before.
        repeated: bool,
    },
    /// Done, and durable.
    Done {
        /// The state of the cluster that holds it.
        sequence: Sequence,
        /// For people, one line each: what was changed and what already was so.
        notes: Vec<String>,
    },
    /// Jobs.
    Jobs {
        /// Newest first, at most [`MAX_ROWS`].
        jobs: Vec<JobRow>,
        /// Whether there are more.
        more: bool,
    },
    /// One job.
    Job {
        /// The row.
        job: Box<JobRow>,
    },
    /// Why a job waits; none when nothing of it waits.
    Why {
        /// The job.
        job: Box<JobRow>,
        /// The reason.
        why: Option<Box<Why>>,
    },
    /// Tasks.
    Tasks {
        /// In order, at most [`MAX_ROWS`].
        tasks: Vec<TaskRow>,
        /// Names of the nodes that the rows mention.
        names: Vec<(NodeId, NodeName)>,
        /// Whether there are more.
        more: bool,
    },
    /// One task with the ends of its output.
    Task {
        /// The row.
        task: Box<TaskRow>,
        /// Names of the nodes that the row mentions.
        names: Vec<(NodeId, NodeName)>,
        /// Its files.
        files: Vec<FileEnd>,
    },
    /// Nodes.
    Nodes {
        /// By name.
        nodes: Vec<NodeView>,
    },
    /// Groups.
    Groups {
        /// By name.
        groups: Vec<GroupView>,
    },
    /// Pools.
    Pools {
        /// By name.
        pools: Vec<PoolView>,
    },
    /// A join token.
    Token {
        /// The whole text, shown once and kept nowhere.
        token: String,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// How it goes.
    Status {
        /// The head's process, start and version.
        head: HeadView,
        /// Nodes by what they are.
        nodes: u32,
        /// Of these, how many answer.
        up: u32,
        /// Jobs that are not over.
        jobs: u32,
        /// Tasks that wait.
        queued: u64,
        /// Tasks that run.
        running: u64,
    },
    /// No.
    Refused(Refusal),
    /// From a newer head.
    #[serde(other)]
    Unknown,
}

/// The end of one of a task's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// Which file.
    pub file: TaskFile,
    /// The try that wrote it.
    pub attempt: AttemptId,
    /// Its end, or why it cannot be shown.
    pub content: FileReply,
}

/// A node as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The row.
    pub row: NodeRow,
    /// Slots that are held.
    pub slots_held: u32,
    /// Tasks that hold them.
    pub tasks: Vec<TaskId>,
}

/// A group as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: GroupName,
    /// Its nodes, by name.
    pub nodes: Vec<NodeName>,
}

/// A pool as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Slots of each node; none means its cores.
    pub slots_per_node: Option<u32>,
    /// Its nodes, by name.
    pub nodes: Vec<NodeName>,
    /// How many of them answer and are online.
    pub ready: u32,
    /// All slots of the ready ones.
    pub slots: u32,
    /// Of these, held.
    pub slots_held: u32,
}

/// The head node's own facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadView {
    /// The cluster's name.
    pub cluster: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Where nodes dial in.
    pub listen: String,
    /// The newest event.
    pub sequence: Sequence,
}

/// A request that changed nothing: what was asked, what is wrong, what to type next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable, for programs.
    pub code: RefusalCode,
    /// What is wrong, naming the value.
    pub what: String,
    /// What to do or type next; may be empty.
    #[serde(default)]
    pub remedy: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.remedy.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}; {}", self.what, self.remedy)
        }
    }
}

/// Why a request is refused. Each has an exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// A value is wrong by itself.
    Invalid,
    /// A job, task, node, group or pool that is not there.
    NotFound,
    /// The caller may not.
    Forbidden,
    /// Not in this state.
    WrongState,
    /// A bound was reached; later it may work.
    Busy,
    /// The other side speaks another version.
    Version,
    /// Not built yet.
    Unsupported,
    /// From a newer head.
    #[serde(other)]
    Unknown,
}
