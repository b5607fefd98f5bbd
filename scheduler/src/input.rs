//! What may come in, and what a decision says.

use proto::control::{Hello, Report};
use proto::event::Event;
use proto::ids::{BootId, GroupName, JobId, NodeId, NodeName, PoolName, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::node::AdminState;
use proto::model::owner::Caller;
use proto::model::task::TaskSpec;
use proto::stored::TokenRow;

use crate::action::Action;

/// A request, a report or a tick. Requests may be refused; whatever is repeated is safe.
#[derive(Debug, Clone)]
pub enum Input {
    /// A job with its tasks. Answered by [`Answer::Submitted`].
    Submit {
        /// Who asks.
        caller: Caller,
        /// The client's own id for it.
        submission: SubmissionId,
        /// The job.
        job: Box<JobSpec>,
        /// Its tasks.
        tasks: Vec<TaskSpec>,
    },
    /// Ends a job. Answered by [`Answer::Notes`].
    CancelJob {
        /// Who asks.
        caller: Caller,
        /// Which.
        job: JobId,
        /// Without a grace period.
        force: bool,
        /// Kept with the job.
        message: String,
    },
    /// The administrator's switch. Answered by [`Answer::Notes`].
    SwitchNodes {
        /// Who asks.
        caller: Caller,
        /// Which; empty means all.
        nodes: Vec<NodeName>,
        /// To what.
        admin: AdminState,
    },
    /// Makes a group if it is new, and puts nodes in. Answered by [`Answer::Notes`].
    AddToGroup {
        /// Who asks.
        caller: Caller,
        /// The group.
        group: GroupName,
        /// The nodes, may be empty.
        nodes: Vec<NodeName>,
    },
    /// Takes nodes out, or, without nodes, the whole group away. Answered by [`Answer::Notes`].
    RemoveFromGroup {
        /// Who asks.
        caller: Caller,
        /// The group.
        group: GroupName,
        /// The nodes.
        nodes: Vec<NodeName>,
    },
    /// Makes a join token, and its pool and groups if they are new.
    MakeToken {
        /// Who asks.
        caller: Caller,
        /// The token by its hash; the shell made the secret.
        token: TokenRow,
    },
    /// A node without a certificate shows a token. Answered by [`Answer::Joined`].
    Join {
        /// SHA-256 of the secret that was shown, in hex.
        secret_hash: String,
        /// The name it wants.
        name: NodeName,
    },
    /// A node connected. The shell calls [`crate::Cluster::heard`] before, and sends what [`crate::resync`] says after.
    NodeUp {
        /// Which, from its certificate.
        node: NodeId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A heartbeat or another message of a node came in; the shell calls [`crate::Cluster::heard`] before.
    Heard {
        /// Which.
        node: NodeId,
    },
    /// A node's connection broke.
    NodeGone {
        /// Which.
        node: NodeId,
    },
    /// A node tells what happened.
    Report {
        /// Which.
        node: NodeId,
        /// The life of its task keeper, from the hello of the connection.
        boot: BootId,
        /// What.
        report: Report,
    },
    /// A deadline has come ([`crate::Cluster::next_deadline`]).
    Tick,
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Facts, to be applied and stored in this order.
    pub events: Vec<Event>,
    /// Work that changes no state, for example an order to a node that holds something unknown.
    pub actions: Vec<Action>,
    /// For whoever asked.
    pub answer: Answer,
}

/// What the asker gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, or nobody asked.
    None,
    /// A job is in the queue.
    Submitted {
        /// Its number.
        job: JobId,
        /// Whether this submission had been made before.
        repeated: bool,
    },
    /// A node is in the cluster.
    Joined {
        /// Its number.
        node: NodeId,
        /// Its pool.
        pool: PoolName,
        /// Its groups.
        groups: Vec<GroupName>,
    },
    /// Done, with remarks for people, one line each.
    Notes(Vec<String>),
}
