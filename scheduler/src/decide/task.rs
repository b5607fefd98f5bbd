//! Requests about single tasks of one job. The id of an array means all its elements. One bad id refuses the whole request.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use proto::client::{MAX_TASKS, Refusal};
use proto::event::Event;
use proto::ids::TaskId;
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskRow, TaskState};

use super::cancel::{being_stopped, hurry, refuse_message};
use super::job::{Found, live_job};
use super::ledger::Ledger;
use crate::cluster::{Cluster, ElementPlace};
use crate::input::{Answer, StoredJob};
use crate::refusal::{counted, invalid, not_found, wrong_state};

/// Tasks that somebody named.
#[derive(Default)]
pub(super) struct Named<'a> {
    /// Each once, in the order of the names. The row of an array stands for its untouched elements, and is there only when
    /// it has some; so an untouched element that is named alone has no array beside it.
    pub(super) rows: Vec<Cow<'a, TaskRow>>,
    /// Elements that ended well and have no rows, by the name that they were given: how many.
    pub(super) finished: BTreeMap<TaskId, u32>,
}

impl<'a> Named<'a> {
    fn add(&mut self, found: &'a Found<'_>, id: TaskId) -> Result<(), Refusal> {
        let (rows, job) = (found.rows(), found.job.id);
        if let Some(state) = rows.task(id).and_then(|row| row.array.as_ref()) {
            let touched = rows.elements_of(id).map(Cow::Borrowed);
            self.rows.extend(touched);
            let rest = rows.task(id).filter(|_| rows.untouched_of(id) > 0);
            self.rows.extend(rest.map(Cow::Borrowed));
            if state.counts.finished > 0 {
                self.finished.insert(id, state.counts.finished);
            }
            return Ok(());
        }
        match rows.element_place(id) {
            ElementPlace::Row => self.rows.extend(rows.task(id).map(Cow::Borrowed)),
            ElementPlace::Untouched => self.rows.extend(rows.task_or_untouched(id)),
            ElementPlace::Packed(_) | ElementPlace::Stored => drop(self.finished.insert(id, 1)),
            ElementPlace::None => {
                // A store of an older release has a row for each step, and none for all of them.
                let before = self.rows.len();
                self.rows.extend(found.covered(id).map(Cow::Borrowed));
                if self.rows.len() == before {
                    return Err(not_found(
                        format!("there is no task {id}"),
                        format!("see 'job listtasks {job}'"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn only_once(&mut self, found: &Found<'_>) {
        let arrays = self.rows.iter().filter(|row| row.array.is_some());
        let arrays: BTreeSet<TaskId> = arrays.map(|row| row.id).collect();
        let mut seen = BTreeSet::new();
        self.rows.retain(|row| {
            let untouched = found.rows().element_place(row.id) == ElementPlace::Untouched;
            let with_array = untouched && arrays.contains(&TaskId { step: None, ..row.id });
            !with_array && seen.insert(row.id)
        });
        let whole: BTreeSet<TaskId> = self.finished.keys().copied().filter(|id| id.step.is_none()).collect();
        self.finished
            .retain(|id, _| id.step.is_none() || !whole.contains(&TaskId { step: None, ..*id }));
    }

    /// How many tasks a row stands for.
    pub(super) fn weight(found: &Found<'_>, row: &TaskRow) -> usize {
        match row.array {
            Some(_) => found.rows().untouched_of(row.id) as usize,
            None => 1,
        }
    }
}

/// The job of the tasks that are named.
pub(super) fn found<'a>(
    cluster: &'a Cluster,
    caller: &Caller,
    ids: &[TaskId],
    stored: Option<&'a StoredJob>,
) -> Result<Found<'a>, Refusal> {
    let Some(first) = ids.first() else {
        return Err(invalid("no task is named", "name one: JOB.TASK"));
    };
    if ids.len() > MAX_TASKS {
        return Err(invalid(
            format!("{} tasks are named, and {MAX_TASKS} are the most", ids.len()),
            "name fewer",
        ));
    }
    Found::new(cluster, caller, first.job, stored)
}

/// The tasks that are named, all of the one job.
pub(super) fn named<'a>(found: &'a Found<'_>, ids: &[TaskId]) -> Result<Named<'a>, Refusal> {
    let mut named = Named::default();
    // Each once, and no element beside its whole array: what a request costs is bounded by the job, not by its repeats.
    let all: BTreeSet<TaskId> = ids.iter().copied().collect();
    let in_whole = |id: &TaskId| id.step.is_some() && all.contains(&TaskId { step: None, ..*id });
    let mut seen = BTreeSet::new();
    for id in ids.iter().filter(|id| !in_whole(id) && seen.insert(**id)) {
        if id.job != found.job.id {
            let first = ids.first().unwrap_or(id);
            return Err(invalid(
                format!("task {id} is of another job than task {first}"),
                "name tasks of one job",
            ));
        }
        if id.number.is_per_node() {
            return Err(invalid(
                format!("task {id} is run by its job, not by anybody who asks"),
                format!("end the job, if that is meant: job cancel {}", id.job),
            ));
        }
        named.add(found, *id)?;
    }
    named.only_once(found);
    Ok(named)
}

/// The job of tasks, in memory and not over.
fn live<'a>(cluster: &'a Cluster, caller: &Caller, ids: &[TaskId]) -> Result<Found<'a>, Refusal> {
    if let Some(first) = ids.first() {
        live_job(cluster, caller, first.job)?;
    }
    found(cluster, caller, ids, None)
}

pub(super) fn cancel(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    ids: &[TaskId],
    force: bool,
    message: &str,
) -> Result<Answer, Refusal> {
    refuse_message(message)?;
    let found = live(ledger.cluster, caller, ids)?;
    let named = named(&found, ids)?;
    let (mut stopped, mut over) = (0, 0);
    over += named.finished.values().sum::<u32>() as usize;
    for task in &named.rows {
        if task.array.is_some() && !ledger.cluster.waits(task) {
            over += Named::weight(&found, task);
            continue;
        }
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
    let found = live(ledger.cluster, caller, ids)?;
    let named = named(&found, ids)?;
    if let Some(task) = named.rows.iter().find(|task| ledger.cluster.waits(task)) {
        return Err(wrong_state(
            format!("task {} does not run yet, so it cannot be finished", task.id),
            format!("cancel it: task cancel {}", task.id),
        ));
    }
    let (mut stopped, mut over) = (0, 0);
    over += named.finished.values().sum::<u32>() as usize;
    for task in &named.rows {
        match task.state {
            TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { again: true, .. } => {
                push_stop(ledger, task, TaskOutcome::Finished, false);
                stopped += 1;
            }
            _ => over += Named::weight(&found, task),
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
