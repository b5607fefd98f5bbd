//! Who is who: keys, certificates, authorities, join and log-in tokens, and the TLS settings made of them.
//!
//! Every program makes its own key and sends only a certificate request, so a private key never crosses a wire; the one
//! exception is the authority of an allocation, which lives as short as the allocation. What a certificate says is one
//! [`Subject`]; what a peer may do is decided by whoever reads it, never here. Times come in as arguments: nothing here
//! reads the clock, except that TLS itself compares certificates with the time of day.
//!
//! Sessions are never resumed and there is no early data: a resumed session would skip the check of the certificate, and
//! a removed allocation or node could come back. A whole handshake costs under a millisecond.

mod allocation;
mod authority;
mod certificate;
mod dynamic;
mod error;
mod file;
mod key;
mod own;
mod pinned;
mod problem;
mod renewable;
mod shown;
mod subject;
mod tls;
mod token;

pub use allocation::AllocationSecret;
pub use authority::{Authority, CLOCK_SKEW};
pub use certificate::{Fingerprint, FingerprintError, Validity, key_of, subject_of, validity_of};
pub use dynamic::DynamicTrust;
pub use error::IdentityError;
pub use key::KeyPair;
pub use own::Identity;
pub use problem::{CertificateFault, HandshakeProblem, Whose, explain};
pub use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer as RequestDer};
pub use subject::{HEAD_SERVER_NAME, NODE_SERVER_NAME, Subject, SubjectError, allocation_server_name};
pub use tls::{Alpn, ClientCertificate, ClientTls, ServerTls, Trust};
pub use token::{JoinToken, LoginToken, TokenError, TokenHash, TokenKind, TokenSecret};

/// What the other side sent as its certificate chain, its own certificate first.
pub(crate) fn peer_chain(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    let identity = connection.peer_identity()?;
    identity
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()
        .map(|chain| *chain)
}
