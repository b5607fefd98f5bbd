//! Exit codes, and the one error that reaches the top. docs/cli.md lists the codes; they are a promise to scripts.

use proto::client::RefusalCode;
use proto::ids::GroupName;

use crate::args::UsageError;
use crate::client::ClientError;
use crate::local::LocalError;
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
    /// No randomness for the id of a submission.
    #[error("no random id for the submission can be made; give one with --submission-id")]
    NoRandom(#[source] std::io::Error),
    /// Standard output cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// Tokio cannot start.
    #[error("this process cannot wait for sockets")]
    Runtime(#[source] std::io::Error),
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
            Self::NoGroup { .. } => Exit::NotFound,
            Self::NoRandom(_) | Self::Output(_) | Self::Runtime(_) => Exit::Internal,
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
