//! Who is at the other end of the unix socket: the kernel says which account, the cluster which role.

use std::time::Duration;

use nix::unistd::{Uid, User};
use proto::model::owner::{Caller, Owner, Role};
use tokio::net::unix::UCred;
use tokio::time::timeout;

use crate::view::View;

/// How long the system's user database may take; then the account goes by its number.
const NAME_DEADLINE: Duration = Duration::from_secs(2);

/// An account of this machine.
#[derive(Debug)]
pub(super) struct Local {
    owner: Owner,
    /// Root, or the account that runs the head node: an administrator whatever the cluster says, which is the way back
    /// after a lost credential.
    is_standing: bool,
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
            is_standing: uid.is_root() || uid == Uid::effective(),
        }
    }

    /// With the role that they have now.
    pub(super) fn caller(&self, view: &View) -> Caller {
        let role = if self.is_standing {
            Role::Administrator
        } else {
            view.role_of(&self.owner.name, self.owner.uid).unwrap_or(Role::User)
        };
        Caller {
            owner: self.owner.clone(),
            role,
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
