//! What a task asks for beyond HPC Pack's options: memory and resources, files for all its nodes, numbers to wait for, what
//! follows from its ends, and how long its files are kept. Refused where it contradicts itself or could never be.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, MAX_EXIT_RULES};
use proto::model::job::JobSpec;
use proto::model::task::{MAX_COMMAND_BYTES, MAX_SCRIPT_BYTES, Request, TaskKind, TaskSpec};
use proto::stored::FIRST_TASK;
use proto::units::Millis;

use super::admin::unknown_node;
use super::check::{check_command, check_length, check_text};
use crate::cluster::Cluster;
use crate::refusal::invalid;

/// The most ranges of numbers that a task may wait for.
const MAX_RANGES: usize = 64;

/// The most common files of a task; together they have the bound of a script.
const MAX_COMMON_FILES: usize = 64;

/// The most bytes of a path, as Linux has it.
const MAX_PATH_BYTES: usize = 4096;

/// The longest that files are kept after the end of a task: the longest life of a task in Azure Batch.
const MAX_RETENTION: Millis = Millis::from_seconds(180 * 24 * 3600);

pub(super) fn check_wishes(cluster: &Cluster, job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    check_amounts(task)?;
    check_coordination(task)?;
    check_files(task)?;
    check_ranges(task)?;
    if let Some(conditions) = &task.exit_conditions {
        check_conditions(job, task, conditions)?;
    }
    check_retention(task.retention)?;
    check_service(job, task)?;
    let unknown = task
        .affinity
        .as_ref()
        .filter(|name| cluster.node_by_name(name).is_none());
    unknown.map_or(Ok(()), |name| Err(unknown_node(cluster, name)))
}

fn check_amounts(task: &TaskSpec) -> Result<(), Refusal> {
    if task.memory_mib == Some(0) {
        return Err(invalid(
            "0 MiB of memory are asked for",
            "ask for at least 1, or leave it out",
        ));
    }
    match task.resources.iter().find(|(_, count)| **count == 0) {
        Some((name, _)) => Err(invalid(
            format!("0 of the resource '{name}' are asked for"),
            "ask for at least 1, or leave it out",
        )),
        None => Ok(()),
    }
}

/// A coordination command prepares several nodes for one program.
fn check_coordination(task: &TaskSpec) -> Result<(), Refusal> {
    let Some(command) = &task.coordination else {
        return Ok(());
    };
    if !matches!(task.request, Request::Nodes { .. }) {
        return Err(invalid(
            format!("a coordination command is given, and {} are asked for", task.request),
            "ask for whole nodes, or leave the command out",
        ));
    }
    check_command(command).map_err(|refusal| Refusal {
        what: format!("coordination: {}", refusal.what),
        ..refusal
    })?;
    let bytes: usize = command.iter().chain(&task.command).map(|word| word.len() + 1).sum();
    if bytes > MAX_COMMAND_BYTES {
        return Err(invalid(
            format!("both commands have {bytes} bytes together, and {MAX_COMMAND_BYTES} are the most"),
            "put them into scripts on a shared disk",
        ));
    }
    Ok(())
}

fn check_files(task: &TaskSpec) -> Result<(), Refusal> {
    let files = &task.common_files;
    check_length("common files", files.len(), MAX_COMMON_FILES)?;
    let mut paths = BTreeSet::new();
    for file in files {
        check_text("path of a common file", &file.path, MAX_PATH_BYTES)?;
        let path = &file.path;
        let mut parts = path.split('/');
        if parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(
                format!("the common file '{path}' does not lie in the directory of the task"),
                "give a relative path without '.', '..' or empty parts, for example conf/hosts",
            ));
        }
        if !paths.insert(path) {
            return Err(invalid(
                format!("the common file '{path}' is given twice"),
                "give each path once",
            ));
        }
        if file.mode > 0o777 {
            return Err(invalid(
                format!("the common file '{path}' is to have the mode {:o}", file.mode),
                "give permission bits up to 777, for example 644",
            ));
        }
    }
    // With the script, so that the stored row keeps its bound.
    let script = task.script.as_ref().map_or(0, String::len);
    let bytes = files.iter().map(|file| file.text.len()).sum::<usize>() + script;
    if !files.is_empty() && bytes > MAX_SCRIPT_BYTES {
        return Err(invalid(
            format!("the common files and the script have {bytes} bytes together, and {MAX_SCRIPT_BYTES} are the most"),
            "keep them on a shared disk",
        ));
    }
    Ok(())
}

fn check_ranges(task: &TaskSpec) -> Result<(), Refusal> {
    check_length("ranges of tasks to wait for", task.depends_on_ranges.len(), MAX_RANGES)?;
    let wrong = |first, last| first < FIRST_TASK || last < first || last > proto::ids::TaskNumber::LARGEST;
    let mut ranges = task.depends_on_ranges.iter();
    match ranges.find(|range| wrong(range.first, range.last)) {
        Some(range) => Err(invalid(
            format!("tasks {}-{} are to be waited for", range.first.0, range.last.0),
            "give numbers of tasks, the smaller one first: FIRST-LAST",
        )),
        None => Ok(()),
    }
}

fn check_conditions(job: &JobSpec, task: &TaskSpec, conditions: &ExitConditions) -> Result<(), Refusal> {
    check_length("exit conditions", conditions.codes.len(), MAX_EXIT_RULES)?;
    if let Some(rule) = conditions.codes.iter().find(|rule| rule.last < rule.first) {
        return Err(invalid(
            format!("an exit condition for the codes {}..{} is given", rule.first, rule.last),
            "give the smaller code first: FIRST..LAST",
        ));
    }
    let others = [
        conditions.pre_processing_error,
        conditions.file_upload_error,
        conditions.default,
    ];
    let mut all = conditions
        .codes
        .iter()
        .map(|rule| rule.options)
        .chain(others.into_iter().flatten());
    if !job.perform_exit_actions && all.any(|options| options.job.is_some()) {
        return Err(invalid(
            "an exit condition has a job action, and the job carries none out",
            "let the job perform exit actions, or leave the job action out",
        ));
    }
    // An element that ended well is not kept in memory, so what it blocks would be forgotten at a restart.
    let blocks = |options: &ExitOptions| options.dependency == Some(DependencyAction::Block);
    let mut rules = conditions.codes.iter().filter(|rule| blocks(&rule.options));
    let codes = task.valid_exit_codes.as_ref().or(job.valid_exit_codes.as_ref());
    let good: &[(i32, i32)] = codes.map_or(&[(0, 0)], |codes| codes.ranges());
    let succeeds = |first: i32, last: i32| good.iter().any(|(from, to)| *from <= last && first <= *to);
    if task.sweep.is_some() && rules.any(|rule| succeeds(rule.first, rule.last)) {
        return Err(invalid(
            "an exit condition of a sweep is to block other tasks after a success",
            "leave that code out of the successful ones, or submit the steps as single tasks",
        ));
    }
    Ok(())
}

fn check_retention(retention: Option<Millis>) -> Result<(), Refusal> {
    match retention.filter(|span| *span > MAX_RETENTION) {
        Some(span) => Err(invalid(
            format!("the task's files are to be kept for {span} after its end"),
            "keep them for 180 days at most",
        )),
        None => Ok(()),
    }
}

/// A service has instances for as long as there is room, so somebody has to say how much room that is.
fn check_service(job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    if task.kind != TaskKind::Service {
        return Ok(());
    }
    let bounded = job.max_parallel_tasks.is_some() || job.units.is_some_and(|units| units.max.is_some());
    if !bounded {
        return Err(invalid(
            "a service task is asked for in a job without a bound, and it would take all there is",
            "bound the job: /numcores:MIN-MAX, or a number of tasks at a time",
        ));
    }
    match task.max_retries {
        Some(_) => Err(invalid(
            "retries are given for a service task, whose instances are replaced whenever they end",
            "leave the retries out",
        )),
        None => Ok(()),
    }
}
