//! The journal: every committed batch, appended and synced before it counts. This is the point at which a commit is
//! durable; the database behind it is an index that may be lost.
//!
//! ```text
//!   journal/0000000007.wal   header: magic, number, salt, end of the segment before; checksum     40 bytes
//!                            records: magic, length, checksum (over salt, offset, payload), payload
//!                            zeros up to the end of what is allocated
//! ```
//!
//! - Blocks are allocated ahead, by writing zeros: an `fdatasync` into blocks that are there writes no metadata (84 us
//!   instead of 123 us measured), and a full disk is met before anything of a record is written.
//! - A record counts when its checksum is right. The salt is random, so what a user puts into a row cannot look like one.
//! - Only the last record of a segment may be torn: nobody was told of it. A bad record with good ones behind it, or a
//!   segment that ends before where the next one says that it ended, is damage, and is told: playing on would forget
//!   what was acknowledged.
//! - Nothing is appended to a segment after a restart: each opening begins a new one.
//!
//! It must never be written by two at once: the store's lock sees to that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::record::{self, Operation};
use super::{StoreError, place};

const SEGMENT_MAGIC: &[u8; 8] = b"MUSTERJ1";
const RECORD_MAGIC: [u8; 4] = *b"JREC";
const HEADER_BYTES: u64 = 40;
const RECORD_HEADER_BYTES: u64 = 12;

/// How much is allocated at a time: at most one commit in some thousand small ones waits for it (some milliseconds).
const STEP_BYTES: u64 = 1024 * 1024;

/// Larger records are written beyond what is allocated: writing them twice would cost more than it saves.
const LARGE_RECORD_BYTES: u64 = STEP_BYTES / 8;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    number: u64,
    salt: u64,
    file: File,
    /// Where the next record goes.
    end: u64,
    /// Up to here blocks are there.
    allocated: u64,
}

impl Journal {
    /// Begins segment `number`; the one before ended at `previous_end`.
    pub(super) fn begin(folder: &Path, number: u64, previous_end: u64) -> Result<Self, StoreError> {
        // Under another name until it is whole: a segment without a good header is damage.
        let new = folder.join("next.new");
        let begun = || -> io::Result<Self> {
            let mut salt = [0; 8];
            let filled = SystemRandom::new().fill(&mut salt);
            filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            let mut bytes = header(number, u64::from_le_bytes(salt), previous_end);
            bytes.resize(bytes_of(STEP_BYTES), 0);
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
            fs::rename(&new, path_of(folder, number))?;
            File::open(folder)?.sync_all()?;
            Ok(Self {
                folder: folder.to_owned(),
                number,
                salt: u64::from_le_bytes(salt),
                file,
                end: HEADER_BYTES,
                allocated: STEP_BYTES,
            })
        };
        begun().map_err(|error| {
            // What it took is given back; the next try overwrites it in any case.
            let _ = fs::remove_file(&new);
            place::failed(&path_of(folder, number), error)
        })
    }

    /// The number of the segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the segment's records.
    pub(super) fn bytes(&self) -> u64 {
        self.end - HEADER_BYTES
    }

    /// Appends a batch; it is durable when this returns. After an error nothing of it counts, and the same call may be
    /// made again.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        self.write(payload)
            .map_err(|error| place::failed(&path_of(&self.folder, self.number), error))
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::other("a batch of more than 4 GiB");
        let length = u32::try_from(payload.len()).map_err(too_large)?;
        let mut bytes = Vec::with_capacity(payload.len() + bytes_of(RECORD_HEADER_BYTES));
        bytes.extend(RECORD_MAGIC);
        bytes.extend(length.to_le_bytes());
        bytes.extend(checksum(self.salt, self.end, payload).to_le_bytes());
        bytes.extend(payload);
        let record_bytes = RECORD_HEADER_BYTES + u64::from(length);
        let end = self.end + record_bytes;
        if end > self.allocated && record_bytes <= LARGE_RECORD_BYTES {
            self.file.write_all_at(&vec![0; bytes_of(STEP_BYTES)], self.allocated)?;
            self.file.sync_data()?;
            self.allocated += STEP_BYTES;
        }
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        self.allocated = self.allocated.max(end);
        Ok(())
    }

    /// Writes the beginning of a record and no more, as a loss of power would.
    #[cfg(test)]
    pub(super) fn begin_torn(&mut self, payload: &[u8]) -> io::Result<()> {
        let bytes = [&RECORD_MAGIC[..], &1000u32.to_le_bytes(), payload].concat();
        self.file.write_all_at(&bytes, self.end)
    }

    /// Ends the segment and begins the next.
    pub(super) fn rotate(&mut self) -> Result<u64, StoreError> {
        *self = Self::begin(&self.folder, self.number + 1, self.end)?;
        Ok(self.number)
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.wal"))
}

fn bytes_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn header(number: u64, salt: u64, previous_end: u64) -> Vec<u8> {
    let mut bytes = SEGMENT_MAGIC.to_vec();
    for word in [number, salt, previous_end] {
        bytes.extend(word.to_le_bytes());
    }
    let sum = u64::from(crc32fast::hash(&bytes));
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn checksum(salt: u64, offset: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The numbers of the segments that are there, in order.
pub(super) fn segments(folder: &Path) -> Result<Vec<u64>, StoreError> {
    place::numbered(folder, "wal")
}

/// The bytes of the segments from `from` on.
pub(super) fn size_from(folder: &Path, from: u64) -> Result<u64, StoreError> {
    let kept = segments(folder)?.into_iter().filter(|number| *number >= from);
    Ok(kept
        .map(|number| fs::metadata(path_of(folder, number)).map_or(0, |data| data.len()))
        .sum())
}

/// Removes the segments below `number`.
pub(super) fn forget_before(folder: &Path, number: u64) -> Result<(), StoreError> {
    for old in segments(folder)?.into_iter().filter(|old| *old < number) {
        let path = path_of(folder, old);
        fs::remove_file(&path).map_err(|error| place::failed(&path, error))?;
    }
    Ok(())
}

/// What was played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Played {
    /// Batches.
    pub(super) batches: u64,
    /// The last segment; 0 when there is none.
    pub(super) last: u64,
    /// Where its records end.
    pub(super) end: u64,
}

/// Gives all batches of the segments from `from` on to `take`, in order.
///
/// # Errors
/// [`StoreError::Journal`] when a segment is missing or damaged, [`StoreError::Folder`] when one cannot be read, and what
/// `take` says.
pub(super) fn play(
    folder: &Path,
    from: u64,
    take: &mut dyn FnMut(Vec<Operation>) -> Result<(), StoreError>,
) -> Result<Played, StoreError> {
    let mut played = Played::default();
    for number in segments(folder)?.into_iter().filter(|number| *number >= from) {
        let path = path_of(folder, number);
        let segment = Segment::read(&path, number)?;
        if played.last == 0 && number != from && from != 0 {
            return Err(damaged(&path_of(folder, from), 0, "the segment is missing"));
        }
        if played.last != 0 && number != played.last + 1 {
            return Err(damaged(&path_of(folder, played.last + 1), 0, "the segment is missing"));
        }
        if played.last != 0 && segment.previous_end != played.end {
            let earlier = path_of(folder, played.last);
            return Err(damaged(&earlier, played.end, "records at its end are lost"));
        }
        let mut at = HEADER_BYTES;
        while let Some(payload) = segment.payload(at) {
            let operations = record::decode(payload).ok_or_else(|| damaged(&path, at, "the record makes no sense"))?;
            take(operations)?;
            at += RECORD_HEADER_BYTES + payload.len() as u64;
            played.batches += 1;
        }
        if let Some(later) = segment.record_behind(at) {
            return Err(damaged(&path, at, &format!("good records follow from byte {later} on")));
        }
        played.last = number;
        played.end = at;
    }
    if played.last == 0 && from != 0 {
        return Err(damaged(&path_of(folder, from), 0, "the segment is missing"));
    }
    Ok(played)
}

fn damaged(path: &Path, at: u64, what: &str) -> StoreError {
    StoreError::Journal {
        path: path.to_owned(),
        at,
        what: what.to_owned(),
    }
}

struct Segment {
    bytes: Vec<u8>,
    salt: u64,
    previous_end: u64,
}

impl Segment {
    fn read(path: &Path, number: u64) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| place::failed(path, error))?;
        let word = |index: usize| -> Option<u64> {
            let at = 8 + 8 * index;
            Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let words = word(0).zip(word(1)).zip(word(2));
        let Some(((found, salt), previous_end)) = words else {
            return Err(damaged(path, 0, "its header is cut"));
        };
        if bytes.get(..bytes_of(HEADER_BYTES)) != Some(&header(found, salt, previous_end)[..]) || found != number {
            return Err(damaged(path, 0, "its header is damaged"));
        }
        Ok(Self {
            bytes,
            salt,
            previous_end,
        })
    }

    /// The payload of the record at an offset, if there is a good one.
    fn payload(&self, offset: u64) -> Option<&[u8]> {
        let record = self.bytes.get(bytes_of(offset)..)?;
        let (magic, rest) = record.split_at_checked(4)?;
        let (length, rest) = rest.split_at_checked(4)?;
        let (sum, rest) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let payload = rest.get(..usize::try_from(length).ok()?)?;
        let is_good = magic == RECORD_MAGIC && sum == checksum(self.salt, offset, payload).to_le_bytes() && length > 0;
        is_good.then_some(payload)
    }

    /// Where the next good record begins behind a bad one.
    fn record_behind(&self, offset: u64) -> Option<u64> {
        let from = bytes_of(offset) + 1;
        let rest = self.bytes.get(from..)?;
        let mut found = rest
            .windows(RECORD_MAGIC.len())
            .enumerate()
            .filter(|(_, window)| *window == RECORD_MAGIC)
            .map(|(index, _)| (from + index) as u64);
        found.find(|at| self.payload(*at).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u8) -> Vec<u8> {
        record::encode(&[Operation::Delete { key: vec![number; 200] }])
    }

    fn played(folder: &Path, from: u64) -> Result<Vec<u8>, StoreError> {
        let mut seen = Vec::new();
        play(folder, from, &mut |operations| {
            for operation in operations {
                if let Operation::Delete { key } = operation {
                    seen.push(key[0]);
                }
            }
            Ok(())
        })?;
        Ok(seen)
    }

    fn three_in(folder: &Path) -> Journal {
        let mut journal = Journal::begin(folder, 1, 0).expect("begins");
        for number in 1..=3 {
            journal.append(&batch(number)).expect("appends");
        }
        journal
    }

    fn flip(folder: &Path, segment: u64, at: u64) {
        let path = path_of(folder, segment);
        let mut bytes = fs::read(&path).expect("reads");
        bytes[bytes_of(at)] ^= 1;
        fs::write(&path, bytes).expect("writes");
    }

    #[test]
    fn what_was_appended_is_played_over_segments() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = three_in(folder.path());
        assert_eq!(journal.rotate().expect("rotates"), 2);
        journal.append(&batch(4)).expect("appends");
        assert_eq!(played(folder.path(), 1).expect("plays"), [1, 2, 3, 4]);
        assert_eq!(played(folder.path(), 2).expect("plays"), [4]);
        forget_before(folder.path(), 2).expect("removes");
        assert!(
            matches!(played(folder.path(), 1), Err(StoreError::Journal { .. })),
            "one is missing"
        );
    }

    #[test]
    fn a_torn_last_record_is_not_played() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = three_in(folder.path());
        flip(folder.path(), 1, journal.end - 1);
        assert_eq!(played(folder.path(), 1).expect("plays"), [1, 2]);
        let cut = fs::read(path_of(folder.path(), 1)).expect("reads")[..bytes_of(journal.end) - 40].to_vec();
        fs::write(path_of(folder.path(), 1), cut).expect("writes");
        assert_eq!(played(folder.path(), 1).expect("plays"), [1, 2]);
    }

    #[test]
    fn damage_before_good_records_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let _journal = three_in(folder.path());
        flip(folder.path(), 1, HEADER_BYTES + 100);
        let error = played(folder.path(), 1).expect_err("damaged");
        assert!(matches!(error, StoreError::Journal { at: HEADER_BYTES, .. }), "{error}");
    }

    #[test]
    fn a_lost_tail_before_another_segment_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = three_in(folder.path());
        let end = journal.end;
        journal.rotate().expect("rotates");
        flip(folder.path(), 1, end - 1);
        assert!(matches!(played(folder.path(), 1), Err(StoreError::Journal { .. })));
    }

    #[test]
    fn large_and_many_records_fit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::begin(folder.path(), 1, 0).expect("begins");
        let large = record::encode(&[Operation::Delete { key: vec![7; 60_000] }]).repeat(40);
        journal.append(&large).expect("appends");
        for _ in 0..40 {
            let middling = record::encode(&[Operation::Delete { key: vec![8; 60_000] }]);
            journal.append(&middling).expect("appends");
        }
        assert_eq!(
            played(folder.path(), 1).expect("plays"),
            [vec![7; 40], vec![8; 40]].concat()
        );
    }
}
