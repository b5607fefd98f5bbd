//! Private keys: ECDSA P-256, made where they are used, kept in files that only their owner can read.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use proto::ids::KeyHash;
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::hash_of_key;
use super::file::{self, Access};
use super::{IdentityError, RequestDer};

/// A private key and its public half. Clones share it.
#[derive(Clone)]
pub struct KeyPair {
    inner: Arc<rcgen::KeyPair>,
}

impl fmt::Debug for KeyPair {
    /// The key never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Makes a fresh one.
    ///
    /// # Errors
    /// [`IdentityError::Make`] when the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self {
            inner: Arc::new(rcgen::KeyPair::generate()?),
        })
    }

    /// Takes the key of a PKCS#8 DER document.
    ///
    /// # Errors
    /// [`IdentityError::NotAKey`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from(der);
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|inner| Self { inner: Arc::new(inner) })
            .map_err(|_| IdentityError::NotAKey)
    }

    /// Takes an Ed25519 key, for the authorities of allocations only.
    pub(super) fn from_ed25519_der(der: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from(der);
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)
            .map(|inner| Self { inner: Arc::new(inner) })
            .map_err(|_| IdentityError::NotAKey)
    }

    /// The key as a PKCS#8 DER document. Secret.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Vec<u8> {
        self.inner.serialize_der()
    }

    /// Reads the key of a PKCS#8 PEM file.
    ///
    /// # Errors
    /// Also when the file could be read by others than its owner.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let text = file::read(path, Access::Private)?;
        let refused = || IdentityError::NotAKeyFile { path: path.to_owned() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| refused())?;
        Self::from_pkcs8_der(der.secret_pkcs8_der()).map_err(|_| refused())
    }

    /// Writes the key as a PKCS#8 PEM file of mode 0600, whole or not at all.
    ///
    /// # Errors
    /// [`IdentityError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), IdentityError> {
        file::write(
            path,
            file::to_pem("PRIVATE KEY", &self.to_pkcs8_der()).as_bytes(),
            Access::Private,
        )
    }

    /// A request for a certificate of this key. It proves possession of the key and names nobody: the issuer decides
    /// who that is.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn certificate_request(&self) -> Result<RequestDer<'static>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&*self.inner)?.der().clone())
    }

    /// Which key it is, as certificates of it say too.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        hash_of_key(&self.public_der())
    }

    /// The public half as a SubjectPublicKeyInfo DER document.
    pub(super) fn public_der(&self) -> Vec<u8> {
        self.inner.subject_public_key_info()
    }

    /// For signing certificates.
    pub(super) fn signer(&self) -> &rcgen::KeyPair {
        &self.inner
    }

    /// For TLS.
    pub(super) fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.to_pkcs8_der()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        let key = KeyPair::generate().expect("a key");
        key.write(&path).expect("writes");
        assert_eq!(KeyPair::read(&path).expect("reads").public_der(), key.public_der());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        KeyPair::generate().expect("a key").write(&path).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = KeyPair::read(&path).expect_err("is open");
        assert!(error.to_string().contains("mode 0640"), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn other_bytes_are_no_key() {
        assert!(matches!(
            KeyPair::from_pkcs8_der(b"nonsense"),
            Err(IdentityError::NotAKey)
        ));
        let missing = KeyPair::read(Path::new("no/such/file.key")).expect_err("is not there");
        assert!(missing.is_missing());
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = KeyPair::generate().expect("a key");
        assert_eq!(format!("{key:?}"), "KeyPair { .. }");
    }
}
