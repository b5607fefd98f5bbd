//! Commands of stories about jobs and tasks that are put together, changed, run again and ended.
//!
//! ```text
//! > new name=x             a job in configuration; words as in `submit`
//! > add 1 name=a sweep=1-9:2 depends=b,c          tasks for it; words as in `submit`
//! > put 1                  it goes into the queue
//! > modify 1 priority=10 hold=60|none runtime=60|none groups=a percent=50 said=half failfast=no ...
//! > clone 1                > requeue 1 | 1.2 1.3       > finish 1 | 1.2        > canceltask 1.2 force
//! words of a job:   failfast anyend forever hold=60 codes=0,5..9 project=p      of a task: name= depends= sweep= exits=
//!                   stdin= script= it workdir= stdout= stderr=
//! ```

use proto::ids::{JobId, SubmissionId, TaskId};
use proto::model::job::{JobChange, JobSpec, Priority, Progress, SetTo};
use proto::model::sweep::Sweep;
use proto::model::task::{ExitCodes, Interactive, TaskSpec};
use proto::units::{Millis, Timestamp};
use scheduler::Input;

use crate::scenario::Words;
use crate::world::World;

/// What `submit`, `new` and `add` say about work.
pub(crate) fn read(words: &Words<'_>, job: &mut JobSpec, task: &mut TaskSpec, now: Timestamp) {
    job.fail_on_task_failure = words.has("failfast");
    job.run_dependents_of_failed = words.has("anyend");
    job.run_until_canceled = words.has("forever");
    job.hold_until = words.value("hold").map(|text| later(now, text));
    job.valid_exit_codes = words.value("codes").map(codes);
    job.project = words.value("project").unwrap_or_default().to_owned();
    let text = |key: &str| words.value(key).map(str::to_owned);
    task.name = text("name").unwrap_or_default();
    task.depends_on = list(words, "depends");
    task.sweep = words.value("sweep").map(sweep);
    task.valid_exit_codes = words.value("exits").map(codes);
    (task.stdin, task.script, task.workdir) = (text("stdin"), text("script"), text("workdir"));
    (task.stdout, task.stderr) = (text("stdout"), text("stderr"));
    task.interactive = words.has("it").then_some(Interactive { terminal: true });
}

/// The input of a command, if it is one of these. `wanted` is what its words ask for as in `submit`.
pub(crate) fn input(
    words: &Words<'_>,
    world: &World,
    submission: SubmissionId,
    wanted: impl FnOnce() -> (JobSpec, Vec<TaskSpec>),
) -> Option<Input> {
    let caller = words.caller();
    let job = || JobId(words.number(1));
    Some(match words.verb() {
        "new" => Input::NewJob {
            caller,
            submission,
            job: Box::new(wanted().0),
        },
        "add" => Input::AddTasks {
            caller,
            submission,
            job: job(),
            tasks: wanted().1,
            stored: world.stored_job(job()),
        },
        "put" => Input::SubmitJob { caller, job: job() },
        "modify" => Input::ModifyJob {
            caller,
            job: job(),
            change: Box::new(change(words, world)),
        },
        "clone" => Input::CloneJob {
            caller,
            submission,
            job: job(),
            stored: world.stored_job(job()),
        },
        "requeue" => match tasks(words) {
            Some(tasks) => Input::RequeueTasks {
                caller,
                stored: world.stored_job(tasks[0].job),
                tasks,
            },
            None => Input::RequeueJob {
                caller,
                job: job(),
                stored: world.stored_job(job()),
            },
        },
        "finish" => match tasks(words) {
            Some(tasks) => Input::FinishTasks {
                caller,
                tasks,
                message: message(words),
            },
            None => Input::FinishJob {
                caller,
                job: job(),
                message: message(words),
            },
        },
        "canceltask" => Input::CancelTasks {
            caller,
            tasks: tasks(words).expect("tasks"),
            force: words.has("force"),
            message: message(words),
        },
        _ => return None,
    })
}

fn message(words: &Words<'_>) -> String {
    words.value("message").unwrap_or_default().to_owned()
}

/// The tasks that are named, when the first word is a task and no job.
fn tasks(words: &Words<'_>) -> Option<Vec<TaskId>> {
    let plain = |word: &&str| !word.contains('=') && *word != "force";
    let ids = words.rest(1).iter().copied().filter(plain);
    ids.map(|word| word.parse().ok()).collect()
}

fn change(words: &Words<'_>, world: &World) -> JobChange {
    let now = world.now.wall;
    let switch = |key: &str| words.value(key).map(|text| text == "yes");
    let progress = words.value("percent").is_some() || words.value("said").is_some();
    JobChange {
        name: words.value("name").map(str::to_owned),
        priority: words
            .value("priority")
            .map(|n| Priority::new(n.parse().expect("a number")).expect("in range")),
        node_groups: words.value("groups").map(|_| {
            list(words, "groups")
                .iter()
                .map(|name| name.parse().expect("a group"))
                .collect()
        }),
        runtime_limit: words
            .value("runtime")
            .map(|text| to_be(text, |text| Millis::from_seconds(text.parse().expect("seconds")))),
        hold_until: words.value("hold").map(|text| to_be(text, |text| later(now, text))),
        env: list(words, "env")
            .iter()
            .filter_map(|pair| pair.split_once(':'))
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
            .collect(),
        exclusive: switch("exclusive"),
        fail_on_task_failure: switch("failfast"),
        run_dependents_of_failed: switch("anyend"),
        run_until_canceled: switch("forever"),
        valid_exit_codes: words.value("codes").map(|text| to_be(text, codes)),
        progress: progress.then(|| Progress {
            percent: words.value("percent").map(|n| n.parse().expect("a number")),
            message: words.value("said").unwrap_or_default().to_owned(),
        }),
        ..crate::lifecycle::change(words, world)
    }
}

fn to_be<T>(text: &str, read: impl FnOnce(&str) -> T) -> SetTo<T> {
    match text {
        "none" => SetTo::Nothing,
        text => SetTo::Value(read(text)),
    }
}

fn later(now: Timestamp, text: &str) -> Timestamp {
    now + Millis::from_seconds(text.parse().expect("seconds"))
}

fn list(words: &Words<'_>, key: &str) -> Vec<String> {
    let list = words.value(key).unwrap_or_default();
    list.split(',')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn sweep(text: &str) -> Sweep {
    let (range, by) = text.split_once(':').unwrap_or((text, "1"));
    let (first, last) = range.split_once('-').unwrap_or(("1", range));
    let number = |text: &str| text.parse().expect("a number");
    Sweep::new(number(first), number(last), number(by)).expect("a sweep")
}

fn codes(text: &str) -> ExitCodes {
    let number = |text: &str| text.parse().expect("a number");
    let range = |text: &str| {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        (number(first), number(last))
    };
    ExitCodes::new(text.split(',').map(range).collect()).expect("exit codes")
}
