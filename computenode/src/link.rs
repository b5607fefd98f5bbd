//! The link to the head node: joins with a token, dials, redials, and carries messages both ways.
//!
//! It decides nothing. What a connection brings is handed to the agent, which speaks first (its hello) and says when
//! the connection is to end. A head node that is away is waited for with growing pauses; the log says so once.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use proto::control::{HeadMessage, Join, JoinReply, NodeMessage};
use proto::frame::VERSION;
use proto::ids::NodeId;
use tokio::sync::mpsc;
use transport::control::{Backoff, CloseCode, Connection, DialError, Dialer, Settings, StreamReader, StreamWriter};
use transport::identity::{
    Alpn, ClientTls, HEAD_SERVER_NAME, Identity, JoinToken, KeyPair, Subject, Trust, subject_of,
};

use crate::config::{Config, resolve};
use crate::files::Files;

/// The name of the identity's files in the node's folder.
const IDENTITY_NAME: &str = "node";

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

/// How many of the head node's questions for files are answered at once.
const MAX_FILE_STREAMS: usize = 32;

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
    pub(crate) identity: Identity,
    pub(crate) node: NodeId,
}

impl Member {
    fn of(identity: Identity) -> anyhow::Result<Self> {
        match subject_of(identity.certificate())? {
            Subject::Node(node) => Ok(Self { identity, node }),
            other => bail!("the certificate in this folder names '{other}' and no node; give another --dir"),
        }
    }
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
            part(self.dialer.as_ref()).await;
        }
        member
    }

    async fn known_or_joined(&mut self, folder: &Path) -> anyhow::Result<Member> {
        match Identity::load(folder, IDENTITY_NAME) {
            Ok(identity) => return Member::of(identity),
            Err(error) if error.is_missing() => {}
            Err(error) => {
                return Err(error)
                    .context("this node's identity is damaged; join anew with an empty --dir and a new token");
            }
        }
        let Some(token) = self.config.token.clone() else {
            bail!(
                "this node has not joined the cluster yet and got no join token; make one on the head node with 'node token' \
                 and start this agent with --token or --token-file"
            );
        };
        let mut backoff = backoff();
        loop {
            match self.join(&token, folder).await {
                Ok(member) => return Ok(member),
                Err(error) if error.downcast_ref::<DialError>().is_some_and(DialError::is_passing) => {
                    self.tell_away(&error)
                }
                Err(error) => {
                    return Err(error.context(format!("node '{}' cannot join {}", self.config.name, self.config.head)));
                }
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn join(&mut self, token: &JoinToken, folder: &Path) -> anyhow::Result<Member> {
        let tls = ClientTls::new(None, &Trust::pinned(token.authority), Alpn::Head)?;
        let connection = self.dial(&tls).await?;
        let (mut to, mut from) = connection.open_stream().await?;
        let key = KeyPair::generate()?;
        let request = key.certificate_request()?.to_vec();
        let join = Join {
            version: VERSION,
            secret: token.secret.to_hex(),
            name: self.config.name.clone(),
            request,
        };
        to.send(&join).await?;
        let reply = tokio::time::timeout(self.config.dial_deadline, from.recv::<JoinReply>()).await;
        match reply.context("the head node took the join and did not answer")?? {
            Some(JoinReply::Joined {
                node,
                pool,
                groups,
                certificate,
                authority,
            }) => {
                let identity = Identity::new(key, certificate.into(), authority.into())?;
                identity.save(folder, IDENTITY_NAME)?;
                connection.close(CloseCode::Done, "joined");
                let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
                tracing::info!(%node, %pool, groups = groups.join(" "), "joined the cluster");
                Member::of(identity)
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
        member: Member,
        files: Files,
        wakes: mpsc::Sender<W>,
    ) -> anyhow::Result<()> {
        let tls = ClientTls::new(Some(&member.identity), &member.identity.trust(), Alpn::Head)?;
        let mut backoff = backoff();
        loop {
            match self.dial(&tls).await {
                Ok(connection) => {
                    let began = tokio::time::Instant::now();
                    let ended = carry(connection, self.dialer.clone(), &files, &wakes).await;
                    if wakes.send(Brought::Lost.into()).await.is_err() {
                        return Ok(());
                    }
                    self.away = false;
                    self.tell_away(&ended);
                    if began.elapsed() > GOOD_AFTER {
                        backoff.reset();
                    }
                }
                Err(error) => self.tell_away(&error),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}

/// Waits until the head node knows that connections were closed, or for a moment.
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

/// Carries one connection to its end; the answer says why it ended.
async fn carry<W: From<Brought>>(
    connection: Connection,
    dialer: Option<Dialer>,
    files: &Files,
    wakes: &mpsc::Sender<W>,
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
        error = hear(from, wakes) => error,
        error = answer(&connection, files) => error,
    };
    // The peer's reason says more than the error of whichever half met it first.
    let ended = connection.close_reason().map_or(ended, Into::into);
    connection.close(CloseCode::Done, "the agent dials anew");
    ended
}

async fn speak(mut to: StreamWriter, mut waiting: mpsc::Receiver<NodeMessage>) -> anyhow::Error {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, MESSAGES_AHEAD).await > 0 {
        if let Err(error) = to.send_all(&batch).await {
            return error.into();
        }
        batch.clear();
    }
    anyhow::anyhow!("the agent ended the connection")
}

async fn hear<W: From<Brought>>(mut from: StreamReader, wakes: &mpsc::Sender<W>) -> anyhow::Error {
    loop {
        match from.recv::<HeadMessage>().await {
            Ok(Some(message)) => {
                if wakes.send(Brought::Message(message).into()).await.is_err() {
                    return anyhow::anyhow!("the agent is ending");
                }
            }
            Ok(None) => return anyhow::anyhow!("the head node ended the conversation"),
            Err(error) => return error.into(),
        }
    }
}

/// The head node's questions for files, each on a stream of its own.
async fn answer(connection: &Connection, files: &Files) -> anyhow::Error {
    let mut streams = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_stream(), if streams.len() < MAX_FILE_STREAMS => match stream {
                Ok((to, from)) => drop(streams.spawn(files.clone().serve(to, from))),
                Err(error) => return error.into(),
            },
            Some(done) = streams.join_next() => {
                if let Ok(Err(error)) = done {
                    tracing::warn!("a question for a file was not answered: {error:#}");
                }
            }
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
