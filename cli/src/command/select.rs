//! Which jobs and tasks are there of those that a command line means.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::client::{JobFilter, Reply, Request};
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::line::{SweepLine, TaskLine};
use proto::model::task::TaskKind;

use crate::answer::Names;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::Progress;
use crate::request::{JobPick, Picked, TaskPick};

/// A job that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    /// Which.
    pub(super) job: JobId,
    /// Whether it was named by its own number; one that lies in a range need not be there.
    pub(super) by_name: bool,
}

/// The jobs, in the order of the words.
pub(super) async fn jobs(picks: &[JobPick], client: &mut Client) -> Result<Vec<Meant>, CliError> {
    let mut meant: Vec<Meant> = Vec::new();
    for pick in picks {
        let (found, by_name) = match pick {
            JobPick::One(job) => (vec![*job], true),
            JobPick::Range(first, last) => ((first.0..=last.0).map(JobId).collect(), false),
            JobPick::Last(count) => (newest(*count, client).await?, true),
        };
        for job in found {
            if meant.iter().all(|meant| meant.job != job) {
                meant.push(Meant { job, by_name });
            }
        }
    }
    Ok(meant)
}

/// The one job that a word means.
pub(super) async fn job(pick: JobPick, client: &mut Client) -> Result<JobId, CliError> {
    match jobs(&[pick], client).await?.first() {
        Some(meant) => Ok(meant.job),
        None => Err(CliError::NoJobs),
    }
}

/// The caller's newest jobs.
async fn newest(count: u32, client: &mut Client) -> Result<Vec<JobId>, CliError> {
    let filter = JobFilter {
        ended: true,
        limit: Some(count),
        ..JobFilter::default()
    };
    match client.request(Request::ListJobs { filter }).await? {
        Reply::Jobs { jobs, .. } if jobs.is_empty() => Err(CliError::NoJobs),
        Reply::Jobs { jobs, .. } => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(jobs.iter().take(count).map(|job| job.id).collect())
        }
        _ => Err(ClientError::Unexpected { asked: "job list" }.into()),
    }
}

/// How the steps of a sweep are named where only some states are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Each by itself, to be looked at.
    Each,
    /// The sweep in their place where that means the same, to be changed.
    Shortest,
}

/// The tasks of each job, as a request names them: a whole sweep by its own id.
pub(super) async fn tasks(
    picked: &Picked,
    naming: Naming,
    client: &mut Client,
) -> Result<BTreeMap<JobId, Vec<TaskId>>, CliError> {
    let mut found: BTreeMap<JobId, Vec<TaskId>> = BTreeMap::new();
    for pick in &picked.tasks {
        let jobs = match pick {
            TaskPick::One(id) => vec![id.job],
            TaskPick::Tasks { job, .. } => vec![*job],
            TaskPick::Steps { sweep, .. } => vec![sweep.job],
            TaskPick::Jobs(pick) => jobs(&[*pick], client).await?.iter().map(|meant| meant.job).collect(),
        };
        for job in jobs {
            let of_job = found.entry(job).or_default();
            match pick {
                TaskPick::One(id) if picked.states.is_empty() => of_job.push(*id),
                TaskPick::Tasks { .. } | TaskPick::Jobs(_) | TaskPick::One(TaskId { step: None, .. })
                    if naming == Naming::Shortest && !picked.states.is_empty() =>
                {
                    of_job.extend(in_states(pick, job, &picked.states, client).await?);
                }
                _ => of_job.extend(
                    in_bounds(
                        bounds(pick, job),
                        is_whole(pick, &picked.states),
                        &picked.states,
                        client,
                    )
                    .await?,
                ),
            }
        }
    }
    for ids in found.values_mut() {
        ids.sort_unstable();
        ids.dedup();
    }
    found.retain(|_, ids| !ids.is_empty());
    Ok(found)
}

/// Without a filter a sweep is named as a whole, which is shorter by far.
const fn is_whole(pick: &TaskPick, states: &[String]) -> bool {
    states.is_empty() && !matches!(pick, TaskPick::Steps { .. })
}

/// Tasks in some states. Sweeps are looked at by their counts first: one may have millions of steps.
async fn in_states(
    pick: &TaskPick,
    job: JobId,
    states: &[String],
    client: &mut Client,
) -> Result<Vec<TaskId>, CliError> {
    let (first, last) = bounds(pick, job);
    let mut lines: Vec<TaskLine> = Vec::new();
    let mut pages = Pages::new(job, before(first), Of::Lines);
    while let Some((page, _)) = pages.next(client).await? {
        for line in page.into_iter().filter(|line| line.id() <= last) {
            match (lines.last_mut(), &line) {
                (Some(TaskLine::Sweep(sweep)), TaskLine::Sweep(next)) if sweep.id == next.id => sweep.merge(next),
                _ => lines.push(line),
            }
        }
    }
    let mut ids = Vec::new();
    for line in &lines {
        match line {
            TaskLine::Task(row) if states.iter().any(|state| state == row.state.word()) => ids.push(row.id),
            TaskLine::Task(_) => {}
            TaskLine::Sweep(sweep) => match meant(sweep, states) {
                Steps::None => {}
                Steps::All => ids.push(sweep.id),
                Steps::Some(states) => {
                    let bounds = bounds(&TaskPick::One(sweep.id), job);
                    ids.extend(in_bounds(bounds, false, &states, client).await?);
                }
            },
        }
    }
    Ok(ids)
}

/// Which steps of a sweep a filter means.
#[derive(Debug, PartialEq, Eq)]
enum Steps {
    None,
    /// All that a change of the whole sweep would change.
    All,
    /// Those in these states.
    Some(Vec<String>),
}

fn meant(sweep: &SweepLine, states: &[String]) -> Steps {
    let counts = &sweep.counts;
    let is_service = sweep.spec.kind == TaskKind::Service;
    let count = |state: &str| match state {
        // What nobody touched of a service is no task that waits.
        "Queued" if is_service => 0,
        "Queued" => counts.queued,
        "Finished" => counts.finished,
        "Failed" => counts.failed,
        "Canceled" => counts.canceled,
        _ => counts.running,
    };
    let there: Vec<String> = states.iter().filter(|state| count(state) > 0).cloned().collect();
    let counted: u32 = there.iter().map(|state| count(state)).sum();
    let unfinished = counts.queued + counts.running + counts.failed + counts.canceled;
    // Of these two there may be millions that no list should have; of others the steps themselves are meant.
    let is_plain = there.iter().all(|state| state == "Queued" || state == "Canceled");
    match () {
        () if there.is_empty() => Steps::None,
        () if is_plain && counted == unfinished => Steps::All,
        () => Steps::Some(there),
    }
}

/// After this time somebody who waits is told why.
const PATIENCE: Duration = Duration::from_secs(2);

/// The ids between two, both included.
async fn in_bounds(
    (first, last): (TaskId, TaskId),
    whole: bool,
    states: &[String],
    client: &mut Client,
) -> Result<Vec<TaskId>, CliError> {
    let mut ids: Vec<TaskId> = Vec::new();
    let mut pages = Pages::new(
        first.job,
        before(first),
        if whole { Of::Lines } else { Of::Steps(states.to_vec()) },
    );
    let begun = Instant::now();
    let mut progress = Progress::new();
    while let Some((lines, _)) = pages.next(client).await? {
        if begun.elapsed() > PATIENCE {
            progress.show(&format!("job {}: {} tasks found, still looking", first.job, ids.len()));
        }
        for id in lines.iter().map(TaskLine::id) {
            if id > last {
                return Ok(ids);
            }
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

/// The first and last id that a word may mean.
fn bounds(pick: &TaskPick, job: JobId) -> (TaskId, TaskId) {
    let all_steps = |number| TaskId {
        step: TaskId::last_of(job).step,
        ..TaskId::new(job, number)
    };
    match pick {
        TaskPick::One(id) if id.step.is_some() => (*id, *id),
        TaskPick::One(id) => (*id, all_steps(id.number)),
        TaskPick::Tasks { first, last, .. } => (TaskId::new(job, *first), all_steps(*last)),
        TaskPick::Steps { sweep, first, last } => (
            TaskId {
                step: Some(*first),
                ..*sweep
            },
            TaskId {
                step: Some(*last),
                ..*sweep
            },
        ),
        TaskPick::Jobs(_) => (TaskId::first_of(job), TaskId::last_of(job)),
    }
}

/// An id after which this one is the first that may come.
pub(super) fn before(id: TaskId) -> Option<TaskId> {
    match id.step {
        Some(step) if step.0 > 0 => Some(TaskId {
            step: Some(proto::ids::Step(step.0 - 1)),
            ..id
        }),
        Some(_) => Some(TaskId { step: None, ..id }),
        None => {
            let number = id.number.0.checked_sub(1)?;
            Some(TaskId {
                step: TaskId::last_of(id.job).step,
                ..TaskId::new(id.job, TaskNumber(number))
            })
        }
    }
}

/// What a job's tasks are told as.
#[derive(Debug, Clone)]
pub(super) enum Of {
    /// Each sweep in one line, which the head node counts.
    Lines,
    /// Each step, in these states; no state means all.
    Steps(Vec<String>),
}

/// A job's tasks, page by page.
#[derive(Debug)]
pub(super) struct Pages {
    job: JobId,
    after: Option<TaskId>,
    of: Of,
    more: bool,
}

impl Pages {
    /// Those after an id.
    pub(super) const fn new(job: JobId, after: Option<TaskId>, of: Of) -> Self {
        Self {
            job,
            after,
            of,
            more: true,
        }
    }

    /// Whether there is another page.
    pub(super) const fn more(&self) -> bool {
        self.more
    }

    /// The next page; none after the last. A sweep may go on from one page to the next.
    pub(super) async fn next(&mut self, client: &mut Client) -> Result<Option<(Vec<TaskLine>, Names)>, CliError> {
        if !self.more {
            return Ok(None);
        }
        let (job, after) = (self.job, self.after);
        let request = match &self.of {
            Of::Lines => Request::LineTasks { job, after },
            Of::Steps(states) => Request::ListTasks {
                job,
                after,
                states: states.clone(),
            },
        };
        let (lines, names, more) = match client.request(request).await? {
            Reply::TaskLines { lines, names, more } => (lines, names, more),
            Reply::Tasks { tasks, names, more } => {
                let lines = tasks.into_iter().map(|row| TaskLine::Task(Box::new(row)));
                (lines.collect(), names, more)
            }
            _ => return Err(ClientError::Unexpected { asked: "task list" }.into()),
        };
        // A page that brings nothing new and promises more would be asked for without end.
        let last = lines.last().map(TaskLine::last);
        self.more = more && last > after;
        self.after = last.or(after);
        Ok(Some((lines, Names(names))))
    }
}

#[cfg(test)]
mod tests {
    use proto::model::job::TaskCounts;
    use proto::model::sweep::Sweep;
    use proto::model::task::TaskSpec;

    use super::*;

    #[test]
    fn a_sweep_is_named_as_a_whole_where_that_means_the_same() {
        let mut spec = TaskSpec::of_command(vec!["x".to_owned()]);
        spec.sweep = Sweep::new(1, 1000, 1).ok();
        let mut sweep = SweepLine {
            id: TaskId::new(JobId(3), TaskNumber(1)),
            last: TaskId::last_of(JobId(3)),
            spec: spec.clone().into(),
            counts: TaskCounts {
                finished: 10,
                canceled: 990,
                ..TaskCounts::default()
            },
            started_at: None,
            ended_at: None,
            failed: Vec::new(),
        };
        let states = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(meant(&sweep, &states(&["Canceled"])), Steps::All);
        assert_eq!(meant(&sweep, &states(&["Failed"])), Steps::None);
        assert_eq!(
            meant(&sweep, &states(&["Finished"])),
            Steps::Some(states(&["Finished"]))
        );
        sweep.counts.failed = 1;
        let both = states(&["Canceled", "Queued"]);
        assert_eq!(meant(&sweep, &both), Steps::Some(states(&["Canceled"])));
        sweep.counts = TaskCounts {
            queued: 999,
            running: 1,
            ..TaskCounts::default()
        };
        spec.kind = TaskKind::Service;
        sweep.spec = spec.into();
        assert_eq!(meant(&sweep, &states(&["Queued"])), Steps::None);
    }

    #[test]
    fn what_comes_before_an_id_sorts_before_it_and_after_all_others() {
        let id = |text: &str| text.parse::<TaskId>().expect("an id");
        assert_eq!(before(id("3.2.5")), Some(id("3.2.4")));
        assert_eq!(before(id("3.2.0")), Some(id("3.2")));
        let last = before(id("3.2")).expect("an id");
        assert!(last < id("3.2") && last > id("3.1.99999"));
        assert_eq!(before(TaskId::new(JobId(3), TaskNumber(0))), None);
    }
}
