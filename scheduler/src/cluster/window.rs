//! Windows: tasks that are granted to a node beyond its slots, so that the next one starts there without asking.
//!
//! A task that takes one slot of one node and nothing else is *single*. When a single one ends on a node, the node hands its
//! slot to the first single one of its window, and tells so with the end. The head node fills windows with what comes next in
//! the queue, as far as the measured time of the tasks says that it pays: tasks that last have none. What waits in a window
//! holds no slot, and is wanted back as soon as something before it in the queue, or a free slot elsewhere, says so.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{AttemptId, JobId, NodeId};
use proto::model::attempt::{Ahead, AttemptPhase, AttemptRow, Held};
use proto::model::task::TaskRow;

use super::{Cluster, Wares, coordination_of};

/// For how long the tasks of a full window keep one slot busy, in microseconds: many round trips and rounds, and little enough
/// that what was granted in vain is soon back.
const HORIZON_MICROS: u64 = 100_000;

/// The most tasks ahead per slot.
const MOST_PER_SLOT: u64 = 64;

/// A task takes no less time, in microseconds, as clocks are told in milliseconds.
const LEAST_MICROS: u64 = 500;

/// All windows.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    nodes: BTreeMap<NodeId, Window>,
    /// Nodes whose window is less than half full.
    hungry: BTreeSet<NodeId>,
    /// Nodes with something in their window.
    filled: BTreeSet<NodeId>,
    /// Single attempts that hold slots, on all nodes.
    singles: u64,
    /// What waits in windows, by job.
    jobs: BTreeMap<JobId, u32>,
}

#[derive(Debug, Default)]
struct Window {
    singles: BTreeSet<AttemptId>,
    ahead: BTreeMap<AttemptId, (JobId, Ahead)>,
    /// How long single tasks took here of late, in microseconds.
    pace: Option<u64>,
}

impl Window {
    /// How many should wait.
    fn wanted(&self) -> u64 {
        let each = self.pace.map_or(0, |pace| (HORIZON_MICROS / pace).min(MOST_PER_SLOT));
        each * self.singles.len() as u64
    }

    /// How many are missing.
    fn missing(&self) -> u64 {
        self.wanted().saturating_sub(self.ahead.len() as u64)
    }
}

impl Windows {
    /// A single attempt holds a slot.
    fn take_slot(&mut self, node: NodeId, attempt: AttemptId) {
        let window = self.nodes.entry(node).or_default();
        self.singles += u64::from(window.singles.insert(attempt));
        self.refresh(node);
    }

    fn wait(&mut self, node: NodeId, attempt: AttemptId, (job, ahead): (JobId, Ahead)) {
        let window = self.nodes.entry(node).or_default();
        if window.ahead.insert(attempt, (job, ahead)).is_none() {
            *self.jobs.entry(job).or_default() += 1;
        }
        self.refresh(node);
    }

    fn leave(&mut self, node: NodeId, attempt: AttemptId) {
        self.stop_waiting(node, attempt);
        if let Some(window) = self.nodes.get_mut(&node) {
            self.singles -= u64::from(window.singles.remove(&attempt));
            self.refresh(node);
        }
    }

    fn stop_waiting(&mut self, node: NodeId, attempt: AttemptId) {
        let Some(window) = self.nodes.get_mut(&node) else {
            return;
        };
        if let Some((job, _)) = window.ahead.remove(&attempt)
            && let Some(count) = self.jobs.get_mut(&job)
        {
            *count -= 1;
            if *count == 0 {
                self.jobs.remove(&job);
            }
        }
        self.refresh(node);
    }

    fn refresh(&mut self, node: NodeId) {
        let Some(window) = self.nodes.get(&node) else { return };
        let (wanted, there) = (window.wanted(), window.ahead.len() as u64);
        set(&mut self.hungry, node, there * 2 < wanted);
        set(&mut self.filled, node, there > 0);
    }

    /// A single task ended on a node after so many milliseconds.
    fn note(&mut self, node: NodeId, millis: u64) {
        let Some(window) = self.nodes.get_mut(&node) else {
            return;
        };
        let took = millis.saturating_mul(1000).max(LEAST_MICROS);
        window.pace = Some(match window.pace {
            None => took,
            Some(before) => (before * 7).saturating_add(took) / 8,
        });
        self.refresh(node);
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(window) = self.nodes.get(&node) {
            let all: Vec<AttemptId> = window.ahead.keys().chain(&window.singles).copied().collect();
            for attempt in all {
                self.leave(node, attempt);
            }
        }
        self.nodes.remove(&node);
        self.hungry.remove(&node);
    }

    /// Nodes whose window is less than half full, with how many it should get and how many slots single attempts hold.
    pub(crate) fn hungry(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        let windows = self
            .hungry
            .iter()
            .filter_map(|node| Some((*node, self.nodes.get(node)?)));
        windows.map(|(node, window)| (node, window.missing(), window.singles.len() as u64))
    }

    /// Single attempts that hold slots, on all nodes.
    pub(crate) const fn singles(&self) -> u64 {
        self.singles
    }

    /// Nodes with something in their window.
    pub(crate) fn filled(&self) -> impl Iterator<Item = NodeId> {
        self.filled.iter().copied()
    }

    /// Jobs of which something waits in windows.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    /// What waits on a node and is not wanted back, first what is to start first, with its job.
    pub(crate) fn waiting(&self, node: NodeId) -> impl DoubleEndedIterator<Item = (AttemptId, JobId)> {
        let window = self.nodes.get(&node).into_iter().flat_map(|window| &window.ahead);
        window
            .filter(|(_, (_, ahead))| *ahead == Ahead::Waits)
            .map(|(attempt, (job, _))| (*attempt, *job))
    }

    /// Whether a single attempt holds a slot of the node.
    pub(crate) fn is_single(&self, node: NodeId, attempt: AttemptId) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|window| window.singles.contains(&attempt))
    }
}

fn set(nodes: &mut BTreeSet<NodeId>, node: NodeId, is: bool) {
    if is {
        nodes.insert(node);
    } else {
        nodes.remove(&node);
    }
}

/// Whether an attempt takes one slot of one node and nothing else.
pub(crate) fn is_single(attempt: &AttemptRow, job_alone: bool, task: &TaskRow) -> bool {
    let one = matches!(attempt.shares.as_slice(), [share] if share.slots == 1);
    let spec = &task.spec;
    one && !job_alone
        && !spec.exclusive
        && !attempt.task.number.is_per_node()
        && spec.interactive.is_none()
        && coordination_of(spec, 1).is_none()
        && Wares::of(spec).is_none()
}

impl Cluster {
    pub(crate) const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// An attempt came into memory, or holds or waits for something else now.
    pub(super) fn enter_window(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| self.is_single(attempt)) else {
            return;
        };
        let Some(share) = attempt.shares.first().filter(|share| share.held == Held::Yes) else {
            return;
        };
        let (node, job) = (share.node, attempt.task.job);
        match (attempt.ahead, attempt.phase) {
            (Some(ahead), AttemptPhase::Granted) => self.windows.wait(node, id, (job, ahead)),
            (Some(_), _) => self.windows.stop_waiting(node, id),
            (None, _) => {
                self.windows.stop_waiting(node, id);
                self.windows.take_slot(node, id);
            }
        }
    }

    /// A node has let an attempt go.
    pub(super) fn leave_window(&mut self, node: NodeId, attempt: AttemptId) {
        self.windows.leave(node, attempt);
    }

    /// An attempt ended after so many milliseconds on its node.
    pub(super) fn note_pace(&mut self, id: AttemptId, millis: u64) {
        // Its node may have let it go just before.
        let attempt = self.attempts.get(&id).filter(|attempt| self.is_single(attempt));
        if let Some(node) = attempt.and_then(AttemptRow::primary) {
            self.windows.note(node, millis);
        }
    }

    fn is_single(&self, attempt: &AttemptRow) -> bool {
        let job_alone = self.job(attempt.task.job).is_none_or(|job| job.spec.exclusive);
        let task = self.row_with_spec(attempt.task);
        task.is_some_and(|task| is_single(attempt, job_alone, task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_deep_as_short_tasks_are_and_refilled_at_half() {
        let (mut windows, node) = (Windows::default(), NodeId(1));
        let hungry = |windows: &Windows| windows.hungry().map(|(_, missing, _)| missing).collect::<Vec<_>>();
        windows.take_slot(node, AttemptId(1));
        windows.take_slot(node, AttemptId(2));
        assert!(hungry(&windows).is_empty(), "nobody knows how long tasks take");
        windows.note(node, 10);
        assert_eq!(hungry(&windows), [20]);
        for attempt in 3..13 {
            windows.wait(node, AttemptId(attempt), (JobId(1), Ahead::Waits));
        }
        assert!(hungry(&windows).is_empty(), "it is half full");
        windows.stop_waiting(node, AttemptId(3));
        assert_eq!(hungry(&windows), [11]);
        assert_eq!(windows.waiting(node).next(), Some((AttemptId(4), JobId(1))));
        windows.note(node, 60_000);
        assert!(hungry(&windows).is_empty(), "a long task shortens it");
        windows.forget(node);
        assert_eq!(
            (windows.singles(), windows.jobs().count(), windows.filled().count()),
            (0, 0, 0)
        );
    }
}
