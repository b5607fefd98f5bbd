//! Jobs and tasks that come: checked whole, taken whole. What can never fit or never start is refused; what only does not
//! fit today waits. A submission that is repeated gets its first answer.

use std::collections::BTreeSet;

use proto::client::{MAX_TASKS, Refusal};
use proto::event::Event;
use proto::ids::{JobId, SubmissionId, TaskId, TaskNumber};
use proto::model::job::{Env, JobRow, JobSpec, JobState};
use proto::model::owner::{Caller, Role};
use proto::model::task::{TaskRow, TaskSpec};
use proto::stored::FIRST_TASK;

use super::check::{check_job, check_task};
use super::depend::check_dependencies;
use super::job::{Found, live_job, may_act_as_owner};
use super::ledger::Ledger;
use crate::cluster::{Cluster, Standing};
use crate::input::{Answer, StoredJob};
use crate::refusal::{busy, counted, forbidden, invalid, wrong_state};

/// The most tasks of jobs that are not over. All of them are in memory.
const MAX_LIVE_TASKS: usize = 2_000_000;

/// The most bytes that the sweeps of one request may grow to: each step has a row of its own, with the whole specification.
const MAX_SWEEP_BYTES: usize = 256 << 20;

/// Whether a submission would be taken.
///
/// # Errors
/// The refusal that [`crate::Input::Submit`] would get.
pub(crate) fn check_submission(
    cluster: &Cluster,
    caller: &Caller,
    job: &JobSpec,
    tasks: &[TaskSpec],
) -> Result<(), Refusal> {
    refuse_nodes(caller)?;
    check_job(caller, cluster, job)?;
    if !(tasks.is_empty() && job.run_until_canceled) {
        check_tasks(cluster, caller, job, tasks)?;
    }
    check_dependencies(tasks.iter(), tasks.iter())
}

pub(super) fn submit(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    submission: SubmissionId,
    job: &JobSpec,
    tasks: &[TaskSpec],
) -> Result<Answer, Refusal> {
    if let Some(first) = made_before(ledger.cluster, caller, submission)? {
        return Ok(first);
    }
    check_submission(ledger.cluster, caller, job, tasks)?;
    let id = ledger.cluster.meta().next_job;
    ledger.push(Event::JobAdded {
        job: id,
        submission,
        owner: caller.owner.clone(),
        spec: Box::new(without_past_hold(ledger, job)),
        tasks: tasks.to_vec(),
        at: ledger.now.wall,
    });
    Ok(Answer::Submitted {
        job: id,
        repeated: false,
    })
}

/// A job in configuration, without tasks.
pub(super) fn create(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    submission: SubmissionId,
    job: &JobSpec,
) -> Result<Answer, Refusal> {
    if let Some(first) = made_before(ledger.cluster, caller, submission)? {
        return Ok(first);
    }
    refuse_nodes(caller)?;
    check_job(caller, ledger.cluster, job)?;
    Ok(push_created(ledger, caller, submission, job))
}

fn push_created(ledger: &mut Ledger<'_>, caller: &Caller, submission: SubmissionId, job: &JobSpec) -> Answer {
    let id = ledger.cluster.meta().next_job;
    ledger.push(Event::JobCreated {
        job: id,
        submission,
        owner: caller.owner.clone(),
        spec: Box::new(job.clone()),
        at: ledger.now.wall,
    });
    Answer::Submitted {
        job: id,
        repeated: false,
    }
}

/// More tasks. A job that failed or was canceled runs again for them, and for them only.
pub(super) fn add(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    submission: SubmissionId,
    id: JobId,
    tasks: &[TaskSpec],
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    refuse_nodes(caller)?;
    let found = Found::new(ledger.cluster, caller, id, stored)?;
    may_act_as_owner(caller, found.job, "add tasks to")?;
    if let Some(row) = ledger.cluster.submission(submission) {
        return match row.first_task {
            Some(first) if row.job == id => Ok(Answer::Added {
                job: id,
                first,
                repeated: true,
            }),
            _ => Err(taken(submission)),
        };
    }
    found.may_go_on()?;
    check_tasks(ledger.cluster, caller, &found.job.spec, tasks)?;
    let revived = found.revived(false, ledger.now.wall);
    let back = if revived.is_some() { found.tasks().count() } else { 0 };
    check_room(ledger.cluster, back + steps(tasks))?;
    let first = found.job.next_task;
    let depend = tasks.iter().any(|task| !task.depends_on.is_empty());
    // Names that are not there yet may come before the job goes into the queue.
    if depend && found.job.state != JobState::Configuring {
        let all: Vec<&TaskSpec> = one_of_each(found.tasks()).map(|row| &row.spec).collect();
        check_dependencies(tasks.iter(), all.iter().copied().chain(tasks))?;
    }
    if depend {
        refuse_broken(&found, tasks)?;
    }
    if let Some(event) = revived {
        ledger.push(event);
        end_past_hold(ledger, found.job);
    }
    ledger.push(Event::TasksAdded {
        job: id,
        submission: Some(submission),
        first,
        tasks: tasks.to_vec(),
        at: ledger.now.wall,
    });
    Ok(Answer::Added {
        job: id,
        first,
        repeated: false,
    })
}

/// Tasks that depend on one that failed or was canceled could never start.
fn refuse_broken(found: &Found<'_>, tasks: &[TaskSpec]) -> Result<(), Refusal> {
    if found.job.spec.run_dependents_of_failed {
        return Ok(());
    }
    let names: BTreeSet<&String> = tasks.iter().flat_map(|task| &task.depends_on).collect();
    let wanted = |row: &&TaskRow| names.contains(&row.spec.name);
    let mut bad = found.tasks().filter(|row| Standing::of(&row.state) == Standing::Bad);
    match bad.find(wanted) {
        Some(row) => Err(wrong_state(
            format!(
                "task {} '{}' did not end well, so what waits for it can never start",
                row.id, row.spec.name
            ),
            format!("run it again first: task requeue {}", row.id),
        )),
        None => Ok(()),
    }
}

/// A job in configuration goes into the queue.
pub(super) fn put_into_queue(ledger: &mut Ledger<'_>, caller: &Caller, id: JobId) -> Result<Answer, Refusal> {
    let cluster = ledger.cluster;
    let job = live_job(cluster, caller, id)?;
    match &job.state {
        JobState::Configuring => {}
        JobState::Queued | JobState::Running { .. } => {
            return Ok(Answer::Notes(vec![format!("job {id} is submitted already")]));
        }
        JobState::Canceling { .. } | JobState::Ended { .. } => {
            return Err(wrong_state(
                format!("job {id} is being ended"),
                format!("see 'job view {id}'"),
            ));
        }
    }
    if job.counts.queued == 0 && !job.spec.run_until_canceled {
        return Err(wrong_state(
            format!("job {id} has no task that waits"),
            format!("add one: job add {id} COMMAND"),
        ));
    }
    // The job or the cluster may have changed since its tasks were added.
    check_job(caller, cluster, &job.spec)?;
    for task in one_of_each(cluster.tasks_of(id)) {
        check_task(cluster, caller, &job.spec, &task.spec)
            .map_err(|refusal| told_for(&format!("task {}", TaskId::new(id, task.id.number)), refusal))?;
    }
    let specs: Vec<&TaskSpec> = one_of_each(cluster.tasks_of(id)).map(|row| &row.spec).collect();
    check_dependencies(specs.iter().copied(), specs.iter().copied())?;
    ledger.push(Event::JobSubmitted {
        job: id,
        at: ledger.now.wall,
    });
    end_past_hold(ledger, job);
    Ok(Answer::Notes(Vec::new()))
}

/// A new job in configuration with the same wishes and tasks, the caller's own.
pub(super) fn clone(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    submission: SubmissionId,
    id: JobId,
    stored: Option<&StoredJob>,
) -> Result<Answer, Refusal> {
    refuse_nodes(caller)?;
    if let Some(first) = made_before(ledger.cluster, caller, submission)? {
        return Ok(first);
    }
    let found = Found::new(ledger.cluster, caller, id, stored)?;
    check_room(ledger.cluster, found.tasks().count())?;
    let answer = push_created(ledger, caller, submission, &without_past_hold(ledger, &found.job.spec));
    let tasks: Vec<TaskSpec> = one_of_each(found.tasks()).map(|row| row.spec.clone()).collect();
    if let (Answer::Submitted { job, .. }, false) = (&answer, tasks.is_empty()) {
        ledger.push(Event::TasksAdded {
            job: *job,
            submission: None,
            first: FIRST_TASK,
            tasks,
            at: ledger.now.wall,
        });
    }
    Ok(answer)
}

/// The tasks of a job, of each sweep the first step.
pub(super) fn one_of_each<'a>(tasks: impl Iterator<Item = &'a TaskRow>) -> impl Iterator<Item = &'a TaskRow> {
    let mut last: Option<TaskNumber> = None;
    tasks.filter(move |row| last.replace(row.id.number) != Some(row.id.number))
}

fn refuse_nodes(caller: &Caller) -> Result<(), Refusal> {
    if caller.role == Role::Node {
        return Err(forbidden(
            "a node submits no jobs",
            "submit as a user, on the head node",
        ));
    }
    Ok(())
}

/// The first answer to a submission that made a job.
fn made_before(cluster: &Cluster, caller: &Caller, submission: SubmissionId) -> Result<Option<Answer>, Refusal> {
    match cluster.submission(submission) {
        None => Ok(None),
        Some(row) if row.uid == caller.owner.uid && row.first_task.is_none() => Ok(Some(Answer::Submitted {
            job: row.job,
            repeated: true,
        })),
        Some(_) => Err(taken(submission)),
    }
}

fn taken(submission: SubmissionId) -> Refusal {
    invalid(
        format!("the submission id {submission} is somebody else's"),
        "submit without an id",
    )
}

fn check_tasks(cluster: &Cluster, caller: &Caller, job: &JobSpec, tasks: &[TaskSpec]) -> Result<(), Refusal> {
    let count = steps(tasks);
    if count == 0 {
        return Err(invalid("the job has no task", "give a command: job submit COMMAND"));
    }
    if count > MAX_TASKS {
        return Err(invalid(
            format!("the job has {count} tasks, and {MAX_TASKS} are the most"),
            "split it into several jobs",
        ));
    }
    check_room(cluster, count)?;
    for (number, task) in (1..).zip(tasks) {
        check_task(cluster, caller, job, task).map_err(|refusal| match tasks.len() {
            1 => refusal,
            _ => told_for(&format!("task {number}"), refusal),
        })?;
    }
    let bytes: usize = tasks
        .iter()
        .filter_map(|task| Some(task.sweep?.count() as usize * size_of_spec(task)))
        .sum();
    if bytes > MAX_SWEEP_BYTES {
        return Err(invalid(
            format!(
                "the steps of the sweep would hold {} MiB together, and {} are the most",
                bytes >> 20,
                MAX_SWEEP_BYTES >> 20
            ),
            "make its script or variables smaller, or split it into several sweeps",
        ));
    }
    Ok(())
}

pub(super) fn check_room(cluster: &Cluster, tasks: usize) -> Result<(), Refusal> {
    let live = cluster.live_tasks();
    if live + tasks > MAX_LIVE_TASKS {
        return Err(busy(
            format!(
                "the cluster holds {live} of at most {MAX_LIVE_TASKS} tasks, and {} would come",
                counted(tasks, "task")
            ),
            "submit again when some have ended",
        ));
    }
    Ok(())
}

/// Tasks with each step of a sweep counted.
fn steps(tasks: &[TaskSpec]) -> usize {
    tasks
        .iter()
        .map(|task| task.sweep.map_or(1, |sweep| sweep.count() as usize))
        .sum()
}

/// About the bytes of a task's row.
fn size_of_spec(task: &TaskSpec) -> usize {
    let of_env = |env: &Env| -> usize {
        env.iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len))
            .sum()
    };
    let paths = [&task.workdir, &task.stdin, &task.stdout, &task.stderr, &task.script];
    let words = task.command.iter().chain(&task.depends_on);
    size_of::<TaskRow>()
        + task.name.len()
        + words.map(String::len).sum::<usize>()
        + paths.into_iter().flatten().map(String::len).sum::<usize>()
        + of_env(&task.env)
}

fn told_for(task: &str, refusal: Refusal) -> Refusal {
    Refusal {
        what: format!("{task}: {}", refusal.what),
        ..refusal
    }
}

/// A hold that is over is none.
fn without_past_hold(ledger: &Ledger<'_>, job: &JobSpec) -> JobSpec {
    let mut job = job.clone();
    job.hold_until = job.hold_until.filter(|at| *at > ledger.now.wall);
    job
}

/// A job that comes into the queue with a hold that is over is not held.
pub(super) fn end_past_hold(ledger: &mut Ledger<'_>, job: &JobRow) {
    let spec = without_past_hold(ledger, &job.spec);
    if spec.hold_until != job.spec.hold_until {
        ledger.push(Event::JobModified {
            job: job.id,
            spec: Box::new(spec),
            progress: job.progress.clone(),
        });
    }
}
