//! Which rank wrote what into a task's output, as the launcher noted it beside the file. Reads only.
//!
//! `stdout.ranks` holds one record of 16 bytes per run of one rank's bytes: the end of the run in `stdout.txt` (u64), the
//! rank (u32; the highest number for bytes that are no rank's) and the number of its node (u32; 0 where it is not known), all
//! with the low byte first. A run begins where the one before ends. The notes are as good as their writer: a task may forge them and deceives whoever
//! reads its output, and nobody else. They may lag behind the output.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use proto::ids::{NodeId, Rank};

/// Bytes of one record.
const RECORD_BYTES: u64 = 16;

/// Records read at once.
const AHEAD: u64 = 1024;

/// The number that stands for no rank.
const NOBODY: u32 = u32::MAX;

/// The notes of one file, read forward.
#[derive(Debug)]
pub(crate) struct RankNotes {
    file: File,
    /// Number of the next record to read.
    next: u64,
    /// Runs that were read and not passed: end and writer.
    runs: VecDeque<(u64, Option<Writer>)>,
}

/// Who wrote a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    /// Which rank.
    pub(crate) rank: Rank,
    /// Where it ran, if that was noted.
    pub(crate) node: Option<NodeId>,
}

/// Whose the bytes at some place are, and up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// One rank's, or nobody's, up to there.
    Until {
        /// Behind its last byte.
        end: u64,
        /// Whose.
        writer: Option<Writer>,
    },
    /// Nothing is noted of them yet.
    Unknown,
}

impl RankNotes {
    /// Notes of a file that is read from `position` on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn new(file: File, position: u64) -> io::Result<Self> {
        let mut notes = Self {
            file,
            next: 0,
            runs: VecDeque::new(),
        };
        notes.seek(position)?;
        Ok(notes)
    }

    /// The open file.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Finds the first run that ends behind `position`; ends grow, as far as their writer is honest.
    pub(crate) fn seek(&mut self, position: u64) -> io::Result<()> {
        self.runs.clear();
        let (mut low, mut high) = (0, self.file.metadata()?.len() / RECORD_BYTES);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(middle, 1)?.first() {
                Some((end, _)) if *end <= position => low = middle + 1,
                _ => high = middle,
            }
        }
        self.next = low;
        Ok(())
    }

    /// Whose the bytes at `position` are. Positions only grow between two seeks.
    pub(crate) fn run_at(&mut self, position: u64) -> io::Result<Run> {
        loop {
            while let Some((end, writer)) = self.runs.front().copied() {
                if end > position {
                    return Ok(Run::Until { end, writer });
                }
                self.runs.pop_front();
            }
            let more = self.read(self.next, AHEAD)?;
            if more.is_empty() {
                return Ok(Run::Unknown);
            }
            self.next += more.len() as u64;
            self.runs.extend(more);
        }
    }

    /// At most `count` whole records from number `first` on.
    fn read(&self, first: u64, count: u64) -> io::Result<Vec<(u64, Option<Writer>)>> {
        let mut bytes = vec![0; usize::try_from(count * RECORD_BYTES).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, first * RECORD_BYTES + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let records = bytes.get(..filled).unwrap_or_default().chunks_exact(16);
        Ok(records.filter_map(record).collect())
    }
}

fn record(bytes: &[u8]) -> Option<(u64, Option<Writer>)> {
    let end = u64::from_le_bytes(*bytes.first_chunk()?);
    let rank = u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    let node = u32::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
    let writer = Writer {
        rank: Rank(rank),
        node: (node != 0).then_some(NodeId(node)),
    };
    Some((end, (rank != NOBODY).then_some(writer)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(file: &mut File, runs: &[(u64, u32)]) {
        for (end, rank) in runs {
            file.write_all(&end.to_le_bytes()).expect("writes");
            file.write_all(&rank.to_le_bytes()).expect("writes");
            let node = if *rank == NOBODY { 0 } else { *rank };
            file.write_all(&node.to_le_bytes()).expect("writes");
        }
    }

    #[test]
    fn runs_are_found_from_any_place_and_as_they_come() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stdout.ranks");
        let mut file = File::create(&path).expect("makes it");
        write(&mut file, &[(10, 0), (20, 3), (25, NOBODY)]);
        let until = |end, rank: Option<u32>| Run::Until {
            end,
            writer: rank.map(|rank| Writer {
                rank: Rank(rank),
                node: (rank > 0).then_some(NodeId(rank)),
            }),
        };
        let mut notes = RankNotes::new(File::open(&path).expect("opens"), 0).expect("reads");
        assert_eq!(notes.run_at(0).expect("reads"), until(10, Some(0)));
        assert_eq!(notes.run_at(10).expect("reads"), until(20, Some(3)));
        let mut late = RankNotes::new(File::open(&path).expect("opens"), 19).expect("reads");
        assert_eq!(late.run_at(19).expect("reads"), until(20, Some(3)));
        assert_eq!(late.run_at(20).expect("reads"), until(25, None));
        assert_eq!(late.run_at(25).expect("reads"), Run::Unknown);
        // Half a record is none yet.
        file.write_all(&30u64.to_le_bytes()).expect("writes");
        assert_eq!(late.run_at(25).expect("reads"), Run::Unknown);
        file.write_all(&[7, 0, 0, 0, 7, 0, 0, 0]).expect("writes");
        assert_eq!(late.run_at(25).expect("reads"), until(30, Some(7)));
        // One who lies about ends cannot hold anybody up.
        write(&mut file, &[(5, 1), (5, 1)]);
        assert_eq!(late.run_at(30).expect("reads"), Run::Unknown);
    }
}
