//! Jobs are disabled, enabled and taken away; their manager tasks are made; and who waits for which job is known.

use std::sync::Arc;

use proto::ids::{JobId, SubmissionId, TaskId, TaskNumber};
use proto::model::job::{JobRow, JobState};
use proto::model::role::ManagerSpec;
use proto::model::task::{TaskRow, TaskSpec, TaskState};
use proto::stored::RowKey;
use proto::units::Timestamp;

use super::Cluster;
use super::dependency::Standing;
use super::jobs::started_at;

impl Cluster {
    pub(super) fn job_disabled(&mut self, id: JobId) {
        self.update_job(id, |row| {
            if matches!(row.state, JobState::Queued | JobState::Running { .. }) {
                let started_at = started_at(&row.state);
                row.state = JobState::Disabled { started_at };
            }
        });
        self.refresh_all(id);
    }

    pub(super) fn job_enabled(&mut self, id: JobId) {
        self.update_job(id, |row| {
            row.state = match row.state {
                JobState::Disabled { started_at: None } => JobState::Queued,
                JobState::Disabled {
                    started_at: Some(started_at),
                } => JobState::Running { started_at },
                _ => return,
            };
        });
        self.refresh_all(id);
    }

    pub(super) fn job_deleting(&mut self, id: JobId) {
        self.update_job(id, |row| row.deleting = true);
    }

    /// Nothing of a job is left, in memory or on disk.
    pub(super) fn job_deleted(&mut self, id: JobId) {
        self.update_job(id, |row| row.deleting = false);
        let tasks: Vec<TaskId> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            if let Some(job) = self.jobs.get(&id) {
                self.queue.remove(job.row.spec.priority, task);
            }
            self.tasks.remove(&task);
        }
        if let Some(job) = self.jobs.remove(&id) {
            self.classes.leave(job.class);
            let of_job = job.submissions.iter().map(|(_, submission)| (id, *submission));
            self.old_submissions.extend(of_job);
        }
        let of_job = (id, SubmissionId(0))..=(id, SubmissionId(u128::MAX));
        let forgotten: Vec<(JobId, SubmissionId)> = self.old_submissions.range(of_job).copied().collect();
        for old in forgotten {
            self.old_submissions.remove(&old);
            self.submissions.remove(&old.1);
            self.changes.mark(RowKey::Submission(old.1));
        }
        self.changes.delete_job(id);
    }

    /// The manager task of a job that has one and came into the queue. It waits like any other.
    pub(super) fn add_manager(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(manager) = &job.row.spec.manager else { return };
        let task = TaskId::new(id, TaskNumber::MANAGER);
        if self.tasks.contains_key(&task) {
            return;
        }
        let row = TaskRow {
            id: task,
            spec: Arc::new(spec_of(manager)),
            state: TaskState::Queued,
            requeues: 0,
            retries: 0,
            array: None,
            last_attempt: None,
            last_nodes: Vec::new(),
            exit_code: None,
        };
        if !job.dependencies.is_empty() {
            job.dependencies.enter(&row.spec.name, task.number, Standing::Open, 1);
        }
        let mut others: Vec<TaskId> = job.dependencies.dependents(&row.spec.name).collect();
        self.tasks.insert(task, row);
        self.changes.mark(RowKey::Task(task));
        self.update_job(id, |row| row.counts.queued += 1);
        others.push(task);
        for task in others {
            self.refresh(task);
        }
    }

    /// Takes a job out of the indexes that follow from its row.
    pub(super) fn leave_indexes(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let Some(at) = job.wall() {
            self.walls.remove(&(at, id));
        }
        for parent in awaited_by(&job.row) {
            self.children.remove(&(*parent, id));
        }
        self.deleting.remove(&id);
    }

    /// Puts a job into the indexes that follow from its row.
    pub(super) fn enter_indexes(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.walls.extend(job.wall().map(|at| (at, id)));
        self.children
            .extend(awaited_by(&job.row).iter().map(|parent| (*parent, id)));
        if job.row.deleting {
            self.deleting.insert(id);
        }
        if let Some(schedule) = job.row.schedule.clone() {
            self.index_schedule(&schedule);
        }
    }

    /// Jobs that are to be taken away.
    pub(crate) fn deleting(&self) -> impl Iterator<Item = JobId> {
        self.deleting.iter().copied()
    }

    /// Jobs that are not over and wait for that one.
    pub(crate) fn children(&self, parent: JobId) -> impl Iterator<Item = JobId> {
        let all = (parent, JobId(0))..=(parent, JobId(u64::MAX));
        self.children.range(all).map(|(_, child)| *child)
    }
}

/// When a job has lasted as long as it may, waiting included.
pub(crate) fn wall_of(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Queued | JobState::Running { .. } | JobState::Disabled { .. } => {
            Some(row.submitted_at + row.spec.max_wall_clock?)
        }
        JobState::Configuring | JobState::Canceling { .. } | JobState::Ended { .. } => None,
    }
}

/// The jobs that a job waits for.
fn awaited_by(row: &JobRow) -> &[JobId] {
    match row.state {
        JobState::Ended { .. } => &[],
        _ => &row.spec.parents,
    }
}

/// The manager task as a task: run again after every loss of its node, without bound.
fn spec_of(manager: &ManagerSpec) -> TaskSpec {
    let mut spec = manager.task.clone();
    spec.exclusive |= manager.run_exclusive;
    spec.rerunnable = true;
    spec.max_requeues = Some(u32::MAX);
    spec
}
