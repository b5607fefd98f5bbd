//! Events become state. Each arm writes rows, marks them, and keeps the indexes in step; none can fail. An event about
//! something that is not there changes nothing, so that a replay over newer rows does no harm.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{AttemptId, NodeId, TaskId, TaskNumber};
use proto::model::attempt::{Ahead, AttemptPhase, AttemptRow, Held, Share};
use proto::model::job::{JobState, TaskCounts};
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskState};
use proto::stored::{FIRST_TASK, RowKey};
use proto::units::Timestamp;

use super::dependency::Standing;
use super::errands::coordination_of;
use super::restore::tenant_of;
use super::{Cluster, Wares};

impl Cluster {
    /// Makes an event part of the state.
    pub fn apply(&mut self, event: &Event) {
        self.meta.sequence.0 += 1;
        self.changes.mark(RowKey::Meta);
        match event {
            Event::PoolChanged { .. }
            | Event::PoolRemoved { .. }
            | Event::NodeStartChanged { .. }
            | Event::NodeErrandChanged { .. } => self.apply_to_pool(event),
            Event::ScheduleChanged { schedule } => self.schedule_changed(schedule),
            Event::ScheduleRemoved { schedule } => self.schedule_removed(schedule),
            Event::JobDisabled { job } => self.job_disabled(*job),
            Event::JobEnabled { job } => self.job_enabled(*job),
            Event::JobDeleting { job } => self.job_deleting(*job),
            Event::JobDeleted { job } => self.job_deleted(*job),
            Event::ErrandAdded { task } => self.errand_added(*task),
            Event::ErrandForgotten { task } => self.errand_forgotten(*task),
            Event::ArrayRestCanceled { task, at } => self.array_rest_canceled(*task, *at),
            Event::ArrayRestRequeued { task } => self.array_rest_requeued(*task),
            Event::AttemptSent { attempt } => self.attempt_sent(*attempt),
            Event::Coordinated { attempt, node } => self.coordinated(*attempt, *node),
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
                schedule,
            } => {
                self.job_created(*job, owner, spec, JobState::Queued, *at);
                if let Some(schedule) = schedule {
                    self.job_scheduled(*job, schedule);
                }
                self.remember_submission(*submission, owner.uid, *job, None);
                self.add_manager(*job);
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
                job,
                tasks,
                chunks,
                counted,
                ..
            } => self.job_revived(job, (tasks, chunks), *counted),
            Event::JobRequeued { job } => self.job_requeued(*job),
            Event::JobStopping { job, outcome } => self.job_stopping(*job, outcome),
            Event::JobEnded { job, outcome, at } => self.job_ended(*job, outcome, *at),
            Event::Granted {
                attempt,
                task,
                shares,
                ahead,
                at,
            } => self.granted((*attempt, *ahead), *task, shares, *at),
            Event::Advanced { attempt, at, .. } => self.advanced(*attempt, *at),
            Event::Recalled { attempt } => self.recalled(*attempt),
            Event::AttemptStarted { attempt, at } => self.started(*attempt, *at),
            Event::AttemptStopping {
                attempt,
                outcome,
                force,
                again,
            } => self.stopping(*attempt, outcome, *force, *again),
            Event::AttemptEnded { attempt, outcome, at } => {
                self.retain(*attempt, *at);
                self.attempt_ended(*attempt, outcome, *at);
            }
            Event::ShareReleased { attempt, node } => self.released(*attempt, *node),
            Event::TaskRequeued {
                task,
                asked,
                retry,
                afresh,
            } => self.requeued(*task, *asked, (*retry, *afresh)),
            Event::TaskEnded { task, outcome, at } => self.task_ended(*task, outcome, *at),
        }
    }

    fn granted(&mut self, (attempt, ahead): (AttemptId, bool), id: TaskId, shares: &[Share], at: Timestamp) {
        self.meta.next_attempt = self.meta.next_attempt.max(AttemptId(attempt.0.saturating_add(1)));
        self.materialise(id);
        let rerunnable = self.tasks.get(&id).is_some_and(|task| self.may_rerun(task));
        let sent = self.may_be_sent(id, shares);
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let state = TaskState::Granted { attempt, ahead };
        let before = std::mem::replace(&mut task.state, state.clone());
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
            sent,
            coordinating: match coordination_of(&task.spec, shares.len()) {
                Some(_) => shares.iter().map(|share| share.node).collect(),
                None => BTreeSet::new(),
            },
            ahead: ahead.then_some(Ahead::Waits),
        };
        let hold = (tenant_of(&row, Some(&job.row), Some(task)), Wares::of(&task.spec));
        for share in shares {
            if let Some(node) = self.nodes.get(&share.node) {
                self.floor.hold(node, attempt, row.slots_of(share), hold.clone());
            }
        }
        self.attempts.insert(attempt, row);
        self.enter_window(attempt);
        self.changes.mark(RowKey::Attempt(attempt));
        self.mark_task(id);
        if id.number.is_per_node() {
            return;
        }
        self.count_in_array(id, &before, &state);
        self.update_job(id.job, |row| {
            if row.spec.release.is_some() {
                row.touched_nodes.extend(shares.iter().map(|share| share.node));
            }
            *counter(&mut row.counts, &before) -= 1;
            *counter(&mut row.counts, &state) += 1;
            if row.state == JobState::Queued && !ahead {
                row.state = JobState::Running { started_at: at };
            }
        });
    }

    /// A slot was handed over to an attempt that was granted ahead of time.
    fn advanced(&mut self, id: AttemptId, at: Timestamp) {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| attempt.ahead.is_some()) else {
            return;
        };
        let (shares, job) = (attempt.shares.clone(), attempt.task.job);
        let (row, task) = (self.job(job), self.row_with_spec(attempt.task));
        let hold = (
            tenant_of(attempt, row, task),
            task.and_then(|task| Wares::of(&task.spec)),
        );
        self.update_attempt(id, |attempt, task| {
            attempt.ahead = None;
            if let TaskState::Granted { ahead, .. } = &mut task.state {
                *ahead = false;
            }
        });
        for share in shares.iter().filter(|share| share.held == Held::Yes) {
            if let Some(node) = self.nodes.get(&share.node) {
                self.floor.release(node, id);
                self.floor.hold(node, id, share.slots, hold.clone());
            }
        }
        self.enter_window(id);
        self.update_job(job, |row| {
            if row.state == JobState::Queued {
                row.state = JobState::Running { started_at: at };
            }
        });
    }

    fn recalled(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.ahead.is_some()) {
            attempt.ahead = Some(Ahead::Recalled);
            self.changes.mark(RowKey::Attempt(id));
            self.enter_window(id);
        }
    }

    fn started(&mut self, id: AttemptId, at: Timestamp) {
        self.update_attempt(id, |attempt, task| {
            attempt.phase = AttemptPhase::Running { started_at: at };
            attempt.coordinating.clear();
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
        let before = task.state.clone();
        change(attempt, task);
        let (task, after) = (task.id, task.state.clone());
        let waits = |state: &TaskState| matches!(state, TaskState::Granted { ahead: true, .. });
        self.changes.mark(RowKey::Attempt(id));
        self.mark_task(task);
        self.count_in_array(task, &before, &after);
        if waits(&before) != waits(&after) {
            self.enter_window(id);
            self.update_job(task.job, |row| {
                *counter(&mut row.counts, &before) -= 1;
                *counter(&mut row.counts, &after) += 1;
            });
        }
    }

    fn attempt_ended(&mut self, id: AttemptId, outcome: &AttemptOutcome, at: Timestamp) {
        if let Some(AttemptPhase::Running { started_at }) = self.attempts.get(&id).map(|attempt| attempt.phase) {
            self.note_pace(id, at.since(started_at).0);
        }
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        attempt.phase = AttemptPhase::Releasing;
        self.changes.mark(RowKey::Attempt(id));
        if let (Some(task), AttemptOutcome::Exited { code }) = (self.tasks.get_mut(&attempt.task), outcome)
            && task.last_attempt == Some(id)
        {
            task.exit_code = Some(*code);
            let task = task.id;
            self.mark_task(task);
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
        let job = attempt.task.job;
        self.leave_window(node, id);
        if let Some(node) = self.nodes.get(&node) {
            self.floor.release(node, id);
        }
        self.refresh_errands(job, node);
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

    fn requeued(&mut self, id: TaskId, asked: bool, (retry, afresh): (bool, bool)) {
        if self.is_array(id) {
            return self.array_rest_requeued(id);
        }
        let row = self.row_with_spec(id);
        let canceled = row.and_then(|row| row.array.as_ref()?.rest_canceled_at);
        if canceled.is_some() {
            self.materialise(id);
        }
        self.unpack(id);
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        if task.state == TaskState::Queued {
            return;
        }
        let from = Standing::of(task);
        let counted = !id.number.is_per_node();
        if counted {
            *counter(&mut job.row.counts, &task.state) -= 1;
            job.row.counts.queued += 1;
        }
        let before = std::mem::replace(&mut task.state, TaskState::Queued);
        match (retry, asked) {
            (true, _) => task.retries += 1,
            (false, false) => task.requeues += 1,
            (false, true) => {}
        }
        if afresh {
            (task.retries, task.requeues) = (0, 0);
            task.exit_code = None;
        }
        self.mark_task(id);
        if counted {
            self.changes.mark(RowKey::Job(id.job));
        }
        self.count_in_array(id, &before, &TaskState::Queued);
        self.stands(id, from, Standing::Open);
        self.refresh(id);
    }

    fn task_ended(&mut self, id: TaskId, outcome: &TaskOutcome, at: Timestamp) {
        if self.is_array(id) {
            return self.array_rest_canceled(id, at);
        }
        self.materialise(id);
        let (Some(task), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let started_at = match &task.state {
            TaskState::Queued | TaskState::Granted { .. } => None,
            TaskState::Running { started_at, .. } => Some(*started_at),
            TaskState::Stopping { started_at, .. } => *started_at,
            TaskState::Ended { .. } => return,
        };
        let state = TaskState::Ended {
            started_at,
            ended_at: at,
            outcome: outcome.clone(),
        };
        let before = std::mem::replace(&mut task.state, state.clone());
        let to = Standing::of(task);
        if !id.number.is_per_node() {
            *counter(&mut job.row.counts, &before) -= 1;
            *counter(&mut job.row.counts, &state) += 1;
            self.changes.mark(RowKey::Job(id.job));
        }
        if id.number == TaskNumber::PREPARATION {
            self.classify(id.job);
        }
        self.mark_task(id);
        self.count_in_array(id, &before, &state);
        self.refresh(id);
        self.stands(id, Standing::Open, to);
        if *outcome == TaskOutcome::Finished {
            self.pack(id);
        }
    }
}

/// Where a task in this state is counted.
pub(super) const fn counter<'a>(counts: &'a mut TaskCounts, state: &TaskState) -> &'a mut u32 {
    match state {
        TaskState::Queued | TaskState::Granted { ahead: true, .. } => &mut counts.queued,
        TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => &mut counts.running,
        TaskState::Ended { outcome, .. } => match outcome {
            TaskOutcome::Finished => &mut counts.finished,
            TaskOutcome::Failed { .. } => &mut counts.failed,
            TaskOutcome::Canceled => &mut counts.canceled,
        },
    }
}
