//! The events of one decision, and what follows from several of them together: a job ends with the last of its tasks, and
//! a draining node is offline when the last share on it is released.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::attempt::{AttemptRow, Held};
use proto::model::job::{JobOutcome, JobState};
use proto::model::node::AdminState;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskState};
use proto::units::{Now, Timestamp};

use crate::action::Action;
use crate::cluster::Cluster;
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
}

#[derive(Default)]
struct Ended {
    count: u32,
    /// The latest of their ends.
    last: Timestamp,
    /// The failed ones.
    failed: BTreeMap<TaskNumber, AttemptOutcome>,
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

    /// The task is over since `at`, which is when its process ended and not when that was told.
    pub(super) fn end_task(&mut self, task: TaskId, outcome: TaskOutcome, at: Timestamp) {
        let ended = self.ended.entry(task.job).or_default();
        ended.count += 1;
        ended.last = ended.last.max(at);
        if let TaskOutcome::Failed { cause } = &outcome {
            ended.failed.insert(task.number, cause.clone());
        }
        self.events.push(Event::TaskEnded { task, outcome, at });
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
        let verdict = self.cluster.task(attempt.task).map(|task| verdict(task, &outcome));
        self.events.push(Event::AttemptEnded {
            attempt: attempt.id,
            outcome,
            at,
        });
        let fate = match verdict {
            Some(Verdict::Again) => {
                self.events.push(Event::TaskRequeued { task: attempt.task });
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
            _ => self.sum_up(id, &ended),
        };
        let at = if ended.count > 0 { ended.last } else { self.now.wall };
        self.events.push(Event::JobEnded { job: id, outcome, at });
    }

    /// How a job ended whose tasks all ended by themselves.
    fn sum_up(&self, id: JobId, ended: &Ended) -> JobOutcome {
        let before = self.cluster.job(id).map_or(0, |job| job.counts.failed as usize);
        let failures = before + ended.failed.len();
        let earlier = self
            .cluster
            .tasks_of(id)
            .filter(|_| before > 0)
            .find_map(|task| match &task.state {
                TaskState::Ended {
                    outcome: TaskOutcome::Failed { cause },
                    ..
                } => Some((task.id.number, cause)),
                _ => None,
            });
        let first = earlier
            .into_iter()
            .chain(ended.failed.iter().map(|(number, cause)| (*number, cause)));
        let Some((number, cause)) = first.min_by_key(|(number, _)| *number) else {
            return JobOutcome::Finished;
        };
        let mut reason = format!("task {number} {}", self.words(TaskId { job: id, number }, cause));
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
            if draining && self.cluster.attempts_on(node).count() == released {
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
    Again,
    Over(TaskOutcome),
}

/// What becomes of a task whose attempt is over: a node's fault never counts as the user's error while it may be retried.
fn verdict(task: &TaskRow, outcome: &AttemptOutcome) -> Verdict {
    if let TaskState::Stopping { outcome, .. } = &task.state {
        return Verdict::Over(outcome.clone());
    }
    match outcome {
        AttemptOutcome::Exited { code: 0 } => Verdict::Over(TaskOutcome::Finished),
        AttemptOutcome::NodeLost { .. } | AttemptOutcome::Fenced if may_rerun(task) => Verdict::Again,
        cause => Verdict::Over(TaskOutcome::Failed { cause: cause.clone() }),
    }
}

/// Whether a task may be started once more. Until it may not, its node ends it with the fencing lease.
pub(crate) const fn may_rerun(task: &TaskRow) -> bool {
    task.spec.rerunnable && task.requeues < task.spec.max_requeues
}
