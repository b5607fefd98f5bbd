//! The head node's questions, each on a stream of its own: files, output as it grows, input, and probes.
//!
//! What a question needs is done by the module that knows it; here is only which, and how many at once.

use std::time::Duration;

use proto::control::NodeRequest;
use transport::control::{Connection, StreamReader, StreamWriter};

use crate::files::Files;
use crate::probe::Prober;
use crate::{follow, input};

/// How many are answered at once over one connection; more wait. A follower holds one for as long as it follows.
const MAX_AT_ONCE: usize = 320;

/// How long the head node may take to say what it wants on a stream that it opened, and to take a short answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Whatever answers.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) files: Files,
    pub(crate) prober: Prober,
}

impl Answers {
    /// Answers until the connection ends; says why it did. Answers that are under way end with it.
    pub(crate) async fn serve(&self, connection: &Connection) -> anyhow::Error {
        let mut streams = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                stream = connection.accept_stream(), if streams.len() < MAX_AT_ONCE => match stream {
                    Ok((to, from)) => drop(streams.spawn(self.clone().answer(to, from))),
                    Err(error) => return error.into(),
                },
                Some(done) = streams.join_next() => {
                    if let Ok(Err(error)) = done {
                        tracing::debug!("a question of the head node was not answered: {error:#}");
                    }
                }
            }
        }
    }

    async fn answer(self, mut to: StreamWriter, mut from: StreamReader) -> anyhow::Result<()> {
        let asked = tokio::time::timeout(DEADLINE, from.recv::<NodeRequest>()).await??;
        match asked {
            Some(NodeRequest::File(request)) => self.files.answer(to, request).await,
            Some(NodeRequest::Probe { peers }) => {
                let reply = self.prober.probe(&peers).await;
                tokio::time::timeout(DEADLINE, async {
                    to.send(&reply).await?;
                    to.finish().await
                })
                .await??;
                Ok(())
            }
            Some(NodeRequest::Follow(request)) => follow::serve(self.files, to, request).await,
            Some(NodeRequest::Input { attempt }) => input::serve(self.files, to, from, attempt).await,
            // A dropped stream tells the head node that there is no answer.
            Some(NodeRequest::Unknown) | None => Ok(()),
        }
    }
}
