//! A rank's own key, and trust in the others by the hash of their certificates.
//!
//! Each rank makes a fresh key and a self-signed certificate, publishes the hash with its address through PMI, and
//! accepts exactly the published ones, in both directions. No authority is needed, so ranks run under any launcher; what
//! is trusted is the launcher's key-value space. Dates and names in the certificates are not looked at: the pin is the
//! certificate itself, and it lives as long as the process.

use std::sync::Arc;

use proto::ids::Rank;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::rank_address::CertificateHash;

/// What both sides must name in the TLS handshake.
const ALPN: &[u8] = b"muster-rank/1";

/// The name dialled; it is the same for all ranks because the pin, not the name, tells who is who.
pub(super) const SERVER_NAME: &str = "rank.muster";

/// A rank's identity could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RankIdentityError {
    /// The key or certificate.
    #[error("making this rank's key and certificate failed")]
    Certificate(#[from] rcgen::Error),
    /// The TLS settings.
    #[error("the TLS settings of this rank were refused")]
    Tls(#[from] rustls::Error),
    /// QUIC wants a cipher suite that the provider lacks.
    #[error("the TLS provider has no cipher suite for QUIC")]
    NoInitialSuite(#[from] quinn_proto::crypto::rustls::NoInitialCipherSuite),
}

/// This rank's key and certificate.
#[derive(Debug)]
pub(super) struct RankIdentity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl RankIdentity {
    pub(super) fn generate() -> Result<Self, RankIdentityError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])?.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        })
    }

    pub(super) fn hash(&self) -> CertificateHash {
        CertificateHash::of(&self.certificate)
    }

    /// Settings that dial the one peer with this certificate.
    pub(super) fn dialling(&self, peer: CertificateHash) -> Result<QuicClientConfig, RankIdentityError> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pins::new(&self.provider, vec![peer])))
            .with_client_auth_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(QuicClientConfig::try_from(config)?)
    }

    /// Settings that answer any of these peers.
    pub(super) fn answering(&self, peers: Vec<CertificateHash>) -> Result<QuicServerConfig, RankIdentityError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Pins::new(&self.provider, peers)))
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Nobody resumes: a pair connects once.
        config.send_tls13_tickets = 0;
        Ok(QuicServerConfig::try_from(config)?)
    }
}

/// Who the other side of an established connection is, by its place in the book.
pub(super) fn peer_rank(session: &dyn quinn_proto::crypto::Session, book: &[CertificateHash]) -> Option<Rank> {
    let chain = session
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    let hash = CertificateHash::of(chain.first()?);
    let position = book.iter().position(|known| *known == hash)?;
    u32::try_from(position).ok().map(Rank)
}

/// Accepts the certificates with these hashes and no others.
#[derive(Debug)]
struct Pins {
    allowed: Vec<CertificateHash>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pins {
    fn new(provider: &CryptoProvider, mut allowed: Vec<CertificateHash>) -> Self {
        allowed.sort_unstable();
        Self {
            allowed,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match self.allowed.binary_search(&CertificateHash::of(certificate)) {
            Ok(_) => Ok(()),
            Err(_) => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
