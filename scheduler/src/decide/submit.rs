//! Jobs and tasks that come: checked whole, taken whole. What can never fit or never start is refused; what only does not
//! fit today waits. A submission that is repeated gets its first answer.

use proto::client::{MAX_TASKS, Refusal};
use proto::event::Event;
use proto::ids::{JobId, SubmissionId, TaskId, TaskNumber};
use proto::model::job::{Env, JobRow, JobSpec, JobState};
use proto::model::owner::{Caller, Role};
use proto::model::task::{TaskRow, TaskSpec};
use proto::stored::FIRST_TASK;

use super::check::{check_job, check_task};
use super::depend::{Bad, Numbered, check_dependencies, check_ranges, numbered};
use super::job::{Found, live_job, may_act_as_owner};
use super::ledger::Ledger;
use super::lifecycle::refuse_outlived;
use super::limits::check_queued;
use super::parents::{check_parents, without_met};
use super::service::with_instances;
use crate::cluster::{Cluster, depends};
use crate::input::{Answer, StoredJob};
use crate::refusal::{busy, counted, forbidden, invalid, wrong_state};

/// The most tasks of jobs that are not over. All of them are in memory.
const MAX_LIVE_TASKS: usize = 2_000_000;

/// The most tasks of one job, elements of arrays counted: a hundred of the largest arrays. They are counted in 32 bits.
const MAX_ELEMENTS: u64 = 1_000_000_000;

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
    let tasks = &*with_instances(tasks);
    check_job(caller, cluster, job)?;
    check_parents(cluster, caller, job, cluster.meta().next_job)?;
    if !(tasks.is_empty() && may_be_empty(job)) {
        check_tasks(cluster, caller, job, tasks)?;
    }
    let all = || numbered(FIRST_TASK, tasks);
    check_dependencies(all(), all())
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
    let tasks = &*with_instances(tasks);
    check_submission(ledger.cluster, caller, job, tasks)?;
    check_queued(ledger.cluster, &caller.owner.name, job, elements(tasks))?;
    let id = ledger.cluster.meta().next_job;
    ledger.push(Event::JobAdded {
        job: id,
        submission,
        owner: caller.owner.clone(),
        spec: Box::new(without_past_hold(ledger, job)),
        tasks: tasks.to_vec(),
        at: ledger.now.wall,
        schedule: None,
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
    check_parents(ledger.cluster, caller, job, ledger.cluster.meta().next_job)?;
    let mut job = job.clone();
    job.parents = without_met(ledger.cluster, &job.parents);
    Ok(push_created(ledger, caller, submission, &job))
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
    refuse_outlived(ledger, found.job)?;
    let tasks = &*with_instances(tasks);
    check_tasks(ledger.cluster, caller, &found.job.spec, tasks)?;
    let revived = found.revived(false, ledger.now.wall);
    let back = if revived.is_some() { found.tasks().count() } else { 0 };
    check_room(ledger.cluster, back + tasks.len())?;
    check_elements(u64::from(found.job.counts.total()), tasks)?;
    check_queued(ledger.cluster, &found.job.owner.name, &found.job.spec, elements(tasks))?;
    let first = found.job.next_task;
    if tasks.iter().any(depends) {
        let before: Vec<Numbered<'_>> = one_of_each(found.tasks())
            .map(|row| (row.id.number, &*row.spec))
            .collect();
        let all = before.iter().copied().chain(numbered(first, tasks));
        // Names that are not there yet may come before the job goes into the queue.
        match found.job.state {
            JobState::Configuring => check_ranges(numbered(first, tasks), all)?,
            _ => check_dependencies(numbered(first, tasks), all)?,
        }
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
    let bad = Bad::of(found.bad());
    let first = tasks
        .iter()
        .filter_map(|task| bad.awaited_by(task))
        .min_by_key(|row| row.id);
    match first {
        Some(row) => Err(wrong_state(
            format!(
                "task {} did not end well, so what waits for it can never start",
                called(row)
            ),
            format!("run it again first: task requeue {}", row.id),
        )),
        None => Ok(()),
    }
}

/// `12.3 'mesh'`.
fn called(row: &TaskRow) -> String {
    match row.spec.name.as_str() {
        "" => row.id.to_string(),
        name => format!("{} '{name}'", row.id),
    }
}

/// A job in configuration goes into the queue.
pub(super) fn put_into_queue(ledger: &mut Ledger<'_>, caller: &Caller, id: JobId) -> Result<Answer, Refusal> {
    let cluster = ledger.cluster;
    let job = live_job(cluster, caller, id)?;
    match &job.state {
        JobState::Configuring => {}
        JobState::Queued | JobState::Running { .. } | JobState::Disabled { .. } => {
            return Ok(Answer::Notes(vec![format!("job {id} is submitted already")]));
        }
        JobState::Canceling { .. } | JobState::Ended { .. } => {
            return Err(wrong_state(
                format!("job {id} is being ended"),
                format!("see 'job view {id}'"),
            ));
        }
    }
    if job.counts.queued == 0 && !may_be_empty(&job.spec) {
        return Err(wrong_state(
            format!("job {id} has no task that waits"),
            format!("add one: job add {id} COMMAND"),
        ));
    }
    // The job or the cluster may have changed since its tasks were added.
    check_job(caller, cluster, &job.spec)?;
    check_parents(cluster, caller, &job.spec, id)?;
    for task in one_of_each(cluster.tasks_of(id)) {
        check_task(cluster, caller, &job.spec, &task.spec)
            .map_err(|refusal| told_for(&format!("task {}", TaskId::new(id, task.id.number)), refusal))?;
    }
    let all: Vec<Numbered<'_>> = one_of_each(cluster.tasks_of(id))
        .map(|row| (row.id.number, &*row.spec))
        .collect();
    check_dependencies(all.iter().copied(), all.iter().copied())?;
    // They count only now that they wait; the job itself counted before as far as it was asked for.
    check_queued(cluster, &job.owner.name, &job.spec, 0)?;
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
    // Those that a job has for itself come with its wishes.
    let own = |row: &&TaskRow| (FIRST_TASK..=TaskNumber::LARGEST).contains(&row.id.number);
    let tasks = one_of_each(found.tasks()).filter(own);
    let tasks: Vec<TaskSpec> = tasks.map(|row| (*row.spec).clone()).collect();
    check_room(ledger.cluster, tasks.len())?;
    check_queued(ledger.cluster, &caller.owner.name, &found.job.spec, elements(&tasks))?;
    let answer = push_created(ledger, caller, submission, &without_past_hold(ledger, &found.job.spec));
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

/// The tasks of a job, of each array its own row.
pub(super) fn one_of_each<'a>(tasks: impl Iterator<Item = &'a TaskRow>) -> impl Iterator<Item = &'a TaskRow> {
    let mut last: Option<TaskNumber> = None;
    tasks.filter(move |row| last.replace(row.id.number) != Some(row.id.number))
}

/// Whether it needs no task to be submitted: it goes on without, or its manager task adds them.
fn may_be_empty(job: &JobSpec) -> bool {
    job.run_until_canceled || job.manager.is_some()
}

pub(super) fn refuse_nodes(caller: &Caller) -> Result<(), Refusal> {
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
    let count = tasks.len();
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
    check_elements(0, tasks)?;
    for (number, task) in (1..).zip(tasks) {
        check_task(cluster, caller, job, task).map_err(|refusal| match tasks.len() {
            1 => refusal,
            _ => told_for(&format!("task {number}"), refusal),
        })?;
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

/// About the bytes of a task's row.
pub(super) fn size_of_spec(task: &TaskSpec) -> usize {
    let of_env = |env: &Env| -> usize {
        env.iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len))
            .sum()
    };
    let paths = [&task.workdir, &task.stdin, &task.stdout, &task.stderr, &task.script];
    let coordination = task.coordination.iter().flatten();
    let files = task.common_files.iter().flat_map(|file| [&file.path, &file.text]);
    let words = task
        .command
        .iter()
        .chain(&task.depends_on)
        .chain(coordination)
        .chain(files);
    let rules = task
        .exit_conditions
        .as_ref()
        .map_or(0, |conditions| conditions.codes.len());
    size_of::<TaskRow>()
        + task.name.len()
        + words.map(String::len).sum::<usize>()
        + rules * 64
        + paths.into_iter().flatten().map(String::len).sum::<usize>()
        + of_env(&task.env)
}

/// Tasks with each element of an array counted.
pub(super) fn elements(tasks: &[TaskSpec]) -> usize {
    let count = |task: &TaskSpec| task.sweep.map_or(1, |sweep| sweep.count() as usize);
    tasks.iter().map(count).sum()
}

/// Whether a job of so many tasks can take these, each element of an array counted.
fn check_elements(before: u64, tasks: &[TaskSpec]) -> Result<(), Refusal> {
    let count = |task: &TaskSpec| task.sweep.map_or(1, |sweep| u64::from(sweep.count()));
    let all = before + tasks.iter().map(count).sum::<u64>();
    if all > MAX_ELEMENTS {
        return Err(invalid(
            format!("the job would have {all} tasks, steps of sweeps counted, and {MAX_ELEMENTS} are the most"),
            "split it into several jobs",
        ));
    }
    Ok(())
}

fn told_for(task: &str, refusal: Refusal) -> Refusal {
    Refusal {
        what: format!("{task}: {}", refusal.what),
        ..refusal
    }
}

/// A hold that is over is none, and a parent that is over is awaited no longer.
pub(super) fn without_past_hold(ledger: &Ledger<'_>, job: &JobSpec) -> JobSpec {
    let mut job = job.clone();
    job.parents = without_met(ledger.cluster, &job.parents);
    job.hold_until = job.hold_until.filter(|at| *at > ledger.now.wall);
    job
}

/// A job that comes into the queue with a hold that is over is not held. One that comes back waits for no parent that is
/// over: somebody asked for it in spite of that.
pub(super) fn end_past_hold(ledger: &mut Ledger<'_>, job: &JobRow) {
    let spec = without_past_hold(ledger, &job.spec);
    if spec != job.spec {
        ledger.modify_job(job, spec, job.progress.clone());
    }
}
