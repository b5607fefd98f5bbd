//! The administrator's switch of nodes, and node groups.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{AttemptId, GroupName, NodeId, NodeName};
use proto::model::attempt::AttemptPhase;
use proto::model::job::JobRow;
use proto::model::node::{AdminState, NodeRow};
use proto::model::task::{Request, TaskOutcome};

use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::input::Answer;
use crate::refusal::{busy, counted, not_found, unknown, wrong_state};

/// The most node groups of a cluster.
pub(super) const MAX_GROUPS: usize = 1000;

/// The most pools of a cluster.
pub(super) const MAX_POOLS: usize = 1000;

pub(super) fn switch(
    ledger: &mut Ledger<'_>,
    names: &[NodeName],
    wanted: AdminState,
    requeue: bool,
) -> Result<Answer, Refusal> {
    let requeue = requeue && wanted != AdminState::Online;
    let rows = if names.is_empty() {
        all(ledger.cluster)?
    } else {
        named(ledger.cluster, names)?
    };
    let (mut notes, mut already) = (Vec::new(), Vec::new());
    let mut stopped = BTreeSet::new();
    for row in &rows {
        let back = if requeue {
            put_back(ledger, row.id, &mut stopped)
        } else {
            0
        };
        if back > 0 {
            let (tasks, go) = (counted(back, "task"), if back == 1 { "goes" } else { "go" });
            notes.push(format!("node '{}': {tasks} {go} back into the queue", row.name));
        }
        if is_on_the_way(row.admin, wanted) {
            if back == 0 {
                already.push(format!("node '{}' is {} already", row.name, word(row.admin)));
            }
            continue;
        }
        let tasks = ledger.cluster.attempts_on(row.id).count();
        let admin = match wanted {
            AdminState::Online => AdminState::Online,
            AdminState::Draining | AdminState::Offline if tasks > 0 => AdminState::Draining,
            AdminState::Draining | AdminState::Offline => AdminState::Offline,
        };
        if admin == AdminState::Draining && tasks > back {
            let tasks = counted(tasks - back, "task");
            notes.push(format!(
                "node '{}' finishes {tasks} and is offline then; it gets no new ones",
                row.name
            ));
        }
        ledger.push(Event::NodeSwitched { node: row.id, admin });
    }
    if already.len() == rows.len() {
        return Err(wrong_state(already.join("; "), "see 'node list'"));
    }
    already.append(&mut notes);
    Ok(Answer::Notes(already))
}

/// Stops what runs on a node and may run again, to wait in the queue; returns how many tasks that are. What somebody
/// started on this very node stays: it could run nowhere else.
fn put_back(ledger: &mut Ledger<'_>, node: NodeId, stopped: &mut BTreeSet<AttemptId>) -> usize {
    let cluster = ledger.cluster;
    let mut back = 0;
    for attempt in cluster.attempts_on(node) {
        let runs = matches!(attempt.phase, AttemptPhase::Granted | AttemptPhase::Running { .. });
        let movable = cluster
            .task(attempt.task)
            .is_some_and(|task| task.spec.rerunnable && !matches!(task.spec.request, Request::Beside { .. }));
        if !(runs && movable) {
            continue;
        }
        back += 1;
        if stopped.insert(attempt.id) {
            ledger.push(Event::AttemptStopping {
                attempt: attempt.id,
                outcome: TaskOutcome::Canceled,
                force: false,
                again: true,
            });
        }
    }
    back
}

/// Whether the node is, or is on its way, where it is wanted.
const fn is_on_the_way(admin: AdminState, wanted: AdminState) -> bool {
    match (admin, wanted) {
        (AdminState::Online, AdminState::Online) => true,
        (AdminState::Online, _) | (_, AdminState::Online) => false,
        (AdminState::Offline | AdminState::Draining, AdminState::Offline | AdminState::Draining) => true,
    }
}

const fn word(admin: AdminState) -> &'static str {
    match admin {
        AdminState::Online => "online",
        AdminState::Draining => "draining",
        AdminState::Offline => "offline",
    }
}

fn all(cluster: &Cluster) -> Result<Vec<&NodeRow>, Refusal> {
    let rows: Vec<&NodeRow> = cluster.nodes().collect();
    if rows.is_empty() {
        return Err(not_found(
            "there are no nodes yet",
            "let one join: 'muster node join-command' prints the line to paste on a host",
        ));
    }
    Ok(rows)
}

/// The rows of named nodes, each once.
pub(super) fn named<'a>(cluster: &'a Cluster, names: &[NodeName]) -> Result<Vec<&'a NodeRow>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for name in names {
        let row = cluster.node_by_name(name).ok_or_else(|| unknown_node(cluster, name))?;
        if seen.insert(row.id) {
            rows.push(row);
        }
    }
    Ok(rows)
}

pub(super) fn unknown_node(cluster: &Cluster, name: &NodeName) -> Refusal {
    unknown(
        "node",
        name.as_str(),
        cluster.nodes().map(|row| row.name.as_str()),
        "see 'node list'",
    )
}

pub(super) fn unknown_group(cluster: &Cluster, name: &GroupName) -> Refusal {
    unknown(
        "node group",
        name.as_str(),
        cluster.groups().map(|row| row.name.as_str()),
        "see 'nodegroup list'",
    )
}

pub(super) fn add_missing_groups(ledger: &mut Ledger<'_>, groups: &[GroupName]) {
    let missing: BTreeSet<&GroupName> = groups
        .iter()
        .filter(|group| ledger.cluster.group(group).is_none())
        .collect();
    for group in missing {
        ledger.push(Event::GroupAdded {
            group: group.clone(),
            at: ledger.now.wall,
        });
    }
}

pub(super) fn add_to_group(ledger: &mut Ledger<'_>, group: &GroupName, names: &[NodeName]) -> Result<Answer, Refusal> {
    let rows = named(ledger.cluster, names)?;
    let new = ledger.cluster.group(group).is_none();
    if new && ledger.cluster.groups().count() >= MAX_GROUPS {
        return Err(busy(
            format!("there are {MAX_GROUPS} node groups already"),
            "remove one with 'nodegroup remove'",
        ));
    }
    let (inside, outside): (Vec<&NodeRow>, Vec<&NodeRow>) =
        rows.into_iter().partition(|row| row.groups.contains(group));
    let notes: Vec<String> = inside
        .iter()
        .map(|row| format!("node '{}' is in node group '{group}' already", row.name))
        .collect();
    if !new && outside.is_empty() {
        let what = if notes.is_empty() {
            format!("there is a node group '{group}' already")
        } else {
            notes.join("; ")
        };
        return Err(wrong_state(what, "see 'nodegroup list'"));
    }
    add_missing_groups(ledger, std::slice::from_ref(group));
    for row in outside {
        ledger.push(Event::GroupJoined {
            group: group.clone(),
            node: row.id,
        });
    }
    Ok(Answer::Notes(notes))
}

pub(super) fn remove_from_group(
    ledger: &mut Ledger<'_>,
    group: &GroupName,
    names: &[NodeName],
) -> Result<Answer, Refusal> {
    if ledger.cluster.group(group).is_none() {
        return Err(unknown_group(ledger.cluster, group));
    }
    if names.is_empty() {
        ledger.push(Event::GroupRemoved { group: group.clone() });
        return Ok(Answer::Notes(waiting_for(ledger.cluster, group)));
    }
    let rows = named(ledger.cluster, names)?;
    let (inside, outside): (Vec<&NodeRow>, Vec<&NodeRow>) =
        rows.into_iter().partition(|row| row.groups.contains(group));
    let notes: Vec<String> = outside
        .iter()
        .map(|row| format!("node '{}' is not in node group '{group}'", row.name))
        .collect();
    if inside.is_empty() {
        return Err(wrong_state(notes.join("; "), "see 'nodegroup list'"));
    }
    for row in inside {
        ledger.push(Event::GroupLeft {
            group: group.clone(),
            node: row.id,
        });
    }
    Ok(Answer::Notes(notes))
}

/// Says that jobs ask for a group that is taken away; they wait until there is one of that name again.
fn waiting_for(cluster: &Cluster, group: &GroupName) -> Vec<String> {
    let asking = |job: &&JobRow| job.counts.queued > 0 && job.spec.node_groups.contains(group);
    match cluster.jobs().filter(asking).count() {
        0 => Vec::new(),
        1 => vec![format!(
            "1 job still asks for node group '{group}' and waits until it is there again"
        )],
        jobs => vec![format!(
            "{jobs} jobs still ask for node group '{group}' and wait until it is there again"
        )],
    }
}
