//! What must hold between any two events, for tests and simulation.

use proto::model::attempt::{AttemptPhase, Held};
use proto::model::job::{JobState, TaskCounts};
use proto::model::task::TaskState;

use super::apply::counter;
use super::{Cluster, Job};

impl Cluster {
    /// Whether rows agree with each other and indexes with rows. Costs as much as a restart.
    ///
    /// # Errors
    /// The first disagreement, for people.
    pub fn check(&self) -> Result<(), String> {
        self.check_tasks()?;
        self.check_jobs()?;
        self.check_attempts()?;
        let rebuilt = self.rebuilt().map_err(|error| error.to_string())?;
        let same = [
            ("floor", self.floor == rebuilt.floor),
            ("queue", self.queue == rebuilt.queue),
            ("names", self.names == rebuilt.names),
            ("users", self.users == rebuilt.users),
            ("limits", self.limits == rebuilt.limits),
            ("holds", self.holds == rebuilt.holds),
            ("jobs", self.same_jobs(&rebuilt)),
            ("old submissions", self.old_submissions == rebuilt.old_submissions),
            ("classes", self.classes.jobs() == self.jobs.len()),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((index, _)) => Err(format!("the index '{index}' is not that of the rows")),
            None => Ok(()),
        }
    }

    /// Whether what is counted for each job is the same there.
    fn same_jobs(&self, other: &Self) -> bool {
        let same = |(id, job): (_, &Job)| {
            let other = other.jobs.get(id);
            other.is_some_and(|other| job.dependencies == other.dependencies && job.submissions == other.submissions)
        };
        self.jobs.iter().all(same)
    }

    fn check_tasks(&self) -> Result<(), String> {
        for task in self.tasks.values() {
            let Some(id) = task.state.attempt() else { continue };
            let Some(attempt) = self.attempts.get(&id) else {
                return Err(format!("task {} is tried by attempt {id}, which is gone", task.id));
            };
            let fits = matches!(
                (&task.state, attempt.phase),
                (TaskState::Granted { .. }, AttemptPhase::Granted)
                    | (TaskState::Running { .. }, AttemptPhase::Running { .. })
                    | (TaskState::Stopping { .. }, AttemptPhase::Stopping { .. })
            );
            if !fits || task.last_attempt != Some(id) {
                return Err(format!(
                    "task {} is {:?}, its attempt {:?}",
                    task.id, task.state, attempt.phase
                ));
            }
        }
        Ok(())
    }

    fn check_jobs(&self) -> Result<(), String> {
        for job in self.jobs.values() {
            let mut counts = TaskCounts::default();
            for task in self.tasks_of(job.row.id) {
                *counter(&mut counts, &task.state) += 1;
            }
            let id = job.row.id;
            if counts != job.row.counts {
                return Err(format!(
                    "job {id} counts {:?}, its tasks are {counts:?}",
                    job.row.counts
                ));
            }
            let live = counts.queued + counts.running;
            let may_be_empty = job.row.state == JobState::Configuring || job.row.spec.run_until_canceled;
            if job.row.state.is_ended() && live > 0 || !job.row.state.is_ended() && live == 0 && !may_be_empty {
                return Err(format!(
                    "job {id} is {:?} with {live} tasks that are not over",
                    job.row.state
                ));
            }
            if matches!(job.row.state, JobState::Canceling { .. }) && counts.queued > 0 {
                return Err(format!("job {id} is to end and {} of its tasks wait", counts.queued));
            }
            let attempts = self.attempts.values().filter(|attempt| attempt.task.job == id).count();
            if attempts != job.attempts as usize || (job.row.state.is_ended() && attempts == 0) {
                return Err(format!(
                    "job {id} counts {} attempts, there are {attempts}",
                    job.attempts
                ));
            }
        }
        Ok(())
    }

    fn check_attempts(&self) -> Result<(), String> {
        for attempt in self.attempts.values() {
            let id = attempt.id;
            let held = attempt.shares.iter().filter(|share| share.held == Held::Yes).count();
            if held == 0 {
                return Err(format!("attempt {id} holds nothing and is still there"));
            }
            if attempt.phase == AttemptPhase::Releasing {
                continue;
            }
            let tried = self.tasks.get(&attempt.task).and_then(|task| task.state.attempt());
            if tried != Some(id) {
                return Err(format!(
                    "attempt {id} is {:?}, and its task is tried by {tried:?}",
                    attempt.phase
                ));
            }
            let stopping = matches!(attempt.phase, AttemptPhase::Stopping { .. });
            if held != attempt.shares.len() && !stopping {
                return Err(format!(
                    "attempt {id} runs with {held} of {} nodes",
                    attempt.shares.len()
                ));
            }
        }
        Ok(())
    }
}
