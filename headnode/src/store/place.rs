//! The folder of a store: who has it, how full its disk is, and files that are there whole or not at all.
//!
//! ```text
//!   store/lock         held by the head node, or by an offline command
//!   store/rows/        the database (sled), an index over what the next two hold
//!   store/journal/     every batch since the older export
//!   store/export/      all rows, two of them
//!   store/checkpoint   the first segment of the journal that the database may lack
//!   store/release      which release wrote last
//!   store/reserve      room that is given up when the disk is full
//!   store/damaged-*    what was set aside
//! ```
//!
//! It must never remove anything that it did not make.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::StoreError;

/// Below this many free bytes nothing is stored any more: sled, whose log cannot stand a full disk, has to write what it has
/// in its buffers, and whoever makes room needs some.
pub const FLOOR_BYTES: u64 = 16 * 1024 * 1024;

/// Given up when the disk is full, so that what was begun can be finished and a head node can start.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// The paths of a store.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    /// The folder, made if it is not there, with those inside.
    pub(super) fn make(folder: &Path) -> Result<Self, StoreError> {
        let place = Self::of(folder);
        for inner in [folder.to_owned(), place.journal(), place.export()] {
            fs::create_dir_all(&inner).map_err(|error| failed(&inner, error))?;
        }
        Ok(place)
    }

    /// The same without making anything.
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn rows(&self) -> PathBuf {
        self.folder.join("rows")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    pub(super) fn export(&self) -> PathBuf {
        self.folder.join("export")
    }

    /// The folder is ours alone until the lock is dropped.
    pub(super) fn lock(&self) -> Result<Flock<File>, StoreError> {
        self.lock_file("lock")
    }

    /// Locks a file of the folder, made if it is not there.
    pub(super) fn lock_file(&self, name: &str) -> Result<Flock<File>, StoreError> {
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => StoreError::InUse {
                path: self.folder.clone(),
            },
            other => failed(&path, other.into()),
        })
    }

    /// The first segment of the journal that the database may lack; none when that is not known.
    pub(super) fn checkpoint(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("checkpoint")).ok()?;
        text.trim().parse().ok()
    }

    pub(super) fn set_checkpoint(&self, segment: u64) -> Result<(), StoreError> {
        write_whole(&self.folder.join("checkpoint"), |file| writeln!(file, "{segment}"))
    }

    /// Which release wrote to the store last; none when that is not known.
    pub(super) fn release(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("release")).ok()?;
        Some(text.trim().to_owned())
    }

    pub(super) fn set_release(&self, release: &str) -> Result<(), StoreError> {
        write_whole(&self.folder.join("release"), |file| writeln!(file, "{release}"))
    }

    /// A mark that is read at the next start: the database gave a row that cannot be right.
    pub(super) fn suspect(&self) -> PathBuf {
        self.folder.join("suspect")
    }

    /// Free bytes of the disk; none when it does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.folder)
    }

    /// An error while the disk is too full to store `bytes` more.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        // Sled writes about twice what it is given, and rewrites pages beside that.
        let needed = FLOOR_BYTES.saturating_add(bytes.saturating_mul(4));
        match self.free_bytes() {
            Some(free_bytes) if free_bytes < needed => Err(StoreError::Full {
                folder: self.folder.clone(),
                free_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// Takes the reserve, if there is room for it and all else.
    pub(super) fn take_reserve(&self) {
        let path = self.folder.join("reserve");
        if path.exists() || self.check_room(RESERVE_BYTES).is_err() {
            return;
        }
        let taken = File::create(&path).and_then(|file| {
            let length = i64::try_from(RESERVE_BYTES).unwrap_or(0);
            nix::fcntl::posix_fallocate(&file, 0, length).map_err(io::Error::from)
        });
        if let Err(error) = taken {
            tracing::debug!(%error, "no reserve was taken");
            // Half a reserve is none.
            let _ = fs::remove_file(&path);
        }
    }

    /// Gives the reserve up; whether there was one.
    pub(super) fn give_up_reserve(&self) -> bool {
        fs::remove_file(self.folder.join("reserve")).is_ok()
    }

    /// Sets something aside under a name that says so, and gives the name. Of what was set aside before, the newest stays.
    pub(super) fn set_aside(&self, what: &Path) -> Result<PathBuf, StoreError> {
        let earlier = self.aside()?;
        let next = earlier.last().map_or(1, |(number, _)| number + 1);
        for (_, path) in earlier.iter().rev().skip(1) {
            fs::remove_dir_all(path).map_err(|error| failed(path, error))?;
        }
        let aside = self.folder.join(format!("damaged-{next}"));
        fs::rename(what, &aside).map_err(|error| failed(what, error))?;
        sync_folder(&self.folder)?;
        Ok(aside)
    }

    fn aside(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let mut found = Vec::new();
        for path in entries(&self.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix("damaged-").and_then(|number| number.parse().ok());
            found.extend(number.map(|number| (number, path.clone())));
        }
        found.sort();
        Ok(found)
    }
}

/// What a failed operation on a file means for the store.
pub(super) fn failed(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let folder = path.parent().unwrap_or(path);
            StoreError::Full {
                folder: folder.to_owned(),
                free_bytes: free_bytes(folder).unwrap_or(0),
            }
        }
        _ => StoreError::Folder {
            path: path.to_owned(),
            source: error,
        },
    }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// The paths in a folder; none when the folder is not there.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let reading = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| failed(folder, error))?,
    };
    reading
        .map(|entry| entry.map(|entry| entry.path()).map_err(|error| failed(folder, error)))
        .collect()
}

/// The numbers of the files `NUMBER.extension` in a folder, in order.
pub(super) fn numbered(folder: &Path, extension: &str) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    for path in entries(folder)? {
        if path.extension().is_some_and(|found| found == extension) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            numbers.extend(stem.parse::<u64>());
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(folder, error))
}

/// Writes a file that is there whole, and durably, or not at all.
pub(super) fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&new); // What is left of it is of no use.
        failed(path, error)
    })?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

/// Bytes of all files in a folder.
pub(super) fn size_of(folder: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for path in entries(folder)? {
        bytes += if path.is_dir() {
            size_of(&path)?
        } else {
            fs::metadata(&path).map_or(0, |data| data.len())
        };
    }
    Ok(bytes)
}
