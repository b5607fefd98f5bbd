//! Commands about users and log-ins.

use proto::ids::UserName;
use proto::model::owner::Role;
use proto::units::Millis;

use super::{id_of, misplaced};
use crate::args::table::{Key, Verb};
use crate::args::{Options, UsageError};
use crate::login;
use crate::value;

/// A login token that nobody says otherwise of.
const LIFETIME: Millis = Millis::from_seconds(86_400);

/// A checked command about users and log-ins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum AccessCommand {
    Login {
        /// `HOST` or `HOST:PORT`; none means the one that `--scheduler` or the surroundings name.
        host: Option<String>,
        /// The token, a file, or `-`; none means to ask.
        token: Option<String>,
    },
    Logout {
        host: Option<String>,
    },
    WhoAmI,
    UserAdd {
        user: UserName,
        role: Role,
        ids: Option<(u32, u32)>,
    },
    UserList,
    UserRemove(UserName),
    UserToken {
        /// None means the caller.
        user: Option<UserName>,
        lifetime: Millis,
    },
    UserRevoke {
        user: UserName,
        key: String,
    },
}

/// Checks one.
pub(super) fn checked(verb: Verb, options: &Options, words: &[String]) -> Result<AccessCommand, UsageError> {
    Ok(match verb {
        Verb::Login => log_in(options, words),
        Verb::Logout => AccessCommand::Logout {
            host: words.first().cloned(),
        },
        Verb::WhoAmI => AccessCommand::WhoAmI,
        Verb::UserAdd => AccessCommand::UserAdd {
            user: id_of(verb, words)?,
            role: options.read(Key::Role, role)?.unwrap_or(Role::User),
            ids: ids(options)?,
        },
        Verb::UserList => AccessCommand::UserList,
        Verb::UserRemove => AccessCommand::UserRemove(id_of(verb, words)?),
        Verb::UserToken => AccessCommand::UserToken {
            user: match words {
                [] => None,
                _ => Some(id_of(verb, words)?),
            },
            lifetime: options.read(Key::Lifetime, value::span)?.unwrap_or(LIFETIME),
        },
        Verb::UserRevoke => AccessCommand::UserRevoke {
            user: id_of(verb, words)?,
            key: key(verb, words.get(1).map_or("", String::as_str))?,
        },
        _ => return Err(misplaced(verb)),
    })
}

/// One word is the host, unless that is known or the word is a token.
fn log_in(options: &Options, words: &[String]) -> AccessCommand {
    let (host, token) = match words {
        [] => (None, None),
        [word] if options.one(Key::Scheduler).is_some() || login::is_token(word) => (None, Some(word)),
        [host] => (Some(host), None),
        [host, token, ..] => (Some(host), Some(token)),
    };
    AccessCommand::Login {
        host: host.cloned(),
        token: token.cloned(),
    }
}

fn role(text: &str) -> Result<Role, value::ValueError> {
    const ROLES: [(&str, Role); 4] = [
        ("user", Role::User),
        ("operator", Role::Operator),
        ("administrator", Role::Administrator),
        ("admin", Role::Administrator),
    ];
    let words = ROLES.map(|(word, _)| word);
    let word = value::word(text, &words)?;
    // `word` is one of them.
    Ok(ROLES
        .iter()
        .find(|(name, _)| *name == word)
        .map_or(Role::User, |(_, role)| *role))
}

fn ids(options: &Options) -> Result<Option<(u32, u32)>, UsageError> {
    let number = |key| options.read(key, |text| value::number(text, 0, u32::MAX - 1));
    match (number(Key::Uid)?, number(Key::Gid)?) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        (None, None) => Ok(None),
        (uid, _) => Err(UsageError::MissingWord {
            place: Verb::UserAdd.spec().title(),
            needs: if uid.is_some() {
                "--gid beside --uid"
            } else {
                "--uid beside --gid"
            },
            usage: Verb::UserAdd.spec().usage(),
        }),
    }
}

/// The first digits of a key's hash.
fn key(verb: Verb, word: &str) -> Result<String, UsageError> {
    if (8..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(word.to_ascii_lowercase());
    }
    Err(UsageError::BadWord {
        wrong: format!("'{word}' is no key: give at least the first 8 hex digits that 'muster user list' shows"),
        usage: verb.spec().usage(),
    })
}
