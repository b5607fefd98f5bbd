//! Notes of which rank wrote what into the task's output, so that it can be shown with labels later on.
//!
//! The node names a folder in `MUSTER_RANK_NOTES`. When mpiexec's own output is the file that the node keeps there, it
//! writes one record per piece beside it, `stdout.ranks` and `stderr.ranks`: the end of the piece in the file (u64), the
//! rank (u32; the highest number for bytes that others wrote in between) and the number of its node (u32; 0 where it is not
//! known), low byte first. The notes follow the output and may lag behind it; without them output is shown as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proto::ids::{NodeId, Rank};

/// The number that stands for no rank.
const NOBODY: u32 = u32::MAX;

/// The notes of one stream.
#[derive(Debug)]
pub(crate) struct Notes {
    /// The output itself, which shares its position with the stream that is written.
    output: File,
    notes: File,
    /// Where the last piece ended.
    end: u64,
}

impl Notes {
    /// Notes for a stream whose file is `folder/NAME.txt`; none when it goes elsewhere.
    pub(crate) fn beside(stream: impl AsFd, folder: &Path, name: &str) -> Option<Self> {
        let kept = folder.join(format!("{name}.txt")).metadata().ok()?;
        let output = File::from(stream.as_fd().try_clone_to_owned().ok()?);
        let own = output.metadata().ok()?;
        let same = own.is_file() && (own.dev(), own.ino()) == (kept.dev(), kept.ino());
        let path = folder.join(format!("{name}.ranks"));
        let notes = same.then(|| OpenOptions::new().create(true).append(true).open(&path));
        match notes? {
            Ok(notes) => Some(Self { output, notes, end: 0 }),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "output will have no labels of ranks");
                None
            }
        }
    }

    /// A piece is about to be written: what stands there and was not ours is nobody's.
    pub(crate) fn before(&mut self) -> io::Result<()> {
        // With O_APPEND the next piece goes to the end, wherever the position is.
        let end = self.output.seek(SeekFrom::End(0))?;
        if end > self.end {
            self.note(end, NOBODY, 0)?;
        }
        Ok(())
    }

    /// The piece of a rank was written.
    pub(crate) fn after(&mut self, rank: Rank, node: NodeId) -> io::Result<()> {
        let end = self.output.stream_position()?;
        self.note(end, rank.0, node.0)
    }

    fn note(&mut self, end: u64, rank: u32, node: u32) -> io::Result<()> {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&end.to_le_bytes());
        record[8..12].copy_from_slice(&rank.to_le_bytes());
        record[12..].copy_from_slice(&node.to_le_bytes());
        self.notes.write_all(&record)?;
        self.end = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_noted_and_what_others_wrote_is_nobodys() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stdout.txt");
        let mut output = OpenOptions::new().create(true).append(true).open(&path).expect("opens");
        output.write_all(b"shell\n").expect("writes");
        let mut notes = Notes::beside(&output, folder.path(), "stdout").expect("the kept file");
        for (rank, piece) in [(1, "one\n"), (0, "zero\n")] {
            notes.before().expect("notes");
            output.write_all(piece.as_bytes()).expect("writes");
            notes.after(Rank(rank), NodeId(rank + 7)).expect("notes");
        }
        let records = std::fs::read(folder.path().join("stdout.ranks")).expect("notes");
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("4"));
        let read: Vec<(u64, u32, u32)> = records
            .chunks(16)
            .map(|record| {
                let end = u64::from_le_bytes(record[..8].try_into().expect("8"));
                (end, number(&record[8..12]), number(&record[12..]))
            })
            .collect();
        assert_eq!(read, [(6, NOBODY, 0), (10, 1, 8), (15, 0, 7)]);
        let elsewhere = File::create(folder.path().join("other")).expect("opens");
        assert!(Notes::beside(&elsewhere, folder.path(), "stdout").is_none());
    }
}
