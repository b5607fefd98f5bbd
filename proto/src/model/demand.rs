//! What the placement pass could not place, shape by shape: what more nodes would be for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::task::Request;
use crate::ids::{GroupName, JobId, PoolName, ResourceName};

/// Waiting tasks of one job that ask for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub user: String,
    /// The pool that it asks for.
    pub pool: Option<PoolName>,
    /// The groups that it asks for.
    pub groups: Vec<GroupName>,
    /// What one of the tasks needs; more than one node makes it a gang.
    pub request: Request,
    /// On each of its nodes, in MiB.
    pub memory_mib: Option<u64>,
    /// On each of its nodes.
    pub resources: BTreeMap<ResourceName, u32>,
    /// Whether all nodes of a task have to be of one placement domain.
    pub one_domain: bool,
    /// How many tasks there are.
    pub tasks: u64,
    /// Why they were not placed.
    pub because: Unplaced,
}

/// Why something was not placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unplaced {
    /// Nodes that could take it are busy or kept for others.
    Busy,
    /// Today's nodes are too few or too small: only more of them would help.
    Short,
    /// A limit of its user, its pool or its job; more nodes would not help.
    Limit,
}
