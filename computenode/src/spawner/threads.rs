//! The spawner's threads around its one [`Keeper`]: who waits for what.
//!
//! | thread | waits for | does |
//! |---|---|---|
//! | two starters | an order in the queue | clone and exec |
//! | reaper | the end of any child | reaps it |
//! | ender | a second, or being wanted | asks, kills, minds deadlines |
//! | per agent: reader, writer | the socket, messages | takes orders, sends news |
//!
//! Two starters, because the thread that clones sleeps until its child has called exec; with two, both the parent's
//! and the child's half of the work go on. A starter whose child hangs in a file server holds up half of the starts,
//! not the reaping, the signals or the deadlines.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::ids::{AttemptId, BootId};

use crate::spawner::confine::Plan;
use crate::spawner::keeper::{Keeper, News};
use crate::spawner::message::{FromSpawner, SpawnOrder};
use crate::spawner::spawn::Starter;

/// How many threads start processes.
pub(super) const STARTERS: usize = 2;

/// How long news that may wait are gathered, so that many short tasks do not wake the agent at each start and end.
const GATHERING: Duration = Duration::from_millis(3);

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Guards everything the spawner knows; held for short calls only.
    keeper: Mutex<Keeper>,
    starts: Condvar,
    children: Condvar,
    ends: Condvar,
    news: Condvar,
}

impl Shared {
    pub(super) const fn new(keeper: Keeper) -> Self {
        Self {
            keeper: Mutex::new(keeper),
            starts: Condvar::new(),
            children: Condvar::new(),
            ends: Condvar::new(),
            news: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Keeper> {
        // A thread that panicked left a keeper that is still whole: its calls change one attempt at a time.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and wakes whom it concerns.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Keeper) -> T) -> T {
        let mut keeper = self.lock();
        let result = change(&mut keeper);
        let wanted = keeper.wanted();
        drop(keeper);
        if wanted.starter {
            self.starts.notify_one();
        }
        if wanted.writer {
            self.news.notify_all();
        }
        if wanted.ender {
            self.ends.notify_one();
        }
        result
    }

    /// Waits until something is to be ended, at most so long.
    pub(super) fn wait_to_end(&self, keeper: MutexGuard<'_, Keeper>, most: Duration) {
        // Woken without cause, the caller looks once more.
        drop(self.ends.wait_timeout(keeper, most));
    }

    /// Waits until there is something to tell over a connection; none when it does not count any more.
    pub(super) fn wait_for_news(&self, generation: u64) -> Option<Vec<FromSpawner>> {
        let mut keeper = self.lock();
        let mut gathered = false;
        loop {
            keeper = match keeper.has_news(generation)? {
                News::None => self.news.wait(keeper).unwrap_or_else(PoisonError::into_inner),
                News::MayWait if !gathered => {
                    gathered = true;
                    let waited = self.news.wait_timeout(keeper, GATHERING);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                News::MayWait | News::Urgent => return Some(keeper.outgoing(generation)?.into()),
            };
        }
    }

    /// Waits until more children were cloned than `seen`; returns how many were.
    pub(super) fn wait_for_children(&self, seen: u64) -> u64 {
        let keeper = self.lock();
        let waited = self.children.wait_while(keeper, |keeper| keeper.cloned() == seen);
        waited.unwrap_or_else(PoisonError::into_inner).cloned()
    }

    fn next_start(&self) -> (SpawnOrder, std::sync::Arc<std::sync::atomic::AtomicI32>, BootId) {
        let mut keeper = self.lock();
        loop {
            if let Some((order, pid)) = keeper.next_start() {
                return (order, pid, keeper.boot());
            }
            keeper = self.starts.wait(keeper).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The life of a starter.
    pub(super) fn start_processes(&self, mut starter: Starter) {
        loop {
            let (order, pid, boot) = self.next_start();
            let result = match Plan::new(&order, boot) {
                Ok(plan) => starter.start(&plan, &pid).map_err(|failure| plan.explain(failure)),
                Err(error) => Err(error.to_string()),
            };
            log_start(order.attempt, pid.load(Ordering::Acquire), &result);
            self.change(|keeper| keeper.started(&order, &pid, result));
            self.children.notify_all();
        }
    }
}

fn log_start(attempt: AttemptId, pid: i32, result: &Result<i32, String>) {
    match result {
        Ok(_) => tracing::debug!(%attempt, pid, "started"),
        Err(reason) => tracing::debug!(%attempt, reason, "not started"),
    }
}
