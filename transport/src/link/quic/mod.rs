//! Ranks over QUIC, without a thread and without an async runtime: quinn's protocol engine driven by the caller.
//!
//! Flow of one wait: transmit what was written; look at the peer's socket (spinning first when asked to); give each
//! datagram to the engine; hand back to the caller, who reads *and writes its reply* before the next transmit, so that
//! acknowledgement and reply share a packet. One datagram each way per round trip is the whole trick: it brings the
//! latency within twice that of bare UDP, where an async stack needs four to seven times.
//!
//! - Per pair: one connection, one long-lived stream in both directions, one connected UDP socket.
//! - The lower rank dials the higher at first use. A higher rank that needs the lower first knocks (`preamble`).
//! - Both sides pin the other's certificate (`pinning`); the rank is known from the certificate.
//! - A connection has no idle timeout: a rank that computes is silent. Who waits for a peer pings it, and takes it for
//!   gone after [`SILENCE_MAX`] without an answer. A process that ended is known at the next packet to it, because
//!   its host refuses the port.
//!
//! Never: reconnect. A rank that was lost has lost messages with it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ids::Rank;
use quinn_proto::{ConnectionHandle, ServerConfig, TransportConfig};

use super::{Gone, Link, LinkError, Pause, Wait};
use crate::port_range::{self, PortRange};
use crate::rank_address::{CertificateHash, RankAddress};
use crate::system::Interest;

mod connection;
mod peers;
mod pinning;
mod preamble;
mod settings;
mod socket;
mod spin;
mod traffic;

pub use pinning::RankIdentityError;

use connection::{Connection, News};
use pinning::RankIdentity;
use socket::{Room, UdpSocket};
use spin::SpinHabit;

/// How long a peer that is waited for may be silent before it counts as gone. A rank that computes for longer while
/// others wait for it must serve them between (`Endpoint::progress`).
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The largest piece of a message that is copied for sending at a time; larger ones leave the allocator's fast path.
const WRITE_PIECE_BYTES: usize = 64 * 1024;

/// A rank's socket and key, before it knows the others.
#[derive(Debug)]
pub struct UnmetQuicLink {
    me: Rank,
    identity: RankIdentity,
    listening: UdpSocket,
    address: RankAddress,
}

/// Why a rank link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum QuicLinkError {
    /// The socket.
    #[error("a UDP socket on {address} could not be made")]
    Bind {
        /// Where.
        address: IpAddr,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Key, certificate or TLS settings.
    #[error(transparent)]
    Identity(#[from] RankIdentityError),
    /// This rank's own entry in the book is not what it published.
    #[error("the address book has {found} for rank {rank}, which is this rank and published {own}")]
    ForeignBook {
        /// This rank.
        rank: Rank,
        /// What it published.
        own: Box<RankAddress>,
        /// What the book says.
        found: String,
    },
}

/// Where a peer stands.
#[derive(Debug)]
enum Peer {
    /// Never used.
    Stranger,
    /// It is lower, so it has to dial; asked when, and when to ask again.
    Knocking { again: Instant },
    /// The handshake is under way.
    Meeting(ConnectionHandle),
    /// Bytes flow.
    Open(ConnectionHandle),
    /// For good; what it sent before and nobody has read.
    Gone { why: Gone, rest: VecDeque<Bytes> },
}

/// Which socket something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Listening,
    Connection(ConnectionHandle),
}

/// QUIC to every other rank, see the module's text.
pub struct QuicLink {
    me: Rank,
    identity: RankIdentity,
    transport: Arc<TransportConfig>,
    book: Vec<RankAddress>,
    certificates: Vec<CertificateHash>,
    engine: quinn_proto::Endpoint,
    listening: UdpSocket,
    peers: Vec<Peer>,
    /// By handle. The engine uses handles again only after their connection was taken out here.
    connections: Vec<Option<Box<Connection>>>,
    /// Who has something to transmit.
    pending: Vec<ConnectionHandle>,
    readable: VecDeque<Rank>,
    spin: SpinHabit,
    /// [`SILENCE_MAX`]; tests have less patience.
    silence_max: Duration,
    looks: u32,
    room: Room,
    outgoing: Vec<u8>,
    /// Kept between sleeps to spare the allocation.
    lanes: Vec<(Lane, Interest)>,
}

impl fmt::Debug for QuicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLink")
            .field("me", &self.me)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl UnmetQuicLink {
    /// Makes key, certificate and socket. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is not this host's, no port of the range is free, or the key cannot be made.
    pub fn bind(me: Rank, address: IpAddr, ports: Option<PortRange>) -> Result<Self, QuicLinkError> {
        let identity = RankIdentity::generate()?;
        let listening = port_range::bind(ports, address, UdpSocket::listening)
            .map_err(|source| QuicLinkError::Bind { address, source })?;
        let address = RankAddress {
            quic: listening.local(),
            certificate: identity.hash(),
        };
        Ok(Self {
            me,
            identity,
            listening,
            address,
        })
    }

    /// What to publish.
    #[must_use]
    pub fn address(&self) -> &RankAddress {
        &self.address
    }

    /// The link, once everyone's address is known; the book is in order of ranks.
    ///
    /// # Errors
    /// When the book does not hold this rank's own address in its place, or TLS settings are refused.
    pub fn connect(self, book: Vec<RankAddress>) -> Result<QuicLink, QuicLinkError> {
        let own = usize::try_from(self.me.0).ok().and_then(|index| book.get(index));
        if own != Some(&self.address) {
            return Err(QuicLinkError::ForeignBook {
                rank: self.me,
                own: Box::new(self.address),
                found: own.map_or_else(|| "nothing".to_owned(), RankAddress::to_string),
            });
        }
        let certificates: Vec<CertificateHash> = book.iter().map(|address| address.certificate).collect();
        let transport = settings::transport(self.address.quic.ip());
        let mut answering = ServerConfig::with_crypto(Arc::new(self.identity.answering(certificates.clone())?));
        answering.transport_config(Arc::clone(&transport)).migration(false);
        let engine = quinn_proto::Endpoint::new(settings::endpoint(), Some(Arc::new(answering)), true, None);
        Ok(QuicLink {
            me: self.me,
            identity: self.identity,
            transport,
            peers: book.iter().map(|_| Peer::Stranger).collect(),
            book,
            certificates,
            engine,
            listening: self.listening,
            connections: Vec::new(),
            pending: Vec::new(),
            readable: VecDeque::new(),
            spin: SpinHabit::default(),
            silence_max: SILENCE_MAX,
            looks: 0,
            room: Room::default(),
            outgoing: Vec::new(),
            lanes: Vec::new(),
        })
    }
}

impl Link for QuicLink {
    fn write(&mut self, peer: Rank, bytes: &[u8]) -> Result<usize, LinkError> {
        let handle = match self.peer(peer) {
            Some(Peer::Open(handle)) => *handle,
            Some(Peer::Gone { why, .. }) => return Err(LinkError::Gone { peer, why: why.clone() }),
            Some(Peer::Stranger) => {
                self.meet(peer, Instant::now());
                return Ok(0);
            }
            _ => return Ok(0),
        };
        let piece = &bytes[..bytes.len().min(WRITE_PIECE_BYTES)];
        let Some(written) = self.connection(handle).map(|connection| connection.write(piece)) else {
            return Ok(0);
        };
        if written > 0 {
            self.mark_pending(handle);
        }
        Ok(written)
    }

    fn read(&mut self, peer: Rank, most: usize) -> Result<Option<Bytes>, LinkError> {
        let handle = match self.peer(peer) {
            Some(Peer::Open(handle)) => *handle,
            Some(Peer::Gone { why, rest }) => {
                let Some(mut bytes) = rest.pop_front() else {
                    return Err(LinkError::Gone { peer, why: why.clone() });
                };
                if bytes.len() > most {
                    rest.push_front(bytes.split_off(most));
                }
                return Ok(Some(bytes));
            }
            Some(Peer::Stranger) => {
                self.meet(peer, Instant::now());
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let Some(connection) = self.connection(handle) else {
            return Ok(None);
        };
        let reading = connection.read(most);
        if connection.wants_transmit() {
            self.mark_pending(handle);
        }
        match reading {
            connection::Reading::Bytes(bytes) => Ok(Some(bytes)),
            connection::Reading::Nothing => Ok(None),
            connection::Reading::Ended => {
                self.set_gone(peer, Gone::Left, VecDeque::new());
                Err(LinkError::Gone { peer, why: Gone::Left })
            }
        }
    }

    fn next_readable(&mut self) -> Option<Rank> {
        self.readable.pop_front()
    }

    fn transmit(&mut self) -> Result<(), LinkError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.transmit_pending(Instant::now()).map_err(sending)
    }

    fn wait(&mut self, pause: &Pause) -> Result<(), LinkError> {
        let now = Instant::now();
        if matches!(self.peer(pause.on), Some(Peer::Stranger)) {
            self.meet(pause.on, now);
        }
        self.transmit_pending(now).map_err(sending)?;
        if self.receive_from_peer(pause.on, now).map_err(receiving)? {
            return Ok(());
        }
        if pause.wait == Wait::Poll && self.spin.tries() {
            if self.spin(pause, now).map_err(receiving)? {
                self.spin.paid();
                return Ok(());
            }
            self.spin.wasted();
        }
        self.sleep(Some(pause), pause.until).map_err(receiving)
    }

    fn serve(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        self.receive_all(now).map_err(receiving)?;
        self.run_timers(now);
        self.transmit_pending(now).map_err(sending)
    }

    fn reject(&mut self, peer: Rank, why: Gone) {
        let handle = match self.peer(peer) {
            Some(Peer::Open(handle) | Peer::Meeting(handle)) => Some(*handle),
            _ => None,
        };
        self.set_gone(peer, why, VecDeque::new());
        if let Some(handle) = handle {
            self.close(handle, connection::REJECTED);
        }
    }

    fn leave(&mut self, until: Instant) {
        let handles: Vec<ConnectionHandle> = self.handles().collect();
        for handle in &handles {
            if self.connection(*handle).is_some_and(|connection| connection.finish()) {
                self.mark_pending(*handle);
            }
        }
        while self
            .connections
            .iter()
            .flatten()
            .any(|connection| connection.is_finishing())
            && Instant::now() < until
        {
            if let Err(error) = self
                .transmit_pending(Instant::now())
                .and_then(|()| self.sleep(None, Some(until)))
            {
                tracing::warn!(rank = %self.me, %error, "leaving the other ranks was cut short");
                break;
            }
        }
        for handle in handles {
            self.close(handle, connection::LEFT);
        }
        if let Err(error) = self.transmit_pending(Instant::now()) {
            // They will find the port closed.
            tracing::debug!(rank = %self.me, %error, "the farewell was not sent");
        }
    }
}

/// Connections and what they have to say.
impl QuicLink {
    fn insert(&mut self, handle: ConnectionHandle, connection: Connection) {
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
        }
        self.connections[handle.0] = Some(Box::new(connection));
    }

    fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.connections.get_mut(handle.0)?.as_deref_mut()
    }

    fn handles(&self) -> impl Iterator<Item = ConnectionHandle> + '_ {
        self.connections
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some())
            .map(|(index, _)| ConnectionHandle(index))
    }

    fn close(&mut self, handle: ConnectionHandle, code: u32) {
        if let Some(connection) = self.connection(handle) {
            connection.close(Instant::now(), code);
            self.mark_pending(handle);
        }
    }

    fn mark_pending(&mut self, handle: ConnectionHandle) {
        if !self.pending.contains(&handle) {
            self.pending.push(handle);
        }
    }

    /// Moves events between engine and connection, then acts on those meant for us.
    fn take_news(&mut self, handle: ConnectionHandle, now: Instant) {
        loop {
            let Some(connection) = self.connections.get_mut(handle.0).and_then(Option::as_deref_mut) else {
                return;
            };
            let mut drained = false;
            while let Some(event) = connection.endpoint_event() {
                drained |= event.is_drained();
                if let Some(answer) = self.engine.handle_event(handle, event) {
                    connection.handle(answer, now);
                }
            }
            if drained {
                let slot = self.connections.get_mut(handle.0).and_then(Option::take);
                if let Some(peer) = slot.and_then(|connection| connection.peer()) {
                    self.orphaned(peer, handle);
                }
                return;
            }
            let Some(news) = connection.news(self.me) else { return };
            match news {
                News::Readable(Some(peer)) => self.mark_readable(peer),
                News::Readable(None) => {}
                News::Opened(announced) => self.opened(handle, announced),
                News::Broke(what) => self.lost(handle, Gone::Protocol { what }),
                News::Lost(why) => self.lost(handle, why),
            }
        }
    }

    /// A connection vanished without the peer's state having changed before; that would leave a waiter alone for ever.
    fn orphaned(&mut self, peer: Rank, handle: ConnectionHandle) {
        if matches!(self.peer(peer), Some(Peer::Open(met) | Peer::Meeting(met)) if *met == handle) {
            self.set_gone(peer, Gone::Left, VecDeque::new());
        }
    }

    /// Timers of the protocol, half-open connections, knocks.
    fn run_timers(&mut self, now: Instant) {
        for index in 0..self.connections.len() {
            let handle = ConnectionHandle(index);
            let Some(connection) = self.connection(handle) else {
                continue;
            };
            if connection.run_timers(now) {
                self.mark_pending(handle);
                self.take_news(handle, now);
            }
        }
        for index in 0..self.peers.len() {
            if matches!(self.peers[index], Peer::Knocking { again } if again <= now)
                && let Ok(peer) = u32::try_from(index)
            {
                self.knock(Rank(peer), now);
            }
        }
    }

    /// When [`Self::run_timers`] has something to do next.
    fn next_timer(&mut self) -> Option<Instant> {
        let timers = self
            .connections
            .iter_mut()
            .flatten()
            .filter_map(|connection| connection.next_timer());
        let knocks = self.peers.iter().filter_map(|peer| match peer {
            Peer::Knocking { again } => Some(*again),
            _ => None,
        });
        timers.chain(knocks).min()
    }
}

fn sending(source: io::Error) -> LinkError {
    LinkError::Io {
        doing: "sending to other ranks",
        source,
    }
}

fn receiving(source: io::Error) -> LinkError {
    LinkError::Io {
        doing: "receiving from other ranks",
        source,
    }
}
