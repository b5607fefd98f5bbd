//! Exports: all rows in one file, for the day on which the database is lost, and as what `muster backup` writes.
//!
//! ```text
//!   header:  magic, journal segment (u64)           played from there on, all else is in the export; 0: nothing to play
//!   record:  length (u32), checksum (u32), one put as `record` writes it
//!   trailer: length 0xffff_ffff, number of records (u64), SHA-256 of segment and records
//! ```
//!
//! It is written while commits go on, so it may hold parts of what came after its segment began: played over it, the journal
//! makes it right, because every operation is whole for its key. It is under its name only when it is whole and synced.
//! It must never be written from a database that gave an error: the exports before are better then.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::record::{self, Operation};
use super::{StoreError, place};

const MAGIC: &[u8; 8] = b"MUSTERX1";
const TRAILER: u32 = u32::MAX;

/// A record holds one row; rows are bounded far below.
const MAX_RECORD_BYTES: u32 = 256 * 1024 * 1024;

/// So much is written between two syncs, so that the journal beside it never waits for a long one.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// A row as bytes.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// Where an export with this segment stands.
pub(super) fn path_of(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:010}.rows"))
}

/// The segments of the exports that are there, in order.
pub(super) fn exports(folder: &Path) -> Result<Vec<u64>, StoreError> {
    place::numbered(folder, "rows")
}

/// Writes an export; the bytes of its file.
///
/// # Errors
/// The first error of `rows`, or of the file.
pub(super) fn write(
    path: &Path,
    segment: u64,
    rows: impl Iterator<Item = Result<Entry, StoreError>>,
) -> Result<u64, StoreError> {
    let mut failed = None;
    let mut size = 0;
    let written = place::write_whole(path, |file| {
        let mut out = Out::begin(file, segment)?;
        for row in rows {
            match row {
                Ok((key, value)) => out.put(key, value)?,
                Err(error) => {
                    failed = Some(error);
                    return Err(io::Error::other("a row cannot be read"));
                }
            }
        }
        size = out.end()?;
        Ok(())
    });
    failed.map_or(written, Err)?;
    Ok(size)
}

fn hash_of(segment: u64) -> Context {
    let mut hash = Context::new(&SHA256);
    hash.update(&segment.to_le_bytes());
    hash
}

struct Out<'a> {
    file: BufWriter<&'a mut File>,
    hash: Context,
    count: u64,
    bytes: u64,
    unsynced: u64,
}

impl<'a> Out<'a> {
    fn begin(file: &'a mut File, segment: u64) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(256 * 1024, file);
        file.write_all(MAGIC)?;
        file.write_all(&segment.to_le_bytes())?;
        Ok(Self {
            file,
            hash: hash_of(segment),
            count: 0,
            bytes: 16,
            unsynced: 0,
        })
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        let payload = record::encode(&[Operation::Put { key, value }]);
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a row of more than 4 GiB"))?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(&payload).to_le_bytes())?;
        self.file.write_all(&payload)?;
        self.hash.update(&payload);
        self.count += 1;
        self.bytes += 8 + u64::from(length);
        self.unsynced += u64::from(length);
        if self.unsynced > SYNC_BYTES {
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<u64> {
        self.file.write_all(&TRAILER.to_le_bytes())?;
        self.file.write_all(&self.count.to_le_bytes())?;
        self.file.write_all(self.hash.finish().as_ref())?;
        self.file.flush()?;
        Ok(self.bytes + 44)
    }
}

/// An export that is read from its beginning to its end.
pub(super) struct Export {
    path: PathBuf,
    file: BufReader<File>,
    hash: Context,
    count: u64,
    segment: u64,
    ended: bool,
}

impl Export {
    /// Opens one.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| place::failed(path, error))?;
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut header = [0; 16];
        let read = file.read_exact(&mut header);
        let damaged = |what: &str| StoreError::Export {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        read.map_err(|_| damaged("it is cut"))?;
        let (magic, segment) = header.split_at(8);
        if magic != MAGIC {
            return Err(damaged("it is none"));
        }
        let segment = u64::from_le_bytes(segment.try_into().unwrap_or_default());
        Ok(Self {
            path: path.to_owned(),
            file,
            hash: hash_of(segment),
            count: 0,
            segment,
            ended: false,
        })
    }

    /// Reads one to its end, without keeping anything.
    pub(super) fn verify(path: &Path) -> Result<u64, StoreError> {
        let mut export = Self::open(path)?;
        for row in &mut export {
            row?;
        }
        Ok(export.segment)
    }

    /// The segment of the journal to play over it.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Export {
            path: self.path.clone(),
            what: format!("{what} (record {})", self.count + 1),
        }
    }

    fn word(&mut self) -> Result<u32, StoreError> {
        let mut bytes = [0; 4];
        self.bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        let read = self.file.read_exact(bytes);
        read.map_err(|_| self.damaged("it is cut"))
    }

    fn record(&mut self) -> Result<Option<Entry>, StoreError> {
        let length = self.word()?;
        if length == TRAILER {
            return self.trailer().map(|()| None);
        }
        if length > MAX_RECORD_BYTES {
            return Err(self.damaged("a record is longer than any row"));
        }
        let sum = self.word()?;
        let mut payload = Vec::new();
        let read = (&mut self.file).take(u64::from(length)).read_to_end(&mut payload);
        if read.is_err() || payload.len() as u64 != u64::from(length) {
            return Err(self.damaged("it is cut"));
        }
        if crc32fast::hash(&payload) != sum {
            return Err(self.damaged("a checksum is wrong"));
        }
        self.hash.update(&payload);
        match record::decode(&payload).map(|mut operations| operations.pop()) {
            Some(Some(Operation::Put { key, value })) => {
                self.count += 1;
                Ok(Some((key, value)))
            }
            _ => Err(self.damaged("a record makes no sense")),
        }
    }

    fn trailer(&mut self) -> Result<(), StoreError> {
        let (mut count, mut hash) = ([0; 8], [0; 32]);
        self.bytes(&mut count)?;
        self.bytes(&mut hash)?;
        if u64::from_le_bytes(count) != self.count || self.hash.clone().finish().as_ref() != hash {
            return Err(self.damaged("its trailer says something else"));
        }
        Ok(())
    }
}

impl Iterator for Export {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rows() -> Vec<Entry> {
        (0..50u8).map(|n| (vec![n], vec![n; 100])).collect()
    }

    #[test]
    fn an_export_reads_what_it_wrote_and_tells_any_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path(), 7);
        let size = write(&path, 7, rows().into_iter().map(Ok)).expect("writes");
        assert_eq!(size, fs::metadata(&path).expect("is there").len());
        let export = Export::open(&path).expect("opens");
        assert_eq!(export.segment(), 7);
        assert_eq!(export.map(|row| row.expect("reads")).collect::<Vec<_>>(), rows());

        let whole = fs::read(&path).expect("reads");
        for at in [0, 9, 17, 300, whole.len() - 1, whole.len() - 40] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("writes");
            assert!(Export::verify(&path).is_err(), "byte {at} was flipped");
        }
        for length in [0, 10, 500, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("writes");
            assert!(Export::verify(&path).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_leaves_no_export() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path(), 1);
        let broken = StoreError::Broken {
            path: path.clone(),
            what: "row".to_owned(),
        };
        assert!(write(&path, 1, [Err(broken)].into_iter()).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0);
    }
}
