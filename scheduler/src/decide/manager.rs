//! Job manager tasks (Azure Batch's `jobManagerTask`), and the checks of the tasks that a job has for itself.

use proto::client::Refusal;
use proto::ids::{JobId, TaskNumber};
use proto::model::job::{JobKind, JobSpec};
use proto::model::owner::Caller;
use proto::model::role::MAX_RELEASE_TIME;
use proto::model::task::{MAX_SCRIPT_BYTES, Request, TaskKind, TaskSpec};

use super::check::check_task;
use super::ledger::Ledger;
use super::lifecycle::terminate_by_rule;
use super::submit::size_of_spec;
use crate::cluster::Cluster;
use crate::refusal::invalid;

/// Jobs whose manager task is over here, and that are to end with it.
pub(super) fn follow(ledger: &mut Ledger<'_>) {
    let managers = ledger.over().filter(|task| task.number == TaskNumber::MANAGER);
    let jobs: Vec<JobId> = managers.map(|task| task.job).collect();
    for id in jobs {
        let manager = ledger.cluster.job(id).and_then(|job| job.spec.manager.as_ref());
        if manager.is_some_and(|manager| manager.kill_job_on_completion) {
            terminate_by_rule(ledger, id, "JMComplete");
        }
    }
}

/// The manager, preparation and release tasks of a job, each checked as a task is.
pub(super) fn check_own_tasks(cluster: &Cluster, caller: &Caller, job: &JobSpec) -> Result<(), Refusal> {
    let preparation = job.preparation.as_ref().map(|preparation| &preparation.task);
    let per_node = [
        ("job preparation task", preparation),
        ("job release task", job.release.as_deref()),
    ];
    if let Some(manager) = &job.manager {
        check_one(cluster, caller, job, "job manager task", &manager.task)?;
    }
    for (what, task) in per_node {
        let Some(task) = task else { continue };
        // It runs beside whatever is there, so what it asks for counts for nothing.
        let mut bare = task.clone();
        (bare.request, bare.request_max) = (Request::default(), None);
        check_one(cluster, caller, job, what, &bare)?;
    }
    let limit = job.release.as_ref().and_then(|release| release.runtime_limit);
    if let Some(limit) = limit.filter(|limit| *limit > MAX_RELEASE_TIME) {
        return Err(invalid(
            format!("the job release task may run for {limit}, and {MAX_RELEASE_TIME} is the most"),
            "give it less time, or do the work in a task of the job",
        ));
    }
    let manager = job.manager.as_ref().map(|manager| &manager.task);
    let own = [manager, preparation, job.release.as_deref()];
    let bytes: usize = own.into_iter().flatten().map(size_of_spec).sum();
    if bytes > MAX_SCRIPT_BYTES {
        return Err(invalid(
            format!(
                "the job's own tasks (manager, preparation, release) have {bytes} bytes together, and {MAX_SCRIPT_BYTES} \
                 are the most"
            ),
            "keep scripts and files on a shared disk, and give commands that use them",
        ));
    }
    Ok(())
}

fn check_one(cluster: &Cluster, caller: &Caller, job: &JobSpec, what: &str, task: &TaskSpec) -> Result<(), Refusal> {
    if job.kind != JobKind::Batch {
        return Err(invalid(
            format!("a {what} is asked for in a job beside the queue"),
            "leave it out, or submit the job to the queue",
        ));
    }
    let clash = [
        (task.interactive.is_some(), "interactive"),
        (task.sweep.is_some(), "a sweep"),
        (task.kind != TaskKind::Basic, "a service"),
        (
            !task.depends_on.is_empty() || !task.depends_on_ranges.is_empty(),
            "dependent on other tasks",
        ),
    ];
    if let Some((_, is)) = clash.iter().find(|(clash, _)| *clash) {
        return Err(invalid(format!("the {what} is to be {is}"), "make it a plain task"));
    }
    check_task(cluster, caller, job, task).map_err(|refusal| Refusal {
        what: format!("{what}: {}", refusal.what),
        ..refusal
    })
}
