//! What becomes of a node's output: told line by line, kept for the end, or written to a file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use proto::control::TaskFile;
use proto::ids::NodeName;

use crate::exit::CliError;
use crate::render::Teller;
use crate::request::Telling;

/// Kept of each file of each node for `/sorted`; more is cut and said so.
const MOST_KEPT: usize = 4 * 1024 * 1024;

/// A line without an end is told in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

/// One of the files of one node.
pub(super) struct Stream {
    /// Bytes that were told.
    pub(super) told: u64,
    sink: Sink,
}

/// What becomes of output.
enum Sink {
    /// Told line by line; the line that has no end yet.
    Lines(Vec<u8>),
    /// Kept until the end, and whether there was more.
    Kept { kept: Vec<u8>, cut: bool },
    /// Written to a file here.
    File { file: File, path: PathBuf },
}

impl Sink {
    const fn kept() -> Self {
        Self::Kept {
            kept: Vec::new(),
            cut: false,
        }
    }

    fn of(telling: &Telling, node: &NodeName, file: TaskFile) -> Result<Self, CliError> {
        Ok(match telling {
            Telling::Interleaved => Self::Lines(Vec::new()),
            Telling::Sorted => Self::kept(),
            Telling::Files(folder) => {
                let ending = match file {
                    TaskFile::Stdout => "out",
                    TaskFile::Stderr => "err",
                };
                let path = folder.join(format!("{node}.{ending}"));
                let file = File::create(&path).map_err(|source| CliError::Files {
                    doing: "making",
                    path: path.clone(),
                    source,
                })?;
                Self::File { file, path }
            }
        })
    }
}

impl Stream {
    /// Of one of the files of a node.
    ///
    /// # Errors
    /// When the file that it goes to cannot be made.
    pub(super) fn of(telling: &Telling, node: &NodeName, file: TaskFile) -> Result<Self, CliError> {
        Sink::of(telling, node, file).map(|sink| Self { told: 0, sink })
    }

    /// Tells what of a piece was not told before.
    pub(super) fn take(
        &mut self,
        node: &NodeName,
        file: TaskFile,
        offset: u64,
        bytes: &[u8],
        teller: &mut Teller,
    ) -> Result<(), CliError> {
        let known = usize::try_from(self.told.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(news) = bytes.get(known..).filter(|news| !news.is_empty()) else {
            return Ok(());
        };
        self.told = offset.saturating_add(bytes.len() as u64);
        match &mut self.sink {
            Sink::Lines(line) => {
                line.extend_from_slice(news);
                while let Some(end) = line.iter().position(|b| *b == b'\n') {
                    let rest = line.split_off(end + 1);
                    teller
                        .line(file, node.as_str(), &line[..end])
                        .map_err(CliError::Output)?;
                    *line = rest;
                }
                if line.len() > LONGEST_LINE {
                    teller.line(file, node.as_str(), line).map_err(CliError::Output)?;
                    line.clear();
                }
            }
            Sink::Kept { kept, cut } => {
                let room = MOST_KEPT.saturating_sub(kept.len());
                kept.extend_from_slice(&news[..news.len().min(room)]);
                *cut |= news.len() > room;
            }
            Sink::File { file, path } => file.write_all(news).map_err(|source| CliError::Files {
                doing: "writing",
                path: path.clone(),
                source,
            })?,
        }
        Ok(())
    }

    /// What is left at the end: kept output, after a last line without an end was told.
    pub(super) fn rest(self, node: &NodeName, file: TaskFile, teller: &mut Teller) -> Vec<u8> {
        match self.sink {
            Sink::Lines(line) if !line.is_empty() => {
                // A reader that has gone away has got what it wanted.
                let _ = teller.line(file, node.as_str(), &line);
                Vec::new()
            }
            Sink::Kept { mut kept, cut } => {
                if cut {
                    kept.extend_from_slice(b"\n(the rest is cut; /outputdir keeps all of it)\n");
                }
                kept
            }
            Sink::Lines(_) | Sink::File { .. } => Vec::new(),
        }
    }
}

/// The folder of `/outputdir`, made when it is not there.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_folder(folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|source| CliError::Files {
        doing: "making the folder",
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    #[test]
    fn nothing_is_told_twice_after_a_broken_line() {
        let mut stream = Stream {
            told: 0,
            sink: Sink::kept(),
        };
        let mut teller = Teller::new();
        let mut take = |offset, bytes: &[u8]| {
            stream
                .take(&node("n1"), TaskFile::Stdout, offset, bytes, &mut teller)
                .expect("takes");
        };
        take(0, b"hello ");
        take(0, b"hello wor");
        take(0, b"hello");
        take(9, b"ld\n");
        let kept = stream.rest(&node("n1"), TaskFile::Stdout, &mut Teller::new());
        assert_eq!(String::from_utf8_lossy(&kept), "hello world\n");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut stream = Stream {
            told: 0,
            sink: Sink::kept(),
        };
        let piece = vec![b'x'; 1 << 20];
        for number in 0..6_u64 {
            let taken = stream.take(&node("n1"), TaskFile::Stdout, number << 20, &piece, &mut Teller::new());
            taken.expect("takes");
        }
        let kept = stream.rest(&node("n1"), TaskFile::Stdout, &mut Teller::new());
        assert!(kept.len() < MOST_KEPT + 100, "{}", kept.len());
        assert!(kept.ends_with(b"keeps all of it)\n"));
    }
}
