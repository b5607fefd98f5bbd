//! Users: roles, log-ins from other hosts, and the credentials that come of them.
//!
//! Who asks was proved before, by the kernel or by a certificate. A log-in is proved by a one-time token that is known here
//! by its hash only. What stands in a user's row is good, and what is taken out of it is void at once.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{KeyHash, UserName};
use proto::model::owner::{Caller, Role};
use proto::model::user::{Credential, LoginToken, UserRow};

use super::ledger::Ledger;
use super::require;
use crate::cluster::Cluster;
use crate::input::Answer;
use crate::refusal::{busy, counted, forbidden, invalid, not_found, unknown};

/// The most users of a cluster.
const MAX_USERS: usize = 10_000;

/// The least hex digits that name a credential.
const MIN_KEY_DIGITS: usize = 8;

/// The most bytes of the name of a host that a user logs in from.
const MAX_HOST_BYTES: usize = 255;

pub(super) fn add(
    ledger: &mut Ledger<'_>,
    name: &UserName,
    (uid, gid): (u32, u32),
    role: Role,
) -> Result<Answer, Refusal> {
    if role == Role::Node {
        return Err(invalid(
            "the role 'node' is for compute nodes",
            "use user, operator or administrator",
        ));
    }
    if uid == 0 || name.as_str() == "root" {
        return Err(invalid(
            format!(
                "'{name}' with the user id {uid} would be root, who is administrator on the head node's machine already"
            ),
            "add the person under their own account",
        ));
    }
    let old = ledger.cluster.user(name);
    if old.is_some_and(|row| (row.uid, row.gid, row.role) == (uid, gid, role)) {
        let note = format!("'{name}' is {} already", role.as_str());
        return Ok(Answer::Notes(vec![note]));
    }
    if old.is_none() && ledger.cluster.users().len() >= MAX_USERS {
        return Err(busy(
            format!("there are {MAX_USERS} users already"),
            "remove one with 'user remove'",
        ));
    }
    let mut notes = Vec::new();
    if let Some(old) = old.filter(|row| row.role != role) {
        notes.push(format!(
            "'{name}' was {} and is {} now",
            old.role.as_str(),
            role.as_str()
        ));
    }
    if let Some(old) = old.filter(|row| (row.uid, row.gid) != (uid, gid)) {
        notes.push(format!(
            "jobs from now on run as {uid}:{gid}, no longer as {}:{}",
            old.uid, old.gid
        ));
    }
    ledger.push(Event::UserAdded {
        name: name.clone(),
        uid,
        gid,
        role,
        at: ledger.now.wall,
    });
    Ok(Answer::Notes(notes))
}

pub(super) fn remove(ledger: &mut Ledger<'_>, name: &UserName) -> Result<Answer, Refusal> {
    let row = known(ledger.cluster, name)?;
    let mut notes = Vec::new();
    if !row.credentials.is_empty() {
        let credentials = counted(row.credentials.len(), "credential");
        notes.push(format!("{credentials} of '{name}' can be used no longer"));
    }
    let jobs = ledger.cluster.jobs().filter(|job| job.owner.name == name.as_str());
    match jobs.filter(|job| !job.state.is_ended()).count() {
        0 => {}
        jobs => notes.push(format!(
            "{} of '{name}' not over; see 'job list /user:{name}'",
            if jobs == 1 {
                "1 job is".to_owned()
            } else {
                format!("{jobs} jobs are")
            }
        )),
    }
    ledger.push(Event::UserRemoved { name: name.clone() });
    Ok(Answer::Notes(notes))
}

pub(super) fn revoke(ledger: &mut Ledger<'_>, caller: &Caller, name: &UserName, key: &str) -> Result<Answer, Refusal> {
    require_self(ledger.cluster, caller, name, "take back credentials of others")?;
    let row = known(ledger.cluster, name)?;
    let key = key.to_ascii_lowercase();
    if key.len() < MIN_KEY_DIGITS || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid(
            format!("'{key}' names no key"),
            format!("give the first {MIN_KEY_DIGITS} digits of the key or more, as 'user list' shows it"),
        ));
    }
    let named: Vec<&Credential> = row
        .credentials
        .iter()
        .filter(|credential| credential.key.to_string().starts_with(&key))
        .collect();
    match named.as_slice() {
        [] => Err(not_found(
            format!("'{name}' has no credential with the key {key}"),
            "see 'user list'",
        )),
        [one] => {
            ledger.push(Event::CredentialRevoked {
                name: name.clone(),
                key: one.key,
            });
            let mut notes = vec![format!(
                "the credential {} of '{name}'{} is void",
                short(one.key),
                from(&one.host)
            )];
            if row
                .login
                .as_ref()
                .is_some_and(|token| token.expires_at > ledger.now.wall)
            {
                notes.push(format!("the login token of '{name}' that was not used yet is void too"));
            }
            Ok(Answer::Notes(notes))
        }
        several => Err(invalid(
            format!("{} of '{name}' begin with {key}", counted(several.len(), "key")),
            "give more digits",
        )),
    }
}

fn short(key: KeyHash) -> String {
    key.to_string().chars().take(MIN_KEY_DIGITS).collect()
}

fn from(host: &str) -> String {
    if host.is_empty() {
        String::new()
    } else {
        format!(" from {host}")
    }
}

pub(super) fn make_login(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &UserName,
    token: &LoginToken,
) -> Result<Answer, Refusal> {
    require_self(ledger.cluster, caller, name, "make tokens for others")?;
    let row = known(ledger.cluster, name)?;
    if token.expires_at <= ledger.now.wall {
        return Err(invalid(
            "a token with no lifetime lets nobody in",
            "give a longer lifetime",
        ));
    }
    let pending = row.login.as_ref().filter(|old| old.expires_at > ledger.now.wall);
    let notes = pending.map(|_| format!("an earlier token of '{name}' is void now"));
    ledger.push(Event::LoginOffered {
        name: name.clone(),
        token: token.clone(),
    });
    Ok(Answer::Notes(notes.into_iter().collect()))
}

/// Whoever shows the token is the user. What is wrong with a token is not told apart, so that nobody learns which were
/// good once.
pub(super) fn login(ledger: &mut Ledger<'_>, hash: &str, credential: &Credential) -> Result<Answer, Refusal> {
    let good = ledger.cluster.user_of_token(hash).filter(|row| {
        let token = row.login.as_ref();
        token.is_some_and(|token| token.hash == hash && token.expires_at > ledger.now.wall)
    });
    let Some(row) = good else {
        return Err(forbidden(
            "this cluster does not know the login token, or it has ended or was used",
            "ask for a new one: 'muster user token NAME' on the head node",
        ));
    };
    // A key is one person's, and a log-in is no renewal: it uses the token up, whatever was there before.
    if let Some(holder) = ledger.cluster.user_of_key(credential.key) {
        ledger.push(Event::CredentialRevoked {
            name: holder.name.clone(),
            key: credential.key,
        });
    }
    Ok(admit(ledger, row, credential))
}

pub(super) fn renew(ledger: &mut Ledger<'_>, caller: &Caller, credential: &Credential) -> Result<Answer, Refusal> {
    let holder = ledger.cluster.user_of_key(credential.key);
    match holder.filter(|row| row.name.as_str() == caller.owner.name) {
        Some(row) => Ok(admit(ledger, row, credential)),
        None => Err(forbidden(
            format!("'{}' holds no credential with this key", caller.owner.name),
            "log in anew with 'muster login'",
        )),
    }
}

fn admit(ledger: &mut Ledger<'_>, row: &UserRow, credential: &Credential) -> Answer {
    ledger.push(Event::LoggedIn {
        name: row.name.clone(),
        credential: Credential {
            host: printable(&credential.host),
            ..credential.clone()
        },
    });
    Answer::LoggedIn {
        user: row.name.clone(),
        role: row.role,
    }
}

/// A host says its name itself; nothing of it may move a terminal, or fill the store.
fn printable(host: &str) -> String {
    let mut bytes = 0;
    host.chars()
        .filter(|c| !c.is_control())
        .take_while(|c| {
            bytes += c.len_utf8();
            bytes <= MAX_HOST_BYTES
        })
        .collect()
}

/// Users act for themselves, administrators for all. Another account under the name of a user is not that user.
fn require_self(cluster: &Cluster, caller: &Caller, name: &UserName, what: &str) -> Result<(), Refusal> {
    let is_self = caller.role != Role::Node
        && caller.owner.name == name.as_str()
        && cluster.user(name).is_none_or(|row| row.uid == caller.owner.uid);
    if is_self {
        return Ok(());
    }
    require(caller, Role::Administrator, what)
}

fn known<'a>(cluster: &'a Cluster, name: &UserName) -> Result<&'a UserRow, Refusal> {
    cluster.user(name).ok_or_else(|| {
        unknown(
            "user",
            name.as_str(),
            cluster.users().map(|row| row.name.as_str()),
            &format!("add one with 'user add {name}'"),
        )
    })
}
