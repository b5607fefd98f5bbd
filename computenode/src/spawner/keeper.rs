//! What the spawner knows: its attempts, their processes, and what is to become of them.
//!
//! One owner behind one lock, changed by short calls from the threads around it; none of them waits or walks through
//! processes while it holds the lock. Files written under it are exit records, on the node's own disk.
//! An attempt's end is told only when none of its processes is left: then its slots are free.

mod coordination;
mod starting;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::ids::{AttemptId, BootId};
use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};

use crate::spawner::attempt::{Attempt, Coordination, Ending, Measure, Root};
use crate::spawner::clock::{BootTime, wall_clock};
use crate::spawner::message::{ExitRecord, FromSpawner, MAX_ATTEMPTS, Part, Role, SpawnOrder, ToSpawner};
use crate::spawner::processes::{Adopted, Roots};
use crate::spawner::record::Records;
use starting::Flight;

/// The most messages that wait for an agent; one that reads so slowly is cut off and gets everything at its return.
const MAX_OUTGOING: usize = 4 * MAX_ATTEMPTS;

/// All that the spawner knows.
#[derive(Debug)]
pub(super) struct Keeper {
    boot: BootId,
    records: Records,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Processes that were started and not reaped.
    children: BTreeMap<i32, Child>,
    /// Children that are being cloned.
    in_flight: Vec<Flight>,
    /// Children that were reaped before their clone returned.
    early: Vec<(i32, Ended)>,
    adopted: Adopted,
    /// Counts clones, so that a look at the processes can tell whether one began meanwhile.
    clones: u64,
    lease_until: Option<BootTime>,
    queue: VecDeque<SpawnOrder>,
    /// What waits for a slot that ends here, first come first served.
    window: VecDeque<SpawnOrder>,
    agent: Option<AgentLine>,
    /// Some of the queue may not be started any more.
    queue_is_stale: bool,
    /// Told to end everything.
    leaving: bool,
    /// A look for what an ended attempt may have left is due then.
    late_look: Option<BootTime>,
    /// Something changed that the one who ends attempts should see at once.
    ender_wanted: bool,
}

/// The connection to the agent.
#[derive(Debug)]
struct AgentLine {
    generation: u64,
    outgoing: VecDeque<FromSpawner>,
    /// Whether the agent has something to do about any of it.
    urgent: bool,
    /// Whether its writer has seen that there is something, and waits for more.
    gathering: bool,
}

/// What there is to tell the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    None,
    MayWait,
    Urgent,
}

impl AgentLine {
    fn push(&mut self, message: FromSpawner) {
        self.urgent |= match &message {
            FromSpawner::Started { .. } => false,
            FromSpawner::Ended(record) => record.then.is_none(),
            _ => true,
        };
        self.outgoing.push_back(message);
    }

    fn take(&mut self) -> VecDeque<FromSpawner> {
        (self.urgent, self.gathering) = (false, false);
        std::mem::take(&mut self.outgoing)
    }

    /// For its writer, which gathers when that may wait.
    fn news(&mut self) -> News {
        match self.urgent {
            true => News::Urgent,
            false if self.outgoing.is_empty() => News::None,
            false => {
                self.gathering = true;
                News::MayWait
            }
        }
    }

    /// Whether its writer has to be woken: not when it gathers already.
    fn wakes(&self) -> bool {
        self.urgent || !(self.outgoing.is_empty() || self.gathering)
    }
}

#[derive(Debug)]
struct Child {
    attempt: AttemptId,
    role: Role,
}

/// How a process ended, as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
}

impl Ended {
    const fn outcome(self) -> AttemptOutcome {
        match self {
            Self::Exited(code) => AttemptOutcome::Exited { code },
            Self::Signaled(signal) => AttemptOutcome::Signaled { signal },
        }
    }
}

/// What a look at the processes has to know, and what to do then.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) measures: BTreeMap<AttemptId, Measure>,
    pub(super) roots: Roots,
    /// Whether what cannot be attributed may be killed.
    pub(super) strays: bool,
    /// Attempts whose processes may live; marked processes of any other are killed.
    pub(super) known: BTreeSet<AttemptId>,
    clones: u64,
}

/// Which threads to wake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) starter: bool,
    pub(super) writer: bool,
    pub(super) ender: bool,
}

/// When the one who ends attempts has to look next.
#[derive(Debug)]
pub(super) enum Due {
    Now(Rounds),
    At(Option<BootTime>),
}

impl Keeper {
    pub(super) fn new(boot: BootId, records: Records, ended: Vec<ExitRecord>) -> Self {
        let attempts = ended
            .into_iter()
            .map(|record| (record.attempt, Attempt::of_record(record)))
            .collect();
        Self {
            boot,
            records,
            attempts,
            children: BTreeMap::new(),
            in_flight: Vec::new(),
            early: Vec::new(),
            adopted: Adopted::open(),
            clones: 0,
            lease_until: None,
            queue: VecDeque::new(),
            window: VecDeque::new(),
            queue_is_stale: false,
            agent: None,
            leaving: false,
            late_look: None,
            ender_wanted: false,
        }
    }

    pub(super) const fn boot(&self) -> BootId {
        self.boot
    }

    // --- the agent ---

    /// An agent said hello: it gets everything; what waits for an older one is superseded.
    pub(super) fn attach(&mut self, generation: u64) {
        let mut outgoing = VecDeque::from([FromSpawner::Welcome {
            version: transport::control::spoken(),
            boot: self.boot,
        }]);
        outgoing.extend(self.attempts.iter().map(|(attempt, held)| FromSpawner::Held {
            attempt: *attempt,
            kept: held.kept.clone(),
            state: held.state(),
            cores: held.slot.clone().unwrap_or_default(),
        }));
        outgoing.push_back(FromSpawner::HeldAll);
        self.agent = Some(AgentLine {
            generation,
            outgoing,
            urgent: true,
            gathering: false,
        });
    }

    pub(super) fn detach(&mut self, generation: u64) {
        if self.agent.as_ref().is_some_and(|line| line.generation == generation) {
            self.agent = None;
        }
    }

    /// What waits for the agent; none when its connection is not the one that counts.
    pub(super) fn outgoing(&mut self, generation: u64) -> Option<VecDeque<FromSpawner>> {
        let line = self.agent.as_mut().filter(|line| line.generation == generation)?;
        Some(line.take())
    }

    /// Whether something waits for the agent, and whether all of that may wait a moment for more: nobody has anything to do
    /// about a start, nor about an end of which the slot is in use again. None when the connection is not the one that counts.
    pub(super) fn has_news(&mut self, generation: u64) -> Option<News> {
        let line = self.agent.as_mut().filter(|line| line.generation == generation)?;
        Some(line.news())
    }

    fn tell(&mut self, message: FromSpawner) {
        if let Some(line) = &mut self.agent {
            line.push(message);
            if line.outgoing.len() > MAX_OUTGOING {
                tracing::warn!("the agent does not read: its connection is closed");
                self.agent = None;
            }
        }
    }

    pub(super) fn handle(&mut self, message: ToSpawner) {
        match message {
            ToSpawner::Hold {
                attempt,
                kept,
                rerunnable,
                kill_grace,
            } => self.hold(attempt, kept, rerunnable, kill_grace),
            ToSpawner::Start { order } => match SpawnOrder::of_bytes(&order) {
                Ok(order) => self.order(order),
                Err(error) => tracing::error!("a start cannot be read: {:#}", anyhow::Error::new(error)),
            },
            ToSpawner::Advance { attempt, cores } => self.advance(attempt, cores),
            ToSpawner::Recall { attempt } => self.recall(attempt),
            ToSpawner::Refuse { attempt, reason } => self.refuse(attempt, reason),
            ToSpawner::Stop { attempt, grace } => self.stop(attempt, AttemptOutcome::Stopped, grace),
            ToSpawner::Release { attempt } => self.release(attempt),
            ToSpawner::Forget { attempt } => self.forget(attempt),
            ToSpawner::Lease { until } => self.lease_until = Some(until),
            ToSpawner::Hello { .. } | ToSpawner::Unknown => {}
        }
    }

    fn hold(&mut self, attempt: AttemptId, kept: Vec<u8>, rerunnable: bool, kill_grace: Millis) {
        if !self.leaving && self.attempts.len() < MAX_ATTEMPTS {
            self.attempts
                .entry(attempt)
                .or_insert_with(|| Attempt::new(kept, rerunnable, kill_grace));
        }
    }

    fn order(&mut self, order: SpawnOrder) {
        if self.leaving {
            return;
        }
        let attempt = order.attempt;
        let fenced = self.is_fenced(BootTime::now());
        if order.role == Role::Coordination {
            return self.order_coordination(order, fenced);
        }
        let refused = match (order.role, self.attempts.get_mut(&attempt)) {
            (
                Role::Root,
                Some(Attempt {
                    root: root @ Root::Waiting,
                    ending: None,
                    release: false,
                    rerunnable,
                    user,
                    coordination,
                    slot,
                    ..
                }),
            ) => {
                if (fenced && *rerunnable) || *coordination == Coordination::Fenced {
                    return self.leave(attempt, None, AttemptOutcome::Fenced);
                }
                if order.ahead {
                    *root = Root::Ahead;
                    return self.window.push_back(order);
                }
                *root = Root::Starting;
                *slot = order.single.then(|| order.cores.clone());
                *user = order.credentials.as_ref().map(|user| user.uid);
                None
            }
            // Known already, or ended before it began: that is told elsewhere.
            (Role::Root | Role::Coordination, Some(_)) => return,
            (Role::Root | Role::Coordination, None) => {
                return self.end_unknown(
                    attempt,
                    format!("the node holds {MAX_ATTEMPTS} attempts and takes no more"),
                );
            }
            (Role::Proxy { .. }, Some(held)) if held.takes_proxies() && !(fenced && held.rerunnable) => {
                held.starting_proxies += 1;
                held.user = order.credentials.as_ref().map(|user| user.uid);
                None
            }
            (Role::Proxy { .. }, _) => Some("the allocation is being given back".to_owned()),
        };
        match (order.role, refused) {
            (Role::Proxy { launch }, refused @ Some(_)) => self.tell(FromSpawner::Proxy {
                attempt,
                launch,
                refused,
            }),
            _ => self.queue.push_back(order),
        }
    }

    /// Whether the lease is over: what may be started elsewhere must not run here.
    fn is_fenced(&self, now: BootTime) -> bool {
        self.lease_until.is_some_and(|until| until <= now)
    }

    fn end_unknown(&mut self, attempt: AttemptId, reason: String) {
        let outcome = AttemptOutcome::NotStarted { reason };
        let record = ExitRecord {
            attempt,
            boot: self.boot,
            started_at: None,
            ended_at: wall_clock(),
            outcome,
            part: Part::Program,
            then: None,
        };
        self.tell(FromSpawner::Ended(record));
    }

    fn stop(&mut self, attempt: AttemptId, outcome: AttemptOutcome, grace: Millis) {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return;
        };
        if matches!(held.root, Root::Reported(_)) {
            return;
        }
        let kill_at = BootTime::now() + grace;
        match &mut held.ending {
            // A second stop may only make it sooner.
            Some(ending) => ending.kill_at = ending.kill_at.min(kill_at),
            None => {
                held.ending = Some(Ending {
                    outcome,
                    asked: false,
                    kill_at,
                })
            }
        }
        self.ender_wanted = true;
        self.queue_is_stale = true;
        if matches!(held.root, Root::Waiting | Root::Ahead) {
            self.leave_window(attempt);
            self.leave(attempt, None, AttemptOutcome::Stopped);
        }
    }

    /// The agent cannot prepare its program.
    fn refuse(&mut self, attempt: AttemptId, reason: String) {
        if self
            .attempts
            .get(&attempt)
            .is_some_and(|held| matches!(held.root, Root::Waiting))
        {
            self.leave(attempt, None, AttemptOutcome::NotStarted { reason });
        }
    }

    fn release(&mut self, attempt: AttemptId) {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return self.tell(FromSpawner::Released { attempt });
        };
        held.release = true;
        self.ender_wanted = true;
        self.queue_is_stale = true;
        let now = BootTime::now();
        match &mut held.ending {
            Some(ending) => ending.kill_at = now,
            None => {
                held.ending = Some(Ending {
                    outcome: AttemptOutcome::Stopped,
                    asked: true,
                    kill_at: now,
                })
            }
        }
        self.leave_window(attempt);
        self.finish_if_bare(attempt);
    }

    fn forget(&mut self, attempt: AttemptId) {
        let over = |held: &Attempt| match held.root {
            Root::Reported(_) => true,
            // Never came to a start, by the agent's own decision.
            Root::Waiting => held.starting_proxies == 0 && held.part() == Part::Program,
            Root::Ahead | Root::Starting | Root::Running { .. } | Root::Left(_) => false,
        };
        if self.attempts.get(&attempt).is_some_and(over) && !self.has_children(attempt) {
            self.attempts.remove(&attempt);
            self.records.remove(attempt);
        }
    }

    // --- ending ---

    /// A child was reaped.
    pub(super) fn exited(&mut self, pid: i32, ended: Ended) {
        let Some(child) = self.children.remove(&pid) else {
            if self.in_flight.iter().any(|flight| flight.is(pid)) {
                self.early.push((pid, ended));
            }
            return;
        };
        match (child.role, self.attempts.get(&child.attempt).map(|held| &held.root)) {
            (
                Role::Root,
                Some(Root::Running {
                    pid: root, started_at, ..
                }),
            ) if *root == pid => {
                let started_at = *started_at;
                self.leave(child.attempt, Some(started_at), ended.outcome());
            }
            (Role::Coordination, Some(Root::Waiting)) => self.coordination_exited(child.attempt, pid, ended),
            _ => self.finish_if_bare(child.attempt),
        }
    }

    /// The attempt's own program is over, or never was.
    fn leave(&mut self, attempt: AttemptId, started_at: Option<Timestamp>, outcome: AttemptOutcome) {
        let boot = self.boot;
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let outcome = match (&held.ending, outcome) {
            // That it could not be started says more than that it was to be stopped.
            (_, outcome @ AttemptOutcome::NotStarted { .. }) | (None, outcome) => outcome,
            (Some(ending), _) => ending.outcome.clone(),
        };
        held.root = Root::Left(ExitRecord {
            attempt,
            boot,
            started_at,
            ended_at: wall_clock(),
            outcome,
            part: held.part(),
            then: None,
        });
        self.finish_if_bare(attempt);
    }

    /// The quick way to the end, without a walk through all processes: when the spawner has no child that it did not
    /// start itself, then nobody has left anything behind.
    fn finish_if_bare(&mut self, attempt: AttemptId) {
        if !self.is_ending(attempt) {
            return;
        }
        if !self.has_children(attempt) && self.no_orphans() {
            self.finish(attempt);
        } else {
            self.ender_wanted = true;
        }
    }

    fn is_ending(&self, attempt: AttemptId) -> bool {
        self.attempts.get(&attempt).is_some_and(|held| match held.root {
            Root::Left(_) => true,
            Root::Waiting | Root::Ahead | Root::Reported(_) => held.release,
            Root::Starting | Root::Running { .. } => false,
        })
    }

    fn has_children(&self, attempt: AttemptId) -> bool {
        self.attempts
            .get(&attempt)
            .is_some_and(|held| held.starting_proxies > 0 || held.coordination == Coordination::Starting)
            || self.children.values().any(|child| child.attempt == attempt)
    }

    fn no_orphans(&self) -> bool {
        let being_cloned = |pid: &i32| self.in_flight.iter().any(|flight| flight.is(*pid));
        self.adopted.pids().is_some_and(|children| {
            children
                .iter()
                .all(|pid| self.children.contains_key(pid) || being_cloned(pid))
        })
    }

    /// Nothing of the attempt runs any more.
    fn finish(&mut self, attempt: AttemptId) {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return;
        };
        self.late_look = Some(BootTime::now() + LATE_LOOK);
        if held.release {
            self.attempts.remove(&attempt);
            self.records.remove(attempt);
            return self.tell(FromSpawner::Released { attempt });
        }
        if let Root::Left(record) = &held.root {
            let mut record = record.clone();
            let slot = held.slot.take();
            record.then = slot.and_then(|cores| self.hand_over(cores));
            let Some(held) = self.attempts.get_mut(&attempt) else {
                return;
            };
            held.root = Root::Reported(record.clone());
            held.sessions.clear();
            // An agent needs nothing but the record now.
            held.kept = Vec::new();
            if let Err(error) = self.records.write(&record) {
                tracing::error!(%attempt, "{:#}", anyhow::Error::new(error));
            }
            self.tell(FromSpawner::Ended(record));
        }
    }

    // --- rounds of the one who ends attempts ---

    /// What is to be done about processes now, or when to ask again.
    pub(super) fn due(&mut self) -> Due {
        let now = BootTime::now();
        self.pass_deadlines(now);
        self.sweep_queue(now);
        let mut measures = BTreeMap::new();
        let mut next = earliest(self.late_look, self.end_flights(now));
        for (attempt, held) in &mut self.attempts {
            match held.measure(now) {
                Ok(measure) => drop(measures.insert(*attempt, measure)),
                Err(at) => next = earliest(next, at),
            }
            if held.may_run() && held.rerunnable && held.ending.is_none() {
                next = earliest(next, self.lease_until.filter(|until| *until > now));
            }
        }
        let late = self.late_look.is_some_and(|at| at <= now);
        if measures.is_empty() && !late {
            return Due::At(next);
        }
        if late {
            self.late_look = None;
        }
        Due::Now(Rounds {
            strays: self.may_end_strays(&measures),
            roots: self.roots(),
            known: self
                .attempts
                .iter()
                .filter(|(_, held)| held.may_run())
                .map(|(attempt, _)| *attempt)
                .collect(),
            clones: self.clones,
            measures,
        })
    }

    fn pass_deadlines(&mut self, now: BootTime) {
        let fenced = self.is_fenced(now);
        let mut passed = Vec::new();
        for (attempt, held) in &self.attempts {
            let fenced = fenced && held.rerunnable;
            let outcome = match &held.root {
                Root::Running {
                    limit: Some((limit, at)),
                    ..
                } if *at <= now => AttemptOutcome::TimedOut { limit: *limit },
                Root::Running { .. } | Root::Starting | Root::Left(_) if fenced => AttemptOutcome::Fenced,
                Root::Waiting if fenced && (self.has_children(*attempt) || held.coordination == Coordination::Done) => {
                    AttemptOutcome::Fenced
                }
                Root::Waiting => match held.coordination {
                    Coordination::Running {
                        limit: Some((limit, at)),
                        ..
                    } if at <= now => AttemptOutcome::TimedOut { limit },
                    _ => continue,
                },
                _ => continue,
            };
            passed.push((*attempt, outcome));
        }
        for (attempt, outcome) in passed {
            let Some(held) = self.attempts.get_mut(&attempt) else {
                continue;
            };
            let kill_at = now + held.kill_grace;
            // A share without a program of its own loses what runs of it and is held on: its end is the primary's to tell.
            if matches!(held.root, Root::Waiting) && outcome == AttemptOutcome::Fenced {
                held.coordination.fence();
            }
            match &mut held.ending {
                // A stop with a long grace ends no later than it would have without.
                Some(ending) => ending.kill_at = ending.kill_at.min(kill_at),
                None if matches!(held.root, Root::Left(_)) => {}
                None => {
                    tracing::info!(%attempt, ?outcome, "the attempt is ended");
                    held.ending = Some(Ending {
                        outcome,
                        asked: false,
                        kill_at,
                    });
                }
            }
        }
    }

    /// Strays belong to whoever is left: they go when no attempt runs that could own them.
    fn may_end_strays(&self, measures: &BTreeMap<AttemptId, Measure>) -> bool {
        let over =
            |(attempt, held): (&AttemptId, &Attempt)| !held.may_run() || measures.get(attempt) == Some(&Measure::Kill);
        self.in_flight.is_empty() && self.attempts.iter().all(over)
    }

    fn roots(&self) -> Roots {
        let sessions = self
            .attempts
            .iter()
            .flat_map(|(attempt, held)| held.sessions.iter().map(|sid| (*sid, *attempt)));
        Roots {
            started: self.children.iter().map(|(pid, child)| (*pid, child.attempt)).collect(),
            sessions: sessions.collect(),
            users: self
                .attempts
                .iter()
                .filter(|(_, held)| held.may_run())
                .filter_map(|(attempt, held)| Some((*attempt, held.user?)))
                .collect(),
            boot: Some(self.boot),
        }
    }

    /// Whether strays seen in these rounds are strays: no clone began since, so none of them is a child of ours that
    /// has not become its program yet.
    pub(super) fn strays_are_sure(&self, rounds: &Rounds) -> bool {
        rounds.strays && rounds.clones == self.clones && self.in_flight.is_empty()
    }

    /// A look found nothing of these attempts; those that still have nothing are over.
    /// Returns how many.
    pub(super) fn found_bare(&mut self, attempts: &[AttemptId]) -> usize {
        let mut over = 0;
        for attempt in attempts {
            if self.has_children(*attempt) {
                continue;
            }
            over += 1;
            if self.is_ending(*attempt) {
                self.finish(*attempt);
            } else if let Some(held) = self
                .attempts
                .get_mut(attempt)
                .filter(|held| matches!(held.root, Root::Waiting))
            {
                held.ending = None;
            }
        }
        over
    }

    /// End everything: the node is shut down.
    pub(super) fn leave_all(&mut self, grace: Millis) {
        self.leaving = true;
        self.ender_wanted = true;
        let window = std::mem::take(&mut self.window);
        for order in std::mem::take(&mut self.queue).into_iter().chain(window) {
            match (order.role, self.attempts.get_mut(&order.attempt)) {
                (Role::Root, Some(held)) => held.root = Root::Waiting,
                (Role::Coordination, Some(held)) => held.coordination = Coordination::None,
                (Role::Proxy { .. }, Some(held)) => held.starting_proxies -= 1,
                (_, None) => {}
            }
        }
        let kill_at = BootTime::now() + grace;
        for held in self.attempts.values_mut().filter(|held| held.may_run()) {
            // One whose program is over still has its end to tell, and to write down.
            held.release |= !matches!(held.root, Root::Left(_));
            held.ending.get_or_insert(Ending {
                outcome: AttemptOutcome::Stopped,
                asked: false,
                kill_at,
            });
        }
    }

    /// Which of the waiting threads have something to do.
    pub(super) fn wanted(&mut self) -> Wanted {
        Wanted {
            starter: !self.queue.is_empty(),
            writer: self.agent.as_ref().is_none_or(AgentLine::wakes),
            ender: std::mem::take(&mut self.ender_wanted),
        }
    }

    /// Whether it was told to leave and nothing runs any more.
    pub(super) fn has_left(&self) -> bool {
        self.leaving
            && self.in_flight.is_empty()
            && self
                .attempts
                .values()
                .all(|held| matches!(held.root, Root::Reported(_)))
    }
}

/// After an attempt's end its leftovers are looked for once more, because `/proc` lists can miss a process.
const LATE_LOOK: Millis = Millis(1000);

fn earliest(one: Option<BootTime>, other: Option<BootTime>) -> Option<BootTime> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
