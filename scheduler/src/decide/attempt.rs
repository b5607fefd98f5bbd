//! What nodes report about attempts. An attempt is fenced by its number: what is said about one that is over, or by a node
//! that has no part in it, changes nothing.

use proto::control::{Order, Report};
use proto::event::Event;
use proto::ids::{AttemptId, BootId, NodeId};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held, Share};
use proto::model::task::AttemptOutcome;
use proto::units::Timestamp;

use super::ledger::Ledger;
use super::{restart, window};
use crate::action::{Action, begin_order};

/// The most bytes of a reason that a node gives; it is stored with the task.
const MAX_REASON_BYTES: usize = 2000;

pub(super) fn report(ledger: &mut Ledger<'_>, node: NodeId, boot: BootId, report: &Report) {
    if ledger.cluster.node(node).is_none_or(|row| row.boot != Some(boot)) {
        return; // From an earlier life of its task keeper; the hello of this one said what is left.
    }
    match report {
        Report::Started { attempt, at } => started(ledger, node, *attempt, *at),
        Report::Ended {
            attempt,
            outcome,
            at,
            started_at,
            then,
        } => {
            if held(ledger, node, *attempt).is_some_and(|attempt| attempt.ahead.is_some()) && started_at.is_some() {
                window::taken_over(ledger, node, None, *attempt);
            }
            ended(ledger, node, *attempt, (outcome, *started_at, *at));
            if let Some(next) = then {
                window::taken_over(ledger, node, Some(*attempt), *next);
            }
        }
        Report::Returned { attempt } => {
            if let Some(attempt) = held(ledger, node, *attempt) {
                window::returned(ledger, node, attempt);
            }
        }
        Report::Released { attempt } => released(ledger, node, *attempt),
        Report::Coordinated { attempt } => coordinated(ledger, node, *attempt),
        Report::ErrandRefused { reason } => restart::refused(ledger, node, reason),
        Report::Unknown => {}
    }
}

fn coordinated(ledger: &mut Ledger<'_>, node: NodeId, id: AttemptId) {
    let Some(attempt) = held(ledger, node, id).filter(|attempt| attempt.phase == AttemptPhase::Granted) else {
        return;
    };
    if attempt.coordinating.contains(&node) {
        ledger.push(Event::Coordinated { attempt: id, node });
    } else if let Some((node, order)) = begin_order(ledger.cluster, attempt) {
        // It was told to begin, and may have forgotten all of it since.
        ledger.act(Action::Order { node, order });
    }
}

fn started(ledger: &mut Ledger<'_>, node: NodeId, id: AttemptId, at: Timestamp) {
    match held(ledger, node, id) {
        Some(attempt) if attempt.primary() == Some(node) && attempt.phase == AttemptPhase::Granted => {
            if attempt.ahead.is_some() {
                window::taken_over(ledger, node, None, id);
            }
            adopt(ledger, attempt, at);
        }
        Some(_) => {}
        // Nobody wants it any more.
        None => ledger.act(Action::Order {
            node,
            order: Order::Release { attempt: id },
        }),
    }
}

/// The primary runs it.
pub(super) fn adopt(ledger: &mut Ledger<'_>, attempt: &AttemptRow, at: Timestamp) {
    // Nodes' clocks are their own: nothing starts before it was granted, or in the future.
    let at = at.max(attempt.granted_at).min(ledger.now.wall);
    ledger.push(Event::AttemptStarted {
        attempt: attempt.id,
        at,
    });
}

fn ended(
    ledger: &mut Ledger<'_>,
    node: NodeId,
    id: AttemptId,
    (outcome, started_at, at): (&AttemptOutcome, Option<Timestamp>, Timestamp),
) {
    let Some(attempt) = held(ledger, node, id) else { return };
    let primary = attempt.primary() == Some(node);
    if !primary {
        // Until all nodes have coordinated, one that cannot ends it for all of them. Later only the primary has a say.
        let stopping = matches!(attempt.phase, AttemptPhase::Stopping { .. });
        match attempt.coordinating.is_empty() {
            true => return,
            false if stopping => return ledger.release(id, node),
            false => {}
        }
    }
    let begun = match attempt.phase {
        AttemptPhase::Releasing => return ledger.release(id, node),
        AttemptPhase::Running { started_at }
        | AttemptPhase::Stopping {
            started_at: Some(started_at),
            ..
        } => started_at,
        AttemptPhase::Granted | AttemptPhase::Stopping { started_at: None, .. } => {
            started_at.unwrap_or_default().max(attempt.granted_at)
        }
    };
    let at = at.max(begun).min(ledger.now.wall);
    let outcome = told(ledger, node, outcome);
    // The end of a short task may overtake its start.
    let never_started = matches!(outcome, AttemptOutcome::NotStarted { .. });
    if primary && attempt.phase == AttemptPhase::Granted && !never_started {
        adopt(ledger, attempt, started_at.unwrap_or(at).min(at));
    }
    ledger.end_attempt(attempt, outcome, at, |gone| gone == node);
}

fn released(ledger: &mut Ledger<'_>, node: NodeId, id: AttemptId) {
    let Some(attempt) = held(ledger, node, id) else { return };
    let primary = attempt.primary() == Some(node);
    match attempt.phase {
        AttemptPhase::Releasing => ledger.release(id, node),
        AttemptPhase::Stopping { .. } if !primary => ledger.release(id, node),
        AttemptPhase::Stopping { .. } => end_without(ledger, attempt, node, AttemptOutcome::Stopped),
        AttemptPhase::Granted | AttemptPhase::Running { .. } => {
            let reason = "no longer knows of it".to_owned();
            end_without(ledger, attempt, node, AttemptOutcome::NodeLost { node, reason });
        }
    }
}

/// The attempt is over because nothing of it is left on one of its nodes.
pub(super) fn end_without(ledger: &mut Ledger<'_>, attempt: &AttemptRow, node: NodeId, outcome: AttemptOutcome) {
    let at = ledger.now.wall;
    ledger.end_attempt(attempt, outcome, at, |gone| gone == node);
}

/// The attempt, if the node still has a part in it.
fn held<'a>(ledger: &Ledger<'a>, node: NodeId, id: AttemptId) -> Option<&'a AttemptRow> {
    let attempt = ledger.cluster.attempt(id)?;
    // What was not sent is known to nobody.
    let holds = |share: &Share| share.node == node && share.held == Held::Yes;
    (attempt.sent && attempt.shares.iter().any(holds)).then_some(attempt)
}

/// A node's words, bounded and naming the node.
fn told(ledger: &Ledger<'_>, node: NodeId, outcome: &AttemptOutcome) -> AttemptOutcome {
    let mut outcome = outcome.clone();
    match &mut outcome {
        AttemptOutcome::NotStarted { reason } => {
            let name = ledger.name(node);
            if !reason.contains(&name) {
                *reason = format!("node {name}: {reason}");
            }
            shorten(reason);
        }
        AttemptOutcome::NodeLost { node: lost, reason } => {
            *lost = node;
            shorten(reason);
        }
        _ => {}
    }
    outcome
}

pub(super) fn shorten(reason: &mut String) {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES)
            .rev()
            .find(|end| reason.is_char_boundary(*end))
            .unwrap_or(0);
        reason.truncate(end);
    }
}
