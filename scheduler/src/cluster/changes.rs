//! Which rows changed since they were stored last. A row that is still in memory is read when it is stored, so that many
//! changes of one row cost one write; a row that leaves memory leaves its last form here.

use std::collections::BTreeMap;

use proto::ids::JobId;
use proto::stored::{Change, Row, RowKey};

#[derive(Debug, Default)]
pub(crate) struct Changes {
    rows: BTreeMap<RowKey, Option<Change>>,
}

impl Changes {
    /// The row in memory is to be stored, or deleted when it is not there.
    pub(crate) fn mark(&mut self, key: RowKey) {
        self.rows.insert(key, None);
    }

    /// A row leaves memory and stays on disk.
    pub(crate) fn depart(&mut self, row: Row) {
        if let Some(last) = self.rows.get_mut(&row.key()) {
            *last = Some(Change::Put(row));
        }
    }

    /// A job and all its tasks leave memory and disk; what was to be stored of them is not.
    pub(crate) fn delete_job(&mut self, job: JobId) {
        self.rows.retain(|key, _| match key {
            RowKey::Job(id) => *id != job,
            RowKey::Task(task) | RowKey::Chunk(task, _) => task.job != job,
            _ => true,
        });
        self.rows.insert(RowKey::Job(job), Some(Change::DeleteJob(job)));
    }

    /// All keys in order, with the last form of rows that have left memory.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (RowKey, Option<Change>)> {
        std::mem::take(&mut self.rows).into_iter()
    }
}
