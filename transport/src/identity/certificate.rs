//! Reading certificates: whom they name, when they are good, their fingerprint. Proves nothing: TLS does that.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use proto::ids::KeyHash;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use super::{CertificateDer, Subject, SubjectError};

/// The subject that a certificate names. Only means something when the certificate was checked.
///
/// # Errors
/// When it names none, several, or one that this version does not know.
pub fn subject_of(certificate: &CertificateDer<'_>) -> Result<Subject, SubjectError> {
    let parsed = parse(certificate).ok_or(SubjectError::NotACertificate)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| SubjectError::NotACertificate)?;
    let mut uris = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with("muster://") => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => uri.parse(),
        (None, _) => Err(SubjectError::NotOne { count: 0 }),
        (Some(_), more) => Err(SubjectError::NotOne { count: more + 1 }),
    }
}

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not good before.
    pub not_before: SystemTime,
    /// Not good after.
    pub not_after: SystemTime,
}

/// From when to when a certificate is good; `None` when the bytes are no certificate.
#[must_use]
pub fn validity_of(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let validity = parse(certificate)?.validity.clone();
    Some(Validity {
        not_before: system_time(validity.not_before)?,
        not_after: system_time(validity.not_after)?,
    })
}

fn system_time(time: ASN1Time) -> Option<SystemTime> {
    // A time before 1970 is none that we write.
    let seconds = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Which key a certificate is for; `None` when the bytes are no certificate.
#[must_use]
pub fn key_of(certificate: &CertificateDer<'_>) -> Option<KeyHash> {
    Some(hash_of_key(parse(certificate)?.public_key().raw))
}

/// The one way in which keys are told apart: of a certificate, a request or a key pair alike.
pub(super) fn hash_of_key(subject_public_key_info: &[u8]) -> KeyHash {
    KeyHash(sha256(subject_public_key_info))
}

/// The certificate's public key as a SubjectPublicKeyInfo DER document.
pub(super) fn public_der_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Some(parse(certificate)?.public_key().raw.to_vec())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    rest.is_empty().then_some(parsed)
}

/// SHA-256 of a certificate, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of these bytes, a certificate in DER form.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(sha256(certificate))
    }

    /// The first 16 digits: enough for people to compare, never for programs.
    #[must_use]
    pub fn short(&self) -> String {
        to_hex(&self.0[..8])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        from_hex(text).map(Self).ok_or_else(|| FingerprintError {
            characters: text.chars().count(),
        })
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hex digits; this text has {characters} characters, or others among them")]
pub struct FingerprintError {
    /// How long the text is.
    pub characters: usize,
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    // SHA-256 has 32 bytes.
    out.copy_from_slice(digest.as_ref());
    out
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes from twice as many hex digits.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    // Signs would pass from_str_radix.
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_what_they_write() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = fingerprint.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(fingerprint.short(), text[..16]);
    }

    #[test]
    fn other_texts_are_no_fingerprints() {
        for text in ["", "ba78", &"g".repeat(64), &"+1".repeat(32), &"a".repeat(65)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    #[test]
    fn other_bytes_name_nobody() {
        let nonsense = CertificateDer::from(b"nonsense".as_slice());
        assert_eq!(subject_of(&nonsense), Err(SubjectError::NotACertificate));
        assert_eq!(validity_of(&nonsense), None);
    }
}
