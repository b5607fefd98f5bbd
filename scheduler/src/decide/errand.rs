//! Tasks that a job needs on its nodes beside the tasks of its user: preparation and release ([`proto::model::role`]).
//!
//! The placement pass makes a preparation together with the first grant of a job on a node. Attempts that have to wait for
//! it hold their slots and are not told to anybody: they are sent when all their nodes are prepared, and go back into the
//! queue when a preparation fails, which keeps the job off that node. A release is made when the end of a job is decided
//! and its own tasks are over; the job ends with the last of them. A node that is lost takes its errands with it.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::attempt::{AttemptPhase, AttemptRow};
use proto::model::job::{JobOutcome, JobRow, JobState};
use proto::model::node::Liveness;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskState};

use super::cancel::hurry;
use super::ledger::{Fate, Ledger};
use crate::cluster::{errand_id, node_of};

/// What became of an errand in a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It ended well.
    Good,
    /// It ended otherwise.
    Bad,
    /// It is no longer there.
    Forgotten,
}

/// Whether an errand is to be done or under way, also after what is decided here.
fn is_live(ledger: &Ledger<'_>, row: &TaskRow) -> bool {
    !row.state.is_ended() && ledger.errand_end(row.id).is_none()
}

fn errands(ledger: &Ledger<'_>, job: JobId, number: TaskNumber) -> Vec<TaskRow> {
    let rows = ledger.cluster.errands_of(job).filter(|row| row.id.number == number);
    rows.filter(|row| is_live(ledger, row)).cloned().collect()
}

fn is_prepared(ledger: &Ledger<'_>, job: JobId, node: NodeId) -> bool {
    match ledger.errand_end(errand_id(TaskNumber::PREPARATION, job, node)) {
        Some(end) => end == End::Good,
        None => ledger.cluster.is_prepared(job, node),
    }
}

/// Attempts of a job on a node that wait for its preparation and go on.
fn waiting<'a>(ledger: &Ledger<'a>, job: JobId, node: NodeId) -> Vec<&'a AttemptRow> {
    let of_job = ledger
        .cluster
        .attempts_on(node)
        .filter(|attempt| attempt.task.job == job);
    of_job
        .filter(|attempt| !attempt.sent && ledger.fate(attempt.id).is_none())
        .collect()
}

/// Where a preparation failed, what waits for it goes back into the queue. One that is to run again and that nobody needs
/// any more is forgotten.
pub(super) fn give_way(ledger: &mut Ledger<'_>) {
    for task in ledger.errands_that(End::Bad) {
        let (Some(node), Some(job)) = (node_of(task), ledger.cluster.job(task.job)) else {
            continue;
        };
        let waits = ledger
            .wishes(job)
            .preparation
            .as_ref()
            .is_some_and(|prep| prep.wait_for_success);
        if task.number != TaskNumber::PREPARATION || !waits {
            continue;
        }
        for attempt in waiting(ledger, task.job, node) {
            ledger.push(Event::AttemptStopping {
                attempt: attempt.id,
                outcome: TaskOutcome::Canceled,
                force: false,
                again: true,
            });
        }
    }
    let again: Vec<TaskId> = ledger
        .again()
        .filter(|task| task.number == TaskNumber::PREPARATION)
        .collect();
    for task in again {
        if !is_needed(ledger, task) && ledger.errand_end(task).is_none() {
            ledger.push(Event::ErrandForgotten { task });
        }
    }
}

/// Whether a task of the job is to run on the node of a preparation, or runs there.
fn is_needed(ledger: &Ledger<'_>, preparation: TaskId) -> bool {
    let Some(node) = node_of(preparation) else { return false };
    ledger.cluster.attempts_on(node).any(|attempt| {
        let goes_on = matches!(attempt.phase, AttemptPhase::Granted | AttemptPhase::Running { .. });
        let own = attempt.task.job == preparation.job && !attempt.task.number.is_per_node();
        own && goes_on && ledger.fate(attempt.id).is_none() && !ledger.is_stopped(attempt.id)
    })
}

/// Tells nodes of the attempts that waited until the last of their nodes was prepared.
pub(super) fn send(ledger: &mut Ledger<'_>) {
    let mut due: BTreeSet<AttemptId> = BTreeSet::new();
    for task in ledger.errands_that(End::Good) {
        let Some(node) = node_of(task).filter(|_| task.number == TaskNumber::PREPARATION) else {
            continue;
        };
        let ready = |attempt: &&AttemptRow| {
            let mut nodes = attempt.shares.iter().map(|share| share.node);
            nodes.all(|node| is_prepared(ledger, task.job, node))
        };
        let waiting = waiting(ledger, task.job, node);
        due.extend(waiting.into_iter().filter(ready).map(|attempt| attempt.id));
    }
    for attempt in due {
        ledger.push(Event::AttemptSent { attempt });
    }
}

/// The end of a job is decided: what prepares its nodes still has no use.
pub(super) fn stop_preparations(ledger: &mut Ledger<'_>, job: JobId) {
    for row in errands(ledger, job, TaskNumber::PREPARATION) {
        match row.state {
            TaskState::Queued => ledger.push(Event::ErrandForgotten { task: row.id }),
            TaskState::Granted { attempt, .. }
            | TaskState::Running { attempt, .. }
            | TaskState::Stopping {
                attempt, again: true, ..
            } => {
                if ledger.fate(attempt) == Some(Fate::Requeued) {
                    ledger.push(Event::ErrandForgotten { task: row.id });
                } else if !ledger.is_stopped(attempt) {
                    ledger.push(stop(attempt, false));
                }
            }
            TaskState::Stopping { again: false, .. } | TaskState::Ended { .. } => {}
        }
    }
}

const fn stop(attempt: AttemptId, force: bool) -> Event {
    Event::AttemptStopping {
        attempt,
        outcome: TaskOutcome::Canceled,
        force,
        again: false,
    }
}

/// All tasks of a job are over: makes the release tasks that are due. Returns whether the job has to wait for them, or for
/// the end of a preparation; then it is being ended with that outcome.
pub(super) fn wind_up(ledger: &mut Ledger<'_>, job: &JobRow, outcome: &JobOutcome) -> bool {
    if ledger.winding_up.contains(&job.id) {
        return true;
    }
    let due = releases_due(ledger, job);
    let held = ledger
        .cluster
        .errands_of(job.id)
        .any(|row| is_live(ledger, row) && is_under_way(ledger, row));
    let waits = held || due.iter().any(|(_, answers)| *answers);
    let known = matches!(&job.state, JobState::Canceling { outcome: known, .. } if known == outcome);
    if waits && !known {
        // Before the releases are there: they take their turn in a job that is being ended only.
        ledger.push(Event::JobStopping {
            job: job.id,
            outcome: outcome.clone(),
        });
    }
    stop_preparations(ledger, job.id);
    for (node, answers) in due {
        let task = errand_id(TaskNumber::RELEASE, job.id, node);
        ledger.push(Event::ErrandAdded { task });
        if !answers {
            let cause = lost(node, "was lost before");
            let (outcome, at) = (TaskOutcome::Failed { cause }, ledger.now.wall);
            ledger.push(Event::TaskEnded { task, outcome, at });
        }
    }
    if waits {
        ledger.winding_up.insert(job.id);
    }
    waits
}

/// A preparation that nobody has started is forgotten with its job, and holds nothing up.
fn is_under_way(ledger: &Ledger<'_>, row: &TaskRow) -> bool {
    let tried = row.state.attempt();
    row.id.number != TaskNumber::PREPARATION
        || tried.is_some_and(|attempt| ledger.fate(attempt) != Some(Fate::Requeued))
}

/// Nodes where the job's release task is to run now, and whether they can be expected to answer. One that is silent for a
/// moment is waited for: it comes back or is lost.
fn releases_due(ledger: &Ledger<'_>, job: &JobRow) -> Vec<(NodeId, bool)> {
    let wishes = ledger.wishes(job);
    if wishes.release.is_none() {
        return Vec::new();
    }
    let forgotten = |node: NodeId| {
        ledger
            .errand_end(errand_id(TaskNumber::RELEASE, job.id, node))
            .is_some()
    };
    let due = job
        .touched_nodes
        .iter()
        .copied()
        .filter(|node| !forgotten(*node) && (wishes.preparation.is_none() || is_prepared(ledger, job.id, *node)));
    // What leaves the cluster is not even kept as a failure.
    let due = due.filter(|node| !ledger.is_removed(*node));
    due.filter_map(|node| {
        let row = ledger.cluster.node(node)?;
        let answers = matches!(row.liveness, Liveness::Up { .. } | Liveness::Suspect { .. });
        Some((node, answers && !ledger.is_lost(node)))
    })
    .collect()
}

/// A job is ended by force: nothing is released, what prepares or releases its nodes is stopped without a grace period.
/// Returns how many tasks that are.
pub(super) fn skip(ledger: &mut Ledger<'_>, job: &JobRow) -> usize {
    for node in &job.touched_nodes {
        let task = errand_id(TaskNumber::RELEASE, job.id, *node);
        ledger.push(Event::ErrandForgotten { task });
    }
    let mut stopped = 0;
    let live = [TaskNumber::PREPARATION, TaskNumber::RELEASE].map(|number| errands(ledger, job.id, number));
    for row in live.into_iter().flatten() {
        match row.state {
            TaskState::Queued => ledger.push(Event::ErrandForgotten { task: row.id }),
            TaskState::Stopping {
                attempt,
                ref outcome,
                again: false,
                ..
            } => stopped += usize::from(hurry(ledger, attempt, outcome, true)),
            TaskState::Granted { attempt, .. }
            | TaskState::Running { attempt, .. }
            | TaskState::Stopping { attempt, .. } => {
                stopped += 1;
                ledger.push(stop(attempt, true));
            }
            TaskState::Ended { .. } => {}
        }
    }
    ledger.settle_job(job.id);
    stopped
}

/// A node was given up, after what it held has ended: what was not prepared yet is so no longer, whatever became of it a
/// moment before, and there is nothing to release.
pub(super) fn node_lost(ledger: &mut Ledger<'_>, node: NodeId, reason: &str) {
    for task in live_on(ledger, node, TaskNumber::RELEASE) {
        give_up(ledger, task, node, reason);
    }
    for task in live_on(ledger, node, TaskNumber::PREPARATION) {
        ledger.push(Event::ErrandForgotten { task });
    }
}

/// A node has a new life: it is to be prepared again, but where a job says that once is enough. What failed in the old
/// life may do better in this one.
pub(super) fn node_reborn(ledger: &mut Ledger<'_>, node: NodeId) {
    let old: Vec<TaskId> = ledger
        .cluster
        .errands_on(node)
        .filter(|row| row.id.number == TaskNumber::PREPARATION && !goes_on(ledger, row))
        .filter(|row| {
            let job = ledger.cluster.job(row.id.job);
            let prep = job.and_then(|job| job.spec.preparation.as_deref());
            let again = prep.is_none_or(|prep| prep.rerun_after_reboot);
            again || !is_prepared(ledger, row.id.job, node)
        })
        .map(|row| row.id)
        .collect();
    for task in old {
        ledger.push(Event::ErrandForgotten { task });
    }
}

/// A node leaves the cluster, and all that is known of its errands with it.
pub(super) fn node_removed(ledger: &mut Ledger<'_>, node: NodeId, reason: &str) {
    for task in live_on(ledger, node, TaskNumber::RELEASE) {
        give_up(ledger, task, node, reason);
    }
    let all: Vec<TaskId> = ledger.cluster.errands_on(node).map(|row| row.id).collect();
    for task in all {
        ledger.push(Event::ErrandForgotten { task });
    }
}

/// Errands on a node that were not over before, and of which nothing is under way there any more.
fn live_on(ledger: &Ledger<'_>, node: NodeId, number: TaskNumber) -> Vec<TaskId> {
    let here = ledger.cluster.errands_on(node).filter(|row| row.id.number == number);
    here.filter(|row| !row.state.is_ended() && !goes_on(ledger, row))
        .map(|row| row.id)
        .collect()
}

fn goes_on(ledger: &Ledger<'_>, row: &TaskRow) -> bool {
    let attempt = row.state.attempt();
    attempt.is_some_and(|attempt| ledger.fate(attempt).is_none())
}

fn give_up(ledger: &mut Ledger<'_>, task: TaskId, node: NodeId, reason: &str) {
    let cause = lost(node, reason);
    ledger.end_task(task, TaskOutcome::Failed { cause }, ledger.now.wall);
}

fn lost(node: NodeId, reason: &str) -> AttemptOutcome {
    AttemptOutcome::NodeLost {
        node,
        reason: reason.to_owned(),
    }
}
