//! A certificate authority: the cluster's, kept by the head, or an allocation's, kept by its nodes as long as it lives.
//!
//! It grants a certificate for a key that proved itself in a request. Who the holder is comes from the caller; names in
//! the request are ignored, so nobody can ask to be somebody.

use std::path::Path;
use std::time::{Duration, SystemTime};

use proto::ids::KeyHash;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::SecureRandom;
use rustls::pki_types::pem::PemObject;

use super::certificate::{hash_of_key, public_der_of, sha256, to_hex};
use super::file::{self, Access};
use super::{CertificateDer, Fingerprint, IdentityError, KeyPair, RequestDer, Subject, validity_of};

/// How far the clocks of two machines may differ: certificates are good from so long before they were made.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The longest request that is looked at; ours have under 300 bytes.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";

/// A certificate authority with its private key. Clones share the key.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    not_after: SystemTime,
}

impl Authority {
    /// Makes a new one, good from `now` for `lifetime`. `name` is for people.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn create(name: &str, now: SystemTime, lifetime: Duration) -> Result<Self, IdentityError> {
        Self::create_with(KeyPair::generate()?, name, now, lifetime)
    }

    /// The same with a given key.
    pub(super) fn create_with(
        key: KeyPair,
        name: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, IdentityError> {
        let mut params = params(now, now.checked_add(lifetime).unwrap_or(now))?;
        // Two clusters of the same name must not look alike: a chain is built by this name, and with equal names the
        // peer would be told of a broken signature where the truth is another authority.
        let distinct = to_hex(&sha256(&key.public_der())[..8]);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} {distinct}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(key.signer())?.der().clone();
        Self::new(certificate, key)
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, IdentityError> {
        let public = public_der_of(&certificate).ok_or(IdentityError::NotACertificate)?;
        let validity = validity_of(&certificate).ok_or(IdentityError::NotACertificate)?;
        if public != key.public_der() {
            return Err(IdentityError::KeyMismatch {
                certificate: Fingerprint::of(&certificate),
            });
        }
        Ok(Self {
            certificate,
            key,
            not_after: validity.not_after,
        })
    }

    /// Writes `ca.key` (mode 0600) and `ca.crt` into a folder that has no authority yet. The certificate comes last: a
    /// folder without it has no authority.
    ///
    /// # Errors
    /// [`IdentityError::AuthorityExists`], or when writing fails.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        let path = folder.join(CERTIFICATE_FILE);
        if path.exists() {
            return Err(IdentityError::AuthorityExists { path });
        }
        self.key.write(&folder.join(KEY_FILE))?;
        file::write(
            &path,
            file::to_pem("CERTIFICATE", &self.certificate).as_bytes(),
            Access::Public,
        )
    }

    /// Reads what [`Authority::save`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::is_missing`] tells a folder that has none from one that is damaged.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(CERTIFICATE_FILE);
        let text = file::read(&path, Access::Public)?;
        let certificate = CertificateDer::from_pem_slice(&text).map_err(|_| IdentityError::NotACertificateFile {
            path,
            expected: "a certificate authority",
        })?;
        let key_path = folder.join(KEY_FILE);
        match KeyPair::read(&key_path) {
            Ok(key) => Self::new(certificate, key),
            // Not "missing": an authority without its key is damaged, and making a new one would lock every node out.
            Err(error) if error.is_missing() => Err(IdentityError::NotAKeyFile { path: key_path }),
            Err(error) => Err(error),
        }
    }

    /// Whether [`Authority::issue`] would take a request, and the key that it is for. For callers that have something to
    /// lose before it.
    ///
    /// # Errors
    /// [`IdentityError::BadRequest`].
    pub fn check(request: &RequestDer<'_>) -> Result<KeyHash, IdentityError> {
        Ok(hash_of_key(&checked_key(request)?.subject_public_key_info()))
    }

    /// Makes a certificate that names `subject`, for the key that signed `request`, good from [`CLOCK_SKEW`] before
    /// `now` until `now + lifetime`, and never longer than the authority itself.
    ///
    /// # Errors
    /// [`IdentityError::BadRequest`] when the request is malformed, not signed by its own key, or of another kind of
    /// key.
    pub fn issue(
        &self,
        request: &RequestDer<'_>,
        subject: &Subject,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let public = checked_key(request)?;
        let until = now
            .checked_add(lifetime)
            .map_or(self.not_after, |until| until.min(self.not_after));
        let mut params = params(now, until)?;
        params.distinguished_name.push(DnType::CommonName, "Muster");
        params
            .subject_alt_names
            .push(SanType::URI(subject.to_string().try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(name) = subject.server_name() {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_ref().try_into()?));
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.signer())?;
        Ok(params.signed_by(&public, &issuer)?.der().clone())
    }

    /// What a trust anchor consists of: the subject's name and the public key.
    #[cfg(test)]
    pub(super) fn anchor(&self) -> (Vec<u8>, Vec<u8>) {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(&self.certificate).expect("our own");
        (parsed.subject().as_raw().to_vec(), self.key.public_der())
    }

    /// When it ends, and with it every certificate that it made.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Its certificate, for those who are to trust it.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

fn checked_key(request: &RequestDer<'_>) -> Result<rcgen::PublicKey, IdentityError> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(IdentityError::BadRequest {
            reason: "it is too long",
        });
    }
    let parsed = CertificateSigningRequestParams::from_der(request).map_err(|error| IdentityError::BadRequest {
        reason: match error {
            rcgen::Error::InvalidCertificationRequestSignature => "it is not signed by its own key",
            _ => "it is no PKCS#10 request that we can read",
        },
    })?;
    if PublicKeyData::algorithm(&parsed.public_key) != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(IdentityError::BadRequest {
            reason: "its key is not ECDSA P-256",
        });
    }
    Ok(parsed.public_key)
}

fn params(now: SystemTime, until: SystemTime) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(now).saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + since_epoch(until);
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// Whole seconds since 1970, within what a certificate can say and its writer can add.
fn since_epoch(time: SystemTime) -> Duration {
    // 9999-12-31T23:59:59Z.
    const MAX_SECONDS: u64 = 253_402_300_799;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(since.as_secs().min(MAX_SECONDS))
}

/// Random, because one key may get several certificates and a serial number is never used twice.
fn random_serial() -> Result<SerialNumber, IdentityError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IdentityError::NoRandomness)?;
    // A positive number without leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use proto::ids::NodeId;

    use super::*;
    use crate::identity::{Validity, key_of, subject_of};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn authority() -> Authority {
        Authority::create("test", noon(), 10 * DAY).expect("an authority")
    }

    fn request() -> RequestDer<'static> {
        KeyPair::generate()
            .expect("a key")
            .certificate_request()
            .expect("a request")
    }

    #[test]
    fn a_certificate_says_who_and_when() {
        let subject = Subject::Node(NodeId(7));
        let certificate = authority().issue(&request(), &subject, noon(), DAY).expect("issues");
        assert_eq!(subject_of(&certificate), Ok(subject));
        let expected = Validity {
            not_before: noon() - CLOCK_SKEW,
            not_after: noon() + DAY,
        };
        assert_eq!(validity_of(&certificate), Some(expected));
    }

    #[test]
    fn a_key_its_request_and_its_certificate_have_one_hash() {
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority()
            .issue(&request, &Subject::Node(NodeId(7)), noon(), DAY)
            .expect("issues");
        assert_eq!(Authority::check(&request).expect("is good"), key.hash());
        assert_eq!(key_of(&certificate), Some(key.hash()));
        assert_ne!(KeyPair::generate().expect("a key").hash(), key.hash());
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        for lifetime in [20 * DAY, Duration::MAX] {
            let certificate = authority()
                .issue(&request(), &Subject::Head, noon(), lifetime)
                .expect("issues");
            assert_eq!(validity_of(&certificate).expect("is one").not_after, noon() + 10 * DAY);
        }
    }

    #[test]
    fn a_request_with_a_broken_signature_is_refused() {
        let mut bytes = request().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = authority()
            .issue(&RequestDer::from(bytes), &Subject::Head, noon(), DAY)
            .expect_err("is not signed");
        assert!(matches!(error, IdentityError::BadRequest { .. }), "{error}");
        let nonsense = RequestDer::from(vec![0x30; 10_000]);
        let error = authority()
            .issue(&nonsense, &Subject::Head, noon(), DAY)
            .expect_err("is none");
        assert_eq!(error.to_string(), "the certificate request is refused: it is too long");
    }

    #[test]
    fn an_authority_comes_back_from_its_folder_and_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Authority::load(folder.path()).expect_err("none yet").is_missing());
        let made = authority();
        made.save(folder.path()).expect("saves");
        let loaded = Authority::load(folder.path()).expect("loads");
        assert_eq!(loaded.fingerprint(), made.fingerprint());
        assert!(matches!(
            authority().save(folder.path()),
            Err(IdentityError::AuthorityExists { .. })
        ));
        std::fs::remove_file(folder.path().join(KEY_FILE)).expect("removes");
        assert!(!Authority::load(folder.path()).expect_err("is damaged").is_missing());
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let (one, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        authority().save(one.path()).expect("saves");
        authority().save(other.path()).expect("saves");
        std::fs::copy(other.path().join(KEY_FILE), one.path().join(KEY_FILE)).expect("copies");
        assert!(matches!(
            Authority::load(one.path()),
            Err(IdentityError::KeyMismatch { .. })
        ));
    }
}
