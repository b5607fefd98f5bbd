//! The commands about pools.

use super::{Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(Verb::PoolList, Noun::Pool, "list", "all pools").examples(&["pool list"]),
    verb(Verb::PoolView, Noun::Pool, "view", "one pool")
        .takes("POOL", 1, 1, "a pool")
        .examples(&["pool view local"]),
];
