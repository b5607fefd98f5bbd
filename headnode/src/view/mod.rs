//! The read model: a second cluster state that follows the first one's events after their flush.
//!
//! Every list, view, wait and `why` is served here, so reading never enters the loop, and nobody sees what a crash could
//! take back. Jobs that are over have left memory; they are read from the store. Beside the state stand the newest events.

mod elements;
mod floor;
mod jobs;
mod keys;
mod people;
mod reasons;
mod ring;
mod schedules;
mod stages;
mod watchers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use proto::client::{Refusal, RefusalCode, Reply};
use proto::event::Event;
use proto::ids::{JobId, Sequence, TaskId};
use proto::model::job::{JobRow, JobSpec};
use proto::model::owner::Caller;
use proto::model::task::{TaskRow, TaskSpec};
use proto::stored::{Row, RowKey};
use proto::units::{Now, Timestamp};
use scheduler::Cluster;
use tokio::sync::watch;

use crate::store::{Store, StoreError};

pub use floor::Totals;
pub use keys::NodeKey;
pub use ring::{News, Page};
pub use stages::{JobStages, Stage, TaskStage};
pub use watchers::JobWatch;

use reasons::Reasons;
use ring::{About, Ring};
use watchers::{Watchers, Woken};

/// Events that a follower is told in one part.
const PART_OF_EVENTS: usize = 1000;

/// What can be read.
pub struct View {
    /// Guards the replica; held for one apply or one answer, never across a wait.
    cluster: RwLock<Cluster>,
    /// Guards the newest events; taken for one apply or one page. Taken after `cluster` where both are.
    ring: Mutex<Ring>,
    store: Arc<dyn Store>,
    changed: watch::Sender<Sequence>,
    watchers: Arc<Watchers>,
    reasons: Reasons,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl View {
    /// A view that begins as `cluster` is, with no event before.
    #[must_use]
    pub fn new(cluster: Cluster, store: Arc<dyn Store>) -> Self {
        let (changed, _) = watch::channel(cluster.sequence());
        Self {
            ring: Mutex::new(Ring::after(cluster.sequence())),
            cluster: RwLock::new(cluster),
            store,
            changed,
            watchers: Arc::default(),
            reasons: Reasons::default(),
        }
    }

    /// Follows the events of one flushed round, which was decided at that time.
    pub fn apply(&self, events: Vec<Event>, sequence: Sequence, at: Timestamp) {
        if events.is_empty() {
            return;
        }
        let mut woken = Woken::default();
        {
            let mut cluster = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
            let mut ring = self.ring();
            for event in events {
                let about = About::of(&cluster, &event);
                woken.note(about, &event);
                cluster.apply(&event);
                ring.push(event, about, at);
            }
            // The rows are stored already.
            drop(cluster.take_changes());
        }
        self.changed.send_replace(sequence);
        self.watchers.wake(&woken);
    }

    /// Wakes at news of one job, and when anybody's rights change.
    #[must_use]
    pub fn watch(&self, job: JobId) -> JobWatch {
        self.watchers.watch(job)
    }

    /// Wakes at every change of the cluster.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Sequence> {
        self.changed.subscribe()
    }

    /// The newest event that was applied.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.cluster().sequence()
    }

    /// What the caller may see of the events after that one, oldest first: all, or for a follower a part of them that
    /// holds up nobody.
    #[must_use]
    pub fn events(&self, caller: &Caller, after: Sequence, follow: bool) -> Page {
        let most = if follow { PART_OF_EVENTS } else { ring::MAX_EVENTS };
        self.ring().page(caller, after, most)
    }

    /// The newest events that the caller may see, as many as one answer holds.
    #[must_use]
    pub fn newest_events(&self, caller: &Caller) -> Page {
        self.ring().newest(caller)
    }

    /// What happened to a job after that event.
    #[must_use]
    pub fn news(&self, job: JobId, after: Sequence) -> News {
        self.ring().news(job, after)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cluster(&self) -> RwLockReadGuard<'_, Cluster> {
        // A panic in `apply` ends the committer and with it the process; a reader may finish.
        self.cluster.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One job that the caller may see.
    ///
    /// # Errors
    /// A refusal when there is none, or the store cannot be read.
    pub fn job(&self, caller: &Caller, id: JobId) -> Result<JobRow, Refusal> {
        let (live, known) = {
            let cluster = self.cluster();
            (cluster.job(id).cloned(), id < cluster.next_job())
        };
        let found = match live {
            Some(job) => Some(job),
            // The store may be one flush ahead of what anybody was told.
            None if !known => None,
            None => match self.store.row(&RowKey::Job(id)).map_err(|error| unreadable(&error))? {
                Some(Row::Job(job)) => Some(*job),
                _ => None,
            },
        };
        // Other users' jobs are as if they were not there.
        found
            .filter(|job| caller.may_touch(&job.owner))
            .ok_or_else(|| no_job(id))
    }

    /// Why a job waits.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job.
    pub fn why(&self, caller: &Caller, id: JobId, now: Now) -> Result<Reply, Refusal> {
        let job = Box::new(self.job(caller, id)?);
        let why = scheduler::explain(&self.cluster(), id, now).map(Box::new);
        Ok(Reply::Why { job, why })
    }

    /// Why a task waits.
    ///
    /// # Errors
    /// A refusal when the caller sees no such task.
    pub fn why_task(&self, caller: &Caller, id: TaskId, now: Now) -> Result<Reply, Refusal> {
        self.task(caller, id)?;
        let job = Box::new(self.job(caller, id.job)?);
        let why = scheduler::explain_task(&self.cluster(), id, now).map(Box::new);
        Ok(Reply::Why { job, why })
    }

    /// What would become of a submission now.
    ///
    /// # Errors
    /// As the submission would be refused.
    pub fn rehearse(&self, caller: &Caller, job: &JobSpec, tasks: &[TaskSpec], now: Now) -> Result<Reply, Refusal> {
        let mut job = job.clone();
        let is_live = |id: JobId| self.cluster().job(id).is_some();
        crate::past::drop_met_parents(self.store.as_ref(), caller, &mut job.parents, is_live)
            .map_err(|error| unreadable(&error))?;
        let cluster = self.cluster();
        let rehearsal = scheduler::rehearse(&cluster, caller, &job, tasks, now)?;
        let name = |id| cluster.node(id).map(|node| node.name.clone());
        Ok(Reply::Rehearsed {
            starts_now: rehearsal.starts_now,
            nodes: rehearsal.nodes.into_iter().filter_map(name).collect(),
            why: rehearsal.why.map(Box::new),
        })
    }

    /// One task that the caller may see.
    ///
    /// # Errors
    /// A refusal when there is none, or the store cannot be read.
    pub fn task(&self, caller: &Caller, id: TaskId) -> Result<TaskRow, Refusal> {
        let job = self.job(caller, id.job)?;
        if let Some(task) = self.cluster().task_or_untouched(id) {
            return Ok(task.into_owned());
        }
        let found = self.stored_task(id).map_err(|error| unreadable(&error))?;
        found.ok_or_else(|| no_task(&job, id))
    }

    /// A task that is on disk only: of a job that is over, or an element of an array that ended well.
    fn stored_task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        if let Some(Row::Task(task)) = self.store.row(&RowKey::Task(id))? {
            return Ok(Some(*task));
        }
        let (Some(step), head) = (id.step, TaskId::new(id.job, id.number)) else {
            return Ok(None);
        };
        match self.store.row(&RowKey::Task(head))? {
            Some(Row::Task(head)) if head.array.is_some() => elements::stored_element(self.store.as_ref(), &head, step),
            _ => Ok(None),
        }
    }
}

fn no_job(id: JobId) -> Refusal {
    Refusal {
        code: RefusalCode::NotFound,
        what: format!("there is no job {id}, or it is not yours"),
        remedy: "see 'job list --all'".to_owned(),
        retry_after: None,
    }
}

fn no_task(job: &JobRow, id: TaskId) -> Refusal {
    let tasks = job.next_task.0.saturating_sub(1);
    let numbers = match tasks {
        0 => "has no tasks yet".to_owned(),
        1 => format!("has only task {}.1", id.job),
        _ => format!("has tasks {0}.1 to {0}.{tasks}", id.job),
    };
    Refusal {
        code: RefusalCode::NotFound,
        what: format!("there is no task {id}: job {} {numbers}", id.job),
        remedy: format!("see 'task list {}'", id.job),
        retry_after: None,
    }
}

fn unreadable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot be read");
    Refusal {
        code: RefusalCode::Busy,
        what: format!("the head node cannot read its store: {error}"),
        remedy: "see the head node's log".to_owned(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
