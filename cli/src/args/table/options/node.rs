//! The options of commands about nodes.

use super::{Key, OptionSpec, Value, Verb, built, not_yet};
const NODES: &[Verb] = &[Verb::NodeList];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::All,
        "all",
        Value::Flag,
        &[Verb::NodeOnline, Verb::NodeOffline, Verb::NodeDrain],
        "all nodes",
    ),
    built(
        Key::Format,
        "format",
        Value::Text("list|table"),
        &[Verb::JobList, Verb::JobListTasks, Verb::TaskList, Verb::NodeList],
        "a table, or a block per row",
    ),
    built(
        Key::Group,
        "group",
        Value::Text("GROUP"),
        NODES,
        "only nodes of this group",
    ),
    built(
        Key::NodeState,
        "state",
        Value::Text("S1,S2"),
        NODES,
        "only nodes in these states: Online, Draining, Offline",
    ),
    built(
        Key::Deallocation,
        "option",
        Value::Text("OPTION"),
        &[
            Verb::NodeOffline,
            Verb::NodeDrain,
            Verb::NodeReboot,
            Verb::NodeReimage,
            Verb::PoolResize,
        ],
        "their tasks: requeue (they wait again), terminate (they fail), taskcompletion (they end; the default), retaineddata (that, and files stay)",
    ),
    built(
        Key::Requeue,
        "requeue",
        Value::Flag,
        &[Verb::NodeOffline, Verb::NodeDrain],
        "the same as --option requeue",
    ),
    built(
        Key::Force,
        "force",
        Value::Flag,
        &[Verb::NodeRemove],
        "also nodes that hold tasks; these are lost, and run again elsewhere if they may",
    ),
    not_yet("last-days", NODES),
    not_yet("active-head-node", NODES),
];
