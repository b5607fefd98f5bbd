//! What carries requests: the one unix socket, or a QUIC connection with a stream for each request.
//!
//! Requests under way are a queue: the first one's answers are read first, as on a socket.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use transport::control::{Connection, Dialer, FrameReader, FrameWriter, StreamError, StreamReader, StreamWriter};

/// The way to a head node.
#[derive(Debug)]
pub(crate) enum Line {
    /// On its own machine.
    Socket {
        to: FrameWriter<OwnedWriteHalf>,
        from: FrameReader<OwnedReadHalf>,
    },
    /// From elsewhere.
    Quic {
        connection: Connection,
        /// Kept, since the connection lives on its port.
        _dialer: Dialer,
        /// Of requests that have not all their answers yet, in order.
        streams: VecDeque<(StreamWriter, StreamReader)>,
    },
}

impl Line {
    pub(super) fn of_socket((to, from): (FrameWriter<OwnedWriteHalf>, FrameReader<OwnedReadHalf>)) -> Self {
        Self::Socket { to, from }
    }

    pub(crate) const fn of_connection(connection: Connection, dialer: Dialer) -> Self {
        Self::Quic {
            connection,
            _dialer: dialer,
            streams: VecDeque::new(),
        }
    }

    /// Sends the first message of a request.
    pub(super) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), StreamError> {
        match self {
            Self::Socket { to, .. } => to.send(message).await,
            Self::Quic {
                connection, streams, ..
            } => {
                let (mut to, from) = connection.open_stream().await?;
                to.send(message).await?;
                streams.push_back((to, from));
                Ok(())
            }
        }
    }

    /// Sends a further message of the newest request.
    pub(super) async fn send_more<T: Serialize>(&mut self, message: &T) -> Result<(), StreamError> {
        match self {
            Self::Socket { to, .. } => to.send(message).await,
            Self::Quic { streams, .. } => match streams.back_mut() {
                Some((to, _)) => to.send(message).await,
                None => Err(StreamError::NotTaken),
            },
        }
    }

    /// The next message of the oldest request; none when the other side has ended it. Can be cancelled.
    pub(super) async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        match self {
            Self::Socket { from, .. } => from.recv().await,
            Self::Quic { streams, .. } => match streams.front_mut() {
                Some((_, from)) => from.recv().await,
                None => Ok(None),
            },
        }
    }

    /// The oldest request has all its answers.
    pub(super) fn end_request(&mut self) {
        if let Self::Quic { streams, .. } = self {
            streams.pop_front();
        }
    }

    /// Leaves whatever is under way. A stream that is dropped tells the head node so.
    pub(super) fn drop_streams(&mut self) {
        if let Self::Quic { streams, .. } = self {
            streams.clear();
        }
    }
}
