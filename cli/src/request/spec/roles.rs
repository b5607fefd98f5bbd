//! The tasks that a job or a pool has beside those that do its work: manager, preparation, release, start task.

use proto::model::job::SetTo;
use proto::model::role::{ManagerSpec, PreparationSpec, StartTaskSpec};
use proto::model::task::TaskSpec;

use super::super::Here;
use super::any_or;
use crate::args::table::Key;
use crate::args::{Options, UsageError};
use crate::value;

/// A task of a command in one text; a script is carried as it is with `job submit`.
fn side_task(command: Vec<String>, here: &Here) -> Result<TaskSpec, UsageError> {
    let mut task = TaskSpec::of_command(command);
    let program = task.command.first().map_or("", String::as_str);
    let script = (here.script)(program).map_err(|error| UsageError::BadWord {
        wrong: error.to_string(),
        usage: "a program that the nodes have".to_owned(),
    })?;
    task.script = script.map(|script| script.text);
    Ok(task)
}

fn of(options: &Options, key: Key, here: &Here) -> Result<Option<SetTo<TaskSpec>>, UsageError> {
    match any_or(options, key, value::command)? {
        None => Ok(None),
        Some(SetTo::Nothing) => Ok(Some(SetTo::Nothing)),
        Some(SetTo::Value(words)) => Ok(Some(SetTo::Value(side_task(words, here)?))),
    }
}

/// What says more about a task that is not there.
fn needs(options: &Options, key: Key, more: &[Key]) -> Result<(), UsageError> {
    let alone = more.iter().find_map(|key| options.one(*key));
    match (options.one(key), alone) {
        (None, Some(alone)) => Err(UsageError::MissingWord {
            place: alone.spelled.clone(),
            needs: "the command that it is about",
            usage: match key {
                Key::Prep => "--prep COMMAND",
                Key::Manager => "--manager COMMAND",
                _ => "--start-task COMMAND",
            }
            .to_owned(),
        }),
        _ => Ok(()),
    }
}

pub(super) fn preparation(options: &Options, here: &Here) -> Result<Option<SetTo<Box<PreparationSpec>>>, UsageError> {
    needs(options, Key::Prep, &[Key::PrepNoWait, Key::PrepOnce])?;
    Ok(match of(options, Key::Prep, here)? {
        None => None,
        Some(SetTo::Nothing) => Some(SetTo::Nothing),
        Some(SetTo::Value(task)) => Some(SetTo::Value(Box::new(preparation_of(task, options)?))),
    })
}

/// The preparation with such a task.
pub(in crate::request) fn preparation_of(task: TaskSpec, options: &Options) -> Result<PreparationSpec, UsageError> {
    Ok(PreparationSpec {
        task,
        wait_for_success: !options.flag(Key::PrepNoWait)?,
        rerun_after_reboot: !options.flag(Key::PrepOnce)?,
    })
}

pub(super) fn release(options: &Options, here: &Here) -> Result<Option<SetTo<Box<TaskSpec>>>, UsageError> {
    Ok(match of(options, Key::Release, here)? {
        None => None,
        Some(SetTo::Nothing) => Some(SetTo::Nothing),
        Some(SetTo::Value(task)) => Some(SetTo::Value(Box::new(task))),
    })
}

pub(in crate::request) fn manager(options: &Options, here: &Here) -> Result<Option<Box<ManagerSpec>>, UsageError> {
    needs(options, Key::Manager, &[Key::ManagerKeepJob, Key::ManagerShared])?;
    match of(options, Key::Manager, here)?.and_then(SetTo::into_option) {
        Some(task) => Ok(Some(Box::new(manager_of(task, options)?))),
        None => Ok(None),
    }
}

/// The manager with such a task.
pub(in crate::request) fn manager_of(task: TaskSpec, options: &Options) -> Result<ManagerSpec, UsageError> {
    Ok(ManagerSpec {
        task,
        kill_job_on_completion: !options.flag(Key::ManagerKeepJob)?,
        run_exclusive: !options.flag(Key::ManagerShared)?,
    })
}

/// The start task of a pool.
pub(in crate::request) fn start_task(
    options: &Options,
    here: &Here,
) -> Result<Option<SetTo<Box<StartTaskSpec>>>, UsageError> {
    needs(options, Key::StartTask, &[Key::StartTaskRetries, Key::StartTaskNoWait])?;
    Ok(match of(options, Key::StartTask, here)? {
        None => None,
        Some(SetTo::Nothing) => Some(SetTo::Nothing),
        Some(SetTo::Value(mut task)) => {
            task.max_retries = options.read(Key::StartTaskRetries, value::retries)?;
            Some(SetTo::Value(Box::new(StartTaskSpec {
                task,
                wait_for_success: !options.flag(Key::StartTaskNoWait)?,
            })))
        }
    })
}
