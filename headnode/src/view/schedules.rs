//! Job schedules, and limits with what is used of them.

use proto::client::{Refusal, Reply};
use proto::ids::{JobId, ScheduleName};
use proto::model::job::JobRow;
use proto::model::owner::{Caller, Role};

use super::{View, unreadable};

impl View {
    /// All job schedules that the caller may see, by name, or one.
    ///
    /// # Errors
    /// A refusal when there is none of that name, or it is not the caller's.
    pub fn schedules(&self, caller: &Caller, only: Option<&ScheduleName>) -> Result<Reply, Refusal> {
        let cluster = self.cluster();
        let seen = || cluster.schedules().filter(|row| caller.may_touch(&row.owner));
        let schedules: Vec<_> = seen()
            .filter(|row| only.is_none_or(|name| row.name == *name))
            .cloned()
            .collect();
        match only {
            Some(name) if schedules.is_empty() => {
                let names = seen().map(|row| row.name.as_str());
                Err(scheduler::unknown(
                    "job schedule",
                    name.as_str(),
                    names,
                    "see 'muster jobschedule list'",
                ))
            }
            _ => Ok(Reply::Schedules { schedules }),
        }
    }

    /// Jobs of a job schedule that are over, newest first, as far as the caller may touch them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn old_jobs_of(&self, caller: &Caller, name: &ScheduleName) -> Result<Vec<JobId>, Refusal> {
        let mut jobs = Vec::new();
        let take = &mut |row: JobRow| {
            let is_its = row.schedule.as_ref() == Some(name) && row.state.is_ended() && caller.may_touch(&row.owner);
            jobs.extend(is_its.then_some(row.id));
            true
        };
        self.store.jobs_down(None, take).map_err(|error| unreadable(&error))?;
        Ok(jobs)
    }

    /// Limits of users with what is used of them; a plain user sees their own.
    #[must_use]
    pub fn limits(&self, caller: &Caller) -> Reply {
        let cluster = self.cluster();
        let seen = |user: &str| caller.role >= Role::Operator || user == caller.owner.name;
        Reply::Limits {
            each: cluster.settings_row().limits.each,
            users: cluster.user_uses().filter(|row| seen(&row.user)).collect(),
        }
    }
}
