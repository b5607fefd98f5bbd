//! The commands about node groups.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(Verb::GroupList, Noun::NodeGroup, "list", "all groups with their nodes").examples(&["nodegroup list"]),
    verb(
        Verb::GroupAdd,
        Noun::NodeGroup,
        "add",
        "put nodes into a group; makes the group if it is new",
    )
    .takes("GROUP [NODE...]", 1, ANY, "a group")
    .examples(&["nodegroup add bigmem node1 node2", "nodegroup add bigmem n[1-16]"]),
    verb(
        Verb::GroupRemove,
        Noun::NodeGroup,
        "remove",
        "take nodes out of a group; without nodes, the group away",
    )
    .takes("GROUP [NODE...]", 1, ANY, "a group")
    .examples(&["nodegroup remove bigmem node1", "nodegroup remove bigmem"]),
];
