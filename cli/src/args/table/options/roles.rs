//! The options of the tasks that a job has beside those that do its work.

use super::job::JOB;
use super::{Key, OptionSpec, Value, Verb, built};

/// A job manager cannot be changed later.
const MADE: &[Verb] = &[Verb::JobSubmit, Verb::JobNew, Verb::ScheduleAdd, Verb::ScheduleModify];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::Prep,
        "prep",
        Value::Text("COMMAND"),
        JOB,
        "run on each node before the first task of the job there; 'none' takes it back",
    ),
    built(
        Key::PrepNoWait,
        "prep-no-wait",
        Value::Flag,
        JOB,
        "the tasks do not wait for it, and come also to nodes where it failed",
    ),
    built(
        Key::PrepOnce,
        "prep-once",
        Value::Flag,
        JOB,
        "not again after the node was started anew",
    ),
    built(
        Key::Release,
        "release",
        Value::Text("COMMAND"),
        JOB,
        "run on each node where the job's tasks were, when the job ends, for up to 15 minutes; 'none' takes it back",
    ),
    built(
        Key::Manager,
        "manager",
        Value::Text("COMMAND"),
        MADE,
        "a task that is started first and may add tasks; its end terminates the job",
    ),
    built(
        Key::ManagerKeepJob,
        "manager-keep-job",
        Value::Flag,
        MADE,
        "the job goes on after the end of its manager",
    ),
    built(
        Key::ManagerShared,
        "manager-shared",
        Value::Flag,
        MADE,
        "other tasks may run on the manager's node",
    ),
];
