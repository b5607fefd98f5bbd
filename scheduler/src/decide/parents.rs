//! Jobs that wait for other jobs (HPC Pack's `/parentjobids`). What is left in a job's wishes is what it still waits for:
//! a parent that finished is taken out of them, so that nobody has to know how jobs ended that have left memory.
//!
//! A parent always has the smaller number, so no ring can arise.

use proto::client::Refusal;
use proto::ids::JobId;
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, MAX_PARENTS};
use proto::model::owner::Caller;
use proto::model::task::TaskOutcome;

use super::cancel::stop;
use super::job::unknown_job;
use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::refusal::{invalid, wrong_state};

/// Whether a job that ended so counts as finished for the jobs that wait for it. The shell takes such parents out of a
/// request, when they have left memory, before it is decided.
#[must_use]
pub fn parent_is_met(outcome: &JobOutcome) -> bool {
    match outcome {
        JobOutcome::Finished => true,
        JobOutcome::Terminated { reason, .. } => matches!(reason.as_str(), "JMComplete" | "AllTasksComplete"),
        JobOutcome::Failed { .. } | JobOutcome::Canceled { .. } => false,
    }
}

/// Whether a job below the number `before` may wait for what it asks to wait for.
pub(super) fn check_parents(cluster: &Cluster, caller: &Caller, job: &JobSpec, before: JobId) -> Result<(), Refusal> {
    if job.parents.len() > MAX_PARENTS {
        return Err(invalid(
            format!(
                "{} parent jobs are named, and {MAX_PARENTS} are the most",
                job.parents.len()
            ),
            "name fewer",
        ));
    }
    for parent in &job.parents {
        if *parent >= cluster.meta().next_job || *parent == JobId(0) {
            return Err(unknown_job(*parent));
        }
        if *parent >= before {
            return Err(invalid(
                format!("job {before} is to wait for job {parent}, which was not made before it"),
                "name jobs with smaller numbers",
            ));
        }
        check_parent(cluster, caller, *parent)?;
    }
    Ok(())
}

fn check_parent(cluster: &Cluster, caller: &Caller, parent: JobId) -> Result<(), Refusal> {
    let state = match cluster.job(parent) {
        Some(row) if !caller.may_touch(&row.owner) => return Err(unknown_job(parent)),
        Some(row) => &row.state,
        None => return Err(never(parent)),
    };
    match state {
        JobState::Ended { outcome, .. } | JobState::Canceling { outcome, .. } if !parent_is_met(outcome) => {
            Err(never(parent))
        }
        _ => Ok(()),
    }
}

fn never(parent: JobId) -> Refusal {
    wrong_state(
        format!("job {parent} did not finish, or is gone, so a job that waits for it could never start"),
        format!("leave it out, or run it again first: job requeue {parent}"),
    )
}

/// The parents that a job asks for without those that have finished and are in memory still.
pub(super) fn without_met(cluster: &Cluster, parents: &[JobId]) -> Vec<JobId> {
    let mut awaited = Vec::new();
    for parent in parents {
        if cluster.is_live(*parent) && !awaited.contains(parent) {
            awaited.push(*parent);
        }
    }
    awaited
}

/// A job is over: those that wait for it wait no longer, or can never start.
pub(super) fn follow(ledger: &mut Ledger<'_>, parent: JobId) {
    let Some(outcome) = ledger.closed(parent).cloned() else {
        return;
    };
    let cluster = ledger.cluster;
    for child in cluster.children(parent) {
        let Some(job) = cluster.job(child).filter(|_| !ledger.is_ending(child)) else {
            continue;
        };
        if parent_is_met(&outcome) {
            let mut spec = ledger.wishes(job).clone();
            spec.parents.retain(|other| *other != parent);
            ledger.modify_job(job, spec, job.progress.clone());
        } else {
            fail(ledger, job, parent, &outcome);
        }
    }
}

/// One in configuration is told when it is submitted.
fn fail(ledger: &mut Ledger<'_>, job: &JobRow, parent: JobId, outcome: &JobOutcome) {
    if job.state == JobState::Configuring || !ledger.wishes(job).parents.contains(&parent) {
        return;
    }
    let how = match outcome {
        JobOutcome::Failed { .. } => "failed",
        JobOutcome::Canceled { .. } => "was canceled",
        JobOutcome::Terminated { .. } => "was terminated",
        JobOutcome::Finished => return,
    };
    let reason = format!("parent job {parent} {how}");
    stop(
        ledger,
        job.id,
        JobOutcome::Failed { reason },
        &TaskOutcome::Canceled,
        false,
    );
}
