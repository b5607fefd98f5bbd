//! What can go wrong with keys, certificates and authorities at rest.

use std::io;
use std::path::PathBuf;

use super::Fingerprint;

/// Why a key, certificate or authority cannot be made, read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A private key that others could have read.
    #[error(
        "the private key {path} is open to others (mode {mode:04o}): type 'chmod 600 {path}' if nobody has read it"
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that holds no key of ours.
    #[error("{path} holds no ECDSA P-256 private key in PKCS#8 PEM form")]
    NotAKeyFile {
        /// Which.
        path: PathBuf,
    },
    /// A file that does not hold the certificates it should.
    #[error("{path} does not hold {expected} in PEM form")]
    NotACertificateFile {
        /// Which.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// An authority is there already; writing another one would lock every node out.
    #[error("there is a certificate authority already in {path}: it is never overwritten")]
    AuthorityExists {
        /// Its certificate.
        path: PathBuf,
    },
    /// Bytes that are no key of ours.
    #[error("the bytes are no ECDSA P-256 private key in PKCS#8 form")]
    NotAKey,
    /// Bytes that are no certificate.
    #[error("the bytes are no X.509 certificate")]
    NotACertificate,
    /// A certificate and a key that do not belong together.
    #[error("the private key is not the one of the certificate (fingerprint {certificate})")]
    KeyMismatch {
        /// Of the certificate.
        certificate: Fingerprint,
    },
    /// A certificate request that cannot be granted.
    #[error("the certificate request is refused: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key maker or signer failed.
    #[error("cannot make a key or certificate")]
    Make(#[from] rcgen::Error),
    /// TLS refuses the parts it is given.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// TLS refuses the authorities it is given.
    #[error("cannot set up the check of certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl IdentityError {
    /// Whether the only trouble is that a file is not there: nothing was made yet.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
