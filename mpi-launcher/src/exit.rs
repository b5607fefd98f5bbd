//! How a launch ends: one cause, one exit code, one line for people.
//!
//! The first cause wins: when one rank fails, the others are stopped, and what they then say is a consequence. Codes of
//! mpiexec itself stay apart from those of programs as far as 8 bits allow (`docs/launch.md` has the table).

use std::fmt;
use std::time::Duration;

use proto::ids::{NodeName, Rank};
use proto::launch::{RankStatus, StartProblem};

/// A rank left MPI without finalizing, or broke its protocol.
pub const FAULT: u8 = 122;
/// A node or its link was lost.
pub const NODE_LOST: u8 = 123;
/// `-timeout` was over; the code that timeout(1) uses.
pub const TIMED_OUT: u8 = 124;
/// mpiexec could not do its part: wrong options, not in a task, no proxy on a node.
pub const LAUNCHER: u8 = 125;
/// The program was found and cannot be executed; the code that shells use.
pub const NOT_EXECUTABLE: u8 = 126;
/// No such program; the code that shells use.
pub const NOT_FOUND: u8 = 127;

/// Why a launch did not end with all ranks at exit code 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A rank ended with an error of its own.
    RankFailed {
        /// Which.
        rank: Rank,
        /// Where.
        node: NodeName,
        /// How.
        status: RankStatus,
    },
    /// A rank asked for the end of all.
    Aborted {
        /// Which.
        rank: Rank,
        /// Where.
        node: NodeName,
        /// With which code.
        code: u8,
    },
    /// A rank could not be started.
    NotStarted {
        /// Which.
        rank: Rank,
        /// Where.
        node: NodeName,
        /// The kind of hindrance.
        problem: StartProblem,
        /// The proxy's words.
        reason: String,
    },
    /// A rank broke the start-up protocol or left it early.
    Fault {
        /// Which.
        rank: Rank,
        /// Where.
        node: NodeName,
        /// The proxy's words.
        reason: String,
    },
    /// The link to a proxy ended before its ranks did.
    NodeLost {
        /// Which.
        node: NodeName,
        /// What the link said.
        reason: String,
    },
    /// A node would not start a proxy.
    NoProxy {
        /// Which.
        node: NodeName,
        /// The agent's words.
        reason: String,
    },
    /// Proxies did not call in time.
    Silent {
        /// Where.
        nodes: Vec<NodeName>,
        /// How long they had.
        waited: Duration,
    },
    /// `-timeout` was over.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The launch was interrupted before its ranks ran, or a second time.
    Interrupted {
        /// The signal that mpiexec got.
        signal: i32,
    },
}

impl Cause {
    /// mpiexec's exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::RankFailed { status, .. } => code_of(*status),
            Self::Aborted { code, .. } => *code,
            Self::NotStarted { problem, .. } => match problem {
                StartProblem::NotFound => NOT_FOUND,
                StartProblem::NotExecutable => NOT_EXECUTABLE,
                StartProblem::System => LAUNCHER,
            },
            Self::Fault { .. } => FAULT,
            Self::NodeLost { .. } => NODE_LOST,
            Self::NoProxy { .. } | Self::Silent { .. } => LAUNCHER,
            Self::TimedOut { .. } => TIMED_OUT,
            Self::Interrupted { signal } => signal_code(*signal),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RankFailed { rank, node, status } => {
                write!(f, "rank {rank} on {node} {}; all ranks were stopped", Ending(*status))
            }
            Self::Aborted { rank, node, code } => {
                write!(f, "rank {rank} on {node} aborted the launch with code {code}")
            }
            Self::NotStarted { rank, node, reason, .. } => {
                write!(f, "rank {rank} could not be started on {node}: {reason}")
            }
            Self::Fault { rank, node, reason } => {
                write!(f, "rank {rank} on {node} {reason}; all ranks were stopped")
            }
            Self::NodeLost { node, reason } => {
                write!(f, "node {node} was lost: {reason}; all ranks were stopped")
            }
            Self::NoProxy { node, reason } => write!(f, "node {node} started no proxy: {reason}"),
            Self::Silent { nodes, waited } => {
                let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
                let seconds = waited.as_secs();
                write!(
                    f,
                    "no proxy called from {} within {seconds} s; see the agent's log there, and whether UDP from there \
                     to this node is let through",
                    names.join(", ")
                )
            }
            Self::TimedOut { limit } => {
                write!(
                    f,
                    "the time limit of {} s (-timeout) was over; all ranks were stopped",
                    limit.as_secs()
                )
            }
            Self::Interrupted { signal } => write!(f, "interrupted by signal {signal}; all ranks were stopped"),
        }
    }
}

/// A rank's end in words: `exited with code 3`, `was ended by signal 11 (SIGSEGV)`.
#[derive(Debug, Clone, Copy)]
pub struct Ending(pub RankStatus);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RankStatus::Exited { code } => write!(f, "exited with code {code}"),
            RankStatus::Signaled { signal } => {
                let name = nix::sys::signal::Signal::try_from(signal).map_or("unknown", |signal| signal.as_str());
                write!(f, "was ended by signal {signal} ({name})")
            }
        }
    }
}

/// A rank's status as an exit code.
#[must_use]
pub fn code_of(status: RankStatus) -> u8 {
    match status {
        // What comes over the wire may be any number; a failure must not become a 0.
        RankStatus::Exited { code } => u8::try_from(code).unwrap_or(u8::MAX),
        RankStatus::Signaled { signal } => signal_code(signal),
    }
}

/// The exit code of a program that a signal ended, as shells have it.
#[must_use]
pub fn signal_code(signal: i32) -> u8 {
    u8::try_from(signal)
        .ok()
        .and_then(|signal| signal.checked_add(128))
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_shells() {
        assert_eq!(code_of(RankStatus::Exited { code: 3 }), 3);
        assert_eq!(code_of(RankStatus::Signaled { signal: 9 }), 137);
        assert_eq!(code_of(RankStatus::Exited { code: -1 }), 255);
        assert_eq!(code_of(RankStatus::Signaled { signal: 4000 }), 255);
    }

    #[test]
    fn a_cause_names_rank_and_node() {
        let node = NodeName::new("n2").expect("a name");
        let cause = Cause::RankFailed {
            rank: Rank(3),
            node,
            status: RankStatus::Signaled { signal: 11 },
        };
        assert_eq!(
            cause.to_string(),
            "rank 3 on n2 was ended by signal 11 (SIGSEGV); all ranks were stopped"
        );
        assert_eq!(cause.code(), 139);
    }
}
