//! What is asked of a job and of a task, from options to the wire's types; each field has its option here and nowhere else.

use proto::ids::PoolName;
use proto::model::job::{Env, GroupOperator, JobChange, JobSpec, Progress, SetTo, Units};
use proto::model::task::{Interactive, Request as Needs, TaskSpec};

use super::Here;
use crate::args::table::Key;
use crate::args::{Given, Options, UsageError};
use crate::value::{self, Amount, ValueError};

/// A name for people: longer ones break every table.
const LONGEST_NAME: usize = 128;

/// HPC Pack's bound of what a job says of itself.
const LONGEST_MESSAGE: usize = 80;

/// Takes back what was said before.
const ANY: &str = "any";

/// The most retries that anybody means.
const MOST_RETRIES: u32 = 1000;

/// The job of a submission that has one task: sizes are the task's.
pub(super) fn job(options: &Options, here: &Here) -> Result<JobSpec, UsageError> {
    let change = change(options, here)?;
    let standing = JobSpec::default();
    Ok(JobSpec {
        name: change.name.unwrap_or_default(),
        project: change.project.unwrap_or_default(),
        priority: change.priority.unwrap_or_default(),
        pool: change.pool.and_then(SetTo::into_option),
        node_groups: change.node_groups.unwrap_or_default(),
        group_operator: change.group_operator.unwrap_or_default(),
        requested_nodes: change.requested_nodes.unwrap_or_default(),
        cores_per_node: change.cores_per_node.and_then(SetTo::into_option),
        memory_per_node: change.memory_per_node.and_then(SetTo::into_option),
        single_node: change.single_node.unwrap_or_default(),
        order_by: change.order_by.unwrap_or_default(),
        exclusive: change.exclusive.unwrap_or_default(),
        runtime_limit: change.runtime_limit.and_then(SetTo::into_option),
        env: change.env,
        hold_until: change.hold_until.and_then(SetTo::into_option),
        fail_on_task_failure: change.fail_on_task_failure.unwrap_or_default(),
        run_dependents_of_failed: change.run_dependents_of_failed.unwrap_or_default(),
        run_until_canceled: change.run_until_canceled.unwrap_or_default(),
        ..standing
    })
}

/// A job whose tasks come later: sizes and exit codes are its own.
pub(super) fn job_alone(options: &Options, here: &Here) -> Result<JobSpec, UsageError> {
    Ok(JobSpec {
        units: units(options)?,
        valid_exit_codes: options.read(Key::ValidExitCodes, value::exit_codes)?,
        ..job(options, here)?
    })
}

/// Everything that `job modify` may change.
pub(super) fn modification(options: &Options, here: &Here) -> Result<JobChange, UsageError> {
    let percent = options.read(Key::ProgressPercent, |text| value::number(text, 0, 100))?;
    let message = options.read(Key::ProgressMessage, |text| value::short_text(text, LONGEST_MESSAGE))?;
    let progress = (percent.is_some() || message.is_some()).then(|| Progress {
        percent: percent.and_then(|percent| u8::try_from(percent).ok()),
        message: message.unwrap_or_default(),
    });
    Ok(JobChange {
        units: units(options)?.map(SetTo::Value),
        valid_exit_codes: options.read(Key::ValidExitCodes, value::exit_codes)?.map(SetTo::Value),
        progress,
        ..change(options, here)?
    })
}

/// The options that mean the job, with whatever else they stand. None where nothing was said.
fn change(options: &Options, here: &Here) -> Result<JobChange, UsageError> {
    let name = |key| options.read(key, |text| value::short_text(text, LONGEST_NAME));
    let flag = |key| options.one(key).map(Given::is_true).transpose();
    Ok(JobChange {
        name: name(Key::JobName)?,
        project: name(Key::Project)?,
        priority: options.read(Key::Priority, value::priority)?,
        pool: any_or(options, Key::Pool, |text| PoolName::new(text).map_err(ValueError::from))?,
        node_groups: any_or(options, Key::NodeGroup, value::groups)?.map(list),
        group_operator: options.read(Key::GroupOperator, group_operator)?,
        requested_nodes: any_or(options, Key::RequestedNodes, value::nodes)?.map(list),
        cores_per_node: any_or(options, Key::CoresPerNode, value::cores_span)?,
        memory_per_node: any_or(options, Key::MemoryPerNode, value::memory_span)?,
        single_node: flag(Key::SingleNode)?,
        order_by: options.read(Key::OrderBy, value::order_by)?,
        exclusive: flag(Key::Exclusive)?,
        runtime_limit: options.read(Key::RunTime, value::run_time)?.map(set_to),
        env: env(options, Key::JobEnv)?,
        hold_until: options
            .read(Key::HoldUntil, |text| value::moment_after(text, here.clock))?
            .map(set_to),
        fail_on_task_failure: flag(Key::FailOnTaskFailure)?,
        run_dependents_of_failed: flag(Key::FailDependentTasks)?.map(|fail| !fail),
        run_until_canceled: flag(Key::RunUntilCanceled)?,
        ..JobChange::default()
    })
}

/// The task of a command line.
pub(super) fn task(options: &Options, command: Vec<String>, here: &Here) -> Result<TaskSpec, UsageError> {
    let mut task = TaskSpec::of_command(command);
    task.name = options
        .read(Key::TaskName, |text| value::short_text(text, LONGEST_NAME))?
        .unwrap_or_default();
    if let Some((request, most)) = needs(options)? {
        (task.request, task.request_max) = (request, most);
    }
    if let Some(rerunnable) = options.one(Key::Rerunnable) {
        task.rerunnable = rerunnable.is_true()?;
    }
    // The job's limit is the head node's to keep; the node keeps the task's, also while the head node is away.
    task.runtime_limit = options.read(Key::RunTime, value::run_time)?.flatten();
    let directory = here.directory.as_deref();
    task.workdir = options.read(Key::WorkDir, |text| value::workdir(text, directory))?;
    task.stdin = options.text(Key::StdIn).map(str::to_owned);
    task.stdout = options.text(Key::StdOut).map(str::to_owned);
    task.stderr = options.text(Key::StdErr).map(str::to_owned);
    task.env = env(options, Key::Env)?;
    task.valid_exit_codes = options.read(Key::ValidExitCodes, value::exit_codes)?;
    task.max_requeues = options.read(Key::RetryLimit, |text| value::number(text, 0, MOST_RETRIES))?;
    task.depends_on = options.read(Key::Depend, value::names)?.unwrap_or_default();
    task.sweep = options.read(Key::Parametric, value::sweep)?;
    task.interactive = interactive(options)?;
    check_kind(options)?;
    exclude(options, Key::Interactive, Key::Parametric)?;
    exclude(options, Key::Terminal, Key::Parametric)?;
    exclude(options, Key::Interactive, Key::StdIn)?;
    exclude(options, Key::Terminal, Key::StdIn)?;
    Ok(task)
}

fn interactive(options: &Options) -> Result<Option<Interactive>, UsageError> {
    let terminal = options.flag(Key::Terminal)?;
    let takes_input = terminal || options.flag(Key::Interactive)?;
    Ok(takes_input.then_some(Interactive { terminal }))
}

/// `--type` says what `--parametric` says already, or what is not built.
fn check_kind(options: &Options) -> Result<(), UsageError> {
    let Some(given) = options.one(Key::TaskType) else {
        return Ok(());
    };
    let kinds = ["Basic", "ParametricSweep", "NodePrep", "NodeRelease", "Service"];
    let kind = options.read(Key::TaskType, |text| value::word(text, &kinds))?;
    let not_yet = |instead| {
        Err(UsageError::NotYet {
            what: format!("{} {}", given.spelled, given.text()),
            instead,
        })
    };
    match (kind, options.one(Key::Parametric)) {
        (Some("Basic"), Some(index)) => Err(UsageError::Conflict {
            first: format!("{} {}", given.spelled, given.text()),
            second: index.spelled.clone(),
        }),
        (Some("ParametricSweep"), None) => Err(given.refuse("give the index too: --parametric 1-100")),
        (Some("NodePrep"), _) => not_yet("a task named in --depend of the others runs before them"),
        (Some("NodeRelease"), _) => not_yet("a task that depends on all others with --depend runs after them"),
        (Some("Service"), _) => not_yet("--parametric runs a program many times"),
        _ => Ok(()),
    }
}

fn exclude(options: &Options, one: Key, other: Key) -> Result<(), UsageError> {
    match (options.one(one), options.one(other)) {
        (Some(one), Some(other)) => Err(UsageError::Conflict {
            first: one.spelled.clone(),
            second: other.spelled.clone(),
        }),
        _ => Ok(()),
    }
}

/// The unit and how many of it; none when nothing was said.
fn needs(options: &Options) -> Result<Option<(Needs, Option<u32>)>, UsageError> {
    exclude(options, Key::NumNodes, Key::NumCores)?;
    exclude(options, Key::NumNodes, Key::NumSockets)?;
    exclude(options, Key::NumSockets, Key::NumCores)?;
    let asked = |key, unit: fn(u32) -> Needs| -> Result<_, UsageError> {
        let amount = options.read(key, value::amount)?;
        Ok(amount.map(|Amount { least, most }| (unit(least), most)))
    };
    if let Some(nodes) = asked(Key::NumNodes, |count| Needs::Nodes { count })? {
        return Ok(Some(nodes));
    }
    if let Some(sockets) = asked(Key::NumSockets, |count| Needs::Sockets { count })? {
        return Ok(Some(sockets));
    }
    asked(Key::NumCores, |count| Needs::Cores { count })
}

/// Units of a job as a whole: one number is both the least and the most, as in HPC Pack.
fn units(options: &Options) -> Result<Option<Units>, UsageError> {
    let units = needs(options)?.map(|(min, most)| Units {
        min,
        max: most.or(match min {
            Needs::Cores { count } | Needs::Sockets { count } | Needs::Nodes { count } => Some(count),
            Needs::Beside { .. } => None,
        }),
    });
    Ok(units)
}

/// A value, or the word that takes it back.
fn any_or<T>(
    options: &Options,
    key: Key,
    read: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<Option<SetTo<T>>, UsageError> {
    options.read(key, |text| {
        if text.eq_ignore_ascii_case(ANY) {
            Ok(SetTo::Nothing)
        } else {
            read(text).map(SetTo::Value)
        }
    })
}

fn set_to<T>(value: Option<T>) -> SetTo<T> {
    value.map_or(SetTo::Nothing, SetTo::Value)
}

fn list<T>(value: SetTo<Vec<T>>) -> Vec<T> {
    value.into_option().unwrap_or_default()
}

fn group_operator(text: &str) -> Result<GroupOperator, ValueError> {
    Ok(match value::word(text, &["Intersect", "Uniform", "Union"])? {
        "Uniform" => GroupOperator::Uniform,
        "Union" => GroupOperator::Union,
        _ => GroupOperator::Intersect,
    })
}

fn env(options: &Options, key: Key) -> Result<Env, UsageError> {
    let mut env = Env::new();
    for given in options.all(key) {
        value::variables(given.text(), &mut env).map_err(|error| given.refuse(error.to_string()))?;
    }
    Ok(env)
}
