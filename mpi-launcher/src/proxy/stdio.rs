//! Standard streams of ranks: output goes on by whole lines, input goes to rank 0.
//!
//! Lines of different ranks must not be mixed, so a line without its end is held back until it grows large or the stream
//! ends. Every buffer here has a bound; when mpiexec's own output is blocked, ranks block on theirs, as they would on a
//! terminal.

use proto::ids::Rank;
use proto::launch::{MAX_OUTPUT_BYTES, OutputStream, ProxyMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

use super::Event;

/// The most bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// A line that is longer goes on in parts. With one read on top it is one message.
const MAX_HELD_BYTES: usize = MAX_OUTPUT_BYTES - READ_BYTES;

/// Cuts a stream at the ends of its lines.
#[derive(Debug, Default)]
pub(crate) struct WholeLines {
    held: Vec<u8>,
}

impl WholeLines {
    /// Takes what was read and returns what may go on, perhaps nothing.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let end = self
            .held
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        let end = if self.held.len() - end > MAX_HELD_BYTES {
            self.held.len()
        } else {
            end
        };
        let rest = self.held.split_off(end);
        std::mem::replace(&mut self.held, rest)
    }

    /// The stream is at its end: what is left.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Forwards one stream of a rank until its end, or until `cut` says that nobody waits for its end any more.
pub(crate) async fn forward<R: AsyncRead + Unpin>(
    mut stream: R,
    rank: Rank,
    which: OutputStream,
    output: mpsc::Sender<ProxyMessage>,
    mut cut: watch::Receiver<bool>,
) {
    let (mut lines, mut buffer) = (WholeLines::default(), vec![0; READ_BYTES]);
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read(&mut buffer) => read,
            // A dropped sender also means that the session is over.
            _ = cut.wait_for(|cut| *cut) => break,
        };
        let Ok(count @ 1..) = read else { break };
        let bytes = lines.push(&buffer[..count]);
        if !bytes.is_empty()
            && output
                .send(ProxyMessage::Output {
                    rank,
                    stream: which,
                    bytes,
                })
                .await
                .is_err()
        {
            // The link is gone; the rank then gets SIGPIPE, which is what a closed terminal would give it.
            return;
        }
    }
    let bytes = lines.finish();
    if !bytes.is_empty() {
        // As above: without a link there is nobody to tell.
        let _ = output
            .send(ProxyMessage::Output {
                rank,
                stream: which,
                bytes,
            })
            .await;
    }
}

/// Writes input to rank 0 and tells after each piece that the next may come. A rank that closed its input, or never
/// reads it, holds up nobody: pieces are then dropped, or wait here, one at a time.
pub(crate) async fn feed(stdin: Option<ChildStdin>, mut pieces: mpsc::Receiver<Vec<u8>>, events: mpsc::Sender<Event>) {
    let mut stdin = stdin;
    while let Some(bytes) = pieces.recv().await {
        if bytes.is_empty() {
            stdin = None;
        } else if let Some(pipe) = &mut stdin
            && pipe.write_all(&bytes).await.is_err()
        {
            stdin = None;
        }
        if events.send(Event::InputTaken).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_whole() {
        let mut lines = WholeLines::default();
        assert_eq!(lines.push(b"one\ntw"), b"one\n");
        assert_eq!(lines.push(b""), b"");
        assert_eq!(lines.push(b"o\n"), b"two\n");
        assert_eq!(lines.push(b"end"), b"");
        assert_eq!(lines.finish(), b"end");
        assert_eq!(lines.finish(), b"");
    }

    #[test]
    fn a_line_without_end_goes_on_in_bounded_parts() {
        let mut lines = WholeLines::default();
        let mut sent = 0;
        for _ in 0..20 {
            let part = lines.push(&[b'x'; READ_BYTES]);
            assert!(part.len() <= MAX_OUTPUT_BYTES, "{}", part.len());
            sent += part.len();
        }
        assert_eq!(sent + lines.finish().len(), 20 * READ_BYTES);
    }
}
