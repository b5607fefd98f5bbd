//! Whether nodes answer, and what becomes of what they held.
//!
//! A silent node is suspected, later lost. Only then may its tasks be started elsewhere, because by then its fencing lease
//! has ended what may be. Sooner only on proof: a new life of its task keeper says that nothing of the old one is left.

use proto::client::Refusal;
use proto::control::{HeldState, Hello};
use proto::event::Event;
use proto::ids::{KeyHash, NodeId};
use proto::model::attempt::{AttemptPhase, AttemptRow};
use proto::model::node::{Inventory, Liveness, NodeRow};
use proto::model::task::{AttemptOutcome, TaskState};
use proto::units::Timestamp;

use super::attempt::{adopt, end_without};
use super::errand;
use super::ledger::Ledger;
use super::{restart, start_task};
use crate::action::Action;
use crate::cluster::Cluster;
use crate::refusal::{forbidden, invalid, not_found};

/// The most cores that a node may say it has; slots are counted in 32 bits over many nodes.
const MAX_CORES: u32 = 65_536;

/// The most bytes of each text that a node says of itself, and the most addresses: its row is kept, and told to all.
const MAX_TEXT_BYTES: usize = 1024;
const MAX_ADDRESSES: usize = 1024;

/// How much a node's clock may move against ours before a hello is worth telling for that alone.
const CLOCK_NOISE_MS: u64 = 1000;

pub(super) fn hello(ledger: &mut Ledger<'_>, node: NodeId, key: KeyHash, hello: &Hello) -> Result<(), Refusal> {
    let row = checked(ledger, node, key, hello)?;
    let clock_ahead_ms = hello.clock.map(|clock| ahead(clock, ledger.now.wall));
    let up = matches!(row.liveness, Liveness::Up { .. });
    let same = row.boot == Some(hello.boot)
        && row.inventory.as_ref() == Some(&hello.inventory)
        && row.peer == Some(hello.peer)
        && same_clock(row.clock_ahead_ms, clock_ahead_ms);
    if !(up && same) {
        ledger.push(Event::NodeUp {
            node,
            boot: hello.boot,
            inventory: Box::new(hello.inventory.clone()),
            peer: hello.peer,
            clock_ahead_ms,
            at: ledger.now.wall,
        });
    }
    let reborn = row.boot.is_some_and(|boot| boot != hello.boot);
    for attempt in ledger.cluster.attempts_on(node) {
        let held = hello
            .held
            .iter()
            .find(|held| held.attempt == attempt.id)
            .map(|held| &held.state);
        match (held, attempt.phase) {
            (Some(HeldState::Running { started_at }), AttemptPhase::Granted)
                if attempt.primary() == Some(node) && attempt.sent =>
            {
                adopt(ledger, attempt, *started_at);
            }
            // What it still knows goes on, or its report is on the way.
            (Some(_), _) => {}
            (None, AttemptPhase::Releasing) if reborn => ledger.release(attempt.id, node),
            (None, _) if reborn => lose(ledger, attempt, node, "was restarted"),
            // It never got the start, or forgot: `resync` asks again, and the answer decides.
            (None, _) => {}
        }
    }
    ledger.answers(node, true);
    if reborn {
        restart::reborn(ledger, row);
        errand::node_reborn(ledger, node);
    }
    start_task::at_hello(ledger, row, hello.boot);
    Ok(())
}

/// How far a node's clock is ahead of ours, in milliseconds.
fn ahead(clock: Timestamp, now: Timestamp) -> i64 {
    let distance = |a: Timestamp, b: Timestamp| i64::try_from(a.since(b).0).unwrap_or(i64::MAX);
    distance(clock, now).saturating_sub(distance(now, clock))
}

fn same_clock(before: Option<i64>, now: Option<i64>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => before.abs_diff(now) < CLOCK_NOISE_MS,
        (before, now) => before == now,
    }
}

/// The row of a node whose certificate is good. One of an older release has no key in its row, and is believed.
pub(super) fn certified<'a>(ledger: &Ledger<'a>, node: NodeId, key: KeyHash) -> Result<&'a NodeRow, Refusal> {
    let Some(row) = ledger.cluster.node(node) else {
        return Err(not_found(
            format!("node {node} is not part of this cluster, or was removed"),
            "remove its folder and let it join with a new token",
        ));
    };
    if row.key.is_some_and(|known| known != key) {
        return Err(forbidden(
            format!(
                "the certificate of node '{}' is void: a node of that name joined later with another key",
                row.name
            ),
            "if this is the right machine, remove its folder and let it join with a new token",
        ));
    }
    Ok(row)
}

/// The most countable resources of a node, and the most tags.
const MAX_LABELS: usize = 64;

fn is_bounded(inventory: &Inventory) -> bool {
    let texts = [
        &inventory.hostname,
        &inventory.os,
        &inventory.kernel,
        &inventory.arch,
        &inventory.version,
    ];
    texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES)
        && inventory.addresses.len() <= MAX_ADDRESSES
        && inventory.core_ids.len() <= MAX_CORES as usize
        && inventory.resources.len() <= MAX_LABELS
        && inventory.tags.len() <= MAX_LABELS
}

fn checked<'a>(ledger: &Ledger<'a>, node: NodeId, key: KeyHash, hello: &Hello) -> Result<&'a NodeRow, Refusal> {
    let row = certified(ledger, node, key)?;
    if row.name != hello.name {
        return Err(invalid(
            format!(
                "the certificate is that of node '{}', the node says that it is '{}'",
                row.name, hello.name
            ),
            format!(
                "start it with --name {}, or let it join anew in another folder",
                row.name
            ),
        ));
    }
    if !(1..=MAX_CORES).contains(&hello.inventory.cores) {
        return Err(invalid(
            format!("node '{}' says that it has {} cores", row.name, hello.inventory.cores),
            format!("start it with --cores between 1 and {MAX_CORES}"),
        ));
    }
    if !is_bounded(&hello.inventory) {
        return Err(invalid(
            format!("what node '{}' says of itself is too long to be kept", row.name),
            "update the node",
        ));
    }
    Ok(row)
}

/// An attempt ends because a node that it needs is gone with its part of it. A gang ends as a whole.
pub(super) fn lose(ledger: &mut Ledger<'_>, attempt: &AttemptRow, node: NodeId, reason: &str) {
    let primary = attempt.primary() == Some(node);
    match attempt.phase {
        AttemptPhase::Releasing => ledger.release(attempt.id, node),
        // The primary will say how it ended.
        AttemptPhase::Stopping { .. } if !primary => ledger.release(attempt.id, node),
        _ => end_without(
            ledger,
            attempt,
            node,
            AttemptOutcome::NodeLost {
                node,
                reason: reason.to_owned(),
            },
        ),
    }
}

/// Whether the attempt's task is to be tried again although the node was not told to end its part by itself: then silence
/// is not enough, and the part is held until the node comes back, starts anew or is removed.
fn needs_proof(cluster: &Cluster, attempt: &AttemptRow, node: NodeId) -> bool {
    let again = match cluster.task(attempt.task).map(|task| &task.state) {
        Some(TaskState::Queued) => attempt.phase == AttemptPhase::Releasing,
        // Without the primary's word the task is not tried again anyway.
        Some(TaskState::Stopping { again, .. }) => *again && attempt.primary() != Some(node),
        _ => false,
    };
    again && !attempt.rerunnable
}

pub(super) fn heard(ledger: &mut Ledger<'_>, node: NodeId) {
    match ledger.cluster.node(node).map(|row| row.liveness) {
        Some(Liveness::Suspect { .. }) => ledger.push(Event::NodeReturned {
            node,
            at: ledger.now.wall,
        }),
        // What it holds was given up; only a hello can say what is left of it.
        Some(Liveness::Lost { .. }) => {
            let reason = "the node was silent for too long and was given up; connect again".to_owned();
            ledger.act(Action::Disconnect { node, reason });
        }
        Some(Liveness::Joined | Liveness::Up { .. }) | None => {}
    }
}

pub(super) fn gone(ledger: &mut Ledger<'_>, node: NodeId) {
    if ledger
        .cluster
        .node(node)
        .is_some_and(|row| matches!(row.liveness, Liveness::Up { .. }))
    {
        ledger.push(Event::NodeSuspected {
            node,
            at: ledger.now.wall,
        });
    }
}

pub(super) fn tick(ledger: &mut Ledger<'_>) {
    let settings = *ledger.cluster.settings();
    for row in ledger.cluster.nodes() {
        let up = match row.liveness {
            Liveness::Up { .. } => true,
            Liveness::Suspect { .. } => false,
            Liveness::Joined | Liveness::Lost { .. } => continue,
        };
        let Some(silence) = ledger.cluster.silence(row.id, ledger.now.monotonic) else {
            continue;
        };
        let (node, at) = (row.id, ledger.now.wall);
        if silence >= settings.lost_after {
            ledger.push(Event::NodeLost { node, at });
            ledger.answers(node, false);
            let reason = format!("did not answer for {}", settings.lost_after);
            let cluster = ledger.cluster;
            for attempt in cluster
                .attempts_on(node)
                .filter(|attempt| !needs_proof(cluster, attempt, node))
            {
                lose(ledger, attempt, node, &reason);
            }
            errand::node_lost(ledger, node, &reason);
        } else if up && silence >= settings.suspect_after {
            ledger.push(Event::NodeSuspected { node, at });
        }
    }
}
