//! Why something waits: causes with counts, made by the placement pass and shown by `job why`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, NodeId, PoolName, ResourceName, TaskId};
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
    /// Does what was asked of it first: starts anew, or leaves.
    OnErrand,
    /// The start task of its pool has not ended yet.
    WaitingForStartTask,
    /// The start task of its pool failed.
    StartTaskFailed,
    /// The job's preparation task failed there.
    PreparationFailed,
    /// Its pool does not let nodes work together.
    NoInterNode,
    /// Has fewer or more cores or less or more memory than the job allows.
    OtherSize,
    /// Has fewer slots than the task needs on one node.
    TooSmall,
    /// Has less memory than the task needs on one node.
    TooLittleMemory,
    /// Has fewer of a countable resource than the task needs on one node.
    TooFewResources,
    /// In a placement domain that has too few nodes for the task.
    DomainTooSmall,
    /// Another job has it for itself.
    HeldExclusively,
    /// Not enough free slots now.
    Busy,
    /// Not enough free memory now.
    MemoryBusy,
    /// Not enough of a countable resource free now.
    ResourcesBusy,
    /// Kept for a task that goes before.
    Reserved,
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
            Self::OnErrand => "starting anew or leaving",
            Self::WaitingForStartTask => "running the start task of the pool",
            Self::StartTaskFailed => "with a failed start task",
            Self::PreparationFailed => "with a failed job preparation task",
            Self::NoInterNode => "in a pool without communication between nodes",
            Self::OtherSize => "of another size than the job allows",
            Self::TooSmall => "too small",
            Self::TooLittleMemory => "with too little memory",
            Self::TooFewResources => "with too few of an asked resource",
            Self::DomainTooSmall => "in a placement domain that is too small",
            Self::HeldExclusively => "held by an exclusive job",
            Self::Busy => "busy",
            Self::MemoryBusy => "with too little free memory",
            Self::ResourcesBusy => "with an asked resource in use",
            Self::Reserved => "kept for work that goes before",
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
    /// What could change it next.
    #[serde(default)]
    pub next: Option<NextEvent>,
    /// When it is expected to start, if everything that runs and goes before takes as long as its limit says; none when
    /// that cannot be known.
    #[serde(default)]
    pub expected_start: Option<Timestamp>,
    /// Nodes that would have to be added, when today's cannot hold it whatever ends.
    #[serde(default)]
    pub short_nodes: Option<u32>,
}

/// What could change why something waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum NextEvent {
    /// A task that holds nodes ends.
    TaskEnds {
        /// Which.
        task: TaskId,
        /// By when at the latest, if it has a limit.
        by: Option<Timestamp>,
    },
    /// A moment comes.
    Moment {
        /// Which.
        at: Timestamp,
    },
    /// A job ends.
    JobEnds {
        /// Which.
        job: JobId,
    },
    /// A node answers, is switched on, or has ended what it does.
    NodeReady {
        /// Which.
        node: NodeId,
    },
    /// Nodes are added.
    NodesAdded {
        /// At least so many.
        count: u32,
    },
    /// Somebody does something: submits, enables, raises a limit.
    Somebody {
        /// What to type.
        command: String,
    },
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
    /// The job is disabled.
    Disabled,
    /// Jobs that it depends on have not ended.
    Parents {
        /// Which.
        jobs: Vec<JobId>,
    },
    /// Tasks that it depends on by number have not ended, or are not there.
    TaskNumbers {
        /// The first of them.
        first: TaskId,
        /// How many.
        count: u32,
    },
    /// A limit of its user.
    UserLimit {
        /// Who.
        user: String,
        /// Which.
        limit: LimitKind,
        /// The bound.
        most: u64,
    },
    /// A limit of its pool.
    PoolLimit {
        /// Which pool.
        pool: PoolName,
        /// Which.
        limit: LimitKind,
        /// The bound.
        most: u64,
    },
    /// The job has as many tasks running as it wants at a time.
    Parallel {
        /// The bound.
        most: u32,
    },
    /// The job's preparation task runs on nodes that the task holds.
    Preparing {
        /// Which nodes.
        nodes: Vec<NodeId>,
    },
    /// No node has such a resource.
    NoSuchResource {
        /// Which.
        resource: ResourceName,
    },
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Jobs that hold nodes.
    RunningJobs,
    /// Slots that are held.
    Cores,
    /// Tasks that wait.
    QueuedTasks,
}
