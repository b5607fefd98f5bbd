//! What nodes say about their windows, and slots that are handed over within one.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{AttemptId, NodeId};
use proto::model::attempt::{AttemptPhase, AttemptRow};
use proto::model::task::AttemptOutcome;

use super::ledger::Ledger;
use crate::cluster::hindrance;

/// Slots that change hands in one decision.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    /// Attempts of windows that got a slot here.
    advanced: BTreeSet<AttemptId>,
    /// Attempts whose slot went to another one, by the word of their node.
    succeeded: BTreeSet<AttemptId>,
}

impl Handovers {
    pub(super) const fn new() -> Self {
        Self {
            advanced: BTreeSet::new(),
            succeeded: BTreeSet::new(),
        }
    }
}

/// The node started an attempt of its window, in the place of another one that ended, or of none.
pub(super) fn taken_over(ledger: &mut Ledger<'_>, node: NodeId, from: Option<AttemptId>, to: AttemptId) {
    let Some(attempt) = ledger.cluster.attempt(to).filter(|row| row.primary() == Some(node)) else {
        return;
    };
    // One that we gave a slot meanwhile leaves that of the other free.
    if attempt.ahead.is_some() && ledger.handovers.advanced.insert(to) {
        ledger.handovers.succeeded.extend(from);
        let at = ledger.now.wall;
        let (attempt, by_node) = (to, true);
        ledger.push(Event::Advanced { attempt, by_node, at });
    }
}

/// An attempt was not started and is back: its task waits as if it had never been granted.
pub(super) fn returned(ledger: &mut Ledger<'_>, node: NodeId, attempt: &AttemptRow) {
    match attempt.phase {
        // It took a slot over meanwhile in our eyes, and is not there: what the node says counts.
        AttemptPhase::Granted => ledger.give_back(attempt, node),
        AttemptPhase::Stopping { started_at: None, .. } => {
            let at = ledger.now.wall;
            ledger.end_attempt(attempt, AttemptOutcome::Stopped, at, |gone| gone == node);
        }
        AttemptPhase::Releasing => ledger.release(attempt.id, node),
        AttemptPhase::Running { .. } | AttemptPhase::Stopping { .. } => {}
    }
}

/// Slots that single attempts gave up without a word of their node who got them go to the windows of these nodes.
pub(super) fn follow(ledger: &mut Ledger<'_>) {
    for (node, freed) in ledger.freed_slots() {
        let ready = ledger.cluster.node(node).is_some_and(|row| hindrance(row).is_none());
        if !ready || ledger.is_lost(node) || ledger.is_removed(node) {
            continue;
        }
        let free = |ledger: &Ledger<'_>, id: &AttemptId| {
            ledger.fate(*id).is_none() && !ledger.is_stopped(*id) && !ledger.handovers.advanced.contains(id)
        };
        let waiting = ledger.cluster.windows().waiting(node).map(|(attempt, _)| attempt);
        let next: Vec<AttemptId> = waiting.filter(|id| free(ledger, id)).take(freed).collect();
        for attempt in next {
            ledger.handovers.advanced.insert(attempt);
            let (at, by_node) = (ledger.now.wall, false);
            ledger.push(Event::Advanced { attempt, by_node, at });
        }
    }
}

impl Ledger<'_> {
    /// How many slots single attempts gave up here that nobody took over, by node.
    fn freed_slots(&self) -> Vec<(NodeId, usize)> {
        let windows = self.cluster.windows();
        let filled = self.releasing().into_iter();
        let filled = filled.filter(|node| windows.waiting(*node).next().is_some());
        let freed = |node: NodeId| {
            let free = |id: &&AttemptId| windows.is_single(node, **id) && !self.handovers.succeeded.contains(*id);
            self.released_from(node).filter(free).count()
        };
        filled
            .map(|node| (node, freed(node)))
            .filter(|(_, freed)| *freed > 0)
            .collect()
    }
}
