//! Attempts: one try of a task, the nodes it holds, and which of them have let it go.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, NodeId, TaskId};
use crate::units::Timestamp;

/// What an attempt holds on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The node.
    pub node: NodeId,
    /// Slots held there, at least 1; 0 for a command beside the queue, which keeps nobody out.
    pub slots: u32,
    /// Whether the node still holds it.
    pub held: Held,
}

/// Whether a node still holds its share. Slots are free again only when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Granted; the node may run something for it.
    Yes,
    /// The node confirmed that nothing of it runs there any more, or is known to be gone.
    Released,
}

/// An attempt that was granted ahead of time holds no slots yet: it waits on its node, in the node's *window*, until an
/// attempt that runs there ends and hands its slot over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ahead {
    /// The node starts it when a slot is handed over to it.
    Waits,
    /// The node was asked to give it back. It does, unless it has started it.
    Recalled,
}

/// ```text
///   Granted --started--> Running --+--> Releasing --all shares released--> (row removed)
///      '------------ stop, end ----'
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum AttemptPhase {
    /// Stored and sent; the primary has not said that it runs.
    Granted,
    /// The primary runs it.
    Running {
        /// When it was started.
        started_at: Timestamp,
    },
    /// A stop was sent to the primary; its answer ends the attempt.
    Stopping {
        /// When it was started, if it was.
        started_at: Option<Timestamp>,
        /// Whether without a grace period; a node that comes back is told again.
        #[serde(default)]
        force: bool,
    },
    /// The primary's part is over; the other nodes have yet to confirm.
    Releasing,
}

/// One try of a task, kept until all its nodes have let it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Its number.
    pub id: AttemptId,
    /// What it tries.
    pub task: TaskId,
    /// Its nodes, primary first, in rank order.
    pub shares: Vec<Share>,
    /// How far it is.
    pub phase: AttemptPhase,
    /// When the nodes were granted.
    pub granted_at: Timestamp,
    /// Whether its nodes were told that its task may be started elsewhere, so that they end it with the fencing lease. When
    /// they were not, a silent node may run it still.
    #[serde(default = "yes")]
    pub rerunnable: bool,
    /// Whether its nodes were told of it; not while the job preparation task runs on one of them.
    #[serde(default = "yes")]
    pub sent: bool,
    /// Nodes where its coordination command has not ended well yet; the primary starts its command when there is none.
    #[serde(default)]
    pub coordinating: BTreeSet<NodeId>,
    /// While it waits in the window of its node, without slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
}

const fn yes() -> bool {
    true
}

impl AttemptRow {
    /// The node that runs the task's own command.
    #[must_use]
    pub fn primary(&self) -> Option<NodeId> {
        self.shares.first().map(|share| share.node)
    }

    /// The slots that a share of it holds now: none while it waits in a window.
    #[must_use]
    pub const fn slots_of(&self, share: &Share) -> u32 {
        if self.ahead.is_some() { 0 } else { share.slots }
    }
}
