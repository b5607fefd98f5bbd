//! Ends of jobs that somebody or something decided: a cancel, or the job's run-time limit.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::JobId;
use proto::model::attempt::AttemptPhase;
use proto::model::job::{JobOutcome, JobState};
use proto::model::owner::Caller;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskState};

use super::ledger::{Fate, Ledger};
use crate::input::Answer;
use crate::refusal::{counted, invalid, not_found, wrong_state};

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
    let job = ledger.cluster.job(id).filter(|job| caller.may_touch(&job.owner));
    let state = match job {
        Some(job) if !job.state.is_ended() => &job.state,
        Some(_) => return Err(over(id)),
        None if ledger.cluster.job(id).is_none() && id < ledger.cluster.meta().next_job => return Err(over(id)),
        None => {
            return Err(not_found(
                format!("there is no job {id}, or it is not yours"),
                "see 'job list'",
            ));
        }
    };
    if matches!(state, JobState::Canceling { .. }) {
        return Ok(Answer::Notes(vec![cancel_again(ledger, id, force)]));
    }
    let outcome = JobOutcome::Canceled {
        by: caller.owner.name.clone(),
        message: message.to_owned(),
    };
    let running = stop(ledger, id, outcome, &TaskOutcome::Canceled, force);
    let notes = if running == 0 {
        Vec::new()
    } else {
        vec![format!(
            "job {id}: {} {} being stopped",
            counted(running, "task"),
            if running == 1 { "is" } else { "are" }
        )]
    };
    Ok(Answer::Notes(notes))
}

fn over(id: JobId) -> Refusal {
    wrong_state(format!("job {id} is over already"), format!("see 'job view {id}'"))
}

/// A second cancel changes nothing, unless it takes the grace period away.
fn cancel_again(ledger: &mut Ledger<'_>, id: JobId, force: bool) -> String {
    let mut hurried = 0;
    for task in ledger.cluster.tasks_of(id).filter(|_| force) {
        let TaskState::Stopping { attempt, outcome, .. } = &task.state else {
            continue;
        };
        let phase = ledger.cluster.attempt(*attempt).map(|row| row.phase);
        if matches!(phase, Some(AttemptPhase::Stopping { force: false, .. })) {
            ledger.push(Event::AttemptStopping {
                attempt: *attempt,
                outcome: outcome.clone(),
                force,
            });
            hurried += 1;
        }
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

/// Ends what waits, has what runs stopped; returns how many that are.
fn stop(ledger: &mut Ledger<'_>, id: JobId, outcome: JobOutcome, ran: &TaskOutcome, force: bool) -> usize {
    ledger.stop_job(id, outcome);
    let mut running = 0;
    for task in ledger.cluster.tasks_of(id) {
        match task.state {
            TaskState::Queued => ledger.end_task(task.id, TaskOutcome::Canceled, ledger.now.wall),
            // A node may have been lost a moment before, in this same decision.
            TaskState::Granted { attempt }
            | TaskState::Running { attempt, .. }
            | TaskState::Stopping { attempt, .. }
                if ledger.fate(attempt).is_some() =>
            {
                if ledger.fate(attempt) == Some(Fate::Requeued) {
                    ledger.end_task(task.id, ran.clone(), ledger.now.wall);
                }
            }
            TaskState::Granted { attempt } | TaskState::Running { attempt, .. } => {
                ledger.push(Event::AttemptStopping {
                    attempt,
                    outcome: ran.clone(),
                    force,
                });
                running += 1;
            }
            TaskState::Stopping { .. } => running += 1,
            TaskState::Ended { .. } => {}
        }
    }
    running
}
