//! A QUIC connection whose peer has proved who it is, and the streams on it.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::ids::KeyHash;
use quinn::{RecvStream, SendStream, VarInt};

use super::failure::{ConnectionFailure, Peer};
use super::frames::{FrameReader, FrameWriter};
use crate::identity::{Fingerprint, Subject, SubjectError, Validity, key_of, peer_chain, subject_of, validity_of};

/// The receiving half of a stream of a [`Connection`].
pub type StreamReader = FrameReader<RecvStream>;

/// The sending half of a stream of a [`Connection`].
pub type StreamWriter = FrameWriter<SendStream>;

/// Why a side ends a connection. Sent as a number; a peer may send others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// All is said.
    Done,
    /// The peer may not do what it asked for; the reason is for the person behind it.
    Refused,
    /// The peer broke the protocol.
    Protocol,
    /// This program ends; try again later.
    Stopping,
    /// The same peer has a newer connection.
    Superseded,
}

impl CloseCode {
    /// As it travels.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Protocol => 2,
            Self::Stopping => 3,
            Self::Superseded => 4,
        }
    }
}

/// The longest reason that is sent with a close, in bytes; it has to fit into one packet.
const MAX_REASON_BYTES: usize = 500;

/// A connection. Clones share it; it ends when it is closed, lost, or the last clone and stream are dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    quic: quinn::Connection,
    facts: Arc<Facts>,
}

#[derive(Debug)]
struct Facts {
    subject: Option<Subject>,
    validity: Option<Validity>,
    key: Option<KeyHash>,
    expired: bool,
    authority: Option<Fingerprint>,
}

impl Connection {
    /// Reads what the peer proved. A peer with a good certificate that names nobody we know is refused.
    pub(super) fn new(quic: quinn::Connection, authority: Option<Fingerprint>) -> Result<Self, SubjectError> {
        let chain = peer_chain(&quic).unwrap_or_default();
        let subject = match chain.first().map(subject_of).transpose() {
            Ok(subject) => subject,
            Err(error) => {
                let reason = format!("your certificate is refused: {error}");
                quic.close(VarInt::from_u32(CloseCode::Refused.number()), reason.as_bytes());
                return Err(error);
            }
        };
        let validity = chain.first().and_then(validity_of);
        let facts = Facts {
            subject,
            validity,
            key: chain.first().and_then(key_of),
            expired: validity.is_some_and(|validity| validity.not_after < crate::wall::now()),
            authority,
        };
        Ok(Self {
            quic,
            facts: Arc::new(facts),
        })
    }

    /// Whom the peer proved to be; none when it showed no certificate, which only a server with
    /// [`ClientCertificate::Optional`](crate::identity::ClientCertificate) lets it do.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.facts.subject.as_ref()
    }

    /// From when to when the peer's certificate is good. TLS looks at it once; a connection may outlive it.
    #[must_use]
    pub fn peer_validity(&self) -> Option<Validity> {
        self.facts.validity
    }

    /// The key that the peer proved to hold; none when it showed no certificate.
    #[must_use]
    pub fn peer_key(&self) -> Option<KeyHash> {
        self.facts.key
    }

    /// Whether the peer's certificate had expired when it connected. Only a server with
    /// [`ClientCertificate::Renewable`](crate::identity::ClientCertificate) lets such a peer in, only when it is a node, and
    /// must then let it do nothing but renew.
    #[must_use]
    pub fn peer_expired(&self) -> bool {
        self.facts.expired
    }

    /// Where the peer is. May change while the connection lives, when the peer is behind an address translator.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.quic.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Opens a stream. The other side learns of it with the first message. Waits while the peer has as many streams open
    /// as it allows.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn open_stream(&self) -> Result<(StreamWriter, StreamReader), ConnectionFailure> {
        let opened = self.quic.open_bi().await;
        opened
            .map(|halves| self.framed(halves))
            .map_err(|error| self.peer().failure(&error))
    }

    /// The next stream that the peer opens. Can be cancelled.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn accept_stream(&self) -> Result<(StreamWriter, StreamReader), ConnectionFailure> {
        let accepted = self.quic.accept_bi().await;
        accepted
            .map(|halves| self.framed(halves))
            .map_err(|error| self.peer().failure(&error))
    }

    /// Ends the connection at once and tells the peer why. What was not acknowledged yet is thrown away: see
    /// [`FrameWriter::finish_and_wait`]. A reason is cut to 500 bytes.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.quic
            .close(VarInt::from_u32(code.number()), &reason.as_bytes()[..end]);
    }

    /// Waits until the connection has ended, and tells why.
    pub async fn closed(&self) -> ConnectionFailure {
        self.peer().failure(&self.quic.closed().await)
    }

    /// Why the connection has ended; none while it lives.
    #[must_use]
    pub fn close_reason(&self) -> Option<ConnectionFailure> {
        self.quic.close_reason().map(|error| self.peer().failure(&error))
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.quic.stable_id() == other.quic.stable_id()
    }

    fn peer(&self) -> Peer {
        Peer {
            address: self.remote_address(),
            authority: self.facts.authority,
        }
    }

    fn framed(&self, (send, receive): (SendStream, RecvStream)) -> (StreamWriter, StreamReader) {
        let peer = self.peer();
        (
            FrameWriter::of_connection(send, peer),
            FrameReader::of_connection(receive, peer),
        )
    }
}
