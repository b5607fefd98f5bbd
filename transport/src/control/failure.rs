//! Errors of connections and streams, with the facts that a person needs: which peer, which authority.

use std::io;
use std::net::SocketAddr;

use proto::frame::FrameError;
use quinn::{ConnectionError, ReadError, WriteError};

use crate::identity::{Fingerprint, HandshakeProblem, explain};

/// The two facts that make an explanation useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whom this side believed: the cluster's authority; none within a launch.
    pub(super) authority: Option<Fingerprint>,
}

impl Peer {
    pub(super) fn failure(self, error: &ConnectionError) -> ConnectionFailure {
        ConnectionFailure {
            peer: self.address,
            authority: self.authority,
            problem: explain(error),
        }
    }
}

/// A connection that could not be made, or was lost. Its text says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problem.describe(.peer, .authority.as_ref()))]
pub struct ConnectionFailure {
    /// The other side.
    pub peer: SocketAddr,
    /// Of the cluster's authority, when this side believed that one; none within a launch.
    pub authority: Option<Fingerprint>,
    /// What happened.
    pub problem: HandshakeProblem,
}

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The bytes are no frame, or hold another message than expected. After [`FrameError::Decode`] and
    /// [`FrameError::Trailing`] the next message can still be received.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame above the bound of this stream.
    #[error("a frame of {bytes} bytes is above the bound of {limit} of this stream")]
    TooLong {
        /// The announced length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame, after {bytes} bytes of it")]
    Truncated {
        /// What had come of it.
        bytes: usize,
    },
    /// The connection was lost or refused.
    #[error(transparent)]
    Lost(#[from] ConnectionFailure),
    /// Reading or writing failed.
    #[error("the stream failed")]
    Io(#[source] io::Error),
    /// The other side did not take everything in time.
    #[error("the other side did not take the last messages in time")]
    NotTaken,
}

impl StreamError {
    /// A QUIC stream hides the end of its connection within an I/O error; this brings it back.
    pub(super) fn of_io(error: io::Error, peer: Option<Peer>) -> Self {
        match (connection_error(&error), peer) {
            (Some(lost), Some(peer)) => Self::Lost(peer.failure(lost)),
            _ => Self::Io(error),
        }
    }
}

fn connection_error(error: &io::Error) -> Option<&ConnectionError> {
    let inner = error.get_ref()?;
    match (inner.downcast_ref::<ReadError>(), inner.downcast_ref::<WriteError>()) {
        (Some(ReadError::ConnectionLost(lost)), _) | (_, Some(WriteError::ConnectionLost(lost))) => Some(lost),
        _ => inner.downcast_ref(),
    }
}
