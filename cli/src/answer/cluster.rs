//! What the commands about users, log-ins, settings, many nodes at once and the health of the cluster return.

use proto::client::Parameter;
use proto::ids::{JobId, NodeName};
use proto::model::job::Env;
use proto::model::owner::Role;
use proto::model::user::UserRow;
use proto::units::Timestamp;

use crate::exit::Exit;
use crate::login::LoggedIn;

/// The value of such a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterAnswer {
    /// `muster user list`
    Users(Vec<UserRow>),
    /// `muster login`
    LoggedIn(LoggedIn),
    /// `muster whoami`
    Who(Who),
    /// `muster user token`
    LoginToken(LoginToken),
    /// `muster node join-command`
    JoinLine(JoinLine),
    /// `cluscfg listenvs`, `cluscfg listparams`
    Settings(SettingsAnswer),
    /// `muster doctor`
    Checks(Vec<Check>),
    /// `clusrun`, when all is over and told.
    Ran(ClusRan),
    /// All was told while it happened.
    Told,
}

impl ClusterAnswer {
    /// The exit code that tells the answer.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let is_well = match self {
            Self::Checks(checks) => checks.iter().all(|check| check.verdict != Verdict::Fail),
            Self::Ran(ran) => ran.nodes.iter().all(|node| node.outcome.is_ok()),
            _ => true,
        };
        if is_well { Exit::Ok } else { Exit::Failed }
    }
}

/// Who the caller is to the head node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Login name.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// The cluster's name.
    pub cluster: String,
    /// Where the head node was asked.
    pub head: String,
    /// Of the certificate that proves it; none on the head node's own machine, where the kernel does.
    pub certificate_ends: Option<Timestamp>,
    /// The first digits of its key's hash, as `muster user list` shows it.
    pub key: Option<String>,
}

/// A one-time token for a log-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginToken {
    /// The whole text.
    pub token: String,
    /// For whom.
    pub user: String,
    /// Where they log in.
    pub head: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// For people.
    pub remarks: Vec<String>,
}

/// The line that brings a host in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLine {
    /// To paste.
    pub line: String,
    /// The token in it.
    pub token: String,
    /// Where the host dials.
    pub head: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// How often.
    pub uses: u32,
    /// For people.
    pub remarks: Vec<String>,
}

/// What is set for the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsAnswer {
    /// Variables.
    Envs {
        /// What somebody set.
        set: Env,
        /// What every task gets besides.
        standing: Env,
    },
    /// Parameters.
    Parameters(Vec<Parameter>),
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something should be done.
    Warn,
    /// Something does not work.
    Fail,
}

impl Verdict {
    /// For people and programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One check of `muster doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to type or do; empty when nothing is to be done.
    pub remedy: String,
}

impl Check {
    /// All is well.
    pub(crate) fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: String::new(),
        }
    }

    /// Something should be done.
    pub(crate) fn warn(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Warn,
            found: found.into(),
            remedy: remedy.into(),
        }
    }

    /// Something does not work.
    pub(crate) fn fail(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(what, found, remedy)
        }
    }
}

/// How a command went on many nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusRan {
    /// The job that carried it.
    pub job: JobId,
    /// By name.
    pub nodes: Vec<Ran>,
    /// Whether output was told before: interleaved, or into files.
    pub told: bool,
}

/// How it went on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Which.
    pub node: NodeName,
    /// What it wrote, unless that was told already.
    pub output: Vec<u8>,
    /// What it wrote to standard error, likewise.
    pub errors: Vec<u8>,
    /// Why it did not go well, in few words: `exit 1`.
    pub outcome: Result<(), String>,
}
