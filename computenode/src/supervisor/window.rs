//! The window as the agent sees it: attempts that wait at the spawner for a slot, which get one there, by the head node's
//! word, or are given back.

use std::sync::Arc;

use proto::control::Report;
use proto::ids::AttemptId;
use proto::units::Timestamp;

use super::{Command, Outbox, Phase, Supervisor};
use crate::kept::Kept;

impl Supervisor {
    /// A slot is free for an attempt of the window.
    pub(super) fn advance(&mut self, attempt: AttemptId) -> Vec<Command> {
        let Some(held) = self
            .attempts
            .get_mut(&attempt)
            .filter(|held| held.phase == Phase::Ahead)
        else {
            return Vec::new();
        };
        let cores = self.cores.take(1);
        held.phase = Phase::Starting;
        held.kept = held.kept.take().map(|kept| with_slot(&kept, cores.clone()));
        vec![Command::Advance { attempt, cores }]
    }

    /// An attempt is wanted back. One that runs, or whose report is on its way, says so itself.
    pub(super) fn recall(&mut self, attempt: AttemptId) -> Vec<Command> {
        match self.attempts.get_mut(&attempt) {
            Some(held) if matches!(held.phase, Phase::Ahead | Phase::Recalled) => {
                held.phase = Phase::Recalled;
                vec![Command::Recall { attempt }]
            }
            Some(_) => Vec::new(),
            None => {
                self.outbox.waiting.push_back(Report::Returned { attempt });
                Vec::new()
            }
        }
    }

    /// The spawner forgot it, and never started it.
    pub(super) fn returned(&mut self, attempt: AttemptId) -> Vec<Command> {
        match self.attempts.get(&attempt).map(|held| held.phase) {
            Some(Phase::Ahead | Phase::Recalled | Phase::Starting) => {}
            _ => return Vec::new(),
        }
        let held = self.attempts.remove(&attempt);
        self.outbox.waiting.push_back(Report::Returned { attempt });
        let kept = held.and_then(|held| held.kept);
        if let Some(kept) = &kept {
            self.cores.free(&kept.core_ids);
        }
        let discard = kept.map(Command::Discard);
        [Command::Close { attempt }].into_iter().chain(discard).collect()
    }

    /// The slot of the attempt whose end was told last went to this one.
    pub(super) fn hand_over(&mut self, next: AttemptId) {
        if let Some(Report::Ended { then, .. }) = self.outbox.waiting.back_mut() {
            *then = Some(next);
        }
        let Some(held) = self.attempts.get_mut(&next) else {
            return;
        };
        if matches!(held.phase, Phase::Ahead | Phase::Recalled) {
            held.phase = Phase::Starting;
        }
        let Some(kept) = held.kept.take() else { return };
        // It may have been given cores by the head node's word just before.
        self.cores.free(&kept.core_ids);
        // Those of the one that ended, freed a moment ago.
        held.kept = Some(with_slot(&kept, self.cores.take(1)));
    }
}

fn with_slot(kept: &Kept, core_ids: Vec<u32>) -> Arc<Kept> {
    let mut order = kept.order.clone();
    order.ahead = false;
    Arc::new(Kept { order, core_ids })
}

impl Outbox {
    /// The start of an attempt that waited to be told, which it does no longer.
    pub(super) fn take_back_start(&mut self, attempt: AttemptId) -> Option<Timestamp> {
        let start = |report: &Report| matches!(report, Report::Started { attempt: of, .. } if *of == attempt);
        let place = self.waiting.iter().rposition(start)?;
        match self.waiting.remove(place)? {
            Report::Started { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether all that waits to be told may wait a moment: the head node has nothing to do about it.
    pub(super) fn may_wait(&self) -> bool {
        !self.waiting.is_empty()
            && self
                .waiting
                .iter()
                .all(|report| matches!(report, Report::Started { .. } | Report::Ended { then: Some(_), .. }))
    }
}
