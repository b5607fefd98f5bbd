//! A rank's face to the others: tagged messages to and from every rank of a launch.
//!
//! Calling order: [`Endpoint::bind`] makes key and socket and tells the [`RankAddress`] to publish (through PMI, say);
//! [`BoundEndpoint::connect_book`] takes everyone's addresses, in order of ranks; then `send`, `recv`, `recv_into` and
//! `barrier` as wanted; at the end [`Endpoint::leave`], which delivers what was sent.
//!
//! Everything runs on the caller's thread and only within calls. While a call waits for one rank it serves all others:
//! it answers their protocol and stores their messages, within bounds. A rank that computes for seconds calls
//! [`Endpoint::progress`] between, or those who wait for it take it for gone
//! ([`SILENCE_MAX`](crate::link::quic::SILENCE_MAX)).
//!
//! `send` returns when the message was handed to the link, which is before it was received. Only when the receiver has
//! stored as much as it may does `send` wait for a receive. A peer that is gone is an error and never a hang; a peer that
//! lives and keeps silent is waited for as long as [`Endpoint::set_limit`] allows, which is for ever at first.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use proto::ids::Rank;

use crate::link::quic::{QuicLinkError, UnmetQuicLink};
use crate::link::{Gone, Link, LinkError, Pause, Wait};
use crate::matching::{Arrival, Completion, Matching, Posted, Ticket};
use crate::message::{HEADER_BYTES, Header, MESSAGE_MAX_BYTES, Tag};
use crate::port_range::PortRange;
use crate::rank_address::RankAddress;

#[cfg(test)]
mod tests;

/// What one rank may store of messages nobody has asked for, per source; a single message may be larger.
const UNEXPECTED_MAX_BYTES: u64 = MESSAGE_MAX_BYTES;

/// Up to this size header and bytes are put together first, which is one write instead of two.
const JOIN_MAX_BYTES: usize = 2048;

/// What is taken from a link at a time.
const READ_BYTES: usize = 256 * 1024;

/// How much is written before it is pushed out, so that sending and receiving of a large message overlap.
const TRANSMIT_EVERY_BYTES: usize = 128 * 1024;

/// Memory set aside at once for a message that arrives; more is taken as its bytes come.
const FIRST_ROOM_BYTES: usize = 1024 * 1024;

/// What a rank's endpoint cannot do.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The peer is gone. What it sent before can still be received.
    #[error("rank {rank} is gone")]
    PeerGone {
        /// Who.
        rank: Rank,
        /// Why.
        #[source]
        why: Gone,
    },
    /// The message is beyond the bound.
    #[error("a message of {length} bytes to rank {to}: {MESSAGE_MAX_BYTES} are the most, send it in parts")]
    TooLarge {
        /// To whom.
        to: Rank,
        /// Its size in bytes.
        length: usize,
    },
    /// The caller's buffer is smaller than the message. The message stays and can be received again.
    #[error("a message of {length} bytes from rank {from} does not fit a buffer of {room}")]
    BufferTooSmall {
        /// From whom.
        from: Rank,
        /// Size of the message in bytes.
        length: usize,
        /// Size of the buffer in bytes.
        room: usize,
    },
    /// The limit set by [`Endpoint::set_limit`] is over.
    #[error("waiting for rank {rank} took longer than {} ms", limit.as_millis())]
    TimedOut {
        /// Who was waited for.
        rank: Rank,
        /// The limit.
        limit: Duration,
    },
    /// There is no such rank.
    #[error("rank {rank} of {size}: ranks are 0 to {}", size.saturating_sub(1))]
    NoSuchRank {
        /// The rank asked for.
        rank: Rank,
        /// How many there are.
        size: u32,
    },
    /// A receive from the rank itself of something it did not send; it would wait for ever.
    #[error("rank {rank} waits for a message of tag {tag} from itself and has sent none")]
    NothingFromSelf {
        /// The rank.
        rank: Rank,
        /// The tag.
        tag: Tag,
    },
    /// The message waited for lies behind others of the same source that nobody asked for, and their memory is full.
    #[error("rank {from} has sent {kept_bytes} bytes that nobody received; the message of tag {tag} lies behind them")]
    UnexpectedFull {
        /// The source.
        from: Rank,
        /// The tag waited for.
        tag: Tag,
        /// What is stored.
        kept_bytes: u64,
    },
    /// This machine failed.
    #[error(transparent)]
    Link(LinkError),
}

/// An endpoint that does not know the others yet.
#[derive(Debug)]
pub struct BoundEndpoint {
    rank: Rank,
    link: UnmetQuicLink,
}

/// One rank's endpoint. See the module's text for the calling order.
#[derive(Debug)]
pub struct Endpoint {
    rank: Rank,
    size: u32,
    link: Box<dyn Link>,
    matching: Matching,
    sources: Vec<Source>,
    /// Sources that may have bytes nobody has looked at.
    unread: Vec<Rank>,
    wait: Wait,
    limit: Option<Duration>,
    joined: Vec<u8>,
}

/// What is under way from one rank.
#[derive(Debug, Default)]
struct Source {
    /// Taken from the link and not looked at.
    held: Bytes,
    arriving: Arriving,
    gone: Option<Gone>,
}

#[derive(Debug)]
enum Arriving {
    Header {
        bytes: [u8; HEADER_BYTES],
        filled: usize,
    },
    /// There is no room for it.
    Stalled(Header),
    Body {
        header: Header,
        place: Place,
    },
}

/// Where the bytes of a message go while they come.
#[derive(Debug)]
enum Place {
    /// Into the caller's buffer.
    Buffer { ticket: Ticket, filled: usize },
    /// Into memory, for this receive or for a later one.
    Memory { ticket: Option<Ticket>, bytes: Vec<u8> },
}

/// A receive under way.
#[derive(Debug)]
struct Receiving<'a> {
    ticket: Ticket,
    room: Room<'a>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Room<'a> {
    /// The caller's.
    Buffer(&'a mut [u8]),
    /// To be made.
    Fresh,
}

#[derive(Debug)]
enum Outcome {
    /// So many bytes lie in the caller's buffer.
    Filled(usize),
    Message(Vec<u8>),
    TooSmall {
        length: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    /// All that has come was looked at.
    Dry,
    /// The receive under way is done; there may be more.
    Done,
    /// Memory is full.
    Stalled,
}

impl Endpoint {
    /// Makes this rank's key and socket on a local address, with a port of the system's choice, and says what to
    /// publish.
    ///
    /// # Errors
    /// When the address is not this host's, the range of ports of this task is malformed or exhausted, or the key cannot be
    /// made.
    pub fn bind(rank: Rank, address: IpAddr) -> Result<(BoundEndpoint, RankAddress), QuicLinkError> {
        let ports = PortRange::of_task().map_err(|source| QuicLinkError::Bind { address, source })?;
        let link = UnmetQuicLink::bind(rank, address, ports)?;
        let address = link.address().clone();
        Ok((BoundEndpoint { rank, link }, address))
    }

    /// An endpoint over any link; for tests, and for carriers to come.
    #[must_use]
    pub fn over(rank: Rank, size: u32, link: Box<dyn Link>) -> Self {
        Self {
            rank,
            size,
            link,
            matching: Matching::new(UNEXPECTED_MAX_BYTES),
            sources: (0..size).map(|_| Source::default()).collect(),
            unread: Vec::new(),
            wait: Wait::default(),
            limit: None,
            joined: Vec::new(),
        }
    }

    /// This rank.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// How many ranks there are.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How calls wait from now on; [`Wait::Block`] at first.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// How long any one call may wait from now on, even for a peer that lives; no limit at first.
    pub fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Sends a message. Returns when the link has taken all of it.
    ///
    /// # Errors
    /// [`EndpointError::TooLarge`], [`EndpointError::NoSuchRank`], [`EndpointError::PeerGone`],
    /// [`EndpointError::TimedOut`]. When a message was cut short, the peer is given up ([`Gone::CutShort`]).
    pub fn send(&mut self, to: Rank, tag: Tag, bytes: &[u8]) -> Result<(), EndpointError> {
        self.check_rank(to)?;
        let length = bytes.len() as u64;
        if length > MESSAGE_MAX_BYTES {
            return Err(EndpointError::TooLarge {
                to,
                length: bytes.len(),
            });
        }
        if to == self.rank {
            return self.send_to_self(tag, bytes);
        }
        let header = Header { tag, length }.encode();
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend_from_slice(&header);
        let rest = if bytes.len() <= JOIN_MAX_BYTES {
            joined.extend_from_slice(bytes);
            &[]
        } else {
            bytes
        };
        let mut written = 0;
        let outcome = self
            .write_all(to, &joined, &mut written)
            .and_then(|()| self.write_all(to, rest, &mut written));
        self.joined = joined;
        if outcome.is_err() && written > 0 {
            // The stream ends in half a message; another one behind it would be read as its rest.
            self.link.reject(to, Gone::CutShort);
        }
        outcome?;
        self.link.transmit().map_err(EndpointError::Link)
    }

    /// Receives the next message of this rank and tag.
    ///
    /// # Errors
    /// [`EndpointError::PeerGone`], [`EndpointError::TimedOut`], [`EndpointError::NoSuchRank`],
    /// [`EndpointError::NothingFromSelf`], [`EndpointError::UnexpectedFull`].
    pub fn recv(&mut self, from: Rank, tag: Tag) -> Result<Vec<u8>, EndpointError> {
        match self.receive(from, tag, Room::Fresh)? {
            Outcome::Message(bytes) => Ok(bytes),
            // A fresh room is never filled in place and never too small.
            Outcome::Filled(_) | Outcome::TooSmall { .. } => Ok(Vec::new()),
        }
    }

    /// Receives the next message of this rank and tag into `buffer`, without allocating when it was waited for; returns
    /// its length.
    ///
    /// # Errors
    /// As [`Self::recv`], and [`EndpointError::BufferTooSmall`], after which the message is still there.
    pub fn recv_into(&mut self, from: Rank, tag: Tag, buffer: &mut [u8]) -> Result<usize, EndpointError> {
        let room = buffer.len();
        match self.receive(from, tag, Room::Buffer(buffer))? {
            Outcome::Filled(length) => Ok(length),
            Outcome::TooSmall { length } => Err(EndpointError::BufferTooSmall { from, length, room }),
            // Messages for a buffer are copied where they become known.
            Outcome::Message(bytes) => Ok(bytes.len()),
        }
    }

    /// Returns when every rank has called it. Ranks signal each other in rounds over doubling distances, so the time
    /// grows with the logarithm of their number.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::recv`].
    pub fn barrier(&mut self) -> Result<(), EndpointError> {
        let (me, size) = (u64::from(self.rank.0), u64::from(self.size));
        let partner = |offset: u64| u32::try_from((me + offset) % size).map(Rank).unwrap_or(self.rank);
        let rounds = (0u32..).take_while(|round| 1u64 << round < size);
        let rounds: Vec<(u32, Rank, Rank)> = rounds
            .map(|round| (round, partner(1 << round), partner(size - (1u64 << round))))
            .collect();
        for (round, to, from) in rounds {
            self.send(to, Tag::barrier(round), &[])?;
            self.recv_into(from, Tag::barrier(round), &mut [])?;
        }
        Ok(())
    }

    /// Serves the other ranks once, without waiting. For programs that compute for long between calls.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn progress(&mut self) -> Result<(), EndpointError> {
        self.link.serve().map_err(EndpointError::Link)?;
        self.look(None);
        self.link.transmit().map_err(EndpointError::Link)
    }

    /// Waits until what was sent has been taken by the others' endpoints, at most `patience`, then leaves them.
    pub fn leave(mut self, patience: Duration) {
        self.link.leave(Instant::now() + patience);
    }

    fn check_rank(&self, rank: Rank) -> Result<(), EndpointError> {
        if rank.0 < self.size {
            Ok(())
        } else {
            Err(EndpointError::NoSuchRank { rank, size: self.size })
        }
    }

    fn send_to_self(&mut self, tag: Tag, bytes: &[u8]) -> Result<(), EndpointError> {
        let me = self.rank;
        if self.matching.arrive(me, tag, bytes.len() as u64) == Arrival::Full {
            return Err(EndpointError::UnexpectedFull {
                from: me,
                tag,
                kept_bytes: self.matching.kept_bytes(me),
            });
        }
        // No receive can be posted while this rank is in another call.
        self.matching.complete(me, tag, bytes.to_vec());
        Ok(())
    }

    /// Writes all of `bytes`, serving everyone while the link takes nothing. Counts into `written`.
    fn write_all(&mut self, to: Rank, bytes: &[u8], written: &mut usize) -> Result<(), EndpointError> {
        let mut rest = bytes;
        let mut untransmitted = 0;
        let mut since = None;
        while !rest.is_empty() {
            let taken = self.link.write(to, rest).map_err(failed)?;
            rest = &rest[taken..];
            *written += taken;
            untransmitted += taken;
            if taken == 0 {
                self.look(None);
                self.pause(to, &mut since)?;
                self.look(None);
            } else if untransmitted >= TRANSMIT_EVERY_BYTES {
                untransmitted = 0;
                self.link.transmit().map_err(EndpointError::Link)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, from: Rank, tag: Tag, mut room: Room<'_>) -> Result<Outcome, EndpointError> {
        self.check_rank(from)?;
        let capacity = match &room {
            Room::Buffer(buffer) => buffer.len() as u64,
            Room::Fresh => u64::MAX,
        };
        let ticket = match self.matching.post(from, tag, capacity) {
            Posted::Ready(bytes) => return Ok(hand_over(bytes, &mut room)),
            Posted::TooLarge { length } => return Ok(Outcome::TooSmall { length }),
            Posted::Waiting(ticket) => ticket,
        };
        let mut receiving = Receiving {
            ticket,
            room,
            outcome: None,
        };
        let outcome = self.await_outcome(from, tag, &mut receiving);
        if outcome.is_err() {
            self.matching.withdraw(from, tag, ticket);
            self.abandon(from, &receiving);
        }
        outcome
    }

    fn await_outcome(&mut self, from: Rank, tag: Tag, receiving: &mut Receiving<'_>) -> Result<Outcome, EndpointError> {
        if from == self.rank {
            return Err(EndpointError::NothingFromSelf { rank: from, tag });
        }
        let mut since = None;
        loop {
            self.look(Some(receiving));
            if let Some(outcome) = receiving.outcome.take() {
                return Ok(outcome);
            }
            if let Some(source) = self.source(from) {
                if let Arriving::Stalled(_) = source.arriving {
                    let kept_bytes = self.matching.kept_bytes(from);
                    return Err(EndpointError::UnexpectedFull { from, tag, kept_bytes });
                }
                if let Some(why) = &source.gone {
                    return Err(EndpointError::PeerGone {
                        rank: from,
                        why: why.clone(),
                    });
                }
            }
            self.pause(from, &mut since)?;
        }
    }

    /// Waits once for news of a peer. `since` is when this call began to wait.
    fn pause(&mut self, on: Rank, since: &mut Option<Instant>) -> Result<(), EndpointError> {
        let (began, again) = match *since {
            Some(began) => (began, true),
            None => (Instant::now(), false),
        };
        *since = Some(began);
        let until = self.limit.map(|limit| began + limit);
        // The clock is looked at only when there is a limit, and not before the first wait.
        if again
            && let (Some(until), Some(limit)) = (until, self.limit)
            && Instant::now() >= until
        {
            return Err(EndpointError::TimedOut { rank: on, limit });
        }
        self.link
            .wait(&Pause {
                on,
                since: began,
                wait: self.wait,
                until,
            })
            .map_err(failed)
    }

    fn source(&mut self, rank: Rank) -> Option<&mut Source> {
        self.sources.get_mut(usize::try_from(rank.0).ok()?)
    }

    /// Looks at everything that has come, until the receive under way is done.
    fn look(&mut self, mut receiving: Option<&mut Receiving<'_>>) {
        while let Some(rank) = self.link.next_readable() {
            if !self.unread.contains(&rank) {
                self.unread.push(rank);
            }
        }
        let mut position = 0;
        while let Some(rank) = self.unread.get(position).copied() {
            match self.feed(rank, receiving.as_deref_mut()) {
                Fed::Dry => {
                    self.unread.swap_remove(position);
                }
                Fed::Stalled => position += 1,
                Fed::Done => return,
            }
        }
    }

    /// Looks at what has come from one source.
    fn feed(&mut self, rank: Rank, mut receiving: Option<&mut Receiving<'_>>) -> Fed {
        let Some(index) = usize::try_from(rank.0).ok().filter(|index| *index < self.sources.len()) else {
            return Fed::Dry;
        };
        loop {
            if self.sources[index].held.is_empty() && !self.sources[index].waits_for_room() {
                match self.link.read(rank, READ_BYTES) {
                    Ok(Some(bytes)) => self.sources[index].held = bytes,
                    Ok(None) => return Fed::Dry,
                    Err(error) => {
                        self.sources[index].gone = Some(match error {
                            LinkError::Gone { why, .. } => why,
                            LinkError::Io { .. } => Gone::Refused,
                        });
                        return Fed::Dry;
                    }
                }
            }
            match self.sources[index].take_in(rank, &mut self.matching, receiving.as_deref_mut()) {
                Ok(Step::Stalled) => return Fed::Stalled,
                Ok(Step::Onward) => {}
                Err(what) => {
                    let why = Gone::Protocol { what };
                    self.link.reject(rank, why.clone());
                    let source = &mut self.sources[index];
                    source.held.clear();
                    source.gone = Some(why);
                    return Fed::Dry;
                }
            }
            if receiving.as_ref().is_some_and(|receiving| receiving.outcome.is_some()) {
                return Fed::Done;
            }
        }
    }

    /// A receive was given up while its message was arriving: what has come is kept for a later one.
    fn abandon(&mut self, from: Rank, receiving: &Receiving<'_>) {
        let Some(source) = usize::try_from(from.0)
            .ok()
            .and_then(|index| self.sources.get_mut(index))
        else {
            return;
        };
        let Arriving::Body { header, place } = &mut source.arriving else {
            return;
        };
        match place {
            Place::Buffer { ticket, filled } if *ticket == receiving.ticket => {
                let bytes = match &receiving.room {
                    Room::Buffer(buffer) => buffer[..*filled].to_vec(),
                    Room::Fresh => Vec::new(),
                };
                *place = Place::Memory { ticket: None, bytes };
            }
            Place::Memory { ticket, .. } if *ticket == Some(receiving.ticket) => *ticket = None,
            Place::Buffer { .. } | Place::Memory { .. } => return,
        }
        self.matching.reserve(from, header.length);
    }
}

impl BoundEndpoint {
    /// The endpoint, once everyone's address is known. The book is in order of ranks and holds this rank's own.
    ///
    /// # Errors
    /// When this rank's place in the book holds another address.
    pub fn connect_book(self, book: Vec<RankAddress>) -> Result<Endpoint, QuicLinkError> {
        let size = u32::try_from(book.len()).unwrap_or(u32::MAX);
        Ok(Endpoint::over(self.rank, size, Box::new(self.link.connect(book)?)))
    }
}

impl Default for Arriving {
    fn default() -> Self {
        Self::Header {
            bytes: [0; HEADER_BYTES],
            filled: 0,
        }
    }
}

enum Step {
    Onward,
    Stalled,
}

impl Source {
    fn waits_for_room(&self) -> bool {
        matches!(self.arriving, Arriving::Stalled(_))
    }

    /// Takes one step with the bytes held. An error is what the peer did wrong.
    fn take_in(
        &mut self,
        rank: Rank,
        matching: &mut Matching,
        mut receiving: Option<&mut Receiving<'_>>,
    ) -> Result<Step, &'static str> {
        match &mut self.arriving {
            Arriving::Header { bytes, filled } => {
                let taken = self.held.len().min(HEADER_BYTES - *filled);
                self.held.copy_to_slice(&mut bytes[*filled..*filled + taken]);
                *filled += taken;
                if *filled == HEADER_BYTES {
                    let header = Header::decode(*bytes).map_err(|_| "it announced a message beyond the bound")?;
                    self.arriving = Arriving::Stalled(header);
                    return Ok(self.begin(header, rank, matching, receiving));
                }
            }
            Arriving::Stalled(header) => {
                let header = *header;
                return Ok(self.begin(header, rank, matching, receiving));
            }
            Arriving::Body { header, place } => {
                let header = *header;
                if place.take_in(header, &mut self.held, receiving.as_deref_mut()) == header.length {
                    let Arriving::Body { place, .. } = std::mem::take(&mut self.arriving) else {
                        return Ok(Step::Onward);
                    };
                    place.complete(header, rank, matching, receiving);
                }
            }
        }
        Ok(Step::Onward)
    }

    /// A header is known: where do the bytes go?
    fn begin(
        &mut self,
        header: Header,
        rank: Rank,
        matching: &mut Matching,
        mut receiving: Option<&mut Receiving<'_>>,
    ) -> Step {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let memory = |ticket| Place::Memory {
            ticket,
            bytes: Vec::with_capacity(length.min(FIRST_ROOM_BYTES)),
        };
        let place = match matching.arrive(rank, header.tag, header.length) {
            Arrival::Full => {
                self.arriving = Arriving::Stalled(header);
                return Step::Stalled;
            }
            Arrival::Kept => memory(None),
            Arrival::KeptTooLarge(_) => {
                if let Some(receiving) = receiving.as_deref_mut() {
                    receiving.outcome = Some(Outcome::TooSmall { length });
                }
                memory(None)
            }
            Arrival::Posted(ticket) => match receiving.as_deref().map(|receiving| &receiving.room) {
                Some(Room::Buffer(_)) => Place::Buffer { ticket, filled: 0 },
                _ => memory(Some(ticket)),
            },
        };
        // A message without bytes is whole already.
        if header.length == 0 {
            self.arriving = Arriving::default();
            place.complete(header, rank, matching, receiving);
        } else {
            self.arriving = Arriving::Body { header, place };
        }
        Step::Onward
    }
}

impl Place {
    /// Takes bytes of the message; returns how many there are now.
    fn take_in(&mut self, header: Header, held: &mut Bytes, receiving: Option<&mut Receiving<'_>>) -> u64 {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let filled = match self {
            Self::Buffer { filled, .. } => {
                let part = held.split_to(held.len().min(length - *filled));
                if let Some(Receiving {
                    room: Room::Buffer(buffer),
                    ..
                }) = receiving
                {
                    buffer[*filled..*filled + part.len()].copy_from_slice(&part);
                }
                *filled += part.len();
                *filled
            }
            Self::Memory { bytes, .. } => {
                bytes.extend_from_slice(&held.split_to(held.len().min(length - bytes.len())));
                bytes.len()
            }
        };
        filled as u64
    }

    /// The message is whole.
    fn complete(self, header: Header, rank: Rank, matching: &mut Matching, receiving: Option<&mut Receiving<'_>>) {
        let outcome = match self {
            Self::Buffer { filled, .. } => Some(Outcome::Filled(filled)),
            Self::Memory { ticket: Some(_), bytes } => Some(Outcome::Message(bytes)),
            Self::Memory { ticket: None, bytes } => {
                let length = bytes.len();
                match (matching.complete(rank, header.tag, bytes), receiving) {
                    (Completion::Posted(_, bytes), Some(receiving)) => {
                        receiving.outcome = Some(hand_over(bytes, &mut receiving.room));
                    }
                    (Completion::TooLarge(_), Some(receiving)) => {
                        receiving.outcome = Some(Outcome::TooSmall { length });
                    }
                    (Completion::Kept | Completion::Posted(..) | Completion::TooLarge(_), _) => {}
                }
                return;
            }
        };
        if let Some(receiving) = receiving {
            receiving.outcome = outcome;
        }
    }
}

/// Gives a whole message to its receive, whose room is large enough.
fn hand_over(bytes: Vec<u8>, room: &mut Room<'_>) -> Outcome {
    match room {
        Room::Buffer(buffer) => {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Outcome::Filled(bytes.len())
        }
        Room::Fresh => Outcome::Message(bytes),
    }
}

fn failed(error: LinkError) -> EndpointError {
    match error {
        LinkError::Gone { peer, why } => EndpointError::PeerGone { rank: peer, why },
        LinkError::Io { .. } => EndpointError::Link(error),
    }
}
