//! The allocations that an agent serves at this moment, each with an authority of its own.
//!
//! One listener serves them all. The client names the allocation it means in the TLS server name and is shown that
//! allocation's certificate; its own certificate is checked with the authority of the allocation it claims, and with no
//! other, so a program of one allocation can never pass for one of another. Taking an allocation out stops new
//! connections; closing those that are open is the agent's part.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use proto::ids::AttemptId;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::UnixTime;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::subject::attempt_of_server_name;
use super::tls::{client_verifier, provider};
use super::{CertificateDer, ClientCertificate, Identity, IdentityError, Subject, subject_of};

/// A set of allocations that changes while a listener uses it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DynamicTrust {
    // Held for a lookup only, never across a signature or an await; std's lock does.
    allocations: Arc<RwLock<BTreeMap<AttemptId, Served>>>,
}

#[derive(Debug, Clone)]
struct Served {
    clients: Arc<dyn ClientCertVerifier>,
    shown: Arc<CertifiedKey>,
}

impl DynamicTrust {
    /// An empty set: nobody is served.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves an allocation from now on, with an identity that its authority made. Replaces what was there under the
    /// same attempt.
    ///
    /// # Errors
    /// When TLS refuses the parts.
    pub fn add(&self, attempt: AttemptId, identity: &Identity) -> Result<(), IdentityError> {
        let clients = client_verifier(identity.authority(), ClientCertificate::Required)?;
        let shown = identity.certified_key()?;
        self.write().insert(attempt, Served { clients, shown });
        Ok(())
    }

    /// Serves an allocation no longer. Whether it was there.
    pub fn remove(&self, attempt: AttemptId) -> bool {
        self.write().remove(&attempt).is_some()
    }

    /// Whether an allocation is served.
    #[must_use]
    pub fn contains(&self, attempt: AttemptId) -> bool {
        self.read().contains_key(&attempt)
    }

    fn served(&self, attempt: AttemptId) -> Option<Served> {
        self.read().get(&attempt).cloned()
    }

    // A thread that panicked with the lock has left a whole map: inserting and removing are its only writes.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<AttemptId, Served>> {
        self.allocations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<AttemptId, Served>> {
        self.allocations.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for DynamicTrust {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let attempt = attempt_of_server_name(client_hello.server_name()?)?;
        Some(self.served(attempt)?.shown)
    }
}

impl ClientCertVerifier for DynamicTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The claim chooses the authority that it is checked with; until then it is only a claim.
        let served = match subject_of(end_entity) {
            Ok(Subject::Allocation(attempt)) => self.served(attempt),
            _ => None,
        };
        let served = served.ok_or(CertificateError::UnknownIssuer)?;
        served.clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
