//! One output file of an attempt, read forward as it grows. Blocks; for threads that may.
//!
//! The file is opened once, as its user, and read from there on; who is followed is the file that was found, also when
//! its name is given to another one later. A file that shrank was begun anew and is read from its beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proto::control::{FollowFrom, FollowReply, MAX_PIECE_BYTES, Piece, TaskFile};

use crate::files::{SENT_NOWHERE, open_output, place_of};
use crate::ranks::{RankNotes, Run};
use crate::spawner::message::Credentials;
use crate::workdir::{OutputPaths, Place};

/// The most pieces of one look: ranks that write letter by letter make one piece each.
const MAX_PIECES: usize = 1024;

/// A file that is followed.
#[derive(Debug)]
pub(crate) struct Growing {
    which: TaskFile,
    path: PathBuf,
    /// Of the attempt.
    folder: PathBuf,
    /// Beside the task's own file only.
    notes_path: Option<PathBuf>,
    user: Option<Credentials>,
    from: FollowFrom,
    /// Whether it ends where the file ended when it was opened.
    only_now: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    NotOpen,
    Open(Opened),
    /// There is nothing to follow; that was said.
    Missing,
}

#[derive(Debug)]
struct Opened {
    file: File,
    position: u64,
    end: Option<u64>,
    notes: Option<RankNotes>,
}

/// Where notes of ranks may lie.
#[derive(Debug, Clone, Copy)]
struct Notes<'a> {
    path: &'a Path,
    folder: &'a Path,
    user: Option<&'a Credentials>,
}

/// What the last look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something; there may be more.
    More,
    /// All that there is has been read.
    Drained,
    /// There are bytes of which it is not noted yet whose they are.
    NotesBehind,
    /// It has not been made yet.
    NotThere,
}

/// What to do with what is not there yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A file may still be made.
    pub(crate) for_file: bool,
    /// Notes may still be written.
    pub(crate) for_notes: bool,
}

impl Growing {
    /// The outputs of an attempt: two files, or one when both go into the same.
    pub(crate) fn all(paths: &OutputPaths, from: FollowFrom, only_now: bool) -> Vec<Self> {
        let mut both = vec![Self::new(paths, TaskFile::Stdout, from, only_now)];
        if paths.stdout != paths.stderr || paths.stdout == Place::Null {
            both.push(Self::new(paths, TaskFile::Stderr, from, only_now));
        }
        both
    }

    fn new(paths: &OutputPaths, which: TaskFile, from: FollowFrom, only_now: bool) -> Self {
        let path = match place_of(paths, which) {
            Place::At { path } => PathBuf::from(path),
            Place::Null => PathBuf::new(),
        };
        let own = path.parent() == Some(&paths.folder);
        Self {
            which,
            notes_path: own.then(|| path.with_extension("ranks")),
            path,
            folder: paths.folder.clone(),
            user: paths.credentials.clone(),
            from,
            only_now,
            state: State::NotOpen,
        }
    }

    /// The open files, to be watched.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        let opened = match &self.state {
            State::Open(opened) => Some(opened),
            State::NotOpen | State::Missing => None,
        };
        let notes = opened.and_then(|opened| opened.notes.as_ref());
        opened
            .map(|opened| &opened.file)
            .into_iter()
            .chain(notes.map(RankNotes::file))
    }

    /// Reads what came, at most a piece and some.
    pub(crate) fn look(&mut self, patience: Patience, replies: &mut Vec<FollowReply>) -> Look {
        if matches!(self.state, State::NotOpen) {
            match self.open() {
                Ok(opened) => self.state = State::Open(opened),
                Err(error) if error.kind() == io::ErrorKind::NotFound && patience.for_file => return Look::NotThere,
                Err(error) => self.missing(&error.to_string(), replies),
            }
        }
        let State::Open(opened) = &mut self.state else {
            return Look::Drained;
        };
        let notes = self.notes_path.as_deref().map(|path| Notes {
            path,
            folder: &self.folder,
            user: self.user.as_ref(),
        });
        match opened.read(self.which, notes, patience, replies) {
            Ok(look) => look,
            Err(error) => {
                self.missing(&error.to_string(), replies);
                Look::Drained
            }
        }
    }

    fn missing(&mut self, reason: &str, replies: &mut Vec<FollowReply>) {
        let reason = if self.path.as_os_str().is_empty() {
            SENT_NOWHERE.to_owned()
        } else {
            format!("{}: {reason}", self.path.display())
        };
        replies.push(FollowReply::Missing {
            file: self.which,
            reason,
        });
        self.state = State::Missing;
    }

    fn open(&self) -> io::Result<Opened> {
        if self.path.as_os_str().is_empty() {
            return Err(io::Error::other(SENT_NOWHERE));
        }
        let file = open_output(&self.folder, self.user.as_ref(), &self.path)?;
        let length = file.metadata()?.len();
        let position = match (self.from, self.which) {
            (FollowFrom::Start, _) => 0,
            (FollowFrom::Last { bytes }, _) => length.saturating_sub(bytes),
            (FollowFrom::At { stdout, .. }, TaskFile::Stdout) => stdout,
            (FollowFrom::At { stderr, .. }, TaskFile::Stderr) => stderr,
        };
        Ok(Opened {
            file,
            position,
            end: self.only_now.then_some(length),
            notes: None,
        })
    }
}

impl Opened {
    fn read(
        &mut self,
        which: TaskFile,
        notes: Option<Notes<'_>>,
        patience: Patience,
        replies: &mut Vec<FollowReply>,
    ) -> io::Result<Look> {
        let length = self.file.metadata()?.len();
        if length < self.position {
            self.position = 0;
            self.notes = None;
        }
        let end = self.end.map_or(length, |end| end.min(length));
        let wanted = usize::try_from(end.saturating_sub(self.position))
            .unwrap_or(usize::MAX)
            .min(MAX_PIECE_BYTES);
        let bytes = self.bytes(wanted)?;
        if bytes.is_empty() {
            return Ok(Look::Drained);
        }
        if let (None, Some(notes)) = (&self.notes, notes) {
            // Most tasks launch nothing and have none.
            self.notes = open_output(notes.folder, notes.user, notes.path)
                .and_then(|file| RankNotes::new(file, self.position))
                .ok();
        }
        self.cut(which, &bytes, patience, replies)
    }

    fn bytes(&self, wanted: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; wanted];
        loop {
            match self.file.read_at(&mut bytes, self.position) {
                Ok(count) => {
                    bytes.truncate(count);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes pieces of what was read, each of one rank.
    fn cut(
        &mut self,
        which: TaskFile,
        bytes: &[u8],
        patience: Patience,
        replies: &mut Vec<FollowReply>,
    ) -> io::Result<Look> {
        let mut rest = bytes;
        for _ in 0..MAX_PIECES {
            if rest.is_empty() {
                break;
            }
            let run = match &mut self.notes {
                Some(notes) => notes.run_at(self.position)?,
                None => Run::Unknown,
            };
            let (count, writer) = match run {
                Run::Until { end, writer } => {
                    let count = usize::try_from(end - self.position).unwrap_or(usize::MAX);
                    (count.min(rest.len()), writer)
                }
                Run::Unknown if self.notes.is_some() && patience.for_notes => return Ok(Look::NotesBehind),
                Run::Unknown => (rest.len(), None),
            };
            let (piece, after) = rest.split_at(count);
            replies.push(FollowReply::Piece(Piece {
                file: which,
                offset: self.position,
                bytes: piece.to_vec(),
                rank: writer.map(|writer| writer.rank),
                on: writer.and_then(|writer| writer.node),
            }));
            self.position += piece.len() as u64;
            rest = after;
        }
        Ok(Look::More)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    const NO_PATIENCE: Patience = Patience {
        for_file: false,
        for_notes: false,
    };
    const PATIENCE: Patience = Patience {
        for_file: true,
        for_notes: true,
    };

    fn paths(folder: &Path) -> OutputPaths {
        let at = |name: &str| Place::At {
            path: folder.join(name).to_string_lossy().into_owned(),
        };
        OutputPaths {
            folder: folder.to_owned(),
            stdout: at("stdout.txt"),
            stderr: at("stderr.txt"),
            credentials: None,
        }
    }

    fn look(growing: &mut Growing, patience: Patience) -> (Look, Vec<(u64, String, Option<u32>)>) {
        let mut replies = Vec::new();
        let look = growing.look(patience, &mut replies);
        let shown = replies.into_iter().map(|reply| match reply {
            FollowReply::Piece(piece) => {
                let text = String::from_utf8(piece.bytes).expect("text");
                (piece.offset, text, piece.rank.map(|rank| rank.0))
            }
            FollowReply::Missing { reason, .. } => (0, reason, None),
            FollowReply::End => panic!("a file has no end of its own"),
        });
        (look, shown.collect())
    }

    #[test]
    fn a_file_is_waited_for_read_on_and_begun_anew_when_it_shrank() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut growing = Growing::new(&paths(folder.path()), TaskFile::Stdout, FollowFrom::Start, false);
        assert_eq!(look(&mut growing, PATIENCE), (Look::NotThere, Vec::new()));
        let path = folder.path().join("stdout.txt");
        fs::write(&path, "one\n").expect("writes");
        let piece = |offset, text: &str| (Look::More, vec![(offset, text.to_owned(), None)]);
        assert_eq!(look(&mut growing, PATIENCE), piece(0, "one\n"));
        assert_eq!(look(&mut growing, PATIENCE), (Look::Drained, Vec::new()));
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opens");
        file.write_all(b"two\n").expect("writes");
        assert_eq!(look(&mut growing, PATIENCE), piece(4, "two\n"));
        fs::write(&path, "3\n").expect("writes");
        assert_eq!(look(&mut growing, PATIENCE), piece(0, "3\n"));
    }

    #[test]
    fn it_begins_where_it_was_told_and_may_end_where_the_file_ends_now() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("stdout.txt"), "0123456789").expect("writes");
        let first = |from| {
            let mut growing = Growing::new(&paths(folder.path()), TaskFile::Stdout, from, true);
            look(&mut growing, NO_PATIENCE).1.remove(0)
        };
        assert_eq!(first(FollowFrom::Last { bytes: 3 }), (7, "789".to_owned(), None));
        let at = FollowFrom::At { stdout: 4, stderr: 9 };
        assert_eq!(first(at), (4, "456789".to_owned(), None));

        let mut now = Growing::new(&paths(folder.path()), TaskFile::Stdout, FollowFrom::Start, true);
        assert_eq!(look(&mut now, NO_PATIENCE).1.len(), 1);
        fs::write(folder.path().join("stdout.txt"), "0123456789more").expect("writes");
        assert_eq!(look(&mut now, NO_PATIENCE), (Look::Drained, Vec::new()));

        let mut none = Growing::new(&paths(folder.path()), TaskFile::Stderr, FollowFrom::Start, true);
        let (_, said) = look(&mut none, NO_PATIENCE);
        assert!(said[0].1.contains("stderr.txt: No such file"), "{said:?}");
        assert_eq!(look(&mut none, NO_PATIENCE), (Look::Drained, Vec::new()));
    }

    #[test]
    fn pieces_are_cut_at_ranks_and_late_notes_are_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("stdout.txt"), "aabbbc").expect("writes");
        let mut notes = Vec::new();
        for (end, rank) in [(2u64, 0u32), (5, 1)] {
            notes.extend(end.to_le_bytes());
            notes.extend(rank.to_le_bytes());
            notes.extend([0; 4]);
        }
        fs::write(folder.path().join("stdout.ranks"), notes).expect("writes");
        let mut growing = Growing::new(&paths(folder.path()), TaskFile::Stdout, FollowFrom::Start, false);
        let expected = vec![(0, "aa".to_owned(), Some(0)), (2, "bbb".to_owned(), Some(1))];
        assert_eq!(look(&mut growing, PATIENCE), (Look::NotesBehind, expected));
        let tired = Patience {
            for_notes: false,
            ..PATIENCE
        };
        assert_eq!(look(&mut growing, tired), (Look::More, vec![(5, "c".to_owned(), None)]));
    }
}
