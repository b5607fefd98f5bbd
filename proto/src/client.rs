//! Command line ↔ head node: one request per stream, framed alike on the unix socket and on QUIC.
//!
//! ```text
//!   client                       head
//!   Greeting ------------------>       once per connection
//!            <------------------ Greeted | Refused
//!   Request ------------------->       one after the other on a unix socket, one per stream on QUIC
//!            <------------------ Reply      exactly one, except for the streams below
//! ```
//!
//! Streams: `WaitJob` gets a `Job` per change until the job ended; `Tail` gets `Output`s, then `Done`; `Events` gets
//! `Events`, for ever when it follows. `Input` is answered by `Done`; then the client sends [`crate::control::Input`]
//! frames and gets an [`crate::control::InputReply`] for each. A client ends a stream by leaving.
//!
//! Who asks is proved by SO_PEERCRED or a certificate, never by what the client says. On QUIC the greeting opens the first
//! stream, which then ends; a client without a certificate gets as far as [`crate::control::Knock`] and no further.

use serde::{Deserialize, Serialize};

use crate::control::{FileReply, FollowFrom, Piece, TaskFile};
use crate::event::Event;
use crate::frame::Version;
use crate::ids::{
    AttemptId, GroupName, JobId, NodeId, NodeName, PoolName, ScheduleName, Sequence, SubmissionId, TaskId, TaskNumber,
    UserName,
};
use crate::model::job::{DisableTasks, Env, JobChange, JobRow, JobSpec};
use crate::model::limits::Limits;
use crate::model::line::TaskLine;
use crate::model::node::{AdminState, Deallocation, NodeRow};
use crate::model::owner::Role;
use crate::model::pool::{PoolChange, PoolRow, PoolSpec};
use crate::model::schedule::{ScheduleAction, ScheduleRow, ScheduleSpec};
use crate::model::task::{TaskRow, TaskSpec};
use crate::model::user::UserRow;
use crate::model::why::Why;
use crate::stored::SettingsRow;
use crate::units::{Millis, Timestamp};

/// The most tasks of one submission.
pub const MAX_TASKS: usize = 100_000;

/// The most rows of one list; the reply says when there were more.
pub const MAX_ROWS: usize = 10_000;

/// For how many jobs of a list it is said why they wait: each costs a look at every node.
pub const MAX_LISTED_WHYS: usize = 100;

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
    /// Makes a job without tasks, in state Configuring. Answered by `Submitted`.
    NewJob {
        /// Made by the client.
        submission: SubmissionId,
        /// The job.
        job: Box<JobSpec>,
    },
    /// Adds tasks: also to a job that waits, runs, failed or was canceled; the last two run again. Answered by `Added`.
    AddTasks {
        /// Made by the client.
        submission: SubmissionId,
        /// Which job.
        job: JobId,
        /// At least one.
        tasks: Vec<TaskSpec>,
    },
    /// Puts a job in configuration into the queue.
    SubmitJob {
        /// Which.
        job: JobId,
    },
    /// Changes what a job that is not over asks for.
    ModifyJob {
        /// Which.
        job: JobId,
        /// What.
        change: Box<JobChange>,
    },
    /// A new job in configuration with the same wishes and tasks, the caller's own. Answered by `Submitted`.
    CloneJob {
        /// Made by the client.
        submission: SubmissionId,
        /// Which.
        job: JobId,
    },
    /// Puts a running, failed or canceled job back into the queue: all its tasks that did not end well run again.
    RequeueJob {
        /// Which.
        job: JobId,
    },
    /// Ends a job as Finished.
    FinishJob {
        /// Which.
        job: JobId,
        /// Up to 128 characters.
        message: String,
    },
    /// Ends tasks of one job.
    CancelTasks {
        /// Which, all of one job, at most [`MAX_TASKS`]; the id of a sweep means all its steps.
        tasks: Vec<TaskId>,
        /// Without a grace period.
        force: bool,
        /// Up to 128 characters.
        message: String,
    },
    /// Puts running, failed or canceled tasks of one job back into the queue; a job that was over lives again.
    RequeueTasks {
        /// As in `CancelTasks`.
        tasks: Vec<TaskId>,
    },
    /// Ends running tasks of one job as Finished.
    FinishTasks {
        /// As in `CancelTasks`.
        tasks: Vec<TaskId>,
        /// Up to 128 characters.
        message: String,
    },
    /// Starts nothing of a job until it is enabled.
    DisableJob {
        /// Which.
        job: JobId,
        /// What happens to its running tasks.
        tasks: DisableTasks,
    },
    /// Puts a disabled job back into the queue.
    EnableJob {
        /// Which.
        job: JobId,
    },
    /// Brings a job to its end: running tasks are stopped, waiting ones canceled, release tasks run.
    TerminateJob {
        /// Which.
        job: JobId,
        /// Up to 128 characters; empty means `UserTerminate`.
        reason: String,
    },
    /// Takes a job away with its tasks and their files; one that is not over is terminated first.
    DeleteJob {
        /// Which.
        job: JobId,
    },
    /// Runs failed tasks of a live job again, with their retries counted afresh (Azure Batch's `reactivate`).
    ReactivateTasks {
        /// As in `CancelTasks`.
        tasks: Vec<TaskId>,
    },
    /// Why one task waits. Answered by `Why`.
    WhyTask {
        /// Which.
        task: TaskId,
    },
    /// Makes a job schedule. Repeating it with the same wishes changes nothing.
    AddSchedule {
        /// Its name.
        name: ScheduleName,
        /// What is asked.
        spec: Box<ScheduleSpec>,
    },
    /// Changes what a job schedule asks for; its live job stays as it is.
    ModifySchedule {
        /// Which.
        name: ScheduleName,
        /// All of it as it is to be.
        spec: Box<ScheduleSpec>,
    },
    /// Does something to a job schedule.
    ActOnSchedule {
        /// Which.
        name: ScheduleName,
        /// What.
        action: ScheduleAction,
    },
    /// All job schedules; a plain user sees their own. Answered by `Schedules`.
    ListSchedules,
    /// One of them. Answered by `Schedules`.
    ViewSchedule {
        /// Which.
        name: ScheduleName,
    },
    /// Makes a pool. For administrators.
    AddPool {
        /// Its name.
        name: PoolName,
        /// What is asked.
        spec: Box<PoolSpec>,
    },
    /// Changes a pool. For administrators.
    SetPool {
        /// Which.
        name: PoolName,
        /// What.
        change: Box<PoolChange>,
    },
    /// Gives a pool another size. For administrators.
    ResizePool {
        /// Which.
        name: PoolName,
        /// How many nodes; none: what is under way stops where it is, and as many nodes as join are taken.
        wanted: Option<u32>,
        /// What happens to tasks of nodes that leave.
        option: Deallocation,
        /// How long it may take; none means [`crate::model::pool::DEFAULT_RESIZE_TIMEOUT`].
        timeout: Option<Millis>,
    },
    /// Takes a pool away; its nodes leave the cluster, their tasks wait again. For administrators.
    DeletePool {
        /// Which.
        name: PoolName,
    },
    /// Has nodes start anew, once they hold nothing. For operators; from their image, for administrators.
    RestartNodes {
        /// Which.
        nodes: Vec<NodeName>,
        /// What happens to their tasks.
        option: Deallocation,
        /// From their image.
        reimage: bool,
    },
    /// Limits of users. Answered by `Limits`.
    ListLimits,
    /// Sets them. For administrators.
    SetLimits {
        /// Whose; none means of everybody who has none of their own.
        user: Option<UserName>,
        /// All of them as they are to be; none takes a user's own back.
        limits: Option<Limits>,
    },
    /// What would become of a submission, without making it. Refused as the submission would be.
    Rehearse {
        /// The job.
        job: Box<JobSpec>,
        /// Its tasks.
        tasks: Vec<TaskSpec>,
    },
    /// Output of tasks of one job, as it comes, from wherever they run.
    Tail {
        /// Which job.
        job: JobId,
        /// Which of its tasks; empty means all, also those that are added later.
        tasks: Vec<TaskId>,
        /// Where in each file it begins; `At` is for one task only.
        from: FollowFrom,
        /// Whether it goes on until the tasks have ended.
        follow: bool,
    },
    /// Input for an interactive task that waits or runs.
    Input {
        /// Which.
        task: TaskId,
    },
    /// What happens in the cluster; a plain user is told of their own jobs, of nodes, groups and pools.
    Events {
        /// After this one; none means from now on, or, without `follow`, all that are kept (the last 10,000).
        after: Option<Sequence>,
        /// Whether it goes on.
        follow: bool,
    },
    /// Has nodes try to reach each other. For operators.
    Probe {
        /// Which; empty means all that answer, at most [`crate::control::MAX_PROBES`].
        nodes: Vec<NodeName>,
    },
    /// Takes nodes out of the cluster; their certificates are void at once. For administrators.
    RemoveNodes {
        /// Which.
        nodes: Vec<NodeName>,
        /// Also when they hold tasks; these are lost, and run again elsewhere if they may.
        force: bool,
    },
    /// All users. A plain user sees themselves.
    ListUsers,
    /// Adds a user, or gives one another role. For administrators.
    AddUser {
        /// Login name.
        user: UserName,
        /// What they may do.
        role: Role,
        /// As whom their tasks run, where the head node's user database does not know the name.
        ids: Option<(u32, u32)>,
    },
    /// Takes a user out with all their credentials, at once. For administrators.
    RemoveUser {
        /// Who.
        user: UserName,
    },
    /// Takes one credential back, at once. For administrators and the user.
    RevokeCredential {
        /// Who.
        user: UserName,
        /// The first digits of the key's hash, at least 8 of them, as `ListUsers` shows it.
        key: String,
    },
    /// Makes a one-time token with which the user logs in elsewhere. For administrators, and users for themselves.
    /// Answered by `Token`.
    MakeLogin {
        /// Who.
        user: UserName,
        /// How long it is good for, at most 7 days.
        lifetime: Millis,
    },
    /// A new certificate for the key that the caller shows, with a life as at log-in. Answered by `Certified`.
    RenewCredential {
        /// PKCS#10 DER, for the same key.
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// Variables and parameters of the cluster.
    Settings,
    /// Sets them. For administrators.
    SetSettings {
        /// Variables to set or to take away.
        env: Env,
        /// Parameters to set, by HPC Pack's names in any case; an empty value takes one back to its default.
        parameters: Vec<(String, String)>,
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
        /// Only those after it, for paging.
        after: Option<TaskId>,
        /// Only in these states (HPC Pack's words, any case); empty means all.
        #[serde(default)]
        states: Vec<String>,
    },
    /// The tasks of a job in order, each sweep in one line. Answered by `TaskLines`.
    LineTasks {
        /// Which.
        job: JobId,
        /// Only those after it, for paging.
        after: Option<TaskId>,
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
        /// What happens to their tasks, when they go offline.
        #[serde(default)]
        option: Deallocation,
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
    /// Only of this project.
    #[serde(default)]
    pub project: Option<String>,
    /// Only submitted at or after.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Also commands of `clusrun`.
    #[serde(default)]
    pub admin: bool,
    /// Only so many, the newest.
    #[serde(default)]
    pub limit: Option<u32>,
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
    /// The tasks are durable.
    Added {
        /// The job.
        job: JobId,
        /// The number of the first; the others follow.
        first: TaskNumber,
        /// The state of the cluster that holds it.
        sequence: Sequence,
        /// Whether this submission had been answered before.
        repeated: bool,
    },
    /// What would become of a submission.
    Rehearsed {
        /// Whether its first task would start at once.
        starts_now: bool,
        /// The nodes that it would get now; empty when it would wait.
        nodes: Vec<NodeName>,
        /// Why it would wait; none when it would start.
        why: Option<Box<Why>>,
    },
    /// Job schedules.
    Schedules {
        /// By name.
        schedules: Vec<ScheduleRow>,
    },
    /// Limits and what is used of them.
    Limits {
        /// Of everybody who has none of their own.
        each: Limits,
        /// By user: those with limits of their own, and those who have anything now.
        users: Vec<UserUse>,
    },
    /// A piece of a task's output, or news of where it comes from.
    Output(Box<Output>),
    /// What happened.
    Events {
        /// In order.
        events: Vec<Happened>,
        /// Whether older ones than the first were asked for and are no longer kept.
        missed: bool,
    },
    /// Which nodes reach which.
    Probed {
        /// One per node that was asked, by name.
        nodes: Vec<ProbedNode>,
    },
    /// Users.
    Users {
        /// By name.
        users: Vec<UserRow>,
    },
    /// A certificate.
    Certified {
        /// DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The cluster's authority, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// What is set for the cluster.
    Settings {
        /// What somebody set.
        row: Box<SettingsRow>,
        /// All parameters as they are in force, by HPC Pack's names, with a word of what they are.
        parameters: Vec<Parameter>,
        /// Variables that every task gets besides.
        standing: Env,
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
        /// Why the first of them wait that do, at most [`MAX_LISTED_WHYS`].
        #[serde(default)]
        whys: Vec<Why>,
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
    /// Tasks, each sweep in one line.
    TaskLines {
        /// In order. A sweep at the end may go on in the next answer.
        lines: Vec<TaskLine>,
        /// Names of the nodes that the rows mention.
        names: Vec<(NodeId, NodeName)>,
        /// Whether there are more, behind the last task that the last line tells of.
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

/// What a follower of output is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whose.
    pub task: TaskId,
    /// The try.
    pub attempt: AttemptId,
    /// The node that it comes from.
    pub node: NodeName,
    /// What.
    pub part: OutputPart,
}

/// A part of a task's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum OutputPart {
    /// Bytes.
    Piece(Piece),
    /// One of the files cannot be shown.
    Missing {
        /// Which.
        file: TaskFile,
        /// For people.
        reason: String,
    },
    /// The node cannot be reached; it is tried again while the task is followed.
    Unreachable {
        /// For people.
        reason: String,
    },
    /// All output of this try was told.
    End {
        /// The task as it is now: over, or to be tried again.
        task: Box<TaskRow>,
    },
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Its place in the order of all events.
    pub sequence: Sequence,
    /// When the head node stored it.
    pub at: Timestamp,
    /// What.
    pub event: Box<Event>,
}

/// A parameter of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// HPC Pack's name, or our own where it has none.
    pub name: String,
    /// As it is in force.
    pub value: String,
    /// What it does, with its unit.
    pub meaning: String,
    /// Whether `cluscfg setparams` may change it.
    pub settable: bool,
}

/// What one node could reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedNode {
    /// Which node tried.
    pub node: NodeName,
    /// Whom it reached in how many microseconds, or why not; by name.
    pub reached: Vec<(NodeName, Result<u64, String>)>,
    /// Why it could not be asked.
    #[serde(default)]
    pub unasked: Option<String>,
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

/// What a user has of their limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserUse {
    /// Login name.
    pub user: String,
    /// The limits in force.
    pub limits: Limits,
    /// Whether they are their own.
    pub own: bool,
    /// Jobs that hold nodes.
    pub running_jobs: u32,
    /// Slots that are held.
    pub cores: u32,
    /// Tasks that wait.
    pub queued_tasks: u64,
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
    /// The row.
    pub row: PoolRow,
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
    /// Its wall clock when it answered.
    #[serde(default)]
    pub clock: Timestamp,
    /// SHA-256 of the cluster authority's certificate, hex.
    #[serde(default)]
    pub fingerprint: String,
    /// When the head node's own certificate ends.
    #[serde(default)]
    pub certificate_ends: Timestamp,
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
    /// When the same request may be tried again as it is: said where only the moment was wrong. Others may have been told
    /// the same, so a program adds some of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Millis>,
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
