//! Starting at the keeper: from the queue through the clone to a running process, and the ends of what hangs on that way.
//!
//! An order leaves the queue for a starter, or without one when its attempt was ended meanwhile. From clone to exec it
//! is a flight, which has an end too: the child may hang at a file server, as the user, before it is its program.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;
use proto::units::Millis;

use super::{Child, Keeper, earliest};
use crate::spawner::attempt::Root;
use crate::spawner::clock::{BootTime, wall_clock};
use crate::spawner::message::{FromSpawner, Role, SpawnOrder};

/// The longest time from clone to exec; it takes less than a millisecond where the files are at hand.
pub(super) const STARTING_LIMIT: Millis = Millis(60_000);

/// The most sessions remembered of one attempt, for orphans without a mark; it may run any number of launches.
const MAX_SESSIONS: usize = 1024;

/// A child between clone and exec.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) attempt: AttemptId,
    /// Written by the kernel before the child runs; zero until then.
    pub(super) pid: Arc<AtomicI32>,
    pub(super) since: BootTime,
    /// Why it was killed before its program ran.
    pub(super) killed: Option<String>,
}

impl Flight {
    pub(super) fn is(&self, pid: i32) -> bool {
        pid > 0 && self.pid.load(Ordering::Acquire) == pid
    }
}

impl Keeper {
    /// How many clones were begun and have returned.
    pub(in crate::spawner) fn cloned(&self) -> u64 {
        self.clones - self.in_flight.len() as u64
    }

    /// The next process to start, and where the kernel is to write its number.
    pub(in crate::spawner) fn next_start(&mut self) -> Option<(SpawnOrder, Arc<AtomicI32>)> {
        let now = BootTime::now();
        loop {
            let order = self.queue.pop_front()?;
            if let Some(outcome) = self.overtaken(&order, now) {
                self.drop_order(&order, outcome);
                continue;
            }
            let pid = Arc::new(AtomicI32::new(0));
            self.in_flight.push(Flight {
                attempt: order.attempt,
                pid: Arc::clone(&pid),
                since: now,
                killed: None,
            });
            self.clones += 1;
            return Some((order, pid));
        }
    }

    /// How an order that waited ends without a start: its attempt was ended meanwhile.
    fn overtaken(&self, order: &SpawnOrder, now: BootTime) -> Option<AttemptOutcome> {
        let held = self.attempts.get(&order.attempt)?;
        if held.rerunnable && self.is_fenced(now) {
            Some(AttemptOutcome::Fenced)
        } else {
            (held.release || held.ending.is_some()).then_some(AttemptOutcome::Stopped)
        }
    }

    fn drop_order(&mut self, order: &SpawnOrder, outcome: AttemptOutcome) {
        let attempt = order.attempt;
        match order.role {
            Role::Root => self.leave(attempt, None, outcome),
            Role::Coordination => self.coordination_dropped(attempt, outcome),
            Role::Proxy { launch } => {
                if let Some(held) = self.attempts.get_mut(&attempt) {
                    held.starting_proxies -= 1;
                }
                self.tell(FromSpawner::Proxy {
                    attempt,
                    launch,
                    refused: Some("the allocation is being given back".to_owned()),
                });
                self.finish_if_bare(attempt);
            }
        }
    }

    /// What waits in the queue and may not be started any more need not wait for the starters, which may hang.
    pub(super) fn sweep_queue(&mut self, now: BootTime) {
        self.fence_window(now);
        let all_fenced = self.is_fenced(now) && !self.queue.is_empty();
        if !std::mem::take(&mut self.queue_is_stale) && !all_fenced {
            return;
        }
        for order in std::mem::take(&mut self.queue) {
            match self.overtaken(&order, now) {
                Some(outcome) => self.drop_order(&order, outcome),
                None => self.queue.push_back(order),
            }
        }
    }

    /// Kills children that are not their program yet and take too long or are not wanted any more: their workdir, an
    /// output or the program may lie on a file server that does not answer. Returns when to look again.
    pub(super) fn end_flights(&mut self, now: BootTime) -> Option<BootTime> {
        let mut next = None;
        for flight in &mut self.in_flight {
            let kill_at = self
                .attempts
                .get(&flight.attempt)
                .and_then(|held| held.ending.as_ref().map(|ending| ending.kill_at));
            let late = flight.since + STARTING_LIMIT;
            let end = earliest(Some(late), kill_at).unwrap_or(late);
            if end > now {
                next = earliest(next, Some(end));
                continue;
            }
            let pid = flight.pid.load(Ordering::Acquire);
            // Reaping goes under the lock that is held here, so a number that was not told to be reaped is still this
            // child's.
            if pid > 0 && !self.early.iter().any(|(early, _)| *early == pid) {
                tracing::warn!(attempt = %flight.attempt, pid, "killed before its program ran");
                let reason = "it did not start in time; its workdir, an output or the program may lie on a file server \
                              that does not answer";
                flight.killed = Some(reason.to_owned());
                // One that hangs in the kernel may take a while, and is killed again in the next round.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        next
    }

    /// A process runs, or not.
    pub(in crate::spawner) fn started(
        &mut self,
        order: &SpawnOrder,
        pid: &Arc<AtomicI32>,
        result: Result<i32, String>,
    ) {
        let flight = self.in_flight.iter().position(|flight| Arc::ptr_eq(&flight.pid, pid));
        let killed = flight.and_then(|at| self.in_flight.swap_remove(at).killed);
        // The clone returns as if all were well when the child is killed before its exec.
        let result = match killed {
            Some(reason) => result.and(Err(reason)),
            None => result,
        };
        let number = pid.load(Ordering::Acquire);
        let early = self
            .early
            .iter()
            .position(|(early, _)| *early == number)
            .map(|at| self.early.swap_remove(at).1);
        match order.role {
            Role::Root => self.root_started(order, result),
            Role::Coordination => self.coordination_started(order, result),
            Role::Proxy { launch } => {
                if let Some(held) = self.attempts.get_mut(&order.attempt) {
                    held.starting_proxies -= 1;
                }
                if let Ok(pid) = result {
                    self.adopt(pid, order);
                }
                let refused = result.err();
                self.tell(FromSpawner::Proxy {
                    attempt: order.attempt,
                    launch,
                    refused,
                });
            }
        }
        if let Some(ended) = early {
            self.exited(number, ended);
        }
    }

    pub(super) fn adopt(&mut self, pid: i32, order: &SpawnOrder) {
        self.children.insert(
            pid,
            Child {
                attempt: order.attempt,
                role: order.role,
            },
        );
        if let Some(held) = self.attempts.get_mut(&order.attempt) {
            if held.sessions.len() >= MAX_SESSIONS {
                held.sessions.remove(0);
            }
            held.sessions.push(pid);
            self.ender_wanted |= held.ending.is_some() || order.runtime_limit.is_some();
        }
    }

    fn root_started(&mut self, order: &SpawnOrder, result: Result<i32, String>) {
        let attempt = order.attempt;
        match result {
            Ok(pid) => {
                let at = wall_clock();
                self.adopt(pid, order);
                if let Some(held) = self.attempts.get_mut(&attempt) {
                    let limit = order.runtime_limit.map(|limit| (limit, BootTime::now() + limit));
                    held.root = Root::Running {
                        pid,
                        started_at: at,
                        limit,
                    };
                }
                self.tell(FromSpawner::Started { attempt, at });
            }
            Err(reason) if self.is_wanted(attempt) => {
                self.leave(attempt, None, AttemptOutcome::NotStarted { reason });
            }
            Err(_) => self.leave(attempt, None, AttemptOutcome::Stopped),
        }
    }

    pub(super) fn is_wanted(&self, attempt: AttemptId) -> bool {
        self.attempts.get(&attempt).is_none_or(|held| held.ending.is_none())
    }
}
