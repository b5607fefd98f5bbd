//! The commands about pools.

use super::{Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(Verb::PoolList, Noun::Pool, "list", "all pools").examples(&["pool list", "pool list -o wide"]),
    verb(Verb::PoolView, Noun::Pool, "view", "one pool")
        .takes("POOL", 1, 1, "a pool")
        .examples(&["pool view local"]),
    verb(Verb::PoolCreate, Noun::Pool, "create", "make a pool")
        .also(&["add", "new"])
        .takes("NAME", 1, 1, "a name for the pool")
        .examples(&[
            "pool create small --slots 4 --fill spread",
            "pool create gpu --size 8 --start-task 'sh /shared/setup.sh' --start-task-retries 2",
        ]),
    verb(Verb::PoolSet, Noun::Pool, "set", "change a pool")
        .takes("POOL", 1, 1, "a pool")
        .examples(&["pool set gpu --max-cores 256", "pool set gpu --start-task none"]),
    verb(
        Verb::PoolResize,
        Noun::Pool,
        "resize",
        "give a pool another size, or stop where it is with --stop",
    )
    .takes("POOL [N]", 1, 2, "a pool and how many nodes")
    .examples(&["pool resize gpu 16 --timeout 30m", "pool resize gpu --stop"]),
    verb(
        Verb::PoolDelete,
        Noun::Pool,
        "delete",
        "take a pool away; its nodes leave the cluster, their tasks wait again",
    )
    .takes("POOL", 1, 1, "a pool")
    .examples(&["pool delete gpu"]),
];
