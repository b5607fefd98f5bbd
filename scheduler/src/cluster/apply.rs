//! Events become state. Each arm writes rows, marks them, and keeps the indexes in step; none can fail. An event about
//! something that is not there changes nothing, so that a replay over newer rows does no harm.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held, Share};
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, TaskCounts};
use proto::model::owner::Owner;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::stored::{FIRST_TASK, Row, RowKey, SubmissionRow};
use proto::units::Timestamp;

use super::restore::tenant_of;
use super::{Cluster, Job, MAX_OLD_SUBMISSIONS, Shape};

impl Cluster {
    /// Makes an event part of the state.
    pub fn apply(&mut self, event: &Event) {
        self.meta.sequence.0 += 1;
        self.changes.mark(RowKey::Meta);
        match event {
            Event::PoolAdded { .. }
            | Event::GroupAdded { .. }
            | Event::GroupRemoved { .. }
            | Event::GroupJoined { .. }
            | Event::GroupLeft { .. }
            | Event::TokenAdded { .. }
            | Event::TokenUsed { .. }
            | Event::TokenRemoved { .. } => self.apply_to_sets(event),
            Event::NodeJoined { .. }
            | Event::NodeUp { .. }
            | Event::NodeSuspected { .. }
            | Event::NodeReturned { .. }
            | Event::NodeLost { .. }
            | Event::NodeSwitched { .. } => self.apply_to_node(event),
            Event::JobAdded {
                job,
                submission,
                owner,
                spec,
                tasks,
                at,
            } => {
                let row = SubmissionRow {
                    id: *submission,
                    uid: owner.uid,
                    job: *job,
                };
                self.submissions.insert(*submission, row);
                self.changes.mark(RowKey::Submission(*submission));
                self.job_added(*job, owner, spec, tasks, *at);
                if let Some(job) = self.jobs.get_mut(job) {
                    job.submission = Some(*submission);
                }
            }
            Event::JobStopping { job, outcome } => self.job_stopping(*job, outcome),
            Event::JobEnded { job, outcome, at } => self.job_ended(*job, outcome, *at),
            Event::Granted {
                attempt,
                task,
                shares,
                at,
            } => self.granted(*attempt, *task, shares, *at),
            Event::AttemptStarted { attempt, at } => self.started(*attempt, *at),
            Event::AttemptStopping {
                attempt,
                outcome,
                force,
            } => self.stopping(*attempt, outcome, *force),
            Event::AttemptEnded { attempt, outcome, .. } => self.attempt_ended(*attempt, outcome),
            Event::ShareReleased { attempt, node } => self.released(*attempt, *node),
            Event::TaskRequeued { task } => self.requeued(*task),
            Event::TaskEnded { task, outcome, at } => self.task_ended(*task, outcome, *at),
        }
    }

    fn job_added(&mut self, id: JobId, owner: &Owner, spec: &JobSpec, tasks: &[TaskSpec], at: Timestamp) {
        self.meta.next_job = self.meta.next_job.max(JobId(id.0.saturating_add(1)));
        let mut next_task = FIRST_TASK;
        for spec_of_task in tasks {
            let task = TaskId {
                job: id,
                number: next_task,
            };
            let row = TaskRow {
                id: task,
                spec: spec_of_task.clone(),
                state: TaskState::Queued,
                requeues: 0,
                last_attempt: None,
                last_nodes: Vec::new(),
                exit_code: None,
            };
            self.queue.insert(spec.priority, task, Shape::of(spec_of_task));
            self.tasks.insert(task, row);
            self.changes.mark(RowKey::Task(task));
            next_task = TaskNumber(next_task.0.saturating_add(1));
        }
        let row = JobRow {
            id,
            owner: owner.clone(),
            spec: spec.clone(),
            state: JobState::Queued,
            counts: TaskCounts {
                queued: next_task.0 - FIRST_TASK.0,
                ..TaskCounts::default()
            },
            next_task,
            submitted_at: at,
        };
        let class = self.classes.enter(spec);
        self.jobs.insert(
            id,
            Job {
                row,
                class,
                attempts: 0,
                submission: None,
            },
        );
        self.changes.mark(RowKey::Job(id));
    }

    fn job_stopping(&mut self, id: JobId, outcome: &JobOutcome) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        drop_limit(&mut self.limits, &job.row);
        let started_at = started_at(&job.row.state);
        job.row.state = JobState::Canceling {
            started_at,
            outcome: outcome.clone(),
        };
        self.changes.mark(RowKey::Job(id));
    }

    fn job_ended(&mut self, id: JobId, outcome: &JobOutcome, at: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        drop_limit(&mut self.limits, &job.row);
        let started_at = started_at(&job.row.state);
        job.row.state = JobState::Ended {
            started_at,
            ended_at: at,
            outcome: outcome.clone(),
        };
        self.changes.mark(RowKey::Job(id));
        self.retire_when_done(id);
    }

    fn granted(&mut self, attempt: AttemptId, id: TaskId, shares: &[Share], at: Timestamp) {
        self.meta.next_attempt = self.meta.next_attempt.max(AttemptId(attempt.0.saturating_add(1)));
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        task.state = TaskState::Granted { attempt };
        task.last_attempt = Some(attempt);
        task.last_nodes = shares.iter().map(|share| share.node).collect();
        task.exit_code = None;
        self.queue.remove(job.row.spec.priority, id);
        job.row.counts.queued -= 1;
        job.row.counts.running += 1;
        job.attempts += 1;
        if job.row.state == JobState::Queued {
            job.row.state = JobState::Running { started_at: at };
            if let Some(limit) = job.row.spec.runtime_limit {
                self.limits.insert((at + limit, id.job));
            }
        }
        let phase = AttemptPhase::Granted;
        let row = AttemptRow {
            id: attempt,
            task: id,
            shares: shares.to_vec(),
            phase,
            granted_at: at,
        };
        let tenant = tenant_of(&row, Some(&job.row), Some(task));
        for share in shares {
            if let Some(node) = self.nodes.get(&share.node) {
                self.floor.hold(node, attempt, share.slots, tenant);
            }
        }
        self.attempts.insert(attempt, row);
        self.changes.mark(RowKey::Attempt(attempt));
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
    }

    fn started(&mut self, id: AttemptId, at: Timestamp) {
        self.update_attempt(id, |attempt, task| {
            attempt.phase = AttemptPhase::Running { started_at: at };
            task.state = TaskState::Running {
                attempt: id,
                started_at: at,
            };
        });
    }

    fn stopping(&mut self, id: AttemptId, outcome: &TaskOutcome, force: bool) {
        self.update_attempt(id, |attempt, task| {
            let started_at = match attempt.phase {
                AttemptPhase::Running { started_at } => Some(started_at),
                AttemptPhase::Stopping { started_at, .. } => started_at,
                AttemptPhase::Granted | AttemptPhase::Releasing => None,
            };
            attempt.phase = AttemptPhase::Stopping { started_at, force };
            task.state = TaskState::Stopping {
                attempt: id,
                started_at,
                outcome: outcome.clone(),
            };
        });
    }

    fn update_attempt(&mut self, id: AttemptId, change: impl FnOnce(&mut AttemptRow, &mut TaskRow)) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&attempt.task) else {
            return;
        };
        change(attempt, task);
        self.changes.mark(RowKey::Attempt(id));
        self.changes.mark(RowKey::Task(task.id));
    }

    fn attempt_ended(&mut self, id: AttemptId, outcome: &AttemptOutcome) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        attempt.phase = AttemptPhase::Releasing;
        self.changes.mark(RowKey::Attempt(id));
        if let (Some(task), AttemptOutcome::Exited { code }) = (self.tasks.get_mut(&attempt.task), outcome)
            && task.last_attempt == Some(id)
        {
            task.exit_code = Some(*code);
            self.changes.mark(RowKey::Task(task.id));
        }
        self.remove_when_released(id);
    }

    fn released(&mut self, id: AttemptId, node: NodeId) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        for share in attempt.shares.iter_mut().filter(|share| share.node == node) {
            share.held = Held::Released;
        }
        self.changes.mark(RowKey::Attempt(id));
        if let Some(node) = self.nodes.get(&node) {
            self.floor.release(node, id);
        }
        self.remove_when_released(id);
    }

    /// An attempt is gone when it is over and no node holds anything of it. Only then may its task be tried again.
    fn remove_when_released(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let holds = attempt.shares.iter().any(|share| share.held == Held::Yes);
        if holds || attempt.phase != AttemptPhase::Releasing {
            return;
        }
        let task = attempt.task;
        self.attempts.remove(&id);
        self.changes.mark(RowKey::Attempt(id));
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.attempts -= 1;
        }
        self.enqueue(task);
        self.retire_when_done(task.job);
    }

    /// Puts a waiting task into the queue, unless a node still holds something of its last try.
    fn enqueue(&mut self, id: TaskId) {
        let (Some(task), Some(job)) = (self.tasks.get(&id), self.jobs.get(&id.job)) else {
            return;
        };
        let held = task.last_attempt.is_some_and(|last| self.attempts.contains_key(&last));
        if task.state == TaskState::Queued && !held {
            self.queue.insert(job.row.spec.priority, id, Shape::of(&task.spec));
        }
    }

    fn requeued(&mut self, id: TaskId) {
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        task.state = TaskState::Queued;
        task.requeues += 1;
        job.row.counts.running -= 1;
        job.row.counts.queued += 1;
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
        self.enqueue(id);
    }

    fn task_ended(&mut self, id: TaskId, outcome: &TaskOutcome, at: Timestamp) {
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let counts = &mut job.row.counts;
        let started_at = match &task.state {
            TaskState::Queued | TaskState::Granted { .. } => None,
            TaskState::Running { started_at, .. } => Some(*started_at),
            TaskState::Stopping { started_at, .. } => *started_at,
            TaskState::Ended { .. } => return,
        };
        if task.state == TaskState::Queued {
            self.queue.remove(job.row.spec.priority, id);
            counts.queued -= 1;
        } else {
            counts.running -= 1;
        }
        match outcome {
            TaskOutcome::Finished => counts.finished += 1,
            TaskOutcome::Failed { .. } => counts.failed += 1,
            TaskOutcome::Canceled => counts.canceled += 1,
        }
        task.state = TaskState::Ended {
            started_at,
            ended_at: at,
            outcome: outcome.clone(),
        };
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
    }

    /// A job that is over and holds nothing leaves memory; its rows stay on disk.
    fn retire_when_done(&mut self, id: JobId) {
        let done = self
            .jobs
            .get(&id)
            .is_some_and(|job| job.row.state.is_ended() && job.attempts == 0);
        if !done {
            return;
        }
        let tasks: Vec<TaskId> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            if let Some(row) = self.tasks.remove(&task) {
                self.changes.depart(Row::Task(Box::new(row)));
            }
        }
        if let Some(job) = self.jobs.remove(&id) {
            self.classes.leave(job.class);
            self.changes.depart(Row::Job(Box::new(job.row)));
            if let Some(submission) = job.submission {
                self.old_submissions.insert(id, submission);
                self.forget_old_submissions();
            }
        }
    }

    pub(super) fn forget_old_submissions(&mut self) {
        while self.old_submissions.len() > MAX_OLD_SUBMISSIONS {
            let Some((_, id)) = self.old_submissions.pop_first() else {
                return;
            };
            self.submissions.remove(&id);
            self.changes.mark(RowKey::Submission(id));
        }
    }
}

const fn started_at(state: &JobState) -> Option<Timestamp> {
    match state {
        JobState::Queued => None,
        JobState::Running { started_at } => Some(*started_at),
        JobState::Canceling { started_at, .. } | JobState::Ended { started_at, .. } => *started_at,
    }
}

fn drop_limit(limits: &mut BTreeSet<(Timestamp, JobId)>, job: &JobRow) {
    if let (Some(limit), Some(at)) = (job.spec.runtime_limit, started_at(&job.state)) {
        limits.remove(&(at + limit, job.id));
    }
}
