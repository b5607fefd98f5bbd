//! Who waits for news of one job: woken by the events of that job, and not by every round.
//!
//! A change of anybody's rights wakes all of them, because each has to look whether it may still be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::event::Event;
use proto::ids::JobId;
use tokio::sync::watch;

use super::ring::About;

/// Those who wait, by job.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// Guards the table for one look-up, or for the marks of one round.
    jobs: Mutex<BTreeMap<JobId, watch::Sender<Mark>>>,
}

/// Changes with each news.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Whether the job is over, which nobody waits to be told.
    over: bool,
}

/// News of one job.
#[derive(Debug)]
pub struct JobWatch {
    job: JobId,
    watchers: Arc<Watchers>,
    mark: watch::Receiver<Mark>,
}

/// The jobs that a round is about.
#[derive(Debug, Default)]
pub(super) struct Woken {
    jobs: BTreeSet<JobId>,
    over: BTreeSet<JobId>,
    all: bool,
}

impl Woken {
    pub(super) fn note(&mut self, about: About, event: &Event) {
        match about {
            About::Job { job, .. } => {
                self.jobs.insert(job);
                if matches!(event, Event::JobEnded { .. } | Event::JobDeleted { .. }) {
                    self.over.insert(job);
                }
            }
            About::Rights | About::Remains => self.all = true,
            About::Floor | About::Owned { .. } => {}
        }
    }
}

impl Watchers {
    pub(super) fn watch(self: &Arc<Self>, job: JobId) -> JobWatch {
        let mut jobs = self.jobs();
        let sender = jobs.entry(job).or_insert_with(|| watch::channel(Mark::default()).0);
        JobWatch {
            job,
            watchers: Arc::clone(self),
            mark: sender.subscribe(),
        }
    }

    /// After the round can be read.
    pub(super) fn wake(&self, woken: &Woken) {
        let jobs = self.jobs();
        for (job, sender) in jobs.iter() {
            if woken.all || woken.jobs.contains(job) {
                sender.send_modify(|mark| mark.over |= woken.over.contains(job));
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, watch::Sender<Mark>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.jobs().len()
    }
}

impl JobWatch {
    /// What comes from now on is news.
    pub fn look(&mut self) {
        self.mark.borrow_and_update();
    }

    /// Returns when there is news since the last look. Can be cancelled.
    pub async fn news(&mut self) {
        // The sender stays in the table for as long as this is there.
        if self.mark.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the job is over. Can be cancelled.
    pub async fn over(&self) {
        let mut mark = self.mark.clone();
        if mark.wait_for(|mark| mark.over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for JobWatch {
    fn drop(&mut self) {
        let mut jobs = self.watchers.jobs();
        // This one still counts.
        if jobs.get(&self.job).is_some_and(|sender| sender.receiver_count() <= 1) {
            jobs.remove(&self.job);
        }
    }
}
