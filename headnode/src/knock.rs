//! Peers without a certificate: a node joins, a user logs in, each with a token, and nothing else.
//!
//! The token's secret is known to whoever was told it and to nobody else: the store keeps its hash. Whether the token
//! still counts is the scheduler's decision, durable before the certificate leaves. Wrong tokens slow their address down:
//! see [`crate::throttle`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use proto::client::{Refusal, RefusalCode};
use proto::control::{JoinReply, Knock, LoginReply};
use proto::frame::{VERSION, Version};
use serde::Serialize;
use tokio::sync::Semaphore;
use transport::control::{CloseCode, Connection, StreamWriter};
use transport::identity::{TokenHash, TokenSecret};

use crate::clock::Clock;
use crate::join::Joins;
use crate::login::Credentials;
use crate::strangers::{Says, Strangers};
use crate::throttle::{Source, Throttle};

/// How long a peer may take to acknowledge its answer.
pub(crate) const HEARD: Duration = Duration::from_secs(5);

/// Whoever has no certificate yet gets no more room than a knock needs.
const MAX_KNOCK_BYTES: usize = 16 * 1024;

/// Tokens that are looked at at one time; the next ones wait. It is also how many wrong ones may slip through before the
/// first of them counts.
const MAX_TURNS: usize = 64;

/// Serves peers without a certificate.
#[derive(Debug)]
pub struct Knocks {
    joins: Joins,
    credentials: Credentials,
    /// Guards the memory of wrong tokens for the length of one look-up.
    throttle: Mutex<Throttle>,
    turns: Semaphore,
    /// For what the log says.
    lines: Strangers,
    clock: Clock,
}

/// Why a token's bearer was turned away.
#[derive(Debug)]
pub(crate) enum Turned {
    /// The token is none that counts.
    WrongToken(String),
    /// Something else is wrong; nothing was learnt about any token.
    Otherwise(String),
}

impl Turned {
    /// By what the scheduler said.
    pub(crate) fn by(refusal: &Refusal) -> Self {
        match refusal.code {
            RefusalCode::Forbidden | RefusalCode::NotFound => Self::WrongToken(refusal.to_string()),
            _ => Self::Otherwise(refusal.to_string()),
        }
    }

    pub(crate) fn otherwise(error: &anyhow::Error) -> Self {
        Self::Otherwise(format!("{error:#}"))
    }
}

/// The hash of a secret that somebody shows.
pub(crate) fn hash_of(secret: &str) -> Result<String, Turned> {
    let secret: TokenSecret = secret
        .parse()
        .map_err(|error: transport::identity::TokenError| Turned::WrongToken(error.to_string()))?;
    Ok(TokenHash::of(&secret).to_string())
}

/// Refuses a peer of another protocol version.
pub(crate) fn check_version(theirs: Version, whose: &str) -> Result<(), Turned> {
    if VERSION.accepts(theirs) {
        return Ok(());
    }
    let reason = format!("the head node speaks version {VERSION}, {whose} {theirs}: update one of them");
    Err(Turned::Otherwise(reason))
}

impl Knocks {
    /// A door for them.
    #[must_use]
    pub fn new(joins: Joins, credentials: Credentials, clock: Clock) -> Self {
        Self {
            joins,
            credentials,
            throttle: Mutex::default(),
            turns: Semaphore::new(MAX_TURNS),
            lines: Strangers::default(),
            clock,
        }
    }

    /// One knock: the only thing that such a peer may say.
    ///
    /// # Errors
    /// For the head node's log; the peer has been told.
    pub async fn serve(&self, connection: &Connection) -> anyhow::Result<()> {
        let (to, mut from) = connection.accept_stream().await?;
        from.set_limit(MAX_KNOCK_BYTES);
        let source = Source::of(connection.remote_address().ip());
        match from.recv::<Knock>().await? {
            Some(Knock::Join(join)) => {
                let name = join.name.to_string();
                let reply = self.tried(source, &name, self.joins.join(join)).await;
                tell(to, &reply.unwrap_or_else(|reason| JoinReply::Refused { reason })).await
            }
            Some(Knock::Login(login)) => {
                let reply = self.tried(source, "a user", self.credentials.login(login)).await;
                tell(to, &reply.unwrap_or_else(|reason| LoginReply::Refused { reason })).await
            }
            Some(Knock::Unknown) => {
                let reason = "without a certificate one may join or log in; this peer asks for something newer";
                connection.close(CloseCode::Refused, reason);
                bail!(reason)
            }
            None => bail!("a peer without a certificate said nothing"),
        }
    }

    /// What comes of a token, unless too many wrong ones came before.
    async fn tried<T>(
        &self,
        source: Source,
        who: &str,
        outcome: impl Future<Output = Result<T, Turned>>,
    ) -> Result<T, String> {
        let _turn = self.turns.acquire().await;
        let admitted = self.throttle(|throttle| throttle.admit(source, self.clock.now().monotonic));
        admitted.map_err(|too_many| too_many.to_string())?;
        match outcome.await {
            Ok(reply) => {
                self.throttle(|throttle| throttle.right(source));
                Ok(reply)
            }
            Err(Turned::WrongToken(reason)) => {
                let now = self.clock.now().monotonic;
                if self.throttle(|throttle| throttle.wrong(source, now)) {
                    tracing::warn!(%source, who, "a wrong token; further ones from there are not logged for a minute: {reason}");
                }
                Err(reason)
            }
            Err(Turned::Otherwise(reason)) => {
                // Nothing was learnt, and nothing is counted; whoever knocks again and again is not told of each time.
                let now = self.clock.now().monotonic;
                if matches!(self.lines.says(now), Says::Line { .. }) {
                    tracing::warn!(%source, who, "was not let in: {reason}");
                }
                Err(reason)
            }
        }
    }

    fn throttle<T>(&self, look: impl FnOnce(&mut Throttle) -> T) -> T {
        look(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn tell(mut to: StreamWriter, reply: &impl Serialize) -> anyhow::Result<()> {
    to.send(reply).await?;
    Ok(to.finish_and_wait(HEARD).await?)
}
