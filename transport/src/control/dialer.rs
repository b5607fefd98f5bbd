//! The dialling side.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, ConnectError, Endpoint, TokioRuntime};

use super::connection::Connection;
use super::failure::{ConnectionFailure, Peer};
use super::settings::{Settings, endpoint_config};
use super::{listener, socket};
use crate::identity::{ClientTls, HandshakeProblem, SubjectError};

/// A UDP port from which connections are made. Clones share it; dropping it leaves connections alone.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    settings: Settings,
}

impl Dialer {
    /// Dials from that address; a node with an address of its own dials from there, since the head takes it for the
    /// node's. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(local: IpAddr, settings: Settings) -> io::Result<Self> {
        let socket = socket::bind(SocketAddr::new(local, 0))?;
        let endpoint = Endpoint::new(endpoint_config(), None, socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, settings })
    }

    /// Dials from whatever address the system chooses for that peer.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn for_peer(peer: SocketAddr, settings: Settings) -> io::Result<Self> {
        let local = match peer {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self::bind(local, settings)
    }

    /// Connects to `address`, which must prove to be `server_name`. Can be cancelled.
    ///
    /// The other side may still refuse our own certificate: see the module's page.
    ///
    /// # Errors
    /// When that does not succeed within the deadline.
    pub async fn dial(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: &ClientTls,
        deadline: Duration,
    ) -> Result<Connection, DialError> {
        let mut config = ClientConfig::new(tls.crypto());
        config.transport_config(self.settings.transport_for(address.ip()));
        let refused = |source| DialError::NotPossible { peer: address, source };
        let connecting = self
            .endpoint
            .connect_with(config, address, server_name)
            .map_err(refused)?;
        // QUIC gives up by itself after the idle time.
        let no_answer = || DialError::NoAnswer {
            peer: address,
            waited: deadline.min(self.settings.idle_timeout),
        };
        let peer = Peer {
            address,
            authority: tls.authority(),
        };
        let quic = match tokio::time::timeout(deadline, connecting).await {
            Err(_) | Ok(Err(quinn::ConnectionError::TimedOut)) => return Err(no_answer()),
            Ok(outcome) => outcome.map_err(|error| peer.failure(&error))?,
        };
        Connection::new(quic, peer.authority).map_err(|source| DialError::Subject { peer: address, source })
    }

    /// Waits until all peers know that their connections were closed, at most until the deadline. Before a program ends.
    pub async fn wait_idle(&self, deadline: Duration) {
        listener::wait_idle(&self.endpoint, deadline).await;
    }
}

/// Connects once, from a port of its own.
///
/// # Errors
/// As [`Dialer::dial`].
pub async fn dial(
    address: SocketAddr,
    server_name: &str,
    tls: &ClientTls,
    settings: Settings,
    deadline: Duration,
) -> Result<Connection, DialError> {
    let dialer = Dialer::for_peer(address, settings).map_err(|source| DialError::NoPort { source })?;
    dialer.dial(address, server_name, tls, deadline).await
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no port to dial from.
    #[error("cannot open a UDP port to dial from")]
    NoPort {
        /// Why.
        source: io::Error,
    },
    /// The address or name is none that can be dialled.
    #[error("{peer} cannot be dialled")]
    NotPossible {
        /// Where.
        peer: SocketAddr,
        /// Why.
        source: ConnectError,
    },
    /// Nobody answered.
    #[error(
        "no answer from {peer} within {waited:?}: check that Muster runs there, that address and port are right, and that \
         UDP passes between the two machines"
    )]
    NoAnswer {
        /// Where.
        peer: SocketAddr,
        /// How long.
        waited: Duration,
    },
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] ConnectionFailure),
    /// The peer has a certificate of the right authority that names nobody we know.
    #[error("the certificate of {peer} is refused")]
    Subject {
        /// Where.
        peer: SocketAddr,
        /// What is wrong with it.
        source: SubjectError,
    },
}

impl DialError {
    /// Whether trying again without a change by a person may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::NoPort { .. } | Self::NoAnswer { .. } => true,
            Self::NotPossible { .. } | Self::Subject { .. } => false,
            Self::Handshake(failure) => failure.problem.is_passing(),
        }
    }

    /// What the handshake failed of, if it came so far.
    #[must_use]
    pub const fn problem(&self) -> Option<&HandshakeProblem> {
        match self {
            Self::Handshake(failure) => Some(&failure.problem),
            _ => None,
        }
    }
}
