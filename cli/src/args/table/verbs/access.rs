//! The commands about log-ins and users.

use super::{Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::UserAdd,
        Noun::User,
        "add",
        "let somebody use the cluster, or give them another role",
    )
    .takes("NAME", 1, 1, "a user")
    .examples(&[
        "muster user add alice",
        "muster user add bob --role operator",
        "muster user add carol --uid 1234 --gid 100",
    ]),
    verb(
        Verb::UserList,
        Noun::User,
        "list",
        "users with their roles and the hosts where they are logged in",
    )
    .examples(&["muster user list"]),
    verb(
        Verb::UserRemove,
        Noun::User,
        "remove",
        "take a user out; their credentials are void at once",
    )
    .takes("NAME", 1, 1, "a user")
    .examples(&["muster user remove alice"]),
    verb(
        Verb::UserToken,
        Noun::User,
        "token",
        "make a one-time token with which a user logs in on another host",
    )
    .takes("[NAME]", 0, 1, "")
    .examples(&["muster user token alice", "muster user token alice --lifetime 1d"]),
    verb(
        Verb::UserRevoke,
        Noun::User,
        "revoke",
        "take one credential of a user back, at once",
    )
    .takes("NAME KEY", 2, 2, "a user, and the key as 'muster user list' shows it")
    .examples(&["muster user revoke alice 3f2a90bc"]),
    verb(
        Verb::Login,
        Noun::Cluster,
        "login",
        "turn a one-time token into a credential of this host for a cluster elsewhere",
    )
    .takes("[HOST[:PORT]] [TOKEN|FILE|-]", 0, 2, "")
    .examples(&[
        "muster login head.site",
        "muster login head.site muster-login-1.SECRET.FINGERPRINT",
        "muster login --scheduler head.site:8745 token.txt",
    ]),
    verb(
        Verb::Logout,
        Noun::Cluster,
        "logout",
        "take the credential of this host back and throw it away",
    )
    .takes("[HOST[:PORT]]", 0, 1, "")
    .examples(&["muster logout", "muster logout head.site"]),
    verb(
        Verb::WhoAmI,
        Noun::Cluster,
        "whoami",
        "who you are to the cluster, and how that is proved",
    )
    .examples(&["muster whoami", "muster whoami --scheduler head.site"]),
];
