//! A store as its files say it, without its database: the newest good export with the journal since over it.
//!
//! That is everything that was acknowledged, whether a head node runs on the folder or not, so `backup` and `dump` need no
//! word with it. What the head node takes away meanwhile (an export replaced by a newer one) is met by looking again. It must
//! never write into the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::StoreError;
use super::export::{self, Entry, Export};
use super::journal::{self, Played};
use super::place::Place;
use super::record::Operation;
use super::tree::FIRST_ROW;

/// How often it is looked again when a running head node was faster.
const TRIES: u32 = 5;

/// All rows of a store, in the order of their keys.
pub struct RowsAtRest {
    export: Export,
    /// Values by key; none: deleted. Taken out as they pass.
    later: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Beginnings of keys that are deleted, unless they were put later.
    deleted: BTreeSet<Vec<u8>>,
    /// Looked at and not given yet.
    next: Option<Entry>,
    played: Played,
}

impl std::fmt::Debug for RowsAtRest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsAtRest")
            .field("later", &self.later.len())
            .finish_non_exhaustive()
    }
}

impl RowsAtRest {
    /// Of the store in a folder.
    ///
    /// # Errors
    /// When there is no good export, or the journal is damaged.
    pub fn of(folder: &Path) -> Result<Self, StoreError> {
        let place = Place::of(folder);
        let mut tries = 1;
        loop {
            match Self::look(&place) {
                Err(StoreError::Folder { .. } | StoreError::Journal { .. }) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// Of a backup.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_backup(file: &Path) -> Result<Self, StoreError> {
        Export::verify(file)?;
        Ok(Self::over(Export::open(file)?))
    }

    fn over(export: Export) -> Self {
        Self {
            export,
            later: BTreeMap::new(),
            deleted: BTreeSet::new(),
            next: None,
            played: Played::default(),
        }
    }

    fn look(place: &Place) -> Result<Self, StoreError> {
        let mut exports = export::exports(&place.export())?;
        let mut failed = None;
        while let Some(number) = exports.pop() {
            let path = export::path_of(&place.export(), number);
            match Export::verify(&path).and_then(|_| Export::open(&path)) {
                Ok(export) => {
                    let mut rows = Self::over(export);
                    let from = rows.export.segment();
                    rows.played = journal::play(&place.journal(), from, &mut |operations| {
                        operations.into_iter().for_each(|operation| rows.overlay(operation));
                        Ok(())
                    })?;
                    return Ok(rows);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| StoreError::Export {
            path: place.export(),
            what: "there is none; start a head node of this release on the folder once".to_owned(),
        }))
    }

    fn overlay(&mut self, operation: Operation) {
        match operation {
            // What the database keeps for itself.
            Operation::Put { key, .. } | Operation::Delete { key } if key.as_slice() < FIRST_ROW => {}
            Operation::Put { key, value } => drop(self.later.insert(key, Some(value))),
            Operation::Delete { key } => drop(self.later.insert(key, None)),
            Operation::DeletePrefix { prefix } => {
                let from = self.later.range_mut(prefix.clone()..);
                for (_, value) in from.take_while(|(key, _)| key.starts_with(&prefix)) {
                    *value = None;
                }
                self.deleted.insert(prefix);
            }
        }
    }

    /// Batches of the journal that lie over the export.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.played.batches
    }

    fn is_deleted(&self, key: &[u8]) -> bool {
        // Prefixes are few, and of few lengths; those of one job sort before its keys.
        self.deleted
            .range(..=key.to_vec())
            .next_back()
            .is_some_and(|prefix| key.starts_with(prefix))
    }

    fn exported(&mut self) -> Option<Result<Entry, StoreError>> {
        loop {
            match self.export.next() {
                Some(Ok((key, _))) if self.is_deleted(&key) => {}
                other => return other,
            }
        }
    }
}

impl Iterator for RowsAtRest {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let exported = match self.next.take() {
                Some(entry) => Some(entry),
                None => match self.exported() {
                    Some(Err(error)) => return Some(Err(error)),
                    other => other.and_then(Result::ok),
                },
            };
            let overlay_first = match (self.later.first_key_value(), &exported) {
                (Some((later, _)), Some((key, _))) => later <= key,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !overlay_first {
                return exported.map(Ok);
            }
            let Some((key, value)) = self.later.pop_first() else {
                return exported.map(Ok);
            };
            // One of the same key is older.
            self.next = exported.filter(|(older, _)| *older != key);
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}
