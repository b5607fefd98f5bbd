//! The commands about tasks.

use super::{ANY, Noun, Verb, VerbSpec, verb};

/// In the order of help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        Verb::TaskList,
        Noun::Task,
        "list",
        "the tasks of a job; a sweep is one line without --expand",
    )
    .takes("JOB...", 1, ANY, "a job id")
    .examples(&["task list 12", "task list 12 --filter failed"]),
    verb(
        Verb::TaskView,
        Noun::Task,
        "view",
        "tasks, with the end of their output",
    )
    .takes("TASK...", 1, ANY, "a task id, for example 12.1")
    .examples(&["task view 12.1", "task view 12.1.7 --all", "task view last"]),
    verb(
        Verb::TaskTail,
        Noun::Task,
        "tail",
        "the output of tasks, all or as it comes",
    )
    .takes(
        "TASK...",
        1,
        ANY,
        "a task id, for example 12.1, or a job id for all its tasks",
    )
    .examples(&["task tail 12.1", "task tail -f 12", "task tail -n 20 last"]),
    verb(
        Verb::TaskAttach,
        Noun::Task,
        "attach",
        "give input to an interactive task and see its output",
    )
    .takes("TASK", 1, ANY, "a task id, for example 12.1")
    .examples(&["task attach 12.1"]),
    verb(
        Verb::TaskCancel,
        Noun::Task,
        "cancel",
        "end tasks; their programs are asked to, and killed after 15 s",
    )
    .takes("TASK...", 1, ANY, "a task id, for example 12.1")
    .examples(&[
        "task cancel 12.1",
        "task cancel 12.2-5",
        "task cancel 12 --filter queued",
    ]),
    verb(Verb::TaskRequeue, Noun::Task, "requeue", "run tasks again")
        .takes("TASK...", 1, ANY, "a task id, for example 12.1")
        .examples(&["task requeue 12.1.7", "task requeue 12 --filter failed"]),
    verb(
        Verb::TaskAdd,
        Noun::Task,
        "add",
        "add a task to a job, as 'job add' does",
    )
    .takes("JOB PROGRAM [ARGUMENTS]", 2, ANY, "a job id and the program to run")
    .id_and_command()
    .examples(&["task add 12 --memory 4G --resource gpu:1 train"]),
    verb(
        Verb::TaskReactivate,
        Noun::Task,
        "reactivate",
        "run failed tasks of live jobs again, with their retries counted afresh",
    )
    .takes("TASK...", 1, ANY, "a task id, for example 12.1")
    .examples(&["task reactivate 12.3", "task reactivate 12 --filter failed"]),
    verb(
        Verb::TaskWhy,
        Noun::Task,
        "why",
        "why tasks wait, what could change it, and when",
    )
    .takes("TASK...", 1, ANY, "a task id, for example 12.1")
    .examples(&["task why 12.3"]),
    verb(Verb::TaskFinish, Noun::Task, "finish", "end running tasks as Finished")
        .takes("TASK...", 1, ANY, "a task id, for example 12.1")
        .examples(&["task finish 12.1"]),
];
