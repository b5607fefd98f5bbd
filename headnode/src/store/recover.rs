//! Opening a store, whatever was left of it: a database that is whole is brought up to date from the journal, one that is
//! not is set aside and built anew from the newest good export and the journal since.
//!
//! ```text
//!   database opens, and its mark is not behind the checkpoint?
//!     yes: play the journal from the checkpoint on                      (a moment)
//!     no:  fill a new one from an export, play the journal from the export's segment on, set the damaged one aside
//!          no good export: an error that says what to do; nothing was changed
//! ```
//!
//! It must never drop what was acknowledged in silence: where the journal itself is damaged it stops and says where.

use std::fs;
use std::path::Path;

use super::export::{self, Export};
use super::journal::{self, Journal, Played};
use super::place::{self, Place};
use super::tree::{CACHE_BYTES, COPY_CACHE_BYTES, Tree};
use super::{StoreError, compact, live};

/// The newer one may turn out to be damaged on the day it is needed.
const KEPT_EXPORTS: usize = 2;

/// What opening gives.
pub(super) struct Opened {
    pub(super) tree: Tree,
    /// A segment of its own for whoever opened it.
    pub(super) journal: Journal,
}

/// Opens the store in a place whose lock is held.
pub(super) fn open(place: &Place) -> Result<Opened, StoreError> {
    adopt_old_layout(place)?;
    compact::finish_swap(place)?;
    let (tree, played) = match open_whole(place)? {
        Whole::Yes(tree) => {
            let from = place.checkpoint().unwrap_or(0);
            let played = play(place, &tree, from)?;
            if played.batches > 0 {
                tracing::info!(batches = played.batches, "the journal was played over the store");
            }
            (tree, played)
        }
        Whole::No(what) => rebuild(place, &what)?,
    };
    live::index(&tree)?;
    let tree = compact::if_worthwhile(place, tree, played.last + 1)?;
    live::index(&tree)?; // A copy has none.
    let journal = Journal::begin(&place.journal(), played.last + 1, played.end)?;
    checkpoint(place, &tree, journal.number())?;
    forget_suspicion(place);
    export_if_new(place, &tree, journal.number())?;
    Ok(Opened { tree, journal })
}

/// Everything before that segment is in the database, durably: the journal is played from there on at the next start.
pub(super) fn checkpoint(place: &Place, tree: &Tree, segment: u64) -> Result<(), StoreError> {
    tree.set_mark(segment)?;
    tree.flush()?;
    place.set_checkpoint(segment)
}

/// Builds the database anew after it refused a write; everything before that segment is in it then. The one that refused is
/// set aside, and must not be closed.
pub(super) fn renew(place: &Place, segment: u64) -> Result<Tree, StoreError> {
    let (tree, _) = rebuild(place, "it refused a write")?;
    live::index(&tree)?;
    tree.set_mark(segment)?;
    tree.flush()?;
    Ok(tree)
}

/// The first export of a store, and one before another release writes to it.
fn export_if_new(place: &Place, tree: &Tree, segment: u64) -> Result<(), StoreError> {
    let release = format!("{} {}", env!("CARGO_PKG_VERSION"), proto::stored::FORMAT);
    let is_ours = place.release().is_some_and(|found| found == release);
    if is_ours && !export::exports(&place.export())?.is_empty() {
        return Ok(());
    }
    export_to_keep(place, tree, segment)?;
    place.set_release(&release)
}

/// Writes an export whose journal begins with that segment, and lets go of what no export needs any more.
pub(super) fn export_to_keep(place: &Place, tree: &Tree, segment: u64) -> Result<u64, StoreError> {
    // A database whose writes failed in the background reads as if rows were missing; asked to flush, it says so.
    let sound = std::iter::once_with(|| tree.flush()).filter_map(|flushed| flushed.err().map(Err));
    let rows = tree.rows().chain(sound);
    let bytes = export::write(&export::path_of(&place.export(), segment), segment, rows)?;
    let mut exports = export::exports(&place.export())?;
    let old = exports.len().saturating_sub(KEPT_EXPORTS);
    for number in exports.drain(..old) {
        let path = export::path_of(&place.export(), number);
        fs::remove_file(&path).map_err(|error| place::failed(&path, error))?;
    }
    let needed = exports.first().copied().unwrap_or(segment);
    journal::forget_before(&place.journal(), needed.min(place.checkpoint().unwrap_or(0)))?;
    Ok(bytes)
}

enum Whole {
    Yes(Tree),
    /// And what is wrong with it.
    No(String),
}

fn open_whole(place: &Place) -> Result<Whole, StoreError> {
    if place.suspect().exists() {
        return Ok(Whole::No("a row could not be read".to_owned()));
    }
    // Without a checkpoint an export still shows that there was more than an empty database.
    let oldest = export::exports(&place.export())?.into_iter().min();
    let due = place.checkpoint().or(oldest).unwrap_or(0);
    match Tree::open(&place.rows(), CACHE_BYTES) {
        Ok(tree) => match tree.mark() {
            Ok(mark) if mark >= due => Ok(Whole::Yes(tree)),
            Ok(mark) => Ok(Whole::No(format!(
                "it has lost its newest rows: it ends before segment {mark}, not {due}"
            ))),
            Err(error) => Ok(Whole::No(error.to_string())),
        },
        Err(StoreError::Broken { what, .. }) => {
            // On a full disk sled panics likewise; that is no damage.
            place.check_room(0)?;
            Ok(Whole::No(what))
        }
        Err(error) => Err(error),
    }
}

/// Carries out what the journal has from a segment on.
pub(super) fn play(place: &Place, tree: &Tree, from: u64) -> Result<Played, StoreError> {
    journal::play(&place.journal(), from, &mut |operations| tree.apply(operations))
}

fn rebuild(place: &Place, what: &str) -> Result<(Tree, Played), StoreError> {
    let Some(mut from) = newest_good(place)? else {
        return Err(StoreError::Broken {
            path: place.rows(),
            what: what.to_owned(),
        });
    };
    tracing::warn!(
        what,
        "the database is damaged; it is built anew from an export and the journal since"
    );
    let segment = from.segment();
    let played = compact::build(place, |tree| {
        tree.fill(&mut from)?;
        if segment == 0 {
            Ok(Played::default())
        } else {
            play(place, tree, segment)
        }
    })?;
    if place.rows().exists() {
        let aside = place.set_aside(&place.rows())?;
        tracing::warn!(folder = %aside.display(), "the damaged database was set aside; remove it when nobody wants to look at it");
    }
    compact::finish_swap(place)?;
    let tree = Tree::open(&place.rows(), CACHE_BYTES)?;
    tracing::warn!(batches = played.batches, "the database is whole again, nothing is lost");
    Ok((tree, played))
}

/// The newest export that is whole from its first byte to its last.
fn newest_good(place: &Place) -> Result<Option<Export>, StoreError> {
    for segment in export::exports(&place.export())?.into_iter().rev() {
        let path = export::path_of(&place.export(), segment);
        match Export::verify(&path) {
            Ok(_) => return Export::open(&path).map(Some),
            Err(error) => tracing::warn!(%error, "an export cannot be used; trying the one before"),
        }
    }
    Ok(None)
}

fn forget_suspicion(place: &Place) {
    // When it stays, the next start builds the database once more, which loses nothing.
    let _ = fs::remove_file(place.suspect());
}

/// Before there was a journal, sled's files lay in the folder itself. Its log comes last, so that a second try finds the rest.
fn adopt_old_layout(place: &Place) -> Result<(), StoreError> {
    if !place.folder().join("db").exists() {
        return Ok(());
    }
    // A head node of the release before locks this file and no other.
    drop(place.lock_file("db")?);
    tracing::info!("the store moves into its new layout");
    let rows = place.rows();
    fs::create_dir_all(&rows).map_err(|error| place::failed(&rows, error))?;
    let is_sleds = |name: &str| name == "conf" || name == "blobs" || name.starts_with("snap.");
    let mut moving: Vec<_> = place::entries(place.folder())?;
    moving.retain(|path| is_sleds(&path.file_name().unwrap_or_default().to_string_lossy()));
    moving.push(place.folder().join("db"));
    for from in moving {
        let to = rows.join(from.file_name().unwrap_or_default());
        fs::rename(&from, &to).map_err(|error| place::failed(&from, error))?;
    }
    place::sync_folder(&rows)?;
    place::sync_folder(place.folder())
}

/// Copies for as long as it is compared with another database.
pub(super) fn open_to_copy(path: &Path) -> Result<Tree, StoreError> {
    Tree::open(path, COPY_CACHE_BYTES)
}
