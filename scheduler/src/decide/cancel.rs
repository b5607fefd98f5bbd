//! Ends of jobs that somebody or something decided: a cancel, or the job's run-time limit.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{AttemptId, JobId};
use proto::model::attempt::AttemptPhase;
use proto::model::job::{JobOutcome, JobState};
use proto::model::owner::Caller;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskState};

use super::errand;
use super::job::live_job;
use super::ledger::{Fate, Ledger};
use crate::input::Answer;
use crate::refusal::{counted, invalid, unsupported, wrong_state};

/// The most characters of the message with a cancel, as in HPC Pack.
const MAX_MESSAGE_CHARS: usize = 128;

pub(super) fn cancel(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    id: JobId,
    force: bool,
    message: &str,
) -> Result<Answer, Refusal> {
    let chars = message.chars().count();
    if chars > MAX_MESSAGE_CHARS {
        return Err(invalid(
            format!("the message has {chars} characters, and {MAX_MESSAGE_CHARS} are the most"),
            "shorten it",
        ));
    }
    let job = live_job(ledger.cluster, caller, id)?;
    let state = &job.state;
    if matches!(state, JobState::Canceling { .. }) {
        return Ok(Answer::Notes(vec![cancel_again(ledger, id, force)]));
    }
    let outcome = JobOutcome::Canceled {
        by: caller.owner.name.clone(),
        message: message.to_owned(),
    };
    let running = stop(ledger, id, outcome, &TaskOutcome::Canceled, force);
    if force {
        errand::skip(ledger, job);
    }
    Ok(Answer::Notes(being_stopped(id, running)))
}

/// A second cancel changes nothing, unless it takes the grace period away.
fn cancel_again(ledger: &mut Ledger<'_>, id: JobId, force: bool) -> String {
    let mut hurried = 0;
    for task in ledger.cluster.tasks_of(id) {
        if let TaskState::Stopping { attempt, outcome, .. } = &task.state {
            hurried += usize::from(hurry(ledger, *attempt, outcome, force));
        }
    }
    if let Some(job) = ledger.cluster.job(id).filter(|_| force) {
        hurried += errand::skip(ledger, job);
    }
    if hurried == 0 {
        format!("job {id} is being canceled already")
    } else {
        format!(
            "job {id}: {} now stopped without a grace period",
            counted(hurried, "task")
        )
    }
}

/// Jobs whose run time is over have failed.
pub(super) fn enforce_limits(ledger: &mut Ledger<'_>) {
    for id in ledger.cluster.over_limit(ledger.now) {
        let Some(limit) = ledger.cluster.job(id).and_then(|job| job.spec.runtime_limit) else {
            continue;
        };
        let outcome = JobOutcome::Failed {
            reason: format!("its run time limit of {limit} was over"),
        };
        let ran = TaskOutcome::Failed {
            cause: AttemptOutcome::TimedOut { limit },
        };
        stop(ledger, id, outcome, &ran, false);
    }
}

/// Jobs that are held no longer.
pub(super) fn end_holds(ledger: &mut Ledger<'_>) {
    for id in ledger.cluster.over_hold(ledger.now) {
        let Some(job) = ledger.cluster.job(id) else { continue };
        let mut spec = ledger.wishes(job).clone();
        spec.hold_until = None;
        ledger.modify_job(job, spec, job.progress.clone());
    }
}

/// Ends a job as Finished, whatever its tasks do.
pub(super) fn finish(ledger: &mut Ledger<'_>, caller: &Caller, id: JobId, message: &str) -> Result<Answer, Refusal> {
    refuse_message(message)?;
    let job = live_job(ledger.cluster, caller, id)?;
    match &job.state {
        JobState::Configuring => {
            return Err(wrong_state(
                format!("job {id} is not submitted yet"),
                format!("submit it: job submit /id:{id}, or end it: job cancel {id}"),
            ));
        }
        JobState::Canceling {
            outcome: JobOutcome::Finished,
            ..
        } => return Ok(Answer::Notes(vec![format!("job {id} is being finished already")])),
        JobState::Canceling { .. } => {
            return Err(wrong_state(
                format!("job {id} is being canceled"),
                format!("see 'job view {id}'"),
            ));
        }
        JobState::Queued | JobState::Running { .. } | JobState::Disabled { .. } | JobState::Ended { .. } => {}
    }
    let running = stop(ledger, id, JobOutcome::Finished, &TaskOutcome::Finished, false);
    Ok(Answer::Notes(being_stopped(id, running)))
}

/// A message with an end that keeps none.
pub(super) fn refuse_message(message: &str) -> Result<(), Refusal> {
    if message.is_empty() {
        return Ok(());
    }
    Err(unsupported(
        "a message is kept with a job that is canceled; with anything else it is not built yet",
        "leave the message out",
    ))
}

pub(super) fn being_stopped(id: JobId, running: usize) -> Vec<String> {
    match running {
        0 => Vec::new(),
        1 => vec![format!("job {id}: 1 task is being stopped")],
        _ => vec![format!("job {id}: {} are being stopped", counted(running, "task"))],
    }
}

/// Ends what waits, has what runs stopped; returns how many that are.
pub(super) fn stop(ledger: &mut Ledger<'_>, id: JobId, outcome: JobOutcome, ran: &TaskOutcome, force: bool) -> usize {
    ledger.stop_job(id, outcome);
    let mut running = 0;
    for task in ledger.cluster.tasks_of(id) {
        if ledger.is_over(task.id) {
            continue;
        }
        match task.state {
            TaskState::Queued => ledger.end_task(task.id, TaskOutcome::Canceled, ledger.now.wall),
            // A node may have been lost a moment before, in this same decision.
            TaskState::Granted { attempt, .. }
            | TaskState::Running { attempt, .. }
            | TaskState::Stopping { attempt, .. }
                if ledger.fate(attempt).is_some() =>
            {
                if ledger.fate(attempt) == Some(Fate::Requeued) {
                    ledger.end_task(task.id, ran.clone(), ledger.now.wall);
                }
            }
            // What was to run again ends with its job.
            TaskState::Granted { attempt, .. }
            | TaskState::Running { attempt, .. }
            | TaskState::Stopping {
                attempt, again: true, ..
            } => {
                ledger.push(Event::AttemptStopping {
                    attempt,
                    outcome: ran.clone(),
                    force,
                    again: false,
                });
                running += 1;
            }
            TaskState::Stopping {
                attempt, ref outcome, ..
            } => {
                hurry(ledger, attempt, outcome, force);
                running += 1;
            }
            TaskState::Ended { .. } => {}
        }
    }
    running
}

/// Takes the grace period from an attempt that is being stopped; its outcome stays. Whether it had one.
pub(super) fn hurry(ledger: &mut Ledger<'_>, attempt: AttemptId, outcome: &TaskOutcome, force: bool) -> bool {
    let phase = ledger.cluster.attempt(attempt).map(|row| row.phase);
    let is_polite = matches!(phase, Some(AttemptPhase::Stopping { force: false, .. }));
    if force && is_polite {
        ledger.push(Event::AttemptStopping {
            attempt,
            outcome: outcome.clone(),
            force,
            again: false,
        });
    }
    force && is_polite
}
