//! The window at the keeper: attempts that wait for a slot here, so that the end of one process starts the next without a
//! word of the agent or the head node. Who got the slot is told with the end.

use std::collections::VecDeque;

use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;

use super::Keeper;
use crate::environment::CORES_VARIABLE;
use crate::spawner::attempt::Root;
use crate::spawner::clock::BootTime;
use crate::spawner::message::{FromSpawner, SpawnOrder};

impl Keeper {
    /// A slot with these cores is free: the first of the window gets it.
    pub(super) fn hand_over(&mut self, cores: Vec<u32>) -> Option<AttemptId> {
        if self.leaving || self.is_fenced(BootTime::now()) {
            return None;
        }
        let order = self.window.pop_front()?;
        let attempt = order.attempt;
        self.start_from_window(order, cores);
        Some(attempt)
    }

    /// The head node has a slot for it.
    pub(super) fn advance(&mut self, attempt: AttemptId, cores: Vec<u32>) {
        if let Some(order) = self.take_from_window(attempt) {
            self.start_from_window(order, cores);
        }
    }

    fn start_from_window(&mut self, mut order: SpawnOrder, cores: Vec<u32>) {
        let Some(held) = self.attempts.get_mut(&order.attempt) else {
            return;
        };
        held.root = Root::Starting;
        held.user = order.credentials.as_ref().map(|user| user.uid);
        if let Some((_, value)) = order.env.iter_mut().find(|(name, _)| name == CORES_VARIABLE) {
            *value = cores.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        }
        order.cores.clone_from(&cores);
        held.slot = Some(cores);
        self.queue.push_back(order);
    }

    /// The head node wants it back.
    pub(super) fn recall(&mut self, attempt: AttemptId) {
        let waits = self.attempts.get(&attempt).is_none_or(|held| {
            matches!(held.root, Root::Ahead | Root::Waiting) && held.ending.is_none() && !held.release
        });
        if waits {
            self.leave_window(attempt);
            self.attempts.remove(&attempt);
            self.tell(FromSpawner::Returned { attempt });
        }
    }

    /// It waits in the window no longer.
    pub(super) fn leave_window(&mut self, attempt: AttemptId) {
        drop(self.take_from_window(attempt));
    }

    fn take_from_window(&mut self, attempt: AttemptId) -> Option<SpawnOrder> {
        let at = self.window.iter().position(|order| order.attempt == attempt)?;
        self.window.remove(at)
    }

    /// What may be started elsewhere is not started here any more.
    pub(super) fn fence_window(&mut self, now: BootTime) {
        if !self.is_fenced(now) {
            return;
        }
        let rerunnable = |attempt| self.attempts.get(&attempt).is_none_or(|held| held.rerunnable);
        let all = std::mem::take(&mut self.window).into_iter();
        let (out, stay): (VecDeque<SpawnOrder>, _) = all.partition(|order| rerunnable(order.attempt));
        self.window = stay;
        for order in out {
            self.leave(order.attempt, None, AttemptOutcome::Fenced);
        }
    }
}
