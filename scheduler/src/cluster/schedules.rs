//! Job schedules become state, with an index of when each has to be looked at.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{JobId, ScheduleName};
use proto::model::schedule::ScheduleRow;
use proto::stored::RowKey;
use proto::units::{Now, Timestamp};

use super::Cluster;
use crate::calendar::wake;

/// When schedules have to be looked at. It follows from their rows and from whether their last jobs are alive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wakes {
    of: BTreeMap<ScheduleName, Timestamp>,
    order: BTreeSet<(Timestamp, ScheduleName)>,
}

impl Wakes {
    /// The next moment of all.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    fn set(&mut self, name: &ScheduleName, at: Option<Timestamp>) {
        if let Some(old) = self.of.remove(name) {
            self.order.remove(&(old, name.clone()));
        }
        if let Some(at) = at {
            self.of.insert(name.clone(), at);
            self.order.insert((at, name.clone()));
        }
    }
}

impl Cluster {
    pub(super) fn schedule_changed(&mut self, row: &ScheduleRow) {
        self.schedules.insert(row.name.clone(), row.clone());
        self.changes.mark(RowKey::Schedule(row.name.clone()));
        self.index_schedule(&row.name);
    }

    pub(super) fn schedule_removed(&mut self, name: &ScheduleName) {
        self.schedules.remove(name);
        self.changes.mark(RowKey::Schedule(name.clone()));
        self.wakes.set(name, None);
    }

    pub(super) fn job_scheduled(&mut self, job: JobId, schedule: &ScheduleName) {
        self.update_job(job, |row| row.schedule = Some(schedule.clone()));
    }

    /// Its row, or the life of its last job, is otherwise now.
    pub(super) fn index_schedule(&mut self, name: &ScheduleName) {
        let at = self.schedules.get(name).and_then(|row| {
            let live = row.recent_job.is_some_and(|job| self.is_live(job));
            wake(row, live)
        });
        self.wakes.set(name, at);
    }

    /// All job schedules, by name.
    pub fn schedules(&self) -> impl ExactSizeIterator<Item = &ScheduleRow> {
        self.schedules.values()
    }

    /// One of them.
    #[must_use]
    pub fn schedule(&self, name: &ScheduleName) -> Option<&ScheduleRow> {
        self.schedules.get(name)
    }

    /// Whether a job is in memory and not over.
    pub(crate) fn is_live(&self, job: JobId) -> bool {
        self.job(job).is_some_and(|row| !row.state.is_ended())
    }

    /// Schedules that have to be looked at now, with the moment for which they are.
    pub(crate) fn awake(&self, now: Now) -> impl Iterator<Item = (Timestamp, &ScheduleName)> {
        let due = move |at: Timestamp| at <= now.wall || self.monotonic(at) <= now.monotonic;
        let order = self.wakes.order.iter();
        order.take_while(move |(at, _)| due(*at)).map(|(at, name)| (*at, name))
    }
}
