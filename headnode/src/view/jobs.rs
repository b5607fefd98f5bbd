//! Lists of jobs and tasks: from memory while a job lives, from the store when it is over. Each list has a bound of rows
//! and of bytes and says when there was more.

use proto::client::{JobFilter, MAX_LISTED_WHYS, MAX_ROWS, Refusal, RefusalCode, Reply};
use proto::ids::{JobId, Step, TaskId};
use proto::model::job::{JobKind, JobRow};
use proto::model::line::{SweepLine, TaskLine};
use proto::model::owner::Caller;
use proto::model::task::{TaskOutcome, TaskRow, TaskState};
use proto::model::why::Why;
use proto::stored::{Row, RowKey};
use proto::units::Now;
use scheduler::Cluster;

use super::elements::{Walk, Wanted};
use super::{View, unreadable};
use crate::weight;

/// About how many bytes of rows one list may have; half of the largest frame.
const MAX_LIST_BYTES: usize = proto::frame::MAX_FRAME_BYTES / 2;

/// How many jobs one list looks at: somebody with few jobs must not read the history of everybody.
const MAX_LOOKED_AT: usize = 200_000;

/// How many tasks one answer counts at most: meanwhile nothing new can be seen.
const MAX_COUNTED: usize = 25_000;

/// How many rows one look at the cluster takes.
const SLICE: usize = 256;

/// What jobs and tasks may be, in HPC Pack's words, and `All`.
const STATES: [&str; 13] = [
    "All",
    "Configuring",
    "Queued",
    "Dispatching",
    "Running",
    "Canceling",
    "Finished",
    "Failed",
    "Canceled",
    "Disabled",
    "Finishing",
    "Terminating",
    "Terminated",
];

impl View {
    /// Jobs, newest first.
    ///
    /// # Errors
    /// When a word is no state, or the store cannot be read.
    pub fn jobs(&self, caller: &Caller, filter: &JobFilter, now: Now) -> Result<Reply, Refusal> {
        check_states(&filter.states)?;
        let limit = filter.limit.map_or(MAX_ROWS, |limit| {
            usize::try_from(limit).map_or(MAX_ROWS, |limit| limit.min(MAX_ROWS))
        });
        let mut jobs = Vec::new();
        let (mut more, mut bytes, mut looked_at) = (false, 0, 0);
        let mut take = |job: &JobRow| {
            looked_at += 1;
            if is_shown(job, caller, filter) {
                // Only a job that would be shown says that there are more.
                more = jobs.len() >= limit || bytes > MAX_LIST_BYTES;
                if more {
                    return false;
                }
                bytes += weight::of_job(job);
                jobs.push(job.clone());
            }
            more = looked_at == MAX_LOOKED_AT;
            !more
        };
        if filter.ended || filter.states.iter().any(|state| is_ended_word(state)) {
            // The store may be one flush ahead; what is not in the view yet, or lives there, is told as the view has it.
            let newest = self.cluster().next_job();
            let as_seen = &mut |row: JobRow| {
                let live = self.cluster().job(row.id).cloned();
                take(&live.unwrap_or(row))
            };
            self.store
                .jobs_down(Some(newest), as_seen)
                .map_err(|error| unreadable(&error))?;
        } else {
            self.live_jobs_down(&mut take);
        }
        let whys = self.whys(&jobs, now);
        Ok(Reply::Jobs { jobs, more, whys })
    }

    /// Gives the live jobs, newest first, until `take` wants no more. A few at a time: what happened must not wait to be seen
    /// until a long list was read. A job that ends or changes between two is told as it was when it was reached.
    fn live_jobs_down(&self, take: &mut dyn FnMut(&JobRow) -> bool) {
        let mut before = self.cluster().next_job();
        loop {
            let cluster = self.cluster();
            let mut slice = cluster.jobs_down(before).take(SLICE).peekable();
            if slice.peek().is_none() {
                return;
            }
            for job in slice {
                before = job.id;
                if !take(job) {
                    return;
                }
            }
        }
    }

    /// Why the first of these jobs wait that do.
    fn whys(&self, jobs: &[JobRow], now: Now) -> Vec<Why> {
        let waiting = jobs.iter().filter(|job| job.counts.queued > 0 && !job.state.is_ended());
        let list = self.reasons.list(now.monotonic);
        waiting
            // Each with a look of its own at the cluster, for the same reason.
            .filter_map(|job| list.reason(job.id, || scheduler::explain(&self.cluster(), job.id, now)))
            .take(MAX_LISTED_WHYS)
            .collect()
    }

    /// Tasks of a job behind `after`, in order.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job, a word is no state, or the store cannot be read.
    pub fn tasks(
        &self,
        caller: &Caller,
        id: JobId,
        after: Option<TaskId>,
        states: &[String],
    ) -> Result<Reply, Refusal> {
        check_states(states)?;
        self.check_listing(caller, id, after)?;
        let mut tasks: Vec<TaskRow> = Vec::new();
        let (mut more, mut bytes) = (false, 0);
        let mut take = |task: &TaskRow| {
            if is_in(states, task.state.word()) {
                more = tasks.len() == MAX_ROWS || bytes > MAX_LIST_BYTES;
                if !more {
                    bytes += weight::of_task(task);
                    tasks.push(task.clone());
                }
            }
            !more
        };
        self.each_task(id, after, wanted_of(states), &mut take)?;
        let names = self.names(tasks.iter().flat_map(|task| task.last_nodes.iter().copied()));
        Ok(Reply::Tasks { tasks, names, more })
    }

    /// Tasks of a job behind `after`, in order, each sweep in one line.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job, or the store cannot be read.
    pub fn task_lines(&self, caller: &Caller, id: JobId, after: Option<TaskId>) -> Result<Reply, Refusal> {
        self.check_listing(caller, id, after)?;
        let mut lines: Vec<TaskLine> = Vec::new();
        let (mut more, mut bytes, mut counted) = (false, 0, 0);
        let mut take = |task: &TaskRow, failed: &dyn Fn() -> Vec<TaskId>| {
            more = counted == MAX_COUNTED || lines.len() >= MAX_ROWS || bytes > MAX_LIST_BYTES;
            if more {
                return false;
            }
            counted += 1;
            match lines.last_mut() {
                // A store of an earlier release has a row per step.
                Some(TaskLine::Sweep(sweep)) if sweep.id.covers(task.id) => sweep.add(task),
                _ => {
                    bytes += weight::of_task(task);
                    let array = task.array.as_ref().and_then(|_| SweepLine::of_array(task, failed()));
                    lines.push(match (array, task.id.step) {
                        (Some(line), _) => TaskLine::Sweep(Box::new(line)),
                        (None, Some(_)) => TaskLine::Sweep(Box::new(SweepLine::of(task))),
                        (None, None) => TaskLine::Task(Box::new(task.clone())),
                    });
                }
            }
            true
        };
        self.each_line(id, after, &mut take)?;
        let rows = lines.iter().filter_map(|line| match line {
            TaskLine::Task(row) => Some(row),
            TaskLine::Sweep(_) => None,
        });
        let names = self.names(rows.flat_map(|task| task.last_nodes.iter().copied()));
        Ok(Reply::TaskLines { lines, names, more })
    }

    fn check_listing(&self, caller: &Caller, id: JobId, after: Option<TaskId>) -> Result<(), Refusal> {
        if let Some(other) = after.filter(|after| after.job != id) {
            return Err(Refusal {
                code: RefusalCode::Invalid,
                what: format!("the tasks of job {id} cannot be listed from task {other} on, which is another job's"),
                remedy: format!("give a task of job {id}"),
                retry_after: None,
            });
        }
        self.job(caller, id).map(drop)
    }

    /// Gives the tasks of a job behind `after` in order, until `take` says that it wants no more.
    fn each_task(
        &self,
        id: JobId,
        after: Option<TaskId>,
        wanted: Wanted,
        take: &mut dyn FnMut(&TaskRow) -> bool,
    ) -> Result<(), Refusal> {
        let mut after = after;
        loop {
            let (mut looked_at, mut last, mut goes_on) = (0, after, true);
            let mut take_some = |task: &TaskRow| {
                (looked_at, last) = (looked_at + 1, Some(task.id));
                goes_on = take(task);
                goes_on && looked_at < SLICE
            };
            let mut walk = Walk {
                store: self.store.as_ref(),
                wanted,
                take: &mut take_some,
            };
            let walked = {
                let cluster = self.cluster();
                cluster.job(id).map(|_| walk.live(&cluster, id, after))
            };
            let Some(walked) = walked else { break };
            walked.map_err(|error| unreadable(&error))?;
            if !goes_on || looked_at < SLICE {
                return Ok(());
            }
            after = last;
        }
        // It is over, or was when the next part of it was looked for.
        let mut walk = Walk {
            store: self.store.as_ref(),
            wanted,
            take,
        };
        walk.stored(id, after).map_err(|error| unreadable(&error))
    }

    /// The same with arrays as one row each, and a way to ask which of its elements failed first.
    fn each_line(&self, id: JobId, after: Option<TaskId>, take: &mut TakeLine<'_>) -> Result<(), Refusal> {
        let wanted = Wanted {
            finished: false,
            untouched: false,
        };
        // Behind an array there is the next number.
        let after = after.map(|after| match after.step {
            Some(_) if self.is_array(TaskId::new(id, after.number)) => TaskId {
                step: Some(Step(u32::MAX)),
                ..after
            },
            _ => after,
        });
        let mut array: Option<TaskId> = None;
        let failed = |head: TaskId| {
            let mut failed = Vec::new();
            let found = self.each_task(id, Some(head), wanted, &mut |row| {
                let is_element = head.covers(row.id);
                if is_element
                    && matches!(
                        row.state,
                        TaskState::Ended {
                            outcome: TaskOutcome::Failed { .. },
                            ..
                        }
                    )
                {
                    failed.push(row.id);
                }
                is_element && failed.len() < SweepLine::SHOWN
            });
            // A line without them is better than none.
            found.map_or_else(|_| Vec::new(), |()| failed)
        };
        self.each_row(id, after, &mut |row| {
            if array.is_some_and(|array| array.covers(row.id)) {
                return true;
            }
            array = row.array.as_ref().map(|_| row.id);
            let some = row.array.as_ref().is_some_and(|state| state.counts.failed > 0);
            take(row, &|| if some { failed(row.id) } else { Vec::new() })
        })
    }

    /// The rows as they are kept: heads of arrays, and rows of elements.
    fn each_row(
        &self,
        id: JobId,
        after: Option<TaskId>,
        take: &mut dyn FnMut(&TaskRow) -> bool,
    ) -> Result<(), Refusal> {
        let mut after = after;
        while let Some((rows, last)) = self.live_rows(id, after) {
            if last.is_none() || !rows.iter().all(&mut *take) {
                return Ok(());
            }
            after = last;
        }
        self.store
            .tasks_up(id, after, &mut |task| take(&task))
            .map_err(|error| unreadable(&error))
    }

    /// Some rows of a live job behind that one, and the last that was looked at, if any. Copied, because what is done with a
    /// row may read the cluster once more.
    fn live_rows(&self, id: JobId, after: Option<TaskId>) -> Option<(Vec<TaskRow>, Option<TaskId>)> {
        let cluster = self.cluster();
        cluster.job(id)?;
        let rows: Box<dyn Iterator<Item = &TaskRow>> = match after {
            Some(after) => Box::new(cluster.tasks_after(id, after)),
            None => Box::new(cluster.tasks_of(id).chain(cluster.errands_of(id))),
        };
        let mut last = None;
        let is_line = |row: &&TaskRow| row.id.step.is_none() || !is_element(&cluster, row.id);
        let some = rows.take(SLICE).inspect(|row| last = Some(row.id));
        let lines = some.filter(is_line).cloned().collect();
        Some((lines, last))
    }

    fn is_array(&self, id: TaskId) -> bool {
        let live = self.cluster().task(id).map(|row| row.array.is_some());
        live.unwrap_or_else(|| {
            let row = self.store.row(&RowKey::Task(id));
            matches!(row, Ok(Some(Row::Task(row))) if row.array.is_some())
        })
    }
}

/// Takes a row, and may ask for the elements of an array that failed first.
type TakeLine<'a> = dyn FnMut(&TaskRow, &dyn Fn() -> Vec<TaskId>) -> bool + 'a;

fn is_element(cluster: &Cluster, id: TaskId) -> bool {
    let head = cluster.task(TaskId::new(id.job, id.number));
    head.is_some_and(|head| head.array.is_some())
}

/// Which elements of arrays may be in one of these states.
fn wanted_of(states: &[String]) -> Wanted {
    let asks = |words: &[&str]| words.iter().any(|word| is_in(states, word));
    Wanted {
        finished: asks(&["Finished"]),
        untouched: asks(&["Queued", "Canceled"]),
    }
}

fn check_states(words: &[String]) -> Result<(), Refusal> {
    let unknown = words
        .iter()
        .find(|word| !STATES.iter().any(|state| state.eq_ignore_ascii_case(word)));
    unknown.map_or(Ok(()), |word| {
        Err(Refusal {
            code: RefusalCode::Invalid,
            ..scheduler::unknown("state", word, STATES.into_iter(), "")
        })
    })
}

fn is_in(states: &[String], word: &str) -> bool {
    states.is_empty()
        || states
            .iter()
            .any(|state| state.eq_ignore_ascii_case(word) || state.eq_ignore_ascii_case("all"))
}

fn is_ended_word(word: &str) -> bool {
    ["finished", "failed", "canceled", "terminated", "all"]
        .iter()
        .any(|ended| word.eq_ignore_ascii_case(ended))
}

fn is_shown(job: &JobRow, caller: &Caller, filter: &JobFilter) -> bool {
    let whose = match &filter.user {
        Some(user) => job.owner.name == *user,
        None => filter.all_users || job.owner.uid == caller.owner.uid,
    };
    let state_fits = if filter.states.is_empty() {
        filter.ended || !job.state.is_ended()
    } else {
        is_in(&filter.states, job.state.word())
    };
    let kind_fits = filter.admin || job.spec.kind == JobKind::Batch;
    let is_asked = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|asked| asked == is);
    caller.may_touch(&job.owner)
        && whose
        && state_fits
        && kind_fits
        && is_asked(&filter.name, &job.spec.name)
        && is_asked(&filter.project, &job.spec.project)
        && filter.since.is_none_or(|since| job.submitted_at >= since)
}
