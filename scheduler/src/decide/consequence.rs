//! What follows from the ends of tasks for other tasks of their jobs: those that can never run are canceled, and a job that
//! is to fail with its first failure does. Decided once, when everything else of a decision is known.

use std::collections::BTreeSet;

use proto::ids::TaskId;
use proto::model::job::JobOutcome;
use proto::model::task::{TaskOutcome, TaskState};

use super::cancel::stop;
use super::ledger::Ledger;

pub(super) fn follow(ledger: &mut Ledger<'_>) {
    fail_fast(ledger);
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

/// Ends the tasks that wait for those that did not end well, those that wait for them, and so on. Each name is looked at
/// once, however many tasks have it.
pub(super) fn cancel_dependents(ledger: &mut Ledger<'_>, mut spoiled: Vec<TaskId>) {
    let cluster = ledger.cluster;
    let mut seen = BTreeSet::new();
    while let Some(task) = spoiled.pop() {
        let (Some(job), Some(row), Some(dependencies)) = (
            cluster.job(task.job),
            cluster.task(task),
            cluster.dependencies(task.job),
        ) else {
            continue;
        };
        let whatever = ledger.wishes(job).run_dependents_of_failed;
        if dependencies.is_empty() || whatever || !seen.insert((task.job, &row.spec.name)) {
            continue;
        }
        for dependent in dependencies.dependents(&row.spec.name) {
            let waits = cluster
                .task(dependent)
                .is_some_and(|row| row.state == TaskState::Queued);
            if waits && !ledger.is_over(dependent) {
                ledger.end_task(dependent, TaskOutcome::Canceled, ledger.now.wall);
                spoiled.push(dependent);
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
        let names = ledger.spoiled().filter(|other| other.job == task.job);
        names
            .filter_map(|other| cluster.task(other))
            .any(|other| row.spec.depends_on.contains(&other.spec.name))
    };
    !row.spec.depends_on.is_empty()
        && !ledger.wishes(job).run_dependents_of_failed
        && (dependencies.broken(&row.spec).is_some() || spoiled_here())
}
