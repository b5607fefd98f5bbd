//! Disabling, enabling, terminating and deleting jobs, and the longest that a job may last.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::JobId;
use proto::model::job::{DisableTasks, JobOutcome, JobRow, JobState};
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskState};

use super::cancel::{being_stopped, stop};
use super::check::check_text;
use super::job::{live_job, refuse_of_a_pool, unknown_job};
use super::ledger::Ledger;
use crate::cluster::wall_of;
use crate::input::{Answer, StoredJob};
use crate::refusal::{busy, counted, wrong_state};

/// The most bytes of a reason to terminate a job. Azure Batch names no bound; a row stays small with this one.
const MAX_REASON_BYTES: usize = 128;

/// The reason where nobody gives one, as in Azure Batch.
const NO_REASON: &str = "UserTerminate";

/// Starts nothing of the job any more. Said again with another choice, that is done with what runs still.
pub(super) fn disable(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    id: JobId,
    tasks: DisableTasks,
) -> Result<Answer, Refusal> {
    let job = live_job(ledger.cluster, caller, id)?;
    refuse_idle(job, "disabled")?;
    let already = matches!(job.state, JobState::Disabled { .. });
    if !already {
        ledger.push(Event::JobDisabled { job: id });
    }
    let stopped = stop_running(ledger, id, tasks);
    let mut notes = Vec::new();
    if already && stopped == 0 {
        notes.push(format!("job {id} is disabled already"));
    }
    if stopped > 0 {
        let verb = if stopped == 1 { "is" } else { "are" };
        let then = if tasks == DisableTasks::Requeue {
            ", to wait again"
        } else {
            ""
        };
        notes.push(format!(
            "job {id}: {} {verb} being stopped{then}",
            counted(stopped, "task")
        ));
    }
    Ok(Answer::Notes(notes))
}

pub(super) fn enable(ledger: &mut Ledger<'_>, caller: &Caller, id: JobId) -> Result<Answer, Refusal> {
    let job = live_job(ledger.cluster, caller, id)?;
    refuse_idle(job, "enabled")?;
    if !matches!(job.state, JobState::Disabled { .. }) {
        return Ok(Answer::Notes(vec![format!("job {id} is not disabled")]));
    }
    ledger.push(Event::JobEnabled { job: id });
    Ok(Answer::Notes(Vec::new()))
}

/// A job that nothing is started of anyway.
fn refuse_idle(job: &JobRow, what: &str) -> Result<(), Refusal> {
    let id = job.id;
    match job.state {
        JobState::Configuring => Err(wrong_state(
            format!("job {id} is not submitted yet, so it cannot be {what}"),
            format!("submit it: job submit /id:{id}"),
        )),
        JobState::Canceling { .. } => Err(wrong_state(
            format!("job {id} is being ended"),
            format!("see 'job view {id}'"),
        )),
        _ => Ok(()),
    }
}

/// Has what runs of a job stopped as it was chosen; returns how many tasks that are.
fn stop_running(ledger: &mut Ledger<'_>, id: JobId, tasks: DisableTasks) -> usize {
    let again = match tasks {
        DisableTasks::Wait => return 0,
        DisableTasks::Requeue => true,
        DisableTasks::Terminate => false,
    };
    let mut stopped = 0;
    for task in ledger.cluster.tasks_of(id) {
        let attempt = match task.state {
            TaskState::Granted { attempt, .. } | TaskState::Running { attempt, .. } => attempt,
            // What was to run again is canceled after all.
            TaskState::Stopping {
                attempt, again: true, ..
            } if !again => attempt,
            _ => continue,
        };
        // What must not run twice is let go on.
        if again && !task.spec.rerunnable {
            continue;
        }
        if ledger.fate(attempt).is_none() && !ledger.is_over(task.id) {
            ledger.push(Event::AttemptStopping {
                attempt,
                outcome: TaskOutcome::Canceled,
                force: false,
                again,
            });
            stopped += 1;
        }
    }
    stopped
}

/// Brings a job to its end, which counts neither as a cancel nor as a failure.
pub(super) fn terminate(ledger: &mut Ledger<'_>, caller: &Caller, id: JobId, reason: &str) -> Result<Answer, Refusal> {
    check_text("reason", reason, MAX_REASON_BYTES)?;
    let job = live_job(ledger.cluster, caller, id)?;
    if matches!(job.state, JobState::Canceling { .. }) {
        return Ok(Answer::Notes(vec![format!("job {id} is being ended already")]));
    }
    let running = terminate_as(ledger, id, &caller.owner.name, reason);
    Ok(Answer::Notes(being_stopped(id, running)))
}

/// Ends a job unless its end is decided already; returns how many of its tasks are stopped for that.
pub(super) fn terminate_as(ledger: &mut Ledger<'_>, id: JobId, by: &str, reason: &str) -> usize {
    if ledger.is_ending(id) {
        return 0;
    }
    let reason = if reason.is_empty() { NO_REASON } else { reason };
    let outcome = JobOutcome::Terminated {
        by: by.to_owned(),
        reason: reason.to_owned(),
    };
    stop(ledger, id, outcome, &TaskOutcome::Canceled, false)
}

/// The rules of a job, its schedule or its tasks bring it to its end. Nothing when its end is decided already.
pub(super) fn terminate_by_rule(ledger: &mut Ledger<'_>, id: JobId, reason: &str) {
    terminate_as(ledger, id, "", reason);
}

/// The end of one of its tasks disables a job; its running tasks wait again. Nothing when it is disabled, or when its end
/// is decided already.
pub(super) fn disable_by_rule(ledger: &mut Ledger<'_>, id: JobId) {
    let goes_on = |job: &JobRow| matches!(job.state, JobState::Queued | JobState::Running { .. });
    if ledger.cluster.job(id).is_some_and(goes_on) && !ledger.is_ending(id) {
        ledger.push(Event::JobDisabled { job: id });
        stop_running(ledger, id, DisableTasks::Requeue);
    }
}

/// Takes a job away: at once when it is over, else as soon as it is.
pub(super) fn delete(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    id: JobId,
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    let stored = stored.map(|stored| &stored.job).filter(|job| job.id == id);
    let job = ledger.cluster.job(id).or(stored);
    let Some(job) = job.filter(|job| caller.may_touch(&job.owner)) else {
        return Err(unknown_job(id));
    };
    refuse_of_a_pool(job)?;
    if ledger.cluster.job(id).is_none() {
        // It ended before a restart of the head node, and a part of a gang was not let go before that.
        if ledger.is_held(id) {
            return Err(busy(
                format!("a node has not let go of job {id} yet"),
                format!("type it again in a while: job delete {id}"),
            ));
        }
        ledger.job_deleted(id);
        return Ok(Answer::Notes(Vec::new()));
    }
    if job.deleting {
        return Ok(Answer::Notes(vec![format!("job {id} is being deleted already")]));
    }
    let running = delete_as(ledger, id, &caller.owner.name, NO_REASON);
    Ok(Answer::Notes(being_stopped(id, running)))
}

/// Takes a job in memory away, having ended it; returns how many of its tasks are stopped for that.
pub(super) fn delete_as(ledger: &mut Ledger<'_>, id: JobId, by: &str, reason: &str) -> usize {
    if ledger.cluster.job(id).is_some_and(|job| !job.deleting) {
        ledger.delete_job(id);
    }
    terminate_as(ledger, id, by, reason)
}

/// Jobs that are to be taken away, are over, and of which no node holds anything.
pub(super) fn delete_emptied(ledger: &mut Ledger<'_>) {
    for id in ledger.deleting() {
        if ledger.is_there(id) && !ledger.is_live(id) && !ledger.is_held(id) {
            ledger.job_deleted(id);
        }
    }
}

/// Jobs that have lasted as long as they may, waiting included.
pub(super) fn enforce_wall_clocks(ledger: &mut Ledger<'_>) {
    for id in ledger.cluster.over_wall_clock(ledger.now) {
        terminate_by_rule(ledger, id, "MaxWallClockTimeExpiry");
    }
}

/// A job that comes back after its end would be terminated at once when its longest time is over.
pub(super) fn refuse_outlived(ledger: &Ledger<'_>, job: &JobRow) -> Result<(), Refusal> {
    let mut back = job.clone();
    back.state = JobState::Queued;
    let over = job.state.is_ended() && wall_of(&back).is_some_and(|at| at <= ledger.now.wall);
    match job.spec.max_wall_clock.filter(|_| over) {
        Some(most) => Err(wrong_state(
            format!("job {} may last {most} from its submission, and that is over", job.id),
            format!("make a new one like it: job clone {}", job.id),
        )),
        None => Ok(()),
    }
}
