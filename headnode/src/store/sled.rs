//! The store on disk: a journal that makes commits durable, a database that finds rows, exports for the day on which the
//! database is lost.
//!
//! ```text
//!   commit:      journal append + one sync  ->  database (memory, written behind)      durable after the first
//!   checkpoint:  new segment, flush and sync of the database, then the file `checkpoint` says so
//!   export:      new segment, checkpoint, all rows into one file; keeps two, and the journal since the older
//! ```
//!
//! Why the journal and not sled is what makes a commit durable: one sync per commit is what a commit costs, so there can be
//! only one. Ours goes into blocks that are allocated already, which is cheaper than sled's growing file; it can stand a full
//! disk, after which sled refuses everything; and whatever becomes of the database, export and journal have all that was
//! acknowledged. A start plays what the database may lack, which is at most [`CHECKPOINT_BYTES`] and some.
//!
//! A thread of the store's own makes checkpoints and exports, so that no commit waits for them. It must never let go of an
//! export or a segment before what replaces it is durable.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use nix::fcntl::Flock;
use proto::ids::{JobId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::JobRow;
use proto::model::task::TaskRow;
use proto::stored::{self, Change, Row, RowKey};

use super::journal::{self, Journal};
use super::place::{self, Place};
use super::recover::{self, Opened};
use super::tree::Tree;
use super::{Store, StoreError, behind, export, live, live_rows, record};

/// So much journal makes a checkpoint due: what a start has to play, about 0.2 s.
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;

/// So much journal makes an export due, or as much as the last export holds, whichever is more: each byte is then written
/// into exports about once.
const EXPORT_BYTES: u64 = 64 * 1024 * 1024;

/// An export that is older is made anew when there is a tenth of its size in the journal.
const EXPORT_AGE: Duration = Duration::from_secs(30 * 60);

/// Between two looks at what is due when nobody says so.
const IDLE: Duration = Duration::from_secs(60);

/// Rows on disk.
#[derive(Debug)]
pub struct SledStore {
    pub(super) inner: Arc<Inner>,
    wake: SyncSender<Chore>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    place: Place,
    /// Guards which database is the one; held for a moment only.
    index: RwLock<Index>,
    /// Guards the order of journal and database: held for a commit, and while a segment begins.
    journal: Mutex<Journal>,
    /// Kept for as long as the store is open.
    _lock: Flock<File>,
}

/// The database.
#[derive(Debug)]
enum Index {
    Open(Arc<Tree>),
    /// It refused a write, after a full disk: reading it would miss rows (measured), closing it hangs. It is never touched
    /// again, and before the next commit another one is built.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    Look,
    Stop,
}

impl SledStore {
    /// Opens the store in `path`, made if it is not there, and repairs what can be repaired.
    ///
    /// # Errors
    /// [`StoreError`], saying whether it is in use, damaged beyond repair, or cannot be reached.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = Place::make(path)?;
        let lock = place.lock()?;
        if place.check_room(0).is_err() {
            place.give_up_reserve();
            // Sled must not meet a full disk; it does not come back from one.
            place.check_room(0)?;
        }
        let Opened { tree, journal } = recover::open(&place)?;
        let inner = Arc::new(Inner {
            place,
            index: RwLock::new(Index::Open(Arc::new(tree))),
            journal: Mutex::new(journal),
            _lock: lock,
        });
        let (wake, chores) = sync_channel(1);
        let kept = Arc::clone(&inner);
        let keeper = thread::Builder::new()
            .name("store keeper".to_owned())
            .spawn(move || kept.keep(&chores))
            .map_err(|error| place::failed(path, error))?;
        Ok(Self {
            inner,
            wake,
            keeper: Some(keeper),
        })
    }

    /// Opens the store and reads what a running cluster needs. A database in which not all of it can be read is built anew.
    ///
    /// # Errors
    /// As [`SledStore::open`] and [`Store::load`].
    pub fn open_and_load(path: &Path) -> Result<(Self, Vec<Row>), StoreError> {
        let store = Self::open(path)?;
        match store.load() {
            Err(StoreError::Broken { .. }) => {
                drop(store);
                let store = Self::open(path)?;
                let rows = store.load()?;
                Ok((store, rows))
            }
            rows => rows.map(|rows| (store, rows)),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // A full queue has been looked at by the time there is room; one that ended needs no telling.
        let _ = self.wake.send(Chore::Stop);
        if let Some(Err(_)) = self.keeper.take().map(JoinHandle::join) {
            tracing::error!("the thread that keeps the store panicked");
        }
        // Without it the next start plays the journal.
        if let Err(error) = self.inner.checkpoint() {
            tracing::warn!(%error, "no checkpoint at the end");
            self.inner.abandon();
        }
    }
}

impl Inner {
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        // Its end moves only after a record is whole and synced.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree(&self) -> Result<Arc<Tree>, StoreError> {
        match &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            Index::Open(tree) => Ok(Arc::clone(tree)),
            Index::Failed => Err(self.full()),
        }
    }

    fn full(&self) -> StoreError {
        StoreError::Full {
            folder: self.place.folder().to_owned(),
            free_bytes: self.place.free_bytes().unwrap_or(0),
        }
    }

    /// Reads, and leaves a mark for the next start when the database shows damage.
    fn read<T>(&self, read: impl FnOnce(&Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        read(self.tree()?.as_ref()).inspect_err(|error| {
            if let StoreError::Broken { .. } = error {
                tracing::error!(%error, "the next start of the head node builds the database anew");
                // Without the mark the next start finds out for itself, or the next read does.
                let _ = File::create(self.place.suspect());
            }
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<u64, StoreError> {
        let operations = record::operations(changes)?;
        let bytes = record::encode(&operations);
        let mut journal = self.journal();
        self.place.check_room(bytes.len() as u64)?;
        let tree = self.writable(&journal)?;
        journal.append(&bytes).inspect_err(|error| self.on_failure(error))?;
        if let Err(error) = tree.apply(operations) {
            self.on_failure(&error);
            drop(tree);
            self.abandon();
            // Done once more when it is tried again, which changes nothing.
            return Err(if error.is_full() { self.full() } else { error });
        }
        Ok(journal.bytes())
    }

    fn on_failure(&self, error: &StoreError) {
        if error.is_full() && self.place.give_up_reserve() {
            tracing::warn!("the disk is full; the store gave up its reserve");
        }
    }

    /// The database, built anew when it refused the last write.
    fn writable(&self, journal: &Journal) -> Result<Arc<Tree>, StoreError> {
        if let Index::Open(tree) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(tree));
        }
        self.place.check_room(place::size_of(&self.place.export())?)?;
        let tree = Arc::new(recover::renew(&self.place, journal.number())?);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Index::Open(Arc::clone(&tree));
        tracing::info!("there is room again; the database was built anew");
        Ok(tree)
    }

    /// Lets go of a database that failed, without closing it.
    fn abandon(&self) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Index::Open(tree) = std::mem::replace(&mut *index, Index::Failed) {
            // Some memory and one open file are the price, once per full disk that sled met.
            std::mem::forget(tree);
        }
    }

    /// As after a write that found the disk full.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.abandon();
    }

    fn keep(&self, chores: &Receiver<Chore>) {
        loop {
            match chores.recv_timeout(IDLE) {
                Ok(Chore::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Chore::Look) | Err(RecvTimeoutError::Timeout) => {
                    self.place.take_reserve();
                    if let Err(error) = self.look() {
                        tracing::warn!(%error, "checkpoint and export have to wait; the journal has everything");
                    }
                }
            }
        }
    }

    fn look(&self) -> Result<(), StoreError> {
        if self.journal().bytes() >= CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
        if self.is_export_due()? {
            self.export()?;
        }
        Ok(())
    }

    /// Everything so far is in the database, durably; the segment from which on the journal may have more.
    fn checkpoint(&self) -> Result<u64, StoreError> {
        let tree = self.tree()?;
        let segment = {
            let mut journal = self.journal();
            if journal.bytes() == 0 {
                return Ok(journal.number());
            }
            self.place.check_room(0)?;
            let segment = journal.rotate()?;
            tree.set_mark(segment)?;
            segment
        };
        tree.flush()?;
        self.place.set_checkpoint(segment)?;
        Ok(segment)
    }

    fn is_export_due(&self) -> Result<bool, StoreError> {
        let folder = self.place.export();
        let Some(newest) = export::exports(&folder)?.pop() else {
            return Ok(true);
        };
        let path = export::path_of(&folder, newest);
        let data = std::fs::metadata(&path).map_err(|error| place::failed(&path, error))?;
        let since = journal::size_from(&self.place.journal(), newest)?;
        let age = data
            .modified()
            .ok()
            .and_then(|made| SystemTime::now().duration_since(made).ok());
        let is_old = age.is_some_and(|age| age > EXPORT_AGE);
        Ok(since >= EXPORT_BYTES.max(data.len()) || (is_old && since > EXPORT_BYTES / 8 && since >= data.len() / 10))
    }

    pub(super) fn export(&self) -> Result<(), StoreError> {
        let segment = self.checkpoint()?;
        let size = place::size_of(&self.place.export())?;
        self.place.check_room(size / 4)?;
        let bytes = self.read(|tree| recover::export_to_keep(&self.place, tree, segment))?;
        tracing::info!(segment, bytes, "the store was exported");
        Ok(())
    }
}

impl Store for SledStore {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        self.inner.read(|tree| {
            live_rows(live::jobs(tree)?, |from, to, take| {
                tree.up(from, to, &mut |_, bytes| {
                    take(stored::decode(bytes)?);
                    Ok(true)
                })
            })
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        if self.inner.commit(changes)? >= CHECKPOINT_BYTES {
            // A full queue means that it is about to look.
            let _ = self.wake.try_send(Chore::Look);
        }
        Ok(())
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let bytes = self.inner.read(|tree| tree.value(&key.bytes()))?;
        Ok(bytes.map(|bytes| stored::decode(&bytes)).transpose()?)
    }

    fn jobs_down(&self, before: Option<JobId>, take: &mut dyn FnMut(JobRow) -> bool) -> Result<(), StoreError> {
        let end = RowKey::Job(before.unwrap_or(JobId(u64::MAX))).bytes();
        self.inner.read(|tree| {
            tree.down(&end, b"j/", &mut |bytes| match stored::decode(bytes)? {
                Row::Job(job) => Ok(take(*job)),
                _ => Ok(true),
            })
        })
    }

    fn tasks_up(
        &self,
        job: JobId,
        after: Option<TaskId>,
        take: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = RowKey::tasks_of(job);
        // A key is followed by itself with a zero byte behind it.
        let next = |after| [RowKey::Task(after).bytes().as_slice(), &[0]].concat();
        let start = after.map_or_else(|| prefix.clone(), next);
        self.inner.read(|tree| {
            tree.up(&start, &behind(&prefix), &mut |_, bytes| match stored::decode(bytes)? {
                Row::Task(task) => Ok(take(*task)),
                _ => Ok(true),
            })
        })
    }

    fn chunks_up(
        &self,
        job: JobId,
        from: Option<(TaskId, u32)>,
        take: &mut dyn FnMut(ChunkRow) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = RowKey::chunks_of(job);
        let start = from.map_or_else(|| prefix.clone(), |(array, chunk)| RowKey::Chunk(array, chunk).bytes());
        self.inner.read(|tree| {
            tree.up(&start, &behind(&prefix), &mut |_, bytes| match stored::decode(bytes)? {
                Row::Chunk(chunk) => Ok(take(chunk)),
                _ => Ok(true),
            })
        })
    }
}
