//! Who asks and as whom a task runs.

use serde::{Deserialize, Serialize};

/// What a caller may do. Each role may do what the ones below it may; `Node` stands apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A compute node: reports about what it runs, nothing else.
    Node,
    /// Submits, sees and cancels their own jobs.
    User,
    /// Sees and cancels everyone's jobs, switches nodes on and off.
    Operator,
    /// Everything.
    Administrator,
}

impl Role {
    /// The word used in certificates and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Node, Self::User, Self::Operator, Self::Administrator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole { text: text.to_owned() })
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no role: use user, operator or administrator")]
pub struct UnknownRole {
    /// What was given.
    pub text: String,
}

/// The account that a job belongs to and that its tasks run as; recorded at submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Login name.
    pub name: String,
    /// Numeric user id on the head node.
    pub uid: u32,
    /// Primary group id on the head node.
    pub gid: u32,
}

/// Who asks: proved by SO_PEERCRED on the unix socket or by a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The account.
    pub owner: Owner,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// Whether the caller may see and cancel what belongs to `owner`.
    #[must_use]
    pub fn may_touch(&self, owner: &Owner) -> bool {
        self.role >= Role::Operator || (self.role == Role::User && self.owner.uid == owner.uid)
    }

    /// Whether the caller may say what is run as `owner`: the owner, and administrators for everybody but root, whom no
    /// role of the cluster makes anybody.
    #[must_use]
    pub fn may_act_as(&self, owner: &Owner) -> bool {
        let is_self = self.role >= Role::User && self.owner.uid == owner.uid;
        is_self || (self.role >= Role::Administrator && owner.uid != 0)
    }
}
