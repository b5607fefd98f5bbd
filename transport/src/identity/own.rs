//! What a program shows of itself: its key, the certificate of that key, and the authority that made it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;

use super::certificate::public_der_of;
use super::file::{self, Access};
use super::tls::provider;
use super::{CertificateDer, Fingerprint, IdentityError, KeyPair, Trust};

/// A key with its certificate and the authority's certificate. What authenticates a program to others.
#[derive(Debug, Clone)]
pub struct Identity {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

impl Identity {
    /// Puts together what belongs together: `certificate` was made for `key` by `authority`.
    ///
    /// # Errors
    /// [`IdentityError::KeyMismatch`] when the certificate is of another key. Whether the authority made it is for the
    /// other side to check.
    pub fn new(
        key: KeyPair,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, IdentityError> {
        public_der_of(&authority).ok_or(IdentityError::NotACertificate)?;
        let public = public_der_of(&certificate).ok_or(IdentityError::NotACertificate)?;
        if public == key.public_der() {
            Ok(Self {
                key,
                certificate,
                authority,
            })
        } else {
            Err(IdentityError::KeyMismatch {
                certificate: Fingerprint::of(&certificate),
            })
        }
    }

    /// Writes `NAME.key` (mode 0600) and `NAME.crt` (certificate, then authority) into a folder, over what is there.
    /// After a crash in between the two do not match, which [`Identity::load`] reports.
    ///
    /// # Errors
    /// [`IdentityError::Write`].
    pub fn save(&self, folder: &Path, name: &str) -> Result<(), IdentityError> {
        let mut text = file::to_pem("CERTIFICATE", &self.certificate);
        text.push_str(&file::to_pem("CERTIFICATE", &self.authority));
        let (key_path, certificate_path) = paths(folder, name);
        self.key.write(&key_path)?;
        file::write(&certificate_path, text.as_bytes(), Access::Public)
    }

    /// Reads what [`Identity::save`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::is_missing`] tells a folder that has none from one that is damaged.
    pub fn load(folder: &Path, name: &str) -> Result<Self, IdentityError> {
        let (key_path, certificate_path) = paths(folder, name);
        let text = file::read(&certificate_path, Access::Public)?;
        let refused = || IdentityError::NotACertificateFile {
            path: certificate_path.clone(),
            expected: "a certificate and its authority's",
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_| refused())?;
        let [certificate, authority] = <[_; 2]>::try_from(chain).map_err(|_| refused())?;
        Self::new(KeyPair::read(&key_path)?, certificate, authority)
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate of the authority that made its certificate.
    #[must_use]
    pub const fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// To trust whom the same authority made a certificate for.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust::Authority(self.authority.clone())
    }

    /// As a server shows it. The authority goes along for those who know only its fingerprint.
    pub(super) fn certified_key(&self) -> Result<Arc<CertifiedKey>, IdentityError> {
        let chain = vec![self.certificate.clone(), self.authority.clone()];
        Ok(Arc::new(CertifiedKey::from_der(
            chain,
            self.key.tls_key(),
            &provider(),
        )?))
    }
}

fn paths(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::identity::{Authority, Subject};

    fn identity() -> Identity {
        let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3600));
        let authority = Authority::create("test", now, day).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority.issue(&request, &Subject::Head, now, day).expect("issues");
        Identity::new(key, certificate, authority.certificate().clone()).expect("belongs together")
    }

    #[test]
    fn an_identity_comes_back_from_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            Identity::load(folder.path(), "head")
                .expect_err("none yet")
                .is_missing()
        );
        let made = identity();
        made.save(folder.path(), "head").expect("saves");
        let loaded = Identity::load(folder.path(), "head").expect("loads");
        assert_eq!(loaded.certificate(), made.certificate());
        assert_eq!(loaded.authority(), made.authority());
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let (one, other) = (identity(), identity());
        let error = Identity::new(one.key, other.certificate, other.authority).expect_err("do not belong together");
        assert!(matches!(error, IdentityError::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn a_damaged_certificate_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        identity().save(folder.path(), "head").expect("saves");
        std::fs::write(folder.path().join("head.crt"), "nonsense").expect("writes");
        let error = Identity::load(folder.path(), "head").expect_err("is damaged");
        assert!(error.to_string().contains("head.crt does not hold"), "{error}");
    }
}
