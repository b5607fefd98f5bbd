//! Jobs come into memory, change and leave it. Their tasks come and go with them.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{JobId, Step, SubmissionId, TaskId, TaskNumber};
use proto::model::attempt::Held;
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, Progress, TaskCounts};
use proto::model::owner::Owner;
use proto::model::task::{TaskRow, TaskSpec, TaskState};
use proto::stored::{FIRST_TASK, Row, RowKey, SubmissionRow};
use proto::units::Timestamp;

use super::dependency::{Dependencies, Standing};
use super::restore::tenant_of;
use super::{Cluster, Job, MAX_OLD_SUBMISSIONS, Shape};

/// How many additions of tasks to one job are remembered for repeats.
const MAX_ADDITIONS: usize = 1000;

impl Cluster {
    pub(super) fn job_created(&mut self, id: JobId, owner: &Owner, spec: &JobSpec, state: JobState, at: Timestamp) {
        self.meta.next_job = self.meta.next_job.max(JobId(id.0.saturating_add(1)));
        self.take_job(JobRow {
            id,
            owner: owner.clone(),
            spec: spec.clone(),
            state,
            counts: TaskCounts::default(),
            next_task: FIRST_TASK,
            submitted_at: at,
            progress: None,
            requeues: 0,
        });
        self.update_job(id, |_| {});
    }

    /// A job's row comes into memory, without its tasks and without any index but that of classes.
    pub(super) fn take_job(&mut self, row: JobRow) {
        let class = self.classes.enter(&row.spec);
        self.jobs.insert(
            row.id,
            Job {
                row,
                class,
                attempts: 0,
                submissions: BTreeSet::new(),
                dependencies: Dependencies::default(),
            },
        );
    }

    /// Changes a job's row, and keeps its deadlines in step.
    pub(super) fn update_job(&mut self, id: JobId, change: impl FnOnce(&mut JobRow)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(limit) = limit_of(&job.row) {
            self.limits.remove(&(limit, id));
        }
        if let Some(hold) = hold_of(&job.row) {
            self.holds.remove(&(hold, id));
        }
        change(&mut job.row);
        self.changes.mark(RowKey::Job(id));
        self.index_deadlines(id);
    }

    pub(super) fn index_deadlines(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            self.limits.extend(limit_of(&job.row).map(|at| (at, id)));
            self.holds.extend(hold_of(&job.row).map(|at| (at, id)));
        }
    }

    pub(super) fn remember_submission(&mut self, id: SubmissionId, uid: u32, job: JobId, first: Option<TaskNumber>) {
        let row = SubmissionRow {
            id,
            uid,
            job,
            first_task: first,
        };
        self.submissions.insert(id, row);
        self.changes.mark(RowKey::Submission(id));
        let Some(job) = self.jobs.get_mut(&job) else { return };
        job.submissions.insert((first, id));
        if job.submissions.len() > MAX_ADDITIONS {
            let oldest = job.submissions.iter().find(|(first, _)| first.is_some()).copied();
            if let Some((first, id)) = oldest {
                job.submissions.remove(&(first, id));
                self.submissions.remove(&id);
                self.changes.mark(RowKey::Submission(id));
            }
        }
    }

    /// New tasks wait, as far as their job lets them.
    pub(super) fn tasks_added(&mut self, id: JobId, first: TaskNumber, specs: &[TaskSpec]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mut new = Vec::new();
        let mut number = first;
        for spec in specs {
            for step in steps_of(spec) {
                let task = TaskId { job: id, number, step };
                self.tasks.insert(task, waiting_row(task, spec));
                self.changes.mark(RowKey::Task(task));
                new.push(task);
            }
            number = TaskNumber(number.0.saturating_add(1));
        }
        job.row.next_task = job.row.next_task.max(number);
        job.row.counts.queued += u32::try_from(new.len()).unwrap_or(u32::MAX);
        if specs.iter().all(|spec| job.dependencies.knows_names_of(spec)) {
            for task in new.iter().filter_map(|task| self.tasks.get(task)) {
                job.dependencies.depend(task.id, &task.spec);
                job.dependencies.enter(&task.spec.name, Standing::Open);
            }
        } else {
            job.dependencies = Dependencies::of(rows_of(&self.tasks, id));
        }
        // A name that had ended may be open again.
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        new.extend(names.into_iter().flat_map(|name| job.dependencies.dependents(name)));
        self.changes.mark(RowKey::Job(id));
        for task in new {
            self.refresh(task);
        }
    }

    pub(super) fn job_submitted(&mut self, id: JobId, at: Timestamp) {
        self.update_job(id, |row| {
            row.state = JobState::Queued;
            row.submitted_at = at;
        });
        self.refresh_all(id);
    }

    pub(super) fn job_modified(&mut self, id: JobId, spec: &JobSpec, progress: Option<&Progress>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let class = self.classes.enter(spec);
        self.classes.leave(std::mem::replace(&mut job.class, class));
        let old = &job.row.spec;
        if old.priority != spec.priority {
            self.queue.change_priority(id, old.priority, spec.priority);
        }
        let waits_otherwise =
            old.hold_until != spec.hold_until || old.run_dependents_of_failed != spec.run_dependents_of_failed;
        self.update_job(id, |row| {
            row.spec = spec.clone();
            row.progress = progress.cloned();
        });
        if waits_otherwise {
            self.refresh_all(id);
        }
    }

    /// A job that was over is in memory again, if it is not yet, and waits.
    pub(super) fn job_revived(&mut self, stored: &JobRow, tasks: &[TaskRow], counted: bool) {
        let id = stored.id;
        match self.jobs.get(&id) {
            Some(job) if !job.row.state.is_ended() => return,
            Some(_) => {}
            None => {
                self.take_job(stored.clone());
                self.tasks.extend(tasks.iter().map(|task| (task.id, task.clone())));
                self.recall_submissions(id);
                self.build_dependencies(id);
                self.recall_attempts(id);
            }
        }
        self.update_job(id, |row| {
            row.state = JobState::Queued;
            row.requeues = stored.requeues.saturating_add(u32::from(counted));
        });
    }

    pub(super) fn job_requeued(&mut self, id: JobId) {
        self.update_job(id, |row| {
            row.state = JobState::Queued;
            row.requeues = row.requeues.saturating_add(1);
        });
    }

    pub(super) fn job_stopping(&mut self, id: JobId, outcome: &JobOutcome) {
        self.update_job(id, |row| {
            row.state = JobState::Canceling {
                started_at: started_at(&row.state),
                outcome: outcome.clone(),
            };
        });
    }

    pub(super) fn job_ended(&mut self, id: JobId, outcome: &JobOutcome, at: Timestamp) {
        self.update_job(id, |row| {
            row.state = JobState::Ended {
                started_at: started_at(&row.state),
                ended_at: at,
                outcome: outcome.clone(),
            };
        });
        self.retire_when_done(id);
    }

    /// A job that is over and holds nothing leaves memory; its rows stay on disk.
    pub(super) fn retire_when_done(&mut self, id: JobId) {
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
            self.old_submissions
                .extend(job.submissions.iter().map(|(_, submission)| (id, *submission)));
            self.forget_old_submissions();
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

    /// The submissions of a job that was not in memory are its own again.
    fn recall_submissions(&mut self, id: JobId) {
        let of_job = (id, SubmissionId(0))..=(id, SubmissionId(u128::MAX));
        let recalled: Vec<(JobId, SubmissionId)> = self.old_submissions.range(of_job).copied().collect();
        for old in recalled {
            self.old_submissions.remove(&old);
            if let (Some(job), Some(row)) = (self.jobs.get_mut(&id), self.submissions.get(&old.1)) {
                job.submissions.insert((row.first_task, row.id));
            }
        }
    }

    /// After a restart an attempt may outlive its job in memory; now its nodes hold it for that job again.
    fn recall_attempts(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for attempt in self.attempts.values().filter(|attempt| attempt.task.job == id) {
            job.attempts += 1;
            let tenant = tenant_of(attempt, Some(&job.row), self.tasks.get(&attempt.task));
            for share in attempt.shares.iter().filter(|share| share.held == Held::Yes) {
                if let Some(node) = self.nodes.get(&share.node) {
                    self.floor.release(node, attempt.id);
                    self.floor.hold(node, attempt.id, share.slots, tenant);
                }
            }
        }
    }

    pub(super) fn build_dependencies(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.dependencies = Dependencies::of(rows_of(&self.tasks, id));
        }
    }

    /// A task stands otherwise now: those who depend on its name may have to wait, or no longer.
    pub(super) fn stands(&mut self, id: TaskId, from: Standing, to: Standing) {
        let (Some(task), Some(job)) = (self.tasks.get(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        for dependent in job.dependencies.change(&task.spec.name, from, to) {
            self.refresh(dependent);
        }
    }

    fn refresh_all(&mut self, id: JobId) {
        let tasks: Vec<TaskId> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            self.refresh(task);
        }
    }

    /// Puts a task into the queue or takes it out, as it is due.
    pub(super) fn refresh(&mut self, id: TaskId) {
        let (Some(task), Some(job)) = (self.tasks.get(&id), self.jobs.get(&id.job)) else {
            return;
        };
        let priority = job.row.spec.priority;
        if self.takes_turn(job, task) {
            self.queue.insert(priority, id, Shape::of(&task.spec));
        } else {
            self.queue.remove(priority, id);
        }
    }

    /// Whether a task stands in the queue: it waits, nothing of its job or of the tasks it depends on keeps it, and no node
    /// holds anything of its last try.
    pub(super) fn takes_turn(&self, job: &Job, task: &TaskRow) -> bool {
        let spec = &job.row.spec;
        task.state == TaskState::Queued
            && matches!(job.row.state, JobState::Queued | JobState::Running { .. })
            && spec.hold_until.is_none()
            && job.dependencies.are_met(&task.spec, spec.run_dependents_of_failed)
            && task.last_attempt.is_none_or(|last| !self.attempts.contains_key(&last))
    }
}

/// A task that nobody has tried yet.
fn waiting_row(id: TaskId, spec: &TaskSpec) -> TaskRow {
    TaskRow {
        id,
        spec: spec.clone(),
        state: TaskState::Queued,
        requeues: 0,
        last_attempt: None,
        last_nodes: Vec::new(),
        exit_code: None,
    }
}

/// The steps of a sweep, or the one task that is none.
fn steps_of(spec: &TaskSpec) -> impl Iterator<Item = Option<Step>> {
    let steps = spec.sweep.into_iter().flat_map(|sweep| sweep.steps().map(Some));
    steps.chain(spec.sweep.is_none().then_some(None))
}

fn rows_of(tasks: &BTreeMap<TaskId, TaskRow>, job: JobId) -> impl Iterator<Item = &TaskRow> + Clone {
    tasks
        .range(TaskId::first_of(job)..=TaskId::last_of(job))
        .map(|(_, task)| task)
}

/// The first grant, if there was one.
const fn started_at(state: &JobState) -> Option<Timestamp> {
    match state {
        JobState::Configuring | JobState::Queued => None,
        JobState::Running { started_at } => Some(*started_at),
        JobState::Canceling { started_at, .. } | JobState::Ended { started_at, .. } => *started_at,
    }
}

/// When the job's run time is over.
fn limit_of(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Running { started_at } => Some(started_at + row.spec.runtime_limit?),
        _ => None,
    }
}

/// When the job is no longer held.
const fn hold_of(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Queued | JobState::Running { .. } => row.spec.hold_until,
        _ => None,
    }
}
