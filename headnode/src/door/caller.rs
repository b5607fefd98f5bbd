//! Who is at the other end of the unix socket: the kernel says which account, the cluster which role.
//!
//! A head node that runs without root's rights has nodes that run everything as one account, as a rule its own. Whoever
//! may submit there acts as that account, so on the same machine it serves nobody whom an administrator did not add.

use std::time::Duration;

use nix::unistd::{Uid, User};
use proto::client::{Refusal, RefusalCode};
use proto::model::owner::{Caller, Owner, Role};
use tokio::net::unix::UCred;
use tokio::time::timeout;

use super::refusal::refused;
use crate::view::View;

/// How long the system's user database may take; then the account goes by its number.
const NAME_DEADLINE: Duration = Duration::from_secs(2);

/// An account of this machine.
#[derive(Debug)]
pub(super) struct Local {
    owner: Owner,
    /// What it may do whatever the cluster says.
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Root, or the account that runs the head node: an administrator, which is the way back after a lost credential.
    Administrator,
    /// Everybody else where tasks run as their owners.
    User,
    /// Everybody else where they do not.
    Nobody,
}

impl Local {
    /// From what the kernel says of a connection.
    pub(super) async fn of(peer: &UCred) -> Self {
        let uid = Uid::from_raw(peer.uid());
        let name = system_user(move || User::from_uid(uid)).await.map(|user| user.name);
        Self {
            owner: Owner {
                name: name.unwrap_or_else(|| uid.to_string()),
                uid: peer.uid(),
                gid: peer.gid(),
            },
            standing: Standing::of(uid, Uid::effective()),
        }
    }

    /// With the role that they have now.
    ///
    /// # Errors
    /// When they have none.
    pub(super) fn caller(&self, view: &View) -> Result<Caller, Refusal> {
        let given = || view.role_of(&self.owner.name, self.owner.uid);
        let role = match self.standing {
            Standing::Administrator => Some(Role::Administrator),
            Standing::User => given().or(Some(Role::User)),
            Standing::Nobody => given(),
        };
        let owner = self.owner.clone();
        role.map(|role| Caller { owner, role }).ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> Refusal {
        let name = &self.owner.name;
        refused(
            RefusalCode::Forbidden,
            format!(
                "this head node runs as the account {} and serves those whom that account has added; '{name}' is not one of them",
                Uid::effective()
            ),
            format!("have it typed there: muster user add {name}; or use another cluster, with --scheduler or --state"),
        )
    }
}

impl Standing {
    const fn of(peer: Uid, own: Uid) -> Self {
        if peer.is_root() || peer.as_raw() == own.as_raw() {
            Self::Administrator
        } else if own.is_root() {
            Self::User
        } else {
            Self::Nobody
        }
    }
}

/// Asks the system's user database, which may be a server that hangs.
pub(super) async fn system_user(ask: impl FnOnce() -> nix::Result<Option<User>> + Send + 'static) -> Option<User> {
    let asked = tokio::task::spawn_blocking(ask);
    match timeout(NAME_DEADLINE, asked).await {
        Ok(Ok(Ok(user))) => user,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_roots_rights_only_those_who_were_added_are_served() {
        let standing = |peer, own| Standing::of(Uid::from_raw(peer), Uid::from_raw(own));
        assert_eq!(standing(1000, 0), Standing::User);
        assert_eq!(standing(1001, 1000), Standing::Nobody);
        assert_eq!(
            [standing(1000, 1000), standing(0, 1000), standing(0, 0)],
            [Standing::Administrator; 3]
        );
    }
}
