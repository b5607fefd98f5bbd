//! Ways for bytes to go between two ranks: one trait, several carriers.
//!
//! A link is an ordered, reliable stream of bytes to every other rank, driven by the caller's own thread: it owns no
//! thread and does nothing between calls. That is what keeps a round trip near the cost of its system calls; waking
//! another thread costs more than the whole protocol. The price is said plainly: a rank that makes no call serves no
//! peer, so one that computes for long calls `Endpoint::progress` now and then.
//!
//! Links know nothing of tags and messages; `endpoint` puts those on top, so that every carrier behaves alike.
//! [`memory`] is for tests in one process, [`quic`] for nodes. A host is a node id, never the kernel: two ranks of
//! different nodes on one machine still use QUIC.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ids::Rank;

pub mod memory;
pub mod quic;

/// How a rank waits for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Look again and again for about 50 microseconds, then sleep. Lowest latency, costs a core while it looks.
    Poll,
    /// Sleep at once. For ranks that wait long, or share a core.
    #[default]
    Block,
}

/// One wait: on whom, since when, how, until when.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// The peer whose bytes, or whose readiness to take ours, is awaited.
    pub on: Rank,
    /// When this wait began. A peer is not blamed for silence before it.
    pub since: Instant,
    /// Spin first or sleep at once.
    pub wait: Wait,
    /// When the caller wants to look again, whatever happened.
    pub until: Option<Instant>,
}

/// Why a peer is gone for good. Ranks do not come back within one launch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It closed its endpoint in order.
    #[error("it has left")]
    Left,
    /// Its host says nobody listens there: the process has ended.
    #[error("its process has ended")]
    Refused,
    /// It did not answer.
    #[error("it has not answered for {} s", after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// Its certificate is not the one it published, or it refused ours.
    #[error("the certificates do not match the published addresses")]
    Untrusted,
    /// It broke the protocol; what, in words.
    #[error("it broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: &'static str,
    },
    /// This rank's own time limit ended a message to it halfway, so nothing more can be sent to it.
    #[error("a message to it was cut short by this rank's time limit")]
    CutShort,
    /// The connection was lost for another reason.
    #[error("the connection was lost")]
    Lost(#[source] quinn_proto::ConnectionError),
}

/// What a link cannot do.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer is gone and all its bytes have been read.
    #[error("rank {peer} is gone")]
    Gone {
        /// Who.
        peer: Rank,
        /// Why.
        #[source]
        why: Gone,
    },
    /// This machine failed.
    #[error("{doing} failed")]
    Io {
        /// What was tried, as a noun.
        doing: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// Ordered bytes to and from every other rank.
///
/// Calling order: `write` and `read` never block and may be called for any peer at any time; the first of them begins
/// the meeting. `transmit` pushes out what was written. `wait` transmits, then sleeps or spins until something may have
/// changed; after it, the caller drains `next_readable`. Never called with the link's own rank.
pub trait Link: fmt::Debug + Send {
    /// Takes what it can of `bytes`; 0 means not now.
    ///
    /// # Errors
    /// [`LinkError::Gone`] when the peer is gone.
    fn write(&mut self, peer: Rank, bytes: &[u8]) -> Result<usize, LinkError>;

    /// Up to `most` of the next bytes from this peer; `None` means nothing now.
    ///
    /// # Errors
    /// [`LinkError::Gone`] when the peer is gone and nothing of it is left.
    fn read(&mut self, peer: Rank, most: usize) -> Result<Option<Bytes>, LinkError>;

    /// A peer from whom bytes have come since the last time it was named here, or who has gone. It is named once; the
    /// caller reads until `None`.
    fn next_readable(&mut self) -> Option<Rank>;

    /// Pushes out what was written.
    ///
    /// # Errors
    /// [`LinkError::Io`] when this machine fails; a peer's fate shows at `read` and `write`.
    fn transmit(&mut self) -> Result<(), LinkError>;

    /// Transmits, then waits until something may have changed. All peers are served meanwhile.
    ///
    /// # Errors
    /// [`LinkError::Io`] when this machine fails; a peer's fate shows at `read` and `write`.
    fn wait(&mut self, pause: &Pause) -> Result<(), LinkError>;

    /// Serves all peers once, without waiting.
    ///
    /// # Errors
    /// As [`Link::wait`].
    fn serve(&mut self) -> Result<(), LinkError>;

    /// Ends the link to one peer from this side.
    fn reject(&mut self, peer: Rank, why: Gone);

    /// Delivers what was written, as far as peers take it before `until`, then leaves all of them.
    fn leave(&mut self, until: Instant);
}
