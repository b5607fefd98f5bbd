//! Pools and node groups: a node is in one pool and in any number of groups.

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::node::Deallocation;
use super::role::StartTaskSpec;
use crate::ids::{GroupName, JobId, PoolName};
use crate::units::{Millis, Timestamp};

/// Which node a task gets that does not need a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillType {
    /// The fullest that fits, so that whole nodes stay free.
    #[default]
    Pack,
    /// The emptiest, so that tasks share nodes as little as possible (Azure Batch's default).
    Spread,
}

/// The largest `slots_per_node`: Azure Batch's bound.
pub const MAX_SLOTS_PER_NODE: u32 = 256;

/// What an administrator asks of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Slots of each node; none means as many as the node has cores (Azure Batch's `taskSlotsPerNode`). Fixed for the life
    /// of the pool; at most [`MAX_SLOTS_PER_NODE`].
    #[serde(default)]
    pub slots_per_node: Option<u32>,
    /// How many nodes it is to have; none means as many as join. Fewer than there are: the others leave. More: it waits for
    /// nodes to join.
    #[serde(default)]
    pub wanted: Option<u32>,
    /// Which node a task gets.
    #[serde(default)]
    pub fill: FillType,
    /// Whether its nodes may work on one task together (Azure Batch's `enableInterNodeCommunication`).
    #[serde(default = "yes")]
    pub inter_node: bool,
    /// Run on each node when it joins and in each new life of it.
    #[serde(default)]
    pub start_task: Option<Box<StartTaskSpec>>,
    /// How much all jobs together may have of it.
    #[serde(default)]
    pub limits: Limits,
}

const fn yes() -> bool {
    true
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            slots_per_node: None,
            wanted: None,
            fill: FillType::default(),
            inter_node: true,
            start_task: None,
            limits: Limits::default(),
        }
    }
}

/// How far a pool is from its wanted size (Azure Batch's `allocationState`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Allocation {
    /// Nothing is under way.
    #[default]
    Steady,
    /// Nodes are to leave or to join.
    Resizing {
        /// Until when; then it is steady again, and `resize_error` says what is missing.
        until: Timestamp,
        /// What happens to tasks of nodes that leave.
        option: Deallocation,
    },
}

/// The longest that a resize takes where nobody says: Azure Batch's 15 minutes.
pub const DEFAULT_RESIZE_TIMEOUT: Millis = Millis::from_seconds(15 * 60);

/// Like nodes under one name (Azure Batch's pool).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// The name.
    pub name: PoolName,
    /// What was asked.
    #[serde(flatten)]
    pub spec: PoolSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// How far it is from its wanted size.
    #[serde(default)]
    pub allocation: Allocation,
    /// Why the last resize did not reach its size.
    #[serde(default)]
    pub resize_error: Option<String>,
    /// The job that stands for its start task.
    #[serde(default)]
    pub start_job: Option<JobId>,
    /// Whether it is taken away as soon as its last node has left.
    #[serde(default)]
    pub deleting: bool,
}

/// What is to be changed of a pool; none leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolChange {
    /// See [`PoolSpec::fill`].
    pub fill: Option<FillType>,
    /// See [`PoolSpec::inter_node`].
    pub inter_node: Option<bool>,
    /// See [`PoolSpec::start_task`]; nodes run a new one in their next life.
    pub start_task: Option<super::job::SetTo<Box<StartTaskSpec>>>,
    /// See [`PoolSpec::limits`].
    pub limits: Option<Limits>,
}

/// A set of nodes under one name (HPC Pack's node group). Membership stands in the nodes' rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// The name.
    pub name: GroupName,
    /// When it was made.
    pub created_at: Timestamp,
}
