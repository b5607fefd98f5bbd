//! What a certificate says of its holder: one URI, and the DNS name under which the holder serves.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use proto::ids::{AttemptId, IdError, NodeId};
use proto::model::owner::{Role, UnknownRole};

/// The TLS server name of a head node. It stands for the cluster's head, on whatever machine it runs.
pub const HEAD_SERVER_NAME: &str = "head.muster";

/// The TLS server name of a compute node.
pub const NODE_SERVER_NAME: &str = "node.muster";

/// The longest login name in a certificate, in bytes.
const MAX_NAME_BYTES: usize = 256;

const SCHEME: &str = "muster://";

/// The TLS server name under which an agent or `mpiexec` serves one allocation.
#[must_use]
pub fn allocation_server_name(attempt: AttemptId) -> String {
    format!("a{attempt}.muster")
}

/// The attempt of an allocation's server name.
pub(super) fn attempt_of_server_name(name: &str) -> Option<AttemptId> {
    name.strip_prefix('a')?.strip_suffix(".muster")?.parse().ok()
}

/// The holder of a certificate. As text: `muster://head`, `muster://node/7`,
/// `muster://user/alice?role=administrator`, `muster://allocation/42`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The cluster's head.
    Head,
    /// A compute node that has joined.
    Node(NodeId),
    /// A person, away from the head's own machine.
    User {
        /// Login name; not empty.
        name: String,
        /// What the person may do; never [`Role::Node`].
        role: Role,
    },
    /// A program within one allocation. Made by that allocation's own authority only.
    Allocation(AttemptId),
}

impl Subject {
    /// The DNS name that its certificate carries; people serve nothing and have none.
    #[must_use]
    pub fn server_name(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Head => Some(HEAD_SERVER_NAME.into()),
            Self::Node(_) => Some(NODE_SERVER_NAME.into()),
            Self::User { .. } => None,
            Self::Allocation(attempt) => Some(allocation_server_name(*attempt).into()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        match self {
            Self::Head => f.write_str("head"),
            Self::Node(node) => write!(f, "node/{node}"),
            Self::User { name, role } => {
                f.write_str("user/")?;
                name.bytes().try_for_each(|byte| write_escaped(byte, f))?;
                write!(f, "?role={}", role.as_str())
            }
            Self::Allocation(attempt) => write!(f, "allocation/{attempt}"),
        }
    }
}

/// Unreserved characters of RFC 3986 as they are, the rest as `%41`.
fn write_escaped(byte: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        write!(f, "{}", char::from(byte))
    } else {
        write!(f, "%{byte:02X}")
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            // Signs would pass from_str_radix.
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl FromStr for Subject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let unknown = || SubjectError::Unknown { text: text.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(unknown)?;
        match rest.split_once('/') {
            None if rest == "head" => Ok(Self::Head),
            Some(("node", id)) => Ok(Self::Node(id.parse()?)),
            Some(("allocation", id)) => Ok(Self::Allocation(id.parse()?)),
            Some(("user", rest)) => {
                let (name, role) = rest.split_once("?role=").ok_or_else(unknown)?;
                user(name, role.parse()?).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}

fn user(name: &str, role: Role) -> Option<Subject> {
    let name = unescape(name)?;
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && role != Role::Node;
    fits.then_some(Subject::User { name, role })
}

/// Why a certificate or text names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The bytes are no certificate.
    #[error("it is no X.509 certificate")]
    NotACertificate,
    /// The certificate has no `muster://` URI, or several.
    #[error("the certificate names {count} muster:// subjects, expected one: it was made for something else")]
    NotOne {
        /// How many it has.
        count: usize,
    },
    /// The URI is of another kind.
    #[error("'{text}' is no subject that this version knows")]
    Unknown {
        /// What it says.
        text: String,
    },
    /// The id in it is none.
    #[error("the subject has a bad id")]
    Id(#[from] IdError),
    /// The role in it is none.
    #[error("the subject has a bad role")]
    Role(#[from] UnknownRole),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_what_they_write() {
        let subjects = [
            (Subject::Head, "muster://head"),
            (Subject::Node(NodeId(7)), "muster://node/7"),
            (Subject::Allocation(AttemptId(42)), "muster://allocation/42"),
            (
                Subject::User {
                    name: "alice".into(),
                    role: Role::Administrator,
                },
                "muster://user/alice?role=administrator",
            ),
            (
                Subject::User {
                    name: "DOM\\zoë?role=/%".into(),
                    role: Role::User,
                },
                "muster://user/DOM%5Czo%C3%AB%3Frole%3D%2F%25?role=user",
            ),
        ];
        for (subject, text) in subjects {
            assert_eq!(subject.to_string(), text);
            assert_eq!(text.parse::<Subject>(), Ok(subject));
        }
    }

    #[test]
    fn other_texts_are_no_subjects() {
        for text in [
            "",
            "muster://",
            "https://head",
            "muster://head/",
            "muster://node/0",
            "muster://node/x",
            "muster://node/7/8",
            "muster://allocation/",
            "muster://user/alice",
            "muster://user/?role=user",
            "muster://user/alice?role=king",
            "muster://user/alice?role=node",
            "muster://user/%+1?role=user",
            "muster://user/%ff?role=user",
            "muster://user/a%4?role=user",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_allocations_server_name_reads_back() {
        assert_eq!(
            attempt_of_server_name(&allocation_server_name(AttemptId(42))),
            Some(AttemptId(42))
        );
        for name in ["head.muster", "a.muster", "a0.muster", "a42.example", "42.muster"] {
            assert_eq!(attempt_of_server_name(name), None, "{name}");
        }
    }
}
