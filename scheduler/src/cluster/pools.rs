//! Pools become state, and what nodes do for them: errands, and how long the files of tasks keep a node.

use proto::event::Event;
use proto::ids::{AttemptId, PoolName, TaskId};
use proto::model::node::{AdminState, Deallocation, Liveness, NodeRow};
use proto::model::pool::Allocation;
use proto::model::task::DEFAULT_RETENTION;
use proto::stored::RowKey;
use proto::units::{Monotonic, Now, Timestamp};

use super::Cluster;

/// The retention of a node is counted in whole minutes, rounded up: otherwise each end of a task would write the node's row.
const RETENTION_STEP_MS: u64 = 60_000;

impl Cluster {
    pub(super) fn apply_to_pool(&mut self, event: &Event) {
        match event {
            Event::PoolChanged { pool } => {
                self.pools.insert(pool.name.clone(), (**pool).clone());
                self.changes.mark(RowKey::Pool(pool.name.clone()));
            }
            Event::PoolRemoved { pool } => {
                self.pools.remove(pool);
                self.changes.mark(RowKey::Pool(pool.clone()));
            }
            Event::NodeStartChanged { node, start } => self.update_node(*node, |row| row.start = start.clone()),
            Event::NodeErrandChanged { node, errand, refused } => self.update_node(*node, |row| {
                row.errand = *errand;
                row.errand_refused = refused.clone();
            }),
            _ => {}
        }
    }

    /// The files of a try stay on its nodes for a while after its end.
    pub(super) fn retain(&mut self, attempt: AttemptId, at: Timestamp) {
        let Some(attempt) = self.attempts.get(&attempt) else {
            return;
        };
        let Some(until) = self.retention_end(attempt.task, at) else {
            return;
        };
        for share in &attempt.shares {
            if let Some(row) = self.nodes.get_mut(&share.node)
                && row.retained_until < Some(until)
            {
                row.retained_until = Some(until);
                self.changes.mark(RowKey::Node(share.node));
            }
        }
    }

    /// When the retention of a task's files is over that ends at a moment; none when the task is not in memory.
    pub(crate) fn retention_end(&self, task: TaskId, at: Timestamp) -> Option<Timestamp> {
        let retention = self.task(task)?.spec.retention.unwrap_or(DEFAULT_RETENTION);
        let until = (at + retention).0.div_ceil(RETENTION_STEP_MS);
        Some(Timestamp(until.saturating_mul(RETENTION_STEP_MS)))
    }

    /// Whether a moment of the wall clock has come, on either clock.
    pub(crate) fn has_come(&self, at: Timestamp, now: Now) -> bool {
        at <= now.wall || self.monotonic(at) <= now.monotonic
    }

    /// Moments at which a resize is over, or the files on a node need be kept no longer.
    pub(super) fn deadlines_of_pools(&self) -> impl Iterator<Item = Monotonic> {
        let resizes = self.pools.values().filter_map(|pool| match pool.allocation {
            Allocation::Resizing { until, .. } => Some(until),
            Allocation::Steady => None,
        });
        let waits = |row: &&NodeRow| waits_for_retention(row) && self.attempts_on(row.id).next().is_none();
        // What is past has been looked at; what a node was told to do is for it to end.
        let told = |row: &&NodeRow| row.errand.is_some_and(|errand| errand.sent);
        let retentions = self.nodes.values().filter(move |row| !told(row)).filter(waits);
        let retentions = retentions.filter_map(|row| row.retained_until);
        resizes.chain(retentions).map(|at| self.monotonic(at))
    }

    /// The nodes of a pool, by number.
    pub(crate) fn nodes_of(&self, pool: &PoolName) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values().filter(move |row| row.pool == *pool)
    }
}

/// Whether a node that holds nothing stays for the files on it. Of one that does not answer nobody can read them.
const fn waits_for_retention(row: &NodeRow) -> bool {
    matches!(
        (row.admin, row.drain, row.liveness),
        (
            AdminState::Draining,
            Deallocation::RetainedData,
            Liveness::Up { .. } | Liveness::Suspect { .. }
        )
    )
}
