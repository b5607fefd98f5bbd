//! Work that runs again because somebody said so: a job with all that did not end well, or single tasks. Counts no retry;
//! of failed tasks that are reactivated it begins to count anew.

use std::collections::BTreeSet;

use proto::client::{Refusal, RefusalCode};
use proto::event::Event;
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::job::JobState;
use proto::model::node::Liveness;
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskRow, TaskState};

use super::check::check_node;
use super::depend::{Bad, Dependents, Numbered, check_dependencies};
use super::job::{Found, live_job};
use super::ledger::Ledger;
use super::lifecycle::refuse_outlived;
use super::submit::{check_room, end_past_hold, one_of_each};
use super::task::{Named, found as found_by, named};
use crate::cluster::{Cluster, depends, errand_id};
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
    let tasks = found.tasks().filter(|task| runs_again(&found, task).is_some());
    let tasks: Vec<&TaskRow> = tasks.collect();
    let mut told = prepare_anew(ledger, id);
    let revived = found.revived(true, ledger.now.wall);
    // A job with a manager task that was never submitted has none yet, and gets it now.
    let begins = found.job.spec.manager.is_some() && found.tasks().next().is_none();
    let may_be_empty = found.job.spec.run_until_canceled || begins;
    if tasks.is_empty() && !(revived.is_some() && may_be_empty) {
        return if revived.is_some() {
            Err(wrong_state(
                format!("all tasks of job {id} have finished, so there is nothing to run again"),
                format!("make a new one like it: job clone {id}"),
            ))
        } else {
            if told.is_empty() {
                told.push(format!("all of job {id} waits or ended well already"));
            }
            Ok(Answer::Notes(told))
        };
    }
    check_can_start(ledger, &found, &tasks)?;
    let over = revived.is_some();
    ledger.push(revived.unwrap_or(Event::JobRequeued { job: id }));
    if over {
        end_past_hold(ledger, found.job);
    }
    let stopped = tasks.iter().filter(|task| push_again(ledger, &found, task)).count();
    told.extend(notes(id, weight(&found, &tasks), stopped));
    Ok(Answer::Notes(told))
}

/// Nodes that a live job stays away from, because its preparation task failed there, are tried once more. A job that comes
/// back prepares all of its nodes anew in any case.
fn prepare_anew(ledger: &mut Ledger<'_>, job: JobId) -> Vec<String> {
    let barred = ledger.cluster.barred(job);
    for node in &barred {
        let task = errand_id(TaskNumber::PREPARATION, job, *node);
        ledger.push(Event::ErrandForgotten { task });
    }
    match barred.len() {
        0 => Vec::new(),
        count => vec![format!(
            "job {job}: its preparation task runs again on {} where it failed",
            counted(count, "node")
        )],
    }
}

/// Tasks of one job run again, and nothing else of it.
pub(super) fn requeue_tasks(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    ids: &[TaskId],
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    let found = found_by(ledger.cluster, caller, ids, stored)?;
    let named = named(&found, ids)?;
    let id = found.job.id;
    found.may_go_on()?;
    let mut tasks = Vec::new();
    let mut waiting = 0;
    for task in &named.rows {
        match (&task.state, runs_again(&found, task)) {
            (_, Some(_)) => tasks.push(&**task),
            (TaskState::Queued | TaskState::Stopping { again: true, .. }, _) => waiting += Named::weight(&found, task),
            _ => return Err(has_finished(task.id)),
        }
    }
    // Of an array that is named as a whole, what ended well is left alone.
    let nothing = tasks.is_empty() && waiting == 0;
    if let Some(task) = named.finished.keys().find(|id| id.step.is_some() || nothing) {
        return Err(has_finished(*task));
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
    let stopped = tasks.iter().filter(|task| push_again(ledger, &found, task)).count();
    told.extend(notes(id, weight(&found, &tasks), stopped));
    Ok(Answer::Notes(told))
}

fn has_finished(task: TaskId) -> Refusal {
    wrong_state(
        format!("task {task} has finished, or is being finished"),
        "name tasks that run, failed or were canceled",
    )
}

/// How many tasks those rows stand for.
fn weight(found: &Found<'_>, rows: &[&TaskRow]) -> usize {
    rows.iter().map(|row| Named::weight(found, row)).sum()
}

enum How {
    /// It is over, and waits at once.
    Wait,
    /// It is under way, and is stopped before.
    Stop,
}

/// How a task runs again; none when it waits, is to run again already, or ended or is to end well. The row of an array says
/// it for its untouched elements.
fn runs_again(found: &Found<'_>, task: &TaskRow) -> Option<How> {
    if let Some(state) = &task.array {
        let canceled = state.rest_canceled_at.is_some() && found.rows().untouched_of(task.id) > 0;
        return canceled.then_some(How::Wait);
    }
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
fn push_again(ledger: &mut Ledger<'_>, found: &Found<'_>, task: &TaskRow) -> bool {
    match (runs_again(found, task), task.state.attempt()) {
        (Some(How::Stop), Some(attempt)) => {
            ledger.push(Event::AttemptStopping {
                attempt,
                outcome: TaskOutcome::Canceled,
                force: false,
                again: true,
            });
            true
        }
        (Some(How::Wait), _) if task.array.is_some() => {
            ledger.push(Event::ArrayRestRequeued { task: task.id });
            false
        }
        (Some(How::Wait), _) => {
            ledger.push(Event::TaskRequeued {
                task: task.id,
                asked: true,
                retry: false,
                afresh: false,
            });
            false
        }
        _ => false,
    }
}

/// A task whose node was given up without proof may run there still; only a node that was told to end it with its lease has
/// ended it. So it does not run again before its node is back, or an administrator says that it is gone.
/// What the primary node said about its end says nothing about the other nodes of a gang.
fn refuse_running_still(cluster: &Cluster, task: &TaskRow) -> Result<(), Refusal> {
    let TaskState::Ended { ended_at, .. } = task.state else {
        return Ok(());
    };
    let left_running = !cluster.may_rerun(task);
    let mut lost = task.last_nodes.iter().enumerate().filter_map(|(place, node)| {
        let row = cluster.node(*node)?;
        let is_other = place > 0 && left_running;
        matches!(row.liveness, Liveness::Lost { since } if since <= ended_at || is_other).then_some(row)
    });
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
    refuse_outlived(ledger, found.job)?;
    if !found.job.state.is_ended() {
        return Ok(());
    }
    check_room(ledger.cluster, found.tasks().count())?;
    let all: Vec<Numbered<'_>> = one_of_each(found.tasks())
        .map(|row| (row.id.number, &*row.spec))
        .collect();
    let again = tasks.iter().map(|row| (row.id.number, &*row.spec));
    check_dependencies(again, all.iter().copied())
}

/// A task that depends on one that did not end well, and is not run again with it, would wait for ever.
fn refuse_stuck(found: &Found<'_>, tasks: &[&TaskRow]) -> Result<(), Refusal> {
    let depend = tasks.iter().any(|task| depends(&task.spec));
    if found.job.spec.run_dependents_of_failed || !depend {
        return Ok(());
    }
    let with: BTreeSet<TaskId> = tasks.iter().map(|task| task.id).collect();
    let bad = Bad::of(found.bad().filter(|row| !with.contains(&row.id)));
    for task in tasks {
        if let Some(other) = bad.awaited_by(&task.spec) {
            return Err(wrong_state(
                format!("task {} waits for task {}, which did not end well", task.id, other.id),
                format!(
                    "run that again too: task requeue {}, or all of it: job requeue {}",
                    other.id, task.id.job
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
    counted_verb(count, "waits", "wait")
}

fn counted_verb(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", counted(count, "task"), if count == 1 { one } else { many })
}

/// Runs failed tasks of a live job again, with their retries counted afresh (Azure Batch's reactivate). What was canceled
/// because of them waits again too.
pub(super) fn reactivate(ledger: &mut Ledger<'_>, caller: &Caller, ids: &[TaskId]) -> Result<Answer, Refusal> {
    if let Some(first) = ids.first() {
        refuse_over(ledger.cluster, caller, *first)?;
    }
    let found = found_by(ledger.cluster, caller, ids, None)?;
    let named = named(&found, ids)?;
    // The row of an array stands for elements that nobody touched, and none of these failed.
    let rows: Vec<&TaskRow> = named
        .rows
        .iter()
        .map(|row| &**row)
        .filter(|row| row.array.is_none())
        .collect();
    if let Some(id) = named.finished.keys().find(|id| rows.is_empty() || id.step.is_some()) {
        return Err(wrong_state(
            format!("task {id} is Finished, and only failed tasks are reactivated"),
            "name tasks that failed",
        ));
    }
    found.may_go_on()?;
    let failed = |row: &&TaskRow| {
        matches!(
            row.state,
            TaskState::Ended {
                outcome: TaskOutcome::Failed { .. },
                ..
            }
        )
    };
    // The id of a sweep means those of its steps that failed.
    let mut others = rows.iter().filter(|row| !failed(row));
    let tasks: Vec<&TaskRow> = rows.iter().copied().filter(failed).collect();
    let named_itself = others.find(|row| tasks.is_empty() || ids.contains(&row.id));
    if let Some(row) = named_itself {
        let (id, word) = (row.id, row.state.word());
        return Err(wrong_state(
            format!("task {id} is {word}, and only failed tasks are reactivated"),
            format!("name tasks that failed; what runs or was canceled runs again with: task requeue {id}"),
        ));
    }
    refuse_stuck(&found, &tasks)?;
    let canceled = CanceledWith::of(ledger.cluster, &found, &tasks);
    let with = canceled.again.iter().filter_map(|task| ledger.cluster.task(*task));
    let all: Vec<&TaskRow> = tasks.iter().copied().chain(with).collect();
    check_can_start(ledger, &found, &all)?;
    for (task, afresh) in tasks
        .iter()
        .map(|row| (row.id, true))
        .chain(canceled.again.iter().map(|task| (*task, false)))
    {
        ledger.push(Event::TaskRequeued {
            task,
            asked: true,
            retry: false,
            afresh,
        });
    }
    let mut told = notes(found.job.id, tasks.len(), 0);
    told.extend(canceled.notes(found.job.id));
    Ok(Answer::Notes(told))
}

fn refuse_over(cluster: &Cluster, caller: &Caller, task: TaskId) -> Result<(), Refusal> {
    match live_job(cluster, caller, task.job) {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code == RefusalCode::WrongState => Err(wrong_state(
            format!("job {} is over, and only tasks of a live job are reactivated", task.job),
            format!("run the task and its job again: task requeue {task}"),
        )),
        Err(refusal) => Err(refusal),
    }
}

/// Tasks that were canceled because others, which run again, had not ended well.
///
/// Nothing stored says why a task was canceled. Taken for canceled with them is what depends on them, at any number of
/// steps, was not started, and was canceled when they had ended or later.
struct CanceledWith {
    again: BTreeSet<TaskId>,
    /// They depend on others too that did not end well, or were canceled before.
    stay: BTreeSet<TaskId>,
}

impl CanceledWith {
    fn of(cluster: &Cluster, found: &Found<'_>, tasks: &[&TaskRow]) -> Self {
        let ended = tasks.iter().filter_map(|row| match row.state {
            TaskState::Ended { ended_at, .. } => Some(ended_at),
            _ => None,
        });
        let Some(since) = ended.min().filter(|_| !found.job.spec.run_dependents_of_failed) else {
            return Self {
                again: BTreeSet::new(),
                stay: BTreeSet::new(),
            };
        };
        let roots: BTreeSet<TaskId> = tasks.iter().map(|row| row.id).collect();
        let mut all = roots.clone();
        let mut stay = BTreeSet::new();
        reach(cluster, roots.iter().copied().collect(), |row| match row.state {
            TaskState::Ended {
                started_at: None,
                ended_at,
                outcome: TaskOutcome::Canceled,
            } => match ended_at >= since {
                true => all.insert(row.id),
                false => {
                    stay.insert(row.id);
                    false
                }
            },
            _ => false,
        });
        let bad = Bad::of(found.bad().filter(|row| !all.contains(&row.id)));
        let stuck = |task: &TaskId| {
            cluster
                .task(*task)
                .is_some_and(|row| bad.awaited_by(&row.spec).is_some())
        };
        let stuck: BTreeSet<TaskId> = all.difference(&roots).copied().filter(stuck).collect();
        let mut again = all;
        again.retain(|task| !stuck.contains(task) && !roots.contains(task));
        stay.extend(&stuck);
        reach(cluster, stuck.into_iter().collect(), |row| {
            again.remove(&row.id) && stay.insert(row.id)
        });
        Self { again, stay }
    }

    fn notes(&self, id: JobId) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.again.is_empty() {
            let count = self.again.len();
            let were = if count == 1 { "was" } else { "were" };
            notes.push(format!(
                "job {id}: {} again that {were} canceled because of that",
                wait_verb(count)
            ));
        }
        if let Some(first) = self.stay.first() {
            notes.push(format!(
                "job {id}: {} canceled, the first is {first}: canceled before, or waiting for others too that did not end \
                 well; to run it: task requeue {first}",
                counted_verb(self.stay.len(), "stays", "stay")
            ));
        }
        notes
    }
}

/// Goes from tasks to those that depend on them, and on through those that are taken.
fn reach(cluster: &Cluster, mut from: Vec<TaskId>, mut take: impl FnMut(&TaskRow) -> bool) {
    let mut dependents = Dependents::default();
    while let Some(task) = from.pop() {
        for dependent in dependents.of(cluster, task) {
            if cluster.task(dependent).is_some_and(&mut take) {
                from.push(dependent);
            }
        }
    }
}
