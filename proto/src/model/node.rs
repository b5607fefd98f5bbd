//! Compute nodes: what they have, whether they answer, and whether the administrator wants them used.

use std::collections::{BTreeMap, BTreeSet};

use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

use crate::ids::{BootId, DomainName, GroupName, KeyHash, NodeId, NodeName, PoolName, ResourceName};
use crate::units::Timestamp;

/// What a node found on itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// CPU cores that tasks may use, at least 1.
    pub cores: u32,
    /// Numbers of those cores on the host, as the kernel counts them.
    #[serde(default)]
    pub core_ids: Vec<u32>,
    /// Processor sockets, at least 1; 0 when an older node does not say.
    #[serde(default)]
    pub sockets: u32,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Whether it may make control groups (cgroup v2) for its tasks.
    #[serde(default)]
    pub cgroups: bool,
    /// Host name, operating system, kernel and processor, for people.
    #[serde(default)]
    pub hostname: String,
    /// For example `Debian GNU/Linux 12`.
    #[serde(default)]
    pub os: String,
    /// For example `6.1.0-18-amd64`.
    #[serde(default)]
    pub kernel: String,
    /// For example `x86_64`.
    #[serde(default)]
    pub arch: String,
    /// The node daemon's version.
    #[serde(default)]
    pub version: String,
    /// Addresses of its interfaces.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Countable things besides cores and memory, for example `gpu`: what its configuration names.
    #[serde(default)]
    pub resources: BTreeMap<ResourceName, u32>,
    /// Words that describe it; a job may ask for one as for a group.
    #[serde(default)]
    pub tags: BTreeSet<GroupName>,
    /// Which nodes are near it; none means that nobody said.
    #[serde(default)]
    pub domain: Option<DomainName>,
}

/// What happens to the tasks of a node that is to get no more work (Azure Batch's deallocation options).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deallocation {
    /// They are stopped and wait again.
    Requeue,
    /// They are stopped and fail.
    Terminate,
    /// They go on to their end.
    #[default]
    TaskCompletion,
    /// They go on to their end, and then the node stays until the retention of its tasks' files is over.
    RetainedData,
}

impl Deallocation {
    /// Azure Batch's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Terminate => "terminate",
            Self::TaskCompletion => "taskcompletion",
            Self::RetainedData => "retaineddata",
        }
    }
}

/// How far the start task of its pool is on a node, in its present life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStart {
    /// The life of the node that this is about.
    pub boot: BootId,
    /// How far.
    pub state: StartState,
    /// Whether nothing else is started before it has ended well.
    pub wait_for_success: bool,
}

/// How far a start task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum StartState {
    /// Waits or runs.
    Running,
    /// Ended well.
    Done,
    /// Failed after all its retries.
    Failed {
        /// For people.
        reason: String,
    },
}

/// What a node is to do once it holds nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeErrand {
    /// What.
    pub kind: NodeErrandKind,
    /// When somebody asked.
    pub asked_at: Timestamp,
    /// Whether it was told; then its next life ends the errand.
    #[serde(default)]
    pub sent: bool,
    /// The switch as it was before, and is after.
    pub admin: AdminState,
}

/// Kinds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeErrandKind {
    /// It starts anew.
    Reboot,
    /// It starts anew from its image: whatever is on it is gone.
    Reimage,
    /// It leaves the cluster: its pool is to be smaller.
    Leave,
}

/// The administrator's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// Gets work.
    Online,
    /// Finishes what runs, gets no new work, is then offline.
    Draining,
    /// Gets no work.
    Offline,
}

/// Whether the node answers, as the head node sees it.
///
/// ```text
///   Joined --hello--> Up --silent--> Suspect --silent for the lost timeout--> Lost
///                      ^----- hello or heartbeat ------'                       |
///                      '------------------------ hello ------------------------'
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Liveness {
    /// Has a certificate, was never heard of.
    Joined,
    /// Answers.
    Up {
        /// Since when.
        since: Timestamp,
    },
    /// Missed heartbeats; keeps its tasks, gets no new ones.
    Suspect {
        /// Since when.
        since: Timestamp,
    },
    /// Silent for so long that its tasks may be started elsewhere.
    Lost {
        /// Since when.
        since: Timestamp,
    },
}

/// A compute node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its number, for life.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// The groups it is in.
    pub groups: BTreeSet<GroupName>,
    /// What it has; nothing until its first hello.
    #[serde(default)]
    pub inventory: Option<Inventory>,
    /// Slots it offers: the pool's number, else its cores. 0 until its first hello.
    #[serde(default)]
    pub slots: u32,
    /// The administrator's switch.
    pub admin: AdminState,
    /// Whether it answers.
    pub liveness: Liveness,
    /// The life of its task keeper, from the last hello.
    #[serde(default)]
    pub boot: Option<BootId>,
    /// Where the agents of other nodes and launchers reach it.
    #[serde(default)]
    pub peer: Option<SocketAddr>,
    /// When it joined.
    pub joined_at: Timestamp,
    /// The key that its certificate is for. Connections with any other are refused, which is how a node that was removed or
    /// joined anew elsewhere is kept out.
    #[serde(default)]
    pub key: Option<KeyHash>,
    /// When its certificate ends. It is renewed in time, and also after that.
    #[serde(default)]
    pub certificate_ends: Option<Timestamp>,
    /// How far its clock is ahead of the head node's, at its last hello; in milliseconds, half a round trip included.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// What is done with its tasks while it is draining.
    #[serde(default)]
    pub drain: Deallocation,
    /// How far its pool's start task is; none when the pool has none.
    #[serde(default)]
    pub start: Option<NodeStart>,
    /// What it is to do once it holds nothing.
    #[serde(default)]
    pub errand: Option<NodeErrand>,
    /// When the retention of the last of its tasks' files is over.
    #[serde(default)]
    pub retained_until: Option<Timestamp>,
    /// Why it could not start anew when it was told to last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errand_refused: Option<String>,
}
