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
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use proto::ids::Rank;
use quinn_proto::{ConnectionHandle, DatagramEvent, Incoming, ServerConfig, TransportConfig};

use super::{Gone, Link, LinkError, Pause, Wait};
use crate::rank_address::{CertificateHash, RankAddress};
use crate::system::{self, Interest};

mod connection;
mod pinning;
mod preamble;
mod settings;
mod socket;
mod spin;

pub use pinning::RankIdentityError;

use connection::{Connection, News};
use pinning::RankIdentity;
use socket::{Received, Room, UdpSocket};
use spin::SpinHabit;

/// How long a peer that is waited for may be silent before it counts as gone. A rank that computes for longer while
/// others wait for it must serve them between (`Endpoint::progress`).
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// When a silent peer that is waited for is pinged, again and again.
const PING_AFTER: Duration = Duration::from_secs(2);

/// How often a higher rank repeats its knock.
const KNOCK_EVERY: Duration = Duration::from_millis(200);

/// How long a wait spins: about two wake-ups of a sleeping thread.
const SPIN: Duration = Duration::from_micros(50);

/// After how many looks at the socket a spinning rank lets others have the core.
const LOOKS_PER_YIELD: u32 = 8;

/// After how many looks the other connections and the timers get their turn.
const LOOKS_PER_ROUND: u32 = 64;

/// Datagrams taken from one socket in a row, so that one busy peer does not starve the others.
const RECEIVE_BURST: usize = 32;

/// A datagram shorter than this is not part of a bulk transfer: what it brought is looked at before the next.
const BULK_BYTES: usize = 1200;

/// Connections beyond one per rank that may be half open at a time.
const HALF_OPEN_MAX: usize = 64;

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
        address: SocketAddr,
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
    /// When the address is not this host's, or the key cannot be made.
    pub fn bind(me: Rank, address: SocketAddr) -> Result<Self, QuicLinkError> {
        let identity = RankIdentity::generate()?;
        let listening = UdpSocket::listening(address).map_err(|source| QuicLinkError::Bind { address, source })?;
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

/// Meeting and losing peers.
impl QuicLink {
    fn peer(&mut self, peer: Rank) -> Option<&mut Peer> {
        self.peers.get_mut(usize::try_from(peer.0).ok()?)
    }

    fn address(&self, peer: Rank) -> Option<&RankAddress> {
        self.book.get(usize::try_from(peer.0).ok()?)
    }

    /// Dials a higher rank, knocks at a lower one.
    fn meet(&mut self, peer: Rank, now: Instant) {
        if peer < self.me {
            self.knock(peer, now);
            return;
        }
        match self.dial(peer, now) {
            Ok(handle) => {
                self.set_peer(peer, Peer::Meeting(handle));
                self.mark_pending(handle);
            }
            Err(error) => {
                tracing::warn!(rank = %self.me, peer = %peer, %error, "dialling failed");
                self.set_gone(peer, Gone::Refused, VecDeque::new());
            }
        }
    }

    fn dial(&mut self, peer: Rank, now: Instant) -> io::Result<ConnectionHandle> {
        let address = self
            .address(peer)
            .cloned()
            .ok_or_else(|| io::Error::other("no such rank in the book"))?;
        let socket = UdpSocket::connected(SocketAddr::new(self.listening.local().ip(), 0), address.quic, false)?;
        let crypto = self.identity.dialling(address.certificate).map_err(io::Error::other)?;
        let mut config = quinn_proto::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let (handle, quic) = self
            .engine
            .connect(now, config, address.quic, pinning::SERVER_NAME)
            .map_err(io::Error::other)?;
        self.insert(handle, Connection::dialling(quic, socket, peer, now));
        Ok(handle)
    }

    fn knock(&mut self, peer: Rank, now: Instant) {
        let Some(address) = self.address(peer).map(|address| address.quic) else {
            return;
        };
        self.set_peer(
            peer,
            Peer::Knocking {
                again: now + KNOCK_EVERY,
            },
        );
        if let Err(error) = self.listening.send(address, &preamble::knock(self.me), None) {
            tracing::debug!(rank = %self.me, peer = %peer, %error, "knocking failed");
        }
    }

    /// Someone asks to be dialled.
    fn answer_knock(&mut self, from: Rank, now: Instant) {
        if from > self.me && matches!(self.peer(from), Some(Peer::Stranger)) {
            self.meet(from, now);
        }
    }

    fn answer(&mut self, incoming: Incoming, now: Instant) {
        let (remote, mut bytes) = (incoming.remote_address(), std::mem::take(&mut self.outgoing));
        bytes.clear();
        let refusal = if self.handles().count() >= self.book.len() + HALF_OPEN_MAX {
            Some(self.engine.refuse(incoming, &mut bytes))
        } else {
            match self.engine.accept(incoming, now, &mut bytes, None) {
                Ok((handle, quic)) => {
                    // Without a socket of its own the connection still works, over the shared one.
                    let twin = UdpSocket::connected(self.listening.local(), remote, true)
                        .inspect_err(|error| tracing::debug!(rank = %self.me, %error, "no twin socket"))
                        .ok();
                    self.insert(handle, Connection::answering(quic, twin, now));
                    self.mark_pending(handle);
                    self.take_news(handle, now);
                    None
                }
                Err(refusal) => refusal.response,
            }
        };
        if let Some(response) = refusal {
            self.respond(response.destination, &bytes[..response.size]);
        }
        self.outgoing = bytes;
    }

    /// Sends what belongs to no connection. Its loss is repaired by the other side asking again.
    fn respond(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.listening.send(to, bytes, None) {
            tracing::debug!(rank = %self.me, %error, "an answer to a stranger was not sent");
        }
    }

    /// The handshake and the preamble are done. The rank comes from the certificate.
    fn opened(&mut self, handle: ConnectionHandle, announced: Option<Rank>) {
        let Some(connection) = self.connections.get(handle.0).and_then(Option::as_deref) else {
            return;
        };
        let dialled = connection.peer();
        let proven = pinning::peer_rank(connection.quic().crypto_session(), &self.certificates);
        let (me, expected) = (self.me, dialled.or(announced));
        match (proven, expected) {
            (Some(peer), Some(expected)) if peer == expected && (dialled.is_some() || peer < me) => {
                let welcome = match self.peer(peer) {
                    Some(Peer::Meeting(met)) => *met == handle,
                    Some(Peer::Stranger | Peer::Knocking { .. }) => true,
                    _ => false,
                };
                if !welcome {
                    return self.close(handle, connection::REJECTED);
                }
                if let Some(connection) = self.connection(handle) {
                    connection.set_peer(peer);
                }
                self.set_peer(peer, Peer::Open(handle));
                self.mark_readable(peer);
            }
            _ => self.close(handle, connection::REJECTED),
        }
    }

    fn lost(&mut self, handle: ConnectionHandle, why: Gone) {
        let Some(connection) = self.connection(handle) else {
            return;
        };
        let (peer, rest) = (connection.peer(), connection.rest());
        if let Some(peer) = peer {
            let current = matches!(self.peer(peer), Some(Peer::Open(met) | Peer::Meeting(met)) if *met == handle);
            if current {
                tracing::debug!(rank = %self.me, peer = %peer, %why, "peer is gone");
                self.set_gone(peer, why, rest);
            }
        }
        self.close(handle, connection::REJECTED);
    }

    fn set_gone(&mut self, peer: Rank, why: Gone, rest: VecDeque<Bytes>) {
        self.set_peer(peer, Peer::Gone { why, rest });
        self.mark_readable(peer);
    }

    fn set_peer(&mut self, peer: Rank, state: Peer) {
        if let Some(place) = self.peer(peer) {
            *place = state;
        }
    }

    fn mark_readable(&mut self, peer: Rank) {
        if !self.readable.contains(&peer) {
            self.readable.push_back(peer);
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

    /// Looks after the peer that is waited for: pings it, and gives it up after long silence. Returns when to look again.
    fn watch(&mut self, pause: &Pause, now: Instant) -> Option<Instant> {
        let handle = match self.peer(pause.on)? {
            Peer::Open(handle) | Peer::Meeting(handle) => Some(*handle),
            Peer::Knocking { .. } | Peer::Stranger => None,
            Peer::Gone { .. } => return Some(now),
        };
        let heard = handle
            .and_then(|handle| self.connection(handle))
            .map(|connection| connection.heard());
        let quiet_since = heard.map_or(pause.since, |heard| heard.max(pause.since));
        let given_up = quiet_since + SILENCE_MAX;
        if now >= given_up {
            let why = Gone::Silent { after: SILENCE_MAX };
            match handle {
                Some(handle) => self.lost(handle, why),
                None => self.set_gone(pause.on, why, VecDeque::new()),
            }
            return Some(now);
        }
        let Some(handle) = handle else { return Some(given_up) };
        let connection = self.connection(handle)?;
        let ping_at = connection.ping_at(quiet_since, PING_AFTER);
        if now < ping_at {
            return Some(ping_at.min(given_up));
        }
        connection.ping(now);
        self.mark_pending(handle);
        Some(given_up.min(now + PING_AFTER))
    }
}

/// Sockets: receiving, sending, spinning, sleeping.
impl QuicLink {
    fn transmit_pending(&mut self, now: Instant) -> io::Result<()> {
        let mut position = 0;
        while position < self.pending.len() {
            let handle = self.pending[position];
            let sent = match self.connections.get_mut(handle.0).and_then(Option::as_deref_mut) {
                Some(connection) => connection.transmit(now, &mut self.listening, &mut self.outgoing)?,
                None => connection::Transmitted::All,
            };
            match sent {
                connection::Transmitted::All => {
                    self.pending.swap_remove(position);
                }
                connection::Transmitted::NotAll => position += 1,
                connection::Transmitted::Refused => {
                    self.lost(handle, Gone::Refused);
                    self.pending.retain(|pending| *pending != handle);
                }
            }
        }
        Ok(())
    }

    /// Looks where news of this peer would arrive.
    fn receive_from_peer(&mut self, peer: Rank, now: Instant) -> io::Result<bool> {
        match self.peer(peer) {
            Some(Peer::Open(handle)) => {
                let handle = *handle;
                self.receive_on(Lane::Connection(handle), now)
            }
            Some(Peer::Gone { .. }) => Ok(true),
            _ => self.receive_all(now),
        }
    }

    fn receive_all(&mut self, now: Instant) -> io::Result<bool> {
        let mut any = self.receive_on(Lane::Listening, now)?;
        for index in 0..self.connections.len() {
            any |= self.receive_on(Lane::Connection(ConnectionHandle(index)), now)?;
        }
        Ok(any)
    }

    /// Takes what waits in one socket, to the end of a bulk transfer's burst or the first short datagram.
    fn receive_on(&mut self, lane: Lane, now: Instant) -> io::Result<bool> {
        let mut any = false;
        for _ in 0..RECEIVE_BURST {
            let socket = match lane {
                Lane::Listening => &self.listening,
                Lane::Connection(handle) => {
                    let slot = self.connections.get(handle.0).and_then(Option::as_deref);
                    match slot.map(Connection::socket) {
                        Some(Some(socket)) => socket,
                        Some(None) => &self.listening,
                        None => return Ok(any),
                    }
                }
            };
            match socket.receive(&mut self.room)? {
                Received::Nothing => return Ok(any),
                Received::Datagram(datagram, sender) => {
                    let length = datagram.len();
                    self.handle_datagram(datagram, sender, now);
                    any = true;
                    if length < BULK_BYTES {
                        return Ok(true);
                    }
                }
                Received::Refused => {
                    if let Lane::Connection(handle) = lane {
                        self.lost(handle, Gone::Refused);
                    }
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    fn handle_datagram(&mut self, datagram: BytesMut, sender: SocketAddr, now: Instant) {
        if let Some(from) = preamble::knocking(&datagram) {
            return self.answer_knock(from, now);
        }
        let mut bytes = std::mem::take(&mut self.outgoing);
        bytes.clear();
        let event = self.engine.handle(now, sender, None, None, datagram, &mut bytes);
        if let Some(DatagramEvent::Response(response)) = &event {
            self.respond(response.destination, &bytes[..response.size]);
        }
        self.outgoing = bytes;
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connection(handle) {
                    connection.handle(event, now);
                    self.mark_pending(handle);
                    self.take_news(handle, now);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.answer(incoming, now),
            None | Some(DatagramEvent::Response(_)) => {}
        }
    }

    /// Looks again and again for [`SPIN`]. True when something came.
    fn spin(&mut self, pause: &Pause, began: Instant) -> io::Result<bool> {
        let end = began + SPIN;
        loop {
            self.looks = self.looks.wrapping_add(1);
            if self.looks % LOOKS_PER_YIELD == 0 {
                std::thread::yield_now();
            }
            let now = Instant::now();
            if self.looks % LOOKS_PER_ROUND == 0 {
                self.run_timers(now);
                if self.receive_all(now)? {
                    return Ok(true);
                }
                self.transmit_pending(now)?;
            }
            if self.receive_from_peer(pause.on, now)? {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
        }
    }

    /// Sleeps until a datagram, a timer or `until`; serves whatever woke it.
    fn sleep(&mut self, pause: Option<&Pause>, until: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        self.run_timers(now);
        let look_again = pause.and_then(|pause| self.watch(pause, now));
        self.transmit_pending(now)?;
        let wake = [self.next_timer(), look_again, until].into_iter().flatten().min();

        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.clear();
        lanes.push((
            Lane::Listening,
            Interest::new(self.listening.descriptor(), self.listening_is_full()),
        ));
        for handle in self.handles() {
            if let Some(connection) = self.connections[handle.0].as_deref()
                && let Some(socket) = connection.socket()
            {
                lanes.push((
                    Lane::Connection(handle),
                    Interest::new(socket.descriptor(), connection.is_full()),
                ));
            }
        }
        // Bursts that are cut short and sockets that were full differ: only the latter can be slept on.
        let busy = self.pending.iter().any(|handle| {
            self.connections
                .get(handle.0)
                .and_then(Option::as_deref)
                .is_some_and(|connection| !connection.is_full())
        });
        if !busy {
            let mut interests: Vec<Interest> = lanes.iter().map(|(_, interest)| *interest).collect();
            system::sleep_on(&mut interests, wake.map(|wake| wake.saturating_duration_since(now)))?;
            for ((_, slot), interest) in lanes.iter_mut().zip(interests) {
                *slot = interest;
            }
        }
        let now = Instant::now();
        for (lane, interest) in &lanes {
            if interest.happened() {
                self.receive_on(*lane, now)?;
            }
        }
        self.lanes = lanes;
        self.run_timers(now);
        Ok(())
    }

    fn listening_is_full(&self) -> bool {
        self.connections
            .iter()
            .flatten()
            .any(|connection| connection.socket().is_none() && connection.is_full())
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
