//! Authorities of allocations: derived, not stored.
//!
//! The head keeps one secret; a keyed hash of an attempt's number gives the seed of that allocation's authority. Every
//! node of the allocation is sent the seed and makes the same Ed25519 key and the same name of it, which is all that a
//! trust anchor consists of. So a start that is sent again after a crash of the head fits the ones sent before, the head
//! pays one hash per attempt, and a node makes the certificate only when a launch asks for it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use proto::ids::AttemptId;
use ring::hmac;
use ring::rand::SecureRandom;

use super::file::{self, Access};
use super::{Authority, IdentityError, KeyPair};

const SECRET_BYTES: usize = 32;

/// Longer than any launch inside an allocation needs: certificates are asked for at the start of a launch.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// PKCS#8 (RFC 8410) before the 32 bytes of an Ed25519 seed.
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What the seeds of all allocations are derived from.
pub struct AllocationSecret(hmac::Key);

impl std::fmt::Debug for AllocationSecret {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllocationSecret").finish_non_exhaustive()
    }
}

impl AllocationSecret {
    /// Reads the secret's file (mode 0600), made at first use.
    ///
    /// # Errors
    /// When it cannot be read or written, or is not 32 bytes in hex.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let text = match file::read(path, Access::Private) {
            Err(error) if error.is_missing() => {
                let mut bytes = [0; SECRET_BYTES];
                ring::rand::SystemRandom::new()
                    .fill(&mut bytes)
                    .map_err(|_| IdentityError::NoRandomness)?;
                let text = super::certificate::to_hex(&bytes).into_bytes();
                file::write(path, &text, Access::Private)?;
                text
            }
            other => other?,
        };
        if text.len() == 2 * SECRET_BYTES && text.iter().all(u8::is_ascii_hexdigit) {
            Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &text)))
        } else {
            Err(IdentityError::NotAKeyFile { path: path.to_owned() })
        }
    }

    /// A key for another use of the same secret.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        self.derive(purpose.as_bytes())
    }

    /// The seed for one attempt's allocation.
    #[must_use]
    pub fn seed(&self, attempt: AttemptId) -> [u8; 32] {
        self.derive(&attempt.0.to_be_bytes())
    }

    fn derive(&self, from: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&self.0, from).as_ref());
        key
    }
}

impl Authority {
    /// The authority of an allocation. The same seed and attempt give the same key and name, whenever and wherever.
    ///
    /// # Errors
    /// [`IdentityError::NotAKey`] when the seed is not 32 bytes long.
    pub fn of_allocation(seed: &[u8], attempt: AttemptId, now: SystemTime) -> Result<Self, IdentityError> {
        if seed.len() != 32 {
            return Err(IdentityError::NotAKey);
        }
        let key = KeyPair::from_ed25519_der(&[&PKCS8_ED25519, seed].concat())?;
        Self::create_with(key, &format!("Muster allocation {attempt}"), now, LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_authority_at_any_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let seed = AllocationSecret::open(&path).expect("made").seed(AttemptId(7));
        assert_eq!(AllocationSecret::open(&path).expect("read").seed(AttemptId(7)), seed);
        assert_ne!(AllocationSecret::open(&path).expect("read").seed(AttemptId(8)), seed);

        let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let one = Authority::of_allocation(&seed, AttemptId(7), early).expect("an authority");
        let other = Authority::of_allocation(&seed, AttemptId(7), early + LIFETIME).expect("an authority");
        assert_eq!(one.anchor(), other.anchor());
        assert!(matches!(
            Authority::of_allocation(&seed[1..], AttemptId(7), early),
            Err(IdentityError::NotAKey)
        ));
    }
}
