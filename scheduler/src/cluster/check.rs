//! What must hold between any two events, for tests and simulation.

use proto::ids::TaskId;
use proto::model::array::CHUNK;
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
        for id in self.arrays.keys() {
            self.check_array(*id)
                .map_err(|reason| format!("array {id}: {reason}"))?;
        }
        self.check_jobs()?;
        self.check_attempts()?;
        self.check_errands()?;
        let rebuilt = self.rebuilt().map_err(|error| error.to_string())?;
        let same = [
            ("floor", self.floor == rebuilt.floor),
            ("queue", self.queue == rebuilt.queue),
            ("arrays", self.arrays == rebuilt.arrays),
            ("names", self.names == rebuilt.names),
            ("users", self.users == rebuilt.users),
            ("limits", self.plain_limits() == rebuilt.plain_limits()),
            ("holds", self.holds == rebuilt.holds),
            ("walls", self.plain_walls() == rebuilt.plain_walls()),
            ("children", self.children == rebuilt.children),
            ("deleting", self.deleting == rebuilt.deleting),
            ("wakes", self.wakes == rebuilt.wakes),
            ("errands", self.errands == rebuilt.errands),
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
            other.jobs.get(id).is_some_and(|theirs| {
                job.dependencies == theirs.dependencies
                    && job.submissions == theirs.submissions
                    && self.class(job.class) == other.class(theirs.class)
            })
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

    /// Whether the counts of an array are those of its elements, and what has no row and is not packed is untouched, or
    /// stored in whole chunks.
    pub(super) fn check_array(&self, id: TaskId) -> Result<(), String> {
        let row = self.tasks.get(&id);
        let parts = row.and_then(|row| Some((row.array.as_ref()?, row.spec.sweep?, self.arrays.get(&id)?)));
        let Some((state, sweep, array)) = parts else {
            return Err("it has no row".to_owned());
        };
        let mut counts = TaskCounts::default();
        for row in self.elements_of(id) {
            *counter(&mut counts, &row.state) += 1;
        }
        if counts.finished > 0 {
            return Err("elements that ended well have rows".to_owned());
        }
        let packed = u32::try_from(array.packed.len()).unwrap_or(u32::MAX);
        let known = u64::from(counts.total()) + u64::from(packed) + u64::from(array.rest.left());
        let whole: u64 = (0..array.rest.next().div_ceil(CHUNK))
            .filter(|chunk| !self.chunk_in_memory(id, *chunk))
            .map(|chunk| array.span(chunk))
            .map(|(first, end)| u64::from(end - first))
            .sum();
        if known + whole != u64::from(sweep.count()) {
            return Err(format!("{known} elements are known, and {whole} in whole chunks"));
        }
        counts.finished = packed + u32::try_from(whole).unwrap_or(u32::MAX);
        match state.rest_canceled_at {
            Some(_) => counts.canceled += array.rest.left(),
            None => counts.queued += array.rest.left(),
        }
        if counts != state.counts || state.next != array.rest.next() {
            return Err(format!("it says {state:?}, its elements are {counts:?}"));
        }
        Ok(())
    }

    fn check_jobs(&self) -> Result<(), String> {
        for job in self.jobs.values() {
            let mut counts = TaskCounts::default();
            for task in self.tasks_of(job.row.id).filter(|row| self.is_stored_alone(row)) {
                match &task.array {
                    Some(state) => add(&mut counts, &state.counts),
                    None => *counter(&mut counts, &task.state) += 1,
                }
            }
            let id = job.row.id;
            if counts != job.row.counts {
                return Err(format!(
                    "job {id} counts {:?}, its tasks are {counts:?}",
                    job.row.counts
                ));
            }
            let live = counts.queued + counts.running;
            let errands = self.errands_of(id).filter(|row| !row.state.is_ended()).count();
            if job.row.state.is_ended() && errands > 0 {
                return Err(format!("job {id} is over, and {errands} of its own tasks are not"));
            }
            let ending = matches!(job.row.state, JobState::Canceling { .. }) && errands > 0;
            let may_be_empty = job.row.state == JobState::Configuring
                || job.row.spec.run_until_canceled
                || ending
                || (live == 0 && !self.services_kept(id).is_empty());
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

const fn add(sum: &mut TaskCounts, more: &TaskCounts) {
    sum.queued += more.queued;
    sum.running += more.running;
    sum.finished += more.finished;
    sum.failed += more.failed;
    sum.canceled += more.canceled;
}
