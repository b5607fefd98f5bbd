//! What follows from the ends of tasks for other tasks of their jobs, and for the jobs: tasks that can never run are
//! canceled, a job that is to fail with its first failure does, and exit conditions disable or terminate their job. Decided
//! once, when everything else of a decision is known.

use proto::ids::TaskId;
use proto::model::job::JobOutcome;
use proto::model::task::TaskOutcome;

use super::cancel::stop;
use super::depend::{Dependents, awaits};
use super::ledger::{ExitAction, Ledger};
use super::lifecycle::{disable_by_rule, terminate_by_rule};
use crate::cluster::depends;

/// Azure Batch's `terminateReason` of a job that the exit of a task terminates.
const TASK_FAILED: &str = "TaskFailed";

pub(super) fn follow(ledger: &mut Ledger<'_>) {
    fail_fast(ledger);
    act_on_exits(ledger);
    let spoiled: Vec<TaskId> = ledger.spoiled().collect();
    cancel_dependents(ledger, spoiled);
    let again: Vec<TaskId> = ledger.again().collect();
    for task in again {
        if is_stuck(ledger, task) {
            ledger.end_task(task, TaskOutcome::Canceled, ledger.now.wall);
            cancel_dependents(ledger, vec![task]);
        }
    }
}

fn fail_fast(ledger: &mut Ledger<'_>) {
    for (id, reason) in ledger.failing() {
        stop(ledger, id, JobOutcome::Failed { reason }, &TaskOutcome::Canceled, false);
    }
}

/// After the first failure has ended its job: that is the harder wish.
fn act_on_exits(ledger: &mut Ledger<'_>) {
    for (id, action) in ledger.exit_actions() {
        match action {
            ExitAction::Terminate => terminate_by_rule(ledger, id, TASK_FAILED),
            ExitAction::Disable => disable_by_rule(ledger, id),
        }
    }
}

/// Ends the tasks that wait for those that did not end well, those that wait for them, and so on.
pub(super) fn cancel_dependents(ledger: &mut Ledger<'_>, mut spoiled: Vec<TaskId>) {
    let cluster = ledger.cluster;
    let mut dependents = Dependents::default();
    while let Some(task) = spoiled.pop() {
        let Some(job) = cluster.job(task.job) else { continue };
        if ledger.wishes(job).run_dependents_of_failed {
            continue;
        }
        let all = dependents.of(cluster, task).into_iter();
        // Of an array, its rest and the elements that wait again.
        for dependent in all.flat_map(|dependent| cluster.covered(dependent)) {
            if cluster.waits(dependent) && !ledger.is_over(dependent.id) {
                ledger.end_task(dependent.id, TaskOutcome::Canceled, ledger.now.wall);
                spoiled.push(dependent.id);
            }
        }
    }
}

/// Whether a task that waits again depends on one that did not end well, and so would wait for ever.
fn is_stuck(ledger: &Ledger<'_>, task: TaskId) -> bool {
    let cluster = ledger.cluster;
    let (Some(job), Some(row), Some(dependencies)) = (
        cluster.job(task.job),
        cluster.task(task),
        cluster.dependencies(task.job),
    ) else {
        return false;
    };
    let spoiled_here = || {
        let others = ledger.spoiled().filter(|other| other.job == task.job);
        others
            .filter_map(|other| Some((other, cluster.spec_of(other)?)))
            .any(|(other, spec)| awaits(&row.spec, other, spec))
    };
    depends(&row.spec)
        && !ledger.wishes(job).run_dependents_of_failed
        && (dependencies.broken(&row.spec).is_some() || spoiled_here())
}
