//! Jobs that are asked for by their number: in memory, or as the store has them. A job of somebody else is as if it were
//! not there.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{JobId, TaskId};
use proto::model::job::{JobOutcome, JobRow, JobState};
use proto::model::owner::Caller;
use proto::model::task::TaskRow;
use proto::units::Timestamp;

use crate::cluster::Cluster;
use crate::input::StoredJob;
use crate::refusal::{forbidden, not_found, wrong_state};

/// A job in memory that is not over.
pub(super) fn live_job<'a>(cluster: &'a Cluster, caller: &Caller, id: JobId) -> Result<&'a JobRow, Refusal> {
    match cluster.job(id) {
        Some(job) if !caller.may_touch(&job.owner) => Err(unknown_job(id)),
        Some(job) if !job.state.is_ended() => Ok(job),
        None if id >= cluster.meta().next_job => Err(unknown_job(id)),
        Some(_) | None => Err(wrong_state(
            format!("job {id} is over already"),
            format!("see 'job view {id}'"),
        )),
    }
}

/// To see and to end a job is less than to have something run in its owner's name.
pub(super) fn may_act_as_owner(caller: &Caller, job: &JobRow, what: &str) -> Result<(), Refusal> {
    if caller.may_act_as(&job.owner) {
        return Ok(());
    }
    let (id, owner) = (job.id, &job.owner.name);
    Err(forbidden(
        format!(
            "'{}' may not {what} job {id}: it would run as '{owner}'",
            caller.owner.name
        ),
        format!("make one of your own like it: job clone {id}"),
    ))
}

pub(super) fn unknown_job(id: JobId) -> Refusal {
    not_found(format!("there is no job {id}, or it is not yours"), "see 'job list'")
}

/// A job with its tasks, wherever it is.
pub(super) struct Found<'a> {
    pub(super) job: &'a JobRow,
    cluster: &'a Cluster,
    /// The tasks, when they are not in memory.
    stored: Option<&'a [TaskRow]>,
}

impl<'a> Found<'a> {
    /// In memory, or else as the store has it.
    pub(super) fn new(
        cluster: &'a Cluster,
        caller: &Caller,
        id: JobId,
        stored: Option<&'a StoredJob>,
    ) -> Result<Self, Refusal> {
        let stored = stored.filter(|stored| cluster.job(id).is_none() && stored.job.id == id);
        let job = cluster.job(id).or_else(|| stored.map(|stored| &stored.job));
        let job = job.filter(|job| caller.may_touch(&job.owner));
        Ok(Self {
            job: job.ok_or_else(|| unknown_job(id))?,
            cluster,
            stored: stored.map(|stored| stored.tasks.as_slice()),
        })
    }

    /// In order.
    pub(super) fn tasks(&self) -> Box<dyn Iterator<Item = &'a TaskRow> + 'a> {
        match self.stored {
            Some(tasks) => Box::new(tasks.iter()),
            None => Box::new(self.cluster.tasks_of(self.job.id)),
        }
    }

    /// The task, or all steps of the sweep, in order.
    pub(super) fn covered(&self, id: TaskId) -> Box<dyn Iterator<Item = &'a TaskRow> + 'a> {
        match self.stored {
            Some(tasks) => {
                let from = tasks.partition_point(|task| task.id < id);
                Box::new(tasks[from..].iter().take_while(move |task| id.covers(task.id)))
            }
            None => Box::new(self.cluster.covered(id)),
        }
    }

    /// Brings a job that is over back into memory; none when it is not over.
    pub(super) fn revived(&self, counted: bool, at: Timestamp) -> Option<Event> {
        self.job.state.is_ended().then(|| Event::JobRevived {
            job: Box::new(self.job.clone()),
            tasks: self.tasks().cloned().collect(),
            counted,
            at,
        })
    }

    /// A job that gets work again must not be on its way out, nor have finished.
    pub(super) fn may_go_on(&self) -> Result<(), Refusal> {
        let id = self.job.id;
        match &self.job.state {
            JobState::Canceling { .. } => Err(wrong_state(
                format!("job {id} is being ended"),
                format!("wait until it is over, then type it again: job wait {id}"),
            )),
            JobState::Ended {
                outcome: JobOutcome::Finished,
                ..
            } => Err(wrong_state(
                format!("job {id} has finished"),
                format!("make a new one like it: job clone {id}"),
            )),
            _ => Ok(()),
        }
    }
}
