//! The hosts of a launch: what the task's socket says of them, and having a proxy started on each.
//!
//! The agent of this node answers on the socket; the agents of others are dialled with the certificate that the socket
//! gave. Every answer has a deadline, and an agent's refusal is handed on in its own words, with the node's name.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::frame::VERSION;
use proto::launch::{AgentReply, AgentRequest, AllocationView};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use transport::control::{
    CloseCode, Connection, ConnectionFailure, DialError, Dialer, FrameReader, FrameWriter, Settings, StreamError,
    split_socket,
};
use transport::identity::{Alpn, CertificateDer, ClientTls, Identity, IdentityError, KeyPair, allocation_server_name};

/// How long an agent may take for an answer. Starting a process takes milliseconds; the rest is for a loaded node.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a host cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The socket that the environment names cannot be opened.
    #[error("the task's socket {} cannot be opened; is this still the task that it was made for?", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The agent said no.
    #[error("{reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// No answer came in time.
    #[error("its agent did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// The agent hung up.
    #[error("its agent closed the connection without an answer")]
    HungUp,
    /// The agent answered something else than was asked.
    #[error("its agent answered something that was not asked; do the versions differ?")]
    Unexpected,
    /// The conversation broke.
    #[error("the conversation with its agent broke")]
    Stream(#[from] StreamError),
    /// Keys or certificates are not what they should be.
    #[error("the certificate for this launch cannot be made")]
    Identity(#[from] IdentityError),
    /// The agent cannot be reached.
    #[error("its agent cannot be reached")]
    Dial(#[from] DialError),
    /// The agent was reached and the connection broke.
    #[error("the connection to its agent was lost")]
    Lost(#[from] ConnectionFailure),
    /// There is no port to dial from.
    #[error("no UDP port can be opened on this node's address {address}")]
    NoPort {
        /// The address.
        address: IpAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// For all connections of a launch: dead peers are noticed in about 10 s although nobody has anything to say. Shorter
/// would take an overloaded node for a dead one.
#[must_use]
pub fn link_settings() -> Settings {
    Settings::default()
        .with_idle_timeout(Duration::from_secs(10))
        .with_keep_alive(Duration::from_millis(2500))
}

/// An error with all its causes, in one line.
#[must_use]
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent error repeats its source.
        if !words.ends_with(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

/// The task's socket: the agent of this node answers.
#[derive(Debug)]
pub struct TaskSocket {
    reader: FrameReader<OwnedReadHalf>,
    writer: FrameWriter<OwnedWriteHalf>,
}

impl TaskSocket {
    /// Opens it.
    ///
    /// # Errors
    /// [`HostError::Socket`].
    pub async fn open(path: &Path) -> Result<Self, HostError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|source| HostError::Socket {
            path: path.to_owned(),
            source,
        })?;
        let (writer, reader) = split_socket(stream);
        Ok(Self { reader, writer })
    }

    /// What was granted.
    ///
    /// # Errors
    /// [`HostError`], also when the agent speaks another version.
    pub async fn describe(&mut self) -> Result<AllocationView, HostError> {
        match self.ask(&AgentRequest::Describe { version: VERSION }).await? {
            AgentReply::Allocation(view) => Ok(*view),
            _ => Err(HostError::Unexpected),
        }
    }

    /// Makes a key and has it certified for this allocation.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn certify(&mut self) -> Result<Identity, HostError> {
        let key = KeyPair::generate()?;
        let request = key.certificate_request()?.to_vec();
        match self.ask(&AgentRequest::Certify { request }).await? {
            AgentReply::Certified { certificate, authority } => Ok(Identity::new(
                key,
                CertificateDer::from(certificate),
                CertificateDer::from(authority),
            )?),
            _ => Err(HostError::Unexpected),
        }
    }

    /// Has a proxy started on this node.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn start_proxy(&mut self, request: &AgentRequest) -> Result<(), HostError> {
        proxy_started(self.ask(request).await?)
    }

    async fn ask(&mut self, request: &AgentRequest) -> Result<AgentReply, HostError> {
        exchange(&mut self.reader, &mut self.writer, request).await
    }
}

/// The way from this node to others of the allocation.
#[derive(Debug, Clone)]
pub struct Peers {
    dialer: Dialer,
    tls: ClientTls,
    server_name: String,
}

impl Peers {
    /// Dials from this node's own address, with this identity.
    ///
    /// # Errors
    /// [`HostError`] when the identity is unusable or the address cannot be had.
    pub fn new(view: &AllocationView, identity: &Identity) -> Result<Self, HostError> {
        let tls = ClientTls::new(Some(identity), &identity.trust(), Alpn::Launch)?;
        let bound = Dialer::bind(view.address, link_settings());
        let dialer = bound.map_err(|source| HostError::NoPort {
            address: view.address,
            source,
        })?;
        Ok(Self {
            dialer,
            tls,
            server_name: allocation_server_name(view.attempt),
        })
    }

    /// Connects to an agent or to mpiexec, which must be of the same allocation.
    ///
    /// # Errors
    /// [`HostError::Dial`].
    pub async fn dial(&self, peer: SocketAddr) -> Result<Connection, HostError> {
        Ok(self
            .dialer
            .dial(peer, &self.server_name, &self.tls, ANSWER_TIMEOUT)
            .await?)
    }

    /// Has a proxy started on another node.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn start_proxy(&self, agent: SocketAddr, request: &AgentRequest) -> Result<(), HostError> {
        let connection = self.dial(agent).await?;
        let (mut writer, mut reader) = connection.open_stream().await?;
        let reply = exchange(&mut reader, &mut writer, request).await;
        connection.close(CloseCode::Done, "");
        proxy_started(reply?)
    }
}

async fn exchange<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    request: &AgentRequest,
) -> Result<AgentReply, HostError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let asking = async {
        writer.send(request).await?;
        reader.recv::<AgentReply>().await
    };
    match timeout(ANSWER_TIMEOUT, asking).await.map_err(|_| HostError::Silent)?? {
        Some(AgentReply::Refused { reason }) => Err(HostError::Refused { reason }),
        Some(reply) => Ok(reply),
        None => Err(HostError::HungUp),
    }
}

fn proxy_started(reply: AgentReply) -> Result<(), HostError> {
    match reply {
        AgentReply::ProxyStarted => Ok(()),
        _ => Err(HostError::Unexpected),
    }
}
