//! What a node is told after its hello: everything that is due for it, whatever was said before. Orders that a crash or a
//! broken connection swallowed are made again here.

use proto::control::{HeldAttempt, HeldState, Order};
use proto::ids::NodeId;
use proto::model::attempt::{Ahead, AttemptPhase, AttemptRow, Held};

use crate::action::{begin_order, errand_order, start_order, stop_order};
use crate::cluster::Cluster;

/// Orders for a node that said what it holds, after its [`crate::Input::NodeUp`] was decided and applied.
#[must_use]
pub fn resync(cluster: &Cluster, node: NodeId, held: &[HeldAttempt]) -> Vec<Order> {
    let wanted = |id| cluster.attempt(id).is_some_and(|attempt| is_held_by(attempt, node));
    let strays = held.iter().map(|held| held.attempt).filter(|id| !wanted(*id));
    let mut orders: Vec<Order> = strays.map(|attempt| Order::Release { attempt }).collect();
    for attempt in cluster.attempts_on(node) {
        let state = held
            .iter()
            .find(|held| held.attempt == attempt.id)
            .map(|held| &held.state);
        orders.extend(due(cluster, attempt, node, state));
    }
    orders.extend(errand_order(cluster, node));
    orders
}

fn is_held_by(attempt: &AttemptRow, node: NodeId) -> bool {
    attempt
        .shares
        .iter()
        .any(|share| share.node == node && share.held == Held::Yes)
}

fn is_alone(cluster: &Cluster, attempt: &AttemptRow) -> bool {
    let node = attempt.primary();
    attempt.ahead.is_some() || node.is_some_and(|node| cluster.windows().is_single(node, attempt.id))
}

/// What a node has to do about an attempt that it has a part in, given what it says of it.
fn due(cluster: &Cluster, attempt: &AttemptRow, node: NodeId, state: Option<&HeldState>) -> Option<Order> {
    let primary = attempt.primary() == Some(node);
    let release = Some(Order::Release { attempt: attempt.id });
    let start = || start_order(cluster, attempt, node).map(|order| Order::Start(Box::new(order)));
    match (attempt.phase, state) {
        (AttemptPhase::Releasing, _) => release,
        // The start was lost; nothing but the node itself may say so.
        (AttemptPhase::Granted, None) => start(),
        (AttemptPhase::Running { .. }, None) if !primary => start(),
        // It waits in the window there, and may not have heard what became of it.
        (AttemptPhase::Granted, Some(HeldState::Waiting)) if attempt.ahead == Some(Ahead::Recalled) => {
            Some(Order::Recall { attempt: attempt.id })
        }
        (AttemptPhase::Granted, Some(HeldState::Waiting)) if is_alone(cluster, attempt) => {
            (attempt.ahead.is_none()).then_some(Order::Advance { attempt: attempt.id })
        }
        // Its nodes may have coordinated while it was away.
        (AttemptPhase::Granted, Some(HeldState::Waiting)) if primary => {
            begin_order(cluster, attempt).map(|(_, order)| order)
        }
        // It ran, or was to be stopped, and is not there: the answer to a release ends it.
        (AttemptPhase::Running { .. } | AttemptPhase::Stopping { .. }, None) if primary => release,
        (AttemptPhase::Stopping { .. }, Some(HeldState::Waiting | HeldState::Running { .. })) if primary => {
            stop_order(cluster, attempt)
        }
        // Goes on, or its report is on the way.
        _ => None,
    }
}
