//! The options of the commands about log-ins and users.

use super::{Key, OptionSpec, Value, Verb, built};

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::Role,
        "role",
        Value::Text("ROLE"),
        &[Verb::UserAdd],
        "user, operator (everyone's jobs, nodes) or administrator (everything); user when nothing is said",
    ),
    built(
        Key::Uid,
        "uid",
        Value::Text("N"),
        &[Verb::UserAdd],
        "as whom their tasks run, where the head node does not know the name; with --gid",
    ),
    built(
        Key::Gid,
        "gid",
        Value::Text("N"),
        &[Verb::UserAdd],
        "the group to that number",
    ),
    built(
        Key::Lifetime,
        "lifetime",
        Value::Text("TIME"),
        &[Verb::UserToken],
        "how long the token is good for, at most 7d; 1d when nothing is said",
    ),
];
