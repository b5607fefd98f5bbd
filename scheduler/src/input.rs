//! What may come in, and what a decision says.

use proto::control::{Hello, Report};
use proto::event::Event;
use proto::ids::{
    BootId, GroupName, JobId, KeyHash, NodeId, NodeName, PoolName, ScheduleName, SubmissionId, TaskId, TaskNumber,
    UserName,
};
use proto::model::array::ChunkRow;
use proto::model::job::{DisableTasks, Env, JobChange, JobRow, JobSpec};
use proto::model::limits::Limits;
use proto::model::node::{AdminState, Deallocation};
use proto::model::owner::{Caller, Role};
use proto::model::pool::{PoolChange, PoolSpec};
use proto::model::schedule::{ScheduleAction, ScheduleSpec};
use proto::model::task::{TaskRow, TaskSpec};
use proto::model::user::{Credential, LoginToken};
use proto::stored::TokenRow;
use proto::units::{Millis, Timestamp};

use crate::action::Action;

/// A request, a report or a tick. Requests may be refused; whatever is repeated is safe.
#[derive(Debug, Clone)]
pub enum Input {
    /// A job with its tasks. Answered by [`Answer::Submitted`].
    Submit {
        /// Who asks.
        caller: Caller,
        /// The client's own id for it.
        submission: SubmissionId,
        /// The job.
        job: Box<JobSpec>,
        /// Its tasks.
        tasks: Vec<TaskSpec>,
    },
    /// A job without tasks. Answered by [`Answer::Submitted`].
    NewJob {
        /// Who asks.
        caller: Caller,
        /// The client's own id for it.
        submission: SubmissionId,
        /// The job.
        job: Box<JobSpec>,
    },
    /// More tasks for a job. Answered by [`Answer::Added`].
    AddTasks {
        /// Who asks.
        caller: Caller,
        /// The client's own id for it.
        submission: SubmissionId,
        /// Which job.
        job: JobId,
        /// Its new tasks.
        tasks: Vec<TaskSpec>,
        /// The job as it is stored, when it is not in memory.
        stored: Option<Box<StoredJob>>,
    },
    /// A job in configuration goes into the queue. Answered by [`Answer::Notes`].
    SubmitJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
    },
    /// Changes a job's wishes. Answered by [`Answer::Notes`].
    ModifyJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// What.
        change: Box<JobChange>,
    },
    /// A new job like another. Answered by [`Answer::Submitted`].
    CloneJob {
        /// Who asks.
        caller: Caller,
        /// The client's own id for it.
        submission: SubmissionId,
        /// Which.
        job: JobId,
        /// The job as it is stored, when it is not in memory.
        stored: Option<Box<StoredJob>>,
    },
    /// Runs again what did not end well. Answered by [`Answer::Notes`].
    RequeueJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// The job as it is stored, when it is not in memory.
        stored: Option<Box<StoredJob>>,
    },
    /// Ends a job as Finished. Answered by [`Answer::Notes`].
    FinishJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// For people.
        message: String,
    },
    /// Ends tasks of one job. Answered by [`Answer::Notes`].
    CancelTasks {
        /// Who asks.
        caller: Caller,
        /// Which.
        tasks: Vec<TaskId>,
        /// Without a grace period.
        force: bool,
        /// For people.
        message: String,
    },
    /// Runs tasks of one job again. Answered by [`Answer::Notes`].
    RequeueTasks {
        /// Who asks.
        caller: Caller,
        /// Which.
        tasks: Vec<TaskId>,
        /// Their job as it is stored, when it is not in memory.
        stored: Option<Box<StoredJob>>,
    },
    /// Ends running tasks of one job as Finished. Answered by [`Answer::Notes`].
    FinishTasks {
        /// Who asks.
        caller: Caller,
        /// Which.
        tasks: Vec<TaskId>,
        /// For people.
        message: String,
    },
    /// Starts nothing of a job any more. Answered by [`Answer::Notes`].
    DisableJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// What happens to its running tasks.
        tasks: DisableTasks,
    },
    /// Puts a disabled job back. Answered by [`Answer::Notes`].
    EnableJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
    },
    /// Brings a job to its end. Answered by [`Answer::Notes`].
    TerminateJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// Why; may be empty.
        reason: String,
    },
    /// Takes a job away. Answered by [`Answer::Notes`].
    DeleteJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// The job as it is stored, when it is not in memory.
        stored: Option<Box<StoredJob>>,
    },
    /// Runs failed tasks of a live job again, their retries counted afresh. Answered by [`Answer::Notes`].
    ReactivateTasks {
        /// Who asks.
        caller: Caller,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// Makes a job schedule. Answered by [`Answer::Notes`].
    AddSchedule {
        /// Who asks.
        caller: Caller,
        /// Its name.
        name: ScheduleName,
        /// What is asked.
        spec: Box<ScheduleSpec>,
    },
    /// Changes one. Answered by [`Answer::Notes`].
    ModifySchedule {
        /// Who asks.
        caller: Caller,
        /// Which.
        name: ScheduleName,
        /// As it is to be.
        spec: Box<ScheduleSpec>,
    },
    /// Does something to one. Answered by [`Answer::Notes`].
    ActOnSchedule {
        /// Who asks.
        caller: Caller,
        /// Which.
        name: ScheduleName,
        /// What.
        action: ScheduleAction,
    },
    /// Makes a pool. Answered by [`Answer::Notes`].
    AddPool {
        /// Who asks.
        caller: Caller,
        /// Its name.
        name: PoolName,
        /// What is asked.
        spec: Box<PoolSpec>,
    },
    /// Changes one. Answered by [`Answer::Notes`].
    SetPool {
        /// Who asks.
        caller: Caller,
        /// Which.
        name: PoolName,
        /// What.
        change: Box<PoolChange>,
    },
    /// Gives one another size. Answered by [`Answer::Notes`].
    ResizePool {
        /// Who asks.
        caller: Caller,
        /// Which.
        name: PoolName,
        /// How many nodes; none stops a resize.
        wanted: Option<u32>,
        /// What happens to tasks of nodes that leave.
        option: Deallocation,
        /// How long it may take.
        timeout: Option<Millis>,
    },
    /// Takes one away. Answered by [`Answer::Notes`].
    DeletePool {
        /// Who asks.
        caller: Caller,
        /// Which.
        name: PoolName,
    },
    /// Has nodes start anew. Answered by [`Answer::Notes`].
    RestartNodes {
        /// Who asks.
        caller: Caller,
        /// Which.
        nodes: Vec<NodeName>,
        /// What happens to their tasks.
        option: Deallocation,
        /// From their image.
        reimage: bool,
    },
    /// Sets limits of users. Answered by [`Answer::Notes`].
    SetLimits {
        /// Who asks.
        caller: Caller,
        /// Whose; none means of everybody who has none of their own.
        user: Option<UserName>,
        /// As they are to be; none takes a user's own back.
        limits: Option<Limits>,
    },
    /// Ends a job. Answered by [`Answer::Notes`].
    CancelJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// Without a grace period.
        force: bool,
        /// Kept with the job.
        message: String,
    },
    /// The administrator's switch. Answered by [`Answer::Notes`].
    SwitchNodes {
        /// Who asks.
        caller: Caller,
        /// Which; empty means all.
        nodes: Vec<NodeName>,
        /// To what.
        admin: AdminState,
        /// What happens to their tasks.
        option: Deallocation,
    },
    /// Takes nodes out of the cluster. Answered by [`Answer::Notes`].
    RemoveNodes {
        /// Who asks.
        caller: Caller,
        /// Which.
        nodes: Vec<NodeName>,
        /// Also when they hold tasks.
        force: bool,
    },
    /// Adds a user, or gives one another role. Answered by [`Answer::Notes`].
    AddUser {
        /// Who asks.
        caller: Caller,
        /// Login name.
        user: UserName,
        /// As whom their tasks run: user and group.
        ids: (u32, u32),
        /// What they may do.
        role: Role,
    },
    /// Takes a user out. Answered by [`Answer::Notes`].
    RemoveUser {
        /// Who asks.
        caller: Caller,
        /// Who.
        user: UserName,
    },
    /// Takes a credential back. Answered by [`Answer::Notes`].
    RevokeCredential {
        /// Who asks.
        caller: Caller,
        /// Whose.
        user: UserName,
        /// The first hex digits of the key's hash.
        key: String,
    },
    /// A one-time token for a log-in; the shell made the secret.
    MakeLogin {
        /// Who asks.
        caller: Caller,
        /// Who is to log in.
        user: UserName,
        /// The token by its hash.
        token: LoginToken,
    },
    /// Somebody without a certificate shows a token. Answered by [`Answer::LoggedIn`].
    Login {
        /// SHA-256 of the secret that was shown, in hex.
        secret_hash: String,
        /// The key they get a certificate for, when that ends, and where they are.
        credential: Credential,
    },
    /// A user asks for a new certificate for a key that is good now. Answered by [`Answer::LoggedIn`].
    RenewCredential {
        /// Who asks.
        caller: Caller,
        /// The key, and when the new certificate ends.
        credential: Credential,
    },
    /// Sets variables and parameters of the cluster. Answered by [`Answer::Notes`].
    SetSettings {
        /// Who asks.
        caller: Caller,
        /// Variables to set or to take away.
        env: Env,
        /// Parameters by name; an empty value takes one back to its default.
        parameters: Vec<(String, String)>,
    },
    /// Makes a group if it is new, and puts nodes in. Answered by [`Answer::Notes`].
    AddToGroup {
        /// Who asks.
        caller: Caller,
        /// The group.
        group: GroupName,
        /// The nodes, may be empty.
        nodes: Vec<NodeName>,
    },
    /// Takes nodes out, or, without nodes, the whole group away. Answered by [`Answer::Notes`].
    RemoveFromGroup {
        /// Who asks.
        caller: Caller,
        /// The group.
        group: GroupName,
        /// The nodes.
        nodes: Vec<NodeName>,
    },
    /// Makes a join token, and its pool and groups if they are new.
    MakeToken {
        /// Who asks.
        caller: Caller,
        /// The token by its hash; the shell made the secret.
        token: TokenRow,
    },
    /// A node without a certificate shows a token. Answered by [`Answer::Joined`].
    Join {
        /// SHA-256 of the secret that was shown, in hex.
        secret_hash: String,
        /// The name it wants.
        name: NodeName,
        /// The key it gets a certificate for.
        key: KeyHash,
        /// When that certificate ends.
        certificate_ends: Timestamp,
    },
    /// A node asks for a new certificate, in time or after its old one has expired. Answered by [`Answer::None`].
    Renew {
        /// Which, from its certificate.
        node: NodeId,
        /// The key of that certificate, which is the one it asks for.
        key: KeyHash,
        /// When the new one ends.
        certificate_ends: Timestamp,
    },
    /// A node connected. The shell calls [`crate::Cluster::heard`] before, and sends what [`crate::resync`] says after.
    NodeUp {
        /// Which, from its certificate.
        node: NodeId,
        /// The key of its certificate.
        key: KeyHash,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A heartbeat or another message of a node came in; the shell calls [`crate::Cluster::heard`] before.
    Heard {
        /// Which.
        node: NodeId,
    },
    /// A node's connection broke.
    NodeGone {
        /// Which.
        node: NodeId,
    },
    /// A node tells what happened.
    Report {
        /// Which.
        node: NodeId,
        /// The life of its task keeper, from the hello of the connection.
        boot: BootId,
        /// What.
        report: Report,
    },
    /// A deadline has come ([`crate::Cluster::next_deadline`]).
    Tick,
}

/// A job that is over, as the store has it: what a requeue brings back into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJob {
    /// The job.
    pub job: JobRow,
    /// All its tasks, in order; an array as one row.
    pub tasks: Vec<TaskRow>,
    /// The chunks of its arrays that are not whole ([`ChunkRow::is_whole`]), in order. Whole ones do no harm.
    pub chunks: Vec<ChunkRow>,
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Facts, to be applied and stored in this order.
    pub events: Vec<Event>,
    /// Work that changes no state, for example an order to a node that holds something unknown.
    pub actions: Vec<Action>,
    /// For whoever asked.
    pub answer: Answer,
}

/// What the asker gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, or nobody asked.
    None,
    /// A job is in the queue.
    Submitted {
        /// Its number.
        job: JobId,
        /// Whether this submission had been made before.
        repeated: bool,
    },
    /// Tasks were added to a job.
    Added {
        /// The job.
        job: JobId,
        /// The number of the first.
        first: TaskNumber,
        /// Whether this submission had been made before.
        repeated: bool,
    },
    /// A user is known by a key now.
    LoggedIn {
        /// Who.
        user: UserName,
        /// What they may do.
        role: Role,
    },
    /// A node is in the cluster.
    Joined {
        /// Its number.
        node: NodeId,
        /// Its pool.
        pool: PoolName,
        /// Its groups.
        groups: Vec<GroupName>,
    },
    /// Done, with remarks for people, one line each.
    Notes(Vec<String>),
}
