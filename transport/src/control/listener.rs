//! The listening side: takes connections, up to a bound, and brings each through its handshake within a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime};

use super::connection::{CloseCode, Connection};
use super::failure::{ConnectionFailure, Peer};
use super::settings::{Settings, endpoint_config, restarting_endpoint_config};
use super::socket;
use crate::identity::{Fingerprint, ServerTls, SubjectError};

/// Handshakes that have begun and that nobody has accepted yet; more are refused.
const MAX_INCOMING: usize = 4096;

/// A UDP port on which peers may connect. Clones share it. When the last one is dropped no new connections come; those
/// that are there live on.
#[derive(Debug, Clone)]
pub struct Listener {
    endpoint: Endpoint,
    plain: Arc<ServerConfig>,
    large: Arc<ServerConfig>,
    settings: Settings,
    authority: Option<Fingerprint>,
}

impl Listener {
    /// Listens on that address; port 0 takes a free one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, tls: &ServerTls, settings: Settings) -> io::Result<Self> {
        Self::bind_with(address, tls, settings, endpoint_config())
    }

    /// The same for a server that keeps its port over restarts: with a secret that it keeps too, it answers packets of
    /// connections that its last life had with a stateless reset (RFC 9000, 10.3). So peers of a killed server notice
    /// with their next packet, and not only when the idle time is over.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind_restarting(
        address: SocketAddr,
        tls: &ServerTls,
        settings: Settings,
        secret: &[u8; 32],
    ) -> io::Result<Self> {
        Self::bind_with(address, tls, settings, restarting_endpoint_config(secret))
    }

    fn bind_with(address: SocketAddr, tls: &ServerTls, settings: Settings, config: EndpointConfig) -> io::Result<Self> {
        let (plain, large) = (
            server_config(tls, settings, settings.jumbo),
            server_config(tls, settings, true),
        );
        let socket = socket::bind(address)?;
        let first = Some((*plain).clone());
        let endpoint = Endpoint::new(config, first, socket, Arc::new(TokioRuntime))?;
        Ok(Self {
            endpoint,
            plain,
            large,
            settings,
            authority: tls.authority(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The next peer that wants to connect; none after [`Listener::close`]. Complete it in a task of its own, or one slow
    /// peer holds up all others. Can be cancelled.
    pub async fn accept(&self) -> Option<Pending> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let address = incoming.remote_address();
            if self.endpoint.open_connections() >= self.settings.max_connections {
                let max = self.settings.max_connections;
                tracing::warn!(peer = %address, max, "refused a connection: as many as allowed are open");
                incoming.refuse();
                continue;
            }
            let loopback = address.ip().to_canonical().is_loopback();
            let config = Arc::clone(if loopback { &self.large } else { &self.plain });
            return Some(Pending {
                incoming,
                config,
                authority: self.authority,
            });
        }
    }

    /// Ends all connections and takes no more.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.endpoint.close(code.number().into(), reason.as_bytes());
    }

    /// Waits until all peers know that their connections were closed, at most until the deadline. Before a program ends.
    pub async fn wait_idle(&self, deadline: Duration) {
        wait_idle(&self.endpoint, deadline).await;
    }
}

pub(super) async fn wait_idle(endpoint: &Endpoint, deadline: Duration) {
    if tokio::time::timeout(deadline, endpoint.wait_idle()).await.is_err() {
        tracing::debug!(?deadline, "some peers were not told that the connection is closed");
    }
}

fn server_config(tls: &ServerTls, settings: Settings, large_packets: bool) -> Arc<ServerConfig> {
    let mut config = ServerConfig::with_crypto(tls.crypto());
    config
        .transport_config(settings.transport(large_packets))
        .max_incoming(MAX_INCOMING);
    Arc::new(config)
}

/// A peer that wants to connect and has proved nothing yet.
#[derive(Debug)]
pub struct Pending {
    incoming: Incoming,
    config: Arc<ServerConfig>,
    authority: Option<Fingerprint>,
}

impl Pending {
    /// Where the peer says it is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.incoming.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Has a peer that has not shown yet that it is at its address show that: it comes back with what is sent there.
    /// One that has is given back.
    #[must_use]
    pub fn prove_address(self) -> Option<Self> {
        let Self {
            incoming,
            config,
            authority,
        } = self;
        if incoming.remote_address_validated() {
            return Some(Self {
                incoming,
                config,
                authority,
            });
        }
        // The only error gives one back that has shown it, and that was asked.
        let _ = incoming.retry();
        None
    }

    /// Turns the peer away; it may try again.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Brings the connection through its handshake.
    ///
    /// # Errors
    /// When the peer does not prove what it should, or not within the deadline.
    pub async fn complete(self, deadline: Duration) -> Result<Connection, AcceptError> {
        let address = self.remote_address();
        let peer = Peer {
            address,
            authority: self.authority,
        };
        let handshake = async {
            let connecting = self
                .incoming
                .accept_with(self.config)
                .map_err(|error| peer.failure(&error))?;
            let quic = connecting.await.map_err(|error| peer.failure(&error))?;
            Connection::new(quic, peer.authority).map_err(|source| AcceptError::Subject { peer: address, source })
        };
        let late = || AcceptError::TooSlow {
            peer: address,
            deadline,
        };
        tokio::time::timeout(deadline, handshake)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

/// Why a peer was not let in. For this side's log; the peer was told by TLS, where it was there to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] ConnectionFailure),
    /// The peer did not get ready.
    #[error("{peer} began to connect and did not get ready within {deadline:?}")]
    TooSlow {
        /// Where it is.
        peer: SocketAddr,
        /// How long it had.
        deadline: Duration,
    },
    /// The peer has a certificate of the right authority that names nobody we know.
    #[error("the certificate of {peer} is refused")]
    Subject {
        /// Where it is.
        peer: SocketAddr,
        /// What is wrong with it.
        source: SubjectError,
    },
}
