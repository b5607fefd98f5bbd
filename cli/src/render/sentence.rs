//! Sentences: how a task or job ended, what a node is to do, what follows from an exit.

use proto::ids::JobId;
use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, JobAction, Retries};
use proto::model::job::{Env, JobOutcome, TaskCounts};
use proto::model::limits::Limits;
use proto::model::node::{AdminState, Deallocation, Liveness, NodeErrandKind, NodeStart, StartState};
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskState};
use proto::units::Millis;

use crate::answer::Names;

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

/// How a job ended. A job that somebody finished may have tasks that did not end well; they are counted.
pub(super) fn job_outcome(outcome: &JobOutcome, job: JobId, counts: &TaskCounts) -> String {
    match outcome {
        JobOutcome::Finished if counts.failed == 0 && counts.canceled == 0 => "every task ended well".to_owned(),
        JobOutcome::Finished => ended_counts(counts),
        JobOutcome::Failed { reason } => reason.clone(),
        JobOutcome::Canceled { by, message } if message.is_empty() => format!("canceled by {by}"),
        JobOutcome::Canceled { by, message } => format!("canceled by {by}: {message}"),
        JobOutcome::Terminated { by, reason } => {
            if reason == "TaskFailed" {
                return format!("a task failed; see 'task list {job} --filter failed'");
            }
            let said = match reason.as_str() {
                "UserTerminate" => "terminated",
                "JMComplete" => "its manager task is over",
                "MaxWallClockTimeExpiry" => "its wall clock time was over",
                "AllTasksComplete" => "all its tasks are over",
                "TerminateJobSchedule" => "its job schedule was terminated",
                other => other,
            };
            match by.as_str() {
                "" => said.to_owned(),
                by if said == "terminated" => format!("terminated by {by}"),
                by => format!("terminated by {by}: {said}"),
            }
        }
    }
}

/// `2 finished, 1 canceled`
fn ended_counts(counts: &TaskCounts) -> String {
    let each = [
        (counts.finished, "finished"),
        (counts.failed, "failed"),
        (counts.canceled, "canceled"),
    ];
    let each = each.iter().filter(|(count, _)| *count > 0);
    each.map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
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

/// What happens to the tasks of a node that gets no more work.
pub(super) const fn deallocation(option: Deallocation) -> &'static str {
    match option {
        Deallocation::Requeue => "its tasks wait again",
        Deallocation::Terminate => "its tasks are stopped",
        Deallocation::TaskCompletion => "its tasks go on to their end",
        Deallocation::RetainedData => "its tasks go on to their end, and their files are kept",
    }
}

/// What a node is to do.
pub(super) const fn errand(kind: NodeErrandKind) -> &'static str {
    match kind {
        NodeErrandKind::Reboot => "reboot",
        NodeErrandKind::Reimage => "reimage",
        NodeErrandKind::Leave => "leave",
    }
}

/// How far the start task of its pool is on a node.
pub(super) fn start_state(start: &NodeStart) -> String {
    match &start.state {
        StartState::Running => "running".to_owned(),
        StartState::Done => "done".to_owned(),
        StartState::Failed { reason } if reason.is_empty() => "failed".to_owned(),
        StartState::Failed { reason } => format!("failed: {reason}"),
    }
}

/// As the option is written.
pub(super) fn retries(retries: Retries) -> String {
    match retries {
        Retries::AtMost(most) => most.to_string(),
        Retries::Unlimited => "for ever".to_owned(),
    }
}

/// As the options are written, one after the other.
pub(super) fn exit_conditions(conditions: &ExitConditions) -> String {
    let options = |options: &ExitOptions| {
        let dependency = options.dependency.map(|action| match action {
            DependencyAction::Satisfy => "satisfy",
            DependencyAction::Block => "block",
        });
        let job = options.job.map(|action| match action {
            JobAction::None => "job:none",
            JobAction::Disable => "job:disable",
            JobAction::Terminate => "job:terminate",
        });
        dependency.into_iter().chain(job).collect::<Vec<_>>().join(",")
    };
    let rules = conditions.codes.iter().map(|rule| {
        let codes = match rule.first == rule.last {
            true => rule.first.to_string(),
            false => format!("{}-{}", rule.first, rule.last),
        };
        format!("{codes}={}", options(&rule.options))
    });
    let named = [
        ("error", conditions.pre_processing_error),
        ("upload", conditions.file_upload_error),
        ("default", conditions.default),
    ];
    let named = named
        .iter()
        .filter_map(|(name, found)| found.as_ref().map(|found| format!("{name}={}", options(found))));
    rules.chain(named).collect::<Vec<_>>().join(" ")
}

/// How much somebody may have at a time.
pub(super) fn limits(limits: &Limits) -> String {
    use proto::model::why::LimitKind;
    let each = [
        (limits.running_jobs.map(u64::from), LimitKind::RunningJobs),
        (limits.cores.map(u64::from), LimitKind::Cores),
        (limits.queued_tasks, LimitKind::QueuedTasks),
    ];
    let said = each
        .iter()
        .filter_map(|(most, kind)| most.map(|most| super::why::bound(*kind, most)));
    let said = said.collect::<Vec<_>>().join(", ");
    if said.is_empty() { "none".to_owned() } else { said }
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A limit, or none.
pub(super) fn limit(limit: Option<Millis>) -> String {
    limit.map_or_else(|| "Infinite".to_owned(), |limit| limit.to_string())
}
