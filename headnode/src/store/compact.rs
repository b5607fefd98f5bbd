//! A fresh database in place of another: sled's files never shrink, and are 3.5 times what is in them after many changes.
//!
//! ```text
//!   rows            serving
//!   rows.new        being filled; means nothing until the next step
//!   rows.done       filled and synced; takes the place of rows at once, or at the next start
//! ```
//!
//! Only one database is read and one filled, both with small caches, and before the head node serves. It must never remove a
//! database before another one is whole and durable.

use std::fs;
use std::path::PathBuf;

use super::place::{self, Place};
use super::recover::open_to_copy;
use super::tree::{CACHE_BYTES, Tree};
use super::{StoreError, export};

/// How many times the bytes of the rows the database may take.
const MOST_TIMES: u64 = 4;

/// Below this the bytes are not worth a second.
const FLOOR_BYTES: u64 = 256 * 1024 * 1024;

fn new(place: &Place) -> PathBuf {
    place.folder().join("rows.new")
}

fn done(place: &Place) -> PathBuf {
    place.folder().join("rows.done")
}

/// Finishes what a crash interrupted.
pub(super) fn finish_swap(place: &Place) -> Result<(), StoreError> {
    remove(&new(place))?;
    if done(place).exists() {
        remove(&place.rows())?;
        fs::rename(done(place), place.rows()).map_err(|error| place::failed(&place.rows(), error))?;
        place::sync_folder(place.folder())?;
    }
    Ok(())
}

/// Fills a new database, which takes the place of the other at the next [`finish_swap`].
pub(super) fn build<T>(place: &Place, fill: impl FnOnce(&Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
    remove(&new(place))?;
    let tree = open_to_copy(&new(place))?;
    let filled = fill(&tree)?;
    tree.flush()?;
    drop(tree); // It knows itself by its path.
    place::sync_folder(&new(place))?;
    fs::rename(new(place), done(place)).map_err(|error| place::failed(&done(place), error))?;
    place::sync_folder(place.folder())?;
    Ok(filled)
}

/// Copies the database when it takes much more than what is in it, as far as the newest export knows that.
pub(super) fn if_worthwhile(place: &Place, tree: Tree, segment: u64) -> Result<Tree, StoreError> {
    let taken = place::size_of(&place.rows())?;
    let newest = export::exports(&place.export())?.pop();
    let live = newest.and_then(|number| fs::metadata(export::path_of(&place.export(), number)).ok());
    let Some(live) = live.map(|data| data.len()) else {
        return Ok(tree);
    };
    let room = place.check_room(live).is_ok();
    if taken < FLOOR_BYTES || taken < live.saturating_mul(MOST_TIMES) || !room {
        return Ok(tree);
    }
    tracing::info!(taken_bytes = taken, live_bytes = live, "the store is compacted");
    always(place, tree, segment)
}

/// Copies the database, whatever it takes.
pub(super) fn always(place: &Place, tree: Tree, segment: u64) -> Result<Tree, StoreError> {
    let rows = build(place, |new| {
        let rows = new.fill(tree.rows())?;
        new.set_mark(segment)?;
        Ok(rows)
    })?;
    drop(tree);
    finish_swap(place)?;
    tracing::info!(rows, bytes = place::size_of(&place.rows())?, "the store is compact");
    Tree::open(&place.rows(), CACHE_BYTES)
}

fn remove(folder: &std::path::Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(place::failed(folder, error)),
        _ => Ok(()),
    }
}
