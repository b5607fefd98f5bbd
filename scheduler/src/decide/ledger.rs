//! The events of one decision, and what follows from several of them together: a job ends with the last of its tasks, and
//! a draining node is offline when the last share on it is released.

mod lives;

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, ScheduleName, TaskId, TaskNumber};
use proto::model::attempt::{AttemptRow, Held};
use proto::model::exit::JobAction;
use proto::model::job::{JobKind, JobOutcome, JobRow, JobSpec, JobState, Progress};
use proto::model::schedule::ScheduleRow;
use proto::model::task::{AttemptOutcome, TaskKind, TaskOutcome, TaskRow, TaskState};
use proto::units::{Now, Timestamp};

use super::duty::{self, Nodes};
use super::errand::{self, End};
use super::window::{self, Handovers};
use super::{consequence, lifecycle, manager, parents, pool, schedule, start_task};
use crate::action::Action;
use crate::cluster::{Cluster, ElementPlace, Standing, options_of};
use crate::input::{Answer, Decision};
use crate::refusal::counted;

/// Collects a decision.
pub(super) struct Ledger<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) now: Now,
    events: Vec<Event>,
    actions: Vec<Action>,
    /// Tasks that end here, by job, with those that fail.
    ended: BTreeMap<JobId, Ended>,
    /// Shares that are released here.
    released: BTreeSet<(NodeId, AttemptId)>,
    /// Attempts that end here, and whether their tasks wait again.
    concluded: BTreeMap<AttemptId, Fate>,
    /// Jobs whose end is decided here.
    stopping: BTreeMap<JobId, JobOutcome>,
    /// Tasks that end here, and how they stand for those that depend on them.
    over: BTreeMap<TaskId, Standing>,
    /// Tasks that wait again after an attempt that ends here.
    again: BTreeSet<TaskId>,
    /// What the ends of tasks here ask of their jobs.
    exit_actions: BTreeMap<JobId, ExitAction>,
    /// Jobs whose wishes are changed here.
    wishes: BTreeMap<JobId, JobSpec>,
    /// Jobs that are over here, and how.
    closed: BTreeMap<JobId, JobOutcome>,
    /// Those of which nobody has asked yet what follows.
    just_closed: Vec<JobId>,
    /// Jobs that are to be taken away from here on.
    deleting: BTreeSet<JobId>,
    /// Jobs that are gone here.
    deleted: BTreeSet<JobId>,
    /// Schedules that are otherwise here.
    schedules: BTreeMap<ScheduleName, ScheduleRow>,
    /// Jobs that schedules make here.
    made: u64,
    /// What is decided here about nodes and pools.
    pub(super) nodes: Nodes,
    /// Preparation and release tasks that are over or forgotten here.
    errands: BTreeMap<TaskId, End>,
    /// Attempts that are stopped here.
    stopped: BTreeSet<AttemptId>,
    /// Nodes that are lost here, or removed.
    gone: BTreeMap<NodeId, Gone>,
    /// Jobs that wait for release tasks from here on.
    pub(super) winding_up: BTreeSet<JobId>,
    pub(super) handovers: Handovers,
}

/// Why a node can no longer be expected to do anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Lost,
    Removed,
}

#[derive(Default)]
struct Ended {
    count: u32,
    /// The latest of their ends.
    last: Timestamp,
    /// The failed ones.
    failed: BTreeMap<TaskId, AttemptOutcome>,
    finished: u32,
    /// Services of which an instance is canceled.
    canceled_services: BTreeSet<TaskNumber>,
}

impl<'a> Ledger<'a> {
    pub(super) const fn new(cluster: &'a Cluster, now: Now) -> Self {
        Self {
            cluster,
            now,
            events: Vec::new(),
            actions: Vec::new(),
            ended: BTreeMap::new(),
            released: BTreeSet::new(),
            concluded: BTreeMap::new(),
            stopping: BTreeMap::new(),
            over: BTreeMap::new(),
            again: BTreeSet::new(),
            exit_actions: BTreeMap::new(),
            wishes: BTreeMap::new(),
            closed: BTreeMap::new(),
            just_closed: Vec::new(),
            deleting: BTreeSet::new(),
            deleted: BTreeSet::new(),
            schedules: BTreeMap::new(),
            made: 0,
            nodes: Nodes::new(),
            errands: BTreeMap::new(),
            stopped: BTreeSet::new(),
            gone: BTreeMap::new(),
            winding_up: BTreeSet::new(),
            handovers: Handovers::new(),
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        let unsent = self.note(&event);
        self.events.push(event);
        if let Some((attempt, verdict)) = unsent {
            // It waits for the preparation of its nodes, and needs no word of theirs to end.
            self.release_all(attempt, |_| true);
            self.conclude(attempt, AttemptOutcome::Stopped, self.now.wall, Some(verdict));
        }
    }

    /// Remembers what later consequences ask for. Returns an attempt that is stopped and of which no node knows, and what
    /// becomes of its task.
    fn note(&mut self, event: &Event) -> Option<(&'a AttemptRow, Verdict)> {
        match event {
            Event::NodeLost { node, .. } => drop(self.gone.insert(*node, Gone::Lost)),
            Event::NodeRemoved { node } => drop(self.gone.insert(*node, Gone::Removed)),
            Event::ErrandForgotten { task } => drop(self.errands.insert(*task, End::Forgotten)),
            Event::AttemptStopping {
                attempt,
                outcome,
                again,
                ..
            } => {
                self.stopped.insert(*attempt);
                let attempt = self.cluster.attempt(*attempt).filter(|attempt| !attempt.sent)?;
                let verdict = match again {
                    true => Verdict::Again {
                        asked: true,
                        retry: false,
                    },
                    false => Verdict::Over(outcome.clone()),
                };
                return (!self.concluded.contains_key(&attempt.id)).then_some((attempt, verdict));
            }
            _ => {}
        }
        None
    }

    /// What became of a preparation or release task here.
    pub(super) fn errand_end(&self, task: TaskId) -> Option<End> {
        self.errands.get(&task).copied()
    }

    /// Preparation and release tasks that ended so here.
    pub(super) fn errands_that(&self, end: End) -> Vec<TaskId> {
        let so = self.errands.iter().filter(|(_, is)| **is == end);
        so.map(|(task, _)| *task).collect()
    }

    /// Whether an attempt is stopped here.
    pub(super) fn is_stopped(&self, attempt: AttemptId) -> bool {
        self.stopped.contains(&attempt)
    }

    /// Whether a node is lost here.
    pub(super) fn is_lost(&self, node: NodeId) -> bool {
        self.gone.get(&node) == Some(&Gone::Lost)
    }

    /// Whether a node leaves the cluster here.
    pub(super) fn is_removed(&self, node: NodeId) -> bool {
        self.gone.get(&node) == Some(&Gone::Removed)
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// The end of a job is decided; what runs of it is being stopped.
    pub(super) fn stop_job(&mut self, job: JobId, outcome: JobOutcome) {
        self.stopping.insert(job, outcome);
    }

    /// The job's wishes are these from now on, also for what else follows here.
    pub(super) fn modify_job(&mut self, job: &JobRow, spec: JobSpec, progress: Option<Progress>) {
        self.wishes.insert(job.id, spec.clone());
        self.push(Event::JobModified {
            job: job.id,
            spec: Box::new(spec),
            progress,
        });
    }

    /// The job's wishes after what is decided here.
    pub(super) fn wishes<'b>(&'b self, job: &'b JobRow) -> &'b JobSpec {
        self.wishes.get(&job.id).unwrap_or(&job.spec)
    }

    /// Looks whether the job has come to its end, although nothing of it ends here.
    pub(super) fn settle_job(&mut self, job: JobId) {
        self.ended.entry(job).or_default();
    }

    /// The task is over since `at`, which is when its process ended and not when that was told. Only its first end in a
    /// decision counts. The id of an array ends its untouched elements, which are canceled all at once.
    pub(super) fn end_task(&mut self, task: TaskId, outcome: TaskOutcome, at: Timestamp) {
        self.end_task_with(task, outcome, at, None);
    }

    /// Likewise, of a task whose program ended by itself with this exit code.
    fn end_task_with(&mut self, task: TaskId, outcome: TaskOutcome, at: Timestamp, code: Option<i32>) {
        if task.number.is_per_node() {
            return self.end_errand_task(task, outcome, at);
        }
        if self.is_over(task) {
            return;
        }
        if self.cluster.is_array(task) {
            return self.cancel_rest(task, at);
        }
        let Some(spec) = self.cluster.spec_of(task) else { return };
        let standing = Standing::after(task, spec, &outcome, code);
        self.over.insert(task, standing);
        if spec.kind != TaskKind::Service {
            self.note_exit_action(task, options_of(spec, &outcome, code).job);
        }
        let is_service = spec.kind == TaskKind::Service;
        let mut hopeless = false;
        let ended = self.ended.entry(task.job).or_default();
        ended.count += 1;
        ended.last = ended.last.max(at);
        match &outcome {
            TaskOutcome::Finished => ended.finished += 1,
            // A service of which no instance can be started would try for ever.
            TaskOutcome::Failed {
                cause: cause @ AttemptOutcome::NotStarted { .. },
            } if is_service => {
                ended.failed.insert(task, cause.clone());
                hopeless = true;
            }
            // An instance of a service is followed by another; its job is not the worse for it.
            TaskOutcome::Failed { .. } if is_service => {}
            TaskOutcome::Failed { cause } => drop(ended.failed.insert(task, cause.clone())),
            TaskOutcome::Canceled if is_service => drop(ended.canceled_services.insert(task.number)),
            TaskOutcome::Canceled => {}
        }
        self.events.push(Event::TaskEnded { task, outcome, at });
        if hopeless {
            self.cancel_rest(TaskId { step: None, ..task }, at);
        }
    }

    /// Preparation and release tasks are counted nowhere, but the end of a job may wait for one.
    fn end_errand_task(&mut self, task: TaskId, outcome: TaskOutcome, at: Timestamp) {
        if self.errands.contains_key(&task) {
            return;
        }
        let good = outcome == TaskOutcome::Finished;
        self.errands.insert(task, if good { End::Good } else { End::Bad });
        self.settle_job(task.job);
        self.events.push(Event::TaskEnded { task, outcome, at });
    }

    fn note_exit_action(&mut self, task: TaskId, action: JobAction) {
        let due = match action {
            JobAction::None => return,
            JobAction::Disable => ExitAction::Disable,
            JobAction::Terminate => ExitAction::Terminate,
        };
        let noted = self.exit_actions.entry(task.job).or_insert(due);
        *noted = due.max(*noted);
    }

    /// Jobs that ask for the actions of their tasks' ends, with the strongest of those here.
    pub(super) fn exit_actions(&self) -> Vec<(JobId, ExitAction)> {
        let asks = |id: &JobId, action: ExitAction| {
            let Some(job) = self.cluster.job(*id) else { return false };
            let goes_on = match job.state {
                JobState::Canceling { .. } | JobState::Ended { .. } => false,
                JobState::Disabled { .. } => action != ExitAction::Disable,
                JobState::Configuring | JobState::Queued | JobState::Running { .. } => true,
            };
            goes_on && !self.stopping.contains_key(id) && self.wishes(job).perform_exit_actions
        };
        let noted = self.exit_actions.iter().map(|(id, action)| (*id, *action));
        noted.filter(|(id, action)| asks(id, *action)).collect()
    }

    /// Ends the untouched elements of an array, as far as they wait, by one event however many they are.
    fn cancel_rest(&mut self, array: TaskId, at: Timestamp) {
        let waits = self.cluster.task(array).is_some_and(|row| self.cluster.waits(row));
        let first = self.over.range(array..).take_while(|(task, _)| array.covers(**task));
        let alone = first.filter(|(task, _)| self.is_untouched(**task)).count();
        let left = self
            .cluster
            .untouched_of(array)
            .saturating_sub(u32::try_from(alone).unwrap_or(u32::MAX));
        if !waits || left == 0 {
            return;
        }
        self.over.insert(array, Standing::Bad);
        let ended = self.ended.entry(array.job).or_default();
        ended.count += left;
        ended.last = ended.last.max(at);
        if self
            .cluster
            .spec_of(array)
            .is_some_and(|spec| spec.kind == TaskKind::Service)
        {
            ended.canceled_services.insert(array.number);
        }
        self.events.push(Event::ArrayRestCanceled { task: array, at });
    }

    fn is_untouched(&self, task: TaskId) -> bool {
        self.cluster.element_place(task) == ElementPlace::Untouched
    }

    /// Whether the end of a task is decided here; of an array, that of its untouched elements.
    pub(super) fn is_over(&self, task: TaskId) -> bool {
        let with_rest = || self.over.contains_key(&TaskId { step: None, ..task }) && self.is_untouched(task);
        self.over.contains_key(&task) || with_rest()
    }

    /// Tasks that end here so that what depends on them can never run.
    pub(super) fn spoiled(&self) -> impl Iterator<Item = TaskId> {
        let bad = self.over.iter().filter(|(_, standing)| **standing == Standing::Bad);
        bad.map(|(task, _)| *task)
    }

    /// Tasks that wait again after an attempt that ends here, unless they are over all the same.
    pub(super) fn again(&self) -> impl Iterator<Item = TaskId> {
        self.again.iter().copied().filter(|task| !self.is_over(*task))
    }

    /// Jobs that are to end with their first failure, which is here, with the words for it.
    pub(super) fn failing(&self) -> Vec<(JobId, String)> {
        let at_once = |job: &JobRow| {
            job.spec.fail_on_task_failure && !matches!(job.state, JobState::Configuring | JobState::Canceling { .. })
        };
        let undecided = self
            .ended
            .iter()
            .filter(|(id, _)| !self.stopping.contains_key(id) && self.cluster.job(**id).is_some_and(at_once));
        let first = undecided.filter_map(|(id, ended)| Some((*id, ended.failed.first_key_value()?)));
        first
            .map(|(id, (task, cause))| (id, format!("task {task} {}", self.words(*task, cause))))
            .collect()
    }

    /// A node holds nothing of the attempt any more.
    pub(super) fn release(&mut self, attempt: AttemptId, node: NodeId) {
        if self.released.insert((node, attempt)) {
            self.events.push(Event::ShareReleased { attempt, node });
        }
    }

    /// How many attempts a node lets go here.
    pub(super) fn released_on(&self, node: NodeId) -> usize {
        let of_node = (node, AttemptId(0))..=(node, AttemptId(u64::MAX));
        self.released.range(of_node).count()
    }

    /// The attempts that a node lets go here.
    pub(super) fn released_from(&self, node: NodeId) -> impl Iterator<Item = &AttemptId> {
        let of_node = (node, AttemptId(0))..=(node, AttemptId(u64::MAX));
        self.released.range(of_node).map(|(_, attempt)| attempt)
    }

    /// Nodes that let something go here.
    pub(super) fn releasing(&self) -> BTreeSet<NodeId> {
        self.released.iter().map(|(node, _)| *node).collect()
    }

    /// Start tasks of pools that end here, with the reason of those that do not end well.
    pub(super) fn ended_starts(&self) -> Vec<(TaskId, Option<String>)> {
        let reason = |task: &TaskId, standing: Standing| {
            let cause = self.ended.get(&task.job).and_then(|ended| ended.failed.get(task));
            let words = cause.map_or_else(|| "was canceled".to_owned(), |cause| self.words(*task, cause));
            (standing != Standing::Good).then(|| format!("task {task} {words}"))
        };
        let is_start = |job: &&JobId| {
            let job = self.cluster.job(**job);
            job.is_some_and(|job| job.spec.kind == JobKind::Start)
        };
        let jobs = self.ended.keys().filter(is_start);
        let starts = jobs.flat_map(|job| self.over.range(TaskId::first_of(*job)..=TaskId::last_of(*job)));
        starts
            .map(|(task, standing)| (*task, reason(task, *standing)))
            .collect()
    }

    /// An attempt that was under way is over; nothing of it is left on the nodes in `gone`. Its task ends or waits again.
    /// Several nodes of a gang may be lost in one decision: only the first ends it.
    pub(super) fn end_attempt(
        &mut self,
        attempt: &AttemptRow,
        outcome: AttemptOutcome,
        at: Timestamp,
        gone: impl Fn(NodeId) -> bool,
    ) {
        self.release_all(attempt, |node| !attempt.sent || gone(node));
        if self.concluded.contains_key(&attempt.id) {
            return;
        }
        let verdict = match attempt.sent {
            true => self.verdict(attempt, &outcome),
            // No node ever heard of it, so it waits again whatever the rules of its task, and that counts as no retry.
            false => Some(Verdict::Again {
                asked: true,
                retry: false,
            }),
        };
        self.conclude(attempt, outcome, at, verdict);
    }

    /// No node ever started the attempt: its task waits again, whatever its rules, and that counts as no retry.
    pub(super) fn give_back(&mut self, attempt: &AttemptRow, node: NodeId) {
        self.release(attempt.id, node);
        if !self.concluded.contains_key(&attempt.id) {
            let verdict = Verdict::Again {
                asked: true,
                retry: false,
            };
            self.conclude(attempt, AttemptOutcome::Stopped, self.now.wall, Some(verdict));
        }
    }

    fn release_all(&mut self, attempt: &AttemptRow, gone: impl Fn(NodeId) -> bool) {
        let held = attempt.shares.iter().filter(|share| share.held == Held::Yes);
        for share in held.filter(|share| gone(share.node)) {
            self.release(attempt.id, share.node);
        }
    }

    fn conclude(&mut self, attempt: &AttemptRow, outcome: AttemptOutcome, at: Timestamp, verdict: Option<Verdict>) {
        self.retain(attempt, at);
        let code = match &outcome {
            AttemptOutcome::Exited { code } => Some(*code),
            _ => None,
        };
        self.events.push(Event::AttemptEnded {
            attempt: attempt.id,
            outcome,
            at,
        });
        let fate = match verdict {
            Some(Verdict::Again { asked, retry }) => {
                let task = attempt.task;
                self.events.push(Event::TaskRequeued {
                    task,
                    asked,
                    retry,
                    afresh: false,
                });
                self.again.insert(task);
                Fate::Requeued
            }
            Some(Verdict::Over(outcome)) => {
                self.end_task_with(attempt.task, outcome, at, code);
                Fate::Over
            }
            None => Fate::Over,
        };
        self.concluded.insert(attempt.id, fate);
    }

    /// What became of an attempt in this decision; none when it goes on.
    pub(super) fn fate(&self, attempt: AttemptId) -> Option<Fate> {
        self.concluded.get(&attempt).copied()
    }

    pub(super) fn close(mut self, answer: Answer) -> Decision {
        window::follow(&mut self);
        duty::take_out_empty(&mut self);
        errand::give_way(&mut self);
        consequence::follow(&mut self);
        manager::follow(&mut self);
        start_task::follow(&mut self);
        errand::send(&mut self);
        self.end_jobs();
        // The end of a job may end those that wait for it, and these others.
        while !self.just_closed.is_empty() {
            for job in std::mem::take(&mut self.just_closed) {
                parents::follow(&mut self, job);
                schedule::follow(&mut self, job);
            }
            self.end_jobs();
        }
        lifecycle::delete_emptied(&mut self);
        schedule::remove_emptied(&mut self);
        duty::settle(&mut self);
        pool::settle(&mut self);
        Decision {
            events: self.events,
            actions: self.actions,
            answer,
        }
    }

    fn end_jobs(&mut self) {
        for (id, outcome) in std::mem::take(&mut self.stopping) {
            self.end_job(id, Some(outcome));
        }
        let touched: Vec<JobId> = self.ended.keys().copied().collect();
        for id in touched {
            self.end_job(id, None);
        }
    }

    fn end_job(&mut self, id: JobId, decided: Option<JobOutcome>) {
        let Some(job) = self.cluster.job(id).filter(|_| self.is_live(id)) else {
            return;
        };
        let ended = self.ended.remove(&id).unwrap_or_default();
        if job.counts.queued + job.counts.running > ended.count {
            if let Some(outcome) = decided {
                self.events.push(Event::JobStopping { job: id, outcome });
                errand::stop_preparations(self, id);
            }
            self.ended.insert(id, ended);
            return;
        }
        let outcome = match (decided, &job.state) {
            (Some(outcome), _) => outcome,
            (None, JobState::Canceling { outcome, .. }) => outcome.clone(),
            (None, JobState::Configuring) => return,
            (None, _) if self.wishes(job).run_until_canceled || self.is_kept_by_service(id, &ended) => return,
            (None, _) => self.sum_up(id, &ended),
        };
        if errand::wind_up(self, job, &outcome) {
            return;
        }
        let at = if ended.count > 0 { ended.last } else { self.now.wall };
        self.closed.insert(id, outcome.clone());
        self.just_closed.push(id);
        self.events.push(Event::JobEnded { job: id, outcome, at });
    }

    /// Whether a service that nobody canceled keeps the job, all of whose tasks are over, from ending by itself.
    fn is_kept_by_service(&self, id: JobId, ended: &Ended) -> bool {
        let services = self.cluster.services_kept(id);
        services.difference(&ended.canceled_services).next().is_some()
    }

    /// How a job ended whose tasks all ended by themselves.
    fn sum_up(&self, id: JobId, ended: &Ended) -> JobOutcome {
        let counts = self.cluster.job(id).map(|job| job.counts).unwrap_or_default();
        let before = counts.failed as usize;
        let failures = before + ended.failed.len();
        let earlier = self
            .cluster
            .tasks_of(id)
            .filter(|task| before > 0 && task.spec.kind != TaskKind::Service && task.array.is_none())
            .find_map(|task| match &task.state {
                TaskState::Ended {
                    outcome: TaskOutcome::Failed { cause },
                    ..
                } => Some((task.id, cause)),
                _ => None,
            });
        let first = earlier
            .into_iter()
            .chain(ended.failed.iter().map(|(task, cause)| (*task, cause)));
        let Some((task, cause)) = first.min_by_key(|(task, _)| *task) else {
            let none_finished = counts.finished + ended.finished == 0 && counts.total() > 0;
            return if none_finished {
                let reason = "all its tasks were canceled".to_owned();
                JobOutcome::Failed { reason }
            } else {
                JobOutcome::Finished
            };
        };
        let mut reason = format!("task {task} {}", self.words(task, cause));
        if failures > 1 {
            reason.push_str(&format!(", and {} more failed", counted(failures - 1, "task")));
        }
        JobOutcome::Failed { reason }
    }

    /// What happened to a task, following its number.
    fn words(&self, task: TaskId, cause: &AttemptOutcome) -> String {
        match cause {
            AttemptOutcome::Exited { code } => format!("failed with exit code {code}"),
            AttemptOutcome::Signaled { signal } => format!("was ended by signal {signal}"),
            AttemptOutcome::NotStarted { reason } => format!("could not be started: {reason}"),
            AttemptOutcome::TimedOut { limit } => format!("was stopped at its run time limit of {limit}"),
            AttemptOutcome::Stopped => "was stopped".to_owned(),
            AttemptOutcome::Fenced => {
                let node = self.cluster.task(task).and_then(|row| row.last_nodes.first().copied());
                let node = node.map_or_else(String::new, |node| format!(" {}", self.name(node)));
                format!("was stopped by node{node}, which could not reach the head node")
            }
            AttemptOutcome::NodeLost { node, reason } => format!("failed: node {} {reason}", self.name(*node)),
            AttemptOutcome::Unknown => "failed for a reason that only a newer release knows".to_owned(),
        }
    }

    /// A node's name for people.
    pub(super) fn name(&self, node: NodeId) -> String {
        self.cluster
            .node(node)
            .map_or_else(|| node.to_string(), |row| row.name.to_string())
    }
}

/// What became of the task of an attempt that ended in this decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is over.
    Over,
    /// It waits again.
    Requeued,
}

/// What the end of a task asks of its job; the later one is the stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ExitAction {
    Disable,
    Terminate,
}

enum Verdict {
    Again { asked: bool, retry: bool },
    Over(TaskOutcome),
}

impl Ledger<'_> {
    /// What becomes of the task of an attempt that is over: a node's fault never counts as the user's error while it may be
    /// retried. Nothing is tried again that a silent node may run still. What its program did counts by other rules: an exit
    /// that is no success is retried as often as the task asks for, and an instance of a service ends well however it ends.
    fn verdict(&self, attempt: &AttemptRow, outcome: &AttemptOutcome) -> Option<Verdict> {
        let task = self.cluster.task(attempt.task)?;
        let may_run_still = matches!(outcome, AttemptOutcome::NodeLost { .. }) && !attempt.rerunnable;
        let failed = |cause: &AttemptOutcome| Verdict::Over(TaskOutcome::Failed { cause: cause.clone() });
        if let TaskState::Stopping {
            outcome: due, again, ..
        } = &task.state
        {
            let did_it = matches!(outcome, AttemptOutcome::Exited { code } if self.counts_as_success(task, *code));
            return Some(match (again, may_run_still) {
                (false, _) => Verdict::Over(due.clone()),
                // It was quicker than the wish to stop it, and what ended well is not done twice.
                (true, _) if did_it => Verdict::Over(TaskOutcome::Finished),
                (true, false) => Verdict::Again {
                    asked: true,
                    retry: false,
                },
                (true, true) => failed(outcome),
            });
        }
        Some(match outcome {
            AttemptOutcome::Exited { code } if self.counts_as_success(task, *code) => {
                Verdict::Over(TaskOutcome::Finished)
            }
            AttemptOutcome::NodeLost { .. } | AttemptOutcome::Fenced
                if !may_run_still && self.cluster.may_rerun(task) =>
            {
                Verdict::Again {
                    asked: false,
                    retry: false,
                }
            }
            AttemptOutcome::Exited { .. } | AttemptOutcome::Signaled { .. } | AttemptOutcome::TimedOut { .. }
                if task.spec.kind == TaskKind::Service =>
            {
                Verdict::Over(TaskOutcome::Finished)
            }
            AttemptOutcome::Exited { .. } | AttemptOutcome::Signaled { .. } if self.may_retry(task) => Verdict::Again {
                asked: false,
                retry: true,
            },
            cause => failed(cause),
        })
    }

    /// Whether a task may be run once more after an exit that is no success.
    fn may_retry(&self, task: &TaskRow) -> bool {
        let of_job = || {
            let job = self.cluster.job(task.id.job)?;
            self.wishes(job).max_retries.filter(|_| !task.id.number.is_per_node())
        };
        let retries = task.spec.max_retries.or_else(of_job);
        retries.is_some_and(|retries| retries.allows(task.retries))
    }

    fn counts_as_success(&self, task: &TaskRow, code: i32) -> bool {
        let of_job = || self.cluster.job(task.id.job)?.spec.valid_exit_codes.as_ref();
        let codes = task.spec.valid_exit_codes.as_ref().or_else(of_job);
        codes.map_or(code == 0, |codes| codes.contains(code))
    }
}
