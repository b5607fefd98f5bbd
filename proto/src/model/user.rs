//! Users: who was given a role other than plain user, or a credential for other hosts.
//!
//! On the head node's own machine the kernel says who asks, and nobody has to be added. From elsewhere a user shows a
//! certificate; it is good while its key stands in the user's row, so taking it out there revokes it at once.

use serde::{Deserialize, Serialize};

use crate::ids::{KeyHash, UserName};
use crate::model::owner::{Owner, Role};
use crate::units::Timestamp;

/// The most credentials of one user that are good at a time; a further log-in drops the oldest.
pub const MAX_CREDENTIALS: usize = 32;

/// A user that the cluster knows by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Login name.
    pub name: UserName,
    /// As whom tasks run: the number on the head node.
    pub uid: u32,
    /// Primary group on the head node.
    pub gid: u32,
    /// What they may do, on the head node's machine and elsewhere. Never `Node`.
    pub role: Role,
    /// Since when.
    pub added_at: Timestamp,
    /// Keys with which they logged in, oldest first, at most [`MAX_CREDENTIALS`].
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// A one-time token that waits to be used.
    #[serde(default)]
    pub login: Option<LoginToken>,
}

impl UserRow {
    /// The account that their tasks run as.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner {
            name: self.name.to_string(),
            uid: self.uid,
            gid: self.gid,
        }
    }
}

/// A key that a user holds somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Which key.
    pub key: KeyHash,
    /// When they logged in, or renewed it.
    pub issued_at: Timestamp,
    /// When its certificate ends.
    pub expires_at: Timestamp,
    /// The host that it was made on, as that host says; for people.
    #[serde(default)]
    pub host: String,
}

/// A one-time token for a log-in, known by its hash only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginToken {
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// After this it is refused.
    pub expires_at: Timestamp,
}
