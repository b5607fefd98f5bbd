//! Pools and node groups: a node is in one pool and in any number of groups.

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, PoolName};
use crate::units::Timestamp;

/// Like nodes under one name (Azure Batch's pool).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// The name.
    pub name: PoolName,
    /// Slots of each node; none means as many as the node has cores (Azure Batch's `taskSlotsPerNode`).
    #[serde(default)]
    pub slots_per_node: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A set of nodes under one name (HPC Pack's node group). Membership stands in the nodes' rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// The name.
    pub name: GroupName,
    /// When it was made.
    pub created_at: Timestamp,
}
