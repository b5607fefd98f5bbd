//! Stories in `tests/scenarios/*.txt`: lines that begin with `> ` are commands, the lines below each are what came out.
//! Run with `RECORD=1` to write what comes out now; a reviewer reads the difference as behaviour.
//!
//! ```text
//! > node n[0-3] slots=4 pool=p groups=a,b cores=8     join and hello
//! > submit nodes=4 tasks=2 priority=10 exclusive alone groups=a pool=p requested=n1,n2 runtime=60 limit=30
//!          norerun requeues=1 id=7 as=bob command=hostname
//! > started n0 1    ended n0 1 exit=3 | signal=9 | notstarted | fenced | lost | stopped | timedout    released n1 1
//! > coordinated n1 1
//! > lose n2         the connection breaks           > silence n2      heartbeats stop, unnoticed
//! > hello n2 boot=2 held=1:running,2:waiting,3:ended
//! > tick 5s         heartbeats of all that answer, every 5 s
//! > cancel 1 force as=bob       > online n0 n1       > offline        > group add g n0      > group remove g
//! > restart         the head node is killed         > why 1           > show
//! > rehearse cores=4        what a submission would become (words as in `submit`)
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use proto::client::Refusal;
use proto::control::{HeldAttempt, HeldState, Order, Report, StepStart};
use proto::event::Event;
use proto::hostlist;
use proto::ids::{AttemptId, GroupName, JobId, NodeId, NodeName, PoolName, SubmissionId};
use proto::model::job::{JobOutcome, JobSpec, JobState, Priority, TaskCounts};
use proto::model::node::{AdminState, Liveness};
use proto::model::owner::Caller;
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskSpec, TaskState};
use proto::model::why::Why;
use proto::units::Millis;
use scheduler::{Action, Answer, Input, Settings};

use crate::world::{Round, World, hello, root, user};
use crate::{lifecycle, placing, pools, roles, tasks, wishes, work};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test reads and writes its stories; the crate itself does not"
)]
fn scenarios_read_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the scenarios are there");
    let mut wrong = Vec::new();
    for file in files {
        let recorded = std::fs::read_to_string(&file).expect("a file");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let played = Story::play(&recorded, &name);
        if played == recorded {
            continue;
        }
        if std::env::var_os("RECORD").is_some() {
            std::fs::write(&file, &played).expect("writes");
        } else {
            let differs = recorded.lines().zip(played.lines()).position(|(a, b)| a != b);
            let line = differs.unwrap_or_else(|| recorded.lines().count().min(played.lines().count()));
            let (a, b) = (recorded.lines().nth(line), played.lines().nth(line));
            wrong.push(format!("{name}:{}: recorded {a:?}, now {b:?}", line + 1));
        }
    }
    assert!(wrong.is_empty(), "RECORD=1 writes anew:\n{}", wrong.join("\n"));
}

struct Story {
    world: World,
    silent: BTreeSet<NodeId>,
    submissions: u128,
    out: String,
}

impl Story {
    fn play(text: &str, name: &str) -> String {
        let world = World::new(Settings::default());
        let mut story = Self {
            world,
            silent: BTreeSet::new(),
            submissions: 1000,
            out: String::new(),
        };
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("> ") {
                story.out.push_str(&format!("{line}\n"));
                story.command(&Words::of(command, name));
            } else if line.is_empty() || line.starts_with('#') {
                story.out.push_str(&format!("{line}\n"));
            }
        }
        story.out
    }

    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.out, "  {}", line.as_ref()).expect("writing to a string");
    }

    fn command(&mut self, words: &Words<'_>) {
        match words.verb() {
            "node" => self.nodes(words),
            "submit" => self.submit(words),
            "rehearse" => self.rehearse(words),
            "started" | "ended" | "released" | "coordinated" => self.report(words),
            "lose" => self.lose(words),
            "silence" => self
                .silent
                .extend(words.names(1).iter().map(|name| self.id(name)).collect::<Vec<_>>()),
            "hello" => self.hello(words),
            "tick" => self.tick(words),
            "cancel" => {
                let job = words.number(1);
                let message = words.value("message").unwrap_or("").to_owned();
                let input = Input::CancelJob {
                    caller: words.caller(),
                    job: JobId(job),
                    force: words.has("force"),
                    message,
                };
                self.input(&input);
            }
            "online" | "offline" | "drain" => {
                let admin = match words.verb() {
                    "online" => AdminState::Online,
                    "drain" => AdminState::Draining,
                    _ => AdminState::Offline,
                };
                self.input(&Input::SwitchNodes {
                    caller: words.admin(),
                    nodes: words.names(1),
                    admin,
                    option: pools::option(words),
                });
            }
            "remove" => self.input(&Input::RemoveNodes {
                caller: words.admin(),
                nodes: words.names(1),
                force: words.has("force"),
            }),
            "group" => {
                let group = GroupName::new(words.plain(2)).expect("a group name");
                let (caller, nodes) = (words.admin(), words.names(3));
                self.input(&match words.plain(1) {
                    "add" => Input::AddToGroup { caller, group, nodes },
                    _ => Input::RemoveFromGroup { caller, group, nodes },
                });
            }
            "restart" => {
                self.world.restart();
                self.silent.clear();
            }
            "join" | "pool" | "pools" | "reboot" | "reimage" | "cannot" => self.pools(words),
            "reactivate" => self.input(&tasks::reactivate(words)),
            "why" => self.why(JobId(words.number(1))),
            "show" => self.show(),
            "schedules" => lifecycle::schedules(&self.world).iter().for_each(|line| self.say(line)),
            "away" => self.world.pass(words.span(1)),
            // The wall clock is set, the other goes on.
            "forward" => self.world.now.wall = self.world.now.wall + words.span(1),
            "back" => self.world.now.wall.0 = self.world.now.wall.0.saturating_sub(words.span(1).0),
            _ => self.work(words),
        }
    }

    fn pools(&mut self, words: &Words<'_>) {
        match words.verb() {
            "join" => words.names(1).iter().for_each(|name| {
                let pool = words.value("pool").unwrap_or("p");
                self.world.join(name.as_str(), pool, &[]);
            }),
            "pools" => pools::show(&self.world.cluster).iter().for_each(|line| self.say(line)),
            _ => self.input(&pools::input(words, &self.world)),
        }
    }

    fn work(&mut self, words: &Words<'_>) {
        if let Some(lines) = placing::show(words, &self.world) {
            return lines.iter().for_each(|line| self.say(line));
        }
        if let Some(input) = placing::input(words) {
            return self.input(&input);
        }
        self.submissions += 1;
        let submission = words
            .value("id")
            .map_or(self.submissions, |n| n.parse().expect("an id"));
        let input = work::input(words, &self.world, SubmissionId(submission), || self.wanted(words));
        let input = input.or_else(|| lifecycle::input(words, &self.world, || self.wanted(words)));
        self.input(&input.unwrap_or_else(|| panic!("{}: no command '{}'", words.file, words.verb())));
    }

    fn id(&self, name: &NodeName) -> NodeId {
        self.world.cluster.node_by_name(name).expect("a node of that name").id
    }

    fn name(&self, node: NodeId) -> String {
        let row = self.world.cluster.node(node);
        row.map_or_else(|| format!("node {node}"), |row| row.name.to_string())
    }

    fn nodes(&mut self, words: &Words<'_>) {
        let slots = words.value("slots").map_or(4, |n| n.parse().expect("a number"));
        let groups: Vec<&str> = words
            .value("groups")
            .map_or_else(Vec::new, |list| list.split(',').collect());
        for name in words.names(1) {
            self.world
                .join(name.as_str(), words.value("pool").unwrap_or("p"), &groups);
            let mut hello = hello(name.as_str(), slots, 1);
            if let Some(sockets) = words.value("sockets") {
                hello.inventory.sockets = sockets.parse().expect("a number");
            }
            if let Some(mib) = words.value("mib") {
                hello.inventory.memory_bytes = mib.parse::<u64>().expect("a number") << 20;
            }
            placing::read_node(words, &mut hello.inventory);
            self.world.node_up(hello).answer.expect("a hello");
        }
    }

    fn submit(&mut self, words: &Words<'_>) {
        let (job, tasks) = self.wanted(words);
        self.submissions += 1;
        let submission = words
            .value("id")
            .map_or(self.submissions, |n| n.parse().expect("an id"));
        self.input(&Input::Submit {
            caller: words.caller(),
            submission: SubmissionId(submission),
            job: Box::new(job),
            tasks,
        });
    }

    fn rehearse(&mut self, words: &Words<'_>) {
        let (job, tasks) = self.wanted(words);
        let before = self.world.cluster.sequence();
        let (cluster, now) = (&self.world.cluster, self.world.now);
        let rehearsal = scheduler::rehearse(cluster, &words.caller(), &job, &tasks, now);
        assert_eq!(self.world.cluster.sequence(), before, "a rehearsal changes nothing");
        match rehearsal {
            Ok(rehearsal) => {
                assert_eq!(rehearsal.starts_now, rehearsal.why.is_none());
                let names: Vec<String> = rehearsal.nodes.iter().map(|node| self.name(*node)).collect();
                if rehearsal.starts_now {
                    self.say(format!("would start on {}", names.join(" ")));
                }
                if let Some(why) = rehearsal.why {
                    self.tell_why(&why);
                }
            }
            Err(Refusal { code, what, remedy, .. }) => self.say(format!("refused ({code:?}): {what}; {remedy}")),
        }
    }

    fn wanted(&self, words: &Words<'_>) -> (JobSpec, Vec<TaskSpec>) {
        let list = |key| words.value(key).map_or_else(Vec::new, |list| list.split(',').collect());
        let millis = |key: &str| {
            words
                .value(key)
                .map(|s| Millis::from_seconds(s.parse().expect("seconds")))
        };
        let mut job = JobSpec {
            priority: Priority::new(words.value("priority").map_or(0, |n| n.parse().expect("a priority")))
                .expect("in range"),
            pool: words
                .value("pool")
                .map(|name| PoolName::new(name).expect("a pool name")),
            node_groups: list("groups")
                .iter()
                .map(|name| GroupName::new(name).expect("a group name"))
                .collect(),
            requested_nodes: words.value("requested").map_or_else(Vec::new, names),
            exclusive: words.has("exclusive"),
            runtime_limit: millis("runtime"),
            ..JobSpec::default()
        };
        let mut task = TaskSpec::of_command(vec![words.value("command").unwrap_or("true").to_owned()]);
        if words.has("nothing") {
            task.command.clear();
        }
        let count = |key: &str| words.value(key).map(|n| n.parse::<u32>().expect("a number"));
        task.request = match (count("nodes"), count("cores")) {
            (Some(count), _) => Request::Nodes { count },
            (None, count) => Request::Cores {
                count: count.unwrap_or(1),
            },
        };
        task.exclusive = words.has("alone");
        task.rerunnable = !words.has("norerun");
        task.max_requeues = Some(count("requeues").unwrap_or(3));
        task.runtime_limit = millis("limit");
        task.retention = millis("retention");
        wishes::read(words, &mut job, &mut task, |name| self.id(name));
        work::read(words, &mut job, &mut task, self.world.now.wall);
        lifecycle::read(words, &mut job, &self.world);
        roles::read(words, &mut job, &mut task);
        tasks::read(words, &mut job, &mut task);
        placing::read(words, &mut task);
        (job, vec![task; count("tasks").unwrap_or(1) as usize])
    }

    fn report(&mut self, words: &Words<'_>) {
        let node = self.id(&words.names(1)[0]);
        let attempt = AttemptId(words.number(2));
        let at = self.world.now.wall;
        let report = match words.verb() {
            "started" => Report::Started { attempt, at },
            "released" => Report::Released { attempt },
            "coordinated" => Report::Coordinated { attempt },
            _ => Report::Ended {
                attempt,
                outcome: words.outcome(node),
                at,
                started_at: None,
                then: None,
            },
        };
        let boot = words
            .value("boot")
            .map(|n| proto::ids::BootId(n.parse().expect("a boot id")));
        let boot = boot
            .or_else(|| self.world.cluster.node(node).and_then(|row| row.boot))
            .expect("a boot id");
        self.input(&Input::Report { node, boot, report });
    }

    fn lose(&mut self, words: &Words<'_>) {
        for name in words.names(1) {
            let node = self.id(&name);
            self.silent.insert(node);
            self.input(&Input::NodeGone { node });
        }
    }

    fn hello(&mut self, words: &Words<'_>) {
        for name in words.names(1) {
            let row = self
                .world
                .cluster
                .node_by_name(&name)
                .expect("a node of that name")
                .clone();
            let boot = words
                .value("boot")
                .map_or_else(|| row.boot.map_or(1, |b| b.0), |n| n.parse().expect("a number"));
            let mut hello = hello(name.as_str(), row.slots, boot);
            for held in words
                .value("held")
                .map_or_else(Vec::new, |list| list.split(',').collect())
            {
                let (attempt, state) = held.split_once(':').expect("attempt:state");
                let state = match state {
                    "running" => HeldState::Running {
                        started_at: self.world.now.wall,
                    },
                    "ended" => HeldState::Ended,
                    _ => HeldState::Waiting,
                };
                hello.held.push(HeldAttempt {
                    attempt: attempt.parse().expect("an attempt"),
                    state,
                });
            }
            self.silent.remove(&row.id);
            let round = self.world.node_up(hello);
            self.tell(round);
        }
    }

    fn tick(&mut self, words: &Words<'_>) {
        let mut left = words.span(1);
        while left > Millis(0) {
            let step = left.min(self.world.settings.timing.heartbeat);
            left = left - step;
            self.world.pass(step);
            let nodes = self
                .world
                .cluster
                .nodes()
                .filter(|row| matches!(row.liveness, Liveness::Up { .. }));
            let alive: Vec<NodeId> = nodes.map(|row| row.id).filter(|id| !self.silent.contains(id)).collect();
            for node in alive {
                let round = self.world.heard(node);
                self.tell(round);
            }
            if self
                .world
                .cluster
                .next_deadline()
                .is_some_and(|at| at <= self.world.now.monotonic)
            {
                self.input(&Input::Tick);
                let next = self.world.cluster.next_deadline();
                assert!(
                    next.is_none_or(|at| at > self.world.now.monotonic),
                    "a tick settles what was due"
                );
            }
        }
    }

    fn input(&mut self, input: &Input) {
        let round = self.world.round(input);
        self.tell(round);
    }

    fn tell(&mut self, round: Round) {
        match round.answer {
            Ok(Answer::None) => {}
            Ok(Answer::Submitted { job, repeated: false }) => self.say(format!("job {job}")),
            Ok(Answer::Submitted { job, repeated: true }) => self.say(format!("job {job}, submitted before")),
            Ok(Answer::Added { job, first, repeated }) => {
                self.say(format!(
                    "from {job}.{first}{}",
                    if repeated { ", added before" } else { "" }
                ));
            }
            Ok(Answer::LoggedIn { user, .. }) => self.say(format!("logged in {user}")),
            Ok(Answer::Joined { node, .. }) => self.say(format!("node {node}")),
            Ok(Answer::Notes(notes)) => notes.iter().for_each(|note| self.say(format!("note: {note}"))),
            Err(Refusal { code, what, remedy, .. }) => self.say(format!("refused ({code:?}): {what}; {remedy}")),
        }
        for event in &round.events {
            if let Some(words) = self.event(event) {
                self.say(words);
            }
        }
        for action in &round.actions {
            let words = self.action(action);
            self.say(words);
        }
    }

    fn event(&self, event: &Event) -> Option<String> {
        if let Some(words) = lifecycle::event(event) {
            return Some(words);
        }
        Some(match event {
            Event::JobAdded { .. } | Event::JobCreated { .. } | Event::TasksAdded { .. } => return None,
            Event::JobSubmitted { job, .. } => format!("job {job} submitted"),
            Event::JobModified { job, .. } => format!("job {job} modified"),
            Event::JobRequeued { job } => format!("job {job} requeued"),
            Event::JobRevived { job, counted, .. } => {
                format!("job {} revived{}", job.id, if *counted { ", counted" } else { "" })
            }
            Event::NodeUp { node, .. } => format!("{} up", self.name(*node)),
            Event::NodeSuspected { node, .. } => format!("{} suspect", self.name(*node)),
            Event::NodeReturned { node, .. } => format!("{} returned", self.name(*node)),
            Event::NodeLost { node, .. } => format!("{} lost", self.name(*node)),
            Event::NodeSwitched { node, admin, .. } => format!("{} {admin:?}", self.name(*node)),
            Event::JobStopping { job, outcome } => format!("job {job} stopping: {}", job_outcome(outcome)),
            Event::JobEnded { job, outcome, .. } => format!("job {job} ended: {}", job_outcome(outcome)),
            Event::Advanced { attempt, .. } => format!("attempt {attempt} gets a slot"),
            Event::Recalled { attempt } => format!("attempt {attempt} wanted back"),
            Event::Granted {
                attempt,
                task,
                shares,
                ahead,
                ..
            } => {
                let on: Vec<_> = shares
                    .iter()
                    .map(|share| format!("{}:{}", self.name(share.node), share.slots))
                    .collect();
                let ahead = if *ahead { ", ahead of time" } else { "" };
                format!("grant {attempt} to {task}: {}{ahead}", on.join(" "))
            }
            Event::AttemptStarted { attempt, .. } => format!("attempt {attempt} started"),
            Event::AttemptStopping {
                attempt, force, again, ..
            } => {
                let (by, then) = (
                    if *force { " by force" } else { "" },
                    if *again { ", to run again" } else { "" },
                );
                format!("attempt {attempt} stopping{by}{then}")
            }
            Event::AttemptEnded { attempt, outcome, .. } => format!("attempt {attempt} ended: {outcome:?}"),
            Event::ShareReleased { attempt, node } => format!("attempt {attempt} has left {}", self.name(*node)),
            Event::TaskRequeued { task, retry: true, .. } => format!("task {task} waits again, to be retried"),
            Event::TaskRequeued { task, afresh: true, .. } => format!("task {task} waits again, as asked, afresh"),
            Event::TaskRequeued { task, asked: false, .. } => format!("task {task} waits again"),
            Event::TaskRequeued { task, asked: true, .. } => format!("task {task} waits again, as asked"),
            Event::TaskEnded { task, outcome, .. } => format!("task {task} ended: {}", task_outcome(outcome)),
            Event::ArrayRestCanceled { task, .. } => format!("rest of {task} canceled"),
            Event::ArrayRestRequeued { task } => format!("rest of {task} waits again"),
            Event::GroupAdded { group, .. } => format!("group {group} made"),
            Event::GroupRemoved { group } => format!("group {group} removed"),
            Event::GroupJoined { group, node } => format!("{} in {group}", self.name(*node)),
            Event::GroupLeft { group, node } => format!("{} not in {group}", self.name(*node)),
            Event::ErrandAdded { task } if task.number.is_per_node() => format!("task {task} due"),
            Event::ErrandForgotten { task } if task.number.is_per_node() => format!("task {task} forgotten"),
            Event::AttemptSent { attempt } => format!("attempt {attempt} sent"),
            Event::Coordinated { attempt, node } => format!("attempt {attempt} coordinated on {}", self.name(*node)),
            other => pools::event(other, |node| self.name(node)).unwrap_or_else(|| format!("{other:?}")),
        })
    }

    fn action(&self, action: &Action) -> String {
        match action {
            Action::Disconnect { node, .. } => format!("{} <- disconnect", self.name(*node)),
            Action::Remove { node, .. } => format!("{} <- removed", self.name(*node)),
            Action::Order { node, order } => {
                let order = match order {
                    Order::Start(start) if start.task.step.is_some() => {
                        format!("start {} ({}): {}", start.attempt, start.task, start.command.join(" "))
                    }
                    Order::Start(start) => format!("start {} ({})", start.attempt, start.task),
                    Order::Stop { attempt, grace } => format!("stop {attempt} within {grace}"),
                    Order::Release { attempt } => format!("release {attempt}"),
                    Order::Begin { attempt } => format!("begin {attempt}"),
                    Order::Advance { attempt } => format!("advance {attempt}"),
                    Order::Recall { attempt } => format!("recall {attempt}"),
                    Order::StartSteps { order, steps } => {
                        let each = |step: &StepStart| format!("{} ({}.{})", step.attempt, order.task, step.step);
                        format!("start {}", steps.iter().map(each).collect::<Vec<_>>().join(", "))
                    }
                    Order::Restart { reimage } => format!("restart{}", if *reimage { " from its image" } else { "" }),
                    Order::ForgetJob { job } => format!("forget job {job}"),
                    Order::Unknown => "?".to_owned(),
                };
                format!("{} <- {order}", self.name(*node))
            }
        }
    }

    fn why(&mut self, job: JobId) {
        let Some(why) = scheduler::explain(&self.world.cluster, job, self.world.now) else {
            return self.say("it does not wait");
        };
        self.tell_why(&why);
    }

    fn tell_why(&mut self, why: &Why) {
        if let Some(held) = &why.held {
            self.say(format!("held: {held:?}"));
        }
        let causes: Vec<String> = why
            .causes
            .iter()
            .map(|(cause, n)| format!("{n} {}", cause.words()))
            .collect();
        self.say(format!(
            "{} asks {}: {} nodes, {} eligible ({} slots), {} free ({} slots); {}; {} ahead",
            why.task,
            why.asked,
            why.nodes,
            why.eligible,
            why.eligible_slots,
            why.free,
            why.free_slots,
            if causes.is_empty() {
                "nothing against it".to_owned()
            } else {
                causes.join(", ")
            },
            why.ahead
        ));
        assert_eq!(
            why.free + why.causes.values().sum::<u32>(),
            why.nodes,
            "each node counts once"
        );
    }

    fn show(&mut self) {
        let cluster = &self.world.cluster;
        let mut lines = Vec::new();
        for row in cluster.nodes() {
            let liveness = match row.liveness {
                Liveness::Joined => "joined",
                Liveness::Up { .. } => "up",
                Liveness::Suspect { .. } => "suspect",
                Liveness::Lost { .. } => "lost",
            };
            lines.push(format!(
                "{} {liveness} {:?} {}/{}",
                row.name,
                row.admin,
                cluster.slots_held(row.id),
                row.slots
            ));
        }
        for job in cluster.jobs() {
            let more = match &job.state {
                JobState::Canceling { outcome, .. } => format!(": {}", job_outcome(outcome)),
                _ => String::new(),
            };
            lines.push(format!("job {} {}{more}", job.id, job.state.word()));
            for task in cluster.tasks_of(job.id).chain(cluster.errands_of(job.id)) {
                let attempt = match &task.state {
                    TaskState::Ended { .. } | TaskState::Queued => String::new(),
                    state => format!(" attempt {}", state.attempt().expect("one that holds")),
                };
                let elements = task.array.as_ref().map_or_else(String::new, |state| {
                    let counts = state.counts;
                    let TaskCounts {
                        queued,
                        running,
                        finished,
                        failed,
                        canceled,
                    } = counts;
                    format!(
                        ": {queued} wait, {running} run, {finished} finished, {failed} failed, {canceled} canceled; \
                         untouched from {}",
                        state.next
                    )
                });
                lines.push(format!("  task {} {}{attempt}{elements}", task.id, task.state.word()));
            }
        }
        lines.iter().for_each(|line| self.say(line));
    }
}

fn job_outcome(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Finished => "finished".to_owned(),
        JobOutcome::Failed { reason } => format!("failed: {reason}"),
        JobOutcome::Terminated { by, reason } => format!("terminated by '{by}': {reason}"),
        JobOutcome::Canceled { by, message } => format!("canceled by {by} '{message}'"),
    }
}

fn task_outcome(outcome: &TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Finished => "finished".to_owned(),
        TaskOutcome::Failed { cause } => format!("failed: {cause:?}"),
        TaskOutcome::Canceled => "canceled".to_owned(),
    }
}

fn names(list: &str) -> Vec<NodeName> {
    hostlist::expand(list)
        .expect("a host list")
        .iter()
        .map(|name| NodeName::new(name).expect("a node name"))
        .collect()
}

/// A command: a verb, plain words, words with a value, and switches.
pub(crate) struct Words<'a> {
    words: Vec<&'a str>,
    file: &'a str,
}

impl<'a> Words<'a> {
    fn of(line: &'a str, file: &'a str) -> Self {
        Self {
            words: line.split_whitespace().collect(),
            file,
        }
    }

    pub(crate) fn verb(&self) -> &'a str {
        self.words[0]
    }

    pub(crate) fn plain(&self, at: usize) -> &'a str {
        self.words
            .get(at)
            .unwrap_or_else(|| panic!("{}: {:?} lacks a word", self.file, self.words))
    }

    /// All words from there on.
    pub(crate) fn rest(&self, from: usize) -> &[&'a str] {
        self.words.get(from..).unwrap_or_default()
    }

    fn span(&self, at: usize) -> Millis {
        Millis::from_seconds(self.plain(at).trim_end_matches('s').parse().expect("seconds"))
    }

    pub(crate) fn number(&self, at: usize) -> u64 {
        self.plain(at).parse().expect("a number")
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a str> {
        self.words
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn has(&self, switch: &str) -> bool {
        self.words.contains(&switch)
    }

    pub(crate) fn names(&self, from: usize) -> Vec<NodeName> {
        let switches = ["force", "requeue", "terminate", "retaineddata"];
        let plain = self.words.iter().skip(from);
        let plain = plain.filter(|word| !word.contains('=') && !switches.contains(word));
        plain.flat_map(|list| names(list)).collect()
    }

    pub(crate) fn caller(&self) -> Caller {
        match self.value("as") {
            Some("root") => root(),
            name => user(name.unwrap_or("ann")),
        }
    }

    pub(crate) fn admin(&self) -> Caller {
        self.value("as").map_or_else(root, user)
    }

    fn outcome(&self, node: NodeId) -> AttemptOutcome {
        let number = |text: &str| text.parse().expect("a number");
        match *self.words.get(3).expect("an outcome") {
            "fenced" => AttemptOutcome::Fenced,
            "stopped" => AttemptOutcome::Stopped,
            "lost" => AttemptOutcome::NodeLost {
                node,
                reason: "lost its task keeper".to_owned(),
            },
            "notstarted" => AttemptOutcome::NotStarted {
                reason: "no program 'solver' in PATH".to_owned(),
            },
            "timedout" => AttemptOutcome::TimedOut {
                limit: Millis::from_seconds(30),
            },
            word => match word.split_once('=') {
                Some(("exit", code)) => AttemptOutcome::Exited { code: number(code) },
                Some(("signal", signal)) => AttemptOutcome::Signaled { signal: number(signal) },
                _ => panic!("{}: no outcome '{word}'", self.file),
            },
        }
    }
}
