//! The sockets of the ranks' conversations: bytes to lines, lines to the session, replies back.
//!
//! One loop per rank. What a line means is decided by `pmi::pmi1::server`, which the session owns; nothing here waits for
//! another rank.

use pmi::pmi1::parse::{Lines, ParseError};
use proto::ids::Rank;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::Event;

/// Replies that may wait for one rank. A client has one request under way; what asks on without reading is broken.
pub(crate) const MAX_WAITING_REPLIES: usize = 16;

/// Serves one rank until its end of the socket closes, or until `replies` closes because its process has ended.
pub(crate) async fn converse(
    rank: Rank,
    mut stream: UnixStream,
    mut replies: mpsc::Receiver<String>,
    events: mpsc::Sender<Event>,
) {
    let (mut lines, mut buffer) = (Lines::new(), [0; 4096]);
    loop {
        tokio::select! {
            biased;
            reply = replies.recv() => match reply {
                Some(line) => {
                    // A rank that is gone is noticed by the read.
                    if stream.write_all(line.as_bytes()).await.is_err() {
                        break;
                    }
                }
                None => {
                    // A descendant may hold the socket open, so its end may never come; what was said counts.
                    while let Ok(count @ 1..) = stream.try_read(&mut buffer) {
                        lines.push(&buffer[..count]);
                    }
                    hand_on(rank, &mut lines, &events).await;
                    break;
                }
            },
            read = stream.read(&mut buffer) => match read {
                Ok(count @ 1..) => {
                    lines.push(&buffer[..count]);
                    if !hand_on(rank, &mut lines, &events).await {
                        break;
                    }
                }
                Ok(0) | Err(_) => break,
            },
        }
    }
    // The session is over when nobody listens.
    let _ = events.send(Event::PmiClosed { rank }).await;
}

/// Whether the conversation can go on.
async fn hand_on(rank: Rank, lines: &mut Lines, events: &mpsc::Sender<Event>) -> bool {
    loop {
        let (event, last) = match lines.next_line() {
            Ok(Some(line)) => (Event::PmiLine { rank, line }, false),
            Ok(None) => return true,
            Err(error) => (
                Event::PmiBroken {
                    rank,
                    error: Box::new(error) as Box<ParseError>,
                },
                true,
            ),
        };
        if events.send(event).await.is_err() || last {
            return false;
        }
    }
}
