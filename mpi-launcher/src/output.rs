//! What ranks print, brought to mpiexec's own streams by a thread of its own.
//!
//! A terminal, pipe or file may block for as long as it likes, and signals must work meanwhile; so writing is not done on
//! the loop. The queue is bounded: when it is full, links are read no further and ranks wait. A closed stream is no
//! error: what follows is dropped, and ranks run on.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use proto::ids::{NodeId, Rank};
use proto::launch::{OutputStream, RANK_NOTES_VARIABLE};
use tokio::sync::{mpsc, oneshot};

use crate::notes::Notes;

/// Pieces that may wait; each has at most [`proto::launch::MAX_OUTPUT_BYTES`].
const MAX_WAITING_PIECES: usize = 64;

/// Something to print.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Whose.
    pub(crate) rank: Rank,
    /// Where it runs.
    pub(crate) node: NodeId,
    /// To which stream.
    pub(crate) stream: OutputStream,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

/// The thread that prints. It ends when all senders are gone and everything is written.
#[derive(Debug)]
pub(crate) struct Printer {
    /// Where pieces go.
    pub(crate) pieces: mpsc::Sender<Piece>,
    /// Closes when everything is written.
    pub(crate) written: oneshot::Receiver<()>,
}

impl Printer {
    /// Starts printing to this process's streams.
    pub(crate) fn start(label: bool) -> io::Result<Self> {
        // Labels in the text need no notes.
        let folder = std::env::var_os(RANK_NOTES_VARIABLE)
            .filter(|_| !label)
            .map(PathBuf::from);
        let mut notes = [None, None];
        if let Some(folder) = folder {
            notes = [
                Notes::beside(io::stdout(), &folder, "stdout"),
                Notes::beside(io::stderr(), &folder, "stderr"),
            ];
        }
        let (pieces, waiting) = mpsc::channel(MAX_WAITING_PIECES);
        let (done, written) = oneshot::channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            print_all(waiting, label, notes, &mut io::stdout(), &mut io::stderr());
            drop(done);
        })?;
        Ok(Self { pieces, written })
    }
}

fn print_all<'a>(
    mut waiting: mpsc::Receiver<Piece>,
    label: bool,
    mut notes: [Option<Notes>; 2],
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
) {
    let mut streams = [(stdout, Labels::default(), false), (stderr, Labels::default(), false)];
    while let Some(Piece {
        rank,
        node,
        stream,
        bytes,
    }) = waiting.blocking_recv()
    {
        let index = usize::from(stream == OutputStream::Stderr);
        let (target, labels, closed) = &mut streams[index];
        let notes = &mut notes[index];
        if *closed {
            continue;
        }
        let bytes = if label { labels.apply(rank, &bytes) } else { bytes };
        take_note(notes, Notes::before);
        let written = target.write_all(&bytes).and_then(|()| target.flush());
        take_note(notes, |notes| notes.after(rank, node));
        if let Err(error) = written {
            *closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, ?stream, "output of the ranks is lost from here on");
            }
        }
    }
}

/// Without notes output is shown without labels, which is no reason to lose it.
fn take_note(notes: &mut Option<Notes>, note: impl FnOnce(&mut Notes) -> io::Result<()>) {
    if let Some(Err(error)) = notes.as_mut().map(note) {
        tracing::warn!(%error, "output has no labels of ranks from here on");
        *notes = None;
    }
}

/// Puts `[rank] ` before each line of one stream.
#[derive(Debug, Default)]
struct Labels {
    /// Whose unfinished line the stream is in the middle of.
    inside: Option<Rank>,
}

impl Labels {
    fn apply(&mut self, rank: Rank, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.inside != Some(rank) {
                // A very long line comes in parts; another rank's label must still begin a line.
                if self.inside.is_some() {
                    out.push(b'\n');
                }
                out.extend_from_slice(format!("[{rank}] ").as_bytes());
            }
            out.extend_from_slice(line);
            self.inside = (!line.ends_with(b"\n")).then_some(rank);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_label() {
        let mut labels = Labels::default();
        assert_eq!(labels.apply(Rank(1), b"a\nb\n"), b"[1] a\n[1] b\n");
        assert_eq!(labels.apply(Rank(2), b"long "), b"[2] long ");
        assert_eq!(labels.apply(Rank(2), b"line\n"), b"line\n");
        assert_eq!(labels.apply(Rank(2), b"part"), b"[2] part");
        assert_eq!(labels.apply(Rank(10), b"x\n"), b"\n[10] x\n");
        assert_eq!(labels.apply(Rank(0), b"\n"), b"[0] \n");
    }

    #[test]
    fn a_closed_stream_drops_the_rest_and_leaves_the_other_alone() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (pieces, waiting) = mpsc::channel(4);
        for stream in [OutputStream::Stdout, OutputStream::Stderr, OutputStream::Stdout] {
            pieces
                .try_send(Piece {
                    rank: Rank(0),
                    node: NodeId(1),
                    stream,
                    bytes: b"x\n".to_vec(),
                })
                .expect("room");
        }
        drop(pieces);
        let mut stderr = Vec::new();
        print_all(waiting, false, [None, None], &mut Closed, &mut stderr);
        assert_eq!(stderr, b"x\n");
    }
}
