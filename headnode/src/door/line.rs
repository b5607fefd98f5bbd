//! Both halves of a client's connection or stream, and who is at its other end.

use std::time::Duration;

use anyhow::bail;
use proto::client::{Refusal, RefusalCode, Reply, Request};
use proto::frame::FrameError;
use proto::ids::KeyHash;
use proto::model::owner::Caller;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use transport::control::{FrameReader, FrameWriter, StreamError};

/// How long a client may take to read an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A client that asks.
pub(super) struct Line<W, R> {
    /// Who asks.
    pub(super) who: Caller,
    /// The key that they show; none on the unix socket.
    pub(super) key: Option<KeyHash>,
    /// To them.
    pub(super) to: FrameWriter<W>,
    /// From them.
    pub(super) from: FrameReader<R>,
}

impl<W: AsyncWrite + Unpin + Send, R: AsyncRead + Unpin + Send> Line<W, R> {
    /// Sends an answer; one that is too long for a frame becomes a refusal that says so.
    pub(super) async fn tell(&mut self, reply: &Reply) -> anyhow::Result<()> {
        match timeout(ANSWER_DEADLINE, self.to.send(reply)).await? {
            Err(StreamError::Frame(FrameError::TooLong { bytes })) => {
                let refusal = Refusal {
                    code: RefusalCode::Busy,
                    what: format!("the answer would have {bytes} bytes, which is too long"),
                    remedy: "ask for less: one job, or a list of one user, state or name".to_owned(),
                };
                Ok(timeout(ANSWER_DEADLINE, self.to.send(&Reply::Refused(refusal))).await??)
            }
            other => Ok(other?),
        }
    }

    /// Sends a part of a stream. There is no deadline: a reader may be stopped for as long as its user likes and holds up
    /// nobody, since what waits for it is little and its place is its own. One that is gone ends the write.
    pub(super) async fn stream<T: Serialize + Sync>(&mut self, part: &T) -> anyhow::Result<()> {
        Ok(self.to.send(part).await?)
    }

    /// Returns when the client has left, always with an error: nothing else may come from it during an answer. Can be
    /// cancelled.
    pub(super) async fn left(&mut self) -> anyhow::Result<()> {
        match self.from.recv::<Request>().await? {
            None => bail!("the client left during an answer"),
            Some(_) => bail!("a request came during an answer"),
        }
    }
}
