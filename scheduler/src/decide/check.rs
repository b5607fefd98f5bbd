//! Whether a job and its tasks can be taken: what can never fit or never start is refused with the nearest thing that would.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::ids::GroupName;
use proto::model::job::{Env, JobKind, JobSpec, Span};
use proto::model::owner::{Caller, Role};
use proto::model::task::{MAX_COMMAND_BYTES, MAX_SCRIPT_BYTES, Request, TaskSpec};

use super::admin::{unknown_group, unknown_node};
use super::check_task::check_wishes;
use super::manager::check_own_tasks;
use crate::cluster::Cluster;
use crate::refusal::{invalid, not_found, unknown};

/// The most bytes of a name for people.
const MAX_LABEL_BYTES: usize = 256;

/// The most bytes of a path, as Linux has it.
const MAX_PATH_BYTES: usize = 4096;

/// The most nodes that a job may name, so that its row stays small.
const MAX_REQUESTED_NODES: usize = 1000;

/// The most groups that a job may name.
const MAX_JOB_GROUPS: usize = 64;

/// The most names that a task may wait for.
const MAX_DEPENDENCIES: usize = 64;

/// The most keys by which a job orders nodes: there are two, and repeating one changes nothing.
const MAX_ORDER_KEYS: usize = 2;

/// A job by itself, and against what is in the cluster now.
pub(super) fn check_job(caller: &Caller, cluster: &Cluster, job: &JobSpec) -> Result<(), Refusal> {
    if job.kind == JobKind::Admin {
        super::require(caller, Role::Operator, "run commands beside the queue")?;
    }
    check_text("job name", &job.name, MAX_LABEL_BYTES)?;
    check_text("project name", &job.project, MAX_LABEL_BYTES)?;
    check_length("keys to order nodes by", job.order_by.len(), MAX_ORDER_KEYS)?;
    check_span("cores per node", job.cores_per_node)?;
    check_span("memory per node", job.memory_per_node)?;
    check_units(job)?;
    if job.max_parallel_tasks == Some(0) {
        return Err(invalid("0 tasks at a time are asked for", "ask for at least 1"));
    }
    check_own_tasks(cluster, caller, job)?;
    check_env(&job.env)?;
    if let Some(pool) = job.pool.as_ref().filter(|pool| cluster.pool(pool).is_none()) {
        return Err(unknown(
            "pool",
            pool.as_str(),
            cluster.pools().map(|row| row.name.as_str()),
            "see 'pool list'",
        ));
    }
    check_length("node groups", job.node_groups.len(), MAX_JOB_GROUPS)?;
    check_length("requested nodes", job.requested_nodes.len(), MAX_REQUESTED_NODES)?;
    let is_pool = |name: &str| {
        cluster
            .pools()
            .any(|pool| pool.name.as_str().eq_ignore_ascii_case(name))
    };
    for group in &job.node_groups {
        if cluster.group(group).is_none() && !is_pool(group.as_str()) && !is_tag(cluster, group) {
            return Err(unknown_group(cluster, group));
        }
    }
    match job
        .requested_nodes
        .iter()
        .find(|name| cluster.node_by_name(name).is_none())
    {
        Some(name) => Err(unknown_node(cluster, name)),
        None => Ok(()),
    }
}

/// Whether a node describes itself by that word; a job may ask for one as for a group.
fn is_tag(cluster: &Cluster, group: &GroupName) -> bool {
    let inventories = cluster.nodes().filter_map(|row| row.inventory.as_ref());
    inventories
        .flat_map(|inventory| &inventory.tags)
        .any(|tag| tag == group)
}

fn check_span<T: PartialOrd + std::fmt::Display>(what: &str, span: Option<Span<T>>) -> Result<(), Refusal> {
    match span {
        Some(Span {
            min: Some(min),
            max: Some(max),
        }) if max < min => Err(invalid(
            format!("{what} are to be at least {min} and at most {max}"),
            "give the smaller number first: MIN-MAX",
        )),
        _ => Ok(()),
    }
}

fn check_units(job: &JobSpec) -> Result<(), Refusal> {
    let Some(units) = job.units else { return Ok(()) };
    let count = match units.min {
        Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
        Request::Beside { .. } => {
            return Err(invalid(
                "a place beside the queue is no unit of a job",
                "ask for cores, sockets or nodes",
            ));
        }
    };
    match units.max {
        _ if count == 0 => Err(invalid(
            format!("{} are asked for the job", units.min),
            "ask for at least 1",
        )),
        Some(max) if max < count => Err(invalid(
            format!("{} are asked for the job, and {max} at most", units.min),
            "give the smaller number first: MIN-MAX",
        )),
        _ => Ok(()),
    }
}

/// A task by itself, and for its job.
pub(super) fn check_task(cluster: &Cluster, caller: &Caller, job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    check_text("task name", &task.name, MAX_LABEL_BYTES)?;
    for (what, path) in [
        ("work directory", &task.workdir),
        ("stdin", &task.stdin),
        ("stdout", &task.stdout),
        ("stderr", &task.stderr),
    ] {
        if let Some(path) = path {
            if path.is_empty() {
                return Err(invalid(
                    format!("the path of {what} is empty"),
                    "leave it out, or give a path",
                ));
            }
            check_text(what, path, MAX_PATH_BYTES)?;
        }
    }
    check_env(&task.env)?;
    check_command(&task.command)?;
    check_script(task)?;
    check_interactive(task)?;
    check_names(task)?;
    check_request(caller, job, task)?;
    check_wishes(cluster, job, task)?;
    check_node(cluster, task)?;
    super::shape::check_shape(cluster, job, task)
}

fn check_script(task: &TaskSpec) -> Result<(), Refusal> {
    let Some(script) = &task.script else { return Ok(()) };
    if script.len() > MAX_SCRIPT_BYTES {
        return Err(invalid(
            format!(
                "the script has {} bytes, and {MAX_SCRIPT_BYTES} are the most",
                script.len()
            ),
            "keep it on a shared disk, and submit a command that starts it",
        ));
    }
    if script.is_empty() || script.contains('\0') {
        return Err(invalid(
            "the script is empty or has a NUL byte in it",
            "submit a text that begins with #!",
        ));
    }
    Ok(())
}

fn check_interactive(task: &TaskSpec) -> Result<(), Refusal> {
    let several = matches!(task.request, Request::Nodes { count } if count > 1)
        || matches!((task.request, task.request_max), (Request::Nodes { .. }, Some(most)) if most > 1);
    let clash = [
        (task.sweep.is_some(), "a sweep"),
        (task.stdin.is_some(), "a file as standard input"),
        (several, "several nodes"),
    ];
    match clash.iter().find(|(clash, _)| task.interactive.is_some() && *clash) {
        Some((_, with)) => Err(invalid(
            format!("an interactive task with {with} is asked for"),
            format!("submit it without {with}, or not interactive"),
        )),
        None => Ok(()),
    }
}

fn check_names(task: &TaskSpec) -> Result<(), Refusal> {
    check_length("tasks to wait for", task.depends_on.len(), MAX_DEPENDENCIES)?;
    if task.depends_on.iter().any(String::is_empty) {
        return Err(invalid(
            "a task without a name is to be waited for",
            "give the names of tasks: /depend:NAME,NAME",
        ));
    }
    match task.depends_on.iter().find(|name| **name == task.name) {
        Some(name) => Err(invalid(
            format!("task '{name}' is to wait for itself"),
            "wait for other names, or name it otherwise",
        )),
        None => task
            .depends_on
            .iter()
            .try_for_each(|name| check_text("task name", name, MAX_LABEL_BYTES)),
    }
}

pub(super) fn check_command(command: &[String]) -> Result<(), Refusal> {
    if command.first().is_none_or(String::is_empty) {
        return Err(invalid("the command is empty", "give a command: job submit COMMAND"));
    }
    if let Some(word) = command.iter().find(|word| word.contains('\0')) {
        return Err(invalid(
            format!("the word {word:?} of the command has a NUL byte in it"),
            "leave it out",
        ));
    }
    let bytes: usize = command.iter().map(|word| word.len() + 1).sum();
    if bytes > MAX_COMMAND_BYTES {
        return Err(invalid(
            format!("the command has {bytes} bytes, and {MAX_COMMAND_BYTES} are the most"),
            "put it into a script, and submit that",
        ));
    }
    Ok(())
}

fn check_request(caller: &Caller, job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    let request = task.request;
    let beside = matches!(request, Request::Beside { .. });
    match job.kind {
        JobKind::Admin if !beside => {
            return Err(invalid(
                format!("{request} are asked for in a job beside the queue"),
                "use clusrun for commands on named nodes, or job submit for work",
            ));
        }
        JobKind::Start => {
            return Err(invalid(
                "a start task is asked for as a job",
                "give it to a pool: pool set NAME --start-task COMMAND",
            ));
        }
        JobKind::Batch if beside => {
            return Err(invalid(
                "a place beside the queue is asked for in a job of the queue",
                "ask for cores, sockets or nodes, or use clusrun",
            ));
        }
        JobKind::Admin if task.sweep.is_some() => {
            return Err(invalid(
                "a sweep is asked for beside the queue",
                "submit it as work, or run the command once",
            ));
        }
        JobKind::Admin => return super::require(caller, Role::Operator, "run commands beside the queue"),
        JobKind::Batch => {}
    }
    let count = match request {
        Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
        Request::Beside { .. } => return Ok(()),
    };
    if count == 0 {
        return Err(invalid(format!("{request} are asked for"), "ask for at least 1"));
    }
    if let Some(most) = task.request_max.filter(|most| *most < count) {
        return Err(invalid(
            format!("{request} are asked for, and {most} at most"),
            "give the smaller number first: MIN-MAX",
        ));
    }
    if let Some((units, most)) = job.units.and_then(|units| Some((units, units.max?)))
        && core::mem::discriminant(&units.min) == core::mem::discriminant(&request)
        && count > most
    {
        return Err(invalid(
            format!("{request} are asked for, and the job may hold {most} at most"),
            "let the job hold more, or ask for less",
        ));
    }
    let named = job.requested_nodes.iter().collect::<BTreeSet<_>>().len();
    match request {
        Request::Nodes { count } if named > 0 && named < count as usize => Err(invalid(
            format!("{request} are asked for, and only {named} may be used (requestednodes)"),
            "request as many nodes as are asked for, or more",
        )),
        Request::Nodes { count } if count > 1 && job.single_node => Err(invalid(
            format!("{request} are asked for, and all on a single node"),
            "ask for cores or sockets, or leave singlenode out",
        )),
        _ => Ok(()),
    }
}

/// A command on one very node must not wait for a node that was removed.
pub(super) fn check_node(cluster: &Cluster, task: &TaskSpec) -> Result<(), Refusal> {
    match task.request {
        Request::Beside { node } if cluster.node(node).is_none() => Err(not_found(
            format!("node {node} is not part of this cluster, or was removed"),
            "name another; see 'node list'",
        )),
        _ => Ok(()),
    }
}

pub(super) fn check_env(env: &Env) -> Result<(), Refusal> {
    for (name, value) in env {
        let value = value.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("a variable has no name", "write NAME=VALUE"));
        }
        if name.contains('=') {
            return Err(invalid(
                format!("the variable name '{name}' has a '=' in it"),
                "write NAME=VALUE",
            ));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(invalid(
                format!("the variable {name:?} has a NUL byte in it"),
                "leave it out",
            ));
        }
    }
    let bytes: usize = env
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len) + 2)
        .sum();
    if bytes > MAX_COMMAND_BYTES {
        return Err(invalid(
            format!("the variables have {bytes} bytes, and {MAX_COMMAND_BYTES} are the most"),
            "put them into a file that the task reads",
        ));
    }
    Ok(())
}

pub(super) fn check_text(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(invalid(
            format!("the {what} {text:?} has a NUL byte in it"),
            "leave it out",
        ));
    }
    if text.len() > most {
        return Err(invalid(
            format!("the {what} has {} bytes, and {most} are the most", text.len()),
            "shorten it",
        ));
    }
    Ok(())
}

pub(super) fn check_length(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return Err(invalid(
            format!("{count} {what} are named, and {most} are the most"),
            "name fewer",
        ));
    }
    Ok(())
}
