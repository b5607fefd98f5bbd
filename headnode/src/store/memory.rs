//! The store in memory: the twin of sled for tests and simulation. As durable as the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::ids::{JobId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::JobRow;
use proto::model::task::TaskRow;
use proto::stored::{Change, Row, RowKey};

use super::{Store, StoreError, live_rows};

/// Rows in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Guards the rows for the length of one call.
    rows: Mutex<BTreeMap<Vec<u8>, Row>>,
}

impl MemoryStore {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Row>> {
        // A panic while holding the lock cannot leave half a change: each call writes whole rows.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// Copied, because whoever takes them may read the store once more.
    fn rows_from(&self, start: Vec<u8>, prefix: &[u8]) -> Vec<Row> {
        let rows = self.rows();
        let of_prefix = rows.range(start..).take_while(|(key, _)| key.starts_with(prefix));
        of_prefix.map(|(_, row)| row.clone()).collect()
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows();
        let live = rows.values().filter_map(|row| match row {
            Row::Job(job) if super::is_live(job) => Some(job.id),
            _ => None,
        });
        live_rows(live.collect(), |from, to, take| {
            for (_, row) in rows.range(from.to_vec()..to.to_vec()) {
                take(row.clone());
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut rows = self.rows();
        for change in changes {
            match change {
                Change::Put(row) => rows.insert(row.key().bytes(), row.clone()),
                Change::Delete(key) => rows.remove(&key.bytes()),
                Change::DeleteJob(job) => {
                    let prefixes = super::of_job(*job);
                    rows.retain(|key, _| !prefixes.iter().any(|prefix| key.starts_with(prefix)));
                    None
                }
            };
        }
        Ok(())
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.rows().get(&key.bytes()).cloned())
    }

    fn jobs_down(&self, before: Option<JobId>, take: &mut dyn FnMut(JobRow) -> bool) -> Result<(), StoreError> {
        let end = RowKey::Job(before.unwrap_or(JobId(u64::MAX))).bytes();
        for row in self.rows().range(b"j/".to_vec()..end).rev().map(|(_, row)| row.clone()) {
            if let Row::Job(job) = row
                && !take(*job)
            {
                break;
            }
        }
        Ok(())
    }

    fn tasks_up(
        &self,
        job: JobId,
        after: Option<TaskId>,
        take: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        // A key is followed by itself with a zero byte behind it.
        let start = after.map_or_else(
            || RowKey::tasks_of(job),
            |after| [RowKey::Task(after).bytes().as_slice(), &[0]].concat(),
        );
        let prefix = RowKey::tasks_of(job);
        for row in self.rows_from(start, &prefix) {
            if let Row::Task(task) = row
                && !take(*task)
            {
                break;
            }
        }
        Ok(())
    }

    fn chunks_up(
        &self,
        job: JobId,
        from: Option<(TaskId, u32)>,
        take: &mut dyn FnMut(ChunkRow) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = RowKey::chunks_of(job);
        let start = from.map_or_else(|| prefix.clone(), |(array, chunk)| RowKey::Chunk(array, chunk).bytes());
        for row in self.rows_from(start, &prefix) {
            if let Row::Chunk(chunk) = row
                && !take(chunk)
            {
                break;
            }
        }
        Ok(())
    }
}
