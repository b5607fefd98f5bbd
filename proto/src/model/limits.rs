//! How much one user or one pool may have at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::UserName;

/// Bounds; none means no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Jobs that hold nodes at a time; another one waits.
    pub running_jobs: Option<u32>,
    /// Slots that are held at a time; a task that would exceed them waits.
    pub cores: Option<u32>,
    /// Tasks that wait at a time, elements of arrays counted; a submission that would exceed them is refused.
    pub queued_tasks: Option<u64>,
}

impl Limits {
    /// Whether there is no bound at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Bounds of users. Those of pools stand in the pools' rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// Of everybody who is not named below, each for themselves.
    pub each: Limits,
    /// Of some, in place of `each`.
    pub of: BTreeMap<UserName, Limits>,
}

impl UserLimits {
    /// Those of one user.
    #[must_use]
    pub fn of(&self, user: &str) -> Limits {
        let named = UserName::new(user).ok().and_then(|name| self.of.get(&name));
        named.copied().unwrap_or(self.each)
    }
}
