//! Users, and what an administrator has set. Hashes of log-in tokens never leave.

use proto::client::Reply;
use proto::ids::{KeyHash, UserName};
use proto::model::job::Env;
use proto::model::owner::{Caller, Role};
use proto::model::user::UserRow;

use super::View;

impl View {
    /// A user by name.
    #[must_use]
    pub fn user(&self, name: &UserName) -> Option<UserRow> {
        self.cluster().user(name).cloned()
    }

    /// Whose key that is now; none for one that was taken back.
    #[must_use]
    pub fn user_of_key(&self, key: KeyHash) -> Option<UserRow> {
        self.cluster().user_of_key(key).cloned()
    }

    /// The role that was given to an account of the head node's machine; none when none was.
    #[must_use]
    pub fn role_of(&self, name: &str, uid: u32) -> Option<Role> {
        let name = UserName::new(name).ok()?;
        let cluster = self.cluster();
        // Another account under the name of a user is not that user.
        cluster.user(&name).filter(|row| row.uid == uid).map(|row| row.role)
    }

    /// All users by name; a plain user sees themselves.
    #[must_use]
    pub fn users(&self, caller: &Caller) -> Reply {
        let cluster = self.cluster();
        let is_self = |row: &UserRow| row.name.as_str() == caller.owner.name && row.uid == caller.owner.uid;
        let seen = cluster
            .users()
            .filter(|row| caller.role >= Role::Operator || is_self(row));
        let shown = |row: &UserRow| {
            let mut row = row.clone();
            if let Some(login) = &mut row.login {
                login.hash.clear();
            }
            row
        };
        Reply::Users {
            users: seen.map(shown).collect(),
        }
    }

    /// Variables and parameters of the cluster; `standing` are the variables that every task gets besides.
    #[must_use]
    pub fn settings(&self, standing: Env) -> Reply {
        let cluster = self.cluster();
        Reply::Settings {
            row: Box::new(cluster.settings_row().clone()),
            parameters: scheduler::parameters_in_force(&cluster),
            standing,
        }
    }
}
