//! Join tokens: what a new node is given so that it and the head can trust each other once.
//!
//! The secret proves the node to the head, the fingerprint proves the head to the node. The head keeps only a hash of
//! the secret. An error never repeats the text it is about, for the text may be a secret with one letter wrong.

use std::fmt;
use std::str::FromStr;

use ring::rand::SecureRandom;

use super::certificate::{from_hex, sha256, to_hex};
use super::{Fingerprint, IdentityError};

const PREFIX: &str = "muster-join-1";

/// 128 random bits: beyond guessing.
const SECRET_BYTES: usize = 16;

/// A join token. As text: `muster-join-1.SECRET.FINGERPRINT`, the last two in hex.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// Proves the node to the head.
    pub secret: JoinSecret,
    /// Of the cluster's authority: proves the head to the node.
    pub authority: Fingerprint,
}

impl JoinToken {
    /// Makes a new one for the cluster with that authority.
    ///
    /// # Errors
    /// [`IdentityError::NoRandomness`].
    pub fn generate(authority: Fingerprint) -> Result<Self, IdentityError> {
        let mut bytes = [0; SECRET_BYTES];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self {
            secret: JoinSecret(bytes),
            authority,
        })
    }
}

impl fmt::Display for JoinToken {
    /// The whole text, secret and all: for the person who asked for the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}", self.secret.to_hex(), self.authority)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [prefix, secret, authority] = parts[..] else {
            return Err(TokenError::Parts { count: parts.len() });
        };
        if prefix != PREFIX {
            return Err(match prefix.strip_prefix("muster-join-") {
                Some(_) => TokenError::Version,
                None => TokenError::Prefix,
            });
        }
        Ok(Self {
            secret: secret.parse()?,
            authority: authority.parse().map_err(|_| TokenError::Fingerprint {
                characters: authority.chars().count(),
            })?,
        })
    }
}

/// The secret half of a join token.
#[derive(Clone)]
pub struct JoinSecret([u8; SECRET_BYTES]);

impl JoinSecret {
    /// As it travels in a join message.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
}

impl FromStr for JoinSecret {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        from_hex(text).map(Self).ok_or_else(|| TokenError::Secret {
            characters: text.chars().count(),
        })
    }
}

impl fmt::Debug for JoinSecret {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

/// What the head keeps of a token: SHA-256 of its secret, written as 64 hex digits.
///
/// Secrets are random and long, so a plain hash tells nothing. Looking a hash up by order or equality is fine too: who
/// asks chooses the secret, not the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of that secret.
    #[must_use]
    pub fn of(secret: &JoinSecret) -> Self {
        Self(sha256(&secret.0))
    }

    /// Whether it is the hash of that secret, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, secret: &JoinSecret) -> bool {
        let other = Self::of(secret);
        let difference = self
            .0
            .iter()
            .zip(other.0)
            .fold(0, |seen, (ours, theirs)| seen | (ours ^ theirs));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl FromStr for TokenHash {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        from_hex(text).map(Self).ok_or_else(|| TokenError::Hash {
            characters: text.chars().count(),
        })
    }
}

/// Why a text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts.
    #[error(
        "a join token has 3 parts between dots (muster-join-1.SECRET.FINGERPRINT), this text has {count}: copy the whole \
         token as the head node printed it"
    )]
    Parts {
        /// How many there are.
        count: usize,
    },
    /// Another beginning.
    #[error("a join token begins with 'muster-join-1.', this text does not: copy the whole token as it was printed")]
    Prefix,
    /// A token of another version.
    #[error("the join token is of a version that this program does not know: use the same version as the head node")]
    Version,
    /// The second part is no secret.
    #[error(
        "the secret of a join token (its second part) has 32 hex digits; this one has {characters} characters, or others \
         among them: copy the whole token as it was printed"
    )]
    Secret {
        /// How long the part is.
        characters: usize,
    },
    /// The third part is no fingerprint.
    #[error(
        "the fingerprint of a join token (its third part) has 64 hex digits; this one has {characters} characters, or \
         others among them: copy the whole token as it was printed"
    )]
    Fingerprint {
        /// How long the part is.
        characters: usize,
    },
    /// A stored hash is none.
    #[error("the hash of a join token has 64 hex digits; this text has {characters} characters, or others among them")]
    Hash {
        /// How long the text is.
        characters: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::generate(Fingerprint::of(b"some authority")).expect("a token")
    }

    #[test]
    fn a_token_reads_what_it_writes() {
        let made = token();
        let read: JoinToken = format!(" {made}\n").parse().expect("parses");
        assert_eq!(read.to_string(), made.to_string());
        assert!(TokenHash::of(&made.secret).matches(&read.secret));
        assert!(!TokenHash::of(&token().secret).matches(&read.secret));
    }

    #[test]
    fn a_hash_reads_what_it_writes() {
        let hash = TokenHash::of(&token().secret);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("ab".parse::<TokenHash>(), Err(TokenError::Hash { characters: 2 }));
    }

    #[test]
    fn errors_say_which_part_is_wrong_and_never_repeat_it() {
        let good = token().to_string();
        let parts: Vec<&str> = good.split('.').collect();
        let (secret, fingerprint) = (parts[1], parts[2]);
        let cases = [
            (String::new(), TokenError::Parts { count: 1 }),
            (format!("{PREFIX}.{secret}"), TokenError::Parts { count: 2 }),
            (format!("{good}.x"), TokenError::Parts { count: 4 }),
            (format!("join.{secret}.{fingerprint}"), TokenError::Prefix),
            (format!("muster-join-2.{secret}.{fingerprint}"), TokenError::Version),
            (
                format!("{PREFIX}.{}.{fingerprint}", &secret[1..]),
                TokenError::Secret { characters: 31 },
            ),
            (
                format!("{PREFIX}.{secret}.{}", &fingerprint[..60]),
                TokenError::Fingerprint { characters: 60 },
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<JoinToken>().expect_err("is wrong");
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let made = token();
        assert!(!format!("{made:?}").contains(&made.secret.to_hex()));
    }
}
