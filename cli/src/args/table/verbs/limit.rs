//! The commands about limits of users.

use super::{Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::LimitList,
        Noun::Limit,
        "list",
        "how much users may have at a time, and what they have",
    )
    .examples(&["muster limit list"]),
    verb(
        Verb::LimitSet,
        Noun::Limit,
        "set",
        "set limits, of one user or of everybody who has none of their own",
    )
    .examples(&[
        "muster limit set --user alice --cores 128",
        "muster limit set --running-jobs 20 --queued-tasks any",
    ]),
    verb(
        Verb::LimitClear,
        Noun::Limit,
        "clear",
        "take a user's own limits back; those of everybody hold again",
    )
    .examples(&["muster limit clear --user alice"]),
];
