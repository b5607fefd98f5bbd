//! Tokens: what a new node, or a user on another host, is given so that it and the head can trust each other once.
//!
//! The secret proves the holder to the head, the fingerprint proves the head to the holder. The head keeps only a hash of
//! the secret. An error never repeats the text it is about, for the text may be a secret with one letter wrong.

use std::fmt;
use std::str::FromStr;

use ring::rand::SecureRandom;

use super::certificate::{from_hex, sha256, to_hex};
use super::{Fingerprint, IdentityError};

/// 128 random bits: beyond guessing.
const SECRET_BYTES: usize = 16;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Brings nodes into the cluster.
    Join,
    /// Gives a user a certificate on one more host.
    Login,
}

impl TokenKind {
    /// What its texts begin with, before the version.
    const fn family(self) -> &'static str {
        match self {
            Self::Join => "muster-join-",
            Self::Login => "muster-login-",
        }
    }

    /// What its texts begin with; the number is the version.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Join => "muster-join-1",
            Self::Login => "muster-login-1",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Join => "join token",
            Self::Login => "log-in token",
        }
    }

    /// Where people get one.
    const fn source(self) -> &'static str {
        match self {
            Self::Join => "'muster node join-command' on the head node prints one",
            Self::Login => "'muster user token NAME' on the head node prints one",
        }
    }

    /// Both parts of a token's text.
    fn read(self, text: &str) -> Result<(TokenSecret, Fingerprint), TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        if let Some(other) = [Self::Join, Self::Login]
            .into_iter()
            .find(|other| *other != self && parts[0].starts_with(other.family()))
        {
            return Err(TokenError::OtherKind {
                expected: self,
                given: other,
            });
        }
        let [prefix, secret, authority] = parts[..] else {
            let count = parts.len();
            return Err(TokenError::Parts { kind: self, count });
        };
        if prefix != self.prefix() {
            return Err(match prefix.strip_prefix(self.family()) {
                Some(_) => TokenError::Version { kind: self },
                None => TokenError::Prefix { kind: self },
            });
        }
        let authority = authority.parse().map_err(|_| TokenError::Fingerprint {
            characters: authority.chars().count(),
        })?;
        Ok((secret.parse()?, authority))
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun())
    }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            /// Proves the holder to the head.
            pub secret: TokenSecret,
            /// Of the cluster's authority: proves the head to the holder.
            pub authority: Fingerprint,
        }

        impl $name {
            /// Makes a new one for the cluster with that authority.
            ///
            /// # Errors
            /// [`IdentityError::NoRandomness`].
            pub fn generate(authority: Fingerprint) -> Result<Self, IdentityError> {
                let secret = TokenSecret::generate()?;
                Ok(Self { secret, authority })
            }
        }

        impl fmt::Display for $name {
            /// The whole text, secret and all: for the person who asked for the token.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}.{}", $kind.prefix(), self.secret.to_hex(), self.authority)
            }
        }

        impl FromStr for $name {
            type Err = TokenError;
            fn from_str(text: &str) -> Result<Self, TokenError> {
                let (secret, authority) = $kind.read(text)?;
                Ok(Self { secret, authority })
            }
        }
    };
}

token!(
    /// A join token, for nodes. As text: `muster-join-1.SECRET.FINGERPRINT`, the last two in hex.
    JoinToken,
    TokenKind::Join
);

token!(
    /// A log-in token, for one user, once. As text: `muster-login-1.SECRET.FINGERPRINT`, the last two in hex.
    LoginToken,
    TokenKind::Login
);

/// The secret of a token.
#[derive(Clone)]
pub struct TokenSecret([u8; SECRET_BYTES]);

impl TokenSecret {
    fn generate() -> Result<Self, IdentityError> {
        let mut bytes = [0; SECRET_BYTES];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// As it travels in a join or log-in message.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
}

impl FromStr for TokenSecret {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        from_hex(text).map(Self).ok_or_else(|| TokenError::Secret {
            characters: text.chars().count(),
        })
    }
}

impl fmt::Debug for TokenSecret {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
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
    pub fn of(secret: &TokenSecret) -> Self {
        Self(sha256(&secret.0))
    }

    /// Whether it is the hash of that secret, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, secret: &TokenSecret) -> bool {
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

/// Why a text is no token of the kind that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts.
    #[error(
        "a {kind} has 3 parts between dots ({}.SECRET.FINGERPRINT), this text has {count}: copy the whole token as the \
         head node printed it", .kind.prefix()
    )]
    Parts {
        /// What was expected.
        kind: TokenKind,
        /// How many there are.
        count: usize,
    },
    /// Another beginning.
    #[error("a {kind} begins with '{}.', this text does not: copy the whole token as it was printed", .kind.prefix())]
    Prefix {
        /// What was expected.
        kind: TokenKind,
    },
    /// A token for something else.
    #[error("this is a {given}, and a {expected} is needed: {}", .expected.source())]
    OtherKind {
        /// What was expected.
        expected: TokenKind,
        /// What it is.
        given: TokenKind,
    },
    /// A token of another version.
    #[error("the {kind} is of a version that this program does not know: use the same version as the head node")]
    Version {
        /// What was expected.
        kind: TokenKind,
    },
    /// The second part is no secret.
    #[error(
        "the secret of a token (its second part) has 32 hex digits; this one has {characters} characters, or others \
         among them: copy the whole token as it was printed"
    )]
    Secret {
        /// How long the part is.
        characters: usize,
    },
    /// The third part is no fingerprint.
    #[error(
        "the fingerprint of a token (its third part) has 64 hex digits; this one has {characters} characters, or \
         others among them: copy the whole token as it was printed"
    )]
    Fingerprint {
        /// How long the part is.
        characters: usize,
    },
    /// A stored hash is none.
    #[error("the hash of a token has 64 hex digits; this text has {characters} characters, or others among them")]
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
    fn a_token_for_a_log_in_brings_no_node_in() {
        let made = LoginToken::generate(Fingerprint::of(b"some authority")).expect("a token");
        let text = made.to_string();
        assert!(text.starts_with("muster-login-1."));
        let read: LoginToken = text.parse().expect("parses");
        assert!(TokenHash::of(&made.secret).matches(&read.secret));
        let error = text.parse::<JoinToken>().expect_err("is for a user");
        assert!(error.to_string().contains("muster node join-command"), "{error}");
        let error = token().to_string().parse::<LoginToken>().expect_err("is for a node");
        assert!(error.to_string().contains("muster user token"), "{error}");
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
        let (kind, prefix) = (TokenKind::Join, TokenKind::Join.prefix());
        let (secret, fingerprint) = (parts[1], parts[2]);
        let cases = [
            (String::new(), TokenError::Parts { kind, count: 1 }),
            (format!("{prefix}.{secret}"), TokenError::Parts { kind, count: 2 }),
            (format!("{good}.x"), TokenError::Parts { kind, count: 4 }),
            (format!("join.{secret}.{fingerprint}"), TokenError::Prefix { kind }),
            (
                format!("muster-join-2.{secret}.{fingerprint}"),
                TokenError::Version { kind },
            ),
            (
                format!("muster-login-1.{secret}.{fingerprint}"),
                TokenError::OtherKind {
                    expected: kind,
                    given: TokenKind::Login,
                },
            ),
            (
                format!("{prefix}.{}.{fingerprint}", &secret[1..]),
                TokenError::Secret { characters: 31 },
            ),
            (
                format!("{prefix}.{secret}.{}", &fingerprint[..60]),
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
