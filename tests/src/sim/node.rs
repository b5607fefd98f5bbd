//! A simulated compute node: the real supervisor as its agent, and a spawner that keeps the real one's contract: it holds
//! what it was given across agents, starts, stops and reaps, ends what may be rerun with the fencing lease, and begins a
//! new life when it dies.
//!
//! A task's command is `work MS CODE`: it runs so long and exits so.

use std::collections::{BTreeMap, VecDeque};

use computenode::kept::Kept;
use computenode::spawner::message::{ExitRecord, FromSpawner, KeptState, Part};
use computenode::supervisor::{Command, Supervisor};
use headnode::round::LinkId;
use proto::control::{HeadMessage, Hello, NodeMessage, Timing};
use proto::frame::VERSION;
use proto::ids::{AttemptId, BootId, DomainName, KeyHash, NodeId, NodeName};
use proto::model::node::Inventory;
use proto::model::task::AttemptOutcome;
use proto::units::Millis;

use super::clock::{Clock, Time};
use super::rng::Rng;
use super::truth::Truth;

/// Cores of each node.
pub(super) const CORES: u32 = 4;

/// So many unanswered heartbeats mean that the connection is dead.
const MISSED: u64 = 3;

/// What happens on a node at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// The agent says that it is there, or dials.
    Beat { agent: u64 },
    /// A coordination command ends.
    Coordinates { attempt: AttemptId, boot: BootId },
    /// The node starts anew.
    Restarts { boot: BootId },
    /// A program starts.
    Starts { attempt: AttemptId, boot: BootId },
    /// A program ends by itself.
    Ends { attempt: AttemptId, boot: BootId },
    /// A program's grace is over.
    Kill { attempt: AttemptId, boot: BootId },
    /// The fencing lease may be over.
    Lease { boot: BootId },
    /// The agent is started again.
    AgentStarts,
}

/// What a node wants the world to do.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Later.
    pub(super) wakes: Vec<(Time, Wake)>,
    /// To the head node, by the present connection.
    pub(super) says: Vec<NodeMessage>,
    /// End the connection.
    pub(super) close: bool,
    /// Dial the head node.
    pub(super) dial: bool,
}

#[derive(Debug)]
struct Agent {
    /// Which start of the agent this is.
    life: u64,
    supervisor: Supervisor,
    link: Option<Link>,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    boot: BootId,
    hello_sent: Time,
    timing: Option<Timing>,
    last_beat: u64,
    unanswered: VecDeque<(u64, Time)>,
}

#[derive(Debug)]
struct Process {
    kept: Vec<u8>,
    rerunnable: bool,
    state: KeptState,
    /// How it will have ended, once it is being stopped.
    stopping: bool,
    code: i32,
    /// Whether its end hands a slot to the next of the window.
    hands_on: bool,
}

/// A compute node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) name: NodeName,
    pub(super) key: KeyHash,
    domain: DomainName,
    clock: Clock,
    rng: Rng,
    lives: u64,
    boots: u64,
    agent: Option<Agent>,
    boot: BootId,
    processes: BTreeMap<AttemptId, Process>,
    /// What waits for a slot here.
    window: VecDeque<AttemptId>,
    lease_until: Time,
}

impl Node {
    pub(super) fn new(id: NodeId, name: NodeName, key: KeyHash, domain: DomainName, rng: Rng) -> Self {
        let mut new = Self {
            id,
            name,
            key,
            domain,
            clock: Clock::new(0),
            rng,
            lives: 0,
            boots: 0,
            agent: None,
            boot: BootId(0),
            processes: BTreeMap::new(),
            window: VecDeque::new(),
            lease_until: 0,
        };
        new.boot = new.next_boot();
        new
    }

    fn next_boot(&mut self) -> BootId {
        self.boots += 1;
        BootId(u128::from(self.id.0) << 64 | u128::from(self.boots))
    }

    /// Its wall clock is set.
    pub(super) const fn jump(&mut self, by_ms: i64) {
        self.clock.jump(by_ms);
    }

    /// What it has.
    pub(super) fn inventory(&self) -> Inventory {
        Inventory {
            cores: CORES,
            core_ids: (0..CORES).collect(),
            sockets: 1,
            memory_bytes: 8 << 30,
            hostname: self.name.to_string(),
            domain: Some(self.domain.clone()),
            ..Inventory::default()
        }
    }

    // --- faults ---

    /// `kill -9` of the agent.
    pub(super) fn kill_agent(&mut self) -> Wants {
        let close = self.agent.take().is_some_and(|agent| agent.link.is_some());
        Wants {
            close,
            ..Wants::default()
        }
    }

    /// `kill -9` of the spawner: its processes are found and ended before another one takes its place.
    pub(super) fn kill_spawner(&mut self, now: Time, truth: &mut Truth) -> Wants {
        self.window.clear();
        for (attempt, _) in std::mem::take(&mut self.processes) {
            truth.ends(attempt, self.id, None, now);
        }
        self.boot = self.next_boot();
        self.lease_until = 0;
        let mut wants = Wants::default();
        self.meet_spawner(now, truth, &mut wants);
        wants
    }

    /// The agent begins, and compares with its spawner.
    pub(super) fn start_agent(&mut self, now: Time, truth: &mut Truth) -> Wants {
        let mut wants = Wants::default();
        if self.agent.is_some() {
            return wants;
        }
        self.lives += 1;
        self.agent = Some(Agent {
            life: self.lives,
            supervisor: Supervisor::new(self.id, self.name.clone(), (0..CORES).collect()),
            link: None,
        });
        self.meet_spawner(now, truth, &mut wants);
        wants.dial = true;
        wants.wakes.push((now + 1000, Wake::Beat { agent: self.lives }));
        wants
    }

    fn meet_spawner(&mut self, now: Time, truth: &mut Truth, wants: &mut Wants) {
        let wall = self.clock.wall(now);
        let held: Vec<_> = self
            .processes
            .iter()
            .map(|(attempt, process)| (*attempt, process.kept.clone(), process.state.clone(), Vec::new()))
            .collect();
        let boot = self.boot;
        if let Some(agent) = &mut self.agent {
            let commands = agent.supervisor.spawner_back(boot, held, wall);
            self.obey(commands, now, truth, wants);
        }
    }

    // --- the connection ---

    /// It is there: the hello goes first.
    pub(super) fn connected(&mut self, id: LinkId, now: Time) -> Wants {
        let mut wants = Wants::default();
        let inventory = self.inventory();
        let (clock, name) = (self.clock.wall(now), self.name.clone());
        let Some(agent) = &mut self.agent else {
            wants.close = true;
            return wants;
        };
        agent.supervisor.ungreeted();
        let Some(boot) = agent.supervisor.boot() else {
            wants.close = true;
            return wants;
        };
        wants.says.push(NodeMessage::Hello(Box::new(Hello {
            version: VERSION,
            name,
            boot,
            inventory,
            peer: ([127, 0, 0, 1], 4000).into(),
            held: agent.supervisor.held(),
            clock: Some(clock),
        })));
        agent.link = Some(Link {
            id,
            boot,
            hello_sent: now,
            timing: None,
            last_beat: 0,
            unanswered: VecDeque::new(),
        });
        wants
    }

    /// The life that the hello of a connection named.
    pub(super) fn boot_of_link(&self, id: LinkId) -> BootId {
        let link = self.agent.as_ref().and_then(|agent| agent.link.as_ref());
        link.filter(|link| link.id == id).map_or(BootId(0), |link| link.boot)
    }

    /// Whatever connection there is, it is gone.
    pub(super) fn lost_any(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.supervisor.ungreeted();
            agent.link = None;
        }
    }

    /// It is gone.
    pub(super) fn lost(&mut self, id: LinkId) {
        if let Some(agent) = &mut self.agent
            && agent.link.as_ref().is_some_and(|link| link.id == id)
        {
            agent.supervisor.ungreeted();
            agent.link = None;
        }
    }

    /// The head node says something.
    pub(super) fn hear(&mut self, message: HeadMessage, now: Time, truth: &mut Truth) -> Wants {
        let mut wants = Wants::default();
        let wall = self.clock.wall(now);
        let Some(agent) = &mut self.agent else { return wants };
        let Some(link) = &mut agent.link else { return wants };
        let mut commands = Vec::new();
        match message {
            HeadMessage::Welcome { timing, .. } => {
                link.timing = Some(timing);
                let until = link.hello_sent + timing.lease.0;
                wants.says.extend(agent.supervisor.greeted());
                self.renew(until, &mut wants);
            }
            HeadMessage::Refused { .. } | HeadMessage::Removed { .. } => wants.close = true,
            HeadMessage::Orders { orders } => {
                for order in orders {
                    commands.extend(agent.supervisor.order(order, wall));
                }
            }
            HeadMessage::ReportsTaken { number } => commands = agent.supervisor.taken(number),
            HeadMessage::HeartbeatTaken { number } => {
                let sent = link.unanswered.iter().find(|(sent, _)| *sent == number).copied();
                link.unanswered.retain(|(sent, _)| *sent > number);
                if let (Some((_, at)), Some(timing)) = (sent, link.timing) {
                    self.renew(at + timing.lease.0, &mut wants);
                }
            }
            HeadMessage::Renewed { .. } | HeadMessage::Unknown => {}
        }
        self.obey(commands, now, truth, &mut wants);
        self.tell(&mut wants);
        wants
    }

    fn renew(&mut self, until: Time, wants: &mut Wants) {
        self.lease_until = self.lease_until.max(until);
        wants.wakes.push((self.lease_until, Wake::Lease { boot: self.boot }));
    }

    fn tell(&mut self, wants: &mut Wants) {
        if let Some(agent) = &mut self.agent {
            while let Some(reports) = agent.supervisor.next_reports() {
                wants.says.push(reports);
            }
        }
    }

    // --- time ---

    /// Something was due.
    ///
    /// # Errors
    /// When a promise is broken.
    pub(super) fn wake(&mut self, wake: Wake, now: Time, truth: &mut Truth) -> Result<Wants, String> {
        let mut wants = Wants::default();
        match wake {
            Wake::Beat { agent } => self.beat(agent, now, &mut wants),
            Wake::AgentStarts => return Ok(self.start_agent(now, truth)),
            Wake::Coordinates { attempt, boot } if boot == self.boot => {
                self.coordinate(attempt, now, truth, &mut wants);
            }
            Wake::Restarts { boot } if boot == self.boot => return Ok(self.kill_spawner(now, truth)),
            Wake::Starts { attempt, boot } if boot == self.boot => self.begin(attempt, now, truth, &mut wants)?,
            Wake::Ends { attempt, boot } if boot == self.boot => {
                let process = self.processes.get(&attempt);
                let code = process.filter(|process| !process.stopping).map(|process| process.code);
                let outcome = code.map_or(AttemptOutcome::Stopped, |code| AttemptOutcome::Exited { code });
                self.finish(attempt, outcome, now, truth, &mut wants);
            }
            Wake::Kill { attempt, boot } if boot == self.boot => {
                self.finish(attempt, AttemptOutcome::Stopped, now, truth, &mut wants);
            }
            Wake::Lease { boot } if boot == self.boot && self.lease_until <= now => {
                let fenced: Vec<AttemptId> = self
                    .processes
                    .iter()
                    .filter(|(_, process)| process.rerunnable)
                    .map(|(attempt, _)| *attempt)
                    .collect();
                for attempt in fenced {
                    self.finish(attempt, AttemptOutcome::Fenced, now, truth, &mut wants);
                }
            }
            Wake::Coordinates { .. }
            | Wake::Restarts { .. }
            | Wake::Starts { .. }
            | Wake::Ends { .. }
            | Wake::Kill { .. }
            | Wake::Lease { .. } => {}
        }
        self.tell(&mut wants);
        Ok(wants)
    }

    fn beat(&mut self, life: u64, now: Time, wants: &mut Wants) {
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.life == life) else {
            return;
        };
        wants.wakes.push((now + 1000, Wake::Beat { agent: life }));
        let Some(link) = &mut agent.link else {
            wants.dial = true;
            return;
        };
        let silent = |since: Time| now.saturating_sub(since) > MISSED * 1000;
        match link.timing {
            Some(_) if link.unanswered.front().is_some_and(|(_, at)| silent(*at)) => wants.close = true,
            None if silent(link.hello_sent) => wants.close = true,
            Some(_) => {
                link.last_beat += 1;
                link.unanswered.push_back((link.last_beat, now));
                wants.says.push(NodeMessage::Heartbeat { number: link.last_beat });
            }
            None => {}
        }
    }

    // --- the spawner ---

    fn obey(&mut self, commands: Vec<Command>, now: Time, truth: &mut Truth, wants: &mut Wants) {
        for command in commands {
            match command {
                Command::Hold(kept) => {
                    self.processes.entry(kept.attempt()).or_insert_with(|| Process {
                        kept: kept.to_bytes(),
                        rerunnable: kept.order.rerunnable,
                        state: KeptState::Waiting,
                        stopping: false,
                        code: 0,
                        hands_on: false,
                    });
                }
                Command::Start(kept) => {
                    let attempt = kept.attempt();
                    if let Some(process) = self.processes.get_mut(&attempt)
                        && matches!(process.state, KeptState::Waiting | KeptState::Coordinated)
                    {
                        if kept.order.ahead {
                            process.state = KeptState::Ahead;
                            self.window.push_back(attempt);
                            continue;
                        }
                        process.hands_on = kept.order.single;
                        self.is_started(attempt, now, wants);
                    }
                }
                Command::Advance { attempt, .. } => {
                    if self.leaves_window(attempt) {
                        self.is_started(attempt, now, wants);
                    }
                }
                Command::Recall { attempt } => {
                    let waits = |process: &Process| matches!(process.state, KeptState::Ahead | KeptState::Waiting);
                    if self.processes.get(&attempt).is_none_or(waits) {
                        self.leaves_window(attempt);
                        self.processes.remove(&attempt);
                        self.news(FromSpawner::Returned { attempt }, now, truth, wants);
                    }
                }
                Command::Refuse { attempt, reason } => {
                    self.finish(attempt, AttemptOutcome::NotStarted { reason }, now, truth, wants);
                }
                Command::Stop { attempt, grace } => self.stop(attempt, grace, now, truth, wants),
                Command::Release { attempt } => {
                    truth.ends(attempt, self.id, None, now);
                    self.leaves_window(attempt);
                    self.processes.remove(&attempt);
                    self.news(FromSpawner::Released { attempt }, now, truth, wants);
                }
                Command::Forget { attempt } => {
                    let over = |process: &Process| matches!(process.state, KeptState::Ended(_));
                    if self.processes.get(&attempt).is_some_and(over) {
                        self.processes.remove(&attempt);
                    }
                }
                Command::HelloAgain => wants.close = true,
                Command::Coordinate(kept) => {
                    let attempt = kept.attempt();
                    if let Some(process) = self.processes.get_mut(&attempt)
                        && process.state == KeptState::Waiting
                    {
                        process.state = KeptState::Coordinating;
                        let at = now + self.rng.within(1, 40);
                        let boot = self.boot;
                        wants.wakes.push((at, Wake::Coordinates { attempt, boot }));
                    }
                }
                Command::Explain { failed, .. } => {
                    if let Some(agent) = &mut self.agent {
                        let commands = agent.supervisor.explained(failed, "no reason");
                        self.obey(commands, now, truth, wants);
                    }
                }
                Command::Restart { .. } => {
                    let boot = self.boot;
                    wants
                        .wakes
                        .push((now + self.rng.within(5, 500), Wake::Restarts { boot }));
                }
                Command::Serve(_)
                | Command::Prepare(_)
                | Command::Discard(_)
                | Command::Close { .. }
                | Command::ForgetJob { .. } => {}
            }
        }
    }

    fn is_started(&mut self, attempt: AttemptId, now: Time, wants: &mut Wants) {
        let (at, boot) = (now + self.rng.within(1, 5), self.boot);
        if let Some(process) = self.processes.get_mut(&attempt) {
            process.state = KeptState::Starting;
            wants.wakes.push((at, Wake::Starts { attempt, boot }));
        }
    }

    fn leaves_window(&mut self, attempt: AttemptId) -> bool {
        let at = self.window.iter().position(|waits| *waits == attempt);
        let process = self.processes.get_mut(&attempt);
        if let (Some(_), Some(process)) = (at, process) {
            process.hands_on = true;
        }
        at.and_then(|at| self.window.remove(at)).is_some()
    }

    /// The next of the window gets the slot of an attempt that ended.
    fn hand_over(&mut self, now: Time, wants: &mut Wants) -> Option<AttemptId> {
        if self.lease_until <= now {
            return None;
        }
        let next = *self.window.front()?;
        self.leaves_window(next);
        self.is_started(next, now, wants);
        Some(next)
    }

    /// More runs here than there are slots.
    fn expect_room(&self) -> Result<(), String> {
        let runs = self
            .processes
            .values()
            .filter(|process| matches!(process.state, KeptState::Running { .. }));
        let slots = runs
            .filter_map(|process| Kept::of_bytes(&process.kept))
            .flat_map(|kept| kept.order.nodes);
        let slots: u32 = slots
            .filter(|share| share.node == self.id)
            .map(|share| share.slots)
            .sum();
        if slots > CORES {
            return Err(format!(
                "node {} has {CORES} slots, and what runs there has {slots}",
                self.id
            ));
        }
        Ok(())
    }

    fn stop(&mut self, attempt: AttemptId, grace: Millis, now: Time, truth: &mut Truth, wants: &mut Wants) {
        let boot = self.boot;
        let Some(process) = self.processes.get_mut(&attempt) else {
            return;
        };
        match process.state {
            KeptState::Waiting
            | KeptState::Ahead
            | KeptState::Coordinating
            | KeptState::Coordinated
            | KeptState::Starting => {
                self.finish(attempt, AttemptOutcome::Stopped, now, truth, wants);
            }
            KeptState::Running { .. } => {
                process.stopping = true;
                // Some programs end when they are asked to, others do not.
                let at = if self.rng.percent(60) {
                    now + self.rng.within(0, grace.0.min(20))
                } else {
                    now + grace.0
                };
                wants.wakes.push((at, Wake::Kill { attempt, boot }));
            }
            KeptState::Ended(_) => {}
        }
    }

    fn coordinate(&mut self, attempt: AttemptId, now: Time, truth: &mut Truth, wants: &mut Wants) {
        let failed = self.rng.percent(8);
        let Some(process) = self.processes.get_mut(&attempt) else {
            return;
        };
        if process.state != KeptState::Coordinating {
            return;
        }
        if failed {
            return self.finish(attempt, AttemptOutcome::Exited { code: 1 }, now, truth, wants);
        }
        process.state = KeptState::Coordinated;
        self.news(FromSpawner::Coordinated { attempt }, now, truth, wants);
    }

    fn begin(&mut self, attempt: AttemptId, now: Time, truth: &mut Truth, wants: &mut Wants) -> Result<(), String> {
        let wall = self.clock.wall(now);
        let (id, boot) = (self.id, self.boot);
        let Some(process) = self.processes.get_mut(&attempt) else {
            return Ok(());
        };
        let Some(kept) = Kept::of_bytes(&process.kept).filter(|_| process.state == KeptState::Starting) else {
            return Ok(());
        };
        if self.rng.percent(1) {
            let reason = "no such program".to_owned();
            self.finish(attempt, AttemptOutcome::NotStarted { reason }, now, truth, wants);
            return Ok(());
        }
        let number = |index: usize| kept.order.command.get(index).and_then(|word| word.parse::<u64>().ok());
        process.code = number(2).and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
        process.state = KeptState::Running { started_at: wall };
        truth.starts(kept.order.task, attempt, id, now)?;
        let ends = now + number(1).unwrap_or(1);
        wants.wakes.push((ends, Wake::Ends { attempt, boot }));
        if let Some(limit) = kept.order.runtime_limit {
            wants.wakes.push((now + limit.0, Wake::Kill { attempt, boot }));
        }
        self.news(FromSpawner::Started { attempt, at: wall }, now, truth, wants);
        self.expect_room()
    }

    fn finish(&mut self, attempt: AttemptId, outcome: AttemptOutcome, now: Time, truth: &mut Truth, wants: &mut Wants) {
        let wall = self.clock.wall(now);
        let boot = self.boot;
        let Some(process) = self.processes.get_mut(&attempt) else {
            return;
        };
        let started_at = match process.state {
            KeptState::Running { started_at } => Some(started_at),
            KeptState::Waiting
            | KeptState::Ahead
            | KeptState::Coordinating
            | KeptState::Coordinated
            | KeptState::Starting => None,
            KeptState::Ended(_) => return,
        };
        let code = match outcome {
            AttemptOutcome::Exited { code } => Some(code),
            _ => None,
        };
        truth.ends(attempt, self.id, code, now);
        let part = match process.state {
            KeptState::Coordinating => Part::Coordination,
            _ => Part::Program,
        };
        let waited = process.state == KeptState::Ahead;
        let hands_on = std::mem::take(&mut process.hands_on);
        let record = ExitRecord {
            part,
            attempt,
            boot,
            started_at,
            ended_at: wall,
            outcome,
            then: None,
        };
        process.state = KeptState::Ended(record.clone());
        if waited {
            self.window.retain(|waits| *waits != attempt);
        }
        let then = if hands_on { self.hand_over(now, wants) } else { None };
        let record = ExitRecord { then, ..record };
        if let Some(process) = self.processes.get_mut(&attempt) {
            process.state = KeptState::Ended(record.clone());
        }
        self.news(FromSpawner::Ended(record), now, truth, wants);
    }

    /// To the agent, if there is one; another one is told by the comparison at its start.
    fn news(&mut self, message: FromSpawner, now: Time, truth: &mut Truth, wants: &mut Wants) {
        let wall = self.clock.wall(now);
        if let Some(agent) = &mut self.agent {
            let commands = agent.supervisor.spawner(message, wall);
            self.obey(commands, now, truth, wants);
        }
    }
}
