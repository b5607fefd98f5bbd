//! Work that runs again because somebody said so: a job with all that did not end well, or single tasks. Counts no retry.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{JobId, TaskId};
use proto::model::job::JobState;
use proto::model::node::Liveness;
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskRow, TaskSpec, TaskState};

use super::check::check_node;
use super::depend::check_dependencies;
use super::job::Found;
use super::ledger::Ledger;
use super::submit::{check_room, end_past_hold, one_of_each};
use super::task::named;
use crate::cluster::{Cluster, Standing};
use crate::input::{Answer, StoredJob};
use crate::refusal::{counted, wrong_state};

/// Everything of the job that did not end well runs again.
pub(super) fn requeue_job(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    id: JobId,
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    let found = Found::new(ledger.cluster, caller, id, stored)?;
    found.may_go_on()?;
    if found.job.state == JobState::Configuring {
        return Err(wrong_state(
            format!("job {id} is not submitted yet"),
            format!("submit it: job submit /id:{id}"),
        ));
    }
    let tasks: Vec<&TaskRow> = found.tasks().filter(|task| runs_again(task).is_some()).collect();
    let revived = found.revived(true, ledger.now.wall);
    if tasks.is_empty() && !(revived.is_some() && found.job.spec.run_until_canceled) {
        return if revived.is_some() {
            Err(wrong_state(
                format!("all tasks of job {id} have finished, so there is nothing to run again"),
                format!("make a new one like it: job clone {id}"),
            ))
        } else {
            Ok(Answer::Notes(vec![format!(
                "all of job {id} waits or ended well already"
            )]))
        };
    }
    check_can_start(ledger, &found, &tasks)?;
    let over = revived.is_some();
    ledger.push(revived.unwrap_or(Event::JobRequeued { job: id }));
    if over {
        end_past_hold(ledger, found.job);
    }
    let stopped = tasks.iter().filter(|task| push_again(ledger, task)).count();
    Ok(Answer::Notes(notes(id, tasks.len(), stopped)))
}

/// Tasks of one job run again, and nothing else of it.
pub(super) fn requeue_tasks(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    ids: &[TaskId],
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    let (found, rows) = named(ledger.cluster, caller, ids, stored)?;
    let id = found.job.id;
    found.may_go_on()?;
    let mut tasks = Vec::new();
    let mut waiting = 0;
    for task in rows {
        match (&task.state, runs_again(task)) {
            (_, Some(_)) => tasks.push(task),
            (TaskState::Queued | TaskState::Stopping { again: true, .. }, _) => waiting += 1,
            _ => {
                return Err(wrong_state(
                    format!("task {} has finished, or is being finished", task.id),
                    "name tasks that run, failed or were canceled",
                ));
            }
        }
    }
    refuse_stuck(&found, &tasks)?;
    check_can_start(ledger, &found, &tasks)?;
    let mut told = match waiting {
        0 => Vec::new(),
        _ => vec![format!("job {id}: {} to run again already", wait_verb(waiting))],
    };
    if tasks.is_empty() {
        return Ok(Answer::Notes(told));
    }
    if let Some(event) = found.revived(false, ledger.now.wall) {
        ledger.push(event);
        end_past_hold(ledger, found.job);
    }
    let stopped = tasks.iter().filter(|task| push_again(ledger, task)).count();
    told.extend(notes(id, tasks.len(), stopped));
    Ok(Answer::Notes(told))
}

enum How {
    /// It is over, and waits at once.
    Wait,
    /// It is under way, and is stopped before.
    Stop,
}

/// How a task runs again; none when it waits, is to run again already, or ended or is to end well.
const fn runs_again(task: &TaskRow) -> Option<How> {
    match &task.state {
        TaskState::Queued
        | TaskState::Stopping { again: true, .. }
        | TaskState::Stopping {
            outcome: TaskOutcome::Finished,
            ..
        }
        | TaskState::Ended {
            outcome: TaskOutcome::Finished,
            ..
        } => None,
        TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => Some(How::Stop),
        TaskState::Ended { .. } => Some(How::Wait),
    }
}

/// Returns whether the task is stopped first.
fn push_again(ledger: &mut Ledger<'_>, task: &TaskRow) -> bool {
    match (runs_again(task), task.state.attempt()) {
        (Some(How::Stop), Some(attempt)) => {
            ledger.push(Event::AttemptStopping {
                attempt,
                outcome: TaskOutcome::Canceled,
                force: false,
                again: true,
            });
            true
        }
        (Some(How::Wait), _) => {
            ledger.push(Event::TaskRequeued {
                task: task.id,
                asked: true,
            });
            false
        }
        _ => false,
    }
}

/// A task whose node was given up without proof may run there still; only a node that was told to end it with its lease has
/// ended it. So it does not run again before its node is back, or an administrator says that it is gone.
fn refuse_running_still(cluster: &Cluster, task: &TaskRow) -> Result<(), Refusal> {
    let TaskState::Ended { ended_at, .. } = task.state else {
        return Ok(());
    };
    let nodes = task.last_nodes.iter().filter_map(|node| cluster.node(*node));
    let mut lost = nodes.filter(|row| matches!(row.liveness, Liveness::Lost { since } if since <= ended_at));
    match lost.next() {
        Some(row) => Err(wrong_state(
            format!(
                "task {} may run still on node '{}', which does not answer",
                task.id, row.name
            ),
            format!(
                "wait until the node is back, or, when it is gone for good, take it out: node remove {} --force",
                row.name
            ),
        )),
        None => Ok(()),
    }
}

/// A job that comes back needs room, and its tasks must be able to start: it may have ended before it was ever submitted.
fn check_can_start(ledger: &Ledger<'_>, found: &Found<'_>, tasks: &[&TaskRow]) -> Result<(), Refusal> {
    for task in tasks {
        check_node(ledger.cluster, &task.spec)?;
        refuse_running_still(ledger.cluster, task)?;
    }
    if !found.job.state.is_ended() {
        return Ok(());
    }
    check_room(ledger.cluster, found.tasks().count())?;
    let all: Vec<&TaskSpec> = one_of_each(found.tasks()).map(|row| &row.spec).collect();
    check_dependencies(tasks.iter().map(|row| &row.spec), all.iter().copied())
}

/// A task that depends on one that did not end well, and is not run again with it, would wait for ever.
fn refuse_stuck(found: &Found<'_>, tasks: &[&TaskRow]) -> Result<(), Refusal> {
    let depend = tasks.iter().any(|task| !task.spec.depends_on.is_empty());
    if found.job.spec.run_dependents_of_failed || !depend {
        return Ok(());
    }
    let with: BTreeSet<TaskId> = tasks.iter().map(|task| task.id).collect();
    let bad: BTreeMap<&str, TaskId> = found
        .tasks()
        .filter(|row| Standing::of(&row.state) == Standing::Bad && !with.contains(&row.id))
        .map(|row| (row.spec.name.as_str(), row.id))
        .collect();
    for task in tasks {
        let mut names = task.spec.depends_on.iter();
        if let Some(other) = names.find_map(|name| bad.get(name.as_str())) {
            return Err(wrong_state(
                format!("task {} waits for task {other}, which did not end well", task.id),
                format!(
                    "run that again too: task requeue {other}, or all of it: job requeue {}",
                    task.id.job
                ),
            ));
        }
    }
    Ok(())
}

fn notes(id: JobId, all: usize, stopped: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if all > stopped {
        notes.push(format!("job {id}: {} to run again", wait_verb(all - stopped)));
    }
    if stopped > 0 {
        let verb = if stopped == 1 { "is" } else { "are" };
        notes.push(format!(
            "job {id}: {} {verb} being stopped and then run again",
            counted(stopped, "task")
        ));
    }
    notes
}

fn wait_verb(count: usize) -> String {
    format!(
        "{} {}",
        counted(count, "task"),
        if count == 1 { "waits" } else { "wait" }
    )
}
