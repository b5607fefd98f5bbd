//! The options of commands about tasks.

use super::{Key, OptionSpec, Value, Verb, built};

/// Those that list tasks.
const TASKS: &[Verb] = &[Verb::TaskList, Verb::JobListTasks];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::All,
        "all",
        Value::Flag,
        &[Verb::TaskView],
        "as much of the output as the node hands over, 256 KiB per file",
    ),
    built(
        Key::Expand,
        "expand",
        Value::Flag,
        TASKS,
        "each step of a sweep by itself",
    ),
    built(
        Key::JobState,
        "state",
        Value::Text("S1,S2"),
        TASKS,
        "only tasks in these states: Queued, Dispatching, Running, Canceling, Finished, Failed, Canceled",
    )
    .also(&["status", "filter"]),
    built(
        Key::Filter,
        "filter",
        Value::Text("STATES"),
        &[
            Verb::TaskCancel,
            Verb::TaskRequeue,
            Verb::TaskReactivate,
            Verb::TaskFinish,
            Verb::TaskView,
            Verb::TaskTail,
        ],
        "of a job or sweep, only the tasks that are queued, running, finished, failed or canceled",
    ),
    built(
        Key::Follow,
        "follow",
        Value::Flag,
        &[Verb::TaskTail],
        "go on until the tasks are over",
    )
    .short("f"),
    built(
        Key::Lines,
        "lines",
        Value::Text("N"),
        &[Verb::TaskTail],
        "begin at the last N lines of each file; else at its beginning",
    )
    .short("n"),
    built(
        Key::Label,
        "label",
        Value::Flag,
        &[Verb::TaskTail],
        "each line begins with its task, node and rank; so it is with several tasks or ranks",
    ),
    built(
        Key::NoLabel,
        "no-label",
        Value::Flag,
        &[Verb::TaskTail],
        "the bytes as they were written",
    ),
];
