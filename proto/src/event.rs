//! Facts: what has been decided or was reported. Events are never refused, and replaying them gives the same state.

use serde::{Deserialize, Serialize};

use core::net::SocketAddr;

use crate::ids::{
    AttemptId, BootId, GroupName, JobId, KeyHash, NodeId, NodeName, PoolName, SubmissionId, TaskId, TaskNumber,
    UserName,
};
use crate::model::attempt::Share;
use crate::model::job::{JobOutcome, JobRow, JobSpec, Progress};
use crate::model::node::{AdminState, Inventory};
use crate::model::owner::{Owner, Role};
use crate::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec};
use crate::model::user::{Credential, LoginToken};
use crate::stored::{SettingsRow, TokenRow};
use crate::units::Timestamp;

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
        inventory: Inventory,
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
        /// Its tasks as they were stored.
        tasks: Vec<TaskRow>,
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
        /// When.
        at: Timestamp,
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
