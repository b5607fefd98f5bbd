//! The options of commands about pools and limits.

use super::{Key, OptionSpec, Value, Verb, built};

const CREATE: &[Verb] = &[Verb::PoolCreate];
const POOL: &[Verb] = &[Verb::PoolCreate, Verb::PoolSet];
const RESIZE: &[Verb] = &[Verb::PoolResize];
const LIMIT: &[Verb] = &[Verb::LimitSet];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::Slots,
        "slots",
        Value::Text("N"),
        CREATE,
        "slots of each node, up to 256; else as many as it has cores; fixed for the life of the pool",
    ),
    built(
        Key::Size,
        "size",
        Value::Text("N"),
        CREATE,
        "how many nodes it is to have; else as many as join",
    ),
    built(
        Key::Fill,
        "fill",
        Value::Text("pack|spread"),
        POOL,
        "which node a task gets that needs no whole one: the fullest that fits (pack, the default) or the emptiest",
    ),
    built(
        Key::NoInterNode,
        "no-inter-node",
        Value::Flag,
        POOL,
        "its nodes may not work on one task together",
    ),
    built(
        Key::StartTask,
        "start-task",
        Value::Text("COMMAND"),
        POOL,
        "run on each node when it joins and in each new life of it; 'none' takes it back",
    ),
    built(
        Key::StartTaskRetries,
        "start-task-retries",
        Value::Text("N"),
        POOL,
        "run the start task again so often after an exit that is no success; -1 for ever",
    ),
    built(
        Key::StartTaskNoWait,
        "start-task-no-wait",
        Value::Flag,
        POOL,
        "other tasks do not wait for the start task",
    ),
    built(
        Key::RunningJobs,
        "max-running-jobs",
        Value::Text("N"),
        POOL,
        "so many jobs at a time hold nodes of it; 'any' takes it back",
    ),
    built(
        Key::Cores,
        "max-cores",
        Value::Text("N"),
        POOL,
        "so many of its slots are held at a time; 'any' takes it back",
    ),
    built(
        Key::QueuedTasks,
        "max-queued-tasks",
        Value::Text("N"),
        POOL,
        "so many tasks wait for it at a time, others are refused; 'any' takes it back",
    ),
    built(
        Key::Timeout,
        "timeout",
        Value::Text("SPAN"),
        RESIZE,
        "how long it may take; else 15m",
    ),
    built(
        Key::Stop,
        "stop",
        Value::Flag,
        RESIZE,
        "stop where it is, and take as many nodes as join",
    ),
    built(
        Key::User,
        "user",
        Value::Text("NAME"),
        &[Verb::LimitSet, Verb::LimitClear],
        "whose; else of everybody who has none of their own",
    ),
    built(
        Key::RunningJobs,
        "running-jobs",
        Value::Text("N"),
        LIMIT,
        "jobs that hold nodes at a time; 'any' for no bound",
    ),
    built(
        Key::Cores,
        "cores",
        Value::Text("N"),
        LIMIT,
        "slots that are held at a time; 'any' for no bound",
    ),
    built(
        Key::QueuedTasks,
        "queued-tasks",
        Value::Text("N"),
        LIMIT,
        "tasks that wait at a time; a submission beyond is refused; 'any' for no bound",
    ),
];
