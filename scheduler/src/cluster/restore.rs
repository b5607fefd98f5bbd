//! A cluster from its stored rows. Only what is stored comes back: liveness counts anew, and a node that answered before
//! has to say hello before it gets work.

use proto::ids::{AttemptId, JobId, NodeId, NodeName, ScheduleName, TaskId};
use proto::model::attempt::{AttemptRow, Held};
use proto::model::job::JobRow;
use proto::model::node::{Liveness, NodeRow};
use proto::model::task::TaskRow;
use proto::stored::{Row, RowKey};
use proto::units::Now;

use super::{Cluster, Shape, Tenant, Wares};
use crate::settings::Settings;

/// Why stored rows make no cluster. A head node must not start on such a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A task without its job.
    #[error("task {task} is stored, its job is not")]
    OrphanTask {
        /// Which.
        task: TaskId,
    },
    /// A task that is under way without the attempt.
    #[error("task {task} is stored as being tried by attempt {attempt}, which is not stored")]
    NoAttempt {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// An attempt that holds an unknown node.
    #[error("attempt {attempt} is stored as holding node {node}, which is not stored")]
    NoNode {
        /// Which attempt.
        attempt: AttemptId,
        /// Which node.
        node: NodeId,
    },
    /// Two nodes of one name.
    #[error("two nodes are stored under the name '{name}'")]
    TwoNodes {
        /// The name.
        name: NodeName,
    },
    /// An array whose elements are not as its row says: a chunk is missing.
    #[error("the row of array {array} does not fit its elements: {reason}")]
    Array {
        /// Which array.
        array: TaskId,
        /// What is wrong.
        reason: String,
    },
    /// A job whose counts are not those of its tasks.
    #[error("job {job} is stored with {counted} tasks, and {found} are stored")]
    TasksMissing {
        /// Which job.
        job: JobId,
        /// What its row says.
        counted: u32,
        /// How many there are.
        found: usize,
    },
}

impl Cluster {
    /// A cluster as it was stored: rows in any order, without jobs that are over and without their tasks; but with those
    /// that are over and still to be taken away ([`JobRow::deleting`]). The time-outs of silent nodes count from `now`.
    ///
    /// # Errors
    /// [`RestoreError`] when the rows contradict each other.
    pub fn restore(settings: Settings, rows: impl IntoIterator<Item = Row>, now: Now) -> Result<Self, RestoreError> {
        let mut cluster = Self::new(settings);
        cluster.clock = now;
        cluster.take_rows(rows)?;
        cluster.find_contradictions()?;
        cluster.await_hellos(now);
        cluster.build_indexes();
        Ok(cluster)
    }

    /// Rows in any order; chunks of arrays after all others.
    fn take_rows(&mut self, rows: impl IntoIterator<Item = Row>) -> Result<(), RestoreError> {
        let mut chunks = Vec::new();
        for row in rows {
            match row {
                Row::Chunk(chunk) => chunks.push(chunk),
                row => self.take_row(row)?,
            }
        }
        let heads: Vec<TaskId> = self
            .tasks
            .values()
            .filter_map(|row| row.array.as_ref().map(|_| row.id))
            .collect();
        self.take_arrays(heads, chunks)
    }

    fn take_row(&mut self, row: Row) -> Result<(), RestoreError> {
        match row {
            Row::Meta(row) => self.meta = row,
            Row::Pool(row) => drop(self.pools.insert(row.name.clone(), row)),
            Row::Group(row) => drop(self.groups.insert(row.name.clone(), row)),
            Row::Node(row) => {
                if self.names.insert(row.name.clone(), row.id).is_some() {
                    return Err(RestoreError::TwoNodes { name: row.name });
                }
                self.nodes.insert(row.id, *row);
            }
            Row::Job(row) => self.take_job(*row),
            Row::Task(row) => drop(self.tasks.insert(row.id, *row)),
            Row::Attempt(row) => drop(self.attempts.insert(row.id, row)),
            Row::Submission(row) => drop(self.submissions.insert(row.id, row)),
            Row::Token(row) => drop(self.tokens.insert(row.hash.clone(), row)),
            Row::User(row) => self.users.put(*row),
            Row::Settings(row) => self.settings_row = *row,
            Row::Chunk(_) => {}
            Row::Schedule(row) => drop(self.schedules.insert(row.name.clone(), *row)),
        }
        Ok(())
    }

    fn find_contradictions(&self) -> Result<(), RestoreError> {
        for task in self.tasks.values() {
            if !self.jobs.contains_key(&task.id.job) {
                return Err(RestoreError::OrphanTask { task: task.id });
            }
            if let Some(attempt) = task.state.attempt().filter(|id| !self.attempts.contains_key(id)) {
                return Err(RestoreError::NoAttempt { task: task.id, attempt });
            }
        }
        for attempt in self.attempts.values() {
            if let Some(share) = attempt
                .shares
                .iter()
                .find(|share| share.held == Held::Yes && !self.nodes.contains_key(&share.node))
            {
                return Err(RestoreError::NoNode {
                    attempt: attempt.id,
                    node: share.node,
                });
            }
        }
        for array in self.arrays.keys().copied() {
            self.check_array(array)
                .map_err(|reason| RestoreError::Array { array, reason })?;
        }
        for job in self.jobs() {
            let (counted, found) = (job.counts.total(), self.tasks_counted(job.id));
            if counted as usize != found {
                return Err(RestoreError::TasksMissing {
                    job: job.id,
                    counted,
                    found,
                });
            }
        }
        Ok(())
    }

    /// All tasks of a job, elements of arrays counted.
    fn tasks_counted(&self, job: JobId) -> usize {
        let alone = self.tasks_of(job).filter(|row| self.is_stored_alone(row));
        alone
            .map(|row| match (&row.array, row.spec.sweep) {
                (Some(_), Some(sweep)) => sweep.count() as usize,
                _ => 1,
            })
            .sum()
    }

    /// Nobody is connected after a restart: a node that answered before keeps its tasks and gets no new ones until its
    /// hello says what it holds.
    fn await_hellos(&mut self, now: Now) {
        for node in self.nodes.values_mut() {
            if matches!(node.liveness, Liveness::Up { .. }) {
                node.liveness = Liveness::Suspect { since: now.wall };
                self.changes.mark(RowKey::Node(node.id));
            }
            if matches!(node.liveness, Liveness::Suspect { .. }) {
                self.heard.insert(node.id, now.monotonic);
            }
        }
    }

    fn build_indexes(&mut self) {
        for node in self.nodes.values() {
            self.floor.refresh(node);
        }
        for attempt in self.attempts.values() {
            if let Some(job) = self.jobs.get_mut(&attempt.task.job) {
                job.attempts += 1;
            }
            let tenant = tenant_of(
                attempt,
                self.jobs.get(&attempt.task.job).map(|job| &job.row),
                self.row_with_spec(attempt.task),
            );
            let wares = self.row_with_spec(attempt.task).and_then(|task| Wares::of(&task.spec));
            for share in attempt.shares.iter().filter(|share| share.held == Held::Yes) {
                if let Some(node) = self.nodes.get(&share.node) {
                    self.floor
                        .hold(node, attempt.id, attempt.slots_of(share), (tenant, wares.clone()));
                }
            }
        }
        let attempts: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for attempt in attempts {
            self.enter_window(attempt);
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.build_dependencies(job);
            self.index_deadlines(job);
        }
        let schedules: Vec<ScheduleName> = self.schedules.keys().cloned().collect();
        for schedule in schedules {
            self.index_schedule(&schedule);
        }
        self.index_errands();
        for task in self.tasks.values() {
            if let Some(job) = self.jobs.get(&task.id.job)
                && self.takes_turn(job, task)
            {
                let (priority, shape) = (job.row.spec.priority, Shape::of(&task.spec));
                match self.arrays.get(&task.id) {
                    Some(array) => self.queue.insert_rest(priority, task.id, shape, &array.rest),
                    None => self.queue.insert(priority, task.id, shape),
                }
            }
        }
        for submission in self.submissions.values() {
            match self.jobs.get_mut(&submission.job) {
                Some(job) => drop(job.submissions.insert((submission.first_task, submission.id))),
                None => drop(self.old_submissions.insert((submission.job, submission.id))),
            }
        }
        self.forget_old_submissions();
    }

    /// A second cluster of the same rows, its indexes made anew.
    pub(super) fn rebuilt(&self) -> Result<Self, RestoreError> {
        let mut other = Self::new(self.settings);
        other.take_rows(self.rows())?;
        other.find_contradictions()?;
        other.build_indexes();
        Ok(other)
    }
}

/// As whom an attempt is on its nodes. Where the job is over and no longer in memory nobody knows whether it shares, so
/// it is taken for one that does not, for the moment until its nodes let it go.
pub(super) fn tenant_of(attempt: &AttemptRow, job: Option<&JobRow>, task: Option<&TaskRow>) -> Tenant {
    Tenant {
        job: attempt.task.job,
        job_alone: job.is_none_or(|job| job.spec.exclusive),
        task_alone: !attempt.task.number.is_per_node() && task.is_none_or(|task| task.spec.exclusive),
    }
}

/// Slots that a node offers.
pub(super) fn slots_of(node: &NodeRow, slots_per_node: Option<u32>) -> u32 {
    node.inventory
        .as_ref()
        .map_or(0, |inventory| slots_per_node.unwrap_or(inventory.cores))
}
