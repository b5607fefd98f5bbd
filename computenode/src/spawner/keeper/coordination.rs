//! The coordination command of an attempt: run once, before the attempt's own program, on every node that holds a share.
//!
//! Its good end is no end of the attempt, and what it left behind (a daemon, a mount helper) runs on; so nothing is
//! waited for then. Any other end is the end of the attempt here, with all that it left, and the record says of which
//! part it was.

use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;

use super::{Ended, Keeper};
use crate::spawner::attempt::{Coordination, Root};
use crate::spawner::clock::BootTime;
use crate::spawner::message::{FromSpawner, MAX_ATTEMPTS, SpawnOrder};

impl Keeper {
    /// An agent wants it to run. Repeats are left alone.
    pub(super) fn order_coordination(&mut self, order: SpawnOrder, fenced: bool) {
        let attempt = order.attempt;
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return self.end_unknown(
                attempt,
                format!("the node holds {MAX_ATTEMPTS} attempts and takes no more"),
            );
        };
        let is_new = matches!(held.root, Root::Waiting) && held.coordination == Coordination::None;
        if !is_new || held.release || held.ending.is_some() {
            return;
        }
        if fenced && held.rerunnable {
            return self.leave(attempt, None, AttemptOutcome::Fenced);
        }
        held.coordination = Coordination::Starting;
        held.user = order.credentials.as_ref().map(|user| user.uid);
        self.queue.push_back(order);
    }

    /// Its attempt was ended before it came to a start.
    pub(super) fn coordination_dropped(&mut self, attempt: AttemptId, outcome: AttemptOutcome) {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return;
        };
        held.coordination = Coordination::None;
        if held.release || !matches!(held.root, Root::Waiting) {
            self.finish_if_bare(attempt);
        } else {
            self.leave(attempt, None, outcome);
        }
    }

    /// It runs, or not.
    pub(super) fn coordination_started(&mut self, order: &SpawnOrder, result: Result<i32, String>) {
        let attempt = order.attempt;
        match result {
            Ok(pid) => {
                self.adopt(pid, order);
                if let Some(held) = self.attempts.get_mut(&attempt) {
                    let limit = order.runtime_limit.map(|limit| (limit, BootTime::now() + limit));
                    held.coordination = Coordination::Running { pid, limit };
                }
            }
            Err(reason) if self.is_wanted(attempt) => {
                self.leave(attempt, None, AttemptOutcome::NotStarted { reason });
                self.coordination_over(attempt);
            }
            Err(_) => self.coordination_dropped(attempt, AttemptOutcome::Stopped),
        }
    }

    /// It ended while the attempt's program waits.
    pub(super) fn coordination_exited(&mut self, attempt: AttemptId, pid: i32, ended: Ended) {
        let Some(held) = self.attempts.get_mut(&attempt) else {
            return;
        };
        if !matches!(held.coordination, Coordination::Running { pid: own, .. } if own == pid) {
            return self.finish_if_bare(attempt);
        }
        if held.release {
            held.coordination = Coordination::None;
            self.finish_if_bare(attempt);
        } else if held.ending.is_none() && ended == Ended::Exited(0) {
            held.coordination = Coordination::Done;
            self.tell(FromSpawner::Coordinated { attempt });
        } else {
            self.leave(attempt, None, ended.outcome());
            self.coordination_over(attempt);
        }
    }

    /// After its end is in the record; what it left is looked for like what a program left.
    fn coordination_over(&mut self, attempt: AttemptId) {
        if let Some(held) = self.attempts.get_mut(&attempt) {
            held.coordination = Coordination::None;
        }
        self.finish_if_bare(attempt);
    }
}
