//! Launches inside an allocation: a task's programs ↔ their node's agent, and mpiexec ↔ its proxies.
//!
//! The agent of each node of an allocation serves a unix socket of mode 0600 that belongs to the task's user
//! (`MUSTER_TASK_SOCKET`); to open it is the right to launch in that allocation.
//!
//! ```text
//!   mpiexec                agent of its node          other agents             proxy (one per node)
//!   Describe ------------>
//!            <------------ Allocation
//!   Certify ------------->                                                     mpiexec's fresh key gets a certificate
//!            <------------ Certified                                           from the allocation's authority
//!   StartProxy ---------->  (its own node, by the socket)
//!   StartProxy ------------------------------->  (by QUIC, with that certificate)
//!            <------------ ProxyStarted                                        the spawner starts it as the task's user
//!                                                              <-------------- Certify (its own node's socket)
//!            <--------------------------------------------- dials MUSTER_LAUNCH_RENDEZVOUS, says Hello
//!   Run --------------------------------------------------------------------->
//!            <--------------------------------------------- Started, Output, Fence, Exited ...
//! ```

use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

use crate::control::AllocatedNode;
use crate::frame::Version;
use crate::ids::{AttemptId, LaunchId, NodeId, NodeName, Rank, TaskId};
use crate::taskmap::TaskMap;

/// The environment variable that names the task's socket.
pub const TASK_SOCKET_VARIABLE: &str = "MUSTER_TASK_SOCKET";
/// The environment variable that tells a proxy its launch.
pub const LAUNCH_VARIABLE: &str = "MUSTER_LAUNCH";
/// The environment variable that tells a proxy where mpiexec listens.
pub const RENDEZVOUS_VARIABLE: &str = "MUSTER_LAUNCH_RENDEZVOUS";
/// The environment variable that names this node.
pub const NODE_NAME_VARIABLE: &str = "MUSTER_NODE_NAME";
/// The environment variable that tells the address under which other nodes reach this one.
pub const NODE_ADDRESS_VARIABLE: &str = "MUSTER_NODE_ADDRESS";

/// The environment variable that names the folder in which `mpiexec` notes which rank wrote what (`docs/launch.md`).
pub const RANK_NOTES_VARIABLE: &str = "MUSTER_RANK_NOTES";

/// The most bytes of one piece of output.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// A program of a task → an agent. On the socket all of them; from another node only [`AgentRequest::StartProxy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum AgentRequest {
    /// What was granted?
    Describe {
        /// What the program speaks.
        version: Version,
    },
    /// A certificate for a fresh key, good within this allocation.
    Certify {
        /// PKCS#10 DER.
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// Start a proxy of this launch here.
    StartProxy {
        /// The launch.
        launch: LaunchId,
        /// Where it is to dial.
        rendezvous: SocketAddr,
    },
    /// From a newer program.
    #[serde(other)]
    Unknown,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum AgentReply {
    /// What was granted.
    Allocation(Box<AllocationView>),
    /// The certificate.
    Certified {
        /// The certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The allocation's authority, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
    },
    /// The proxy's process runs.
    ProxyStarted,
    /// No: names the node and the reason.
    Refused {
        /// For people.
        reason: String,
    },
}

/// What a launch has to know of its allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationView {
    /// The try that holds it.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// Its nodes in rank order, primary first.
    pub nodes: Vec<AllocatedNode>,
    /// Which of them answers.
    pub here: NodeId,
    /// The address under which other nodes reach this one.
    pub address: IpAddr,
}

/// Proxy → mpiexec. The proxy opens two streams: the first begins with [`ProxyMessage::Hello`] and carries everything but
/// output in both directions; the second carries [`ProxyMessage::Output`] only, so that output that nobody reads holds up
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum ProxyMessage {
    /// First message.
    Hello {
        /// What it speaks.
        version: Version,
        /// The launch it was started for.
        launch: LaunchId,
        /// Its node.
        node: NodeId,
    },
    /// All its ranks run.
    Started,
    /// A rank could not be started; the launch is to end.
    NotStarted {
        /// Which.
        rank: Rank,
        /// What kind of hindrance, for the exit code.
        problem: StartProblem,
        /// For people, naming the program and the reason.
        reason: String,
    },
    /// Whole lines of a rank's output, or a part of a very long one.
    Output {
        /// Whose.
        rank: Rank,
        /// Which of the two.
        stream: OutputStream,
        /// At most [`MAX_OUTPUT_BYTES`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// All local ranks are in the barrier.
    Fence {
        /// What they put since the last one.
        pairs: Vec<KeyValue>,
    },
    /// A rank ended.
    Exited {
        /// Which.
        rank: Rank,
        /// How.
        status: RankStatus,
    },
    /// A rank asked for the end of all.
    Abort {
        /// Which.
        rank: Rank,
        /// The exit code it asked for.
        code: i32,
    },
    /// A rank broke the protocol of its start-up, or left without finalizing; the others would wait for it for ever.
    Fault {
        /// Which.
        rank: Rank,
        /// For people.
        reason: String,
    },
    /// The last [`LauncherMessage::Input`] was written, or rank 0 reads no more. Only then may the next one be sent, so
    /// that a rank that does not read never holds up other messages.
    InputTaken,
    /// The last word: all its ranks have ended, and the stream of output ends after what was sent.
    Finished,
    /// From a newer proxy.
    #[serde(other)]
    Unknown,
}

/// mpiexec → proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum LauncherMessage {
    /// First message: start these ranks.
    Run(Box<RunOrder>),
    /// The barrier is over everywhere.
    FenceDone {
        /// What all nodes put.
        pairs: Vec<KeyValue>,
    },
    /// Input for rank 0; empty means its end.
    Input {
        /// At most [`MAX_OUTPUT_BYTES`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Send this signal to every rank.
    Signal {
        /// As `kill -l` counts.
        signal: i32,
    },
    /// End every rank: politely first, then by force.
    Stop,
    /// From a newer mpiexec.
    #[serde(other)]
    Unknown,
}

/// What a proxy has to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// Its position among the nodes of the launch, as the map counts them.
    pub position: u32,
    /// Its node's name, for the ranks.
    pub node_name: NodeName,
    /// All ranks of the launch.
    pub map: TaskMap,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where ranks start, as asked for; a node without it refuses. None means `launch_dir`.
    pub workdir: Option<String>,
    /// Where mpiexec was started; a node without it uses the directory in which the proxy was started.
    pub launch_dir: Option<String>,
    /// Variables for the ranks; no value takes the variable away.
    pub env: Vec<(String, Option<String>)>,
    /// The environment of mpiexec, which ranks inherit in place of the proxy's own where it is not launch-specific.
    pub inherited: Vec<(String, String)>,
    /// Whether each rank is bound to its own cores.
    pub affinity: bool,
    /// The name of the launch's key-value space, unique on each host.
    pub kvs_name: String,
}

/// Why a rank could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum StartProblem {
    /// No such program.
    NotFound,
    /// There is one, and it cannot be executed.
    NotExecutable,
    /// The working directory, a limit of the system, or anything else.
    #[serde(other)]
    System,
}

/// Which output of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a rank ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum RankStatus {
    /// By itself.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// By a signal.
    Signaled {
        /// As `kill -l` counts.
        signal: i32,
    },
}

/// A pair of a key-value space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// At most 64 bytes.
    pub key: String,
    /// At most 1024 bytes.
    pub value: String,
}
