//! New nodes: a join token for a certificate. And the certificates of nodes that are there already: renewal.
//!
//! A certificate is made only after what it says is durable, so a node never holds one that the cluster does not know.

use std::sync::Arc;

use proto::client::{Refusal, RefusalCode};
use proto::control::{HeadMessage, Join, JoinReply};
use proto::ids::{KeyHash, NodeId};
use proto::units::Millis;
use scheduler::{Answer, Input};
use transport::identity::{IdentityError, JoinToken, RequestDer, Subject, TokenHash};

use crate::authority::ClusterAuthority;
use crate::clock::Clock;
use crate::knock::{Turned, check_version, hash_of};
use crate::nodes::Links;
use crate::serve::Requests;

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

/// Gives nodes their certificates.
#[derive(Debug, Clone)]
pub struct Joins {
    /// Signs.
    pub authority: Arc<ClusterAuthority>,
    /// To the controller.
    pub requests: Requests,
    /// Where the nodes are connected.
    pub links: Arc<Links>,
    /// For what a node compares its own clock with.
    pub clock: Clock,
    /// The cluster's name.
    pub cluster: String,
    /// How long a certificate is good for.
    pub life: Millis,
}

impl Joins {
    /// Lets a node in.
    pub(crate) async fn join(&self, join: Join) -> Result<JoinReply, Turned> {
        check_version(join.version, "the node")?;
        // Before the token is spent on it.
        let request = RequestDer::from(join.request);
        let key = self
            .authority
            .check(&request)
            .map_err(|error| Turned::otherwise(&error))?;
        let secret_hash = hash_of(&join.secret)?;
        let certificate_ends = self.authority.ends_after(self.life);
        let input = Input::Join {
            secret_hash,
            name: join.name,
            key,
            certificate_ends,
        };
        let answer = self.requests.ask(input).await.map_err(|refusal| Turned::by(&refusal))?;
        let Answer::Joined { node, pool, groups } = answer else {
            return Err(Turned::Otherwise(
                "the head node answered a join with something else".to_owned(),
            ));
        };
        // Whoever held the number before holds it no more.
        self.links
            .remove_strangers(node, key, "another host joined under the name of this node");
        let issued = self.authority.issue(&request, &Subject::Node(node), certificate_ends);
        let certificate = issued.map_err(|error| Turned::otherwise(&error))?;
        tracing::info!(%node, %pool, "node joined");
        Ok(JoinReply::Joined {
            node,
            pool,
            groups,
            certificate: certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
            clock: self.clock.now().wall,
            cluster: self.cluster.clone(),
        })
    }

    /// A new certificate for a node that shows the key `shown`, or what it is told in place of it.
    pub(crate) async fn renew(&self, node: NodeId, shown: KeyHash, request: Vec<u8>) -> HeadMessage {
        let renewed = self.renewed(node, shown, RequestDer::from(request)).await;
        renewed.unwrap_or_else(|refusal| {
            tracing::warn!(%node, "no new certificate: {refusal}");
            let reason = refusal.to_string();
            match refusal.code {
                RefusalCode::NotFound | RefusalCode::Forbidden => HeadMessage::Removed { reason },
                _ => HeadMessage::Refused { reason },
            }
        })
    }

    async fn renewed(&self, node: NodeId, shown: KeyHash, request: RequestDer<'_>) -> Result<HeadMessage, Refusal> {
        let refused = |what: String| Refusal {
            code: RefusalCode::Invalid,
            what,
            remedy: "update the node".to_owned(),
            retry_after: None,
        };
        let key = self
            .authority
            .check(&request)
            .map_err(|error| refused(format!("{error:#}")))?;
        if key != shown {
            return Err(refused("a certificate is renewed for the key that it is of".to_owned()));
        }
        let certificate_ends = self.authority.ends_after(self.life);
        let input = Input::Renew {
            node,
            key,
            certificate_ends,
        };
        self.requests.ask(input).await?;
        let issued = self.authority.issue(&request, &Subject::Node(node), certificate_ends);
        let certificate = issued.map_err(|error| refused(format!("{error:#}")))?;
        tracing::info!(%node, "certificate renewed");
        Ok(HeadMessage::Renewed {
            certificate: certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
        })
    }
}
