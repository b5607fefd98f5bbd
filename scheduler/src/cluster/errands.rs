//! What a job's own tasks on its nodes become: preparation and release, and attempts that wait for them.
//!
//! Each is a row `JOB.prep.NODE` or `JOB.release.NODE` that waits beside the queue for its node. They are counted nowhere:
//! not in [`proto::model::job::JobRow::counts`], not in [`Cluster::tasks_of`], and nobody depends on them. The row is also
//! the record: a node is prepared for a job as long as its row says that the preparation ended well.

use std::collections::BTreeSet;

use proto::ids::{AttemptId, JobId, NodeId, Step, TaskId, TaskNumber};
use proto::model::attempt::Share;
use proto::model::exit::Retries;
use proto::model::job::{JobSpec, JobState};
use proto::model::role::MAX_RELEASE_TIME;
use proto::model::task::{Request, TaskKind, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::stored::RowKey;

use super::jobs::waiting_row;
use super::{Class, Cluster, Job};

/// The task of that number that a job has on a node.
pub(crate) const fn errand_id(number: TaskNumber, job: JobId, node: NodeId) -> TaskId {
    TaskId {
        job,
        number,
        step: Some(Step(node.0)),
    }
}

/// The node of a preparation or release task.
pub(crate) fn node_of(errand: TaskId) -> Option<NodeId> {
    let step = errand.step.filter(|_| errand.number.is_per_node());
    step.map(|step| NodeId(step.0))
}

/// What every node of a task runs before its command starts on the first. Files that all nodes get have to be there then,
/// so a task on several nodes that asks for these alone coordinates by a command that does nothing.
pub(crate) fn coordination_of(spec: &TaskSpec, nodes: usize) -> Option<Vec<String>> {
    let nothing = || vec!["true".to_owned()];
    let for_files = (nodes > 1 && !spec.common_files.is_empty()).then(nothing);
    spec.coordination.clone().or(for_files)
}

/// Whether the tasks of a job wait for its preparation task.
fn waits(spec: &JobSpec) -> bool {
    spec.preparation.as_ref().is_some_and(|prep| prep.wait_for_success)
}

impl Cluster {
    /// The preparation and release tasks of a job, first the preparations, each by the numbers of their nodes.
    pub fn errands_of(&self, job: JobId) -> impl Iterator<Item = &TaskRow> {
        let first = TaskId::new(job, TaskNumber::PREPARATION);
        self.tasks.range(first..=TaskId::last_of(job)).map(|(_, row)| row)
    }

    /// Whether the job's preparation task ended otherwise than well on a node, and tasks of the job stay away from it.
    #[must_use]
    pub fn is_barred(&self, job: JobId, node: NodeId) -> bool {
        let prepares = self.jobs.get(&job).is_some_and(|job| waits(&job.row.spec));
        prepares && self.preparation(job, node).is_some_and(failed)
    }

    /// Which nodes a job may use, anew: its wishes are others, or its preparation task ended somewhere or is forgotten.
    pub(super) fn classify(&mut self, id: JobId) {
        let barred = self.barred(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let class = self.classes.enter(Class::of(&job.row.spec).without(barred));
        self.classes.leave(std::mem::replace(&mut job.class, class));
    }

    /// All nodes that are barred for a job.
    pub(crate) fn barred(&self, job: JobId) -> BTreeSet<NodeId> {
        if !self.jobs.get(&job).is_some_and(|job| waits(&job.row.spec)) {
            return BTreeSet::new();
        }
        let preparations = self
            .errands_of(job)
            .filter(|row| row.id.number == TaskNumber::PREPARATION);
        preparations
            .filter(|row| failed(row))
            .filter_map(|row| node_of(row.id))
            .collect()
    }

    /// Whether the job's preparation task ended well in the present life of a node.
    pub(crate) fn is_prepared(&self, job: JobId, node: NodeId) -> bool {
        self.preparation(job, node).is_some_and(|row| {
            matches!(
                row.state,
                TaskState::Ended {
                    outcome: TaskOutcome::Finished,
                    ..
                }
            )
        })
    }

    fn preparation(&self, job: JobId, node: NodeId) -> Option<&TaskRow> {
        self.tasks.get(&errand_id(TaskNumber::PREPARATION, job, node))
    }

    /// Preparation and release tasks of all jobs on a node.
    pub(crate) fn errands_on(&self, node: NodeId) -> impl Iterator<Item = &TaskRow> {
        let first = TaskId::first_of(JobId(0));
        let last = TaskId::last_of(JobId(u64::MAX));
        let ids = self.errands.range((node, first)..=(node, last));
        ids.filter_map(|(_, id)| self.tasks.get(id))
    }

    /// Whether a try on these nodes can be told to them at once. Errands themselves wait for none.
    pub(super) fn may_be_sent(&self, task: TaskId, shares: &[Share]) -> bool {
        let waits = self.jobs.get(&task.job).is_some_and(|job| waits(&job.row.spec));
        task.number.is_per_node() || !waits || shares.iter().all(|share| self.is_prepared(task.job, share.node))
    }

    pub(super) fn errand_added(&mut self, id: TaskId) {
        if !id.number.is_per_node() {
            return self.start_task_added(id);
        }
        let (Some(spec), Some(node)) = (self.errand_spec(id), node_of(id)) else {
            return;
        };
        let row = self.tasks.entry(id).or_insert_with(|| waiting_row(id, &spec));
        row.state = TaskState::Queued;
        self.errands.insert((node, id));
        self.changes.mark(RowKey::Task(id));
        self.no_release_due(id, node);
        self.classify(id.job);
        self.refresh(id);
    }

    pub(super) fn errand_forgotten(&mut self, id: TaskId) {
        if !id.number.is_per_node() {
            return self.start_task_forgotten(id);
        }
        let Some(node) = node_of(id) else { return };
        self.no_release_due(id, node);
        if let Some(job) = self.jobs.get(&id.job) {
            self.queue.remove(job.row.spec.priority, id);
        }
        self.errands.remove(&(node, id));
        if self.tasks.remove(&id).is_some() {
            self.changes.mark(RowKey::Task(id));
            self.classify(id.job);
        }
    }

    /// The release task of a node was made, or is not to be made.
    fn no_release_due(&mut self, id: TaskId, node: NodeId) {
        if let Some(job) = self.jobs.get_mut(&id.job)
            && id.number == TaskNumber::RELEASE
            && job.row.touched_nodes.remove(&node)
        {
            self.changes.mark(RowKey::Job(id.job));
        }
    }

    /// What a job asks for on one node, without what errands have no use for: they take no room and wait for nobody, and
    /// what they do is of no consequence for the job's own tasks.
    fn errand_spec(&self, id: TaskId) -> Option<TaskSpec> {
        let of_job = &self.jobs.get(&id.job)?.row.spec;
        let mut spec = match id.number {
            TaskNumber::PREPARATION => of_job.preparation.as_ref()?.task.clone(),
            TaskNumber::RELEASE => release_spec(of_job.release.as_ref()?),
            _ => return None,
        };
        spec.request = Request::Beside { node: node_of(id)? };
        (spec.request_max, spec.exclusive, spec.kind) = (None, false, TaskKind::Basic);
        (spec.memory_mib, spec.affinity, spec.coordination) = (None, None, None);
        (spec.sweep, spec.exit_conditions, spec.interactive) = (None, None, None);
        spec.resources.clear();
        spec.depends_on.clear();
        spec.depends_on_ranges.clear();
        // The job's own number of retries is for its tasks.
        spec.max_retries = spec.max_retries.or(Some(Retries::AtMost(0)));
        Some(spec)
    }

    /// Whether an errand waits for its node and for nothing else. A release comes after everything of its job there, and
    /// nothing starts beside an earlier try of its own that the node still holds.
    pub(super) fn errand_takes_turn(&self, job: &Job, task: &TaskRow) -> bool {
        let Some(node) = node_of(task.id) else { return false };
        let release = task.id.number == TaskNumber::RELEASE;
        let due = match job.row.state {
            JobState::Canceling { .. } => release,
            JobState::Queued | JobState::Running { .. } | JobState::Disabled { .. } => !release,
            JobState::Configuring | JobState::Ended { .. } => false,
        };
        let in_the_way = |attempt: TaskId| attempt == task.id || (release && attempt.job == task.id.job);
        due && task.state == TaskState::Queued && !self.attempts_on(node).any(|attempt| in_the_way(attempt.task))
    }

    /// A node let something of a job go that an errand there may have waited for.
    pub(super) fn refresh_errands(&mut self, job: JobId, node: NodeId) {
        for number in [TaskNumber::PREPARATION, TaskNumber::RELEASE] {
            self.refresh(errand_id(number, job, node));
        }
    }

    /// A job that was over runs again: its nodes are to be prepared and released anew. Its errands are in memory or, when
    /// it was not, among the `stored` rows.
    pub(super) fn forget_all_errands(&mut self, job: JobId, stored: &[TaskRow]) {
        let in_memory = self.errands_of(job).map(|row| row.id);
        let stored = stored.iter().map(|row| row.id).filter(|id| id.number.is_per_node());
        let all: BTreeSet<TaskId> = in_memory.chain(stored).collect();
        for id in all {
            self.errand_forgotten(id);
            self.changes.mark(RowKey::Task(id));
        }
    }

    /// The index of errands by their nodes, for a restart.
    pub(super) fn index_errands(&mut self) {
        let errands = self.tasks.keys().filter_map(|id| Some((node_of(*id)?, *id)));
        self.errands = errands.collect();
        let jobs: BTreeSet<JobId> = self.errands.iter().map(|(_, id)| id.job).collect();
        for job in jobs {
            self.classify(job);
        }
    }

    pub(super) fn attempt_sent(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.sent = true;
            self.changes.mark(RowKey::Attempt(id));
        }
    }

    pub(super) fn coordinated(&mut self, id: AttemptId, node: NodeId) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && attempt.coordinating.remove(&node)
        {
            self.changes.mark(RowKey::Attempt(id));
        }
    }

    /// Whether what is kept of errands and of attempts that wait agrees.
    pub(super) fn check_errands(&self) -> Result<(), String> {
        for (node, id) in &self.errands {
            if !self.nodes.contains_key(node) {
                return Err(format!("task {id} is for node {node}, which is gone"));
            }
        }
        for attempt in self.attempts.values() {
            let (id, job) = (attempt.id, attempt.task.job);
            let holds = |node: &NodeId| attempt.shares.iter().any(|share| share.node == *node);
            if !attempt.coordinating.iter().all(holds) {
                return Err(format!("attempt {id} coordinates nodes that it does not hold"));
            }
            let is_live = |row: &TaskRow| !row.state.is_ended();
            let awaited = |share: &Share| self.preparation(job, share.node).is_some_and(is_live);
            if !attempt.sent && !attempt.shares.iter().any(awaited) {
                return Err(format!("attempt {id} waits for a preparation, and none is under way"));
            }
        }
        Ok(())
    }
}

const fn failed(row: &TaskRow) -> bool {
    matches!(
        row.state,
        TaskState::Ended {
            outcome: TaskOutcome::Failed { .. } | TaskOutcome::Canceled,
            ..
        }
    )
}

/// Once, and no longer than Azure Batch lets it.
fn release_spec(spec: &TaskSpec) -> TaskSpec {
    let limit = spec
        .runtime_limit
        .map_or(MAX_RELEASE_TIME, |limit| limit.min(MAX_RELEASE_TIME));
    TaskSpec {
        runtime_limit: Some(limit),
        rerunnable: false,
        max_requeues: Some(0),
        max_retries: Some(Retries::AtMost(0)),
        ..spec.clone()
    }
}
