//! The database: one sled tree over rows as bytes, an index that can be built again from export and journal.
//!
//! What is done about sled 0.34's known traps:
//! - `flush` is not durable against power loss (it calls `sync_file_range`): our own handle on its log file is synced
//!   after each flush; a commit waits for neither, the journal is what makes it durable;
//! - `flush_async` can hang: never called;
//! - a damaged `snap.*` file stops it from opening although the log is whole: set aside, opened again;
//! - a log without its tail makes it panic, or open without its newest rows: panics are caught, and a mark inside says how
//!   far it is, to be compared with what is known outside;
//! - after one write that met a full disk it refuses all others, reads as if rows were missing (17 of 1,061, measured), and
//!   hangs when it is closed: nothing is written when less than [`place::FLOOR_BYTES`] are free, and one that failed all the
//!   same is left as it is, while another one is built;
//! - what a batch replaces is given back in small portions, fewer than a large batch makes, so that memory and log grow
//!   without end: asked for after each batch;
//! - values above 128 KiB leave the log: the scheduler bounds the size of a task before it becomes a row.
//!
//! It must never decide what becomes of a damaged database: `recover` does.

use std::any::Any;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::export::Entry;
use super::record::Operation;
use super::{StoreError, place};

/// As fast as sled's own default of 1 GiB, with a third of the resident memory (measured on 1 M rows).
pub(super) const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Of a database that is copied from or into, beside the other one.
pub(super) const COPY_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Under a key that no row has: the segment of the journal that the database has everything before of.
const MARK: &[u8] = b"\0mark";

/// What is kept beside the rows has keys below this.
pub(super) const FIRST_ROW: &[u8] = &[1];

/// Changes of a batch for which one portion is asked back. A portion is 512 objects; a change replaces one to three, and
/// splits and merges of pages come on top.
const CHANGES_OF_PORTION: usize = 100;

/// Portions that are asked back after the smallest batch: an object is given back only two epochs after it was replaced.
const PORTIONS_AT_LEAST: usize = 4;

/// Rows of one batch when many are copied.
const COPY_BATCH: usize = 1000;

/// Gets a key and a value; false when it has enough.
type Taker<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError>;

/// An open database.
#[derive(Debug)]
pub(super) struct Tree {
    database: ::sled::Db,
    /// The file that sled appends to, for `sync_data`.
    log: File,
    path: PathBuf,
}

impl Tree {
    /// Opens the database in `path`, made if it is not there. Snapshots that are damaged are set aside.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when it is damaged, [`StoreError::Full`] when the disk is, others when it cannot be reached.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|error| place::failed(path, error))?;
        let database = match open_caught(path, cache_bytes) {
            Err(StoreError::Broken { .. }) if set_snapshots_aside(path)? > 0 => open_caught(path, cache_bytes)?,
            other => other?,
        };
        let log = File::open(path.join("db")).map_err(|error| place::failed(path, error))?;
        Ok(Self {
            database,
            log,
            path: path.to_owned(),
        })
    }

    /// Carries out batches, each as one.
    pub(super) fn apply(&self, operations: Vec<Operation>) -> Result<(), StoreError> {
        let changes = operations.len();
        self.caught(|| {
            let mut batch = ::sled::Batch::default();
            // What this very batch wrote is not in the tree yet.
            let mut written: Vec<Vec<u8>> = Vec::new();
            let deletes = |operation: &Operation| matches!(operation, Operation::DeletePrefix { .. });
            let keeps_account = operations.iter().any(deletes);
            for operation in operations {
                match operation {
                    Operation::Put { key, value } => {
                        if keeps_account {
                            written.push(key.clone());
                        }
                        batch.insert(key, value);
                    }
                    Operation::Delete { key } => batch.remove(key),
                    Operation::DeletePrefix { prefix } => {
                        for key in self.database.scan_prefix(&prefix).keys() {
                            batch.remove(key?);
                        }
                        for key in written.iter().filter(|key| key.starts_with(&prefix)) {
                            batch.remove(key.as_slice());
                        }
                    }
                }
            }
            self.database.apply_batch(batch)?;
            give_back(changes);
            Ok(())
        })
    }

    /// Copies rows in, in batches.
    pub(super) fn fill(&self, rows: impl Iterator<Item = Result<Entry, StoreError>>) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut batch = Vec::with_capacity(COPY_BATCH);
        for row in rows {
            let (key, value) = row?;
            batch.push(Operation::Put { key, value });
            count += 1;
            if batch.len() == COPY_BATCH {
                self.apply(std::mem::replace(&mut batch, Vec::with_capacity(COPY_BATCH)))?;
            }
        }
        self.apply(batch)?;
        Ok(count)
    }

    /// The segment of the journal that it has everything before of; 0 when it never was told one.
    pub(super) fn mark(&self) -> Result<u64, StoreError> {
        let bytes = self.caught(|| self.database.get(MARK))?;
        Ok(bytes
            .and_then(|bytes| bytes.as_ref().try_into().ok())
            .map_or(0, u64::from_le_bytes))
    }

    /// Tells it that it has everything before that segment.
    pub(super) fn set_mark(&self, segment: u64) -> Result<(), StoreError> {
        self.caught(|| self.database.insert(MARK, &segment.to_le_bytes()).map(drop))
    }

    /// Makes everything durable that was carried out before the call.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.caught(|| self.database.flush().map(drop))?;
        self.log.sync_data().map_err(|error| place::failed(&self.path, error))
    }

    /// One value.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = self.caught(|| self.database.get(key))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Keys and values from `start` on and before `end`, given to `take` until it says that it has enough.
    pub(super) fn up(&self, start: &[u8], end: &[u8], take: Taker<'_>) -> Result<(), StoreError> {
        for entry in self.database.range(start..end) {
            let (key, bytes) = entry.map_err(|error| self.failed(error))?;
            if !take(&key, &bytes)? {
                break;
            }
        }
        Ok(())
    }

    /// The same from before `end` downwards.
    pub(super) fn down(
        &self,
        end: &[u8],
        prefix: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for entry in self.database.range(prefix..end).rev() {
            let (_, bytes) = entry.map_err(|error| self.failed(error))?;
            if !take(&bytes)? {
                break;
            }
        }
        Ok(())
    }

    /// All rows, in the order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Entry, StoreError>> {
        self.database.range(FIRST_ROW..).map(|entry| match entry {
            Ok((key, value)) => Ok((key.to_vec(), value.to_vec())),
            Err(error) => Err(self.failed(error)),
        })
    }

    fn failed(&self, error: ::sled::Error) -> StoreError {
        failed(&self.path, error)
    }

    /// Sled panics where others return an error, in the calling thread too.
    fn caught<T>(&self, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(result) => result.map_err(|error| self.failed(error)),
            Err(panic) => Err(broken(&self.path, panic.as_ref())),
        }
    }
}

fn open_caught(path: &Path, cache_bytes: u64) -> Result<::sled::Db, StoreError> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Err(::sled::Error::Io(error))) if is_lock_error(&error) => Err(StoreError::InUse { path: path.to_owned() }),
        Ok(result) => result.map_err(|error| failed(path, error)),
        Err(panic) => Err(broken(path, panic.as_ref())),
    }
}

fn failed(path: &Path, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => place::failed(&path.join("db"), error),
        // Where a file is cut or its rows contradict each other, sled says one of these.
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) | ::sled::Error::Unsupported(_) => {
            StoreError::Broken {
                path: path.to_owned(),
                what: error.to_string(),
            }
        }
        other => StoreError::Database(other),
    }
}

fn broken(path: &Path, panic: &(dyn Any + Send)) -> StoreError {
    let what = panic.downcast_ref::<String>().map(String::as_str);
    let what = what
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    StoreError::Broken {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn is_lock_error(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// The log holds everything that a snapshot holds, so opening without one is slower and loses nothing.
fn set_snapshots_aside(path: &Path) -> Result<usize, StoreError> {
    let mut moved = 0;
    for from in place::entries(path)? {
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            tracing::warn!(file = %from.display(), "a snapshot of the store may be damaged; set aside, reading the log");
            let to = path.join(format!("damaged-{name}"));
            fs::rename(&from, to).map_err(|error| place::failed(&from, error))?;
            moved += 1;
        }
    }
    Ok(moved)
}

/// Lets sled give back what a batch of so many changes replaced: memory, and with it the right to write over the log's old
/// segments. By itself it does so at every 128th call, and a batch is one call.
fn give_back(changes: usize) {
    for _ in 0..changes / CHANGES_OF_PORTION + PORTIONS_AT_LEAST {
        ::sled::pin().flush();
    }
}
