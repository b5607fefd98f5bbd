//! Facts: what has been decided or was reported. Events are never refused, and replaying them gives the same state.

use serde::{Deserialize, Serialize};

use core::net::SocketAddr;

use crate::ids::{AttemptId, BootId, GroupName, JobId, NodeId, NodeName, PoolName, SubmissionId, TaskId};
use crate::model::attempt::Share;
use crate::model::job::{JobOutcome, JobSpec};
use crate::model::node::{AdminState, Inventory};
use crate::model::owner::Owner;
use crate::model::task::{AttemptOutcome, TaskOutcome, TaskSpec};
use crate::stored::TokenRow;
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
        /// When.
        at: Timestamp,
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
    /// A task waits again.
    TaskRequeued {
        /// Which.
        task: TaskId,
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
