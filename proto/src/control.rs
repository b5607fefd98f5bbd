//! Head node ↔ compute node: who may say what, and when.
//!
//! The node dials the head and opens one bidirectional stream, the *control stream*, for the life of the connection:
//!
//! ```text
//!   node                                   head
//!   Hello ------------------------------->        once, first; says what it holds
//!         <------------------------------- Welcome | Refused (and the connection closes)
//!         <------------------------------- Orders        any time; safe to repeat
//!   Reports ----------------------------->        kept and repeated until acknowledged
//!         <------------------------------- ReportsTaken
//!   Heartbeat --------------------------->        every `heartbeat`, renews the fencing lease
//!         <------------------------------- HeartbeatTaken
//! ```
//!
//! A peer that has no certificate yet may open one stream and say one [`Knock`]: a node joins, a user logs in.
//! A node whose certificate has expired may say [`NodeMessage::Renew`] in place of the hello, and nothing else.
//! The head opens further streams to the node, each with one [`NodeRequest`]; what follows on it is said there.
//! Unknown messages are skipped by both: releases of one major version work together, whichever is the later one.

use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

use crate::frame::Version;
use crate::ids::{AttemptId, BootId, GroupName, JobId, NodeId, NodeName, PoolName, Rank, Step, TaskId, UserName};
use crate::model::job::Env;
use crate::model::node::Inventory;
use crate::model::owner::{Owner, Role};
use crate::model::role::TaskRole;
use crate::model::sweep::fill_in;
use crate::model::task::{AttemptOutcome, CommonFile, Interactive};
use crate::units::{Millis, Timestamp};

/// The most reports in one message; more go in the next one.
pub const MAX_REPORTS: usize = 1024;

/// The most orders in one message; more go in the next one.
pub const MAX_ORDERS: usize = 1024;

/// The most bytes of one file piece.
pub const MAX_PIECE_BYTES: usize = 256 * 1024;

/// Node → head on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum NodeMessage {
    /// First message.
    Hello(Box<Hello>),
    /// Renews the lease; also proves that the link works both ways.
    Heartbeat {
        /// Counts up; the answer repeats it.
        number: u64,
    },
    /// What happened. Repeated, with the same number, until taken.
    Reports {
        /// Counts up over one life of the agent.
        number: u64,
        /// In the order in which they happened.
        reports: Vec<Report>,
    },
    /// Asks for a new certificate for the key it has: at any time after the hello, or in place of it when the certificate
    /// has expired. Answered by [`HeadMessage::Renewed`] or [`HeadMessage::Refused`].
    Renew {
        /// What it speaks.
        version: Version,
        /// Its certificate request, PKCS#10 DER, for the same key.
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// From a newer node.
    #[serde(other)]
    Unknown,
}

/// What a node says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it speaks.
    pub version: Version,
    /// Its name as configured; the head refuses a name that is not the one of its certificate's node.
    pub name: NodeName,
    /// The life of its task keeper (spawner).
    pub boot: BootId,
    /// What it has.
    pub inventory: Inventory,
    /// The UDP port where peers reach it; the address is the one it dials from unless it names another.
    pub peer: SocketAddr,
    /// Every attempt it knows of: running, or ended and not yet acknowledged.
    pub held: Vec<HeldAttempt>,
    /// Its wall clock when it said this.
    #[serde(default)]
    pub clock: Option<Timestamp>,
}

/// An attempt that a node knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// How far it is there.
    pub state: HeldState,
}

/// How far an attempt is on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum HeldState {
    /// Received, not started (or a member of a gang, which starts nothing by itself).
    Waiting,
    /// Its program runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its report is on the way.
    Ended,
}

/// What happened on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "r")]
pub enum Report {
    /// The primary's program runs.
    Started {
        /// Which.
        attempt: AttemptId,
        /// When.
        at: Timestamp,
    },
    /// The primary's program ended and nothing of the attempt runs on this node any more.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
        /// When.
        at: Timestamp,
        /// When it was started, if it was and no [`Report::Started`] told it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// The attempt of the node's window that took over its slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<AttemptId>,
    },
    /// An attempt of the window was not started and is given back (answer to [`Order::Recall`], also when the node never
    /// knew it). One that was started is not: its start or end is told instead.
    Returned {
        /// Which.
        attempt: AttemptId,
    },
    /// The coordination command of a gang's task ended well here; what it left behind runs on. When it fails, the node says
    /// [`Report::Ended`] with [`AttemptOutcome::NotStarted`], whichever node it is.
    Coordinated {
        /// Which.
        attempt: AttemptId,
    },
    /// The node cannot start anew as it was told.
    ErrandRefused {
        /// For people, naming what to configure.
        reason: String,
    },
    /// Nothing of the attempt runs on this node any more (answer to [`Order::Release`], also when it never knew it).
    Released {
        /// Which.
        attempt: AttemptId,
    },
    /// From a newer node.
    #[serde(other)]
    Unknown,
}

/// Head → node on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum HeadMessage {
    /// Answer to hello.
    Welcome {
        /// What the head speaks.
        version: Version,
        /// The cluster's name, for `CCP_CLUSTER_NAME`.
        cluster: String,
        /// The rules of both clocks.
        timing: Timing,
    },
    /// Answer to hello: why not, for the node's log. The connection closes.
    Refused {
        /// What is wrong and what to do.
        reason: String,
    },
    /// What to do. Safe to repeat.
    Orders {
        /// In order.
        orders: Vec<Order>,
    },
    /// Reports up to this number are durable; forget them.
    ReportsTaken {
        /// The highest number.
        number: u64,
    },
    /// A heartbeat arrived.
    HeartbeatTaken {
        /// Its number.
        number: u64,
    },
    /// The new certificate.
    Renewed {
        /// DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The cluster's authority, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
    },
    /// The node was taken out of the cluster: it ends all its tasks at once, and asks no more. Then the connection closes.
    Removed {
        /// For its log.
        reason: String,
    },
    /// From a newer head.
    #[serde(other)]
    Unknown,
}

/// The clocks between head and node (ARCHITECTURE, "Two clocks"): `lease + kill_grace` is shorter than the head's
/// lost timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How often the node says that it is there.
    pub heartbeat: Millis,
    /// Counted from the sending of the last acknowledged heartbeat; then what may be started elsewhere is killed.
    pub lease: Millis,
    /// Between a polite stop and a kill.
    pub kill_grace: Millis,
}

impl Default for Timing {
    /// The on-site values: a lease that outlasts the maintenance of a head node.
    fn default() -> Self {
        Self {
            heartbeat: Millis::from_seconds(5),
            lease: Millis::from_seconds(600),
            // HPC Pack's TaskCancelGracePeriod.
            kill_grace: Millis::from_seconds(15),
        }
    }
}

/// What a node is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "o")]
pub enum Order {
    /// Hold a share of an attempt, and start its program when this node is the primary. A known attempt is left alone.
    Start(Box<StartOrder>),
    /// The same for steps of one sweep on this node alone.
    StartSteps {
        /// What is the same for all, its texts as the user wrote them.
        order: Box<StartOrder>,
        /// In order.
        steps: Vec<StepStart>,
    },
    /// Start an attempt of the window: a slot is free for it. Ignored when it was started, or is not known.
    Advance {
        /// Which.
        attempt: AttemptId,
    },
    /// Give an attempt of the window back, unless it was started: answered with [`Report::Returned`].
    Recall {
        /// Which.
        attempt: AttemptId,
    },
    /// End the attempt's program: the primary answers with [`Report::Ended`].
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Until the kill; none at all when forced.
        grace: Millis,
    },
    /// Kill what is left of the attempt here and let it go: answered with [`Report::Released`], known or not.
    Release {
        /// Which.
        attempt: AttemptId,
    },
    /// All nodes have coordinated: the primary starts its command. Ignored when it has.
    Begin {
        /// Which.
        attempt: AttemptId,
    },
    /// The node starts anew by the command of its configuration. It holds nothing.
    Restart {
        /// From its image.
        reimage: bool,
    },
    /// A job was deleted: the directories of its tasks go.
    ForgetJob {
        /// Which.
        job: JobId,
    },
    /// From a newer head.
    #[serde(other)]
    Unknown,
}

/// What one step of a sweep has of its own in [`Order::StartSteps`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStart {
    /// The try.
    #[serde(rename = "a")]
    pub attempt: AttemptId,
    /// Which step.
    #[serde(rename = "s")]
    pub step: Step,
    /// Starts before this one.
    #[serde(rename = "q", default, skip_serializing_if = "is_zero")]
    pub requeues: u32,
    /// Whether it waits in the window.
    #[serde(rename = "w", default, skip_serializing_if = "is_false")]
    pub ahead: bool,
    /// As [`StartOrder::authority`].
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AllocationAuthority>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(is: &bool) -> bool {
    !*is
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl StartOrder {
    /// The order for one step of the sweep that this one is for as a whole.
    #[must_use]
    pub fn for_step(&self, start: StepStart) -> Self {
        let filled = |text: &String| fill_in(text, start.step);
        let path = |path: &Option<String>| path.as_ref().map(filled);
        Self {
            attempt: start.attempt,
            task: TaskId {
                step: Some(start.step),
                ..self.task
            },
            requeues: start.requeues,
            command: self.command.iter().map(filled).collect(),
            workdir: path(&self.workdir),
            stdout: path(&self.stdout),
            stderr: path(&self.stderr),
            stdin: path(&self.stdin),
            ahead: start.ahead,
            authority: start.authority,
            ..self.clone()
        }
    }
}

/// Everything that a node has to know of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The try.
    pub attempt: AttemptId,
    /// What it tries.
    pub task: TaskId,
    /// The job's name, for `CCP_JOBNAME`.
    pub job_name: String,
    /// The task's name.
    pub task_name: String,
    /// Starts before this one, for `CCP_RETRY_COUNT`.
    pub requeues: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Its nodes, primary first, in rank order.
    pub nodes: Vec<AllocatedNode>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it starts; none means its own directory `wd`.
    pub workdir: Option<String>,
    /// Where standard output goes.
    pub stdout: Option<String>,
    /// Where standard error goes.
    pub stderr: Option<String>,
    /// Where standard input comes from; none means nothing.
    #[serde(default)]
    pub stdin: Option<String>,
    /// The text of a script that is started in place of the command's first word.
    #[serde(default)]
    pub script: Option<String>,
    /// Takes input from whoever attaches.
    #[serde(default)]
    pub interactive: Option<Interactive>,
    /// The cluster's variables, the job's over them, and the task's own over those.
    pub env: Env,
    /// From its start.
    pub runtime_limit: Option<Millis>,
    /// For `CCP_EXCLUSIVE`.
    pub exclusive: bool,
    /// Whether it may be started again elsewhere: then it ends with the fencing lease.
    pub rerunnable: bool,
    /// What it is for its job.
    #[serde(default)]
    pub role: TaskRole,
    /// Run first, on this node as on the others, with `AZ_BATCH_IS_CURRENT_NODE_MASTER` set; its end is told by
    /// [`Report::Coordinated`]. With it the primary starts its command at [`Order::Begin`] only.
    #[serde(default)]
    pub coordination: Option<Vec<String>>,
    /// Put into the task's directory first.
    #[serde(default)]
    pub common_files: Vec<CommonFile>,
    /// How long its directory is kept after its end.
    #[serde(default)]
    pub retention: Option<Millis>,
    /// The pool, for `AZ_BATCH_POOL_ID`.
    #[serde(default)]
    pub pool: Option<PoolName>,
    /// The job has a preparation task: the directory of its newest attempt here, for `AZ_BATCH_JOB_PREP_DIR`.
    #[serde(default)]
    pub prepared_by: Option<AttemptId>,
    /// It takes one slot of this node alone and nothing else, so that slots are handed on between all that do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub single: bool,
    /// It waits in the node's window: it is started when another that is [`single`](Self::single) ends, or at
    /// [`Order::Advance`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub ahead: bool,
    /// For launches inside the allocation: what its own certificate authority is made from. The head fills it in.
    pub authority: Option<AllocationAuthority>,
}

/// One node of an allocation, as its peers have to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatedNode {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Slots held there.
    pub slots: u32,
    /// Where its agent is reached for launches.
    pub peer: SocketAddr,
}

/// What the certificate authority of one allocation is made from: derived by the head, held only by the allocation's
/// nodes. Each makes the same key of it (`transport::identity::Authority::of_allocation`), when the first launch asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationAuthority {
    /// 32 bytes.
    #[serde(with = "serde_bytes")]
    pub seed: Vec<u8>,
}

impl std::fmt::Debug for AllocationAuthority {
    /// The seed never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllocationAuthority").finish_non_exhaustive()
    }
}

/// The one thing that a peer without a certificate may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum Knock {
    /// A node joins. Answered by [`JoinReply`].
    Join(Join),
    /// A user logs in. Answered by [`LoginReply`].
    Login(Login),
    /// From a newer peer.
    #[serde(other)]
    Unknown,
}

/// A node without a certificate asks for one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What it speaks.
    pub version: Version,
    /// The secret of the join token, hex.
    pub secret: String,
    /// The name it wants.
    pub name: NodeName,
    /// Its certificate request, PKCS#10 DER.
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
}

impl std::fmt::Debug for Join {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The answer to [`Join`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum JoinReply {
    /// Welcome to the cluster.
    Joined {
        /// The node's number.
        node: NodeId,
        /// Its pool and groups, for its log.
        pool: PoolName,
        /// The groups.
        groups: Vec<GroupName>,
        /// Its certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The cluster's authority, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
        /// The head node's wall clock when it answered.
        clock: Timestamp,
        /// The cluster's name.
        cluster: String,
    },
    /// Why not: what is wrong with the token or the name, and what to type.
    Refused {
        /// For the person who started the node.
        reason: String,
    },
}

/// A user turns a one-time token into a certificate for the key of this host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// What they speak.
    pub version: Version,
    /// The secret of the token, hex.
    pub secret: String,
    /// The host they are on, for `muster user list`; at most 64 bytes are kept.
    pub host: String,
    /// Their certificate request, PKCS#10 DER.
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
}

impl std::fmt::Debug for Login {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// The answer to [`Login`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum LoginReply {
    /// Welcome.
    LoggedIn {
        /// As whom.
        user: UserName,
        /// What they may do.
        role: Role,
        /// The cluster's name.
        cluster: String,
        /// The certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The cluster's authority, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
        /// When the certificate ends.
        expires_at: Timestamp,
        /// The head node's wall clock when it answered.
        clock: Timestamp,
    },
    /// Why not.
    Refused {
        /// For the person.
        reason: String,
    },
}

/// Head → node, the first and only message of a stream that the head opens, except for [`NodeRequest::Input`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum NodeRequest {
    /// A part of a file. Answered once, by [`FileReply`].
    File(FileRequest),
    /// Both files of an attempt as they grow. Answered by [`FollowReply`] frames; the last is an end or a failure. The head
    /// ends the stream when nobody follows any more.
    Follow(FollowRequest),
    /// Input for an interactive task. [`Input`] frames follow; each is answered by [`InputReply`] when it was written.
    Input {
        /// The try.
        attempt: AttemptId,
    },
    /// Tries to reach the agents of other nodes. Answered once, by [`ProbeReply`].
    Probe {
        /// At most [`MAX_PROBES`].
        peers: Vec<SocketAddr>,
    },
    /// From a newer head; the node ends the stream.
    #[serde(other)]
    Unknown,
}

/// The most peers of one probe.
pub const MAX_PROBES: usize = 256;

/// Which output is followed, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowRequest {
    /// The job, for the path of a finished attempt's directory.
    pub job: JobId,
    /// The try.
    pub attempt: AttemptId,
    /// Where in each file it begins.
    pub from: FollowFrom,
    /// Whether it goes on until the attempt has ended; else what is there now is sent.
    pub follow: bool,
}

/// Where following begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum FollowFrom {
    /// At the beginning.
    Start,
    /// At the last so many bytes.
    Last {
        /// Of each file.
        bytes: u64,
    },
    /// Where an earlier stream had come to.
    At {
        /// Bytes of `stdout.txt`.
        stdout: u64,
        /// Bytes of `stderr.txt`.
        stderr: u64,
    },
}

/// Node → head, while output is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum FollowReply {
    /// More output.
    Piece(Piece),
    /// One of the files cannot be followed: never made, taken away, not readable, or not a regular file.
    Missing {
        /// Which.
        file: TaskFile,
        /// For people.
        reason: String,
    },
    /// Everything was sent: the attempt has ended, or only what is there now was asked for.
    End,
}

/// A piece of a task's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// From which file.
    pub file: TaskFile,
    /// Where it begins in the file.
    pub offset: u64,
    /// At most [`MAX_PIECE_BYTES`].
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The rank that wrote it, where the launcher noted it. A piece is of one rank.
    #[serde(default)]
    pub rank: Option<Rank>,
    /// The node that the rank ran on, where the launcher noted it: mostly another one than that which keeps the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<NodeId>,
}

/// Input of an interactive task, on its way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum Input {
    /// As typed.
    Bytes {
        /// At most 64 KiB.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The terminal's new size.
    Size {
        /// Lines.
        rows: u16,
        /// Characters of a line.
        columns: u16,
    },
    /// There is no more.
    End,
}

/// The answer to one [`Input`]. Only then may the next be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum InputReply {
    /// It was written.
    Taken,
    /// The program reads no more, or takes no input at all.
    Closed {
        /// For people.
        reason: String,
    },
}

/// Node → head: which peers answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// One per peer that was asked for, in that order.
    pub results: Vec<Probed>,
}

/// Whether one peer answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Where.
    pub peer: SocketAddr,
    /// Microseconds of a handshake's first round trip, or why there was none.
    pub outcome: Result<u64, String>,
}

/// Which of a task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskFile {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A part of a task's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRequest {
    /// The job, for the path of a finished attempt's directory.
    pub job: JobId,
    /// The try.
    pub attempt: AttemptId,
    /// Which file.
    pub file: TaskFile,
    /// Only the last so many bytes, at most [`MAX_PIECE_BYTES`].
    pub last_bytes: u32,
}

/// Node → head: the answer, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum FileReply {
    /// The end of the file.
    Tail {
        /// Bytes before the part that is sent.
        skipped: u64,
        /// The part.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// No such file: never made, taken away, or not readable.
    Missing {
        /// For people.
        reason: String,
    },
}
