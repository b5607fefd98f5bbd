//! TLS settings for QUIC: version 1.3 only, ring, AES-128-GCM first, both sides with certificates.
//!
//! The crypto provider is named everywhere and never installed as the process's default, so that a program that links
//! another TLS user cannot change ours.

use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::pinned::PinnedVerifier;
use super::renewable::RenewableVerifier;
use super::shown::Shown;
use super::{CertificateDer, DynamicTrust, Fingerprint, Identity, IdentityError};
use crate::wall;

/// What is spoken on a connection, said in the TLS handshake. Two programs that mean different things never get further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// With the head: `muster/1`.
    Head,
    /// Within a launch: `muster-launch/1`.
    Launch,
}

impl Alpn {
    /// As it travels.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Head => b"muster/1",
            Self::Launch => b"muster-launch/1",
        }
    }

    /// What messages to people show of an authority. Every node makes the certificate of an allocation's authority for
    /// itself, so its fingerprint would tell nothing.
    fn shown(self, trust: &Trust) -> Option<Fingerprint> {
        match self {
            Self::Head => Some(trust.fingerprint()),
            Self::Launch => None,
        }
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that this authority made.
    Authority(CertificateDer<'static>),
    /// Those of the authority with this fingerprint, which the server must send along. For joining only.
    Pinned(Fingerprint),
}

impl Trust {
    /// To trust whoever the authority with this fingerprint vouches for, as a join token says.
    #[must_use]
    pub const fn pinned(fingerprint: Fingerprint) -> Self {
        Self::Pinned(fingerprint)
    }

    /// Of the authority.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Authority(certificate) => Fingerprint::of(certificate),
            Self::Pinned(fingerprint) => *fingerprint,
        }
    }
}

/// Whether a server talks to those who show no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It does: a node that joins has none. The server must then let such a peer do nothing but join.
    Optional,
    /// It does, and a node's certificate may have expired: such a node may do nothing but renew it.
    /// [`Connection::peer_expired`](crate::control::Connection::peer_expired) tells.
    Renewable,
    /// It does not.
    Required,
}

/// The TLS settings of a dialling side. Made once, used for many connections.
#[derive(Clone)]
pub struct ClientTls {
    crypto: Arc<QuicClientConfig>,
    authority: Option<Fingerprint>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Shows `identity`, if there is one yet, and believes `trust`.
    ///
    /// # Errors
    /// When TLS refuses the parts.
    pub fn new(identity: Option<&Identity>, trust: &Trust, alpn: Alpn) -> Result<Self, IdentityError> {
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(WallClock))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(server_verifier(trust)?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(vec![own.certificate().clone()], own.key().tls_key())?,
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            crypto: Arc::new(quic_client(config)?),
            authority: alpn.shown(trust),
        })
    }

    /// For quinn.
    #[must_use]
    pub fn crypto(&self) -> Arc<QuicClientConfig> {
        Arc::clone(&self.crypto)
    }

    /// Of the authority that must have made the server's certificate, where people can know it: the cluster's.
    #[must_use]
    pub const fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }
}

/// The TLS settings of a listening side.
#[derive(Clone)]
pub struct ServerTls {
    crypto: Arc<QuicServerConfig>,
    authority: Option<Fingerprint>,
    shown: Option<Arc<Shown>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Shows `identity` and believes clients with a certificate of the same authority.
    ///
    /// # Errors
    /// When TLS refuses the parts.
    pub fn new(identity: &Identity, clients: ClientCertificate, alpn: Alpn) -> Result<Self, IdentityError> {
        let verifier = client_verifier(identity.authority(), clients)?;
        let shown = Arc::new(Shown::new(identity.certified_key()?));
        let crypto = quic_server(verifier, Arc::<Shown>::clone(&shown), alpn)?;
        Ok(Self {
            crypto: Arc::new(crypto),
            authority: alpn.shown(&identity.trust()),
            shown: Some(shown),
        })
    }

    /// Shows another identity of the same authority from now on, on every listener that was made with these settings.
    /// Connections that are there stay. Does nothing for settings of [`ServerTls::launch`], which show one per allocation.
    ///
    /// # Errors
    /// When TLS refuses the parts; the old identity is shown on.
    pub fn show(&self, identity: &Identity) -> Result<(), IdentityError> {
        if let Some(shown) = &self.shown {
            shown.replace(identity.certified_key()?);
        }
        Ok(())
    }

    /// For an agent: serves each allocation under the allocation's own name, to clients with a certificate of that
    /// allocation, while it is in `trust`.
    ///
    /// # Errors
    /// When TLS refuses the parts.
    pub fn launch(trust: &DynamicTrust) -> Result<Self, IdentityError> {
        let crypto = quic_server(Arc::new(trust.clone()), Arc::new(trust.clone()), Alpn::Launch)?;
        Ok(Self {
            crypto: Arc::new(crypto),
            authority: None,
            shown: None,
        })
    }

    /// For quinn.
    #[must_use]
    pub fn crypto(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.crypto)
    }

    /// Of the authority that must have made a client's certificate, where people can know it: the cluster's.
    #[must_use]
    pub const fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }
}

/// Certificates are judged by the same clock as everything else.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = wall::now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Made once: ring, the suites of TLS 1.3, the fastest first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
            ..default_provider()
        })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

pub(super) fn roots_of(authority: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn server_verifier(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, IdentityError> {
    Ok(match trust {
        Trust::Authority(certificate) => {
            WebPkiServerVerifier::builder_with_provider(roots_of(certificate)?, provider()).build()?
        }
        Trust::Pinned(fingerprint) => Arc::new(PinnedVerifier::new(*fingerprint, provider())),
    })
}

pub(super) fn client_verifier(
    authority: &CertificateDer<'_>,
    clients: ClientCertificate,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots_of(authority)?, provider());
    // Without hints a client of another cluster shows its certificate all the same, and both sides learn what is wrong.
    let builder = builder.clear_root_hint_subjects();
    Ok(match clients {
        ClientCertificate::Optional => builder.allow_unauthenticated().build()?,
        ClientCertificate::Renewable => Arc::new(RenewableVerifier::new(builder.allow_unauthenticated().build()?)),
        ClientCertificate::Required => builder.build()?,
    })
}

fn quic_client(config: ClientConfig) -> Result<QuicClientConfig, IdentityError> {
    QuicClientConfig::try_from(config).map_err(no_initial_suite)
}

fn quic_server(
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
    alpn: Alpn,
) -> Result<QuicServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(WallClock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(no_initial_suite)
}

/// Cannot happen while [`provider`] has AES-128-GCM; an error all the same, not a panic.
fn no_initial_suite(error: quinn::crypto::rustls::NoInitialCipherSuite) -> IdentityError {
    IdentityError::Tls(rustls::Error::General(error.to_string()))
}
