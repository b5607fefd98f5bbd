//! Sentences: why a job waits, how a task or job ended.

use proto::model::job::{Env, JobOutcome, JobRow, JobState};
use proto::model::node::{AdminState, Liveness};
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskState};
use proto::model::why::{Hold, Why};
use proto::units::Millis;

use crate::answer::Names;

/// Why a job waits, with counts and what to look at; or that nothing of it waits.
#[must_use]
pub fn why(job: &JobRow, why: Option<&Why>) -> String {
    match why {
        Some(why) => waits(&format!("job {} waits: task {}", job.id, why.task), why),
        None => nothing_waits(job),
    }
}

/// The reason behind `job 3 waits: task 3.1`, or another beginning that names what waits.
pub(super) fn waits(who: &str, why: &Why) -> String {
    if let Some(held) = &why.held {
        return format!("{who} {}", hold(why, held));
    }
    let mut text = format!("{who} asks {}; ", why.asked);
    match why.asked {
        Request::Nodes { .. } => text += &format!("{} eligible, {} free", why.eligible, why.free),
        Request::Beside { .. } => text += "that node does not answer",
        Request::Cores { .. } | Request::Sockets { .. } => {
            text += &format!(
                "{} on {} eligible, {} free",
                counted(why.eligible_slots, "core"),
                counted(why.eligible, "node"),
                why.free_slots
            );
        }
    }
    text += &format!(" (of {} in the cluster)", counted(why.nodes, "node"));
    if !why.causes.is_empty() {
        let causes = why
            .causes
            .iter()
            .map(|(cause, count)| format!("{count} {}", cause.words()));
        text += &format!("; {}", causes.collect::<Vec<_>>().join(", "));
    }
    if why.ahead > 0 {
        let stands = if why.ahead == 1 { "stands" } else { "stand" };
        text += &format!("; {} {stands} before it in the queue", counted(why.ahead, "task"));
    }
    text += "; see 'node list'";
    let (asked, eligible, unit) = match why.asked {
        Request::Nodes { count } => (count, why.eligible, "node"),
        Request::Cores { count } => (count, why.eligible_slots, "core"),
        Request::Sockets { .. } | Request::Beside { .. } => return text,
    };
    if eligible < asked {
        let more = asked - eligible;
        let plural = if more == 1 { "" } else { "s" };
        text += &format!("\nIt cannot start before {more} more {unit}{plural} can take it");
    }
    text
}

/// What holds it up whatever is free.
fn hold(why: &Why, held: &Hold) -> String {
    let job = why.job;
    match held {
        Hold::Configuring => format!("is not submitted yet: job submit /id:{job}"),
        Hold::Until { at } => format!(
            "is held until {}; 'job modify {job} /holduntil:now' lets it go",
            super::moment::show(*at, super::Zone::Local)
        ),
        Hold::Tasks { names, count } => {
            let have = if *count == 1 { "has" } else { "have" };
            let (names, tasks) = (names.join(", "), counted(*count, "task"));
            format!("depends on {names}, of which {tasks} {have} not ended; see 'task list {job}'")
        }
        Hold::JobUnits { units } => {
            let most = units.max.map(|most| format!(", {most} at most")).unwrap_or_default();
            format!("asks {}, and the job may hold {}{most} at a time", why.asked, units.min)
        }
        Hold::LastTry => "waits for a node that still holds something of its last try; when that is gone for good: muster node remove NODE --force"
            .to_owned(),
    }
}

/// `once`, `3 times`
pub(super) fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// As they are given.
pub(super) fn variables(env: &Env) -> String {
    let each = env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()));
    each.collect::<Vec<_>>().join("; ")
}

fn nothing_waits(job: &JobRow) -> String {
    let JobRow { id, counts, state, .. } = job;
    match state {
        JobState::Configuring => format!("job {id} is not submitted yet: job submit /id:{id}"),
        JobState::Queued => format!("job {id} is about to start"),
        JobState::Running { .. } => {
            format!(
                "job {id} runs and nothing of it waits: {}",
                counted(counts.running, "task") + " running"
            )
        }
        JobState::Canceling { .. } => format!(
            "job {id} is being ended: its nodes stop {}",
            counted(counts.running, "task")
        ),
        JobState::Ended { outcome, .. } => format!("job {id} is over: {}", job_outcome(outcome)),
    }
}

/// How a job ended.
pub(super) fn job_outcome(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Finished => "every task ended well".to_owned(),
        JobOutcome::Failed { reason } => reason.clone(),
        JobOutcome::Canceled { by, message } if message.is_empty() => format!("canceled by {by}"),
        JobOutcome::Canceled { by, message } => format!("canceled by {by}: {message}"),
    }
}

/// How a task ended; nothing while it has not, or when it ended well.
pub(super) fn task_outcome(state: &TaskState, names: &Names) -> Option<String> {
    let outcome = match state {
        TaskState::Ended { outcome, .. } | TaskState::Stopping { outcome, .. } => outcome,
        TaskState::Queued | TaskState::Granted { .. } | TaskState::Running { .. } => return None,
    };
    match outcome {
        TaskOutcome::Finished => None,
        TaskOutcome::Canceled => Some("canceled".to_owned()),
        TaskOutcome::Failed { cause } => Some(attempt_outcome(cause, names)),
    }
}

pub(super) fn attempt_outcome(cause: &AttemptOutcome, names: &Names) -> String {
    match cause {
        AttemptOutcome::Exited { code } => format!("the program ended with exit code {code}"),
        AttemptOutcome::Signaled { signal } => {
            format!("the program was ended by signal {signal}{}", signal_name(*signal))
        }
        AttemptOutcome::NotStarted { reason } => reason.clone(),
        AttemptOutcome::TimedOut { limit } => format!("stopped after its run time of {limit}"),
        AttemptOutcome::Stopped => "stopped".to_owned(),
        AttemptOutcome::Fenced => "stopped by its node, which had lost the head node".to_owned(),
        AttemptOutcome::NodeLost { node, reason } => {
            format!("node {} was lost: {reason}", names.of(&[*node]).concat())
        }
        AttemptOutcome::Unknown => "ended in a way that this command line does not know".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => format!(" ({})", known.as_str()),
        Err(_) => String::new(),
    }
}

/// The administrator's switch in HPC Pack's words.
pub(super) const fn admin_word(admin: AdminState) -> &'static str {
    match admin {
        AdminState::Online => "Online",
        AdminState::Draining => "Draining",
        AdminState::Offline => "Offline",
    }
}

/// Whether a node answers.
pub(super) const fn health_word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Up { .. } => "OK",
        Liveness::Suspect { .. } => "Suspect",
        Liveness::Lost { .. } => "Lost",
        Liveness::Joined => "Unseen",
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A limit, or none.
pub(super) fn limit(limit: Option<Millis>) -> String {
    limit.map_or_else(|| "Infinite".to_owned(), |limit| limit.to_string())
}
