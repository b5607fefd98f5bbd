//! New nodes: a join token for a certificate.
//!
//! The token's secret is known to whoever was told it and to nobody else: the store keeps its hash. Whether the token
//! still counts is the scheduler's decision, durable before the certificate leaves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use proto::control::{Join, JoinReply};
use proto::frame::VERSION;
use scheduler::{Answer, Input};
use tokio::sync::{mpsc, oneshot};
use transport::control::Connection;
use transport::identity::{IdentityError, JoinSecret, JoinToken, RequestDer, Subject, TokenHash};

use crate::authority::ClusterAuthority;
use crate::round::Arrival;
use crate::serve::Slot;

/// How long a peer may take to acknowledge its answer.
pub(crate) const HEARD: Duration = Duration::from_secs(5);

/// Whoever has no certificate yet gets no more room than a join needs.
const MAX_JOIN_BYTES: usize = 16 * 1024;

/// What a node is told that asked a head node in its last moments.
const ENDING: &str = "the head node is ending; start the node again when it is back";

/// Makes join tokens of this cluster.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The authority that a token pins.
    pub authority: Arc<ClusterAuthority>,
}

impl Tokens {
    /// A new token: its text, to be shown once, and its hash, to be kept.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn make(&self) -> Result<(String, String), IdentityError> {
        let token = JoinToken::generate(self.authority.fingerprint())?;
        Ok((token.to_string(), TokenHash::of(&token.secret).to_string()))
    }
}

/// Serves peers without a certificate.
#[derive(Debug)]
pub struct Joins {
    /// Signs.
    pub authority: Arc<ClusterAuthority>,
    /// For the controller.
    pub arrivals: mpsc::Sender<Arrival<Slot>>,
}

impl Joins {
    /// One join: the only thing that such a peer may ask.
    ///
    /// # Errors
    /// For the head node's log; the peer has been told.
    pub async fn serve(&self, connection: &Connection) -> anyhow::Result<()> {
        let (mut to, mut from) = connection.accept_stream().await?;
        from.set_limit(MAX_JOIN_BYTES);
        let Some(join) = from.recv::<Join>().await? else {
            bail!("a peer without a certificate said nothing")
        };
        let name = join.name.clone();
        let reply = match self.join(join).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%name, "a node was not let in: {error:#}");
                JoinReply::Refused {
                    reason: format!("{error:#}"),
                }
            }
        };
        to.send(&reply).await?;
        Ok(to.finish_and_wait(HEARD).await?)
    }

    async fn join(&self, join: Join) -> anyhow::Result<JoinReply> {
        if !VERSION.accepts(join.version) {
            bail!(
                "the head node speaks version {VERSION}, the node {}: update one of them",
                join.version
            );
        }
        // Before the token is spent on it.
        let request = RequestDer::from(join.request);
        self.authority.check(&request)?;
        let secret_hash = TokenHash::of(&join.secret.parse::<JoinSecret>()?).to_string();
        let (slot, answer) = oneshot::channel();
        let input = Input::Join {
            secret_hash,
            name: join.name,
        };
        self.arrivals
            .send(Arrival::Request {
                input,
                slot: Slot(slot),
            })
            .await?;
        let Answer::Joined { node, pool, groups } = answer
            .await
            .context(ENDING)?
            .answer
            .map_err(|refusal| anyhow::anyhow!("{refusal}"))?
        else {
            bail!("the head node answered a join with something else");
        };
        let certificate = self.authority.issue(&request, &Subject::Node(node))?;
        tracing::info!(%node, %pool, "node joined");
        Ok(JoinReply::Joined {
            node,
            pool,
            groups,
            certificate: certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
        })
    }
}
