//! The options of commands about jobs, and of what is submitted.

use super::{Key, OptionSpec, Value, Verb, built, not_yet};

const SUBMIT: &[Verb] = &[Verb::JobSubmit];
/// Of a job as a whole.
const JOB: &[Verb] = &[Verb::JobSubmit, Verb::JobNew, Verb::JobModify];
/// Of a task.
const TASK: &[Verb] = &[Verb::JobSubmit, Verb::JobAdd];
/// Of either.
const SIZED: &[Verb] = &[Verb::JobSubmit, Verb::JobNew, Verb::JobModify, Verb::JobAdd];
const LIST: &[Verb] = &[Verb::JobList];

/// In the order of help.
pub(super) const OPTIONS: &[OptionSpec] = &[
    built(
        Key::NumNodes,
        "num-nodes",
        Value::Text("N[-M]"),
        SIZED,
        "so many whole nodes, all at once; with N-M up to M where they are free",
    ),
    built(
        Key::NumSockets,
        "num-sockets",
        Value::Text("N[-M]"),
        SIZED,
        "so many whole sockets",
    ),
    built(
        Key::NumCores,
        "num-cores",
        Value::Text("N[-M]"),
        SIZED,
        "so many cores; 1 when nothing is said",
    )
    .also(&["num-processors"]),
    built(
        Key::NodeGroup,
        "node-group",
        Value::Text("G1,G2"),
        JOB,
        "only nodes of these groups, see --node-group-op",
    ),
    built(
        Key::GroupOperator,
        "node-group-op",
        Value::Text("OP"),
        JOB,
        "Intersect: nodes in all of the groups (the default); Uniform: all of a task's nodes from one of them; Union: from any",
    ),
    built(
        Key::Pool,
        "pool",
        Value::Text("POOL"),
        JOB,
        "only nodes of this pool; 'any' takes it back",
    ),
    built(
        Key::RequestedNodes,
        "requested-nodes",
        Value::Text("N1,N2"),
        JOB,
        "only these nodes; n[1-4] names four",
    )
    .also(&["asked-nodes"]),
    built(
        Key::CoresPerNode,
        "cores-per-node",
        Value::Text("N[-M]"),
        JOB,
        "only nodes with so many cores",
    ),
    built(
        Key::MemoryPerNode,
        "memory-per-node",
        Value::Text("MB[-MB]"),
        JOB,
        "only nodes with so much memory; 4000, or 4G",
    ),
    built(
        Key::SingleNode,
        "single-node",
        Value::Flag,
        JOB,
        "all of a task on one node",
    ),
    built(
        Key::OrderBy,
        "order-by",
        Value::Text("KEYS"),
        JOB,
        "nodes with more cores first: cores; with less: -cores; memory, -memory; cores,-memory",
    ),
    built(
        Key::Exclusive,
        "exclusive",
        Value::Flag,
        SIZED,
        "no other job on its nodes; with 'job add', no other task either",
    ),
    built(
        Key::Priority,
        "priority",
        Value::Text("P"),
        JOB,
        "0 to 4000, or Lowest, BelowNormal, Normal, AboveNormal, Highest, or Normal+50",
    ),
    built(
        Key::RunTime,
        "runtime",
        Value::Text("TIME"),
        SIZED,
        "stop it after [[days:]hours:]minutes, or 90s; Infinite",
    ),
    built(
        Key::HoldUntil,
        "hold-until",
        Value::Text("WHEN"),
        JOB,
        "start nothing before: minutes from now, +2h, 18:30, 2026-12-01 08:00; 'now' takes it back",
    ),
    built(Key::JobName, "job-name", Value::Text("NAME"), JOB, "the job's name"),
    built(
        Key::Project,
        "project-name",
        Value::Text("NAME"),
        JOB,
        "the project it belongs to, for people",
    )
    .also(&["project"]),
    built(
        Key::FailOnTaskFailure,
        "fail-on-task-failure",
        Value::Flag,
        JOB,
        "the first failed task ends the job",
    ),
    built(
        Key::FailDependentTasks,
        "fail-dependent-tasks",
        Value::Flag,
        JOB,
        "cancel tasks whose predecessor failed; true when nothing is said",
    ),
    built(
        Key::RunUntilCanceled,
        "run-until-canceled",
        Value::Flag,
        JOB,
        "go on without tasks until somebody finishes or cancels it",
    ),
    built(
        Key::ValidExitCodes,
        "valid-exit-codes",
        Value::Text("CODES"),
        SIZED,
        "exit codes that count as success: 0,5..9; else 0",
    ),
    built(
        Key::JobEnv,
        "job-env",
        Value::Text("A=B;C=D"),
        JOB,
        "variables of all tasks of the job",
    )
    .repeats(),
    built(
        Key::ProgressPercent,
        "progress",
        Value::Text("N"),
        &[Verb::JobModify],
        "how far the job says it is, 0 to 100",
    ),
    built(
        Key::ProgressMessage,
        "progress-msg",
        Value::Text("TEXT"),
        &[Verb::JobModify],
        "what the job says it does, up to 80 characters",
    ),
    built(Key::TaskName, "name", Value::Text("NAME"), TASK, "the task's name").also(&["task-name"]),
    built(
        Key::TaskType,
        "type",
        Value::Text("TYPE"),
        TASK,
        "Basic or ParametricSweep; said by --parametric already",
    ),
    built(
        Key::Parametric,
        "parametric",
        Value::Text("N-M[:STEP]"),
        TASK,
        "run it once for each number; * in command, paths and workdir becomes the number, ** pads it, ^* is a star",
    ),
    built(
        Key::Depend,
        "depend",
        Value::Text("T1,T2"),
        TASK,
        "names of tasks that have to end well before",
    ),
    built(
        Key::WorkDir,
        "workdir",
        Value::Text("DIR"),
        TASK,
        "where the program starts, for example $PWD; absolute, and there on the nodes; else a new folder of the task's own",
    ),
    built(
        Key::StdIn,
        "stdin",
        Value::Text("FILE"),
        TASK,
        "file for standard input; else there is none",
    ),
    built(
        Key::StdOut,
        "stdout",
        Value::Text("FILE"),
        TASK,
        "file for standard output; else kept with the task",
    ),
    built(
        Key::StdErr,
        "stderr",
        Value::Text("FILE"),
        TASK,
        "file for standard error; the same as stdout merges both",
    ),
    built(
        Key::Env,
        "env",
        Value::Text("A=B;C=D"),
        TASK,
        "variables of the task; A= takes one away, \\; is a semicolon",
    )
    .repeats(),
    built(
        Key::Rerunnable,
        "rerunnable",
        Value::Flag,
        TASK,
        "start it again after a node was lost; true when nothing is said",
    ),
    built(
        Key::RetryLimit,
        "retry-limit",
        Value::Text("N"),
        TASK,
        "so often at most after failures that are not its own",
    )
    .also(&["task-execution-failure-retry-limit"]),
    built(
        Key::Interactive,
        "interactive",
        Value::Flag,
        TASK,
        "it takes input: ours, or that of 'task attach'",
    )
    .short("i"),
    built(
        Key::Terminal,
        "tty",
        Value::Flag,
        TASK,
        "on a terminal of its own; -it is both",
    )
    .short("t"),
    built(
        Key::JobId,
        "id",
        Value::Text("JOB"),
        SUBMIT,
        "submit a job that 'job new' or 'job clone' made",
    ),
    built(
        Key::Wait,
        "wait",
        Value::Flag,
        SUBMIT,
        "wait until it is over; one task's output is shown as it comes, and its exit code is ours",
    ),
    built(
        Key::DryRun,
        "dry-run",
        Value::Flag,
        SUBMIT,
        "say what would become of it, and do nothing",
    ),
    built(
        Key::SubmissionId,
        "submission-id",
        Value::Text("HEX"),
        &[Verb::JobSubmit, Verb::JobNew, Verb::JobAdd, Verb::JobClone],
        "repeating a submission with the same id gives the first answer",
    ),
    built(
        Key::All,
        "all",
        Value::Flag,
        LIST,
        "jobs of everyone that you may see, also those that are over",
    ),
    built(Key::User, "user", Value::Text("NAME"), LIST, "only jobs of this user"),
    built(
        Key::JobState,
        "state",
        Value::Text("S1,S2"),
        LIST,
        "only jobs in these states: Configuring, Queued, Running, Canceling, Finished, Failed, Canceled, All",
    )
    .also(&["status", "filter"]),
    built(
        Key::JobName,
        "job-name",
        Value::Text("NAME"),
        LIST,
        "only jobs of this name",
    ),
    built(
        Key::Project,
        "project",
        Value::Text("NAME"),
        LIST,
        "only jobs of this project",
    )
    .also(&["project-name"]),
    built(
        Key::SubmitDate,
        "submit-date",
        Value::Text("WHEN"),
        LIST,
        "only jobs submitted since: 2026-12-01, 08:00, -2h, -1d",
    )
    .also(&["since"]),
    built(
        Key::Force,
        "force",
        Value::Flag,
        &[Verb::JobCancel, Verb::TaskCancel],
        "kill at once; else programs are asked to end and have 15 s",
    ),
    built(
        Key::Message,
        "message",
        Value::Text("TEXT"),
        &[Verb::JobCancel, Verb::JobFinish, Verb::TaskCancel, Verb::TaskFinish],
        "up to 128 characters, kept with the job",
    ),
    built(
        Key::Filter,
        "filter",
        Value::Text("STATES"),
        &[Verb::JobCancel, Verb::JobRequeue, Verb::JobFinish],
        "only the tasks of the jobs that are queued, running, finished, failed or canceled",
    ),
    not_yet(
        "job-template",
        &[Verb::JobSubmit, Verb::JobNew, Verb::JobModify, Verb::JobList],
    )
    .instead("give the options themselves"),
    not_yet("required-nodes", TASK).instead("--requested-nodes of the job limits where its tasks run"),
    not_yet("parent-job-ids", JOB).instead("tasks of one job can wait for each other with --depend"),
    not_yet("license", JOB).instead("put the nodes that may run it into a group and use --node-group"),
    not_yet("custom-properties", JOB).instead("--project-name and --job-env are kept with the job"),
    not_yet("email-address", JOB).instead("'job wait' or 'job watch' tell a script when it is over"),
    not_yet("notify-on-start", JOB).instead("'job wait' or 'job watch' tell a script when it is over"),
    not_yet("notify-on-completion", JOB).instead("'job wait' or 'job watch' tell a script when it is over"),
    not_yet("estimated-process-memory", JOB).instead("--memory-per-node limits where it runs"),
    not_yet("job-file", &[Verb::JobSubmit, Verb::JobNew])
        .instead("a script with #MUSTER lines does the same: 'job submit run.sh'"),
    not_yet("task-file", TASK).instead("'job add' adds one task at a time"),
    not_yet("progress", &[Verb::JobSubmit, Verb::JobNew]).instead("'job modify' sets it while the job runs"),
    not_yet("progress-msg", &[Verb::JobSubmit, Verb::JobNew]).instead("'job modify' sets it while the job runs"),
    not_yet("detailed", &[Verb::JobView, Verb::NodeView]).instead("-o json has all fields"),
    not_yet("history", &[Verb::JobView, Verb::NodeView, Verb::NodeList]).instead("'muster events' tells what happened"),
    not_yet("task-execution-failure-retry-limit", &[Verb::JobNew, Verb::JobModify])
        .instead("give it with 'job add', for each task"),
];
