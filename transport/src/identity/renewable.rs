//! The check of clients by the head: as always, except that the certificate of a node may have expired.
//!
//! A node that was away for longer than its certificate's life still holds the key that it was let in with; with it, and
//! nothing else, it may ask for a new certificate. Everything but the end is checked as for any other: the authority, the
//! signature, the purpose, the beginning. Users get no such grace: they log in anew.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::UnixTime;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{CertificateDer, Subject, subject_of, validity_of};

#[derive(Debug)]
pub(super) struct RenewableVerifier {
    strict: Arc<dyn ClientCertVerifier>,
}

impl RenewableVerifier {
    pub(super) const fn new(strict: Arc<dyn ClientCertVerifier>) -> Self {
        Self { strict }
    }
}

impl ClientCertVerifier for RenewableVerifier {
    fn offer_client_auth(&self) -> bool {
        self.strict.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.strict.verify_client_cert(end_entity, intermediates, now) {
            Err(expired) if is_expiry(&expired) => match last_moment_of_node(end_entity, now) {
                // Whatever else is wrong with it is found this time.
                Some(then) => self.strict.verify_client_cert(end_entity, intermediates, then),
                None => Err(expired),
            },
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

const fn is_expiry(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
    )
}

/// The last moment at which the certificate of a node was good; none for others, and for ends that are still to come.
fn last_moment_of_node(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
    let Ok(Subject::Node(_)) = subject_of(certificate) else {
        return None;
    };
    let end = validity_of(certificate)?.not_after;
    let end = end.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    (end.as_secs() < now.as_secs()).then(|| UnixTime::since_unix_epoch(end))
}
