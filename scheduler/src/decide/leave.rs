//! Nodes that an administrator takes out of the cluster. Their certificates are void at once, because their keys are known
//! no more; what they held counts as lost, on the administrator's word.

use proto::client::Refusal;
use proto::ids::{NodeId, NodeName, TaskId};
use proto::model::job::{JobKind, JobState};
use proto::model::node::NodeRow;
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskRow};

use super::admin::named;
use super::errand;
use super::ledger::Ledger;
use super::liveness::lose;
use super::{pool, start_task};
use crate::input::Answer;
use crate::refusal::{counted, invalid, wrong_state};

/// Follows the name of a node in what a task's end says.
const REASON: &str = "was removed by the administrator";

pub(super) fn remove(ledger: &mut Ledger<'_>, names: &[NodeName], force: bool) -> Result<Answer, Refusal> {
    if names.is_empty() {
        return Err(invalid("no node is named", "name those to remove; see 'node list'"));
    }
    let cluster = ledger.cluster;
    let rows = named(cluster, names)?;
    let held = |row: &&NodeRow| cluster.attempts_on(row.id).count();
    let busy: Vec<String> = rows
        .iter()
        .filter(|row| held(row) > 0)
        .map(|row| format!("node '{}' holds {}", row.name, counted(held(row), "task")))
        .collect();
    if !busy.is_empty() && !force {
        let names: Vec<&str> = rows
            .iter()
            .filter(|row| held(row) > 0)
            .map(|row| row.name.as_str())
            .collect();
        return Err(wrong_state(
            busy.join("; "),
            format!("drain it first: node drain {}, or --force", names.join(" ")),
        ));
    }
    let mut notes = Vec::new();
    for row in rows {
        let tasks = held(&row);
        for attempt in cluster.attempts_on(row.id) {
            lose(ledger, attempt, row.id, REASON);
        }
        if tasks > 0 {
            let (tasks, count) = (counted(tasks, "task"), if tasks == 1 { "counts" } else { "count" });
            notes.push(format!("node '{}' held {tasks}, which {count} as lost", row.name));
        }
        take_out(ledger, row);
        pool::shrink(ledger, &row.pool);
    }
    Ok(Answer::Notes(notes))
}

/// A node that holds nothing any more, after what is decided so far, is no longer part of the cluster.
pub(super) fn take_out(ledger: &mut Ledger<'_>, row: &NodeRow) {
    give_up_waiting(ledger, row.id);
    errand::node_removed(ledger, row.id, REASON);
    start_task::forget(ledger, row, REASON);
    ledger.remove_node(row);
}

/// Commands that are for this very node would wait for it for ever, in the queue or before it. Those of a job in
/// configuration are refused when it is submitted.
fn give_up_waiting(ledger: &mut Ledger<'_>, node: NodeId) {
    let cluster = ledger.cluster;
    let jobs = cluster.jobs().filter(|job| job.spec.kind == JobKind::Admin);
    let submitted = jobs.filter(|job| job.state != JobState::Configuring);
    let here = |task: &&TaskRow| task.spec.request == Request::Beside { node } && !task.state.is_ended();
    let tasks: Vec<TaskId> = submitted
        .flat_map(|job| cluster.tasks_of(job.id))
        .filter(here)
        .map(|task| task.id)
        .collect();
    for task in tasks {
        let cause = AttemptOutcome::NodeLost {
            node,
            reason: REASON.to_owned(),
        };
        if !ledger.is_over(task) {
            ledger.end_task(task, TaskOutcome::Failed { cause }, ledger.now.wall);
        }
    }
}
