//! One connection to one peer: the engine's connection, its socket, its stream, and how far it has come.
//!
//! ```text
//! dialling:   Handshake -> Open -> Finishing -> Closed
//! answering:  Handshake -> Preamble -> Open -> Finishing -> Closed
//! ```
//!
//! Knows nothing of other connections and makes no decision about peers; it reports [`News`].

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ids::Rank;
use quinn_proto::{
    ApplicationClose, ConnectionError, ConnectionEvent, Dir, EndpointEvent, Event, StreamEvent, StreamId,
    TransportErrorCode, VarInt,
};

use super::preamble::{self, PreambleReader};
use super::socket::{self, Sent, UdpSocket};
use crate::link::Gone;

/// Close code: this rank is done.
pub(super) const LEFT: u32 = 0;

/// Close code: this rank gave the peer up, or does not want this connection.
pub(super) const REJECTED: u32 = 1;

/// How long a connection may be half open.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Sends of one connection in a row, so that others get their turn.
const SEND_BURST: usize = 64;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    quic: quinn_proto::Connection,
    /// Its own; without one it uses the listening socket.
    socket: Option<UdpSocket>,
    /// Known from the dial, or from certificate and preamble.
    peer: Option<Rank>,
    phase: Phase,
    /// What the socket would not take.
    unsent: Option<Unsent>,
    heard: Instant,
    pinged: Option<Instant>,
    transmit_wanted: bool,
}

#[derive(Debug)]
enum Phase {
    Handshake {
        until: Instant,
    },
    Preamble {
        stream: StreamId,
        reader: PreambleReader,
        until: Instant,
    },
    Open {
        stream: StreamId,
    },
    Finishing {
        stream: StreamId,
    },
    Closed,
}

#[derive(Debug)]
struct Unsent {
    to: std::net::SocketAddr,
    bytes: Vec<u8>,
    segment_bytes: Option<usize>,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum News {
    /// Bytes came, from this peer if it is known yet.
    Readable(Option<Rank>),
    /// Ready for messages; the rank the other side announced, when it dialled.
    Opened(Option<Rank>),
    /// The other side did what it must not.
    Broke(&'static str),
    /// It is over.
    Lost(Gone),
}

/// What came of a read.
#[derive(Debug)]
pub(super) enum Reading {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing now.
    Nothing,
    /// The peer sends no more.
    Ended,
}

/// What came of transmitting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transmitted {
    /// Everything that may go now.
    All,
    /// There is more: the socket is full, or the burst is over.
    NotAll,
    /// The peer's host refuses.
    Refused,
}

impl Connection {
    pub(super) fn dialling(quic: quinn_proto::Connection, socket: UdpSocket, peer: Rank, now: Instant) -> Self {
        Self {
            peer: Some(peer),
            ..Self::answering(quic, Some(socket), now)
        }
    }

    pub(super) fn answering(quic: quinn_proto::Connection, socket: Option<UdpSocket>, now: Instant) -> Self {
        Self {
            quic,
            socket,
            peer: None,
            phase: Phase::Handshake {
                until: now + HANDSHAKE_MAX,
            },
            unsent: None,
            heard: now,
            pinged: None,
            transmit_wanted: false,
        }
    }

    pub(super) fn quic(&self) -> &quinn_proto::Connection {
        &self.quic
    }

    pub(super) fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    pub(super) fn peer(&self) -> Option<Rank> {
        self.peer
    }

    pub(super) fn set_peer(&mut self, peer: Rank) {
        self.peer = Some(peer);
    }

    /// When the last packet for this connection came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether the socket refused bytes that wait here.
    pub(super) fn is_full(&self) -> bool {
        self.unsent.is_some()
    }

    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.phase, Phase::Finishing { .. })
    }

    pub(super) fn handle(&mut self, event: ConnectionEvent, now: Instant) {
        self.heard = now;
        self.quic.handle_event(event);
    }

    pub(super) fn endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.quic.poll_endpoint_events()
    }

    /// The next thing that happened; ask until there is none.
    pub(super) fn news(&mut self, me: Rank) -> Option<News> {
        while let Some(event) = self.quic.poll() {
            let news = match event {
                Event::Connected => self.connected(me),
                Event::ConnectionLost { reason } => {
                    let closed = matches!(self.phase, Phase::Closed);
                    (!closed).then(|| News::Lost(gone(reason)))
                }
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.stream_opened(),
                Event::Stream(StreamEvent::Readable { .. }) => self.readable(),
                Event::Stream(StreamEvent::Finished { .. } | StreamEvent::Stopped { .. }) => {
                    if self.is_finishing() {
                        self.phase = Phase::Closed;
                    }
                    None
                }
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                    None
                }
            };
            if news.is_some() {
                return news;
            }
        }
        None
    }

    /// Takes what fits of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let Phase::Open { stream } = self.phase else { return 0 };
        // Blocked means later; anything else also shows as an event that ends the connection.
        self.quic.send_stream(stream).write(bytes).unwrap_or(0)
    }

    /// The next bytes of the stream, at most `most`.
    pub(super) fn read(&mut self, most: usize) -> Reading {
        let stream = match self.phase {
            Phase::Open { stream } | Phase::Preamble { stream, .. } | Phase::Finishing { stream } => stream,
            Phase::Handshake { .. } | Phase::Closed => return Reading::Nothing,
        };
        let mut receiving = self.quic.recv_stream(stream);
        let Ok(mut chunks) = receiving.read(true) else {
            return Reading::Ended;
        };
        let reading = match chunks.next(most) {
            Ok(Some(chunk)) => Reading::Bytes(chunk.bytes),
            Err(quinn_proto::ReadError::Blocked) => Reading::Nothing,
            Ok(None) | Err(quinn_proto::ReadError::Reset(_)) => Reading::Ended,
        };
        self.transmit_wanted |= chunks.finalize().should_transmit();
        reading
    }

    /// Whether reading made room that the peer should hear of. Says so once.
    pub(super) fn wants_transmit(&mut self) -> bool {
        std::mem::take(&mut self.transmit_wanted)
    }

    /// All that has arrived and was not read.
    pub(super) fn rest(&mut self) -> VecDeque<Bytes> {
        let mut rest = VecDeque::new();
        while let Reading::Bytes(bytes) = self.read(usize::MAX) {
            rest.push_back(bytes);
        }
        rest
    }

    /// Says that nothing more will be written. True when there is a stream to finish.
    pub(super) fn finish(&mut self) -> bool {
        let Phase::Open { stream } = self.phase else {
            return false;
        };
        // Fails only when the peer wants nothing more, and then nothing is owed to it.
        if self.quic.send_stream(stream).finish().is_err() {
            return false;
        }
        self.phase = Phase::Finishing { stream };
        true
    }

    pub(super) fn close(&mut self, now: Instant, code: u32) {
        self.phase = Phase::Closed;
        self.quic.close(now, VarInt::from_u32(code), Bytes::new());
    }

    /// When to ping a peer that has been quiet since then.
    pub(super) fn ping_at(&self, quiet_since: Instant, after: Duration) -> Instant {
        self.pinged.map_or(quiet_since, |pinged| pinged.max(quiet_since)) + after
    }

    pub(super) fn ping(&mut self, now: Instant) {
        self.pinged = Some(now);
        self.quic.ping();
    }

    /// When [`Self::run_timers`] has something to do.
    pub(super) fn next_timer(&mut self) -> Option<Instant> {
        let half_open = match self.phase {
            Phase::Handshake { until } | Phase::Preamble { until, .. } if self.peer.is_none() => Some(until),
            _ => None,
        };
        self.quic.poll_timeout().into_iter().chain(half_open).min()
    }

    /// True when a timer has fired.
    pub(super) fn run_timers(&mut self, now: Instant) -> bool {
        let due = self.quic.poll_timeout().is_some_and(|timeout| timeout <= now);
        if due {
            self.quic.handle_timeout(now);
        }
        // Who dials is watched by who waits for it; this is for strangers that never come to an end.
        let expired = match self.phase {
            Phase::Handshake { until } | Phase::Preamble { until, .. } => self.peer.is_none() && until <= now,
            _ => false,
        };
        if expired {
            self.close(now, REJECTED);
        }
        due || expired
    }

    /// Sends what may be sent now.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        shared: &mut UdpSocket,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Transmitted> {
        let socket = self.socket.as_mut().unwrap_or(shared);
        if let Some(unsent) = self.unsent.take() {
            match socket.send(unsent.to, &unsent.bytes, unsent.segment_bytes)? {
                Sent::Taken => {}
                Sent::Full => {
                    self.unsent = Some(unsent);
                    return Ok(Transmitted::NotAll);
                }
                Sent::Refused => return Ok(refused(&self.phase)),
            }
        }
        for _ in 0..SEND_BURST {
            buffer.clear();
            let mtu = usize::from(self.quic.current_mtu());
            let segments = (socket::SEND_MAX_BYTES / mtu).clamp(1, socket::SEGMENTS_MAX);
            let Some(transmit) = self.quic.poll_transmit(now, segments, buffer) else {
                return Ok(Transmitted::All);
            };
            let bytes = &buffer[..transmit.size];
            match socket.send(transmit.destination, bytes, transmit.segment_size)? {
                Sent::Taken => {}
                Sent::Full => {
                    self.unsent = Some(Unsent {
                        to: transmit.destination,
                        bytes: bytes.to_vec(),
                        segment_bytes: transmit.segment_size,
                    });
                    return Ok(Transmitted::NotAll);
                }
                Sent::Refused => return Ok(refused(&self.phase)),
            }
        }
        Ok(Transmitted::NotAll)
    }

    fn connected(&mut self, me: Rank) -> Option<News> {
        // Who dialled opens the stream; who answers waits for it.
        self.peer?;
        let Some(stream) = self.quic.streams().open(Dir::Bi) else {
            return Some(News::Broke("it allows no stream"));
        };
        self.phase = Phase::Open { stream };
        let preamble = preamble::preamble(me);
        if self.write(&preamble) != preamble.len() {
            return Some(News::Broke("it has no room for a preamble"));
        }
        Some(News::Opened(None))
    }

    fn stream_opened(&mut self) -> Option<News> {
        let stream = self.quic.streams().accept(Dir::Bi)?;
        match self.phase {
            Phase::Handshake { until } if self.peer.is_none() => {
                self.phase = Phase::Preamble {
                    stream,
                    reader: PreambleReader::default(),
                    until,
                };
                self.readable()
            }
            _ => Some(News::Broke("it opened a second stream")),
        }
    }

    fn readable(&mut self) -> Option<News> {
        loop {
            let Phase::Preamble { stream, reader, .. } = &mut self.phase else {
                return Some(News::Readable(self.peer));
            };
            let stream = *stream;
            match reader.reading() {
                preamble::Reading::Complete(rank) => {
                    self.phase = Phase::Open { stream };
                    return Some(News::Opened(Some(rank)));
                }
                preamble::Reading::Wrong(what) => return Some(News::Broke(what)),
                preamble::Reading::Wants(more) => match self.read(more) {
                    Reading::Bytes(bytes) => {
                        if let Phase::Preamble { reader, .. } = &mut self.phase {
                            reader.push(&bytes);
                        }
                    }
                    Reading::Nothing => return None,
                    Reading::Ended => return Some(News::Broke("it ended the stream before the preamble")),
                },
            }
        }
    }
}

/// A refusal matters only while the connection is wanted.
fn refused(phase: &Phase) -> Transmitted {
    match phase {
        Phase::Closed => Transmitted::All,
        _ => Transmitted::Refused,
    }
}

fn gone(reason: ConnectionError) -> Gone {
    match &reason {
        ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. })
            if *error_code == VarInt::from_u32(LEFT) =>
        {
            Gone::Left
        }
        ConnectionError::Reset => Gone::Refused,
        ConnectionError::TransportError(error) if is_tls_alert(error.code) => Gone::Untrusted,
        ConnectionError::ConnectionClosed(close) if is_tls_alert(close.error_code) => Gone::Untrusted,
        _ => Gone::Lost(reason),
    }
}

/// TLS alerts travel as codes 0x100 to 0x1ff (RFC 9001, 4.8).
fn is_tls_alert(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}
