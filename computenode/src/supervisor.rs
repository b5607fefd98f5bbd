//! What this node holds, compared with what the head node wants: orders and the spawner's news in, commands out.
//!
//! Pure: no sockets, files or clock. Everything can come twice and in any order around a reconnect, on either side, so
//! every input says what is, not what changed: a known attempt is not started again, a release is answered known or
//! not, and reports are repeated until the head node has taken them.
//!
//! ```text
//!   Start --> Member ----------------------------------- Release --> Releasing --> (gone)
//!        '--> Starting --> Running --> Ended --taken--> (gone)
//!        '--> Ahead --a slot--> Starting
//!                '--Recall--> Recalled --> (gone), or as it was when it runs already
//! ```
//!
//! With a coordination command, which every node of the task runs first (`coordination.rs` here):
//!
//! ```text
//!   Start --> Coordinating --exited with 0--> Coordinated --Begin, on the primary--> Starting ...
//!                    '-------- else --------> Failing --its last words--> Ended
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proto::control::{HeldAttempt, HeldState, MAX_REPORTS, NodeMessage, Order, Report, StartOrder};
use proto::ids::{AttemptId, BootId, JobId, NodeId, NodeName};
use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};

use crate::kept::{Cores, Kept};
use crate::spawner::message::{ExitRecord, FromSpawner, KeptState, MAX_ATTEMPTS, Part};

mod coordination;
mod reunion;
mod window;

pub use coordination::Failed;

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
    /// Make the task's folder with the files that every node gets.
    Prepare(Arc<Kept>),
    /// Prepare and have the spawner start the task's coordination command.
    Coordinate(Arc<Kept>),
    /// A coordination command failed: look for its last words, and hand them to [`Supervisor::explained`].
    Explain {
        /// Whose.
        kept: Arc<Kept>,
        /// How.
        failed: Failed,
    },
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
    /// To the spawner: an attempt of the window gets a slot with these cores.
    Advance {
        /// Which.
        attempt: AttemptId,
        /// As the kernel counts them.
        cores: Vec<u32>,
    },
    /// To the spawner: an attempt of the window is wanted back.
    Recall {
        /// Which.
        attempt: AttemptId,
    },
    /// What was made for an attempt that was never started is not needed.
    Discard(Arc<Kept>),
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
    /// Start this node anew; what is against it goes to [`Supervisor::errand_refused`].
    Restart {
        /// From its image.
        reimage: bool,
    },
    /// Take away the folders of a job's ended attempts.
    ForgetJob {
        /// Which.
        job: JobId,
    },
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
    Coordinating(Turn),
    Coordinated,
    /// Its coordination command failed; its last words are being looked for.
    Failing,
    /// In the window.
    Ahead,
    /// In the window, and wanted back.
    Recalled,
    Starting,
    Running {
        started_at: Timestamp,
    },
    Ended,
    Releasing,
}

/// Whether the head node has said that the primary's command may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waits,
    Begun,
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
            Phase::Member
            | Phase::Coordinating(_)
            | Phase::Coordinated
            | Phase::Ahead
            | Phase::Recalled
            | Phase::Starting
            | Phase::Releasing => HeldState::Waiting,
            Phase::Running { started_at } => HeldState::Running { started_at },
            Phase::Failing | Phase::Ended => HeldState::Ended,
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
        let alive = match held.phase {
            Phase::Member
            | Phase::Coordinating(_)
            | Phase::Coordinated
            | Phase::Ahead
            | Phase::Starting
            | Phase::Running { .. } => held.stop.is_none(),
            Phase::Recalled | Phase::Failing | Phase::Ended | Phase::Releasing => false,
        };
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

    /// Whether what is to be told may wait a moment, because the head node has nothing to do about it: tasks that have
    /// begun, and ends of which the slot has gone to the next of the window. So a short task's start and end, and those of
    /// its neighbours, are one message and one commit.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.outbox.may_wait()
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
            Order::StartSteps { order, steps } => {
                let starts = steps.into_iter().map(|step| order.for_step(step));
                starts.flat_map(|order| self.start(order, now)).collect()
            }
            Order::Advance { attempt } => self.advance(attempt),
            Order::Recall { attempt } => self.recall(attempt),
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
            Order::Begin { attempt } => self.begin(attempt),
            Order::Restart { reimage } => vec![Command::Restart { reimage }],
            Order::ForgetJob { job } => vec![Command::ForgetJob { job }],
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
        let core_ids = if order.ahead {
            Vec::new()
        } else {
            self.cores.take(slots)
        };
        let kept = Arc::new(Kept { order, core_ids });
        let primary = kept.is_primary(self.node);
        let phase = match &kept.order.coordination {
            Some(_) => Phase::Coordinating(Turn::Waits),
            None if kept.order.ahead => Phase::Ahead,
            None if primary => Phase::Starting,
            None => Phase::Member,
        };
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
            None => [Command::Hold(Arc::clone(&kept))]
                .into_iter()
                .chain(first_step(phase, kept))
                .collect(),
        }
    }

    fn stop(&mut self, attempt: AttemptId, grace: Millis, now: Timestamp) -> Vec<Command> {
        match self.attempts.get_mut(&attempt) {
            Some(held) if has_program(held, self.node) => {
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
                    started_at: None,
                    then: None,
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
        let Some(held) = self.attempts.get(&attempt) else {
            return Vec::new();
        };
        let coordinates = held.kept.as_ref().is_some_and(|kept| kept.order.coordination.is_some());
        match held.phase {
            // What its coordination left behind is ended first: the spawner's record tells of it.
            Phase::Starting | Phase::Coordinating(_) if coordinates => vec![Command::Refuse {
                attempt,
                reason: reason.to_owned(),
            }],
            Phase::Ahead | Phase::Recalled | Phase::Starting | Phase::Member => {
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

    /// The spawner says something.
    pub fn spawner(&mut self, message: FromSpawner, now: Timestamp) -> Vec<Command> {
        match message {
            FromSpawner::Coordinated { attempt } => self.coordinated(attempt),
            FromSpawner::Started { attempt, at } => self.running(attempt, at),
            FromSpawner::Ended(record) => self.record(record, now),
            FromSpawner::Released { attempt } => {
                if let Some(held) = self.attempts.remove(&attempt) {
                    self.free_cores(&held);
                }
                self.outbox.waiting.push_back(Report::Released { attempt });
                Vec::new()
            }
            FromSpawner::Returned { attempt } => self.returned(attempt),
            FromSpawner::Welcome { .. }
            | FromSpawner::Held { .. }
            | FromSpawner::HeldAll
            | FromSpawner::Proxy { .. }
            | FromSpawner::Unknown => Vec::new(),
        }
    }

    fn running(&mut self, attempt: AttemptId, at: Timestamp) -> Vec<Command> {
        if let Some(held) = self.attempts.get_mut(&attempt)
            && matches!(held.phase, Phase::Starting | Phase::Ahead | Phase::Recalled)
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
            part,
            boot,
            then,
        } = record;
        match self.attempts.get(&attempt).map(|held| held.phase) {
            Some(
                Phase::Ahead
                | Phase::Recalled
                | Phase::Starting
                | Phase::Member
                | Phase::Coordinating(_)
                | Phase::Coordinated
                | Phase::Running { .. },
            ) => match part {
                Part::Program => {
                    let commands = self.ended(attempt, started_at, outcome, ended_at);
                    if let Some(next) = then {
                        self.hand_over(next);
                    }
                    commands
                }
                Part::Coordination => self.failing(Failed {
                    attempt,
                    outcome,
                    at: ended_at,
                }),
            },
            Some(Phase::Failing | Phase::Ended | Phase::Releasing) => Vec::new(),
            None => self.adopt(
                attempt,
                (&[], &[]),
                KeptState::Ended(ExitRecord {
                    attempt,
                    started_at,
                    ended_at,
                    outcome,
                    part,
                    boot,
                    then,
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
        let kept = held.kept.take();
        let outcome = match outcome {
            AttemptOutcome::NotStarted { reason } => AttemptOutcome::NotStarted {
                reason: format!("node {}: {reason}", self.name),
            },
            other => other,
        };
        // A start that was not told yet goes with the end.
        let untold = matches!(before, Phase::Starting | Phase::Ahead | Phase::Recalled);
        let taken_back = self.outbox.take_back_start(attempt);
        let started_at = started_at.filter(|_| untold).or(taken_back);
        self.outbox.waiting.push_back(Report::Ended {
            attempt,
            outcome,
            at,
            started_at,
            then: None,
        });
        // Taken, so that a release that follows does not free them again when they are somebody else's.
        if let Some(kept) = kept {
            self.cores.free(&kept.core_ids);
        }
        vec![Command::Close { attempt }]
    }

    /// The node cannot start anew as it was told.
    pub fn errand_refused(&mut self, reason: String) {
        self.outbox.waiting.push_back(Report::ErrandRefused { reason });
    }

    fn free_cores(&mut self, held: &Held) {
        if let (Some(kept), false) = (&held.kept, held.phase == Phase::Ended) {
            self.cores.free(&kept.core_ids);
        }
    }
}

/// What a held attempt needs done in that phase, besides being held.
fn first_step(phase: Phase, kept: Arc<Kept>) -> Option<Command> {
    match phase {
        Phase::Starting | Phase::Ahead => Some(Command::Start(kept)),
        Phase::Coordinating(_) => Some(Command::Coordinate(kept)),
        Phase::Member if !kept.order.common_files.is_empty() => Some(Command::Prepare(kept)),
        _ => None,
    }
}

/// Whether the attempt's own program runs here, or will: then a stop ends it, and the end is told.
fn has_program(held: &Held, node: NodeId) -> bool {
    match held.phase {
        Phase::Ahead | Phase::Recalled | Phase::Starting | Phase::Running { .. } => true,
        Phase::Coordinating(_) | Phase::Coordinated => held.kept.as_ref().is_some_and(|kept| kept.is_primary(node)),
        Phase::Member | Phase::Failing | Phase::Ended | Phase::Releasing => false,
    }
}

#[cfg(test)]
mod tests;
