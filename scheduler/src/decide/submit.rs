//! Submissions: checked whole, taken whole. What can never fit or never start is refused with the nearest thing that
//! would; what only does not fit today waits.

use std::collections::BTreeSet;

use proto::client::{MAX_TASKS, Refusal};
use proto::event::Event;
use proto::ids::SubmissionId;
use proto::model::job::{Env, JobSpec};
use proto::model::owner::{Caller, Role};
use proto::model::task::{MAX_COMMAND_BYTES, Request, TaskSpec};

use super::admin::{unknown_group, unknown_node};
use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::input::Answer;
use crate::refusal::{busy, forbidden, invalid, unknown};

/// The most tasks of jobs that are not over. All of them are in memory.
const MAX_LIVE_TASKS: usize = 2_000_000;

/// The most bytes of a name for people.
const MAX_LABEL_BYTES: usize = 256;

/// The most bytes of a path, as Linux has it.
const MAX_PATH_BYTES: usize = 4096;

/// The most nodes that a job may name, so that its row stays small.
const MAX_REQUESTED_NODES: usize = 1000;

/// The most groups that a job may name.
const MAX_JOB_GROUPS: usize = 64;

pub(super) fn submit(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    submission: SubmissionId,
    job: &JobSpec,
    tasks: &[TaskSpec],
) -> Result<Answer, Refusal> {
    if caller.role == Role::Node {
        return Err(forbidden(
            "a node submits no jobs",
            "submit as a user, on the head node",
        ));
    }
    if let Some(first) = ledger.cluster.submission(submission) {
        if first.uid == caller.owner.uid {
            return Ok(Answer::Submitted {
                job: first.job,
                repeated: true,
            });
        }
        return Err(invalid(
            format!("the submission id {submission} is somebody else's"),
            "submit without an id",
        ));
    }
    check_job(ledger.cluster, job)?;
    check_count(tasks)?;
    if ledger.cluster.live_tasks() + tasks.len() > MAX_LIVE_TASKS {
        return Err(busy(
            format!(
                "the cluster holds {} of at most {MAX_LIVE_TASKS} tasks",
                ledger.cluster.live_tasks()
            ),
            "submit again when some have ended",
        ));
    }
    for (number, task) in (1..).zip(tasks) {
        check_task(job, task).map_err(|refusal| match tasks.len() {
            1 => refusal,
            _ => Refusal {
                what: format!("task {number}: {}", refusal.what),
                ..refusal
            },
        })?;
    }
    let id = ledger.cluster.meta().next_job;
    ledger.push(Event::JobAdded {
        job: id,
        submission,
        owner: caller.owner.clone(),
        spec: Box::new(job.clone()),
        tasks: tasks.to_vec(),
        at: ledger.now.wall,
    });
    Ok(Answer::Submitted {
        job: id,
        repeated: false,
    })
}

fn check_job(cluster: &Cluster, job: &JobSpec) -> Result<(), Refusal> {
    check_text("job name", &job.name, MAX_LABEL_BYTES)?;
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
        if cluster.group(group).is_none() && !is_pool(group.as_str()) {
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

fn check_count(tasks: &[TaskSpec]) -> Result<(), Refusal> {
    match tasks.len() {
        0 => Err(invalid("the job has no task", "give a command: job submit COMMAND")),
        count if count > MAX_TASKS => Err(invalid(
            format!("the job has {count} tasks, and {MAX_TASKS} are the most"),
            "split it into several jobs",
        )),
        _ => Ok(()),
    }
}

fn check_task(job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    check_text("task name", &task.name, MAX_LABEL_BYTES)?;
    for (what, path) in [
        ("work directory", &task.workdir),
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
    check_request(job, task.request)
}

fn check_command(command: &[String]) -> Result<(), Refusal> {
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

fn check_request(job: &JobSpec, request: Request) -> Result<(), Refusal> {
    let (Request::Cores { count } | Request::Nodes { count }) = request;
    if count == 0 {
        return Err(invalid(format!("{request} are asked for"), "ask for at least 1"));
    }
    let named = job.requested_nodes.iter().collect::<BTreeSet<_>>().len();
    match request {
        Request::Nodes { count } if named > 0 && named < count as usize => Err(invalid(
            format!("{request} are asked for, and only {named} may be used (requestednodes)"),
            "request as many nodes as are asked for, or more",
        )),
        Request::Nodes { .. } | Request::Cores { .. } => Ok(()),
    }
}

fn check_env(env: &Env) -> Result<(), Refusal> {
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

fn check_text(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
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

fn check_length(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return Err(invalid(
            format!("{count} {what} are named, and {most} are the most"),
            "name fewer",
        ));
    }
    Ok(())
}
