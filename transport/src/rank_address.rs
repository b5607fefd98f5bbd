//! Where a rank can be reached and how it proves who it is, as one word that fits a PMI value.
//!
//! ```text
//! muster1,quic=127.0.0.2:40123,sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! ```
//!
//! A version, then `key=value` fields split by commas. Keys that are not known are skipped, so a later version may
//! publish more ways to reach it. No space and no newline: PMI-1 has no escaping. This module is pure.

use core::net::SocketAddr;
use std::fmt;
use std::str::FromStr;

/// The longest address text in bytes. PMI-1 clients of MPICH 4.0 take values of 674 bytes; this is far below, and
/// leaves room for a name beside it.
pub const RANK_ADDRESS_MAX_BYTES: usize = 200;

const VERSION: &str = "muster1";

/// SHA-256 of a rank's certificate in DER form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateHash(pub [u8; 32]);

/// What a rank publishes so that others can reach it and know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankAddress {
    /// Where its QUIC socket is bound.
    pub quic: SocketAddr,
    /// The certificate it will show.
    pub certificate: CertificateHash,
}

/// Why a text is no rank address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RankAddressError {
    /// Longer than [`RANK_ADDRESS_MAX_BYTES`].
    #[error("a rank address of {length} bytes, {RANK_ADDRESS_MAX_BYTES} are the most")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Not of this version.
    #[error("'{text}' is no rank address: expected 'muster1,quic=IP:PORT,sha256=HEX'; are all ranks of one version?")]
    Version {
        /// What was given.
        text: String,
    },
    /// A field is absent or cannot be read.
    #[error("rank address '{text}': the field '{field}' is missing or wrong")]
    Field {
        /// What was given.
        text: String,
        /// The field.
        field: &'static str,
    },
}

impl fmt::Display for RankAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION},quic={},sha256={}", self.quic, self.certificate)
    }
}

impl FromStr for RankAddress {
    type Err = RankAddressError;

    fn from_str(text: &str) -> Result<Self, RankAddressError> {
        if text.len() > RANK_ADDRESS_MAX_BYTES {
            return Err(RankAddressError::TooLong { length: text.len() });
        }
        let mut fields = text.split(',');
        if fields.next() != Some(VERSION) {
            return Err(RankAddressError::Version { text: text.to_owned() });
        }
        let wrong = |field| RankAddressError::Field {
            text: text.to_owned(),
            field,
        };
        let (mut quic, mut certificate) = (None, None);
        for field in fields {
            match field.split_once('=') {
                Some(("quic", value)) => quic = value.parse().ok(),
                Some(("sha256", value)) => certificate = CertificateHash::from_hex(value),
                _ => {}
            }
        }
        Ok(Self {
            quic: quic.ok_or_else(|| wrong("quic"))?,
            certificate: certificate.ok_or_else(|| wrong("sha256"))?,
        })
    }
}

impl CertificateHash {
    /// The hash of a certificate in DER form.
    #[must_use]
    pub fn of(certificate_der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate_der);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if digits.len() != 64 {
            return None;
        }
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_survives_its_text_form(ip: std::net::IpAddr, port: u16, hash: [u8; 32]) {
            let address = RankAddress { quic: SocketAddr::new(ip, port), certificate: CertificateHash(hash) };
            let text = address.to_string();
            prop_assert!(text.len() <= RANK_ADDRESS_MAX_BYTES && !text.contains([' ', '\n']));
            prop_assert_eq!(text.parse::<RankAddress>().unwrap(), address);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            if let Ok(address) = text.parse::<RankAddress>() {
                prop_assert_eq!(address.to_string().parse::<RankAddress>().unwrap(), address);
            }
        }
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let hash = "00".repeat(32);
        let address: RankAddress = format!("muster1,shm=/x,quic=10.0.0.1:9,sha256={hash}").parse().unwrap();
        assert_eq!(address.quic, "10.0.0.1:9".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let version = "rank7".parse::<RankAddress>().unwrap_err().to_string();
        assert!(
            version.contains("'rank7'") && version.contains("muster1,quic="),
            "{version}"
        );
        let field = "muster1,quic=10.0.0.1:9,sha256=zz".parse::<RankAddress>().unwrap_err();
        assert!(matches!(field, RankAddressError::Field { field: "sha256", .. }));
    }
}
