//! As whom a task runs: the owner recorded at submit, checked against this node's own accounts.
//!
//! A node that knows the name under other numbers refuses the task: with a shared file system the numbers decide whose
//! files are whose. A daemon that is not root runs everything as itself and asks nobody.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, User, geteuid, getgrouplist};
use proto::model::owner::Owner;

use crate::spawner::message::Credentials;

/// How long an answer of the account database is good: it may be a server far away, and tasks come by the thousand.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// The most accounts remembered.
const MAX_REMEMBERED: usize = 1024;

/// How long the account database may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// An account of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// What to become; none when the daemon cannot become anyone else.
    pub credentials: Option<Credentials>,
}

/// Why nobody can be found to run a task as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No such name.
    #[error("no user '{name}' here; the head node knows it with uid {uid}: make the account on this node too")]
    Unknown {
        /// The owner's name.
        name: String,
        /// On the head node.
        uid: u32,
    },
    /// Another number.
    #[error(
        "user '{name}' has uid {here_uid} and gid {here_gid} here, but uid {uid} and gid {gid} on the head node; make them the same"
    )]
    Disagrees {
        /// The owner's name.
        name: String,
        /// On this node.
        here_uid: u32,
        /// On this node.
        here_gid: u32,
        /// On the head node.
        uid: u32,
        /// On the head node.
        gid: u32,
    },
    /// The database takes too long.
    #[error("the accounts of this node did not tell within {waited:?} who user '{name}' is")]
    TooSlow {
        /// The owner's name.
        name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The database did not answer.
    #[error("the accounts of this node cannot be read for user '{name}': {errno}")]
    Failed {
        /// The owner's name.
        name: String,
        /// What the system said.
        errno: Errno,
    },
}

/// Looks an owner up. May block while a directory server is asked.
///
/// # Errors
/// [`AccountError`], for the user.
pub fn look_up(owner: &Owner) -> Result<Account, AccountError> {
    let failed = |errno| AccountError::Failed {
        name: owner.name.clone(),
        errno,
    };
    let own = geteuid();
    if !own.is_root() {
        return Ok(User::from_uid(own)
            .map_err(failed)?
            .map_or_else(nameless, |user| of_user(&user, None)));
    }
    let unknown = || AccountError::Unknown {
        name: owner.name.clone(),
        uid: owner.uid,
    };
    let user = User::from_name(&owner.name).map_err(failed)?.ok_or_else(unknown)?;
    if (user.uid.as_raw(), user.gid.as_raw()) != (owner.uid, owner.gid) {
        return Err(AccountError::Disagrees {
            name: owner.name.clone(),
            here_uid: user.uid.as_raw(),
            here_gid: user.gid.as_raw(),
            uid: owner.uid,
            gid: owner.gid,
        });
    }
    let name = CString::new(user.name.as_str()).map_err(|_| unknown())?;
    let groups = getgrouplist(&name, user.gid).map_err(failed)?;
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(of_user(
        &user,
        Some(Credentials {
            uid: owner.uid,
            gid: owner.gid,
            groups,
        }),
    ))
}

/// The same without blocking.
///
/// # Errors
/// As [`look_up`], and [`AccountError::TooSlow`].
pub(crate) async fn look_up_later(owner: Owner) -> Result<Account, AccountError> {
    let name = owner.name.clone();
    let looking = tokio::task::spawn_blocking(move || look_up(&owner));
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(Ok(found)) => found,
        // The thread panicked or hangs; either way nobody knows.
        Ok(Err(_)) | Err(_) => Err(AccountError::TooSlow { name, waited: DEADLINE }),
    }
}

fn of_user(user: &User, credentials: Option<Credentials>) -> Account {
    Account {
        name: user.name.clone(),
        home: user.dir.to_string_lossy().into_owned(),
        shell: user.shell.to_string_lossy().into_owned(),
        credentials,
    }
}

/// An unprivileged daemon in a container may have a number without a name.
fn nameless() -> Account {
    Account {
        name: geteuid().to_string(),
        home: "/".to_owned(),
        shell: "/bin/sh".to_owned(),
        credentials: None,
    }
}

/// Accounts that were looked up a short while ago.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    known: BTreeMap<String, (Instant, Owner, Arc<Account>)>,
}

impl Accounts {
    /// The account, if it was looked up recently.
    pub(crate) fn recent(&self, owner: &Owner) -> Option<Arc<Account>> {
        let (at, of, account) = self.known.get(&owner.name)?;
        (of == owner && at.elapsed() < GOOD_FOR).then(|| Arc::clone(account))
    }

    /// Remembers an answer.
    pub(crate) fn remember(&mut self, owner: Owner, account: &Arc<Account>) {
        if self.known.len() >= MAX_REMEMBERED {
            self.known.retain(|_, (at, _, _)| at.elapsed() < GOOD_FOR);
        }
        if self.known.len() < MAX_REMEMBERED {
            self.known
                .insert(owner.name.clone(), (Instant::now(), owner, Arc::clone(account)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: u32) -> Owner {
        Owner {
            name: name.to_owned(),
            uid,
            gid: uid,
        }
    }

    #[test]
    fn roots_tasks_run_as_root_and_others_are_checked() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED roots_tasks_run_as_root_and_others_are_checked: needs root");
            return;
        }
        let account = look_up(&owner("root", 0)).expect("root is known");
        assert_eq!(account.credentials.map(|credentials| credentials.uid), Some(0));
        let text = look_up(&owner("root", 4242)).expect_err("another number").to_string();
        assert!(text.contains("uid 0") && text.contains("uid 4242"), "{text}");
        let text = look_up(&owner("no-such-user", 4242)).expect_err("nobody").to_string();
        assert!(text.contains("no user 'no-such-user' here"), "{text}");
    }

    #[test]
    fn answers_are_remembered_for_the_same_owner_only() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.recent(&owner("a", 1)), None);
        accounts.remember(owner("a", 1), &Arc::new(nameless()));
        assert!(accounts.recent(&owner("a", 1)).is_some());
        assert_eq!(accounts.recent(&owner("a", 2)), None);
    }
}
