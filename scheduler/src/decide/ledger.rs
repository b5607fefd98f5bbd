//! The events of one decision, and what follows from several of them together: a job ends with the last of its tasks, and
//! a draining node is offline when the last share on it is released.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId};
use proto::model::attempt::{AttemptRow, Held};
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, Progress};
use proto::model::node::AdminState;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskState};
use proto::units::{Now, Timestamp};

use super::consequence;
use crate::action::Action;
use crate::cluster::{Cluster, Standing};
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
    /// Tasks that end here, and whether well.
    over: BTreeMap<TaskId, Standing>,
    /// Tasks that wait again after an attempt that ends here.
    again: BTreeSet<TaskId>,
    /// Jobs whose wishes are changed here.
    wishes: BTreeMap<JobId, JobSpec>,
}

#[derive(Default)]
struct Ended {
    count: u32,
    /// The latest of their ends.
    last: Timestamp,
    /// The failed ones.
    failed: BTreeMap<TaskId, AttemptOutcome>,
    finished: u32,
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
            wishes: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
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
    /// decision counts.
    pub(super) fn end_task(&mut self, task: TaskId, outcome: TaskOutcome, at: Timestamp) {
        let standing = match &outcome {
            TaskOutcome::Finished => Standing::Good,
            TaskOutcome::Failed { .. } | TaskOutcome::Canceled => Standing::Bad,
        };
        if self.over.insert(task, standing).is_some() {
            return;
        }
        let ended = self.ended.entry(task.job).or_default();
        ended.count += 1;
        ended.last = ended.last.max(at);
        match &outcome {
            TaskOutcome::Finished => ended.finished += 1,
            TaskOutcome::Failed { cause } => drop(ended.failed.insert(task, cause.clone())),
            TaskOutcome::Canceled => {}
        }
        self.events.push(Event::TaskEnded { task, outcome, at });
    }

    /// Whether the end of a task is decided here.
    pub(super) fn is_over(&self, task: TaskId) -> bool {
        self.over.contains_key(&task)
    }

    /// Tasks that end here and not well.
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
            job.spec.fail_on_task_failure && matches!(job.state, JobState::Queued | JobState::Running { .. })
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

    /// An attempt that was under way is over; nothing of it is left on the nodes in `gone`. Its task ends or waits again.
    /// Several nodes of a gang may be lost in one decision: only the first ends it.
    pub(super) fn end_attempt(
        &mut self,
        attempt: &AttemptRow,
        outcome: AttemptOutcome,
        at: Timestamp,
        gone: impl Fn(NodeId) -> bool,
    ) {
        for share in attempt
            .shares
            .iter()
            .filter(|share| share.held == Held::Yes && gone(share.node))
        {
            self.release(attempt.id, share.node);
        }
        if self.concluded.contains_key(&attempt.id) {
            return;
        }
        let verdict = self.verdict(attempt, &outcome);
        self.events.push(Event::AttemptEnded {
            attempt: attempt.id,
            outcome,
            at,
        });
        let fate = match verdict {
            Some(Verdict::Again { asked }) => {
                let task = attempt.task;
                self.events.push(Event::TaskRequeued { task, asked });
                self.again.insert(task);
                Fate::Requeued
            }
            Some(Verdict::Over(outcome)) => {
                self.end_task(attempt.task, outcome, at);
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
        consequence::follow(&mut self);
        self.end_jobs();
        self.empty_nodes();
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
        let Some(job) = self.cluster.job(id).filter(|job| !job.state.is_ended()) else {
            return;
        };
        let ended = self.ended.remove(&id).unwrap_or_default();
        if job.counts.queued + job.counts.running > ended.count {
            if let Some(outcome) = decided {
                self.events.push(Event::JobStopping { job: id, outcome });
            }
            return;
        }
        let outcome = match (decided, &job.state) {
            (Some(outcome), _) => outcome,
            (None, JobState::Canceling { outcome, .. }) => outcome.clone(),
            (None, JobState::Configuring) => return,
            (None, _) if self.wishes(job).run_until_canceled => return,
            (None, _) => self.sum_up(id, &ended),
        };
        let at = if ended.count > 0 { ended.last } else { self.now.wall };
        self.events.push(Event::JobEnded { job: id, outcome, at });
    }

    /// How a job ended whose tasks all ended by themselves.
    fn sum_up(&self, id: JobId, ended: &Ended) -> JobOutcome {
        let counts = self.cluster.job(id).map(|job| job.counts).unwrap_or_default();
        let before = counts.failed as usize;
        let failures = before + ended.failed.len();
        let earlier = self
            .cluster
            .tasks_of(id)
            .filter(|_| before > 0)
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

    fn empty_nodes(&mut self) {
        let mut released: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (node, _) in std::mem::take(&mut self.released) {
            *released.entry(node).or_default() += 1;
        }
        for (node, released) in released {
            let draining = self
                .cluster
                .node(node)
                .is_some_and(|row| row.admin == AdminState::Draining);
            let removed = || self.events.contains(&Event::NodeRemoved { node });
            if draining && !removed() && self.cluster.attempts_on(node).count() == released {
                self.events.push(Event::NodeSwitched {
                    node,
                    admin: AdminState::Offline,
                });
            }
        }
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

enum Verdict {
    Again { asked: bool },
    Over(TaskOutcome),
}

impl Ledger<'_> {
    /// What becomes of the task of an attempt that is over: a node's fault never counts as the user's error while it may be
    /// retried. Nothing is tried again that a silent node may run still.
    fn verdict(&self, attempt: &AttemptRow, outcome: &AttemptOutcome) -> Option<Verdict> {
        let task = self.cluster.task(attempt.task)?;
        let may_run_still = matches!(outcome, AttemptOutcome::NodeLost { .. }) && !attempt.rerunnable;
        let failed = |cause: &AttemptOutcome| Verdict::Over(TaskOutcome::Failed { cause: cause.clone() });
        if let TaskState::Stopping {
            outcome: due, again, ..
        } = &task.state
        {
            return Some(match (again, may_run_still) {
                (false, _) => Verdict::Over(due.clone()),
                (true, false) => Verdict::Again { asked: true },
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
                Verdict::Again { asked: false }
            }
            cause => failed(cause),
        })
    }

    fn counts_as_success(&self, task: &TaskRow, code: i32) -> bool {
        let of_job = || self.cluster.job(task.id.job)?.spec.valid_exit_codes.as_ref();
        let codes = task.spec.valid_exit_codes.as_ref().or_else(of_job);
        codes.map_or(code == 0, |codes| codes.contains(code))
    }
}
