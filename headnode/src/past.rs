//! Jobs that have left memory, as the controller has to see them: from the store, and over that from the rounds that are
//! decided and not yet flushed.
//!
//! A job may end in one round and be put back into the queue in the next, while the committer still writes the first; the
//! store alone would show it as it was before. Waiting for the flush would hold up everybody, so the changes of rounds on
//! their way are looked through: there are at most two such rounds, and this is asked for rarely.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use proto::ids::{JobId, TaskId};
use proto::model::job::JobRow;
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

        let mut job = match self.store.row(&RowKey::Job(id))? {
            Some(Row::Job(job)) => Some(*job),
            _ => None,
        };
        for change in later() {
            match change {
                Change::Put(Row::Job(row)) if row.id == id => job = Some((**row).clone()),
                Change::Delete(RowKey::Job(gone)) if *gone == id => job = None,
                _ => {}
            }
        }
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
        let tasks = tasks.into_values().collect();
        Ok(Some(StoredJob { job, tasks }))
    }
}
