//! The commands about nodes.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(Verb::NodeList, Noun::Node, "list", "all nodes").examples(&["node list", "node list /group:azurenodes"]),
    verb(Verb::NodeView, Noun::Node, "view", "one node")
        .takes("NODE", 1, 1, "a node")
        .examples(&["node view node1"]),
    verb(Verb::NodeOnline, Noun::Node, "online", "let nodes take work")
        .also(&["resume"])
        .takes("NODE...", 0, ANY, "a node")
        .examples(&["node online node1 node2", "node online n[1-16]", "node online --all"]),
    verb(
        Verb::NodeOffline,
        Noun::Node,
        "offline",
        "let nodes finish what they run and take no more",
    )
    .also(&["pause"])
    .takes("NODE...", 0, ANY, "a node")
    .examples(&["node offline node1", "node offline --all --option requeue"]),
    verb(
        Verb::NodeDrain,
        Noun::Node,
        "drain",
        "let nodes finish what they run and take no more, or hand it on at once, see --option",
    )
    .takes("NODE...", 0, ANY, "a node")
    .examples(&["node drain node1", "node drain n[1-4] --option requeue"]),
    verb(
        Verb::NodeReboot,
        Noun::Node,
        "reboot",
        "have nodes start anew, once they hold nothing",
    )
    .takes("NODE...", 1, ANY, "a node")
    .examples(&["node reboot node1", "node reboot n[1-4] --option requeue"]),
    verb(
        Verb::NodeReimage,
        Noun::Node,
        "reimage",
        "have nodes start anew from their image, once they hold nothing",
    )
    .takes("NODE...", 1, ANY, "a node")
    .examples(&["node reimage node1"]),
    verb(
        Verb::NodeWatch,
        Noun::Node,
        "watch",
        "tell what happens to nodes, as it comes",
    )
    .takes("NODE...", 0, ANY, "")
    .examples(&["node watch", "node watch node1"]),
    verb(
        Verb::NodeRemove,
        Noun::Node,
        "remove",
        "take nodes out of the cluster; their certificates are void at once",
    )
    .takes("NODE...", 1, ANY, "a node")
    .examples(&["node remove node7", "node remove n[1-4] --force"]),
    verb(
        Verb::NodeJoinCommand,
        Noun::Node,
        "join-command",
        "print the one line that brings a host in when it is pasted there",
    )
    .examples(&[
        "muster node join-command",
        "muster node join-command --uses 16 --groups ComputeNodes,BigMemory --lifetime 8h",
    ]),
];
