//! The options of commands about job schedules.

use super::{Key, OptionSpec, Value, Verb, built};

const WHEN: &[Verb] = &[Verb::ScheduleAdd, Verb::ScheduleModify];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::Every,
        "every",
        Value::Text("SPAN"),
        WHEN,
        "a job each time after so long: 10m, 1h, 1d, at least one minute; else one job; 'none' takes it back",
    ),
    built(
        Key::From,
        "from",
        Value::Text("WHEN"),
        WHEN,
        "no job before, as --hold-until; 'now' takes it back",
    ),
    built(
        Key::Until,
        "until",
        Value::Text("WHEN"),
        WHEN,
        "no job after, and the schedule is over then; 'none' takes it back",
    ),
    built(
        Key::Window,
        "window",
        Value::Text("SPAN"),
        WHEN,
        "a job that could not be made for so long after its time is left out; at least one minute; 'none' takes it back",
    ),
];
