//! Events become state. Each arm writes rows, marks them, and keeps the indexes in step; none can fail. An event about
//! something that is not there changes nothing, so that a replay over newer rows does no harm.

use proto::event::Event;
use proto::ids::{AttemptId, NodeId, TaskId};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held, Share};
use proto::model::job::{JobState, TaskCounts};
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskState};
use proto::stored::{FIRST_TASK, RowKey};
use proto::units::Timestamp;

use super::Cluster;
use super::dependency::Standing;
use super::restore::tenant_of;

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
            | Event::NodeSwitched { .. }
            | Event::NodeRenewed { .. }
            | Event::NodeRemoved { .. } => self.apply_to_node(event),
            Event::UserAdded { .. }
            | Event::UserRemoved { .. }
            | Event::LoginOffered { .. }
            | Event::LoggedIn { .. }
            | Event::CredentialRevoked { .. }
            | Event::SettingsChanged { .. } => self.apply_to_user(event),
            Event::JobAdded {
                job,
                submission,
                owner,
                spec,
                tasks,
                at,
            } => {
                self.job_created(*job, owner, spec, JobState::Queued, *at);
                self.remember_submission(*submission, owner.uid, *job, None);
                self.tasks_added(*job, FIRST_TASK, tasks);
            }
            Event::JobCreated {
                job,
                submission,
                owner,
                spec,
                at,
            } => {
                self.job_created(*job, owner, spec, JobState::Configuring, *at);
                self.remember_submission(*submission, owner.uid, *job, None);
            }
            Event::TasksAdded {
                job,
                submission,
                first,
                tasks,
                ..
            } => {
                self.tasks_added(*job, *first, tasks);
                if let Some(submission) = submission {
                    let uid = self.job(*job).map_or(0, |job| job.owner.uid);
                    self.remember_submission(*submission, uid, *job, Some(*first));
                }
            }
            Event::JobSubmitted { job, at } => self.job_submitted(*job, *at),
            Event::JobModified { job, spec, progress } => self.job_modified(*job, spec, progress.as_ref()),
            Event::JobRevived {
                job, tasks, counted, ..
            } => self.job_revived(job, tasks, *counted),
            Event::JobRequeued { job } => self.job_requeued(*job),
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
                again,
            } => self.stopping(*attempt, outcome, *force, *again),
            Event::AttemptEnded { attempt, outcome, .. } => self.attempt_ended(*attempt, outcome),
            Event::ShareReleased { attempt, node } => self.released(*attempt, *node),
            Event::TaskRequeued { task, asked } => self.requeued(*task, *asked),
            Event::TaskEnded { task, outcome, at } => self.task_ended(*task, outcome, *at),
        }
    }

    fn granted(&mut self, attempt: AttemptId, id: TaskId, shares: &[Share], at: Timestamp) {
        self.meta.next_attempt = self.meta.next_attempt.max(AttemptId(attempt.0.saturating_add(1)));
        let rerunnable = self.tasks.get(&id).is_some_and(|task| self.may_rerun(task));
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        task.state = TaskState::Granted { attempt };
        task.last_attempt = Some(attempt);
        task.last_nodes = shares.iter().map(|share| share.node).collect();
        task.exit_code = None;
        self.queue.remove(job.row.spec.priority, id);
        job.attempts += 1;
        let phase = AttemptPhase::Granted;
        let row = AttemptRow {
            id: attempt,
            task: id,
            shares: shares.to_vec(),
            phase,
            granted_at: at,
            rerunnable,
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
        self.update_job(id.job, |row| {
            row.counts.queued -= 1;
            row.counts.running += 1;
            if row.state == JobState::Queued {
                row.state = JobState::Running { started_at: at };
            }
        });
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

    fn stopping(&mut self, id: AttemptId, outcome: &TaskOutcome, force: bool, again: bool) {
        self.update_attempt(id, |attempt, task| {
            let started_at = match attempt.phase {
                AttemptPhase::Running { started_at } => Some(started_at),
                AttemptPhase::Stopping { started_at, .. } => started_at,
                AttemptPhase::Granted | AttemptPhase::Releasing => None,
            };
            // A grace period that was taken away does not come back.
            let force = force || matches!(attempt.phase, AttemptPhase::Stopping { force: true, .. });
            attempt.phase = AttemptPhase::Stopping { started_at, force };
            task.state = TaskState::Stopping {
                attempt: id,
                started_at,
                outcome: outcome.clone(),
                again,
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
        self.refresh(task);
        self.retire_when_done(task.job);
    }

    fn requeued(&mut self, id: TaskId, asked: bool) {
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        if task.state == TaskState::Queued {
            return;
        }
        let from = Standing::of(&task.state);
        *counter(&mut job.row.counts, &task.state) -= 1;
        task.state = TaskState::Queued;
        if !asked {
            task.requeues += 1;
        }
        job.row.counts.queued += 1;
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
        self.stands(id, from, Standing::Open);
        self.refresh(id);
    }

    fn task_ended(&mut self, id: TaskId, outcome: &TaskOutcome, at: Timestamp) {
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let started_at = match &task.state {
            TaskState::Queued | TaskState::Granted { .. } => None,
            TaskState::Running { started_at, .. } => Some(*started_at),
            TaskState::Stopping { started_at, .. } => *started_at,
            TaskState::Ended { .. } => return,
        };
        *counter(&mut job.row.counts, &task.state) -= 1;
        task.state = TaskState::Ended {
            started_at,
            ended_at: at,
            outcome: outcome.clone(),
        };
        *counter(&mut job.row.counts, &task.state) += 1;
        let to = Standing::of(&task.state);
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
        self.refresh(id);
        self.stands(id, Standing::Open, to);
    }
}

/// Where a task in this state is counted.
pub(super) const fn counter<'a>(counts: &'a mut TaskCounts, state: &TaskState) -> &'a mut u32 {
    match state {
        TaskState::Queued => &mut counts.queued,
        TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => &mut counts.running,
        TaskState::Ended { outcome, .. } => match outcome {
            TaskOutcome::Finished => &mut counts.finished,
            TaskOutcome::Failed { .. } => &mut counts.failed,
            TaskOutcome::Canceled => &mut counts.canceled,
        },
    }
}
