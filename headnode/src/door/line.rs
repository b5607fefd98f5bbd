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

use super::caller::Local;
use super::refusal::refused;
use crate::view::View;

/// How long a client may take to read an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A client that asks.
pub(super) struct Line<W, R> {
    /// Who asks.
    pub(super) who: Caller,
    /// What shows who they are.
    pub(super) shown: Shown,
    /// To them.
    pub(super) to: FrameWriter<W>,
    /// From them.
    pub(super) from: FrameReader<R>,
}

/// What shows who somebody is, for as long as their connection lasts.
#[derive(Debug)]
pub(super) enum Shown {
    /// The account, on the unix socket.
    Account(Local),
    /// A key, elsewhere.
    Key(KeyHash),
}

impl Shown {
    pub(super) const fn key(&self) -> Option<KeyHash> {
        match self {
            Self::Account(_) => None,
            Self::Key(key) => Some(*key),
        }
    }

    /// Who they are now, and what they may do now; `before` is who they were.
    pub(super) fn who(&self, view: &View, before: &Caller) -> Result<Caller, Refusal> {
        let key = match self {
            Self::Account(local) => return local.caller(view),
            Self::Key(key) => *key,
        };
        let row = view
            .user_of_key(key)
            .filter(|row| row.name.as_str() == before.owner.name);
        let now = row.map(|row| Caller {
            owner: row.owner(),
            role: row.role,
        });
        now.ok_or_else(|| refused(RefusalCode::Forbidden, "your credential was taken back", "log in anew"))
    }
}

impl<W, R> Line<W, R> {
    /// For answers that go on and on: whether who asked may still do what they might when they did.
    ///
    /// # Errors
    /// When they may do less now, or are somebody else.
    pub(super) fn check(&self, view: &View) -> Result<(), Refusal> {
        let now = self.shown.who(view, &self.who)?;
        if now.role >= self.who.role && now.owner.uid == self.who.owner.uid {
            return Ok(());
        }
        Err(refused(
            RefusalCode::Forbidden,
            format!("the rights of '{}' were changed while this went on", now.owner.name),
            "type it again",
        ))
    }
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
                    retry_after: None,
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
