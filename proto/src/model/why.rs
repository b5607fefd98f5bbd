//! Why something waits: causes with counts, made by the placement pass and shown by `job why`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, TaskId};
use crate::model::job::Units;
use crate::model::task::Request;
use crate::units::Timestamp;

/// What keeps one node from taking a task. Each node counts once, under the first cause in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// In another pool than the job asks for.
    OtherPool,
    /// Not in all the groups that the job asks for.
    OtherGroup,
    /// Not among the requested nodes.
    NotRequested,
    /// Joined, never heard of.
    NeverSeen,
    /// Silent and given up.
    Lost,
    /// Silent for a moment.
    Suspect,
    /// Switched off by the administrator.
    Offline,
    /// Being switched off.
    Draining,
    /// Has fewer or more cores or less or more memory than the job allows.
    OtherSize,
    /// Has fewer slots than the task needs on one node.
    TooSmall,
    /// Another job has it for itself.
    HeldExclusively,
    /// Not enough free slots now.
    Busy,
}

impl Cause {
    /// The words for people, following a count: `2 offline`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OtherPool => "in another pool",
            Self::OtherGroup => "not in the asked groups",
            Self::NotRequested => "not among the requested nodes",
            Self::NeverSeen => "joined but never started",
            Self::Lost => "lost",
            Self::Suspect => "not answering",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::OtherSize => "of another size than the job allows",
            Self::TooSmall => "too small",
            Self::HeldExclusively => "held by an exclusive job",
            Self::Busy => "busy",
        }
    }
}

/// Why a job waits, seen from its first waiting task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The job.
    pub job: JobId,
    /// Its first waiting task.
    pub task: TaskId,
    /// What that task needs.
    pub asked: Request,
    /// All nodes of the cluster.
    pub nodes: u32,
    /// Nodes that could take a part of it, if they were free.
    pub eligible: u32,
    /// Slots of those nodes.
    pub eligible_slots: u32,
    /// Nodes that could take a part of it now.
    pub free: u32,
    /// Free slots of those nodes.
    pub free_slots: u32,
    /// The other nodes, by cause.
    pub causes: BTreeMap<Cause, u32>,
    /// Waiting tasks before it in the queue that want the same nodes.
    pub ahead: u32,
    /// What else holds it up, whatever is free.
    #[serde(default)]
    pub held: Option<Hold>,
}

/// What keeps a job or task from being looked at by the placement pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Hold {
    /// The job is not submitted yet.
    Configuring,
    /// The job waits for a moment.
    Until {
        /// Which.
        at: Timestamp,
    },
    /// Tasks that it depends on have not ended.
    Tasks {
        /// Their names.
        names: Vec<String>,
        /// How many of them have not ended.
        count: u32,
    },
    /// The job already holds as much as it may hold at a time.
    JobUnits {
        /// The bound.
        units: Units,
    },
    /// A node still holds something of its last try.
    LastTry,
}
