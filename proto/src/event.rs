//! Facts: what has been decided or was reported. Events are never refused, and replaying them gives the same state.

use serde::{Deserialize, Serialize};

use core::net::SocketAddr;

use crate::ids::{
    AttemptId, BootId, GroupName, JobId, KeyHash, NodeId, NodeName, PoolName, ScheduleName, SubmissionId, TaskId,
    TaskNumber, UserName,
};
use crate::model::array::ChunkRow;
use crate::model::attempt::Share;
use crate::model::job::{JobOutcome, JobRow, JobSpec, Progress};
use crate::model::node::{AdminState, Deallocation, Inventory, NodeErrand, NodeStart};
use crate::model::owner::{Owner, Role};
use crate::model::pool::PoolRow;
use crate::model::schedule::ScheduleRow;
use crate::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec};
use crate::model::user::{Credential, LoginToken};
use crate::stored::{SettingsRow, TokenRow};
use crate::units::Timestamp;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(is: &bool) -> bool {
    !*is
}

/// A fact about the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A pool was made.
    PoolAdded {
        /// Its name.
        pool: PoolName,
        /// Slots of each node; none means its cores.
        slots_per_node: Option<u32>,
        /// When.
        at: Timestamp,
    },
    /// A pool was made or is otherwise now: all of it.
    PoolChanged {
        /// As it is now.
        pool: Box<PoolRow>,
    },
    /// A pool was taken away; no node is in it.
    PoolRemoved {
        /// Its name.
        pool: PoolName,
    },
    /// A job schedule was made or is otherwise now: all of it.
    ScheduleChanged {
        /// As it is now.
        schedule: Box<ScheduleRow>,
    },
    /// A job schedule was taken away.
    ScheduleRemoved {
        /// Its name.
        schedule: ScheduleName,
    },
    /// A node group was made.
    GroupAdded {
        /// Its name.
        group: GroupName,
        /// When.
        at: Timestamp,
    },
    /// A node group was taken away; nodes leave it.
    GroupRemoved {
        /// Its name.
        group: GroupName,
    },
    /// A node is now in a group.
    GroupJoined {
        /// The group.
        group: GroupName,
        /// The node.
        node: NodeId,
    },
    /// A node is no longer in a group.
    GroupLeft {
        /// The group.
        group: GroupName,
        /// The node.
        node: NodeId,
    },
    /// A join token was made.
    TokenAdded {
        /// Its hash, pool, groups, end and count.
        token: TokenRow,
    },
    /// A join token was used once.
    TokenUsed {
        /// Its hash.
        hash: String,
    },
    /// A join token's time is over; it is forgotten.
    TokenRemoved {
        /// Its hash.
        hash: String,
    },
    /// A node proved a join token and gets a certificate.
    NodeJoined {
        /// Its number.
        node: NodeId,
        /// Its name.
        name: NodeName,
        /// Its pool.
        pool: PoolName,
        /// Its groups.
        groups: Vec<GroupName>,
        /// The key that it gets a certificate for.
        key: KeyHash,
        /// When that certificate ends.
        certificate_ends: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// A node got a new certificate for the key it has.
    NodeRenewed {
        /// Which.
        node: NodeId,
        /// When the certificate ends.
        certificate_ends: Timestamp,
    },
    /// A node was taken out of the cluster; whatever it held is gone by the administrator's word.
    NodeRemoved {
        /// Which.
        node: NodeId,
    },
    /// A user was added, or has another role or account number now. Credentials stay.
    UserAdded {
        /// Login name.
        name: UserName,
        /// As whom tasks run.
        uid: u32,
        /// Primary group.
        gid: u32,
        /// What they may do.
        role: Role,
        /// When.
        at: Timestamp,
    },
    /// A user was taken out, and with them all their credentials.
    UserRemoved {
        /// Who.
        name: UserName,
    },
    /// A one-time token for a log-in was made; an earlier one is void.
    LoginOffered {
        /// Who.
        name: UserName,
        /// The token.
        token: LoginToken,
    },
    /// A user logged in with a new key, which uses the token up, or renewed the credential of a key that stands in the row,
    /// which leaves it. The oldest credential goes when there are too many.
    LoggedIn {
        /// Who.
        name: UserName,
        /// With what.
        credential: Credential,
    },
    /// A credential was taken back.
    CredentialRevoked {
        /// Whose.
        name: UserName,
        /// Which.
        key: KeyHash,
    },
    /// An administrator set variables or parameters of the cluster.
    SettingsChanged {
        /// All of them as they are now.
        settings: Box<SettingsRow>,
    },
    /// A node connected and said what it has.
    NodeUp {
        /// Which.
        node: NodeId,
        /// The life of its task keeper.
        boot: BootId,
        /// What it has.
        inventory: Box<Inventory>,
        /// Where its peers reach it.
        peer: SocketAddr,
        /// How far its clock is ahead.
        #[serde(default)]
        clock_ahead_ms: Option<i64>,
        /// When.
        at: Timestamp,
    },
    /// A node was silent for a moment, or its connection broke.
    NodeSuspected {
        /// Which.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// A suspect node answers again, without a new life.
    NodeReturned {
        /// Which.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// A node was silent for the lost timeout.
    NodeLost {
        /// Which.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// The administrator's switch.
    NodeSwitched {
        /// Which.
        node: NodeId,
        /// To what.
        admin: AdminState,
        /// What is done with its tasks while it is draining.
        #[serde(default)]
        drain: Deallocation,
    },
    /// The start task of a node's pool is due, runs or has ended there.
    NodeStartChanged {
        /// Which.
        node: NodeId,
        /// How far it is; none when the pool has none any more.
        start: Option<NodeStart>,
    },
    /// A node is to do something, was told so, or has done it.
    NodeErrandChanged {
        /// Which.
        node: NodeId,
        /// What; none when it is done, was taken back, or was refused by the node.
        errand: Option<NodeErrand>,
        /// Why the node refused it, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// A submission was accepted.
    JobAdded {
        /// Its number.
        job: JobId,
        /// The client's own id for it.
        submission: SubmissionId,
        /// Whose it is.
        owner: Owner,
        /// What was asked.
        spec: Box<JobSpec>,
        /// Its tasks, numbered from 1.
        tasks: Vec<TaskSpec>,
        /// When.
        at: Timestamp,
        /// The job schedule that made it.
        #[serde(default)]
        schedule: Option<ScheduleName>,
    },
    /// A job without tasks was made, in state Configuring.
    JobCreated {
        /// Its number.
        job: JobId,
        /// The client's own id for it.
        submission: SubmissionId,
        /// Whose it is.
        owner: Owner,
        /// What was asked.
        spec: Box<JobSpec>,
        /// When.
        at: Timestamp,
    },
    /// Tasks were added to a job that is in memory. In one that is not in configuration they wait at once.
    TasksAdded {
        /// The job.
        job: JobId,
        /// The client's own id for the addition; none when the head node adds them itself (a clone).
        submission: Option<SubmissionId>,
        /// The number of the first.
        first: TaskNumber,
        /// The tasks; a sweep is one of them.
        tasks: Vec<TaskSpec>,
        /// When.
        at: Timestamp,
    },
    /// A job in configuration is in the queue now.
    JobSubmitted {
        /// Which.
        job: JobId,
        /// When.
        at: Timestamp,
    },
    /// A job's wishes were changed.
    JobModified {
        /// Which.
        job: JobId,
        /// All of them as they are now.
        spec: Box<JobSpec>,
        /// How far it says it is.
        #[serde(default)]
        progress: Option<Progress>,
    },
    /// A job that had ended is in memory again, in state Queued, because tasks of it are to run.
    JobRevived {
        /// Its row as it was stored.
        job: Box<JobRow>,
        /// Its tasks as they were stored, arrays as one row.
        tasks: Vec<TaskRow>,
        /// The chunks of its arrays in which something did not end well.
        #[serde(default)]
        chunks: Vec<ChunkRow>,
        /// Whether the job itself was put back into the queue (`job requeue`), which is counted.
        counted: bool,
        /// When.
        at: Timestamp,
    },
    /// A job that is not over was put back into the queue, which is counted. Its tasks follow one by one.
    JobRequeued {
        /// Which.
        job: JobId,
    },
    /// Nothing of a job is started until it is enabled.
    JobDisabled {
        /// Which.
        job: JobId,
    },
    /// A disabled job is in the queue again.
    JobEnabled {
        /// Which.
        job: JobId,
    },
    /// A job is taken away as soon as it is over.
    JobDeleting {
        /// Which.
        job: JobId,
    },
    /// A job that was over is gone, with its tasks and their files.
    JobDeleted {
        /// Which.
        job: JobId,
    },
    /// A task of the job itself for one node is due: preparation, release, start task. It waits for the node and for
    /// nothing else. One that was there before waits again.
    ErrandAdded {
        /// Which; its step is the node.
        task: TaskId,
    },
    /// A task of the job itself is forgotten: its node is gone or has a new life.
    ErrandForgotten {
        /// Which.
        task: TaskId,
    },
    /// All elements of an array that nobody touched are canceled at once.
    ArrayRestCanceled {
        /// The array.
        task: TaskId,
        /// When.
        at: Timestamp,
    },
    /// They wait again.
    ArrayRestRequeued {
        /// The array.
        task: TaskId,
    },
    /// The end of a job was decided while parts of it still hold nodes.
    JobStopping {
        /// Which.
        job: JobId,
        /// How it will have ended.
        outcome: JobOutcome,
    },
    /// A job is over.
    JobEnded {
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
        /// When.
        at: Timestamp,
    },
    /// Nodes were given to a task.
    Granted {
        /// The new try.
        attempt: AttemptId,
        /// What it tries.
        task: TaskId,
        /// Its nodes, primary first.
        shares: Vec<Share>,
        /// Whether ahead of time: it waits in the window of its node, and holds no slot until one is handed over.
        #[serde(default, skip_serializing_if = "is_false")]
        ahead: bool,
        /// When.
        at: Timestamp,
    },
    /// A slot of its node was handed over to a try that was granted ahead of time.
    Advanced {
        /// The try.
        attempt: AttemptId,
        /// Whether the node did so by itself, and needs not be told.
        by_node: bool,
        /// When.
        at: Timestamp,
    },
    /// A try that was granted ahead of time is wanted back from the window of its node.
    Recalled {
        /// The try.
        attempt: AttemptId,
    },
    /// The nodes of a try are prepared for its job, so they are told of it now.
    AttemptSent {
        /// The try.
        attempt: AttemptId,
    },
    /// The coordination command of a try ended well on a node.
    Coordinated {
        /// The try.
        attempt: AttemptId,
        /// The node.
        node: NodeId,
    },
    /// The primary node started it.
    AttemptStarted {
        /// The try.
        attempt: AttemptId,
        /// When.
        at: Timestamp,
    },
    /// A stop is due.
    AttemptStopping {
        /// The try.
        attempt: AttemptId,
        /// How its task will have ended.
        outcome: TaskOutcome,
        /// Whether without a grace period.
        force: bool,
        /// Whether its task waits again after that.
        #[serde(default)]
        again: bool,
    },
    /// The primary's part is over.
    AttemptEnded {
        /// The try.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
        /// When.
        at: Timestamp,
    },
    /// A node holds nothing of a try any more.
    ShareReleased {
        /// The try.
        attempt: AttemptId,
        /// The node.
        node: NodeId,
    },
    /// A task waits again: after a try that counts as one of its retries, or because somebody said so.
    TaskRequeued {
        /// Which. It may have ended, which takes its end back.
        task: TaskId,
        /// Whether somebody said so, which counts no retry.
        #[serde(default)]
        asked: bool,
        /// Whether after an exit that was no success, which counts as one of those retries and not of the others.
        #[serde(default)]
        retry: bool,
        /// Whether its counts of retries begin anew (`task reactivate`).
        #[serde(default)]
        afresh: bool,
    },
    /// A task is over.
    TaskEnded {
        /// Which.
        task: TaskId,
        /// How.
        outcome: TaskOutcome,
        /// When.
        at: Timestamp,
    },
}
