//! Jobs that are asked for by their number: in memory, or as the store has them. A job of somebody else is as if it were
//! not there.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{JobId, PoolName, TaskId};
use proto::model::job::{JobKind, JobOutcome, JobRow, JobState};
use proto::model::owner::Caller;
use proto::model::task::TaskRow;
use proto::units::Timestamp;

use crate::cluster::{Cluster, Standing};
use crate::input::StoredJob;
use crate::refusal::{forbidden, not_found, wrong_state};

/// A job in memory that is not over.
pub(super) fn live_job<'a>(cluster: &'a Cluster, caller: &Caller, id: JobId) -> Result<&'a JobRow, Refusal> {
    match cluster.job(id) {
        Some(job) if !caller.may_touch(&job.owner) => Err(unknown_job(id)),
        Some(job) if job.spec.kind == JobKind::Start => Err(of_a_pool(job)),
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

/// A job that stands for the start task of a pool goes with that. One that did is like any that is over.
pub(super) fn refuse_of_a_pool(job: &JobRow) -> Result<(), Refusal> {
    if job.spec.kind == JobKind::Start && !job.state.is_ended() {
        return Err(of_a_pool(job));
    }
    Ok(())
}

/// A job that stands for the start task of a pool is the pool's.
fn of_a_pool(job: &JobRow) -> Refusal {
    let pool = job.spec.pool.as_ref().map_or("NAME", PoolName::as_str);
    wrong_state(
        format!("job {} stands for the start task of pool '{pool}'", job.id),
        format!(
            "change or remove it: pool set {pool} --start-task COMMAND|none, or pool delete {pool}; run it anew: node \
             reboot NAME"
        ),
    )
}

pub(super) fn unknown_job(id: JobId) -> Refusal {
    not_found(format!("there is no job {id}, or it is not yours"), "see 'job list'")
}

/// A job with its tasks, wherever it is.
pub(super) struct Found<'a> {
    pub(super) job: &'a JobRow,
    cluster: &'a Cluster,
    /// The job and its tasks, when they are not in memory, laid out as they would be there.
    shelf: Option<Box<Cluster>>,
    /// Its tasks on each of its nodes, when it is not in memory.
    errands: Vec<TaskRow>,
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
        let job = job.ok_or_else(|| unknown_job(id))?;
        if job.spec.kind == JobKind::Start {
            return Err(of_a_pool(job));
        }
        Ok(Self {
            job,
            cluster,
            shelf: stored.map(|stored| Box::new(cluster.shelf(stored))),
            errands: stored
                .into_iter()
                .flat_map(|stored| &stored.tasks)
                .filter(|row| row.id.number.is_per_node())
                .cloned()
                .collect(),
        })
    }

    /// What holds the job's rows: of other jobs nothing may be asked here.
    pub(super) fn rows(&self) -> &Cluster {
        self.shelf.as_deref().unwrap_or(self.cluster)
    }

    /// Its rows in order: each array's before those of its elements.
    pub(super) fn tasks(&self) -> Box<dyn Iterator<Item = &TaskRow> + '_> {
        Box::new(self.rows().tasks_of(self.job.id))
    }

    /// The row of the task, or of the array and all rows of its elements, in order.
    pub(super) fn covered(&self, id: TaskId) -> Box<dyn Iterator<Item = &TaskRow> + '_> {
        Box::new(self.rows().covered(id))
    }

    /// Tasks that failed or were canceled; of an array whose rest was canceled at once, its own row.
    pub(super) fn bad(&self) -> impl Iterator<Item = &TaskRow> {
        self.tasks().filter(|row| match &row.array {
            Some(state) => state.rest_canceled_at.is_some() && self.rows().untouched_of(row.id) > 0,
            None => Standing::of(row) == Standing::Bad,
        })
    }

    /// Brings a job that is over back into memory; none when it is not over.
    pub(super) fn revived(&self, counted: bool, at: Timestamp) -> Option<Event> {
        self.job.state.is_ended().then(|| Event::JobRevived {
            job: Box::new(self.job.clone()),
            tasks: self
                .tasks()
                .filter(|row| self.rows().element(row.id).is_none())
                // Those on its nodes too: they are forgotten.
                .chain(&self.errands)
                .cloned()
                .collect(),
            chunks: self.rows().chunks_of_job(self.job.id).collect(),
            counted,
            at,
        })
    }

    /// A job that gets work again must not be on its way out, nor have finished.
    pub(super) fn may_go_on(&self) -> Result<(), Refusal> {
        let id = self.job.id;
        match &self.job.state {
            _ if self.job.deleting => Err(wrong_state(format!("job {id} is being deleted"), "make a new one")),
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
