//! What becomes of jobs as a whole and of job schedules in one decision: those that end, are taken away, or are made.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{JobId, ScheduleName, TaskId};
use proto::model::attempt::{AttemptPhase, AttemptRow, Held, Share};
use proto::model::job::{JobOutcome, JobRow, JobState};
use proto::model::schedule::ScheduleRow;

use super::Ledger;

impl Ledger<'_> {
    /// Whether the job is in memory and not over, also after what is decided here.
    pub(in crate::decide) fn is_live(&self, job: JobId) -> bool {
        self.cluster.is_live(job) && !self.closed.contains_key(&job)
    }

    /// Whether the end of a job is decided, here or before.
    pub(in crate::decide) fn is_ending(&self, job: JobId) -> bool {
        let ending = |row: &JobRow| matches!(row.state, JobState::Canceling { .. } | JobState::Ended { .. });
        self.stopping.contains_key(&job) || self.closed.contains_key(&job) || self.cluster.job(job).is_none_or(ending)
    }

    /// How a job ended that is over here.
    pub(in crate::decide) fn closed(&self, job: JobId) -> Option<&JobOutcome> {
        self.closed.get(&job)
    }

    /// The tasks that are over here.
    pub(in crate::decide) fn over(&self) -> impl Iterator<Item = TaskId> {
        self.over.keys().copied()
    }

    /// The job is to be taken away as soon as it is over and nothing holds anything of it.
    pub(in crate::decide) fn delete_job(&mut self, job: JobId) {
        self.deleting.insert(job);
        self.push(Event::JobDeleting { job });
    }

    /// Looks at all jobs that are to be taken away, and not only at those that something here is about.
    pub(in crate::decide) fn look_at_deleting(&mut self) {
        self.deleting.extend(self.cluster.deleting());
    }

    /// Jobs that are to be taken away and that something here is about.
    pub(in crate::decide) fn deleting(&self) -> BTreeSet<JobId> {
        let released = self.released.iter().filter_map(|(_, id)| self.cluster.attempt(*id));
        let touched = released
            .map(|attempt| attempt.task.job)
            .chain(self.closed.keys().copied());
        let deleting = touched.filter(|job| self.cluster.job(*job).is_some_and(|row| row.deleting));
        self.deleting.iter().copied().chain(deleting).collect()
    }

    /// The job is gone.
    pub(in crate::decide) fn job_deleted(&mut self, job: JobId) {
        self.deleted.insert(job);
        self.push(Event::JobDeleted { job });
    }

    /// Whether the job is in memory, also after what is decided here.
    pub(in crate::decide) fn is_there(&self, job: JobId) -> bool {
        self.cluster.job(job).is_some() && !self.deleted.contains(&job)
    }

    /// Whether nodes hold anything of the job after what is decided here.
    pub(in crate::decide) fn is_held(&self, job: JobId) -> bool {
        let goes_on = |attempt: &AttemptRow| {
            let releasing = attempt.phase == AttemptPhase::Releasing || self.concluded.contains_key(&attempt.id);
            let held = |share: &Share| share.held == Held::Yes && !self.released.contains(&(share.node, attempt.id));
            !releasing || attempt.shares.iter().any(held)
        };
        let mut attempts = self.cluster.attempts().filter(|attempt| attempt.task.job == job);
        attempts.any(goes_on)
    }

    /// A schedule, as it is after what is decided here.
    pub(in crate::decide) fn schedule(&self, name: &ScheduleName) -> Option<&ScheduleRow> {
        self.schedules.get(name).or_else(|| self.cluster.schedule(name))
    }

    /// A schedule is otherwise now.
    pub(in crate::decide) fn change_schedule(&mut self, row: ScheduleRow) {
        self.push(Event::ScheduleChanged {
            schedule: Box::new(row.clone()),
        });
        self.schedules.insert(row.name.clone(), row);
    }

    /// Schedules of which something changed here: their rows, or that a job of them is gone.
    pub(in crate::decide) fn touched_schedules(&self) -> BTreeSet<ScheduleName> {
        let of_deleted = self.deleted.iter().filter_map(|job| self.cluster.job(*job));
        let of_deleted = of_deleted.filter_map(|job| job.schedule.clone());
        self.schedules.keys().cloned().chain(of_deleted).collect()
    }

    /// The number of the next job that is made here.
    pub(in crate::decide) fn next_job(&mut self) -> JobId {
        let next = self.cluster.meta().next_job.0.saturating_add(self.made);
        self.made += 1;
        JobId(next)
    }
}
