//! Random stories: jobs come and are canceled, nodes break, hang, restart and come back, the head node is killed; nodes
//! obey orders, keep reports until they are taken, repeat them, and stop what is fenced when their lease is over. The
//! checker watches events, and the nodes themselves see to it that no task runs twice.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proto::control::{HeldAttempt, HeldState, Order, Report, Timing};
use proto::event::Event;
use proto::ids::{AttemptId, BootId, JobId, NodeId, SubmissionId, TaskId};
use proto::model::job::{JobRow, JobSpec, JobState, Priority};
use proto::model::node::{AdminState, Deallocation, Liveness};
use proto::model::task::{AttemptOutcome, Request, TaskKind, TaskSpec};
use proto::stored::{Row, RowKey};
use proto::units::{Millis, Monotonic};
use scheduler::{Action, Answer, Input, Settings};

use crate::checker::Checker;
use crate::errands::{Errand, errand};
use crate::lifecycle::{self, Life, life};
use crate::lives::{self, life as life_of_nodes};
use crate::roles::{Roles, roles};
use crate::wants::{DOMAINS, GROUPS, SOCKETS, Want, want};
use crate::world::{Round, World, hello, root, user};

const NODES: u32 = 4;
const SLOTS: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Submit {
        request: Request,
        tasks: usize,
        priority: i32,
        rerunnable: bool,
        exclusive: bool,
        alone: bool,
        limit: bool,
        want: Want,
        roles: Roles,
    },
    Cancel {
        job: u64,
        force: bool,
    },
    Pass {
        seconds: u64,
    },
    Break {
        node: usize,
        noticed: bool,
    },
    Connect {
        node: usize,
    },
    Reboot {
        node: usize,
    },
    Finish {
        node: usize,
        code: i32,
    },
    Deliver {
        node: usize,
        twice: bool,
    },
    Switch {
        node: usize,
        online: bool,
        requeue: bool,
    },
    Remove {
        node: usize,
    },
    KillHead,
    Errand(Errand),
    Life(Life),
    NodeLife(lives::Life),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES as usize;
    let request = prop_oneof![
        3 => (1..=SLOTS).prop_map(|count| Request::Cores { count }),
        1 => (SLOTS + 1..=NODES * SLOTS).prop_map(|count| Request::Cores { count }),
        2 => (1..=NODES).prop_map(|count| Request::Nodes { count }),
    ];
    let submit = (
        request,
        1..4usize,
        -1..2i32,
        prop::array::uniform4(any::<bool>()),
        any::<bool>(),
        want(),
        roles(),
    )
        .prop_map(
            |(request, tasks, priority, [rerunnable, exclusive, alone, rarely], limit, want, roles)| Step::Submit {
                request,
                tasks,
                priority,
                rerunnable,
                exclusive: exclusive && rarely,
                alone: alone && rarely,
                limit: limit && rarely,
                want,
                roles,
            },
        );
    prop_oneof![
        6 => submit,
        1 => (1..12u64, any::<bool>()).prop_map(|(job, force)| Step::Cancel { job, force }),
        4 => (1..60u64).prop_map(|seconds| Step::Pass { seconds }),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, noticed)| Step::Break { node, noticed }),
        4 => node.clone().prop_map(|node| Step::Connect { node }),
        1 => node.clone().prop_map(|node| Step::Reboot { node }),
        5 => (node.clone(), 0..2i32).prop_map(|(node, code)| Step::Finish { node, code }),
        6 => (node.clone(), any::<bool>()).prop_map(|(node, twice)| Step::Deliver { node, twice }),
        1 => (node.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(node, online, requeue)| Step::Switch { node, online, requeue }),
        1 => node.prop_map(|node| Step::Remove { node }),
        1 => Just(Step::KillHead),
        8 => errand().prop_map(Step::Errand),
        4 => life().prop_map(Step::Life),
        4 => life_of_nodes(NODES as usize).prop_map(Step::NodeLife),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn promises_hold_whatever_fails(steps in prop::collection::vec(step(), 1..80)) {
        let mut simulation = Simulation::new();
        for step in steps {
            simulation.step(step);
        }
        simulation.let_end();
    }
}

/// What a node has of an attempt.
struct Part {
    task: TaskId,
    runs: bool,
    rerunnable: bool,
    over: bool,
    stage: Stage,
}

/// How far a part is that has to coordinate with its gang.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its coordination command runs.
    Coordinates,
    /// That has ended well; the primary waits for the others.
    Waits,
    /// Nothing keeps the primary any more.
    Begun,
}

struct Node {
    id: NodeId,
    name: String,
    boot: u128,
    connected: bool,
    held: BTreeMap<AttemptId, Part>,
    /// Not yet taken by the head node.
    reports: Vec<Report>,
    acknowledged: Monotonic,
}

struct Simulation {
    world: World,
    checker: Checker,
    nodes: Vec<Node>,
    submissions: u128,
}

impl Simulation {
    fn new() -> Self {
        let seconds = Millis::from_seconds;
        let timing = Timing {
            heartbeat: seconds(5),
            lease: seconds(40),
            kill_grace: seconds(5),
        };
        let settings = Settings {
            timing,
            suspect_after: seconds(15),
            lost_after: seconds(60),
            drift: seconds(10),
        };
        let mut new = Self {
            world: World::new(settings),
            checker: Checker::default(),
            nodes: Vec::new(),
            submissions: 0,
        };
        for number in 0..NODES {
            let name = format!("n{number}");
            let id = new.world.join(&name, "p", GROUPS[number as usize]);
            new.checker.joined(id, GROUPS[number as usize]);
            let acknowledged = new.world.now.monotonic;
            let node = Node {
                id,
                name,
                boot: 1,
                connected: false,
                held: BTreeMap::new(),
                reports: Vec::new(),
                acknowledged,
            };
            new.nodes.push(node);
            new.connect(number as usize);
        }
        new
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit {
                request,
                tasks,
                priority,
                rerunnable,
                exclusive,
                alone,
                limit,
                want,
                roles,
            } => {
                let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
                (task.request, task.rerunnable, task.exclusive) = (request, rerunnable, alone);
                task.retention = Some(Millis::from_seconds(30));
                let priority = Priority::new(priority).expect("in range");
                let runtime_limit = limit.then(|| Millis::from_seconds(90));
                let mut job = JobSpec {
                    priority,
                    exclusive,
                    runtime_limit,
                    ..JobSpec::default()
                };
                let nodes: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
                want.write(&mut job, &mut task, &nodes);
                roles.write(&mut job, &mut task);
                self.submissions += 1;
                let submission = SubmissionId(self.submissions);
                let input = Input::Submit {
                    caller: if want.is_privileged() { root() } else { user("ann") },
                    submission,
                    job: Box::new(job),
                    tasks: vec![task; tasks],
                };
                self.round(&input).answer.expect("a submission is taken");
                let jobs = self.world.next_job();
                self.round(&input).answer.expect("and taken once");
                assert_eq!(self.world.next_job(), jobs);
            }
            Step::Cancel { job, force } => {
                // Most of these jobs are over or were never made, and refused.
                drop(self.round(&Input::CancelJob {
                    caller: root(),
                    job: JobId(job),
                    force,
                    message: String::new(),
                }));
            }
            Step::Pass { seconds } => self.pass(Millis::from_seconds(seconds)),
            Step::Break { node, noticed } => {
                self.nodes[node].connected = false;
                if noticed {
                    let node = self.nodes[node].id;
                    self.round(&Input::NodeGone { node });
                }
            }
            Step::Connect { node } => self.connect(node),
            Step::Reboot { node } => self.reboot(node),
            Step::Finish { node, code } => self.finish(node, code),
            Step::Deliver { node, twice } => self.deliver(node, twice),
            Step::Switch { node, online, requeue } => {
                let admin = if online {
                    AdminState::Online
                } else {
                    AdminState::Offline
                };
                let name = self.nodes[node].name.parse().expect("a name");
                // Refused when it is there already.
                drop(self.round(&Input::SwitchNodes {
                    caller: root(),
                    nodes: vec![name],
                    admin,
                    option: deallocation(requeue),
                }));
            }
            Step::Remove { node } => self.remove(node),
            Step::Errand(errand) => self.run_errand(&errand),
            Step::Life(life) => {
                self.submissions += 1;
                // Much of it is refused.
                drop(self.round(&life.input(&self.world, SubmissionId(self.submissions))));
            }
            // Refused when it is so already, or something else is under way.
            Step::NodeLife(life) => {
                let input = life.input(|node| self.nodes[node].name.parse().expect("a name"));
                drop(self.round(&input));
            }
            Step::KillHead => {
                self.world.restart();
                for node in &mut self.nodes {
                    node.connected = false;
                }
            }
        }
    }

    fn run_errand(&mut self, errand: &Errand) {
        self.submissions += 1;
        let input = errand.input(&self.world, SubmissionId(self.submissions));
        let first = self.round(&input).answer;
        if let Ok(Answer::Added { .. } | Answer::Submitted { .. }) = first {
            let again = self.round(&input);
            assert_eq!(again.events, [], "a repeated submission changes nothing");
            assert!(matches!(
                again.answer,
                Ok(Answer::Added { repeated: true, .. } | Answer::Submitted { repeated: true, .. })
            ));
        }
    }

    /// An administrator takes a node out, having ended what it runs, and lets it join anew.
    fn remove(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.held.clear();
        node.reports.clear();
        node.boot += 1;
        let name = node.name.clone();
        let old = node.id;
        let removed = self.round(&Input::RemoveNodes {
            caller: root(),
            nodes: vec![name.parse().expect("a name")],
            force: true,
        });
        removed.answer.expect("a node that is there is removed");
        assert_ne!(self.nodes[index].id, old, "and joined anew");
    }

    /// A node was taken out, by hand or because its pool is to be smaller, and joins anew.
    fn rejoin(&mut self, old: NodeId) {
        let index = self.nodes.iter().position(|node| node.id == old).expect("a node");
        assert!(self.world.cluster.node(old).is_none() && self.world.cluster.slots_held(old) == 0);
        let id = self.world.join(&self.nodes[index].name, "p", GROUPS[index]);
        assert_ne!(id, old, "numbers are not given twice");
        self.checker.joined(id, GROUPS[index]);
        let node = &mut self.nodes[index];
        node.id = id;
        node.boot += 1;
        node.connected = false;
        node.held.clear();
        node.reports.clear();
    }

    fn round(&mut self, input: &Input) -> Round {
        let round = self.world.round(input);
        self.checker.see(&round.events);
        self.follow(&round);
        round
    }

    /// What nodes do about it.
    fn follow(&mut self, round: &Round) {
        for event in &round.events {
            if let Event::NodeRemoved { node } = event {
                self.expect_empty(*node);
            }
        }
        for action in &round.actions {
            self.act(action);
        }
        for event in &round.events {
            if let Event::NodeRemoved { node } = event {
                self.rejoin(*node);
            }
        }
    }

    /// A node that answers and is taken out has nothing left. One that does not may run what will not run elsewhere.
    fn expect_empty(&self, node: NodeId) {
        let node = self.nodes.iter().find(|other| other.id == node).expect("a node");
        let lives = |part: &Part| part.runs && !part.over;
        assert!(
            !(node.connected && node.held.values().any(lives)),
            "{} runs something",
            node.name
        );
    }

    fn act(&mut self, action: &Action) {
        let id = match action {
            Action::Order { node, .. } | Action::Disconnect { node, .. } | Action::Remove { node, .. } => *node,
        };
        let index = self.nodes.iter().position(|node| node.id == id).expect("a node");
        if !self.nodes[index].connected {
            return; // Lost; its next hello brings it again.
        }
        match action {
            Action::Disconnect { .. } | Action::Remove { .. } => self.nodes[index].connected = false,
            Action::Order { order, .. } => self.obey(index, order),
        }
    }

    fn obey(&mut self, index: usize, order: &Order) {
        let at = self.world.now.wall;
        match order {
            Order::Start(start) => {
                if self.nodes[index].held.contains_key(&start.attempt) {
                    return;
                }
                self.expect_alone(start.task, start.attempt);
                let told = std::iter::once(self.nodes[index].id);
                self.checker.expect_prepared(start.task, told);
                let runs = start.nodes[0].node == self.nodes[index].id;
                let stage = match start.coordination {
                    Some(_) => Stage::Coordinates,
                    None => Stage::Begun,
                };
                let part = Part {
                    task: start.task,
                    runs,
                    rerunnable: start.rerunnable,
                    over: false,
                    stage,
                };
                let node = &mut self.nodes[index];
                node.held.insert(start.attempt, part);
                if runs && stage == Stage::Begun {
                    node.reports.push(Report::Started {
                        attempt: start.attempt,
                        at,
                    });
                }
            }
            Order::Stop { attempt, .. } => {
                let node = &mut self.nodes[index];
                if let Some(part) = node.held.get_mut(attempt).filter(|part| part.runs && !part.over) {
                    part.over = true;
                    node.reports.push(Report::Ended {
                        attempt: *attempt,
                        outcome: AttemptOutcome::Stopped,
                        at,
                        started_at: None,
                        then: None,
                    });
                }
            }
            Order::Release { attempt } => {
                let node = &mut self.nodes[index];
                node.held.remove(attempt);
                node.reports.push(Report::Released { attempt: *attempt });
            }
            // Some of its lives have no way to start anew.
            Order::Restart { .. } if self.nodes[index].boot % 3 == 2 => {
                let reason = "no command is configured".to_owned();
                self.nodes[index].reports.push(Report::ErrandRefused { reason });
            }
            Order::Restart { .. } => self.reboot(index),
            Order::Begin { attempt } => self.begin(index, *attempt),
            // Windows belong to the simulation of whole clusters; here each start is told alone.
            Order::StartSteps { .. } | Order::Advance { .. } | Order::Recall { .. } => {
                panic!("nobody asked for windows: {order:?}")
            }
            Order::ForgetJob { .. } | Order::Unknown => {}
        }
    }

    /// All of a gang have coordinated.
    fn begin(&mut self, index: usize, attempt: AttemptId) {
        let (at, node) = (self.world.now.wall, &mut self.nodes[index]);
        if let Some(part) = node
            .held
            .get_mut(&attempt)
            .filter(|part| part.stage == Stage::Waits && !part.over)
        {
            assert!(part.runs, "only the primary begins");
            part.stage = Stage::Begun;
            node.reports.push(Report::Started { attempt, at });
        }
    }

    fn reboot(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.connected = false;
        node.boot += 1;
        node.held.clear();
        node.reports.clear();
    }

    /// The promise itself, seen from the nodes: wherever they are, none has a living part of another try.
    fn expect_alone(&self, task: TaskId, attempt: AttemptId) {
        for node in &self.nodes {
            let other = node
                .held
                .iter()
                .find(|(id, part)| part.task == task && !part.over && **id != attempt);
            assert!(
                other.is_none(),
                "task {task} starts as {attempt} while {} has {:?}",
                node.name,
                other.map(|o| o.0)
            );
        }
    }

    fn connect(&mut self, index: usize) {
        let at = self.world.now.wall;
        let node = &mut self.nodes[index];
        let mut hello = hello(&node.name, SLOTS, node.boot);
        hello.inventory.sockets = SOCKETS[index];
        hello.inventory.domain = DOMAINS[index].map(|name| name.parse().expect("a domain"));
        hello.inventory.memory_bytes <<= index;
        for (attempt, part) in &node.held {
            let state = match (part.over, part.runs) {
                (true, _) => HeldState::Ended,
                (false, true) if part.stage == Stage::Begun => HeldState::Running { started_at: at },
                (false, _) => HeldState::Waiting,
            };
            hello.held.push(HeldAttempt {
                attempt: *attempt,
                state,
            });
        }
        node.connected = true;
        node.acknowledged = self.world.now.monotonic;
        let round = self.world.node_up(hello);
        round.answer.as_ref().expect("a hello is taken");
        self.checker.see(&round.events);
        self.follow(&round);
    }

    /// A job may have no node left on which its preparation has not failed.
    fn cancel_barred(&mut self) {
        let cluster = &self.world.cluster;
        let is_barred = |job: &&JobRow| self.nodes.iter().any(|node| cluster.is_barred(job.id, node.id));
        let barred: Vec<JobId> = cluster.jobs().filter(is_barred).map(|job| job.id).collect();
        for job in barred {
            // One that is being ended already says so in a note; one that is over and holds a node still is refused.
            drop(self.round(&Input::CancelJob {
                caller: root(),
                job,
                force: false,
                message: String::new(),
            }));
        }
    }

    fn finish(&mut self, index: usize, code: i32) {
        let at = self.world.now.wall;
        let node = &mut self.nodes[index];
        let goes_on =
            |part: &Part| !part.over && (part.stage == Stage::Coordinates || (part.runs && part.stage == Stage::Begun));
        let Some((attempt, part)) = node.held.iter_mut().find(|(_, part)| goes_on(part)) else {
            return;
        };
        if part.stage == Stage::Coordinates && code == 0 {
            part.stage = Stage::Waits;
            node.reports.push(Report::Coordinated { attempt: *attempt });
        } else if part.stage == Stage::Coordinates {
            part.over = true;
            let outcome = AttemptOutcome::NotStarted {
                reason: "it could not listen".to_owned(),
            };
            node.reports.push(Report::Ended {
                attempt: *attempt,
                outcome,
                at,
                started_at: None,
                then: None,
            });
        } else {
            part.over = true;
            node.reports.push(Report::Ended {
                attempt: *attempt,
                outcome: AttemptOutcome::Exited { code },
                at,
                started_at: None,
                then: None,
            });
        }
    }

    fn deliver(&mut self, index: usize, twice: bool) {
        if !self.nodes[index].connected {
            return;
        }
        let (node, boot) = (self.nodes[index].id, BootId(self.nodes[index].boot));
        self.heard(index);
        for report in std::mem::take(&mut self.nodes[index].reports) {
            let input = Input::Report { node, boot, report };
            self.round(&input);
            if twice {
                let again = self.world.round(&input);
                assert_eq!(again.events, [], "a repeated report changes nothing");
            }
            if let Input::Report {
                report: Report::Ended { attempt, .. },
                ..
            } = input
            {
                self.nodes[index].held.remove(&attempt);
            }
        }
    }

    fn heard(&mut self, index: usize) {
        let id = self.nodes[index].id;
        let now = self.world.now.monotonic;
        self.nodes[index].acknowledged = now;
        self.world.cluster.heard(id, now);
        let up = self
            .world
            .cluster
            .node(id)
            .is_some_and(|row| matches!(row.liveness, Liveness::Up { .. }));
        if !up {
            self.round(&Input::Heard { node: id });
        }
    }

    fn pass(&mut self, span: Millis) {
        let mut left = span;
        while left > Millis(0) {
            let step = left.min(self.world.settings.timing.heartbeat);
            left = left - step;
            self.world.pass(step);
            for index in 0..self.nodes.len() {
                if self.nodes[index].connected {
                    self.heard(index);
                } else {
                    self.fence(index);
                }
            }
            if self
                .world
                .cluster
                .next_deadline()
                .is_some_and(|at| at <= self.world.now.monotonic)
            {
                self.round(&Input::Tick);
            }
        }
    }

    /// A node that cannot reach the head ends what may be started elsewhere, as late as it is allowed to.
    fn fence(&mut self, index: usize) {
        let now = self.world.now;
        let timing = self.world.settings.timing;
        let node = &mut self.nodes[index];
        if now.monotonic < node.acknowledged + timing.lease + timing.kill_grace {
            return;
        }
        for (attempt, part) in node.held.iter_mut().filter(|(_, part)| part.rerunnable && !part.over) {
            part.over = true;
            node.reports.push(match part.runs {
                true => Report::Ended {
                    attempt: *attempt,
                    outcome: AttemptOutcome::Fenced,
                    at: now.wall,
                    started_at: None,
                    then: None,
                },
                false => Report::Released { attempt: *attempt },
            });
        }
    }

    /// Faults stop, programs end: every job must end, and nothing stays held.
    fn let_end(&mut self) {
        for life in [lives::Life::StopResize, lives::Life::NoStartTask] {
            let input = life.input(|node| self.nodes[node].name.parse().expect("a name"));
            self.round(&input).answer.expect("an administrator may");
        }
        let all = Input::SwitchNodes {
            caller: root(),
            nodes: Vec::new(),
            admin: AdminState::Online,
            option: Deallocation::default(),
        };
        drop(self.round(&all)); // Refused when all are online.
        for index in 0..self.nodes.len() {
            self.connect(index);
        }
        for input in lifecycle::end_schedules(&self.world) {
            self.round(&input).answer.expect("a schedule is ended");
        }
        let has_service = |job| {
            let mut tasks = self.world.cluster.tasks_of(job);
            tasks.any(|task| task.spec.kind == TaskKind::Service)
        };
        let idle = |job: &JobRow| matches!(job.state, JobState::Configuring | JobState::Disabled { .. });
        let kept = |job: &&JobRow| idle(job) || job.spec.run_until_canceled || has_service(job.id);
        let kept: Vec<JobId> = self.world.cluster.jobs().filter(kept).map(|job| job.id).collect();
        for job in kept {
            // One that is being ended already says so in a note.
            drop(self.round(&Input::CancelJob {
                caller: root(),
                job,
                force: false,
                message: String::new(),
            }));
        }
        for _ in 0..1000 {
            self.cancel_barred();
            if self.world.cluster.jobs().count() == 0 && self.world.cluster.attempts().count() == 0 {
                break;
            }
            // One that started anew may have been off before.
            if self.world.cluster.nodes().any(|row| row.admin != AdminState::Online) {
                drop(self.round(&all));
            }
            for index in 0..self.nodes.len() {
                if !self.nodes[index].connected {
                    self.connect(index);
                }
                self.finish(index, 0);
                self.deliver(index, false);
            }
            self.pass(Millis::from_seconds(1));
        }
        self.checker.expect_done();
        assert_eq!(self.world.cluster.jobs().count(), 0, "ended jobs leave memory");
        for number in 1..self.world.next_job().0 {
            let row = self.world.stored(&RowKey::Job(JobId(number)));
            assert!(
                (row.is_none() && self.checker.is_deleted(JobId(number)))
                    || matches!(row, Some(Row::Job(job)) if job.state.is_ended()),
                "job {number} is on disk as over"
            );
        }
        for node in &self.nodes {
            assert_eq!(self.world.cluster.slots_held(node.id), 0);
            assert!(
                node.held.values().all(|part| part.over),
                "{} still has something",
                node.name
            );
        }
    }
}

const fn deallocation(requeue: bool) -> Deallocation {
    if requeue {
        Deallocation::Requeue
    } else {
        Deallocation::TaskCompletion
    }
}
