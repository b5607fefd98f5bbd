//! What commands return. A renderer turns it into text; nothing else prints.

mod cluster;
mod work;

use std::path::PathBuf;

use proto::client::{FileEnd, GroupView, HeadView, NodeView, PoolView, UserUse};
use proto::ids::{JobId, NodeId, NodeName, TaskId};
use proto::model::job::{JobOutcome, JobRow, JobState};
use proto::model::limits::Limits;
use proto::model::schedule::ScheduleRow;
use proto::model::task::TaskRow;
use proto::model::why::Why;
use proto::units::Timestamp;

pub use cluster::{Check, ClusRan, ClusterAnswer, JoinLine, LoginToken, Ran, SettingsAnswer, Verdict, Who};
pub use work::{Refused, Rehearsed, Shown, Subject, SweepLine, TaskLine, TaskPage, span};
pub(crate) use work::{instances, untouched};

use crate::exit::Exit;

/// The value of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An explanation, for people in every form.
    Help(String),
    /// Of several jobs or tasks, one after the other.
    Many(Vec<Result<Self, Refused>>),
    /// `job new`, `job clone`
    Made {
        /// The job.
        job: JobId,
        /// The one that it has its tasks from.
        like: Option<JobId>,
        /// Whether this submission had been answered before.
        repeated: bool,
        /// What is probably meant otherwise than it was written.
        remarks: Vec<String>,
    },
    /// `job add`
    Added {
        /// The task.
        task: TaskId,
        /// Whether this submission had been answered before.
        repeated: bool,
        /// What is probably meant otherwise than it was typed.
        remarks: Vec<String>,
    },
    /// `job submit --dry-run`
    Rehearsed(Box<Rehearsed>),
    /// A job whose one task was followed to its end.
    Shown(Box<Shown>),
    /// `job watch`: one change.
    Change(Box<JobRow>),
    /// All was told while it happened.
    Told,
    /// `job submit`
    Submitted {
        /// The job.
        job: JobId,
        /// Whether this submission had been answered before.
        repeated: bool,
        /// What is probably meant otherwise than it was typed.
        remarks: Vec<String>,
    },
    /// `job list`
    Jobs {
        /// Newest first.
        jobs: Vec<JobRow>,
        /// Whether there are more.
        more: bool,
        /// Where they were looked for.
        among: Among,
        /// Why the first of them that wait do so, as far as the head node says it.
        whys: Vec<Why>,
    },
    /// `job view`
    Job(Box<JobRow>),
    /// `job view` of a job that has preparation or release tasks.
    JobOnNodes {
        /// The job.
        job: Box<JobRow>,
        /// Those tasks, one for each node.
        tasks: Vec<TaskRow>,
        /// Names of the nodes.
        names: Names,
    },
    /// `job wait`, when the job is over.
    Waited(Box<JobRow>),
    /// `job why`
    Why {
        /// The job.
        job: Box<JobRow>,
        /// The reason; none when nothing of it waits.
        why: Option<Box<Why>>,
        /// Names of the nodes that it mentions.
        names: Names,
    },
    /// `task list`
    Tasks(TaskPage),
    /// `task view` of a sweep
    Sweep(Box<SweepLine>),
    /// `task view`
    Task {
        /// The row.
        task: Box<TaskRow>,
        /// Names of its nodes.
        names: Names,
        /// The ends of its files.
        files: Vec<FileEnd>,
        /// Whether all that came is shown.
        all: bool,
    },
    /// `node list`
    Nodes(Vec<NodeView>),
    /// `node view`
    Node(Box<NodeView>),
    /// `jobschedule list`
    Schedules(Vec<ScheduleRow>),
    /// `jobschedule view`
    Schedule(Box<ScheduleRow>),
    /// `muster limit list`
    Limits(Box<UserLimitsAnswer>),
    /// `nodegroup list`
    Groups(Vec<GroupView>),
    /// `pool list`
    Pools(Vec<PoolView>),
    /// `pool view`
    Pool(Box<PoolView>),
    /// What was changed, one line each.
    Notes(Vec<String>),
    /// `muster token`
    Token {
        /// The whole text.
        token: String,
        /// Where the head node listens for nodes.
        head: String,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// `muster status`
    Status(Box<Status>),
    /// `muster up`
    Up(Box<Up>),
    /// `muster down`
    Down(Down),
    /// `muster env`
    Script {
        /// For a shell.
        lines: String,
        /// For people.
        notes: Vec<String>,
    },
    /// Of the commands about users, log-ins, settings, many nodes at once, and the health of the cluster.
    Cluster(Box<ClusterAnswer>),
}

/// Which jobs a list looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All of the caller's that are not over.
    OwnLive,
    /// Some of those that are not over.
    Live,
    /// Also those that are over.
    All,
}

/// How much users may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserLimitsAnswer {
    /// Of everybody who has none of their own.
    pub each: Limits,
    /// By name.
    pub users: Vec<UserUse>,
}

/// Names of nodes by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<(NodeId, NodeName)>);

impl Names {
    /// Names, or numbers where there is none.
    #[must_use]
    pub fn of(&self, nodes: &[NodeId]) -> Vec<String> {
        let name = |id: &NodeId| {
            let known = self.0.iter().find(|(known, _)| known == id);
            known.map_or_else(|| format!("#{id}"), |(_, name)| name.to_string())
        };
        nodes.iter().map(name).collect()
    }
}

/// How the cluster goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The head node's own facts.
    pub head: HeadView,
    /// Nodes.
    pub nodes: u32,
    /// Of these, how many answer.
    pub up: u32,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
}

/// What `muster up` found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// The folder.
    pub state: PathBuf,
    /// The head node.
    pub head: HeadView,
    /// All nodes of the cluster.
    pub nodes: Vec<NodeView>,
    /// What was started now; nothing when all was up.
    pub started: Vec<String>,
    /// How this program is typed: by its name when that is in PATH, else by its path.
    pub typed: String,
    /// The account that tasks run as, when it is always the same.
    pub runs_as: Option<String>,
    /// For people.
    pub notes: Vec<String>,
}

/// What `muster down` stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// The folder.
    pub state: PathBuf,
    /// What was stopped.
    pub stopped: Vec<String>,
    /// Tasks that ran.
    pub tasks: u64,
    /// Whether the folder's content was thrown away.
    pub purged: bool,
    /// For people.
    pub notes: Vec<String>,
}

/// Whether a job that is over did what it was to do. Its manager's end, or that of all its tasks, is an end as planned.
fn went_well(job: &JobRow) -> bool {
    match &job.state {
        JobState::Ended { outcome, .. } => match outcome {
            // Somebody may have finished it, or canceled some of its tasks.
            JobOutcome::Finished => job.counts.failed == 0 && job.counts.canceled == 0,
            JobOutcome::Terminated { reason, by } => {
                let is_planned = matches!(reason.as_str(), "JMComplete" | "AllTasksComplete");
                by.is_empty() && is_planned && job.counts.failed == 0
            }
            JobOutcome::Failed { .. } | JobOutcome::Canceled { .. } => false,
        },
        _ => false,
    }
}

impl Answer {
    /// The exit code that tells the answer.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Waited(job) if went_well(job) => Exit::Ok,
            Self::Waited(_) => Exit::Failed,
            Self::Shown(shown) => shown.exit(),
            // The first that is not well: what follows it is often its consequence.
            Self::Many(all) => {
                let exits = all.iter().map(|one| match one {
                    Ok(answer) => answer.exit(),
                    Err(refused) => refused.exit,
                });
                exits.into_iter().find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok)
            }
            Self::Cluster(answer) => answer.exit(),
            _ => Exit::Ok,
        }
    }
}
