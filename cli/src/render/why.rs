//! Why something waits: what it asks, a line for each cause with its count, what could change it next, and when.

use proto::model::job::{JobRow, JobState};
use proto::model::task::Request;
use proto::model::why::{Hold, LimitKind, NextEvent, Why};
use proto::units::{Millis, Timestamp};

use super::sentence::{counted, job_outcome};
use super::{Look, moment};
use crate::answer::Names;

/// Why a job or one of its tasks waits; or that nothing of it waits.
pub(super) fn lines(job: &JobRow, why: Option<&Why>, names: &Names, look: &Look) -> Vec<String> {
    match why {
        Some(why) => waits(&format!("job {} waits: task {}", job.id, why.task), why, names, look),
        None => vec![nothing_waits(job)],
    }
}

/// The reason behind `job 3 waits: task 3.1`, or another beginning that names what waits: the first line, then one for each
/// thing that is known of it.
pub(super) fn waits(who: &str, why: &Why, names: &Names, look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    match &why.held {
        Some(held) => lines.push(format!("{who} {}", hold(why, held, names, look))),
        None => {
            lines.push(format!("{who} {}", counts(why)));
            lines.extend(
                why.causes
                    .iter()
                    .map(|(cause, count)| format!("{count} {}", cause.words())),
            );
            if why.ahead > 0 {
                let stands = if why.ahead == 1 { "stands" } else { "stand" };
                lines.push(format!(
                    "{} {stands} before it in the queue",
                    counted(why.ahead, "task")
                ));
            }
        }
    }
    lines.extend(short(why));
    lines.extend(
        why.next
            .as_ref()
            .map(|next| format!("next: {}", event(next, names, look))),
    );
    lines.extend(why.expected_start.map(|at| {
        format!(
            "expected: to start {}, if what runs takes as long as its limit",
            at_and_in(at, look)
        )
    }));
    lines
}

/// What it asks, and what there is of that.
fn counts(why: &Why) -> String {
    let there = match why.asked {
        Request::Nodes { .. } => format!("{} eligible, {} free", why.eligible, why.free),
        Request::Beside { .. } => "that node does not answer".to_owned(),
        Request::Cores { .. } | Request::Sockets { .. } => format!(
            "{} on {} eligible, {} free",
            counted(why.eligible_slots, "core"),
            counted(why.eligible, "node"),
            why.free_slots
        ),
    };
    format!(
        "asks {}; {there} (of {} in the cluster); see 'node list'",
        why.asked,
        counted(why.nodes, "node")
    )
}

/// What today's nodes lack, whatever ends. An older head node leaves it to be seen from the counts.
fn short(why: &Why) -> Option<String> {
    let (asked, eligible, unit) = match (why.short_nodes, why.asked) {
        (Some(0), _) => return None,
        (Some(count), _) => (count, 0, "node"),
        (None, _) if why.held.is_some() => return None,
        (None, Request::Nodes { count }) => (count, why.eligible, "node"),
        (None, Request::Cores { count }) => (count, why.eligible_slots, "core"),
        (None, Request::Sockets { .. } | Request::Beside { .. }) => return None,
    };
    let more = asked.checked_sub(eligible).filter(|more| *more > 0)?;
    Some(format!(
        "short: it cannot start before {more} more {unit}{} can take it",
        if more == 1 { "" } else { "s" }
    ))
}

/// What holds it up whatever is free.
fn hold(why: &Why, held: &Hold, names: &Names, look: &Look) -> String {
    let job = why.job;
    match held {
        Hold::Configuring => format!("is not submitted yet: job submit /id:{job}"),
        Hold::Until { at } => format!(
            "is held until {}; 'job modify {job} /holduntil:now' lets it go",
            moment::show(*at, look.zone)
        ),
        Hold::Tasks { names, count } => {
            let have = if *count == 1 { "has" } else { "have" };
            let (names, tasks) = (names.join(", "), counted(*count, "task"));
            format!("depends on {names}, of which {tasks} {have} not ended; see 'task list {job}'")
        }
        Hold::TaskNumbers { first, count } => match count {
            0 | 1 => format!("depends on task {first}, which has not ended well, or is not there; see 'task list {job}'"),
            count => format!(
                "depends on task {first} and {}, which have not ended well, or are not there; see 'task list {job}'",
                counted(count - 1, "other")
            ),
        },
        Hold::JobUnits { units } => {
            let most = units.max.map(|most| format!(", {most} at most")).unwrap_or_default();
            format!("asks {}, and the job may hold {}{most} at a time", why.asked, units.min)
        }
        Hold::LastTry => "waits for a node that still holds something of its last try; when that is gone for good: muster node remove NODE --force"
            .to_owned(),
        Hold::Disabled => format!("is disabled; 'job enable {job}' lets it go on"),
        Hold::Parents { jobs } => {
            let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
            let jobs = if ids.len() == 1 { "job" } else { "jobs" };
            let first = ids.first().cloned().unwrap_or_default();
            format!("waits for {jobs} {} to finish; see 'job why {first}'", ids.join(", "))
        }
        Hold::UserLimit { user, limit, most } => format!(
            "waits for a limit of user {user}: {} at a time; see 'muster limit list'",
            bound(*limit, *most)
        ),
        Hold::PoolLimit { pool, limit, most } => format!(
            "waits for a limit of pool {pool}: {} at a time; see 'pool view {pool}'",
            bound(*limit, *most)
        ),
        Hold::Parallel { most } => format!(
            "waits because the job runs {} at a time; 'job modify {job} --max-parallel-tasks N' changes it",
            counted(*most, "task")
        ),
        Hold::Preparing { nodes } => format!(
            "has its nodes; the job's preparation task runs first on {}; see 'task list {job}'",
            names.of(nodes).join(", ")
        ),
        Hold::NoSuchResource { resource } => {
            format!("needs the resource {resource}, and no node has any; see 'node list -o wide'")
        }
    }
}

/// The reason in a few words, for a column.
pub(super) fn brief(why: &Why) -> String {
    let counted_first = || {
        let most = why.causes.iter().max_by_key(|(_, count)| **count);
        most.map(|(cause, count)| format!("{count} {}", cause.words()))
    };
    match (&why.held, why.short_nodes) {
        (Some(held), _) => match held {
            Hold::Configuring => "its submission".to_owned(),
            Hold::Until { .. } => "its time".to_owned(),
            Hold::Tasks { .. } | Hold::TaskNumbers { .. } => "other tasks".to_owned(),
            Hold::JobUnits { .. } | Hold::Parallel { .. } => "its own bound".to_owned(),
            Hold::LastTry => "its last try".to_owned(),
            Hold::Disabled => "job enable".to_owned(),
            Hold::Parents { jobs } => format!("job {}", super::people::joined(jobs.iter())),
            Hold::UserLimit { limit, most, .. } => format!("limit of its user: {}", bound(*limit, *most)),
            Hold::PoolLimit { limit, most, .. } => format!("limit of its pool: {}", bound(*limit, *most)),
            Hold::Preparing { .. } => "its preparation".to_owned(),
            Hold::NoSuchResource { resource } => format!("resource {resource}"),
        },
        (None, Some(more)) if more > 0 => format!("{} more", counted(more, "node")),
        (None, _) if why.ahead > 0 => format!("{} before it", counted(why.ahead, "task")),
        (None, _) => counted_first().unwrap_or_else(|| "-".to_owned()),
    }
}

/// `128 cores`
pub(super) fn bound(limit: LimitKind, most: u64) -> String {
    let unit = match limit {
        LimitKind::RunningJobs => "running job",
        LimitKind::Cores => "core",
        LimitKind::QueuedTasks => "waiting task",
    };
    format!("{most} {unit}{}", if most == 1 { "" } else { "s" })
}

fn event(next: &NextEvent, names: &Names, look: &Look) -> String {
    match next {
        NextEvent::TaskEnds { task, by: Some(by) } => {
            format!("task {task} ends, {} at the latest", at_and_in(*by, look))
        }
        NextEvent::TaskEnds { task, by: None } => format!("task {task} ends"),
        NextEvent::Moment { at } => format!("its time comes, {}", at_and_in(*at, look)),
        NextEvent::JobEnds { job } => format!("job {job} ends"),
        NextEvent::NodeReady { node } => format!(
            "node {0} is ready; see 'node view {0}'",
            names.of(std::slice::from_ref(node)).concat()
        ),
        NextEvent::NodesAdded { count } => {
            let are = if *count == 1 { "is" } else { "are" };
            format!("{} {are} added", counted(*count, "node"))
        }
        NextEvent::Somebody { command } => format!("somebody types: {command}"),
    }
}

/// `at 14:03 (in 12 min)`; on another day with its date.
fn at_and_in(at: Timestamp, look: &Look) -> String {
    let (whole, now) = (moment::show(at, look.zone), moment::show(look.now, look.zone));
    let to_the_minute = |text: &str| {
        text.rsplit_once(':')
            .map_or_else(|| text.to_owned(), |(minute, _)| minute.to_owned())
    };
    let shown = match (whole.split_once(' '), now.split_once(' ')) {
        (Some((day, time)), Some((today, _))) if day == today => to_the_minute(time),
        _ => to_the_minute(&whole),
    };
    format!("at {shown} ({})", ahead(at, look.now))
}

fn ahead(at: Timestamp, now: Timestamp) -> String {
    const HOURS: u64 = 2 * 3600;
    match at.since(now) {
        Millis(0) => "now".to_owned(),
        Millis(ms) if ms < 60_000 => format!("in {} s", ms.div_ceil(1000)),
        Millis(ms) if ms < HOURS * 1000 => format!("in {} min", (ms + 30_000) / 60_000),
        span => format!("in {span}"),
    }
}

fn nothing_waits(job: &JobRow) -> String {
    let JobRow { id, counts, state, .. } = job;
    match state {
        JobState::Configuring => format!("job {id} is not submitted yet: job submit /id:{id}"),
        JobState::Queued => format!("job {id} is about to start"),
        JobState::Running { .. } => {
            format!(
                "job {id} runs and nothing of it waits: {} running",
                counted(counts.running, "task")
            )
        }
        JobState::Disabled { .. } => format!("job {id} is disabled; 'job enable {id}' lets it go on"),
        JobState::Canceling { .. } if counts.running == 0 => {
            format!("job {id} is being ended: its release tasks run; see 'task list {id}'")
        }
        JobState::Canceling { .. } => format!(
            "job {id} is being ended: its nodes stop {}",
            counted(counts.running, "task")
        ),
        JobState::Ended { outcome, .. } => format!("job {id} is over: {}", job_outcome(outcome, *id, counts)),
    }
}

/// The lines for people: what is known of it stands below the first, further in.
pub(super) fn tree(lines: &[String]) -> String {
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        out += if number == 0 { "" } else { "  " };
        out += &super::tame(line);
        out.push('\n');
    }
    out
}
