//! Jumps of the wall clock: spans of time that are told by its moments, run-time limits and wall-clock bounds of jobs, last
//! as long as they should although it is set. What is known of them is forgotten at a restart, as the monotonic clock is.

use std::collections::BTreeSet;

use proto::ids::JobId;
use proto::units::{Now, Timestamp};

use super::jobs::limit_of;
use super::lifecycle::wall_of;
use super::{Cluster, Job, Jumped};

/// Smaller differences are how a clock is kept in step, and followed as they come, in milliseconds.
const LEAST_JUMP_MS: i64 = 2_000;

/// A moment so much later.
pub(super) fn moved(at: Timestamp, by: i64) -> Timestamp {
    Timestamp(at.0.saturating_add_signed(by))
}

impl Cluster {
    /// The wall clock may have gone another way than the monotonic one.
    pub(super) fn note_jump(&mut self, now: Now) {
        if self.clock == Now::default() {
            return;
        }
        let passed = i64::try_from(now.monotonic.since(self.clock.monotonic).0).unwrap_or(i64::MAX);
        let wall = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
        let jump = wall(now.wall)
            .saturating_sub(wall(self.clock.wall))
            .saturating_sub(passed);
        if jump.abs() >= LEAST_JUMP_MS {
            self.jumped = self.jumped.saturating_add(jump);
        }
    }

    /// Run-time limits of jobs as their rows alone tell them, to be compared with those of a restart.
    pub(super) fn plain_limits(&self) -> BTreeSet<(Timestamp, JobId)> {
        self.plain(&self.limits, |jumped| jumped.started)
    }

    /// The same of what counts from submission.
    pub(super) fn plain_walls(&self) -> BTreeSet<(Timestamp, JobId)> {
        self.plain(&self.walls, |jumped| jumped.submitted)
    }

    fn plain(
        &self,
        deadlines: &BTreeSet<(Timestamp, JobId)>,
        by: impl Fn(&Jumped) -> i64,
    ) -> BTreeSet<(Timestamp, JobId)> {
        let by = |id| self.jobs.get(id).map_or(0, |job| by(&job.jumped));
        deadlines.iter().map(|(at, id)| (moved(*at, by(id)), *id)).collect()
    }
}

impl Job {
    /// When it has run as long as it may, by a wall clock that never jumped.
    pub(super) fn limit(&self) -> Option<Timestamp> {
        limit_of(&self.row).map(|at| moved(at, self.jumped.started.saturating_neg()))
    }

    /// When it has lasted as long as it may, by the same.
    pub(super) fn wall(&self) -> Option<Timestamp> {
        wall_of(&self.row).map(|at| moved(at, self.jumped.submitted.saturating_neg()))
    }
}
