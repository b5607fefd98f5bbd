//! Users and what is set for the cluster become state. Users are found by name, by a key that they hold, and by the token
//! that they have yet to use: every request and every log-in asks, so each has an index.

use std::collections::BTreeMap;

use proto::event::Event;
use proto::ids::{KeyHash, UserName};
use proto::model::user::{Credential, MAX_CREDENTIALS, UserRow};
use proto::stored::RowKey;

use super::Cluster;

/// All users that the cluster knows by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    rows: BTreeMap<UserName, UserRow>,
    keys: BTreeMap<KeyHash, UserName>,
    tokens: BTreeMap<String, UserName>,
}

impl Users {
    /// Takes a row in place of the one of the same name.
    pub(crate) fn put(&mut self, row: UserRow) {
        self.remove(&row.name);
        let keys = row.credentials.iter().map(|credential| credential.key);
        self.keys.extend(keys.map(|key| (key, row.name.clone())));
        if let Some(token) = &row.login {
            self.tokens.insert(token.hash.clone(), row.name.clone());
        }
        self.rows.insert(row.name.clone(), row);
    }

    pub(crate) fn remove(&mut self, name: &UserName) -> Option<UserRow> {
        let row = self.rows.remove(name)?;
        for credential in &row.credentials {
            self.keys.remove(&credential.key);
        }
        if let Some(token) = &row.login {
            self.tokens.remove(&token.hash);
        }
        Some(row)
    }

    pub(crate) fn row(&self, name: &UserName) -> Option<&UserRow> {
        self.rows.get(name)
    }

    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &UserRow> {
        self.rows.values()
    }

    pub(crate) fn of_key(&self, key: KeyHash) -> Option<&UserRow> {
        self.keys.get(&key).and_then(|name| self.rows.get(name))
    }

    pub(crate) fn of_token(&self, hash: &str) -> Option<&UserRow> {
        self.tokens.get(hash).and_then(|name| self.rows.get(name))
    }
}

impl Cluster {
    pub(super) fn apply_to_user(&mut self, event: &Event) {
        match event {
            Event::UserAdded {
                name,
                uid,
                gid,
                role,
                at,
            } => {
                let old = self.users.remove(name);
                let row = UserRow {
                    name: name.clone(),
                    uid: *uid,
                    gid: *gid,
                    role: *role,
                    added_at: old.as_ref().map_or(*at, |old| old.added_at),
                    login: old.as_ref().and_then(|old| old.login.clone()),
                    credentials: old.map_or_else(Vec::new, |old| old.credentials),
                };
                self.users.put(row);
                self.changes.mark(RowKey::User(name.clone()));
            }
            Event::UserRemoved { name } => {
                self.users.remove(name);
                self.changes.mark(RowKey::User(name.clone()));
            }
            Event::LoginOffered { name, token } => self.update_user(name, |row| row.login = Some(token.clone())),
            Event::LoggedIn { name, credential } => self.update_user(name, |row| log_in(row, credential)),
            Event::CredentialRevoked { name, key } => {
                self.update_user(name, |row| {
                    row.credentials.retain(|credential| credential.key != *key);
                    // Whoever held the key may have made themselves a token with it, to come back.
                    row.login = None;
                });
            }
            Event::SettingsChanged { settings } => {
                self.settings_row = (**settings).clone();
                self.changes.mark(RowKey::Settings);
            }
            _ => {}
        }
    }

    fn update_user(&mut self, name: &UserName, change: impl FnOnce(&mut UserRow)) {
        if let Some(mut row) = self.users.remove(name) {
            change(&mut row);
            self.users.put(row);
            self.changes.mark(RowKey::User(name.clone()));
        }
    }

    /// All users that the cluster knows by name, in the order of their names.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &UserRow> {
        self.users.rows()
    }

    /// One user.
    #[must_use]
    pub fn user(&self, name: &UserName) -> Option<&UserRow> {
        self.users.row(name)
    }

    /// Whose key this is. A certificate is good while this says so and its own time lasts.
    #[must_use]
    pub fn user_of_key(&self, key: KeyHash) -> Option<&UserRow> {
        self.users.of_key(key)
    }

    /// Who may log in with a token of this hash, though its time may be over.
    pub(crate) fn user_of_token(&self, hash: &str) -> Option<&UserRow> {
        self.users.of_token(hash)
    }
}

/// A key that stands in the row already is renewed, and a token waits on; any other comes by the token, which is used up.
fn log_in(row: &mut UserRow, credential: &Credential) {
    let known = row.credentials.len();
    row.credentials.retain(|old| old.key != credential.key);
    if row.credentials.len() == known {
        row.login = None;
    }
    row.credentials.push(credential.clone());
    let surplus = row.credentials.len().saturating_sub(MAX_CREDENTIALS);
    row.credentials.drain(..surplus);
}
