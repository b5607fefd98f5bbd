//! Which attempts this node holds right now, for whoever follows one or talks to it.
//!
//! The agent's loop owns the truth and writes it here; the tasks that serve the head node's streams read it and wait
//! for it to change. Nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::ids::{AttemptId, JobId};
use tokio::sync::watch;

use crate::kept::Kept;

/// How long a question about an attempt may be ahead of the order that starts it: they come on streams of their own.
const ORDER_DELAY: Duration = Duration::from_secs(2);

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its program may not have been started yet.
    Held,
    /// Its program was started.
    Started,
    /// None of its processes is left.
    Over,
}

/// An attempt that was held here when it was looked for.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    pub(crate) kept: Arc<Kept>,
    stage: watch::Receiver<Stage>,
}

impl Present {
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until its stage is another one; for ever once it is over.
    pub(crate) async fn changed(&mut self) {
        // The sender goes when the attempt is over, after it said so.
        if self.stage.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The attempts that are held. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    /// Held for lookups only, never across a wait.
    held: Arc<Mutex<BTreeMap<AttemptId, Entry>>>,
    /// Counts arrivals.
    arrivals: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    kept: Arc<Kept>,
    stage: watch::Sender<Stage>,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            held: Arc::default(),
            arrivals: watch::Sender::new(0),
        }
    }

    /// It is held, and so far.
    pub(crate) fn held(&self, kept: &Arc<Kept>, stage: Stage) {
        let mut held = self.lock();
        let entry = held.entry(kept.attempt()).or_insert_with(|| Entry {
            kept: Arc::clone(kept),
            stage: watch::Sender::new(stage),
        });
        entry.stage.send_replace(stage);
        drop(held);
        self.arrivals.send_modify(|count| *count += 1);
    }

    /// Its program runs.
    pub(crate) fn started(&self, attempt: AttemptId) {
        if let Some(entry) = self.lock().get(&attempt) {
            entry.stage.send_replace(Stage::Started);
        }
    }

    /// Nothing of it is left.
    pub(crate) fn over(&self, attempt: AttemptId) {
        if let Some(entry) = self.lock().remove(&attempt) {
            entry.stage.send_replace(Stage::Over);
        }
    }

    /// The attempt, if it is held.
    pub(crate) fn find(&self, attempt: AttemptId) -> Option<Present> {
        self.lock().get(&attempt).map(|entry| Present {
            kept: Arc::clone(&entry.kept),
            stage: entry.stage.subscribe(),
        })
    }

    /// The preparations of a job that its held attempts were told of: their folders are in use.
    pub(crate) fn preparations_of(&self, job: JobId) -> BTreeSet<AttemptId> {
        let held = self.lock();
        let of_job = held.values().filter(|entry| entry.kept.order.task.job == job);
        of_job.filter_map(|entry| entry.kept.order.prepared_by).collect()
    }

    /// The same, waiting a moment for one that is on its way.
    pub(crate) async fn find_soon(&self, attempt: AttemptId) -> Option<Present> {
        let mut arrivals = self.arrivals.subscribe();
        let found = async {
            loop {
                if let Some(present) = self.find(attempt) {
                    return Some(present);
                }
                arrivals.changed().await.ok()?;
            }
        };
        tokio::time::timeout(ORDER_DELAY, found).await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Entry>> {
        // Each call changes one entry, so a thread that panicked left a whole map.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::tests::kept;

    #[tokio::test]
    async fn an_attempt_is_waited_for_and_its_end_is_seen() {
        let attempts = Attempts::new();
        assert!(attempts.find(AttemptId(7)).is_none());
        let looking = attempts.clone();
        let found = tokio::spawn(async move { looking.find_soon(AttemptId(7)).await });
        tokio::task::yield_now().await;
        attempts.held(&Arc::new(kept(7, &["node1"])), Stage::Held);
        let mut present = found.await.expect("no panic").expect("it came");
        attempts.started(AttemptId(7));
        present.changed().await;
        assert_eq!(present.stage(), Stage::Started);
        attempts.over(AttemptId(7));
        present.changed().await;
        assert_eq!(present.stage(), Stage::Over);
        assert!(attempts.find(AttemptId(7)).is_none());
    }
}
