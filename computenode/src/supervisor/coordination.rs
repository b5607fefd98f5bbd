//! Tasks whose nodes coordinate first: what the spawner says of a coordination command, and what follows.
//!
//! Every node of the task says when its own coordination ended well; the head node, which alone knows of all, then tells
//! the primary to begin. It may say so again after any reconnect, so a beginning that has begun is left alone.

use std::sync::Arc;

use proto::control::Report;
use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;
use proto::units::Timestamp;

use super::{Command, Phase, Supervisor, Turn};

/// The most characters of a command's last words that go into a message.
const MAX_WORDS: usize = 240;

/// The bad end of a coordination command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Whose.
    pub attempt: AttemptId,
    /// How, as the spawner saw it.
    pub outcome: AttemptOutcome,
    /// When.
    pub at: Timestamp,
}

impl Failed {
    /// For people; none when it did not fail but was stopped.
    fn words(&self) -> Option<String> {
        match &self.outcome {
            AttemptOutcome::Exited { code } => Some(format!("the coordination command failed with exit code {code}")),
            AttemptOutcome::Signaled { signal } => {
                Some(format!("the coordination command was ended by signal {signal}"))
            }
            AttemptOutcome::TimedOut { limit } => Some(format!(
                "the coordination command ran longer than the run-time limit of its task ({limit})"
            )),
            AttemptOutcome::NotStarted { reason } => {
                Some(format!("the coordination command cannot be started: {reason}"))
            }
            _ => None,
        }
    }

    /// Whether it ran, so that it may have said why.
    const fn ran(&self) -> bool {
        matches!(
            self.outcome,
            AttemptOutcome::Exited { .. } | AttemptOutcome::Signaled { .. } | AttemptOutcome::TimedOut { .. }
        )
    }
}

impl Supervisor {
    /// All nodes have coordinated.
    pub(super) fn begin(&mut self, attempt: AttemptId) -> Vec<Command> {
        let node = self.node;
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return Vec::new();
        };
        let Some(kept) = held.kept.as_ref().filter(|kept| kept.is_primary(node)) else {
            return Vec::new();
        };
        match held.phase {
            // The spawner's word has not come yet, of an end that the head node knows from an agent before this one.
            Phase::Coordinating(_) => {
                held.phase = Phase::Coordinating(Turn::Begun);
                Vec::new()
            }
            Phase::Coordinated if held.stop.is_none() => {
                held.phase = Phase::Starting;
                vec![Command::Start(Arc::clone(kept))]
            }
            _ => Vec::new(),
        }
    }

    /// The coordination command ended well here.
    pub(super) fn coordinated(&mut self, attempt: AttemptId) -> Vec<Command> {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return Vec::new();
        };
        let Phase::Coordinating(turn) = held.phase else {
            return Vec::new();
        };
        held.phase = Phase::Coordinated;
        self.outbox.waiting.push_back(Report::Coordinated { attempt });
        match turn {
            Turn::Begun => self.begin(attempt),
            Turn::Waits => Vec::new(),
        }
    }

    /// The coordination command ended, and not well: before that is told, its last words are looked for.
    pub(super) fn failing(&mut self, failed: Failed) -> Vec<Command> {
        let Some(held) = self.attempts.get_mut(&failed.attempt) else {
            return Vec::new();
        };
        held.phase = Phase::Failing;
        match held.kept.clone().filter(|_| failed.ran()) {
            Some(kept) => vec![Command::Explain { kept, failed }],
            None => self.explained(failed, ""),
        }
    }

    /// The last line of what a failed coordination command wrote to its standard error; empty when there is none.
    pub fn explained(&mut self, failed: Failed, last_line: &str) -> Vec<Command> {
        let failing = self
            .attempts
            .get(&failed.attempt)
            .is_some_and(|held| held.phase == Phase::Failing);
        if !failing {
            return Vec::new();
        }
        let outcome = match failed.words() {
            Some(words) => AttemptOutcome::NotStarted {
                reason: with_last(words, last_line),
            },
            None => failed.outcome,
        };
        self.ended(failed.attempt, None, outcome, failed.at)
    }
}

/// The command's own words after ours, as one line that a terminal shows as it is.
fn with_last(words: String, last_line: &str) -> String {
    let last: String = last_line
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_WORDS)
        .collect();
    if last.is_empty() {
        words
    } else {
        format!("{words}: {last}")
    }
}
