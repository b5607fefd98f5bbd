//! The commands about job schedules.

use super::{ANY, Noun, Verb, VerbSpec, verb};

const NEEDS: &str = "the name of a job schedule";

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::ScheduleAdd,
        Noun::Schedule,
        "add",
        "make a job schedule: a job with one task, or a job file, again and again",
    )
    .takes("NAME [PROGRAM...]", 1, ANY, NEEDS)
    .id_and_command()
    .examples(&[
        "muster jobschedule add nightly --every 1d --from 02:00 /numnodes:4 mpiexec -c 1 report",
        "muster jobschedule add hourly --every 1h --window 10m --job-file graph.toml",
    ]),
    verb(
        Verb::ScheduleList,
        Noun::Schedule,
        "list",
        "job schedules and when they make their next jobs",
    )
    .examples(&["muster jobschedule list"]),
    verb(Verb::ScheduleView, Noun::Schedule, "view", "one job schedule")
        .takes("SCHEDULE", 1, 1, NEEDS)
        .examples(&["muster jobschedule view nightly"]),
    verb(
        Verb::ScheduleModify,
        Noun::Schedule,
        "modify",
        "change what a job schedule asks for; a program or job file takes the place of its tasks",
    )
    .takes("SCHEDULE [PROGRAM...]", 1, ANY, NEEDS)
    .id_and_command()
    .examples(&["muster jobschedule modify --every 12h nightly"]),
    verb(
        Verb::ScheduleDisable,
        Noun::Schedule,
        "disable",
        "make no jobs until it is enabled; a live job goes on",
    )
    .takes("SCHEDULE", 1, 1, NEEDS)
    .examples(&["muster jobschedule disable nightly"]),
    verb(Verb::ScheduleEnable, Noun::Schedule, "enable", "make jobs again")
        .takes("SCHEDULE", 1, 1, NEEDS)
        .examples(&["muster jobschedule enable nightly"]),
    verb(
        Verb::ScheduleTerminate,
        Noun::Schedule,
        "terminate",
        "end a job schedule and its live job",
    )
    .takes("SCHEDULE", 1, 1, NEEDS)
    .examples(&["muster jobschedule terminate nightly"]),
    verb(
        Verb::ScheduleDelete,
        Noun::Schedule,
        "delete",
        "end a job schedule, and take it and all its jobs away",
    )
    .takes("SCHEDULE", 1, 1, NEEDS)
    .examples(&["muster jobschedule delete nightly"]),
];
