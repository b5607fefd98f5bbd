//! The administrator's switch of nodes, and node groups.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{AttemptId, GroupName, NodeName};
use proto::model::job::JobRow;
use proto::model::node::{AdminState, Deallocation, NodeErrand, NodeErrandKind, NodeRow};

use super::duty::{Purpose, drain, stop_tasks, stronger};
use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::input::Answer;
use crate::refusal::{busy, not_found, unknown, wrong_state};

/// The most node groups of a cluster.
pub(super) const MAX_GROUPS: usize = 1000;

/// The most pools of a cluster.
pub(super) const MAX_POOLS: usize = 1000;

pub(super) fn switch(
    ledger: &mut Ledger<'_>,
    names: &[NodeName],
    wanted: AdminState,
    option: Deallocation,
) -> Result<Answer, Refusal> {
    let rows = if names.is_empty() {
        all(ledger.cluster)?
    } else {
        named(ledger.cluster, names)?
    };
    let mut told = Told::default();
    let mut stopped = BTreeSet::new();
    for row in &rows {
        match wanted {
            AdminState::Online => switch_on(ledger, row, &mut told),
            AdminState::Draining | AdminState::Offline => switch_off(ledger, row, option, &mut stopped, &mut told),
        }
    }
    if told.already.len() == rows.len() {
        return Err(wrong_state(told.already.join("; "), "see 'node list'"));
    }
    told.already.append(&mut told.notes);
    Ok(Answer::Notes(told.already))
}

/// What a switch says of nodes.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    /// Of those that it changes nothing for.
    already: Vec<String>,
}

fn switch_on(ledger: &mut Ledger<'_>, row: &NodeRow, told: &mut Told) {
    let name = &row.name;
    match row.errand {
        Some(NodeErrand {
            kind: NodeErrandKind::Leave,
            ..
        }) => told
            .already
            .push(format!("node '{name}' is to leave pool '{}'", row.pool)),
        Some(NodeErrand { sent: true, .. }) => {
            told.already.push(format!("node '{name}' starts anew, and was told so"));
        }
        Some(_) => {
            ledger.set_errand(row, None, None);
            ledger.switch_node(row, AdminState::Online, Deallocation::default());
            told.notes.push(format!("node '{name}' does not start anew"));
        }
        None if row.admin == AdminState::Online => told.already.push(format!("node '{name}' is online already")),
        None => ledger.switch_node(row, AdminState::Online, Deallocation::default()),
    }
}

fn switch_off(
    ledger: &mut Ledger<'_>,
    row: &NodeRow,
    option: Deallocation,
    stopped: &mut BTreeSet<AttemptId>,
    told: &mut Told,
) {
    if row.errand.is_none() && (row.admin == AdminState::Online || is_stronger(row, option)) {
        let mut notes = drain(ledger, row, option, Purpose::Offline, stopped);
        return told.notes.append(&mut notes);
    }
    let (stops, _) = stop_tasks(ledger, row, option, Purpose::Offline, stopped);
    let offline_after = row.errand.filter(|errand| errand.admin != AdminState::Offline);
    if let Some(errand) = offline_after.filter(|errand| errand.kind != NodeErrandKind::Leave) {
        let after = NodeErrand {
            admin: AdminState::Offline,
            ..errand
        };
        ledger.set_errand(row, Some(after), None);
        told.notes
            .push(format!("node '{}' is offline when it has started anew", row.name));
    } else if stops.is_none() {
        told.already
            .push(format!("node '{}' is {} already", row.name, word(row.admin)));
    }
    told.notes.extend(stops);
}

/// Whether a node that drains is to do so faster.
fn is_stronger(row: &NodeRow, option: Deallocation) -> bool {
    row.admin == AdminState::Draining && stronger(row.drain, option) != row.drain
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
