//! Messages on any byte stream: QUIC, unix socket, pipe.
//!
//! Both halves may be dropped out of a `select!`: a receive that was cancelled loses nothing, and a send that was
//! cancelled is finished by the next one, so that frames never tear. A frame's memory grows as its bytes arrive, never
//! by what the peer announces.

use bytes::{Buf, BytesMut};
use proto::frame::{self, HEADER_BYTES, MAX_FRAME_BYTES};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::StreamError;
use super::failure::Peer;
use super::later;

/// What is asked of the system in one read.
const READ_BYTES: usize = 64 * 1024;

/// [`FrameWriter::send_all`] writes when so much has gathered.
const WRITE_BYTES: usize = 256 * 1024;

/// A buffer that grew beyond this is given back once it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

/// Receives messages.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    peer: Option<Peer>,
}

impl<R> FrameReader<R> {
    /// Reads frames from `stream`.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            limit: MAX_FRAME_BYTES,
            peer: None,
        }
    }

    pub(super) fn of_connection(stream: R, peer: Peer) -> Self {
        Self {
            peer: Some(peer),
            ..Self::new(stream)
        }
    }

    /// Refuses frames with a body above `bytes`: for a peer that has proved nothing yet. Can be set anew between
    /// messages; the bound of every frame, [`MAX_FRAME_BYTES`], stays.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_FRAME_BYTES);
    }

    /// The stream itself. Its next bytes may be in the buffer already.
    pub const fn inner(&self) -> &R {
        &self.stream
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// The next message; none when the other side has ended the stream between two frames. Can be cancelled.
    ///
    /// # Errors
    /// After a message of another kind than `T` the next one can be received; after any other error nothing can.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        loop {
            if let Some(message) = self.take_frame()? {
                return Ok(Some(message));
            }
            self.buffer.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.buffer).await;
            let count = read.map_err(|error| StreamError::of_io(error, self.peer))?;
            if count == 0 {
                let bytes = self.buffer.len();
                return if bytes == 0 {
                    Ok(None)
                } else {
                    Err(StreamError::Truncated { bytes })
                };
            }
        }
    }

    fn take_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        if let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() {
            let bytes = u32::from_be_bytes(*header) as usize;
            if bytes > self.limit {
                return Err(StreamError::TooLong {
                    bytes,
                    limit: self.limit,
                });
            }
        }
        let Some((start, end)) = frame::split(&self.buffer)? else {
            return Ok(None);
        };
        let message = frame::decode(&self.buffer[start..end]);
        self.buffer.advance(end);
        if self.buffer.is_empty() && end > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message?))
    }
}

/// Sends messages.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    /// Encoded frames; those before `written` are on their way.
    pending: Vec<u8>,
    written: usize,
    peer: Option<Peer>,
}

impl<W> FrameWriter<W> {
    /// Writes frames to `stream`.
    pub const fn new(stream: W) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            written: 0,
            peer: None,
        }
    }

    pub(super) fn of_connection(stream: W, peer: Peer) -> Self {
        Self {
            peer: Some(peer),
            ..Self::new(stream)
        }
    }

    /// The stream itself.
    pub const fn inner(&self) -> &W {
        &self.stream
    }
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Sends one message. Returns when the stream has taken all of it, which says nothing of the other side. When it is
    /// cancelled the message is sent with the next one.
    ///
    /// # Errors
    /// When the message is too long nothing of it was sent and the stream stays good; any other error is final.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), StreamError> {
        later::encode(message, &mut self.pending)?;
        self.write_pending().await
    }

    /// Sends many messages with few writes. As with [`FrameWriter::send`], a message that is too long ends it; those
    /// before it are sent with the next one.
    ///
    /// # Errors
    /// As [`FrameWriter::send`].
    pub async fn send_all<'a, T, I>(&mut self, messages: I) -> Result<(), StreamError>
    where
        T: Serialize + 'a,
        I: IntoIterator<Item = &'a T>,
    {
        for message in messages {
            later::encode(message, &mut self.pending)?;
            if self.pending.len() >= WRITE_BYTES {
                self.write_pending().await?;
            }
        }
        self.write_pending().await
    }

    /// Sends what is left and ends the stream: the other side receives none after the last message.
    ///
    /// # Errors
    /// When the stream fails.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.write_pending().await?;
        self.stream
            .shutdown()
            .await
            .map_err(|error| StreamError::of_io(error, self.peer))
    }

    async fn write_pending(&mut self) -> Result<(), StreamError> {
        while self.written < self.pending.len() {
            let written = self.stream.write(&self.pending[self.written..]).await;
            let count = written.map_err(|error| StreamError::of_io(error, self.peer))?;
            if count == 0 {
                return Err(StreamError::Io(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.written = 0;
        if self.pending.capacity() > KEPT_BYTES {
            self.pending = Vec::new();
        }
        self.pending.clear();
        self.stream
            .flush()
            .await
            .map_err(|error| StreamError::of_io(error, self.peer))
    }
}

impl FrameWriter<quinn::SendStream> {
    /// Ends the stream and waits until the other machine has everything. Before a connection is closed: closing throws
    /// away what was not acknowledged.
    ///
    /// # Errors
    /// [`StreamError::NotTaken`] when that takes longer than `deadline`, or when the other side stopped listening.
    pub async fn finish_and_wait(&mut self, deadline: std::time::Duration) -> Result<(), StreamError> {
        let all = async {
            self.finish().await?;
            match self.stream.stopped().await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(StreamError::NotTaken),
                Err(quinn::StoppedError::ConnectionLost(lost)) => Err(match self.peer {
                    Some(peer) => StreamError::Lost(peer.failure(&lost)),
                    None => StreamError::Io(lost.into()),
                }),
                Err(error) => Err(StreamError::Io(std::io::Error::other(error))),
            }
        };
        tokio::time::timeout(deadline, all)
            .await
            .unwrap_or(Err(StreamError::NotTaken))
    }
}

/// Both halves of a unix socket. Ask it for the peer's credentials before.
#[must_use]
pub fn split_socket(stream: UnixStream) -> (FrameWriter<OwnedWriteHalf>, FrameReader<OwnedReadHalf>) {
    let (read, write) = stream.into_split();
    (FrameWriter::new(write), FrameReader::new(read))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use proto::frame::FrameError;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order_through_a_narrow_pipe() {
        let (near, far) = duplex(7);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        let messages: Vec<String> = (0..50).map(|length| "x".repeat(length)).collect();
        let send = async {
            writer.send(&"first").await?;
            writer.send_all(&messages).await?;
            writer.finish().await
        };
        let receive = async {
            let mut received: Vec<String> = Vec::new();
            while let Some(message) = reader.recv().await? {
                received.push(message);
            }
            Ok::<_, StreamError>(received)
        };
        let (sent, received) = tokio::join!(send, receive);
        sent.expect("sends");
        let received = received.expect("receives");
        assert_eq!(received[0], "first");
        assert_eq!(received[1..], messages);
    }

    #[tokio::test]
    async fn a_cancelled_send_and_receive_tear_nothing() {
        let (near, far) = duplex(4);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(writer.send(&"cancelled send")).poll(&mut context).is_pending());
        assert!(pin!(reader.recv::<String>()).poll(&mut context).is_pending());
        let (sent, (first, second)) = tokio::join!(writer.send(&"next"), async {
            (reader.recv::<String>().await, reader.recv::<String>().await)
        });
        sent.expect("sends");
        assert_eq!(first.expect("receives").as_deref(), Some("cancelled send"));
        assert_eq!(second.expect("receives").as_deref(), Some("next"));
    }

    #[tokio::test]
    async fn a_message_of_another_kind_is_refused_and_the_next_one_received() {
        let (near, far) = duplex(1000);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        writer.send(&"no number").await.expect("sends");
        writer.send(&5_u32).await.expect("sends");
        let error = reader.recv::<u32>().await.expect_err("is a text");
        assert!(matches!(error, StreamError::Frame(FrameError::Decode(_))), "{error}");
        assert_eq!(reader.recv::<u32>().await.expect("receives"), Some(5));
    }

    #[tokio::test]
    async fn bounds_hold_before_the_body_arrives() {
        let (mut near, far) = duplex(1000);
        let mut reader = FrameReader::new(far);
        near.write_all(&1001_u32.to_be_bytes()).await.expect("writes");
        reader.set_limit(1000);
        let error = reader.recv::<u32>().await.expect_err("is too long for this stream");
        assert!(
            matches!(
                error,
                StreamError::TooLong {
                    bytes: 1001,
                    limit: 1000
                }
            ),
            "{error}"
        );

        let (mut near, far) = duplex(1000);
        let mut reader = FrameReader::new(far);
        reader.set_limit(usize::MAX);
        near.write_all(&u32::MAX.to_be_bytes()).await.expect("writes");
        let error = reader.recv::<u32>().await.expect_err("is too long for any stream");
        assert!(
            matches!(
                error,
                StreamError::TooLong {
                    limit: MAX_FRAME_BYTES,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            reader.buffer.capacity() <= 2 * READ_BYTES,
            "nothing was set aside for it"
        );
    }

    #[tokio::test]
    async fn the_end_of_a_stream_is_told_from_a_torn_frame() {
        let (near, far) = duplex(1000);
        drop(near);
        assert!(FrameReader::new(far).recv::<u32>().await.expect("ends well").is_none());

        let (mut near, far) = duplex(1000);
        near.write_all(&[0, 0, 0, 9, 1]).await.expect("writes");
        drop(near);
        let error = FrameReader::new(far).recv::<u32>().await.expect_err("is torn");
        assert!(matches!(error, StreamError::Truncated { bytes: 5 }), "{error}");
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_leaves_the_stream_good() {
        let (near, far) = duplex(1000);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        let error = writer
            .send(&"x".repeat(MAX_FRAME_BYTES))
            .await
            .expect_err("is too long");
        assert!(
            matches!(error, StreamError::Frame(FrameError::TooLong { .. })),
            "{error}"
        );
        writer.send(&"short").await.expect("sends");
        assert_eq!(
            reader.recv::<String>().await.expect("receives").as_deref(),
            Some("short")
        );
    }

    #[tokio::test]
    async fn a_unix_socket_carries_the_same_frames() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let ((mut writer, _), (_, mut reader)) = (split_socket(near), split_socket(far));
        writer.send(&"hello").await.expect("sends");
        assert_eq!(
            reader.recv::<String>().await.expect("receives").as_deref(),
            Some("hello")
        );
    }
}
