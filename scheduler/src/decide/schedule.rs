//! Job schedules: checked when they are made, and making jobs when they are due. At most one job of a schedule is alive;
//! when it ends, what waited for it follows in the same decision. [`crate::calendar`] knows what is due.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{JobId, ScheduleName, SubmissionId};
use proto::model::job::{JobKind, JobSpec};
use proto::model::owner::{Caller, Owner, Role};
use proto::model::schedule::{MIN_RECURRENCE, Recurrence, ScheduleAction, ScheduleRow, ScheduleSpec, ScheduleState};
use proto::units::Timestamp;

use super::ledger::Ledger;
use super::lifecycle::{delete_as, terminate_as};
use super::limits::check_queued;
use super::service::with_instances;
use super::submit::{elements, refuse_nodes, size_of_spec, without_past_hold};
use crate::calendar;
use crate::cluster::Cluster;
use crate::decide::check_submission;
use crate::input::Answer;
use crate::refusal::{busy, forbidden, invalid, unknown, wrong_state};

/// The most schedules. All of them are in memory.
const MAX_SCHEDULES: usize = 10_000;

/// The most bytes of the tasks of a schedule, together: it is stored as one row.
const MAX_TASK_BYTES: usize = 64 << 10;

/// Why a job ends with its schedule.
const REASON: &str = "TerminateJobSchedule";

pub(super) fn add(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &ScheduleName,
    spec: &ScheduleSpec,
) -> Result<Answer, Refusal> {
    refuse_nodes(caller)?;
    if let Some(row) = ledger.cluster.schedule(name) {
        return there_already(caller, row, spec);
    }
    if ledger.cluster.schedules().len() >= MAX_SCHEDULES {
        return Err(busy(
            format!("there are {MAX_SCHEDULES} job schedules, which is the most"),
            "delete one that is over: muster jobschedule delete NAME",
        ));
    }
    check(ledger, caller, spec)?;
    let mut row = ScheduleRow {
        name: name.clone(),
        owner: caller.owner.clone(),
        spec: spec.clone(),
        state: ScheduleState::Active,
        created_at: ledger.now.wall,
        next_run: None,
        recent_job: None,
        runs: 0,
        missed: 0,
        deleting: false,
    };
    row.next_run = calendar::next_run(&row, ledger.now.wall);
    ledger.change_schedule(row);
    Ok(Answer::Notes(Vec::new()))
}

/// The same again is answered as before.
fn there_already(caller: &Caller, row: &ScheduleRow, spec: &ScheduleSpec) -> Result<Answer, Refusal> {
    let name = &row.name;
    if row.spec == *spec && row.owner.uid == caller.owner.uid && !row.deleting {
        return Ok(Answer::Notes(vec![format!("job schedule '{name}' is there already")]));
    }
    Err(wrong_state(
        format!("there is a job schedule '{name}' already"),
        format!("take another name, or change that one: muster jobschedule modify {name}"),
    ))
}

pub(super) fn modify(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &ScheduleName,
    spec: &ScheduleSpec,
) -> Result<Answer, Refusal> {
    let row = named(ledger.cluster, caller, name)?;
    if !caller.may_act_as(&row.owner) {
        return Err(forbidden(
            format!(
                "'{}' may not change job schedule '{name}': its jobs run as '{}'",
                caller.owner.name, row.owner.name
            ),
            "make one of your own",
        ));
    }
    refuse_over(row)?;
    if row.spec == *spec {
        return Ok(Answer::Notes(vec![format!(
            "nothing of job schedule '{name}' is changed by that"
        )]));
    }
    check(ledger, caller, spec)?;
    let mut row = row.clone();
    let otherwise = row.spec.recurrence != spec.recurrence;
    row.spec = spec.clone();
    if otherwise && row.state == ScheduleState::Active {
        row.next_run = calendar::next_run(&row, ledger.now.wall);
    }
    settle(ledger, &mut row);
    ledger.change_schedule(row);
    Ok(Answer::Notes(Vec::new()))
}

/// What can never make a job, or what nobody may ask for.
fn check(ledger: &Ledger<'_>, caller: &Caller, spec: &ScheduleSpec) -> Result<(), Refusal> {
    check_recurrence(&spec.recurrence, ledger.now.wall)?;
    if spec.job.kind != JobKind::Batch {
        return Err(invalid(
            "a job schedule of commands beside the queue is asked for",
            "schedule a job of the queue",
        ));
    }
    if !spec.job.parents.is_empty() {
        return Err(invalid(
            "the jobs of a schedule are to wait for other jobs, which are over after the first time",
            "leave the parent jobs out",
        ));
    }
    let bytes: usize = spec.tasks.iter().map(size_of_spec).sum();
    if bytes > MAX_TASK_BYTES {
        return Err(invalid(
            format!("the tasks of the job schedule have {bytes} bytes, and {MAX_TASK_BYTES} are the most"),
            "let a sweep or a job manager task make them",
        ));
    }
    check_submission(ledger.cluster, caller, &spec.job, &spec.tasks)
}

fn check_recurrence(recurrence: &Recurrence, now: Timestamp) -> Result<(), Refusal> {
    let spans = [
        (recurrence.interval, "recurrence"),
        (recurrence.start_window, "start window"),
    ];
    for (span, what) in spans {
        if let Some(span) = span.filter(|span| *span < MIN_RECURRENCE) {
            return Err(invalid(
                format!("a {what} of {span} is asked for, and {MIN_RECURRENCE} is the least"),
                "give a longer one",
            ));
        }
    }
    let Some(last) = recurrence.do_not_run_after else {
        return Ok(());
    };
    let first = recurrence.do_not_run_until.unwrap_or(now).max(now);
    if last < first {
        return Err(invalid(
            "the moment after which the schedule makes no job is in the past, or before its first",
            "give a later one",
        ));
    }
    Ok(())
}

pub(super) fn act(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &ScheduleName,
    action: ScheduleAction,
) -> Result<Answer, Refusal> {
    let row = named(ledger.cluster, caller, name)?.clone();
    match action {
        ScheduleAction::Disable => disable(ledger, row),
        ScheduleAction::Enable => enable(ledger, row),
        ScheduleAction::Terminate => Ok(terminate(ledger, caller, row)),
        ScheduleAction::Delete => Ok(delete(ledger, caller, row)),
    }
}

fn disable(ledger: &mut Ledger<'_>, mut row: ScheduleRow) -> Result<Answer, Refusal> {
    refuse_over(&row)?;
    if row.state == ScheduleState::Disabled {
        let note = format!("job schedule '{}' is disabled already", row.name);
        return Ok(Answer::Notes(vec![note]));
    }
    (row.state, row.next_run) = (ScheduleState::Disabled, None);
    ledger.change_schedule(row);
    Ok(Answer::Notes(Vec::new()))
}

fn enable(ledger: &mut Ledger<'_>, mut row: ScheduleRow) -> Result<Answer, Refusal> {
    refuse_over(&row)?;
    if row.state != ScheduleState::Disabled {
        let note = format!("job schedule '{}' is not disabled", row.name);
        return Ok(Answer::Notes(vec![note]));
    }
    row.state = ScheduleState::Active;
    row.next_run = calendar::next_run(&row, ledger.now.wall);
    settle(ledger, &mut row);
    let over = row.state != ScheduleState::Active;
    let note = over.then(|| {
        format!(
            "job schedule '{}' makes no job any more: its last time is past",
            row.name
        )
    });
    ledger.change_schedule(row);
    Ok(Answer::Notes(note.into_iter().collect()))
}

fn terminate(ledger: &mut Ledger<'_>, caller: &Caller, mut row: ScheduleRow) -> Answer {
    let job = live_job(ledger, &row);
    if refuse_over(&row).is_err() && job.is_none_or(|job| ledger.is_ending(job)) {
        return Answer::Notes(vec![format!(
            "job schedule '{}' is over already, or being ended",
            row.name
        )]);
    }
    (row.state, row.next_run) = (ScheduleState::Terminating, None);
    settle(ledger, &mut row);
    ledger.change_schedule(row);
    if let Some(job) = job {
        terminate_as(ledger, job, &caller.owner.name, REASON);
    }
    Answer::Notes(
        job.map(|job| format!("job {job} is ended with it"))
            .into_iter()
            .collect(),
    )
}

/// Ends a schedule; it is gone as soon as its jobs in memory are.
fn delete(ledger: &mut Ledger<'_>, caller: &Caller, mut row: ScheduleRow) -> Answer {
    if row.deleting {
        let note = format!("job schedule '{}' is being deleted already", row.name);
        return Answer::Notes(vec![note]);
    }
    let jobs = jobs_of(ledger.cluster, &row.name);
    (row.state, row.next_run, row.deleting) = (ScheduleState::Terminating, None, true);
    ledger.change_schedule(row);
    for job in &jobs {
        delete_as(ledger, *job, &caller.owner.name, REASON);
    }
    Answer::Notes(match jobs.len() {
        0 => Vec::new(),
        1 => vec!["1 job of it is deleted with it".to_owned()],
        count => vec![format!("{count} jobs of it are deleted with it")],
    })
}

/// Schedules that are to be taken away, and of which no job is left in memory.
pub(super) fn remove_emptied(ledger: &mut Ledger<'_>) {
    for name in ledger.touched_schedules() {
        if !ledger.schedule(&name).is_some_and(|row| row.deleting) {
            continue;
        }
        let jobs = jobs_of(ledger.cluster, &name);
        if !jobs.into_iter().any(|job| ledger.is_there(job)) {
            ledger.push(Event::ScheduleRemoved { schedule: name });
        }
    }
}

/// Looks at all schedules of which something is due.
pub(super) fn run_due(ledger: &mut Ledger<'_>) {
    let cluster = ledger.cluster;
    for (at, name) in cluster.awake(ledger.now) {
        run(ledger, name, at.max(ledger.now.wall));
    }
}

/// The end of a job lets the next run of its schedule begin, or ends the schedule.
pub(super) fn follow(ledger: &mut Ledger<'_>, job: JobId) {
    let cluster = ledger.cluster;
    if let Some(name) = cluster.job(job).and_then(|job| job.schedule.as_ref()) {
        run(ledger, name, ledger.now.wall);
    }
}

fn run(ledger: &mut Ledger<'_>, name: &ScheduleName, now: Timestamp) {
    let Some(before) = ledger.schedule(name).filter(|row| !row.deleting) else {
        return;
    };
    let mut row = before.clone();
    if row.state == ScheduleState::Active {
        calendar::drop_lost(&mut row, now);
        if let Some(due) = row.next_run.filter(|due| *due <= now)
            && live_job(ledger, &row).is_none()
        {
            make_job(ledger, &mut row);
            row.next_run = calendar::following(&row.spec.recurrence, due);
        }
    }
    settle(ledger, &mut row);
    if ledger.schedule(name) != Some(&row) {
        ledger.change_schedule(row);
    }
}

/// Makes the job that is due. A run is lost when its job would be refused now: its pool is gone, or the cluster is full.
fn make_job(ledger: &mut Ledger<'_>, row: &mut ScheduleRow) {
    let caller = Caller {
        owner: row.owner.clone(),
        role: Role::User,
    };
    let spec = &row.spec;
    let tasks = with_instances(&spec.tasks).into_owned();
    let refused = check_submission(ledger.cluster, &caller, &spec.job, &tasks)
        .and_then(|()| check_queued(ledger.cluster, &row.owner.name, &spec.job, elements(&tasks)));
    if refused.is_err() {
        row.missed = row.missed.saturating_add(1);
        return;
    }
    let job = ledger.next_job();
    let made: JobSpec = without_past_hold(ledger, &spec.job);
    ledger.push(Event::JobAdded {
        job,
        submission: submission_of(&row.name, &row.owner, row.created_at, row.runs),
        owner: row.owner.clone(),
        spec: Box::new(made),
        tasks,
        at: ledger.now.wall,
        schedule: Some(row.name.clone()),
    });
    row.runs = row.runs.saturating_add(1);
    row.recent_job = Some(job);
}

/// A schedule without a next run is over with its last job.
fn settle(ledger: &Ledger<'_>, row: &mut ScheduleRow) {
    let made_here = row.recent_job.is_some_and(|job| job >= ledger.cluster.meta().next_job);
    let live = made_here || live_job(ledger, row).is_some();
    let ends = match row.state {
        ScheduleState::Active => row.next_run.is_none(),
        ScheduleState::Terminating => true,
        ScheduleState::Disabled | ScheduleState::Completed { .. } => false,
    };
    row.state = match (ends, live) {
        (false, _) => return,
        (true, true) => ScheduleState::Terminating,
        (true, false) => ScheduleState::Completed {
            ended_at: ledger.now.wall,
        },
    };
}

/// The job that it made last, when that is not over.
fn live_job(ledger: &Ledger<'_>, row: &ScheduleRow) -> Option<JobId> {
    row.recent_job.filter(|job| ledger.is_live(*job))
}

/// Its jobs in memory.
fn jobs_of(cluster: &Cluster, name: &ScheduleName) -> Vec<JobId> {
    let of_it = cluster.jobs().filter(|job| job.schedule.as_ref() == Some(name));
    of_it.map(|job| job.id).collect()
}

/// The submission of a run, for which nobody made an id: the same whenever it is decided, and another for each run.
/// FNV-1a with 128 bits.
fn submission_of(name: &ScheduleName, owner: &Owner, created_at: Timestamp, run: u32) -> SubmissionId {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let name = name.as_str().bytes();
    let numbers = [u64::from(owner.uid), created_at.0, u64::from(run)].map(u64::to_be_bytes);
    let hash = name
        .chain([0])
        .chain(numbers.into_iter().flatten())
        .fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    SubmissionId(hash)
}

/// A schedule that the caller may see. One of somebody else is as if it were not there.
fn named<'a>(cluster: &'a Cluster, caller: &Caller, name: &ScheduleName) -> Result<&'a ScheduleRow, Refusal> {
    let seen = |row: &&ScheduleRow| caller.may_touch(&row.owner);
    cluster.schedule(name).filter(seen).ok_or_else(|| {
        let names = cluster.schedules().filter(seen).map(|row| row.name.as_str());
        unknown("job schedule", name.as_str(), names, "see 'muster jobschedule list'")
    })
}

fn refuse_over(row: &ScheduleRow) -> Result<(), Refusal> {
    let is = match row.state {
        ScheduleState::Active | ScheduleState::Disabled => return Ok(()),
        ScheduleState::Terminating => "being ended",
        ScheduleState::Completed { .. } => "over",
    };
    Err(wrong_state(
        format!("job schedule '{}' is {is}", row.name),
        "make another one: muster jobschedule add NAME",
    ))
}
