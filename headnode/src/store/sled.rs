//! The store on disk: one sled tree, keys as `proto::stored` writes them.
//!
//! What is done about sled 0.34's known traps:
//! - `flush` is not durable against power loss (it calls `sync_file_range`): our own handle on its log file is synced
//!   after each flush;
//! - `flush_async` can hang: never called, one thread commits;
//! - a damaged `snap.*` file stops it from opening although the log is whole: set aside, opened again;
//! - a log without its tail makes it panic: caught and told as an error;
//! - what a batch replaces is given back in small portions, fewer than a large batch makes, so that memory and log grow
//!   without end: asked for after each commit;
//! - values above 128 KiB leave the log: the scheduler bounds the size of a task before it becomes a row.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proto::ids::{JobId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::JobRow;
use proto::model::task::TaskRow;
use proto::stored::{self, Change, Row, RowKey};

use super::{Store, StoreError, live_rows};

/// As fast as sled's own default of 1 GiB, with a third of the resident memory (measured on 1 M rows).
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Changes of a batch for which one portion is asked back. A portion is 512 objects; a change replaces one to three, and
/// splits and merges of pages come on top.
const CHANGES_OF_PORTION: usize = 100;

/// Portions that are asked back after the smallest batch: an object is given back only two epochs after it was replaced.
const PORTIONS_AT_LEAST: usize = 4;

/// Rows in a sled tree.
#[derive(Debug)]
pub struct SledStore {
    database: ::sled::Db,
    /// The file that sled appends to, for `sync_data`.
    log: File,
}

impl SledStore {
    /// Opens the store in `path`, made if it is not there.
    ///
    /// # Errors
    /// [`StoreError`], saying whether it is in use, damaged, or cannot be reached.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|source| StoreError::Folder {
            path: path.to_owned(),
            source,
        })?;
        let database = match open_caught(path) {
            Err(StoreError::Database(::sled::Error::Corruption { .. })) if set_snapshots_aside(path)? > 0 => {
                open_caught(path)?
            }
            other => other?,
        };
        let log = File::open(path.join("db")).map_err(|source| StoreError::Folder {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { database, log })
    }
}

/// Lets sled give back what a batch of so many changes replaced: memory, and with it the right to write over the log's old
/// segments. By itself it does so at every 128th call, and a batch is one call.
fn give_back(changes: usize) {
    for _ in 0..changes / CHANGES_OF_PORTION + PORTIONS_AT_LEAST {
        ::sled::pin().flush();
    }
}

fn open_caught(path: &Path) -> Result<::sled::Db, StoreError> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(::sled::Error::Io(error))) if is_lock_error(&error) => Err(StoreError::InUse { path: path.to_owned() }),
        Ok(Err(error)) => Err(error.into()),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(StoreError::Broken {
                path: path.to_owned(),
                what: what.to_owned(),
            })
        }
    }
}

fn is_lock_error(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// The log holds everything that a snapshot holds, so opening without one is slower and loses nothing.
fn set_snapshots_aside(path: &Path) -> Result<usize, StoreError> {
    let failed = |source| StoreError::Folder {
        path: path.to_owned(),
        source,
    };
    let mut moved = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        let from: PathBuf = entry.map_err(failed)?.path();
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            tracing::warn!(file = %from.display(), "a snapshot of the store is damaged; set aside, reading the log");
            fs::rename(&from, path.join(format!("damaged-{name}"))).map_err(failed)?;
            moved += 1;
        }
    }
    Ok(moved)
}

impl Store for SledStore {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        live_rows(|prefix, take| {
            for entry in self.database.scan_prefix(prefix) {
                take(stored::decode(&entry?.1)?);
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(row) => batch.insert(row.key().bytes(), stored::encode(row)?),
                Change::Delete(key) => batch.remove(key.bytes()),
                Change::DeleteJob(job) => {
                    for prefix in super::of_job(*job) {
                        for key in self.database.scan_prefix(prefix).keys() {
                            batch.remove(key?);
                        }
                    }
                    // What this very batch wrote of it is not in the tree yet.
                    for key in earlier_keys(changes, *job) {
                        batch.remove(key);
                    }
                }
            }
        }
        self.database.apply_batch(batch)?;
        self.database.flush()?;
        give_back(changes.len());
        self.log.sync_data().map_err(|error| ::sled::Error::Io(error).into())
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let bytes = self.database.get(key.bytes())?;
        Ok(bytes.map(|bytes| stored::decode(&bytes)).transpose()?)
    }

    fn jobs_down(&self, before: Option<JobId>, take: &mut dyn FnMut(JobRow) -> bool) -> Result<(), StoreError> {
        let end = RowKey::Job(before.unwrap_or(JobId(u64::MAX))).bytes();
        for entry in self.database.range(b"j/".to_vec()..end).rev() {
            if let Row::Job(job) = stored::decode(&entry?.1)?
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
        for entry in self.database.range(start..) {
            let (key, bytes) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            if let Row::Task(task) = stored::decode(&bytes)?
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
        for entry in self.database.range(start..) {
            let (key, bytes) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            if let Row::Chunk(chunk) = stored::decode(&bytes)?
                && !take(chunk)
            {
                break;
            }
        }
        Ok(())
    }
}

/// Keys that a batch writes of a job. Nothing of a job is written after it was deleted.
fn earlier_keys(changes: &[Change], job: JobId) -> impl Iterator<Item = Vec<u8>> {
    let prefixes = super::of_job(job);
    changes.iter().filter_map(move |change| {
        let Change::Put(row) = change else { return None };
        let key = row.key().bytes();
        prefixes.iter().any(|prefix| key.starts_with(prefix)).then_some(key)
    })
}
