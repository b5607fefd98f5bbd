//! A connection to a spawner begins: everything that it holds, against what the agent thinks that it holds.
//!
//! Either side may have lost what was on its way, and either may be another process than before. An agent that is new
//! finds what the one before it started; a spawner that is new holds nothing, and everything of its other life is over.

use std::sync::Arc;

use proto::ids::{AttemptId, BootId};
use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};

use super::{Command, Held, Outbox, Phase, Supervisor, Turn, first_step};
use crate::kept::Kept;
use crate::spawner::message::KeptState;

impl Supervisor {
    /// A spawner answered: everything that it holds, against what we think that it holds.
    pub fn spawner_back(
        &mut self,
        boot: BootId,
        held: Vec<(AttemptId, Vec<u8>, KeptState, Vec<u32>)>,
        now: Timestamp,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.boot.replace(boot).is_some_and(|before| before != boot) {
            // Everything of the other life is over, and the new id says so to the head node.
            for (attempt, held) in std::mem::take(&mut self.attempts) {
                self.free_cores(&held);
                commands.push(Command::Close { attempt });
            }
            self.outbox = Outbox {
                last_number: self.outbox.last_number,
                ..Outbox::default()
            };
            commands.push(Command::HelloAgain);
        }
        let mut absent: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for (attempt, kept, state, cores) in held {
            absent.retain(|ours| *ours != attempt);
            if self.attempts.contains_key(&attempt) {
                commands.extend(self.compare(attempt, state, now));
            } else {
                commands.extend(self.adopt(attempt, (&kept, &cores), state, now));
            }
        }
        for attempt in absent {
            commands.extend(self.repeat(attempt, now));
        }
        commands
    }

    /// The spawner knows an attempt that we know too.
    fn compare(&mut self, attempt: AttemptId, state: KeptState, now: Timestamp) -> Vec<Command> {
        let Some(held) = self.attempts.get(&attempt) else {
            return Vec::new();
        };
        let stop = held.stop.map(|grace| Command::Stop { attempt, grace });
        match (held.phase, state) {
            (Phase::Releasing, _) => vec![Command::Release { attempt }],
            (
                Phase::Ahead
                | Phase::Recalled
                | Phase::Starting
                | Phase::Member
                | Phase::Coordinating(_)
                | Phase::Coordinated
                | Phase::Running { .. },
                KeptState::Ended(record),
            ) => self.record(record, now),
            // What was to close it was lost with the line.
            (Phase::Ended, KeptState::Waiting | KeptState::Coordinating | KeptState::Coordinated) => {
                vec![Command::Stop {
                    attempt,
                    grace: Millis(0),
                }]
            }
            (Phase::Recalled, KeptState::Waiting | KeptState::Ahead) => vec![Command::Recall { attempt }],
            // The word that a slot is free was lost.
            (Phase::Starting, KeptState::Ahead) => {
                let cores = held.kept.as_ref().map_or_else(Vec::new, |kept| kept.core_ids.clone());
                [Command::Advance { attempt, cores }].into_iter().chain(stop).collect()
            }
            (phase @ (Phase::Ahead | Phase::Starting | Phase::Coordinating(_)), KeptState::Waiting)
            | (phase @ Phase::Starting, KeptState::Coordinated) => {
                let step = held.kept.clone().and_then(|kept| first_step(phase, kept));
                step.into_iter().chain(stop).collect()
            }
            (Phase::Coordinating(_), KeptState::Coordinated) => {
                let mut commands = self.coordinated(attempt);
                commands.extend(stop);
                commands
            }
            (Phase::Ahead | Phase::Recalled | Phase::Starting, KeptState::Running { started_at }) => {
                let mut commands = self.running(attempt, started_at);
                commands.extend(stop);
                commands
            }
            _ => stop.into_iter().collect(),
        }
    }

    /// The spawner knows an attempt from an agent before this one.
    pub(super) fn adopt(
        &mut self,
        attempt: AttemptId,
        (kept, cores): (&[u8], &[u32]),
        state: KeptState,
        now: Timestamp,
    ) -> Vec<Command> {
        let kept = Kept::of_bytes(kept).map(|mut kept| {
            if !cores.is_empty() {
                kept.core_ids = cores.to_vec();
            }
            Arc::new(kept)
        });
        let primary = kept.as_ref().is_some_and(|kept| kept.is_primary(self.node));
        let coordinates = kept.as_ref().is_some_and(|kept| kept.order.coordination.is_some());
        if let (Some(kept), false) = (&kept, matches!(state, KeptState::Ended(_))) {
            self.cores.mark(&kept.core_ids);
        }
        let phase = match &state {
            KeptState::Running { started_at } => Phase::Running {
                started_at: *started_at,
            },
            KeptState::Waiting if coordinates => Phase::Coordinating(Turn::Waits),
            KeptState::Coordinating | KeptState::Coordinated => Phase::Coordinating(Turn::Waits),
            KeptState::Waiting if !primary => Phase::Member,
            KeptState::Ahead => Phase::Ahead,
            KeptState::Waiting if kept.as_ref().is_some_and(|kept| kept.order.ahead) => Phase::Ahead,
            KeptState::Waiting | KeptState::Starting | KeptState::Ended(_) => Phase::Starting,
        };
        self.attempts.insert(
            attempt,
            Held {
                kept: kept.clone(),
                phase,
                stop: None,
            },
        );
        match (state, kept) {
            (KeptState::Ended(record), _) => self.record(record, now),
            (KeptState::Waiting | KeptState::Coordinated, None) => {
                let reason = "an agent of another release held it and it never started".to_owned();
                let outcome = AttemptOutcome::NodeLost {
                    node: self.node,
                    reason,
                };
                self.ended(attempt, None, outcome, now)
            }
            (_, None) => Vec::new(),
            // It was held and not started: the agent ended in between.
            (KeptState::Waiting, Some(kept)) => [Command::Serve(Arc::clone(&kept))]
                .into_iter()
                .chain(first_step(phase, kept))
                .collect(),
            (KeptState::Coordinated, Some(kept)) => {
                // Told once more: whether the agent before this one came to it is not known.
                let mut commands = vec![Command::Serve(kept)];
                commands.extend(self.coordinated(attempt));
                commands
            }
            (_, Some(kept)) => vec![Command::Serve(kept)],
        }
    }

    /// The spawner does not know an attempt that we gave it: the message was lost with a connection.
    fn repeat(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Command> {
        let Some(held) = self.attempts.get(&attempt) else {
            return Vec::new();
        };
        let (kept, stop) = (held.kept.clone(), held.stop);
        match (held.phase, kept) {
            (Phase::Ended | Phase::Failing, _) => Vec::new(),
            (Phase::Releasing, _) => vec![Command::Release { attempt }],
            // Its coordination has run already, and what it left behind is not here any more.
            (Phase::Starting, Some(kept)) if kept.order.coordination.is_some() => self.unknown_there(attempt, now),
            (Phase::Recalled, _) => vec![Command::Recall { attempt }],
            (phase @ (Phase::Ahead | Phase::Member | Phase::Starting | Phase::Coordinating(_)), Some(kept)) => {
                let stop = stop.map(|grace| Command::Stop { attempt, grace });
                [Command::Hold(Arc::clone(&kept))]
                    .into_iter()
                    .chain(first_step(phase, kept))
                    .chain(stop)
                    .collect()
            }
            (Phase::Running { .. } | Phase::Coordinated, _) | (_, None) => self.unknown_there(attempt, now),
        }
    }

    fn unknown_there(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Command> {
        let reason = "its task keeper does not know it any more".to_owned();
        let outcome = AttemptOutcome::NodeLost {
            node: self.node,
            reason,
        };
        self.ended(attempt, None, outcome, now)
    }
}
