//! Requests about single tasks of one job. The id of a sweep means all its steps. One bad id refuses the whole request.

use std::collections::BTreeSet;

use proto::client::{MAX_TASKS, Refusal};
use proto::event::Event;
use proto::ids::TaskId;
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskRow, TaskState};

use super::cancel::{being_stopped, hurry, refuse_message};
use super::job::{Found, live_job};
use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::input::{Answer, StoredJob};
use crate::refusal::{counted, invalid, not_found, wrong_state};

/// The job and the tasks that are named, each once, in order.
pub(super) fn named<'a>(
    cluster: &'a Cluster,
    caller: &Caller,
    ids: &[TaskId],
    stored: Option<&'a StoredJob>,
) -> Result<(Found<'a>, Vec<&'a TaskRow>), Refusal> {
    let Some(first) = ids.first() else {
        return Err(invalid("no task is named", "name one: JOB.TASK"));
    };
    if ids.len() > MAX_TASKS {
        return Err(invalid(
            format!("{} tasks are named, and {MAX_TASKS} are the most", ids.len()),
            "name fewer",
        ));
    }
    let found = Found::new(cluster, caller, first.job, stored)?;
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for id in ids {
        if id.job != first.job {
            return Err(invalid(
                format!("task {id} is of another job than task {first}"),
                "name tasks of one job",
            ));
        }
        let mut any = false;
        for row in found.covered(*id) {
            any = true;
            if seen.insert(row.id) {
                rows.push(row);
            }
        }
        if !any {
            return Err(not_found(
                format!("there is no task {id}"),
                format!("see 'job listtasks {}'", id.job),
            ));
        }
    }
    Ok((found, rows))
}

/// Tasks of a job in memory that is not over.
fn live<'a>(cluster: &'a Cluster, caller: &Caller, ids: &[TaskId]) -> Result<Vec<&'a TaskRow>, Refusal> {
    if let Some(first) = ids.first() {
        live_job(cluster, caller, first.job)?;
    }
    Ok(named(cluster, caller, ids, None)?.1)
}

pub(super) fn cancel(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    ids: &[TaskId],
    force: bool,
    message: &str,
) -> Result<Answer, Refusal> {
    refuse_message(message)?;
    let (mut stopped, mut over) = (0, 0);
    for task in live(ledger.cluster, caller, ids)? {
        match task.state {
            TaskState::Queued => ledger.end_task(task.id, TaskOutcome::Canceled, ledger.now.wall),
            TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { again: true, .. } => {
                push_stop(ledger, task, TaskOutcome::Canceled, force);
                stopped += 1;
            }
            TaskState::Stopping {
                attempt, ref outcome, ..
            } if hurry(ledger, attempt, outcome, force) => stopped += 1,
            TaskState::Stopping { .. } | TaskState::Ended { .. } => over += 1,
        }
    }
    Ok(Answer::Notes(told(ids, stopped, over)))
}

/// Running tasks end as Finished.
pub(super) fn finish(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    ids: &[TaskId],
    message: &str,
) -> Result<Answer, Refusal> {
    refuse_message(message)?;
    let rows = live(ledger.cluster, caller, ids)?;
    if let Some(task) = rows.iter().find(|task| task.state == TaskState::Queued) {
        return Err(wrong_state(
            format!("task {} does not run yet, so it cannot be finished", task.id),
            format!("cancel it: task cancel {}", task.id),
        ));
    }
    let (mut stopped, mut over) = (0, 0);
    for task in rows {
        match task.state {
            TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { again: true, .. } => {
                push_stop(ledger, task, TaskOutcome::Finished, false);
                stopped += 1;
            }
            _ => over += 1,
        }
    }
    Ok(Answer::Notes(told(ids, stopped, over)))
}

fn push_stop(ledger: &mut Ledger<'_>, task: &TaskRow, outcome: TaskOutcome, force: bool) {
    if let Some(attempt) = task.state.attempt() {
        ledger.push(Event::AttemptStopping {
            attempt,
            outcome,
            force,
            again: false,
        });
    }
}

fn told(ids: &[TaskId], stopped: usize, over: usize) -> Vec<String> {
    let Some(first) = ids.first() else { return Vec::new() };
    let mut notes = being_stopped(first.job, stopped);
    if over > 0 {
        let verb = if over == 1 { "is" } else { "are" };
        notes.push(format!(
            "job {}: {} {verb} over or being stopped already",
            first.job,
            counted(over, "task")
        ));
    }
    notes
}
