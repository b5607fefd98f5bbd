//! One run: all parts, one queue of what happens when, and what must hold at the end.

use std::collections::{BTreeMap, BTreeSet};

use headnode::round::{Arrival, Departure, LinkId};
use headnode::store::Store;
use proto::control::{HeadMessage, NodeMessage};
use proto::ids::{AttemptId, DomainName, JobId, KeyHash, NodeId, NodeName, PoolName, TaskId, TaskNumber};
use proto::model::job::{JobRow, JobState};
use proto::model::task::{TaskOutcome, TaskSpec};
use proto::stored::{Row, RowKey, TokenRow};
use proto::units::Timestamp;
use scheduler::{Answer, Input};

use super::claims::Claims;
use super::clock::Time;
use super::head::{Head, Slot};
use super::network::{Network, Way};
use super::node::{Node, Wake, Wants};
use super::rng::Rng;
use super::truth::Truth;
use super::workload::{Workload, caller};
use super::{Broken, Summary};

/// Nodes of a run.
const NODES: u32 = 5;

/// Until then faults happen and work comes in.
const FAULTS_END: Time = 40_000;

/// By then all work must have ended: with room for every lost timeout, retry and long task after the last fault.
const END: Time = 2_500_000;

/// A day, in milliseconds: what wall clocks jump by.
const DAY: i64 = 86_400_000;

/// What happens at some time.
enum What {
    ToHead {
        node: usize,
        link: LinkId,
        message: NodeMessage,
    },
    ToNode {
        node: usize,
        link: LinkId,
        message: HeadMessage,
    },
    HeadLost {
        node: usize,
    },
    Node {
        node: usize,
        wake: Wake,
    },
    Round,
    Land,
    Tick,
    Ask,
    Fault,
    HeadStarts,
}

struct World {
    now: Time,
    sequence: u64,
    queue: BTreeMap<(Time, u64), What>,
    rng: Rng,
    head: Head,
    nodes: Vec<Node>,
    network: Network,
    workload: Workload,
    truth: Truth,
    claims: Claims,
    round_due: bool,
    tick_due: Option<Time>,
    rounds: u64,
    faults: usize,
}

/// Runs one seed.
///
/// # Errors
/// The first promise that is broken.
pub fn run(seed: u64) -> Result<Summary, Broken> {
    let mut world = World::new(seed);
    let broken = |at: Time, what: String| Broken { seed, at, what };
    world.bootstrap().map_err(|what| broken(0, what))?;
    while let Some(((at, _), what)) = world.queue.pop_first() {
        if at > END {
            break;
        }
        world.now = at;
        world.happen(what).map_err(|what| broken(at, what))?;
        if at > FAULTS_END && world.is_quiet() {
            break;
        }
    }
    let at = world.now;
    world.expect_all_ended().map_err(|what| broken(at, what))?;
    Ok(Summary {
        jobs: world.workload.jobs.len(),
        processes: world.truth.started,
        events: world.claims.events,
        ahead: world.claims.ahead,
        recalled: world.claims.recalled,
        faults: world.faults,
    })
}

impl World {
    fn new(seed: u64) -> Self {
        let name = |index: u32| NodeName::new(&format!("n{index}")).expect("a name");
        let domain = |index: u32| DomainName::new(if index <= 2 { "left" } else { "right" }).expect("a name");
        let node = |index: u32| {
            let key = KeyHash([u8::try_from(index).unwrap_or(0); 32]);
            let rng = Rng::of(seed, &format!("node {index}"));
            Node::new(NodeId(index), name(index), key, domain(index), rng)
        };
        Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            rng: Rng::of(seed, "faults"),
            head: Head::new(Rng::of(seed, "head")),
            nodes: (1..=NODES).map(node).collect(),
            network: Network::new(Rng::of(seed, "network")),
            workload: Workload::new(
                Rng::of(seed, "workload"),
                (1..=NODES).map(name).collect(),
                Rng::of(seed, "brisk").percent(40),
            ),
            truth: Truth::default(),
            claims: Claims::default(),
            round_due: false,
            tick_due: None,
            rounds: 0,
            faults: 0,
        }
    }

    fn at(&mut self, time: Time, what: What) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), what);
    }

    /// The head node starts, the nodes join, and everything begins.
    fn bootstrap(&mut self) -> Result<(), String> {
        self.head.start(0)?;
        let token = TokenRow {
            hash: "aa".to_owned(),
            pool: PoolName::new("default").map_err(|error| error.to_string())?,
            groups: Vec::new(),
            expires_at: Timestamp(u64::MAX),
            uses_left: NODES,
        };
        let mut inputs = vec![Input::MakeToken {
            caller: caller(0),
            token,
        }];
        inputs.extend(self.nodes.iter().map(|node| Input::Join {
            secret_hash: "aa".to_owned(),
            name: node.name.clone(),
            key: node.key,
            certificate_ends: Timestamp(u64::MAX),
        }));
        for input in inputs {
            let slot = self.workload.ask(input.clone());
            self.head.take(Arrival::Request { input, slot });
        }
        let flushed = self.head.round(0, true)?;
        self.now = flushed.unwrap_or(0);
        self.land()?;
        for index in 0..self.nodes.len() {
            let wants = self.nodes[index].start_agent(self.now, &mut self.truth);
            self.grant_wishes(index, wants);
        }
        for _ in 0..self.rng.within(8, 25) {
            let at = self.rng.within(self.now + 100, FAULTS_END);
            self.at(at, What::Ask);
        }
        for _ in 0..self.rng.within(0, 8) {
            let at = self.rng.within(self.now + 100, FAULTS_END);
            self.at(at, What::Fault);
        }
        // After the last fault, what users must do so that all work can end.
        self.at(FAULTS_END + 60_000, What::Ask);
        Ok(())
    }

    fn happen(&mut self, what: What) -> Result<(), String> {
        match what {
            What::ToHead { node, link, message } => self.head_gets(node, link, message),
            What::ToNode { node, link, message } => {
                if self.network.link(node) == Some(link) {
                    let wants = self.nodes[node].hear(message, self.now, &mut self.truth);
                    self.grant_wishes(node, wants);
                }
            }
            What::HeadLost { node } => {
                let id = self.nodes[node].id;
                if self.network.link(node).is_none() {
                    self.arrive(Arrival::Gone { node: id });
                }
            }
            What::Node { node, wake } => {
                let wants = self.nodes[node].wake(wake, self.now, &mut self.truth)?;
                self.grant_wishes(node, wants);
            }
            What::Round => self.round()?,
            What::Land => self.land()?,
            What::Tick => {
                self.tick_due = None;
                self.arrive(Arrival::Tick);
            }
            What::Ask => self.ask(),
            What::Fault => self.fault()?,
            What::HeadStarts => self.start_head()?,
        }
        Ok(())
    }

    // --- messages ---

    fn head_gets(&mut self, node: usize, link: LinkId, message: NodeMessage) {
        if self.network.link(node) != Some(link) {
            return;
        }
        let (id, key) = (self.nodes[node].id, self.nodes[node].key);
        let arrival = match message {
            NodeMessage::Hello(hello) => Arrival::Hello {
                node: id,
                link,
                key,
                hello,
            },
            NodeMessage::Heartbeat { number } => Arrival::Heartbeat { node: id, link, number },
            NodeMessage::Reports { number, reports } => Arrival::Reports {
                node: id,
                link,
                // The connection knows the life from its hello.
                boot: self.nodes[node].boot_of_link(link),
                number,
                reports,
            },
            NodeMessage::Renew { .. } | NodeMessage::Unknown => return,
        };
        self.arrive(arrival);
    }

    fn arrive(&mut self, arrival: Arrival<Slot>) {
        if self.head.take(arrival) && !self.round_due {
            self.round_due = true;
            let at = self.now + self.rng.within(0, 1);
            self.at(at, What::Round);
        }
    }

    fn grant_wishes(&mut self, node: usize, wants: Wants) {
        for (at, wake) in wants.wakes {
            self.at(at, What::Node { node, wake });
        }
        for message in wants.says {
            if let Some((link, at)) = self.network.arrival(node, Way::ToHead, self.now) {
                self.at(at, What::ToHead { node, link, message });
            }
        }
        if wants.close
            && let Some(link) = self.network.link(node)
        {
            self.hang_up(node, link);
        }
        if wants.dial && self.head.is_up() {
            self.dial(node);
        }
    }

    fn dial(&mut self, node: usize) {
        if let Some(link) = self.network.connect(node, self.now) {
            let wants = self.nodes[node].connected(link, self.now);
            self.grant_wishes(node, wants);
        }
    }

    /// A connection ends: both sides learn it a little later.
    fn hang_up(&mut self, node: usize, link: LinkId) {
        if self.network.close(node, link) {
            let soon = self.now + self.rng.within(1, 30);
            self.at(soon, What::HeadLost { node });
            self.nodes[node].lost(link);
        }
    }

    // --- the head node ---

    fn round(&mut self) -> Result<(), String> {
        self.round_due = false;
        if !self.head.has_work() {
            return Ok(());
        }
        self.rounds += 1;
        let look = self.rounds.is_multiple_of(64);
        if let Some(flushed) = self.head.round(self.now, look)? {
            self.at(flushed, What::Land);
        }
        if let Some(due) = self.head.deadline()
            && self.tick_due.is_none_or(|set| due < set)
        {
            self.tick_due = Some(due);
            self.at(due, What::Tick);
        }
        Ok(())
    }

    fn land(&mut self) -> Result<(), String> {
        for landed in self.head.land(self.now)? {
            for event in &landed.events {
                self.claims.see(event)?;
            }
            for departure in landed.departures {
                self.depart(departure)?;
            }
        }
        Ok(())
    }

    fn depart(&mut self, departure: Departure<Slot>) -> Result<(), String> {
        match departure {
            Departure::Answer { slot, answer, .. } => {
                let job = match answer {
                    Ok(Answer::Submitted { job, .. }) => Some(job),
                    _ => None,
                };
                self.workload.answered(slot, job)?;
            }
            Departure::ToNode { node, link, message } => {
                let Some(index) = self.index(node) else { return Ok(()) };
                let Some(route) = link.or_else(|| self.head.route(node)) else {
                    return Ok(());
                };
                if matches!(message, HeadMessage::Welcome { .. }) {
                    self.head.welcome(node, route);
                }
                if self.network.link(index) == Some(route)
                    && let Some((link, at)) = self.network.arrival(index, Way::ToNode, self.now)
                {
                    self.at(
                        at,
                        What::ToNode {
                            node: index,
                            link,
                            message,
                        },
                    );
                }
            }
            Departure::Disconnect { node, .. } | Departure::Remove { node, .. } => {
                if let Some(index) = self.index(node)
                    && let Some(link) = self.network.link(index)
                {
                    self.hang_up(index, link);
                }
            }
        }
        Ok(())
    }

    fn index(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|row| row.id == node)
    }

    fn start_head(&mut self) -> Result<(), String> {
        if self.head.is_up() {
            return Ok(());
        }
        self.head.start(self.now)?;
        self.round_due = false;
        self.tick_due = None;
        for (slot, input) in self.workload.ask_again() {
            self.arrive(Arrival::Request { input, slot });
        }
        self.arrive(Arrival::Tick);
        Ok(())
    }

    // --- users and faults ---

    fn ask(&mut self) {
        if self.now > FAULTS_END {
            return self.help();
        }
        let (slot, input) = self.workload.next();
        self.arrive(Arrival::Request { input, slot });
    }

    /// What people do, again and again, when faults are over and something still waits: switch nodes on, enable jobs, cancel
    /// what cannot run anywhere.
    fn help(&mut self) {
        let (slot, input) = self.workload.all_online();
        self.arrive(Arrival::Request { input, slot });
        let disabled: Vec<JobId> = self
            .head
            .cluster()
            .into_iter()
            .flat_map(scheduler::Cluster::jobs)
            .filter(|job| matches!(job.state, JobState::Disabled { .. }))
            .map(|job| job.id)
            .collect();
        for job in disabled {
            let (slot, input) = self.workload.enable(job);
            self.arrive(Arrival::Request { input, slot });
        }
        for job in self.barred() {
            let (slot, input) = self.workload.cancel(job);
            self.arrive(Arrival::Request { input, slot });
        }
        self.at(self.now + 60_000, What::Ask);
    }

    /// Jobs whose preparation failed on a node: it may be that no other fits.
    fn barred(&self) -> Vec<JobId> {
        let Some(cluster) = self.head.cluster() else {
            return Vec::new();
        };
        let barred = |job: &&JobRow| self.nodes.iter().any(|node| cluster.is_barred(job.id, node.id));
        cluster.jobs().filter(barred).map(|job| job.id).collect()
    }

    fn fault(&mut self) -> Result<(), String> {
        self.faults += 1;
        let nodes: Vec<usize> = (0..self.nodes.len()).collect();
        let node = self.rng.pick(&nodes).copied().unwrap_or(0);
        match self.rng.within(1, 12) {
            1..=3 => {
                self.head.kill();
                for node in self.network.close_all() {
                    self.nodes[node].lost_any();
                }
                let down = match self.rng.within(1, 10) {
                    1..=7 => self.rng.within(10, 2000),
                    _ => self.rng.within(2000, 20_000),
                };
                self.at(self.now + down, What::HeadStarts);
            }
            4 | 5 => {
                let wants = self.nodes[node].kill_agent();
                self.grant_wishes(node, wants);
                let wake = Wake::AgentStarts;
                let at = self.now + self.rng.within(10, 3000);
                self.at(at, What::Node { node, wake });
            }
            6 | 7 => {
                let wants = self.nodes[node].kill_spawner(self.now, &mut self.truth);
                self.grant_wishes(node, wants);
            }
            8..=10 => {
                let for_ms = match self.rng.within(1, 3) {
                    1 => self.rng.within(100, 3000),
                    2 => self.rng.within(3000, 14_000),
                    _ => self.rng.within(14_000, 30_000),
                };
                let until = self.now + for_ms;
                self.network.cut(node, until);
            }
            11 => {
                let by = if self.rng.percent(50) { DAY } else { -DAY };
                self.head.clock.jump(by);
            }
            _ => {
                let by = if self.rng.percent(50) { DAY } else { -DAY };
                self.nodes[node].jump(by);
            }
        }
        Ok(())
    }

    // --- the end ---

    fn is_quiet(&self) -> bool {
        let idle =
            |cluster: &scheduler::Cluster| cluster.jobs().next().is_none() && cluster.attempts().next().is_none();
        let at_rest = self.head.cluster().is_some_and(idle) && !self.head.has_work();
        // A node that was given up may still run what nobody else may run.
        self.now > FAULTS_END + 1000 && at_rest && self.truth.running().next().is_none()
    }

    fn expect_all_ended(&mut self) -> Result<(), String> {
        self.now = END.max(self.now);
        self.land()?;
        if let Some((attempt, node, task)) = self.truth.running().next() {
            return Err(format!("attempt {attempt} of task {task} still runs on node {node}"));
        }
        let cluster = self.head.cluster().ok_or("the head node is down at the end")?;
        if let Some(job) = cluster.jobs().next() {
            let why = scheduler::explain(cluster, job.id, self.head.clock.now(self.now));
            return Err(format!(
                "job {} is {} at the end with {:?}: {why:?}",
                job.id,
                job.state.word(),
                job.counts
            ));
        }
        let left: BTreeSet<AttemptId> = cluster.attempts().map(|attempt| attempt.id).collect();
        if !left.is_empty() {
            return Err(format!("attempts {left:?} hold nodes at the end"));
        }
        cluster.check()?;
        for (id, owed) in &self.workload.jobs {
            let key = RowKey::Job(*id);
            let row = self.head.store().row(&key).map_err(|error| error.to_string())?;
            match row {
                Some(Row::Job(row)) => self.expect_told_truly(&row, &owed.tasks)?,
                _ if owed.deleted => {}
                _ => return Err(format!("job {id} was acknowledged and is lost")),
            }
        }
        Ok(())
    }

    /// What a job that is over says, against what ran.
    fn expect_told_truly(&self, job: &JobRow, tasks: &[TaskSpec]) -> Result<(), String> {
        if !job.state.is_ended() {
            return Err(format!(
                "job {} is stored as {} and is not in memory",
                job.id,
                job.state.word()
            ));
        }
        for (number, spec) in (1..).map(TaskNumber).zip(tasks) {
            let id = TaskId::new(job.id, number);
            let members: Vec<TaskId> = match spec.sweep {
                Some(sweep) => sweep.steps().map(|step| TaskId { step: Some(step), ..id }).collect(),
                None => vec![id],
            };
            for task in members {
                self.expect_run_as_told(task, spec)?;
            }
        }
        Ok(())
    }

    fn expect_run_as_told(&self, task: TaskId, spec: &TaskSpec) -> Result<(), String> {
        let runs = self.truth.runs(task);
        let by_itself = runs.iter().any(|run| run.code == Some(0));
        let retried = spec.max_retries.is_some() || runs.iter().any(|run| run.code.is_some());
        if !spec.rerunnable && runs.len() > 1 && !retried && self.claims.asked_again(task) == 0 {
            return Err(format!("task {task} may not be rerun and ran {} times", runs.len()));
        }
        match self.claims.end(task) {
            Some(TaskOutcome::Finished) if !by_itself && !self.claims.was_finished_by_hand(task.job) => Err(format!(
                "task {task} is told as finished, and no run of it ended well: {runs:?}"
            )),
            _ => Ok(()),
        }
    }
}
