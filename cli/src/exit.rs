//! Exit codes, and the one error that reaches the top. docs/cli.md lists the codes; they are a promise to scripts.

use proto::client::RefusalCode;
use proto::ids::GroupName;

use crate::args::UsageError;
use crate::client::ClientError;
use crate::local::LocalError;
use crate::login::LoginError;
use crate::place::PlaceError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// The awaited job failed or was canceled; a cluster could not be started or stopped.
    Failed,
    /// The command line, or a value in it, is wrong; nothing was done.
    Usage,
    /// No such job, task, node, group or pool.
    NotFound,
    /// Not allowed, or no credential.
    Forbidden,
    /// No head node answers, or none of this version.
    Unreachable,
    /// Not in this state.
    WrongState,
    /// A bound was reached; later it may work.
    Busy,
    /// A fault of ours.
    Internal,
    /// Ended by the user.
    Interrupted,
    /// The code of the program that was waited for, never 0.
    Program(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Unreachable => 5,
            Self::WrongState => 6,
            Self::Busy => 7,
            Self::Internal => 70,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The head node is not where the command line says, or may not be asked.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The head node did not answer, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Logging in or out.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A file of this machine.
    #[error("{doing} {} is not possible", .path.display())]
    Files {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Starting or stopping a cluster here.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A filter by a group that is not there.
    #[error("there is no node group '{group}'; there is: {}", listed(.known))]
    NoGroup {
        /// As given.
        group: GroupName,
        /// All that are there.
        known: Vec<GroupName>,
    },
    /// A node that is not there.
    #[error("there is no node '{node}'{}; see 'node list'", .nearest.as_ref().map(|name| format!("; did you mean '{name}'?")).unwrap_or_default())]
    NoNode {
        /// As given.
        node: proto::ids::NodeName,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// Nothing was selected that answers.
    #[error("{}; see 'node list'", no_nodes(.silent))]
    NoNodes {
        /// Those that were meant and do not answer.
        silent: Vec<proto::ids::NodeName>,
    },
    /// No randomness for the id of a submission.
    #[error("no random id for the submission can be made; give one with --submission-id")]
    NoRandom(#[source] std::io::Error),
    /// Standard output cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// Tokio cannot start.
    #[error("this process cannot wait for sockets")]
    Runtime(#[source] std::io::Error),
    /// Fields of an output that there are none of.
    #[error(transparent)]
    Fields(#[from] crate::render::FieldError),
    /// 'last' of nothing.
    #[error("you have no job yet; 'job list --all' shows all that you may see")]
    NoJobs,
    /// A range, or a filter, that nothing fits.
    #[error("there is no such job or task; see 'job list --all'")]
    NothingMeant,
    /// A terminal was asked for.
    #[error("-t needs a terminal, and standard input is none; write -i alone to send what comes from there")]
    NoTerminal,
    /// A job file of which only the job was taken.
    #[error("job {job} was made without the tasks of its file; 'job delete {job}' takes it away")]
    WithoutTasks {
        /// Which.
        job: proto::ids::JobId,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// Input for a task that takes none.
    #[error("task {task} takes no input, it was submitted without -i and -t; 'task tail -f {task}' shows its output")]
    NotInteractive {
        /// Which.
        task: proto::ids::TaskId,
    },
    /// The terminal cannot be set.
    #[error("the terminal cannot be set to pass on every key")]
    Terminal(#[source] std::io::Error),
    /// Control-C.
    #[error("interrupted; {note}")]
    Interrupted {
        /// What goes on nevertheless.
        note: String,
    },
}

impl CliError {
    /// Its exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Place(error) => error.exit(),
            Self::Client(error) => error.exit(),
            Self::Local(error) => error.exit(),
            Self::Login(error) => error.exit(),
            Self::Files { .. } => Exit::Failed,
            Self::NoGroup { .. } | Self::NoNode { .. } | Self::NoNodes { .. } => Exit::NotFound,
            Self::NoRandom(_) | Self::Output(_) | Self::Runtime(_) | Self::Terminal(_) => Exit::Internal,
            Self::Fields(_) | Self::NoTerminal => Exit::Usage,
            Self::NoJobs | Self::NothingMeant => Exit::NotFound,
            Self::WithoutTasks { source, .. } => source.exit(),
            Self::NotInteractive { .. } => Exit::WrongState,
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    /// The whole chain of causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let layer = error.to_string();
            // Transparent layers say the same once more.
            if !text.ends_with(&layer) {
                text.push_str(": ");
                text.push_str(&layer);
            }
            cause = error.source();
        }
        text
    }
}

fn listed(groups: &[GroupName]) -> String {
    if groups.is_empty() {
        return "none; 'nodegroup add GROUP NODE...' makes one".to_owned();
    }
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn no_nodes(silent: &[proto::ids::NodeName]) -> String {
    if silent.is_empty() {
        return "no node was selected".to_owned();
    }
    let names = silent.iter().map(ToString::to_string).collect::<Vec<_>>();
    format!("none of the selected nodes answers: {}", names.join(", "))
}

/// The exit code of a refusal.
#[must_use]
pub(crate) const fn of_refusal(code: RefusalCode) -> Exit {
    match code {
        RefusalCode::Invalid | RefusalCode::Unsupported => Exit::Usage,
        RefusalCode::NotFound => Exit::NotFound,
        RefusalCode::Forbidden => Exit::Forbidden,
        RefusalCode::WrongState => Exit::WrongState,
        RefusalCode::Busy => Exit::Busy,
        RefusalCode::Version => Exit::Unreachable,
        RefusalCode::Unknown => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_not_there_is_named_beside_those_that_are() {
        let name = |text| GroupName::new(text).expect("a name");
        let error = CliError::NoGroup {
            group: name("nosuch"),
            known: vec![name("AzureNodes"), name("ComputeNodes")],
        };
        assert_eq!(
            error.to_string(),
            "there is no node group 'nosuch'; there is: AzureNodes, ComputeNodes"
        );
        assert_eq!(error.exit(), Exit::NotFound);
    }
}
