//! One simulated agent: joins with a token as a real one does, says hello, sends heartbeats, and answers orders by
//! [`super::orders`]. It never starts a process.
//!
//! Reports are not repeated: a connection that is lost ends the measurement.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use proto::control::{HeadMessage, Hello, Join, JoinReply, Knock, MAX_REPORTS, NodeMessage, Timing};
use proto::frame::VERSION;
use proto::ids::{BootId, NodeName};
use proto::model::node::Inventory;
use proto::units::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use transport::control::{CloseCode, Connection, Dialer, StreamReader, StreamWriter};
use transport::identity::{Alpn, ClientTls, HEAD_SERVER_NAME, Identity, JoinToken, KeyPair, Trust};

use super::orders::Moments;

/// For each step of the way in; many agents come at once.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who it is to be, and where the head node is.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) head: SocketAddr,
    pub(super) dialer: Dialer,
    pub(super) name: NodeName,
    pub(super) slots: u32,
    /// Its share of the heartbeat's span by which it is later than the first one, from 0 to 1.
    pub(super) phase: f64,
}

/// An agent that the head node has welcomed.
#[derive(Debug)]
pub(super) struct Welcomed {
    connection: Connection,
    to: StreamWriter,
    from: StreamReader,
    timing: Timing,
    phase: f64,
}

impl Agent {
    /// Joins, connects with its certificate, and is welcomed.
    pub(super) async fn arrive(self, token: &JoinToken) -> anyhow::Result<Welcomed> {
        let identity = self.join(token).await?;
        let connection = self.dial(Some(&identity), &identity.trust()).await?;
        let (mut to, mut from) = connection.open_stream().await?;
        to.send(&self.hello()).await?;
        let welcome = tokio::time::timeout(DEADLINE, from.recv::<HeadMessage>()).await??;
        let Some(HeadMessage::Welcome { timing, .. }) = welcome else {
            bail!("the hello of {} was answered by {welcome:?}", self.name)
        };
        Ok(Welcomed {
            connection,
            to,
            from,
            timing,
            phase: self.phase,
        })
    }

    async fn join(&self, token: &JoinToken) -> anyhow::Result<Identity> {
        let connection = self.dial(None, &Trust::pinned(token.authority)).await?;
        let (mut to, mut from) = connection.open_stream().await?;
        let key = KeyPair::generate()?;
        let join = Join {
            version: VERSION,
            secret: token.secret.to_hex(),
            name: self.name.clone(),
            request: key.certificate_request()?.to_vec(),
        };
        to.send(&Knock::Join(join)).await?;
        let reply = tokio::time::timeout(DEADLINE, from.recv::<JoinReply>()).await??;
        connection.close(CloseCode::Done, "joined");
        match reply {
            Some(JoinReply::Joined {
                certificate, authority, ..
            }) => Ok(Identity::new(key, certificate.into(), authority.into())?),
            Some(JoinReply::Refused { reason }) => bail!("{} may not join: {reason}", self.name),
            None => bail!("the join of {} was not answered", self.name),
        }
    }

    async fn dial(&self, identity: Option<&Identity>, trust: &Trust) -> anyhow::Result<Connection> {
        let tls = ClientTls::new(identity, trust, Alpn::Head)?;
        let dialled = self.dialer.dial(self.head, HEAD_SERVER_NAME, &tls, DEADLINE).await;
        dialled.with_context(|| format!("{} does not reach the head node", self.name))
    }

    fn hello(&self) -> NodeMessage {
        NodeMessage::Hello(Box::new(Hello {
            version: VERSION,
            name: self.name.clone(),
            boot: BootId(1),
            inventory: Inventory {
                cores: self.slots,
                memory_bytes: 1 << 36,
                ..Inventory::default()
            },
            // Nothing is launched, so nobody dials it.
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            held: Vec::new(),
            clock: None,
        }))
    }
}

impl Welcomed {
    /// Works until the connection ends, which is an error.
    pub(super) async fn work(mut self) -> anyhow::Result<()> {
        let span = self.timing.heartbeat.duration();
        let mut beats = interval_at(Instant::now() + span.mul_f64(self.phase), span);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beat, mut batch) = (0, 0);
        let mut moments = Moments::default();
        loop {
            tokio::select! {
                message = self.from.recv::<HeadMessage>() => match message? {
                    Some(HeadMessage::Orders { orders }) => {
                        let messages: Vec<NodeMessage> = moments
                            .reports_of(orders, now())
                            .chunks(MAX_REPORTS)
                            .map(|reports| {
                                batch += 1;
                                NodeMessage::Reports { number: batch, reports: reports.to_vec() }
                            })
                            .collect();
                        self.to.send_all(&messages).await?;
                    }
                    Some(HeadMessage::Refused { reason } | HeadMessage::Removed { reason }) => bail!(reason),
                    Some(_) => {}
                    None => bail!("the head node ended the conversation: {:?}", self.connection.close_reason()),
                },
                _ = beats.tick() => {
                    beat += 1;
                    self.to.send(&NodeMessage::Heartbeat { number: beat }).await?;
                }
            }
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
