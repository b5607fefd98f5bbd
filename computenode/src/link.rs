//! The link to the head node: joins with a token, renews what has expired, dials, redials, and carries messages both ways.
//!
//! It decides nothing. What a connection brings is handed to the agent, which speaks first (its hello) and says when
//! the connection is to end. A head node that is away is waited for with growing pauses; the log says so once.
//!
//! A certificate that has expired is good for one thing, a new one: then a connection is made for that alone.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use proto::control::{HeadMessage, Join, JoinReply, Knock, NodeMessage};
use proto::ids::{GroupName, NodeId, PoolName};
use proto::units::{Millis, Timestamp};
use tokio::sync::mpsc;
use transport::control::{
    Backoff, CloseCode, Connection, DialError, Dialer, Settings, StreamReader, StreamWriter, later_message, spoken,
};
use transport::identity::{Alpn, ClientTls, HEAD_SERVER_NAME, Identity, IdentityError, JoinToken, KeyPair, Trust};
use transport::wall;

use crate::config::{Config, resolve};
use crate::questions::Answers;
use crate::renewal::{Credential, IDENTITY_NAME, node_of};
use crate::spawner::clock::wall_clock;

/// Pauses between dials.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection that lasted so long was a good one; one that ended sooner was a refusal in effect.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// How long the end of this program waits for the head node to have heard of it.
const PARTING_DEADLINE: Duration = Duration::from_millis(500);

/// A packet at least so often, so that both sides notice a dead line within three of them, whatever the heartbeat is.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How many messages may wait for the head node; then the connection is ended, and a hello brings everything again.
const MESSAGES_AHEAD: usize = 4096;

/// A clock that is further off than this is worth a word: certificates and the times of tasks become strange.
pub(crate) const CLOCK_TOLERANCE: Millis = Millis::from_seconds(10);

/// What the link brings.
#[derive(Debug)]
pub(crate) enum Brought {
    /// A connection; nothing was said yet.
    Connected(HeadLine),
    /// The head node says something.
    Message(HeadMessage),
    /// The connection is over.
    Lost,
}

/// The agent's end of a connection to the head node.
#[derive(Debug)]
pub(crate) struct HeadLine {
    messages: mpsc::Sender<NodeMessage>,
    connection: Connection,
    dialer: Option<Dialer>,
}

impl HeadLine {
    /// Sends, or ends a connection that does not take it.
    pub(crate) fn say(&self, message: NodeMessage) {
        if self.messages.try_send(message).is_err() {
            self.close("the head node does not read");
        }
    }

    /// Ends the connection for good, and sees to it that the head node learns of it before this program is gone.
    pub(crate) async fn end(self, reason: &str) {
        self.connection.close(CloseCode::Stopping, reason);
        part(self.dialer.as_ref()).await;
    }

    /// Ends the connection; another is dialled.
    pub(crate) fn close(&self, reason: &str) {
        self.connection.close(CloseCode::Done, reason);
    }
}

/// Who this node is to the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) credential: Credential,
    pub(crate) node: NodeId,
}

impl Member {
    /// What the folder has; none when the node has not joined.
    ///
    /// # Errors
    /// When it is damaged, or of something else than a node.
    pub(crate) fn known(folder: &Path) -> anyhow::Result<Option<(Self, Identity)>> {
        match Identity::load(folder, IDENTITY_NAME) {
            Ok(identity) => {
                let member = Self {
                    node: node_of(&identity)?,
                    credential: Credential::new(identity.clone(), folder),
                };
                Ok(Some((member, identity)))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) if is_forbidden(&error) => Err(error).context("this node's key cannot be read; be root"),
            Err(error) => {
                Err(error).context("this node's identity is damaged; join anew with an empty --dir and a new token")
            }
        }
    }
}

fn is_forbidden(error: &IdentityError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::PermissionDenied)
}

/// What the head node said when it let this node in.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) member: Member,
    pub(crate) pool: PoolName,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) cluster: String,
    /// How far the clock here is ahead of the head node's, in milliseconds.
    pub(crate) clock_ahead_ms: i64,
}

/// The way to the head node.
#[derive(Debug)]
pub(crate) struct Link {
    config: Config,
    dialer: Option<Dialer>,
    /// Whether the log already says that the head node is away.
    away: bool,
}

impl Link {
    pub(crate) const fn new(config: Config) -> Self {
        Self {
            config,
            dialer: None,
            away: false,
        }
    }

    /// The node's identity: from its folder, or by joining with the token.
    ///
    /// # Errors
    /// When the token is refused or the head node is not who the token says. An unreachable head node is waited for.
    pub(crate) async fn member(&mut self, folder: &Path) -> anyhow::Result<Member> {
        let member = self.known_or_joined(folder).await;
        if member.is_err() {
            self.part().await;
        }
        member
    }

    async fn known_or_joined(&mut self, folder: &Path) -> anyhow::Result<Member> {
        if let Some((member, _)) = Member::known(folder)? {
            return Ok(member);
        }
        let Some(token) = self.config.token.clone() else {
            bail!(
                "this node has not joined the cluster yet and got no join token: type 'muster node join-command' on the \
                 head node and paste here what it prints"
            );
        };
        let mut backoff = backoff();
        loop {
            match self.join(&token, folder).await {
                Ok(joined) => {
                    tell_clock(joined.clock_ahead_ms);
                    return Ok(joined.member);
                }
                Err(error) if is_passing(&error) => self.tell_away(&error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    /// Joins once: the folder has an identity afterwards.
    ///
    /// # Errors
    /// Naming node and head. [`is_passing`] tells what may be tried again.
    pub(crate) async fn join(&mut self, token: &JoinToken, folder: &Path) -> anyhow::Result<Joined> {
        let joined = self.join_head(token, folder).await;
        joined.with_context(|| format!("node '{}' cannot join {}", self.config.name, self.config.head))
    }

    async fn join_head(&mut self, token: &JoinToken, folder: &Path) -> anyhow::Result<Joined> {
        let tls = ClientTls::new(None, &Trust::pinned(token.authority), Alpn::Head)?;
        let connection = self.dial(&tls).await?;
        let (mut to, mut from) = connection.open_stream().await?;
        let key = KeyPair::generate()?;
        let request = key.certificate_request()?.to_vec();
        let join = Join {
            version: spoken(),
            secret: token.secret.to_hex(),
            name: self.config.name.clone(),
            request,
        };
        let asked_at = wall_clock();
        to.send(&Knock::Join(join)).await?;
        let reply = tokio::time::timeout(self.config.dial_deadline, from.recv::<JoinReply>()).await;
        match reply.context("the head node took the join and did not answer")?? {
            Some(JoinReply::Joined {
                node,
                pool,
                groups,
                certificate,
                authority,
                clock,
                cluster,
            }) => {
                let clock_ahead_ms = ahead(asked_at, wall_clock(), clock);
                let identity = Identity::new(key, certificate.into(), authority.into())?;
                identity.save(folder, IDENTITY_NAME)?;
                connection.close(CloseCode::Done, "joined");
                let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                tracing::info!(%node, %pool, groups = names.join(" "), "joined the cluster");
                let member = Member {
                    node: node_of(&identity)?,
                    credential: Credential::new(identity, folder),
                };
                Ok(Joined {
                    member,
                    pool,
                    groups,
                    cluster,
                    clock_ahead_ms,
                })
            }
            Some(JoinReply::Refused { reason }) => {
                connection.close(CloseCode::Done, "refused");
                bail!("refused: {reason}")
            }
            None => bail!("the head node ended the join without an answer"),
        }
    }

    async fn dial(&mut self, tls: &ClientTls) -> anyhow::Result<Connection> {
        let head = self.config.head.clone();
        let address = tokio::task::spawn_blocking(move || resolve(&head)).await??;
        let dialer = match &self.dialer {
            Some(dialer) => dialer.clone(),
            None => self.bind(address)?,
        };
        Ok(dialer
            .dial(address, HEAD_SERVER_NAME, tls, self.config.dial_deadline)
            .await?)
    }

    /// Nodes on one machine dial from addresses of their own, so that head and peers tell them apart.
    fn bind(&mut self, head: SocketAddr) -> anyhow::Result<Dialer> {
        let settings = Settings::default().with_keep_alive(KEEP_ALIVE);
        let dialer = match self.config.address {
            Some(address) => Dialer::bind(address, settings),
            None => Dialer::for_peer(head, settings),
        };
        let from = self
            .config
            .address
            .map_or_else(|| "a free port".to_owned(), |address| address.to_string());
        let dialer = dialer.with_context(|| format!("cannot dial from {from}; is --address one of this machine's?"))?;
        self.dialer = Some(dialer.clone());
        Ok(dialer)
    }

    fn tell_away(&mut self, error: &anyhow::Error) {
        if std::mem::replace(&mut self.away, true) {
            tracing::debug!("head node still away: {error:#}");
        } else {
            tracing::warn!(
                head = self.config.head,
                "the head node cannot be reached, trying on: {error:#}"
            );
        }
    }

    /// Dials for ever, and hands what comes to `wakes`.
    pub(crate) async fn run<W: From<Brought>>(
        mut self,
        credential: Credential,
        answers: Answers,
        wakes: mpsc::Sender<W>,
    ) -> anyhow::Result<()> {
        let mut backoff = backoff();
        // What the head node holds for expired need not look so by the clock here: then a renewal is tried in turn.
        let mut renew_first = false;
        loop {
            let now = wall::now();
            if credential.is_expired(now) || std::mem::take(&mut renew_first) {
                match self.renew(&credential).await {
                    Ok(Renewal::Done) => tracing::info!("the certificate was renewed after it had expired"),
                    Ok(Renewal::Removed { reason }) => {
                        let removed = Brought::Message(HeadMessage::Removed { reason });
                        // The agent may be ending already; it ends with this in any case.
                        let _ = wakes.send(removed.into()).await;
                        return std::future::pending().await;
                    }
                    Err(error) => self.tell_away(&error),
                }
            }
            match self.dial(&credential.tls()?).await {
                Ok(connection) => {
                    let began = tokio::time::Instant::now();
                    let ended = carry(connection, self.dialer.clone(), &answers, &wakes).await;
                    if wakes.send(Brought::Lost.into()).await.is_err() {
                        return Ok(());
                    }
                    self.away = false;
                    self.tell_away(&ended.why);
                    renew_first = !ended.welcomed && credential.is_due(wall::now());
                    if began.elapsed() > GOOD_AFTER {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    self.tell_away(&error);
                    renew_first = !is_passing(&error) && credential.is_due(wall::now());
                }
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    /// A connection for nothing but a new certificate.
    async fn renew(&mut self, credential: &Credential) -> anyhow::Result<Renewal> {
        let connection = self.dial(&credential.tls()?).await?;
        let (mut to, mut from) = connection.open_stream().await?;
        to.send(&credential.request()?).await?;
        let reply = tokio::time::timeout(self.config.dial_deadline, from.recv::<HeadMessage>()).await;
        let reply = reply.context("the head node took the request for a new certificate and did not answer")?;
        let renewal = match reply? {
            Some(HeadMessage::Renewed { certificate, authority }) => {
                credential.replace(certificate, authority)?;
                Renewal::Done
            }
            Some(HeadMessage::Removed { reason }) => Renewal::Removed { reason },
            Some(HeadMessage::Refused { reason }) => bail!("the head node does not renew the certificate: {reason}"),
            Some(_) | None => bail!("the head node ended the renewal without an answer"),
        };
        connection.close(CloseCode::Done, "renewed");
        Ok(renewal)
    }

    /// Waits until the head node knows that connections were closed, or for a moment.
    pub(crate) async fn part(&self) {
        part(self.dialer.as_ref()).await;
    }
}

/// What came of a renewal before the hello.
#[derive(Debug)]
enum Renewal {
    Done,
    Removed { reason: String },
}

/// Whether trying to reach the head node again may help without a change by a person.
pub(crate) fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<DialError>().is_some_and(DialError::is_passing)
}

/// How far the clock here is ahead, when the other one was read between these two readings of ours; half the way is
/// taken off.
fn ahead(asked_at: Timestamp, answered_at: Timestamp, theirs: Timestamp) -> i64 {
    let middle = asked_at.0 / 2 + answered_at.0 / 2;
    let signed = |moment: u64| i64::try_from(moment).unwrap_or(i64::MAX);
    signed(middle).saturating_sub(signed(theirs.0))
}

fn tell_clock(ahead_ms: i64) {
    if Millis(ahead_ms.unsigned_abs()) > CLOCK_TOLERANCE {
        let off = Millis(ahead_ms.unsigned_abs());
        let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
        tracing::warn!(
            "the clock of this machine is {off} {way} the head node's: set it (chrony, systemd-timesyncd), or times of tasks \
             will be wrong and certificates may be refused"
        );
    }
}

async fn part(dialer: Option<&Dialer>) {
    if let Some(dialer) = dialer {
        dialer.wait_idle(PARTING_DEADLINE).await;
    }
}

/// Waits begin anew at another place on each node.
fn backoff() -> Backoff {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = u64::from(now.subsec_nanos()) ^ (u64::from(std::process::id()) << 32);
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, seed)
}

/// How a connection ended.
struct Ended {
    why: anyhow::Error,
    /// Whether the head node had taken the hello.
    welcomed: bool,
}

/// Carries one connection to its end.
async fn carry<W: From<Brought>>(
    connection: Connection,
    dialer: Option<Dialer>,
    answers: &Answers,
    wakes: &mpsc::Sender<W>,
) -> Ended {
    let mut welcomed = false;
    let why = carry_all(connection, dialer, answers, wakes, &mut welcomed).await;
    Ended { why, welcomed }
}

async fn carry_all<W: From<Brought>>(
    connection: Connection,
    dialer: Option<Dialer>,
    answers: &Answers,
    wakes: &mpsc::Sender<W>,
    welcomed: &mut bool,
) -> anyhow::Error {
    let (to, from) = match connection.open_stream().await {
        Ok(halves) => halves,
        Err(error) => return error.into(),
    };
    let (messages, waiting) = mpsc::channel(MESSAGES_AHEAD);
    let line = HeadLine {
        messages,
        connection: connection.clone(),
        dialer,
    };
    if wakes.send(Brought::Connected(line).into()).await.is_err() {
        return anyhow::anyhow!("the agent is ending");
    }
    let ended = tokio::select! {
        error = speak(to, waiting) => error,
        error = hear(from, wakes, welcomed) => error,
        error = answers.serve(&connection) => error,
    };
    // The peer's reason says more than the error of whichever half met it first.
    let ended = connection.close_reason().map_or(ended, Into::into);
    connection.close(CloseCode::Done, "the agent dials anew");
    ended
}

async fn speak(mut to: StreamWriter, mut waiting: mpsc::Receiver<NodeMessage>) -> anyhow::Error {
    let (mut batch, mut unsaid) = (Vec::new(), later_message());
    while waiting.recv_many(&mut batch, MESSAGES_AHEAD).await > 0 {
        if let Err(error) = to.send_all(&batch).await {
            return error.into();
        }
        batch.clear();
        // The hello came first.
        if let Some(later) = unsaid.take()
            && let Err(error) = to.send(&later).await
        {
            return error.into();
        }
    }
    anyhow::anyhow!("the agent ended the connection")
}

async fn hear<W: From<Brought>>(mut from: StreamReader, wakes: &mpsc::Sender<W>, welcomed: &mut bool) -> anyhow::Error {
    loop {
        match from.recv::<HeadMessage>().await {
            Ok(Some(message)) => {
                *welcomed |= matches!(message, HeadMessage::Welcome { .. });
                if wakes.send(Brought::Message(message).into()).await.is_err() {
                    return anyhow::anyhow!("the agent is ending");
                }
            }
            Ok(None) => return anyhow::anyhow!("the head node ended the conversation"),
            Err(error) => return error.into(),
        }
    }
}

/// The address of this machine towards the head node. No packet is sent for it.
pub(crate) fn address_towards(head: &str) -> anyhow::Result<IpAddr> {
    let head = resolve(head)?;
    let any: SocketAddr = if head.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket
        .connect(head)
        .with_context(|| format!("there is no way from here to {head}"))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_at_the_middle_of_the_way() {
        let compared = |asked, answered, theirs| ahead(Timestamp(asked), Timestamp(answered), Timestamp(theirs));
        assert_eq!(compared(1000, 1200, 1100), 0);
        assert_eq!(compared(61_000, 61_200, 1100), 60_000);
        assert_eq!(compared(1000, 1200, 61_100), -60_000);
    }
}
