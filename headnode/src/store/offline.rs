//! What an administrator does to a whole store: back it up, bring a backup back, compact it, look whether it is sound.
//!
//! Backing up needs no stop of the head node; whatever changes something or opens the database refuses while one runs on the
//! folder. It must never touch the only copy: a restore keeps what was there before beside it.

use std::fs;
use std::path::{Path, PathBuf};

use proto::stored::{self, MetaRow, Row};

use super::export::{self, Export};
use super::place::{self, Place};
use super::rest::RowsAtRest;
use super::tree::{CACHE_BYTES, Tree};
use super::{StoreError, compact, recover};

/// So far the counters of a restored store are moved on: what was given out after the backup must not be given out again,
/// because nodes may still hold some of it.
const NUMBERS_SKIPPED: u64 = 1_000_000;

/// Likewise of jobs and nodes, which people type.
const NAMES_SKIPPED: u64 = 1_000;

/// Writes all rows of the store in a folder into a file; how many.
///
/// # Errors
/// When the store is not whole, or the file cannot be written.
pub fn backup(folder: &Path, file: &Path) -> Result<u64, StoreError> {
    let mut count = 0;
    let rows = RowsAtRest::of(folder)?.inspect(|row| count += u64::from(row.is_ok()));
    export::write(file, 0, rows).map_err(|error| of_backup(file, error))?;
    Ok(count)
}

/// A trouble with the backup's own file is none of the store's.
fn of_backup(file: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Folder { path, source } if path.parent() == file.parent() => StoreError::Backup {
            path: file.to_owned(),
            source,
        },
        other => other,
    }
}

/// Makes the store in a folder from a backup; how many rows, and where the store is that was there before.
///
/// # Errors
/// When a head node runs on it, or the backup is not whole; then nothing was changed.
pub fn restore(folder: &Path, file: &Path) -> Result<(u64, Option<PathBuf>), StoreError> {
    let earlier = Place::make(folder)?;
    let _lock = earlier.lock()?;
    let beside = |suffix: &str| {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        folder.with_file_name(name)
    };
    let new = beside(".new");
    remove(&new)?;
    let place = Place::make(&new)?;
    let rows = compact::build(&place, |tree| {
        let rows = RowsAtRest::of_backup(file).map_err(|error| of_backup(file, error))?;
        tree.fill(rows.map(moved_on))
    })?;
    // With its first export, so that it is a whole store under its final name.
    drop(recover::open(&place)?);
    let was_there = place::size_of(&earlier.rows())? > 0 || folder.join("db").exists();
    let before = (1..)
        .map(|number| beside(&format!(".before-{number}")))
        .find(|path| !path.exists());
    let before = before.unwrap_or_else(|| beside(".before"));
    fs::rename(folder, &before).map_err(|error| place::failed(folder, error))?;
    fs::rename(&new, folder).map_err(|error| place::failed(&new, error))?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        place::sync_folder(parent)?;
    }
    if was_there {
        Ok((rows, Some(before)))
    } else {
        remove(&before)?;
        Ok((rows, None))
    }
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(place::failed(folder, error)),
        _ => Ok(()),
    }
}

/// A row of a backup, with counters that are ahead of what was given out since.
fn moved_on(entry: Result<export::Entry, StoreError>) -> Result<export::Entry, StoreError> {
    let (key, value) = entry?;
    match stored::decode(&value)? {
        Row::Meta(mut meta) => {
            meta.sequence.0 += NUMBERS_SKIPPED;
            meta.next_attempt.0 += NUMBERS_SKIPPED;
            meta.next_job.0 += NAMES_SKIPPED;
            meta.next_node = skipped(&meta);
            Ok((key, stored::encode(&Row::Meta(meta))?))
        }
        _ => Ok((key, value)),
    }
}

fn skipped(meta: &MetaRow) -> proto::ids::NodeId {
    let mut next = meta.next_node;
    next.0 += u32::try_from(NAMES_SKIPPED).unwrap_or(0);
    next
}

/// Compacts the database of the store in a folder; its bytes before and after.
///
/// # Errors
/// When a head node runs on it, or the database cannot be opened.
pub fn compact(folder: &Path) -> Result<(u64, u64), StoreError> {
    let place = Place::make(folder)?;
    let _lock = place.lock()?;
    let opened = recover::open(&place)?;
    let before = place::size_of(&place.rows())?;
    drop(compact::always(&place, opened.tree, opened.journal.number())?);
    Ok((before, place::size_of(&place.rows())?))
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is in order, a line each.
    pub sound: Vec<String>,
    /// What is not.
    pub wrong: Vec<String>,
    /// Every row, when they could be read.
    pub rows: Vec<Row>,
}

impl Findings {
    fn note(&mut self, result: Result<String, String>) {
        match result {
            Ok(line) => self.sound.push(line),
            Err(line) => self.wrong.push(line),
        }
    }
}

/// Looks at every byte of a store; at its database only when no head node runs on it.
///
/// # Errors
/// When the folder cannot be read at all. What is wrong inside is among the findings.
pub fn check(folder: &Path) -> Result<Findings, StoreError> {
    let mut found = Findings::default();
    let place = Place::of(folder);
    if !place.journal().is_dir() {
        found.wrong.push(format!(
            "{} holds no store of this release; name the folder of a head node",
            folder.display()
        ));
        return Ok(found);
    }
    for number in export::exports(&place.export())? {
        let path = export::path_of(&place.export(), number);
        let whole = Export::verify(&path).map(|_| format!("export {number}: whole"));
        found.note(whole.map_err(|error| error.to_string()));
    }
    match RowsAtRest::of(folder) {
        Ok(rows) => {
            found.sound.push(format!(
                "journal: whole, {} batches since the newest export",
                rows.batches()
            ));
            read_rows(rows, &mut found);
        }
        Err(error) => found.wrong.push(error.to_string()),
    }
    match place.lock() {
        Ok(_lock) => {
            let compared = compare(&place, folder);
            found.note(compared.map_err(|error| error.to_string()));
        }
        Err(StoreError::InUse { .. }) => found
            .sound
            .push("database: not looked at, a head node runs on it".to_owned()),
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn read_rows(rows: RowsAtRest, found: &mut Findings) {
    for entry in rows {
        match entry.and_then(|(_, value)| Ok(stored::decode(&value)?)) {
            Ok(row) => found.rows.push(row),
            Err(error) => found.wrong.push(error.to_string()),
        }
    }
    found.sound.push(format!("rows: {}, all are read", found.rows.len()));
}

/// Whether the database says the same as export and journal, as it will when it is opened.
fn compare(place: &Place, folder: &Path) -> Result<String, StoreError> {
    if !place.rows().join("db").exists() {
        return Ok("database: gone; the next start builds it anew".to_owned());
    }
    let broken = |what: String| StoreError::Broken {
        path: place.rows(),
        what,
    };
    let tree = Tree::open(&place.rows(), CACHE_BYTES)?;
    if let (mark, Some(due)) = (tree.mark()?, place.checkpoint())
        && mark < due
    {
        return Err(broken("it has lost its newest rows".to_owned()));
    }
    recover::play(place, &tree, place.checkpoint().unwrap_or(0))?;
    let mut rows = RowsAtRest::of(folder)?;
    let mut count = 0u64;
    for entry in tree.rows() {
        count += 1;
        if entry? != rows.next().transpose()?.unwrap_or_default() {
            return Err(broken(format!("row {count} is another one than in export and journal")));
        }
    }
    match rows.next() {
        None => Ok(format!("database: whole, {count} rows, as export and journal say")),
        Some(_) => Err(broken(format!("it ends after row {count}, export and journal do not"))),
    }
}
