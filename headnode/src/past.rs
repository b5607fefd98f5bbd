//! Jobs that have left memory, as the controller has to see them: from the store, and over that from the rounds that are
//! decided and not yet flushed.
//!
//! A job may end in one round and be put back into the queue in the next, while the committer still writes the first; the
//! store alone would show it as it was before. Waiting for the flush would hold up everybody, so the changes of rounds on
//! their way are looked through: there are at most two such rounds, and this is asked for rarely.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use proto::ids::{JobId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::{JobRow, JobState};
use proto::model::owner::Caller;
use proto::model::task::TaskRow;
use proto::stored::{Change, Row, RowKey};
use scheduler::StoredJob;

use crate::store::{Store, StoreError};

/// Stored jobs.
pub struct Past {
    store: Arc<dyn Store>,
    /// Changes of the rounds so far, oldest first. Those that are gone were committed.
    under_way: VecDeque<Weak<Vec<Change>>>,
}

impl std::fmt::Debug for Past {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Past")
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl Past {
    /// Reads from that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            under_way: VecDeque::new(),
        }
    }

    /// Remembers a round's changes for as long as somebody holds them, which is until they are committed.
    pub(crate) fn depart(&mut self, changes: &Arc<Vec<Change>>) {
        self.under_way.retain(|earlier| earlier.strong_count() > 0);
        if !changes.is_empty() {
            self.under_way.push_back(Arc::downgrade(changes));
        }
    }

    /// Takes out of the jobs that another one waits for those that are over, and well, and that the caller may know of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn drop_met_parents(
        &self,
        caller: &Caller,
        parents: &mut Vec<JobId>,
        newest: &[Change],
        is_live: impl Fn(JobId) -> bool,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        parents.retain(|id| {
            if is_live(*id) {
                return true;
            }
            match self.job_row(*id, newest) {
                Ok(row) => !row.is_some_and(|row| is_met(caller, &row)),
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// The row of a job as it is after every round so far and after `newest`.
    fn job_row(&self, id: JobId, newest: &[Change]) -> Result<Option<JobRow>, StoreError> {
        let under_way: Vec<Arc<Vec<Change>>> = self.under_way.iter().filter_map(Weak::upgrade).collect();
        let stored = match self.store.row(&RowKey::Job(id))? {
            Some(Row::Job(job)) => Some(*job),
            _ => None,
        };
        let later = under_way.iter().flat_map(|changes| changes.iter()).chain(newest);
        Ok(after(stored, id, later))
    }

    /// A job with all its tasks, as it is after every round so far and after `newest`. None when there is none, or when
    /// `is_wanted` says no to its row, which spares reading its tasks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn job(
        &self,
        id: JobId,
        newest: &[Change],
        is_wanted: impl FnOnce(&JobRow) -> bool,
    ) -> Result<Option<StoredJob>, StoreError> {
        // Held before the store is read: what is committed meanwhile is then seen twice and never missed.
        let under_way: Vec<Arc<Vec<Change>>> = self.under_way.iter().filter_map(Weak::upgrade).collect();
        let later = || under_way.iter().flat_map(|changes| changes.iter()).chain(newest);

        let stored = match self.store.row(&RowKey::Job(id))? {
            Some(Row::Job(job)) => Some(*job),
            _ => None,
        };
        let job = after(stored, id, later());
        let Some(job) = job.filter(is_wanted) else {
            return Ok(None);
        };
        let mut tasks: BTreeMap<TaskId, TaskRow> = BTreeMap::new();
        self.store.tasks_up(id, None, &mut |task| {
            tasks.insert(task.id, task);
            true
        })?;
        for change in later() {
            match change {
                Change::Put(Row::Task(row)) if row.id.job == id => drop(tasks.insert(row.id, (**row).clone())),
                Change::Delete(RowKey::Task(gone)) if gone.job == id => drop(tasks.remove(gone)),
                _ => {}
            }
        }
        let mut chunks: BTreeMap<(TaskId, u32), ChunkRow> = BTreeMap::new();
        self.store.chunks_up(id, None, &mut |chunk| {
            chunks.insert((chunk.array, chunk.chunk), chunk);
            true
        })?;
        for change in later() {
            if let Change::Put(Row::Chunk(row)) = change
                && row.array.job == id
            {
                chunks.insert((row.array, row.chunk), row.clone());
            }
        }
        // What ended well, whole chunks of it, nobody needs in memory.
        chunks.retain(|(array, _), chunk| {
            let sweep = tasks.get(array).and_then(|head| head.spec.sweep);
            !sweep.is_some_and(|sweep| chunk.is_whole(sweep.count()))
        });
        Ok(Some(StoredJob {
            job,
            tasks: tasks.into_values().collect(),
            chunks: chunks.into_values().collect(),
        }))
    }
}

/// A job's row with these changes over it.
fn after<'a>(stored: Option<JobRow>, id: JobId, later: impl Iterator<Item = &'a Change>) -> Option<JobRow> {
    later.fold(stored, |job, change| match change {
        Change::Put(Row::Job(row)) if row.id == id => Some((**row).clone()),
        Change::Delete(RowKey::Job(gone)) | Change::DeleteJob(gone) if *gone == id => None,
        _ => job,
    })
}

/// Whether a job that is over lets those run that wait for it; only for those who may know that.
fn is_met(caller: &Caller, job: &JobRow) -> bool {
    match &job.state {
        JobState::Ended { outcome, .. } => caller.may_touch(&job.owner) && scheduler::parent_is_met(outcome),
        _ => false,
    }
}

/// The same as [`Past::drop_met_parents`] for whoever only reads the store.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn drop_met_parents(
    store: &dyn Store,
    caller: &Caller,
    parents: &mut Vec<JobId>,
    is_live: impl Fn(JobId) -> bool,
) -> Result<(), StoreError> {
    let mut met = Vec::new();
    for id in parents.iter().filter(|id| !is_live(**id)) {
        if let Some(Row::Job(row)) = store.row(&RowKey::Job(*id))?
            && is_met(caller, &row)
        {
            met.push(*id);
        }
    }
    parents.retain(|id| !met.contains(id));
    Ok(())
}
