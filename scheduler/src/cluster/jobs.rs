//! Jobs come into memory, change and leave it. Their tasks come and go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::ids::{JobId, NodeId, SubmissionId, TaskId, TaskNumber};
use proto::model::array::{ArrayState, ChunkRow};
use proto::model::attempt::Held;
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, Progress, TaskCounts};
use proto::model::owner::Owner;
use proto::model::task::{TaskRow, TaskSpec, TaskState};
use proto::stored::{FIRST_TASK, Row, RowKey, SubmissionRow};
use proto::units::Timestamp;

use super::array::{Array, array_id};
use super::dependency::{Dependencies, Standing, depends};
use super::errands::node_of;
use super::restore::tenant_of;
use super::{Class, Cluster, Job, Jumped, MAX_OLD_SUBMISSIONS, Shape, Wares};
use crate::input::StoredJob;

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
            schedule: None,
            deleting: false,
            touched_nodes: BTreeSet::new(),
        });
        self.update_job(id, |_| {});
    }

    /// A job's row comes into memory, without its tasks and without any index but that of classes.
    pub(super) fn take_job(&mut self, row: JobRow) {
        let class = self.classes.enter(Class::of(&row.spec));
        self.jobs.insert(
            row.id,
            Job {
                row,
                class,
                attempts: 0,
                submissions: BTreeSet::new(),
                dependencies: Dependencies::default(),
                jumped: Jumped {
                    submitted: self.jumped,
                    started: self.jumped,
                },
            },
        );
    }

    /// Changes a job's row, and keeps its deadlines in step.
    pub(super) fn update_job(&mut self, id: JobId, change: impl FnOnce(&mut JobRow)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let limit = job.limit();
        if let Some(limit) = limit {
            self.limits.remove(&(limit, id));
        }
        if let Some(hold) = hold_of(&job.row) {
            self.holds.remove(&(hold, id));
        }
        self.leave_indexes(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let began = has_begun(&job.row);
        change(&mut job.row);
        if !began && has_begun(&job.row) {
            job.jumped.started = self.jumped;
        }
        self.changes.mark(RowKey::Job(id));
        self.index_deadlines(id);
    }

    pub(super) fn index_deadlines(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            self.limits.extend(job.limit().map(|at| (at, id)));
            self.holds.extend(hold_of(&job.row).map(|at| (at, id)));
        }
        self.enter_indexes(id);
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
            let task = TaskId::new(id, number);
            self.tasks.insert(task, waiting_row(task, spec));
            self.arrays.extend(spec.sweep.map(|sweep| (task, Array::new(sweep, 0))));
            self.changes.mark(RowKey::Task(task));
            new.push(task);
            job.row.counts.queued += count_of(spec);
            number = TaskNumber(number.0.saturating_add(1));
        }
        job.row.next_task = job.row.next_task.max(number);
        if !job.dependencies.is_empty() {
            for task in new.iter().filter_map(|task| self.tasks.get(task)) {
                let name = &task.spec.name;
                job.dependencies
                    .enter(name, task.id.number, Standing::Open, count_of(&task.spec));
                job.dependencies.depend(task.id, &task.spec);
            }
        } else if specs.iter().any(depends) {
            job.dependencies = Dependencies::of(rows_of(&self.tasks, id));
        }
        // A name that had ended may be open again.
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        new.extend(names.into_iter().flat_map(|name| job.dependencies.dependents(name)));
        self.changes.mark(RowKey::Job(id));
        for task in new {
            self.refresh_all_of(task);
        }
    }

    pub(super) fn job_submitted(&mut self, id: JobId, at: Timestamp) {
        self.update_job(id, |row| {
            row.state = JobState::Queued;
            row.submitted_at = at;
        });
        self.add_manager(id);
        self.refresh_all(id);
    }

    pub(super) fn job_modified(&mut self, id: JobId, spec: &JobSpec, progress: Option<&Progress>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let old = &job.row.spec;
        if old.priority != spec.priority {
            self.queue.change_priority(id, old.priority, spec.priority);
        }
        let waits_otherwise =
            old.hold_until != spec.hold_until || old.run_dependents_of_failed != spec.run_dependents_of_failed;
        let waits_otherwise = waits_otherwise || old.parents.is_empty() != spec.parents.is_empty();
        // A release task that is asked for late runs where its job was, as far as that is known.
        let late = old.release.is_none() && spec.release.is_some();
        let was_on = self
            .tasks_of(id)
            .filter(|_| late)
            .flat_map(|task| task.last_nodes.iter().copied());
        let was_on: BTreeSet<NodeId> = was_on.collect();
        self.update_job(id, |row| {
            row.touched_nodes.extend(was_on);
            row.spec = spec.clone();
            row.progress = progress.cloned();
        });
        self.classify(id);
        if waits_otherwise {
            self.refresh_all(id);
        }
    }

    /// A job that was over is in memory again, if it is not yet, and waits.
    pub(super) fn job_revived(&mut self, stored: &JobRow, (tasks, chunks): (&[TaskRow], &[ChunkRow]), counted: bool) {
        let id = stored.id;
        match self.jobs.get(&id) {
            Some(job) if !job.row.state.is_ended() => return,
            Some(_) => {}
            None => {
                self.take_job(stored.clone());
                self.take_tasks(tasks, chunks);
                self.recall_submissions(id);
                self.build_dependencies(id);
                self.recall_attempts(id);
            }
        }
        self.forget_all_errands(id, tasks);
        self.update_job(id, |row| {
            row.state = JobState::Queued;
            row.touched_nodes.clear();
            row.requeues = stored.requeues.saturating_add(u32::from(counted));
        });
        // One that was canceled before it was ever submitted has none yet.
        self.add_manager(id);
    }

    pub(super) fn job_requeued(&mut self, id: JobId) {
        self.update_job(id, |row| {
            row.state = match row.state {
                JobState::Disabled { .. } => JobState::Disabled { started_at: None },
                _ => JobState::Queued,
            };
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
        let chunks: Vec<ChunkRow> = self.chunks_of_job(id).collect();
        for chunk in chunks {
            self.changes.depart(Row::Chunk(chunk));
        }
        let tasks: Vec<TaskId> = self
            .tasks_of(id)
            .chain(self.errands_of(id))
            .map(|task| task.id)
            .collect();
        let alone = |id: &TaskId| self.element(*id).is_none();
        let stored: BTreeSet<TaskId> = tasks.iter().copied().filter(alone).collect();
        self.forget_arrays(id);
        for task in tasks {
            if let Some(node) = node_of(task) {
                self.errands.remove(&(node, task));
            }
            if let Some(row) = self.tasks.remove(&task)
                && stored.contains(&task)
            {
                self.changes.depart(Row::Task(Box::new(row)));
            }
        }
        self.leave_indexes(id);
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

    /// A stored job and its tasks laid out as they are in memory, to be asked and not to be changed. Nothing else is there.
    pub(crate) fn shelf(&self, stored: &StoredJob) -> Self {
        let mut shelf = Self::new(self.settings);
        shelf.take_job(stored.job.clone());
        shelf.take_tasks(&stored.tasks, &stored.chunks);
        shelf
    }

    /// The tasks of a stored job, arrays with those of their chunks in which something did not end well.
    pub(crate) fn take_tasks(&mut self, tasks: &[TaskRow], chunks: &[ChunkRow]) {
        let own = tasks.iter().filter(|task| !task.id.number.is_per_node());
        self.tasks.extend(own.map(|task| (task.id, task.clone())));
        let heads = tasks.iter().filter(|row| row.array.is_some()).map(|row| row.id);
        let ours = chunks
            .iter()
            .filter(|chunk| self.tasks.contains_key(&chunk.array))
            .cloned();
        let ours: Vec<ChunkRow> = ours.collect();
        // A chunk without its array is the only error, and was left out.
        let taken = self.take_arrays(heads, ours);
        debug_assert!(taken.is_ok(), "{taken:?}");
    }

    /// After a restart an attempt may outlive its job in memory; now its nodes hold it for that job again.
    fn recall_attempts(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for attempt in self.attempts.values().filter(|attempt| attempt.task.job == id) {
            job.attempts += 1;
            let task = self.tasks.get(&attempt.task);
            let task = task.or_else(|| self.tasks.get(&array_id(attempt.task)));
            let tenant = tenant_of(attempt, Some(&job.row), task);
            let wares = task.and_then(|task| Wares::of(&task.spec));
            for share in attempt.shares.iter().filter(|share| share.held == Held::Yes) {
                if let Some(node) = self.nodes.get(&share.node) {
                    self.floor.release(node, attempt.id);
                    self.floor
                        .hold(node, attempt.id, attempt.slots_of(share), (tenant, wares.clone()));
                }
            }
        }
    }

    pub(super) fn build_dependencies(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.dependencies = Dependencies::of(rows_of(&self.tasks, id));
        }
    }

    /// A task stands otherwise now: those who depend on its name or number may have to wait, or no longer.
    pub(super) fn stands(&mut self, id: TaskId, from: Standing, to: Standing) {
        self.stand(id, (from, to), 1);
    }

    /// Likewise for several elements of an array at once.
    pub(super) fn stand(&mut self, id: TaskId, (from, to): (Standing, Standing), count: u32) {
        if id.number.is_per_node() {
            return;
        }
        let (Some(spec), Some(job)) = (self.spec_of(id).cloned(), self.jobs.get_mut(&id.job)) else {
            return;
        };
        for dependent in job.dependencies.change((&spec.name, id.number), from, to, count) {
            self.refresh_all_of(dependent);
        }
    }

    /// The task; or the rest of the array, and those of its elements that have rows.
    fn refresh_all_of(&mut self, id: TaskId) {
        let tasks: Vec<TaskId> = self.covered(id).map(|task| task.id).collect();
        for task in tasks {
            self.refresh(task);
        }
    }

    pub(super) fn refresh_all(&mut self, id: JobId) {
        let tasks: Vec<TaskId> = self.tasks_of(id).map(|task| task.id).collect();
        for task in tasks {
            self.refresh(task);
        }
    }

    /// Puts a task into the queue or takes it out, as it is due.
    pub(super) fn refresh(&mut self, id: TaskId) {
        if self.is_array(id) {
            return self.refresh_rest(id);
        }
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
        if task.id.number.is_per_node() {
            return self.errand_takes_turn(job, task);
        }
        self.waits(task)
            && matches!(job.row.state, JobState::Queued | JobState::Running { .. })
            && spec.hold_until.is_none()
            && spec.parents.is_empty()
            && job.dependencies.are_met(&task.spec, spec.run_dependents_of_failed)
            && task.last_attempt.is_none_or(|last| !self.attempts.contains_key(&last))
    }
}

/// A task that nobody has tried yet.
pub(super) fn waiting_row(id: TaskId, spec: &TaskSpec) -> TaskRow {
    TaskRow {
        id,
        spec: Arc::new(spec.clone()),
        state: TaskState::Queued,
        requeues: 0,
        retries: 0,
        array: spec.sweep.map(|sweep| {
            let mut state = ArrayState::default();
            state.counts.queued = sweep.count();
            Box::new(state)
        }),
        last_attempt: None,
        last_nodes: Vec::new(),
        exit_code: None,
    }
}

/// The elements of an array, or 1 for any other task.
fn count_of(spec: &TaskSpec) -> u32 {
    spec.sweep.map_or(1, |sweep| sweep.count())
}

fn rows_of(tasks: &BTreeMap<TaskId, TaskRow>, job: JobId) -> impl Iterator<Item = &TaskRow> + Clone {
    tasks
        .range(TaskId::first_of(job)..TaskId::new(job, TaskNumber::PREPARATION))
        .map(|(_, task)| task)
}

/// The first grant, if there was one.
pub(super) const fn started_at(state: &JobState) -> Option<Timestamp> {
    match state {
        JobState::Configuring | JobState::Queued => None,
        JobState::Running { started_at } => Some(*started_at),
        JobState::Disabled { started_at }
        | JobState::Canceling { started_at, .. }
        | JobState::Ended { started_at, .. } => *started_at,
    }
}

/// When the job's run time is over.
const fn has_begun(row: &JobRow) -> bool {
    matches!(
        row.state,
        JobState::Running { .. } | JobState::Disabled { started_at: Some(_) }
    )
}

/// When a job has run as long as it may.
pub(super) fn limit_of(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Running { started_at }
        | JobState::Disabled {
            started_at: Some(started_at),
        } => Some(started_at + row.spec.runtime_limit?),
        _ => None,
    }
}

/// When the job is no longer held.
const fn hold_of(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Queued | JobState::Running { .. } | JobState::Disabled { .. } => row.spec.hold_until,
        _ => None,
    }
}
