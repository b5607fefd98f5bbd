//! The store: rows by key, written in batches that are durable or have not happened.
//!
//! One trait with two implementations: on disk, and memory for tests and simulation. Only the committer writes.
//! Nothing outside this folder knows which store it is, so that a replicated one can take its place.

mod compact;
mod export;
mod journal;
mod live;
mod memory;
pub mod offline;
mod place;
mod record;
mod recover;
mod rest;
mod sled;
mod tree;

use std::path::PathBuf;

use proto::ids::{JobId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::JobRow;
use proto::model::task::TaskRow;
use proto::stored::{Change, Row, RowKey, StoredError};

pub use memory::MemoryStore;
pub use place::FLOOR_BYTES;
pub use rest::RowsAtRest;
pub use sled::SledStore;

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("{path} of the store cannot be used: see to its disk and its owner, then start the head node again")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of a backup cannot be used; the store is as it was.
    #[error("the backup {path} cannot be read or written: name a file in a folder that is there and has room")]
    Backup {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another head node has it open.
    #[error("the store in {path} is in use: another head node runs on it; stop it first ('muster down')")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// There is no room for more; whoever wants to store tries again.
    #[error("the disk of the head node is full ({folder}, {free_bytes} bytes free): make room; nothing was lost")]
    Full {
        /// Where.
        folder: PathBuf,
        /// What is left; less than [`FLOOR_BYTES`] is not used.
        free_bytes: u64,
    },
    /// The database says no.
    #[error("the database of the store failed")]
    Database(#[source] ::sled::Error),
    /// The store panicked.
    #[error("the store stopped ({what}); nothing that it held up was acknowledged: start the head node again")]
    Panicked {
        /// What it said.
        what: String,
    },
    /// The database is damaged, and could not be built anew.
    #[error(
        "the database in {path} is damaged ({what}); a start of the head node builds it anew from its export, and where \
         there is none, 'muster restore FILE' brings back a backup"
    )]
    Broken {
        /// Where.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// The journal is damaged where it must not be.
    #[error(
        "the journal is damaged at byte {at} of {path}: {what}; restore the file from a copy, or a backup with \
         'muster restore FILE'"
    )]
    Journal {
        /// The segment.
        path: PathBuf,
        /// The byte.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// An export or a backup is damaged.
    #[error("{path} is not a whole export: {what}; use another one")]
    Export {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A row cannot be read.
    #[error(transparent)]
    Row(#[from] StoredError),
    /// A row of one kind under the key of another.
    #[error("the store holds something else under the key of {key:?}")]
    Mixed {
        /// The key.
        key: RowKey,
    },
}

impl StoreError {
    /// Whether the same call may go well later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Rows by key.
pub trait Store: Send + Sync {
    /// All rows that a running cluster needs: jobs that are over and their tasks stay on disk, unless they are to be deleted.
    ///
    /// # Errors
    /// When a row cannot be read: a head node must not start on half a state.
    fn load(&self) -> Result<Vec<Row>, StoreError>;

    /// Makes all changes, atomically and durably: after it returns they survive kill and power loss.
    ///
    /// # Errors
    /// After [`StoreError::Full`] nothing of it counts, and the same call is made again when there is room. Any other error
    /// is fatal for the caller: stop acknowledging, exit, recover by a restart.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// One row.
    ///
    /// # Errors
    /// When it cannot be read.
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError>;

    /// Jobs below `before` (none: all), newest first, given to `take` until it returns false.
    ///
    /// # Errors
    /// When a row cannot be read.
    fn jobs_down(&self, before: Option<JobId>, take: &mut dyn FnMut(JobRow) -> bool) -> Result<(), StoreError>;

    /// Tasks of a job behind `after`, in order, given to `take` until it returns false.
    ///
    /// # Errors
    /// When a row cannot be read.
    fn tasks_up(
        &self,
        job: JobId,
        after: Option<TaskId>,
        take: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError>;

    /// Chunks of the arrays of a job from that one on, in order, given to `take` until it returns false.
    ///
    /// # Errors
    /// When a row cannot be read.
    fn chunks_up(
        &self,
        job: JobId,
        from: Option<(TaskId, u32)>,
        take: &mut dyn FnMut(ChunkRow) -> bool,
    ) -> Result<(), StoreError>;
}

/// Whether a running cluster needs a job.
fn is_live(job: &JobRow) -> bool {
    !job.state.is_ended() || job.deleting
}

/// Picks what a running cluster needs out of all rows, given by the beginning of their keys from one key to another. The
/// live jobs are known.
fn live_rows(
    jobs: Vec<JobId>,
    mut scan: impl FnMut(&[u8], &[u8], &mut dyn FnMut(Row)) -> Result<(), StoreError>,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for prefix in [
        &b"m/"[..],
        b"c/",
        b"u/",
        b"p/",
        b"g/",
        b"n/",
        b"k/",
        b"s/",
        b"a/",
        b"h/",
    ] {
        scan(prefix, &behind(prefix), &mut |row| rows.push(row))?;
    }
    let ranges = neighbours(&jobs);
    type Begin = fn(JobId) -> Vec<u8>;
    let kinds: [Begin; 3] = [|job| RowKey::Job(job).bytes(), RowKey::tasks_of, RowKey::chunks_of];
    for of in kinds {
        for (first, last) in &ranges {
            scan(&of(*first), &behind(&of(*last)), &mut |row| rows.push(row))?;
        }
    }
    Ok(rows)
}

/// The first key that does not begin so. Beginnings are kinds and numbers that are never all ones.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

/// Jobs in ranges of numbers without a gap, so that a million of one task each are read in one go.
fn neighbours(jobs: &[JobId]) -> Vec<(JobId, JobId)> {
    let mut ranges: Vec<(JobId, JobId)> = Vec::new();
    for job in jobs {
        match ranges.last_mut() {
            Some((_, last)) if last.0 + 1 == job.0 => *last = *job,
            _ => ranges.push((*job, *job)),
        }
    }
    ranges
}

/// The prefixes of all that is kept of a job. The key of a job is no prefix of another's, because all are of one length.
fn of_job(job: JobId) -> [Vec<u8>; 3] {
    [RowKey::tasks_of(job), RowKey::chunks_of(job), RowKey::Job(job).bytes()]
}

#[cfg(test)]
mod tests;
