//! What this node holds, compared with what the head node wants: orders and the spawner's news in, commands out.
//!
//! Pure: no sockets, files or clock. Everything can come twice and in any order around a reconnect, on either side, so
//! every input says what is, not what changed: a known attempt is not started again, a release is answered known or
//! not, and reports are repeated until the head node has taken them.
//!
//! ```text
//!   Start --> Member ----------------------------------- Release --> Releasing --> (gone)
//!        '--> Starting --> Running --> Ended --taken--> (gone)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proto::control::{HeldAttempt, HeldState, MAX_REPORTS, NodeMessage, Order, Report, StartOrder};
use proto::ids::{AttemptId, BootId, NodeId, NodeName};
use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};

use crate::kept::{Cores, Kept};
use crate::spawner::message::{ExitRecord, FromSpawner, KeptState, MAX_ATTEMPTS};

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// To the spawner: a held attempt's command cannot be prepared.
    Refuse {
        /// Which.
        attempt: AttemptId,
        /// Why not.
        reason: String,
    },
    /// Have the spawner remember the attempt, and serve its launches.
    Hold(Arc<Kept>),
    /// Serve the launches of an attempt that the spawner remembers.
    Serve(Arc<Kept>),
    /// Prepare and have the spawner start the task's command.
    Start(Arc<Kept>),
    /// To the spawner.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Until the kill.
        grace: Millis,
    },
    /// To the spawner.
    Release {
        /// Which.
        attempt: AttemptId,
    },
    /// To the spawner: the head node has the report.
    Forget {
        /// Which.
        attempt: AttemptId,
    },
    /// Serve the attempt's launches no longer.
    Close {
        /// Which.
        attempt: AttemptId,
    },
    /// Say hello to the head node anew: another spawner, another life.
    HelloAgain,
}

/// What this node holds.
#[derive(Debug)]
pub struct Supervisor {
    node: NodeId,
    name: NodeName,
    boot: Option<BootId>,
    cores: Cores,
    attempts: BTreeMap<AttemptId, Held>,
    outbox: Outbox,
}

#[derive(Debug)]
struct Held {
    /// None for what only an exit record tells of, and for a release of something unknown.
    kept: Option<Arc<Kept>>,
    phase: Phase,
    /// A stop that was ordered, to be repeated to a spawner that may not have heard it.
    stop: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Member,
    Starting,
    Running { started_at: Timestamp },
    Ended,
    Releasing,
}

/// Reports on their way, in order.
#[derive(Debug, Default)]
struct Outbox {
    last_number: u64,
    waiting: VecDeque<Report>,
    sent: VecDeque<(u64, Vec<Report>)>,
    /// Whether the head node has answered our hello.
    greeted: bool,
}

impl Supervisor {
    /// Holds nothing yet. `cores` are those that tasks may use.
    #[must_use]
    pub fn new(node: NodeId, name: NodeName, cores: Vec<u32>) -> Self {
        Self {
            node,
            name,
            boot: None,
            cores: Cores::new(cores),
            attempts: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    /// The life of the spawner, once it was heard of.
    #[must_use]
    pub const fn boot(&self) -> Option<BootId> {
        self.boot
    }

    /// For the hello.
    #[must_use]
    pub fn held(&self) -> Vec<HeldAttempt> {
        let state = |phase| match phase {
            Phase::Member | Phase::Starting | Phase::Releasing => HeldState::Waiting,
            Phase::Running { started_at } => HeldState::Running { started_at },
            Phase::Ended => HeldState::Ended,
        };
        self.attempts
            .iter()
            .map(|(attempt, held)| HeldAttempt {
                attempt: *attempt,
                state: state(held.phase),
            })
            .collect()
    }

    /// The attempt, while processes may be started for it.
    #[must_use]
    pub fn alive(&self, attempt: AttemptId) -> Option<&Arc<Kept>> {
        let held = self.attempts.get(&attempt)?;
        let alive =
            matches!(held.phase, Phase::Member | Phase::Starting | Phase::Running { .. }) && held.stop.is_none();
        held.kept.as_ref().filter(|_| alive)
    }

    // --- the head node ---

    /// A connection to the head node ended, or begins with a hello: nothing is sent until it answers.
    pub fn ungreeted(&mut self) {
        self.outbox.greeted = false;
    }

    /// The head node answered the hello: what was sent before is sent once more.
    pub fn greeted(&mut self) -> Vec<NodeMessage> {
        self.outbox.greeted = true;
        let again = |(number, reports): &(u64, Vec<Report>)| NodeMessage::Reports {
            number: *number,
            reports: reports.clone(),
        };
        self.outbox.sent.iter().map(again).collect()
    }

    /// Whether all that waits to be told is that tasks have begun. That may wait a moment: a short task's end then goes
    /// with it, in one message and one commit of the head node.
    #[must_use]
    pub fn tells_only_starts(&self) -> bool {
        !self.outbox.waiting.is_empty()
            && self
                .outbox
                .waiting
                .iter()
                .all(|report| matches!(report, Report::Started { .. }))
    }

    /// The next reports to send; none while there is nothing or nobody listens.
    pub fn next_reports(&mut self) -> Option<NodeMessage> {
        let outbox = &mut self.outbox;
        if !outbox.greeted || outbox.waiting.is_empty() {
            return None;
        }
        let count = outbox.waiting.len().min(MAX_REPORTS);
        let reports: Vec<Report> = outbox.waiting.drain(..count).collect();
        outbox.last_number += 1;
        outbox.sent.push_back((outbox.last_number, reports.clone()));
        Some(NodeMessage::Reports {
            number: outbox.last_number,
            reports,
        })
    }

    /// The head node has the reports up to this number.
    pub fn taken(&mut self, number: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some((sent, _)) = self.outbox.sent.front()
            && *sent <= number
        {
            let Some((_, reports)) = self.outbox.sent.pop_front() else {
                break;
            };
            for report in reports {
                if let Report::Ended { attempt, .. } = report
                    && self
                        .attempts
                        .get(&attempt)
                        .is_some_and(|held| held.phase == Phase::Ended)
                {
                    self.attempts.remove(&attempt);
                    commands.push(Command::Forget { attempt });
                }
            }
        }
        commands
    }

    /// The head node wants something.
    pub fn order(&mut self, order: Order, now: Timestamp) -> Vec<Command> {
        match order {
            Order::Start(order) => self.start(*order, now),
            Order::Stop { attempt, grace } => self.stop(attempt, grace, now),
            Order::Release { attempt } => {
                let held = self.attempts.entry(attempt).or_insert(Held {
                    kept: None,
                    phase: Phase::Releasing,
                    stop: None,
                });
                held.phase = Phase::Releasing;
                vec![Command::Close { attempt }, Command::Release { attempt }]
            }
            Order::Unknown => Vec::new(),
        }
    }

    fn start(&mut self, order: StartOrder, now: Timestamp) -> Vec<Command> {
        let attempt = order.attempt;
        if self.attempts.contains_key(&attempt) {
            return Vec::new();
        }
        let here = order
            .nodes
            .iter()
            .find(|share| share.node == self.node)
            .map(|share| share.slots);
        let (refusal, slots) = match here {
            None => (Some("the head node sent it to the wrong node".to_owned()), 0),
            Some(_) if self.attempts.len() >= MAX_ATTEMPTS => {
                (Some(format!("it holds {MAX_ATTEMPTS} attempts already")), 0)
            }
            Some(slots) => (None, slots),
        };
        let core_ids = self.cores.take(slots);
        let kept = Arc::new(Kept { order, core_ids });
        let primary = kept.is_primary(self.node);
        let phase = if primary { Phase::Starting } else { Phase::Member };
        self.attempts.insert(
            attempt,
            Held {
                kept: Some(Arc::clone(&kept)),
                phase,
                stop: None,
            },
        );
        match refusal {
            // Nobody else has heard of it.
            Some(reason) => self.ended(attempt, None, AttemptOutcome::NotStarted { reason }, now),
            None if primary => vec![Command::Hold(Arc::clone(&kept)), Command::Start(kept)],
            None => vec![Command::Hold(kept)],
        }
    }

    fn stop(&mut self, attempt: AttemptId, grace: Millis, now: Timestamp) -> Vec<Command> {
        match self.attempts.get_mut(&attempt) {
            Some(held) if matches!(held.phase, Phase::Starting | Phase::Running { .. }) => {
                held.stop = Some(held.stop.map_or(grace, |earlier| earlier.min(grace)));
                vec![Command::Stop { attempt, grace }]
            }
            Some(_) => Vec::new(),
            // Its start never came here; the head node still waits for the end.
            None => {
                self.attempts.insert(
                    attempt,
                    Held {
                        kept: None,
                        phase: Phase::Ended,
                        stop: None,
                    },
                );
                self.outbox.waiting.push_back(Report::Ended {
                    attempt,
                    outcome: AttemptOutcome::Stopped,
                    at: now,
                });
                Vec::new()
            }
        }
    }

    // --- the shell ---

    /// The command could not be prepared.
    pub fn not_started(&mut self, attempt: AttemptId, reason: &str, now: Timestamp) -> Vec<Command> {
        let outcome = AttemptOutcome::NotStarted {
            reason: reason.to_owned(),
        };
        match self.attempts.get(&attempt).map(|held| held.phase) {
            Some(Phase::Starting | Phase::Member) => {
                let mut commands = self.ended(attempt, None, outcome, now);
                // It was held before; another agent would start it.
                commands.push(Command::Refuse {
                    attempt,
                    reason: reason.to_owned(),
                });
                commands
            }
            _ => Vec::new(),
        }
    }

    // --- the spawner ---

    /// A spawner answered: everything that it holds, against what we think that it holds.
    pub fn spawner_back(
        &mut self,
        boot: BootId,
        held: Vec<(AttemptId, Vec<u8>, KeptState)>,
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
        for (attempt, kept, state) in held {
            absent.retain(|ours| *ours != attempt);
            if self.attempts.contains_key(&attempt) {
                commands.extend(self.compare(attempt, state, now));
            } else {
                commands.extend(self.adopt(attempt, &kept, state, now));
            }
        }
        for attempt in absent {
            commands.extend(self.repeat(attempt, now));
        }
        commands
    }

    /// The spawner says something.
    pub fn spawner(&mut self, message: FromSpawner, now: Timestamp) -> Vec<Command> {
        match message {
            FromSpawner::Started { attempt, at } => self.running(attempt, at),
            FromSpawner::Ended(record) => self.record(record, now),
            FromSpawner::Released { attempt } => {
                if let Some(held) = self.attempts.remove(&attempt) {
                    self.free_cores(&held);
                }
                self.outbox.waiting.push_back(Report::Released { attempt });
                Vec::new()
            }
            FromSpawner::Welcome { .. }
            | FromSpawner::Held { .. }
            | FromSpawner::HeldAll
            | FromSpawner::Proxy { .. }
            | FromSpawner::Unknown => Vec::new(),
        }
    }

    fn running(&mut self, attempt: AttemptId, at: Timestamp) -> Vec<Command> {
        if let Some(held) = self.attempts.get_mut(&attempt)
            && held.phase == Phase::Starting
        {
            held.phase = Phase::Running { started_at: at };
            self.outbox.waiting.push_back(Report::Started { attempt, at });
        }
        Vec::new()
    }

    fn record(&mut self, record: ExitRecord, now: Timestamp) -> Vec<Command> {
        let ExitRecord {
            attempt,
            started_at,
            ended_at,
            outcome,
            ..
        } = record;
        match self.attempts.get(&attempt).map(|held| held.phase) {
            Some(Phase::Starting | Phase::Member | Phase::Running { .. }) => {
                self.ended(attempt, started_at, outcome, ended_at)
            }
            Some(Phase::Ended | Phase::Releasing) => Vec::new(),
            None => self.adopt(
                attempt,
                &[],
                KeptState::Ended(ExitRecord {
                    attempt,
                    started_at,
                    ended_at,
                    outcome,
                    boot: record.boot,
                }),
                now,
            ),
        }
    }

    fn ended(
        &mut self,
        attempt: AttemptId,
        started_at: Option<Timestamp>,
        outcome: AttemptOutcome,
        at: Timestamp,
    ) -> Vec<Command> {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut held.phase, Phase::Ended);
        if let (Phase::Starting, Some(at)) = (before, started_at) {
            self.outbox.waiting.push_back(Report::Started { attempt, at });
        }
        let outcome = match outcome {
            AttemptOutcome::NotStarted { reason } => AttemptOutcome::NotStarted {
                reason: format!("node {}: {reason}", self.name),
            },
            other => other,
        };
        self.outbox.waiting.push_back(Report::Ended { attempt, outcome, at });
        if let Some(kept) = &held.kept {
            self.cores.free(&kept.core_ids);
        }
        vec![Command::Close { attempt }]
    }

    /// The spawner knows an attempt that we know too.
    fn compare(&mut self, attempt: AttemptId, state: KeptState, now: Timestamp) -> Vec<Command> {
        let Some(held) = self.attempts.get(&attempt) else {
            return Vec::new();
        };
        let stop = held.stop.map(|grace| Command::Stop { attempt, grace });
        match (held.phase, state) {
            (Phase::Releasing, _) => vec![Command::Release { attempt }],
            (Phase::Starting | Phase::Member | Phase::Running { .. }, KeptState::Ended(record)) => {
                self.record(record, now)
            }
            // What was to close it was lost with the line.
            (Phase::Ended, KeptState::Waiting) => vec![Command::Stop {
                attempt,
                grace: Millis(0),
            }],
            (Phase::Starting, KeptState::Waiting) => {
                held.kept.clone().map(Command::Start).into_iter().chain(stop).collect()
            }
            (Phase::Starting, KeptState::Running { started_at }) => {
                let mut commands = self.running(attempt, started_at);
                commands.extend(stop);
                commands
            }
            _ => stop.into_iter().collect(),
        }
    }

    /// The spawner knows an attempt from an agent before this one.
    fn adopt(&mut self, attempt: AttemptId, kept: &[u8], state: KeptState, now: Timestamp) -> Vec<Command> {
        let kept = Kept::of_bytes(kept).map(Arc::new);
        let primary = kept.as_ref().is_some_and(|kept| kept.is_primary(self.node));
        if let (Some(kept), false) = (&kept, matches!(state, KeptState::Ended(_))) {
            self.cores.mark(&kept.core_ids);
        }
        let phase = match &state {
            KeptState::Running { started_at } => Phase::Running {
                started_at: *started_at,
            },
            KeptState::Waiting if !primary => Phase::Member,
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
            (KeptState::Waiting, None) => {
                let reason = "an agent of another release held it and it never started".to_owned();
                let outcome = AttemptOutcome::NodeLost {
                    node: self.node,
                    reason,
                };
                self.ended(attempt, None, outcome, now)
            }
            (_, None) => Vec::new(),
            // It was held and not started: the agent ended in between.
            (KeptState::Waiting, Some(kept)) if primary => {
                vec![Command::Serve(Arc::clone(&kept)), Command::Start(kept)]
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
            (Phase::Ended, _) => Vec::new(),
            (Phase::Releasing, _) => vec![Command::Release { attempt }],
            (Phase::Member, Some(kept)) => vec![Command::Hold(kept)],
            (Phase::Starting, Some(kept)) => {
                let stop = stop.map(|grace| Command::Stop { attempt, grace });
                [Command::Hold(Arc::clone(&kept)), Command::Start(kept)]
                    .into_iter()
                    .chain(stop)
                    .collect()
            }
            (Phase::Running { .. }, _) | (_, None) => {
                let reason = "its task keeper does not know it any more".to_owned();
                let outcome = AttemptOutcome::NodeLost {
                    node: self.node,
                    reason,
                };
                self.ended(attempt, None, outcome, now)
            }
        }
    }

    fn free_cores(&mut self, held: &Held) {
        if let (Some(kept), false) = (&held.kept, held.phase == Phase::Ended) {
            self.cores.free(&kept.core_ids);
        }
    }
}

#[cfg(test)]
mod tests;
