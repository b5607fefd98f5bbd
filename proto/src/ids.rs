//! Ids and names as newtypes: they have an order and a text form, and no arithmetic.
//!
//! Numbers are given by the head node and never used twice. Names are given by people; what cannot be a name cannot be
//! built, so nothing behind the edge checks again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no id or name. The message names the text and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a number in range.
    #[error("'{text}' is no {kind} id: expected a whole number from {least}")]
    NotANumber {
        /// What was expected, in the user's words.
        kind: &'static str,
        /// What was given.
        text: String,
        /// The smallest id there is.
        least: u64,
    },
    /// The text is not `job.task`.
    #[error("'{text}' is no task id: expected JOB.TASK, for example 12.1, or JOB.TASK.STEP")]
    NotATask {
        /// What was given.
        text: String,
    },
    /// The text is no login name.
    #[error("'{text}' is no user name: use 1 to 64 letters, digits, '.', '_', '-', '@' or '$', not beginning with '-'")]
    NotAUser {
        /// What was given.
        text: String,
    },
    /// The text is no key's hash.
    #[error("'{text}' is no key hash: expected 64 hex digits")]
    NotAKey {
        /// What was given.
        text: String,
    },
    /// The text breaks the rule for names.
    #[error(
        "'{text}' is no {kind} name: use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
    )]
    NotAName {
        /// What was expected, in the user's words.
        kind: &'static str,
        /// What was given.
        text: String,
    },
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $kind:literal, least $least:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let refused = || IdError::NotANumber { kind: $kind, text: text.to_owned(), least: $least };
                let number: $inner = text.parse().map_err(|_| refused())?;
                if ($least..).contains(&number) { Ok(Self(number)) } else { Err(refused()) }
            }
        }
    };
}

number_id!(
    /// A job; counts from 1 in order of submission.
    JobId(u64), "job", least 1
);
/// A task's number within its job; counts from 1. Three numbers that no user gives stand for the job's own tasks
/// ([`crate::model::role::TaskRole`]): they are written as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskNumber(pub u32);

impl TaskNumber {
    /// The job manager task, first in its job's order. Written `manager`.
    pub const MANAGER: Self = Self(0);
    /// The job preparation task; its step is the number of the node that it prepares. Written `prep`.
    pub const PREPARATION: Self = Self(u32::MAX - 2);
    /// The job release task; its step is the number of the node. Written `release`.
    pub const RELEASE: Self = Self(u32::MAX - 1);
    /// The largest number of a task that a user adds.
    pub const LARGEST: Self = Self(u32::MAX - 3);

    const WORDS: [(Self, &'static str); 3] = [
        (Self::MANAGER, "manager"),
        (Self::PREPARATION, "prep"),
        (Self::RELEASE, "release"),
    ];

    /// Whether a task of this number runs once per node for its job, beside the job's own tasks.
    #[must_use]
    pub const fn is_per_node(self) -> bool {
        matches!(self, Self::PREPARATION | Self::RELEASE)
    }
}

impl fmt::Display for TaskNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::WORDS.iter().find(|(number, _)| number == self) {
            Some((_, word)) => f.pad(word),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl FromStr for TaskNumber {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some((number, _)) = Self::WORDS.iter().find(|(_, word)| *word == text) {
            return Ok(*number);
        }
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=Self::LARGEST.0).contains(number));
        number.map(Self).ok_or_else(|| IdError::NotANumber {
            kind: "task",
            text: text.to_owned(),
            least: 1,
        })
    }
}

number_id!(
    /// A compute node, given at its first join and kept for its life.
    NodeId(u32), "node", least 1
);
number_id!(
    /// One try of a task. Grows over the whole cluster, so a report of an older try is known as such.
    AttemptId(u64), "attempt", least 1
);
number_id!(
    /// A rank of one launch; counts from 0.
    Rank(u32), "rank", least 0
);
number_id!(
    /// A position in the order of all events of the cluster; counts from 1.
    Sequence(u64), "sequence", least 0
);

impl Rank {
    /// The rank as an index into a list.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

number_id!(
    /// The value of the index of a parametric sweep, as it replaces `*` (HPC Pack's CCP_TASKINSTANCEID).
    Step(u32), "step", least 0
);

/// A task: the job, the number in it, and for one element of a parametric sweep its step. Written `12.1`, `12.1.7`.
///
/// Sorted as lists show it. Where tasks are named to be acted on, the id of a sweep without a step means all its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job that the task belongs to.
    pub job: JobId,
    /// The number within the job.
    pub number: TaskNumber,
    /// Which element of a sweep; none for a task that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
}

impl TaskId {
    /// A task that is no element of a sweep.
    #[must_use]
    pub const fn new(job: JobId, number: TaskNumber) -> Self {
        Self {
            job,
            number,
            step: None,
        }
    }

    /// Before all tasks of a job, in the order of lists.
    #[must_use]
    pub const fn first_of(job: JobId) -> Self {
        Self::new(job, TaskNumber(0))
    }

    /// After all tasks of a job, in the order of lists.
    #[must_use]
    pub const fn last_of(job: JobId) -> Self {
        Self {
            job,
            number: TaskNumber(u32::MAX),
            step: Some(Step(u32::MAX)),
        }
    }

    /// The sweep that an element is of; any other task is itself.
    #[must_use]
    pub const fn without_step(self) -> Self {
        Self { step: None, ..self }
    }

    /// Whether `other` is this task, or an element of this sweep.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.job == other.job && self.number == other.number && (self.step.is_none() || self.step == other.step)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)?;
        match self.step {
            Some(step) => write!(f, ".{step}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::NotATask { text: text.to_owned() };
        let mut parts = text.splitn(3, '.');
        let (Some(job), Some(number)) = (parts.next(), parts.next()) else {
            return Err(refused());
        };
        Ok(Self {
            job: job.parse().map_err(|_| refused())?,
            number: number.parse().map_err(|_| refused())?,
            step: parts.next().map(str::parse).transpose().map_err(|_| refused())?,
        })
    }
}

/// The longest name of a node, group or pool, in bytes (HPC Pack's bound for groups).
pub const MAX_NAME_BYTES: usize = 64;

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_NAME_BYTES).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// Written as it was given, compared without regard to case, as HPC Pack compares names.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`IdError::NotAName`] when the text breaks the rule that the error states.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::NotAName { kind: $kind, text: text.to_owned() })
                }
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let lower = |text: &str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<u8>>();
                lower(&self.0).cmp(&lower(&other.0))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// A compute node's name, usually its host name.
    NodeName, "node"
);
name!(
    /// A node group's name.
    GroupName, "node group"
);
name!(
    /// A pool's name.
    PoolName, "pool"
);
name!(
    /// A job schedule's name.
    ScheduleName, "job schedule"
);
name!(
    /// The name of a countable resource of nodes, for example `gpu`.
    ResourceName, "resource"
);
name!(
    /// A placement domain: nodes that are near each other (a rack, a zone, a placement group).
    DomainName, "placement domain"
);

/// The login name of a person or service, as the system's user database has it: case counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// Checks and takes a name: 1 to 64 letters, digits, `.`, `_`, `-`, `@` or `$`, not beginning with `-`.
    ///
    /// # Errors
    /// [`IdError::NotAUser`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'$');
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::NotAUser { text: text.to_owned() })
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for UserName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl TryFrom<String> for UserName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

/// SHA-256 of a public key (its SubjectPublicKeyInfo): which key a certificate was made for. Written in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyHash {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::NotAKey { text: text.to_owned() };
        if text.len() != 64 || !text.is_ascii() {
            return Err(refused());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refused())?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.to_string()
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                u128::from_str_radix(text, 16)
                    .map(Self)
                    .map_err(|_| IdError::NotANumber { kind: stringify!($name), text: text.to_owned(), least: 0 })
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

random_id!(
    /// Made by the client for one submission; repeating the submission returns the first answer.
    SubmissionId
);
random_id!(
    /// One life of a compute node's task keeper. A new one proves that whatever ran under the old one is gone.
    BootId
);
random_id!(
    /// One start of `mpiexec`.
    LaunchId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write() {
        let task: TaskId = "12.1".parse().expect("a task id");
        assert_eq!(task.to_string(), "12.1");
        let prep: TaskId = "12.prep.3".parse().expect("a task id");
        assert_eq!(prep.number, TaskNumber::PREPARATION);
        assert_eq!(prep.to_string(), "12.prep.3");
        assert_eq!(TaskId::first_of(JobId(7)).to_string(), "7.manager");
        assert_eq!("7".parse::<JobId>().expect("a job id"), JobId(7));
        let boot = BootId(0xab);
        assert_eq!(boot.to_string().parse::<BootId>().expect("a boot id"), boot);
    }

    #[test]
    fn bad_ids_are_named() {
        assert_eq!(
            "x".parse::<JobId>().unwrap_err().to_string(),
            "'x' is no job id: expected a whole number from 1"
        );
        assert!("0".parse::<JobId>().is_err(), "jobs count from 1");
        assert!("1.".parse::<TaskId>().is_err());
        assert!(NodeName::new("-n").is_err());
        assert!(NodeName::new(&"n".repeat(65)).is_err());
    }

    #[test]
    fn names_ignore_case() {
        assert_eq!(GroupName::new("AzureNodes"), GroupName::new("azurenodes"));
        assert!(GroupName::new("B").expect("name") > GroupName::new("a").expect("name"));
    }
}
