//! What is asked of a job and of a task, from options to the wire's types; each field has its option here and nowhere else.

mod roles;
mod task;

use proto::ids::PoolName;
use proto::model::job::{Env, GroupOperator, JobChange, JobSpec, Progress, SetTo, Units};
use proto::model::task::Request as Needs;

pub(super) use roles::{manager, manager_of, preparation_of, start_task};
pub(super) use task::{Kind, kind, of_parts as task};

use super::Here;
use crate::args::table::Key;
use crate::args::{Given, Options, UsageError};
use crate::value::{self, Amount, ValueError};

/// A name for people: longer ones break every table.
const LONGEST_NAME: usize = 128;

/// HPC Pack's bound of what a job says of itself.
const LONGEST_MESSAGE: usize = 80;

/// Take back what was said before.
const NOTHING: [&str; 2] = ["any", "none"];

/// More tasks at a time than any cluster has.
const MOST_PARALLEL: u32 = 100_000_000;

/// The job of a submission that has one task: sizes are the task's.
pub(super) fn job(options: &Options, here: &Here) -> Result<JobSpec, UsageError> {
    let mut job = applied(change(options, here)?, JobSpec::default());
    job.manager = manager(options, here)?;
    Ok(job)
}

/// A job as it is after a change.
pub(super) fn applied(change: JobChange, standing: JobSpec) -> JobSpec {
    fn set<T>(change: Option<SetTo<T>>, standing: Option<T>) -> Option<T> {
        change.map_or(standing, SetTo::into_option)
    }
    let mut env = standing.env;
    env.extend(change.env);
    JobSpec {
        name: change.name.unwrap_or(standing.name),
        project: change.project.unwrap_or(standing.project),
        priority: change.priority.unwrap_or(standing.priority),
        pool: set(change.pool, standing.pool),
        node_groups: change.node_groups.unwrap_or(standing.node_groups),
        group_operator: change.group_operator.unwrap_or(standing.group_operator),
        requested_nodes: change.requested_nodes.unwrap_or(standing.requested_nodes),
        cores_per_node: set(change.cores_per_node, standing.cores_per_node),
        memory_per_node: set(change.memory_per_node, standing.memory_per_node),
        single_node: change.single_node.unwrap_or(standing.single_node),
        order_by: change.order_by.unwrap_or(standing.order_by),
        units: set(change.units, standing.units),
        exclusive: change.exclusive.unwrap_or(standing.exclusive),
        runtime_limit: set(change.runtime_limit, standing.runtime_limit),
        env,
        hold_until: set(change.hold_until, standing.hold_until),
        fail_on_task_failure: change.fail_on_task_failure.unwrap_or(standing.fail_on_task_failure),
        run_dependents_of_failed: change
            .run_dependents_of_failed
            .unwrap_or(standing.run_dependents_of_failed),
        run_until_canceled: change.run_until_canceled.unwrap_or(standing.run_until_canceled),
        valid_exit_codes: set(change.valid_exit_codes, standing.valid_exit_codes),
        max_wall_clock: set(change.max_wall_clock, standing.max_wall_clock),
        max_retries: set(change.max_retries, standing.max_retries),
        perform_exit_actions: change.perform_exit_actions.unwrap_or(standing.perform_exit_actions),
        max_parallel_tasks: set(change.max_parallel_tasks, standing.max_parallel_tasks),
        preparation: set(change.preparation, standing.preparation),
        release: set(change.release, standing.release),
        parents: change.parents.unwrap_or(standing.parents),
        kind: standing.kind,
        manager: standing.manager,
    }
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
pub(super) fn change(options: &Options, here: &Here) -> Result<JobChange, UsageError> {
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
        max_wall_clock: options.read(Key::MaxWallClock, value::run_time)?.map(set_to),
        max_retries: any_or(options, Key::MaxTaskRetries, value::retries)?,
        perform_exit_actions: flag(Key::PerformExitActions)?,
        max_parallel_tasks: any_or(options, Key::MaxParallelTasks, |text| {
            value::number(text, 1, MOST_PARALLEL)
        })?,
        preparation: roles::preparation(options, here)?,
        release: roles::release(options, here)?,
        parents: any_or(options, Key::Parents, value::jobs)?.map(list),
        ..JobChange::default()
    })
}

pub(super) fn exclude(options: &Options, one: Key, other: Key) -> Result<(), UsageError> {
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
pub(super) fn units(options: &Options) -> Result<Option<Units>, UsageError> {
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
pub(super) fn any_or<T>(
    options: &Options,
    key: Key,
    read: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<Option<SetTo<T>>, UsageError> {
    options.read(key, |text| {
        if NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            Ok(SetTo::Nothing)
        } else {
            read(text).map(SetTo::Value)
        }
    })
}

pub(super) fn set_to<T>(value: Option<T>) -> SetTo<T> {
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
