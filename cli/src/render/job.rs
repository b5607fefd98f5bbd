//! Jobs as people read them: lists, one with all that is known, one that is over.

use std::collections::BTreeMap;

use proto::ids::{JobId, NodeId, TaskNumber};
use proto::model::job::{
    GroupOperator, JobRow, JobSpec, JobState, OrderBy, OrderKey, Progress, Span, TaskCounts, Units,
};
use proto::model::task::{Request, TaskRow, TaskSpec};
use proto::model::why::Why;
use proto::units::Timestamp;

use super::people::{any, dash, elapsed, state_word, tamed, told};
use super::table::{Kind, Table};
use super::task::command_line;
use super::{Form, Look, moment, sentence, tame, why};
use crate::answer::{Names, Rehearsed, Subject};

/// A line for each.
pub(super) fn jobs_table(jobs: &[JobRow], whys: &[Why], look: &Look) -> Table {
    if look.form == Form::Wide {
        return wide_table(jobs, whys, look);
    }
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("Name", Kind::Text),
        ("Owner", Kind::Text),
        ("State", Kind::State),
        ("Priority", Kind::Id),
        ("Tasks", Kind::Number),
        ("Submitted", Kind::Id),
        ("Time", Kind::Number),
    ]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            dash(&job.spec.name),
            job.owner.name.clone(),
            job.state.word().to_owned(),
            job.spec.priority.to_string(),
            job.counts.total().to_string(),
            submitted(job.submitted_at, look),
            job_time(&job.state, look),
        ]);
    }
    table
}

fn wide_table(jobs: &[JobRow], whys: &[Why], look: &Look) -> Table {
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("Name", Kind::Text),
        ("Project", Kind::Text),
        ("Owner", Kind::Text),
        ("State", Kind::State),
        ("Priority", Kind::Id),
        ("Queued", Kind::Number),
        ("Running", Kind::Number),
        ("Finished", Kind::Number),
        ("Failed", Kind::Number),
        ("Canceled", Kind::Number),
        ("Submitted", Kind::Id),
        ("Started", Kind::Id),
        ("Ended", Kind::Id),
        ("Time", Kind::Number),
        ("Pool", Kind::Text),
        ("Groups", Kind::Text),
        ("Schedule", Kind::Text),
        ("Result", Kind::Text),
        ("Waits for", Kind::Text),
    ]);
    for job in jobs {
        let (started, ended) = job_span(&job.state);
        let counts = &job.counts;
        table.row([
            job.id.to_string(),
            dash(&job.spec.name),
            dash(&job.spec.project),
            job.owner.name.clone(),
            job.state.word().to_owned(),
            job.spec.priority.to_string(),
            counts.queued.to_string(),
            counts.running.to_string(),
            counts.finished.to_string(),
            counts.failed.to_string(),
            counts.canceled.to_string(),
            moment::show(job.submitted_at, look.zone),
            told(started, look),
            told(ended, look),
            job_time(&job.state, look),
            any(job.spec.pool.iter()),
            any(job.spec.node_groups.iter()),
            dash(&job.schedule.as_ref().map(ToString::to_string).unwrap_or_default()),
            result(job).unwrap_or_else(|| "-".to_owned()),
            whys.iter()
                .find(|why| why.job == job.id)
                .map_or_else(|| "-".to_owned(), why::brief),
        ]);
    }
    table
}

fn result(job: &JobRow) -> Option<String> {
    match &job.state {
        JobState::Ended { outcome, .. } | JobState::Canceling { outcome, .. } => {
            Some(sentence::job_outcome(outcome, job.id, &job.counts))
        }
        _ => None,
    }
}

/// Columns of a terminal below which a list of jobs has no room for date and time.
const NARROW: usize = 72;

/// On a narrow terminal the time for jobs of today, the date for others.
fn submitted(at: Timestamp, look: &Look) -> String {
    let whole = moment::show(at, look.zone);
    let now = moment::show(look.now, look.zone);
    match (whole.split_once(' '), now.split_once(' ')) {
        (Some((date, time)), Some((today, _))) if look.width.is_some_and(|width| width < NARROW) => {
            if date == today { time } else { date }.to_owned()
        }
        _ => whole,
    }
}

fn job_span(state: &JobState) -> (Option<Timestamp>, Option<Timestamp>) {
    match state {
        JobState::Configuring | JobState::Queued => (None, None),
        JobState::Running { started_at } => (Some(*started_at), None),
        JobState::Disabled { started_at } | JobState::Canceling { started_at, .. } => (*started_at, None),
        JobState::Ended {
            started_at, ended_at, ..
        } => (*started_at, Some(*ended_at)),
    }
}

fn job_time(state: &JobState, look: &Look) -> String {
    let (started, ended) = job_span(state);
    elapsed(started, ended, look)
}

/// All that is known of one.
pub(super) fn job_properties(job: &JobRow, look: &Look) -> Vec<(&'static str, String)> {
    let spec = &job.spec;
    let (started, ended) = job_span(&job.state);
    let mut pairs = vec![
        ("Job", job.id.to_string()),
        ("Name", dash(&spec.name)),
        ("Owner", job.owner.name.clone()),
        ("State", state_word(job.state.word(), look)),
        ("Priority", spec.priority.to_string()),
        (
            "Pool",
            spec.pool.as_ref().map_or_else(|| "any".to_owned(), ToString::to_string),
        ),
        ("Node groups", any(spec.node_groups.iter())),
        ("Requested nodes", any(spec.requested_nodes.iter())),
        ("Exclusive", spec.exclusive.to_string()),
        ("Run time limit", sentence::limit(spec.runtime_limit)),
        ("Submitted", moment::show(job.submitted_at, look.zone)),
        ("Started", told(started, look)),
        ("Ended", told(ended, look)),
        ("Time", job_time(&job.state, look)),
        ("Tasks", counts(&job.counts)),
    ];
    // What nobody asked for is not told.
    pairs.extend(asked(spec, look));
    pairs.extend(roles(spec));
    if let Some(schedule) = &job.schedule {
        pairs.push(("Schedule", schedule.to_string()));
    }
    if job.deleting {
        pairs.push(("Deleting", "it is taken away when it is over".to_owned()));
    }
    if spec.release.is_some() && matches!(job.state, JobState::Canceling { .. }) && job.counts.running == 0 {
        pairs.push(("Ending", format!("its release tasks run; see 'task list {}'", job.id)));
    }
    if job.requeues > 0 {
        pairs.push(("Requeued", sentence::times(job.requeues)));
    }
    if let Some(progress) = &job.progress {
        pairs.push(("Progress", progress_text(progress)));
    }
    if let Some(result) = result(job) {
        pairs.push(("Result", result));
    }
    tamed(pairs, look)
}

/// How far preparation and release are on the nodes; where one failed is named.
pub(super) fn on_nodes(tasks: &[TaskRow], names: &Names) -> Vec<(&'static str, String)> {
    const NAMED: usize = 8;
    let told = |number: TaskNumber| {
        let of = || tasks.iter().filter(|row| row.id.number == number);
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        of().for_each(|row| *words.entry(row.state.word()).or_default() += 1);
        let each = words.iter().map(|(word, count)| format!("{count} {word}"));
        let mut text = each.collect::<Vec<_>>().join(", ");
        let failed = of().filter(|row| row.state.word() == "Failed");
        let failed: Vec<String> = failed
            .filter_map(|row| row.id.step)
            .take(NAMED)
            .map(|step| names.of(&[NodeId(step.0)]).concat())
            .collect();
        if !failed.is_empty() {
            text += &format!("; failed on {}", failed.join(", "));
        }
        text
    };
    [
        ("Prepared nodes", told(TaskNumber::PREPARATION)),
        ("Released nodes", told(TaskNumber::RELEASE)),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(name, text)| (name, tame(&text)))
    .collect()
}

fn progress_text(progress: &Progress) -> String {
    let percent = progress
        .percent
        .map(|percent| format!("{percent} % "))
        .unwrap_or_default();
    format!("{percent}{}", progress.message).trim().to_owned()
}

/// The tasks beside those that do the work.
fn roles(spec: &JobSpec) -> Vec<(&'static str, String)> {
    let with = |task: &TaskSpec, more: &[(bool, &str)]| {
        let mut text = command_line(&task.command);
        for (_, words) in more.iter().filter(|(is_so, _)| *is_so) {
            text += "; ";
            text += words;
        }
        text
    };
    let mut pairs = Vec::new();
    if let Some(manager) = &spec.manager {
        let more = [
            (!manager.kill_job_on_completion, "the job goes on after it"),
            (!manager.run_exclusive, "others may run on its node"),
        ];
        pairs.push(("Manager", with(&manager.task, &more)));
    }
    if let Some(preparation) = &spec.preparation {
        let more = [
            (!preparation.wait_for_success, "tasks do not wait for it"),
            (!preparation.rerun_after_reboot, "once for each node"),
        ];
        pairs.push(("Preparation", with(&preparation.task, &more)));
    }
    if let Some(release) = &spec.release {
        pairs.push(("Release", with(release, &[])));
    }
    pairs
}

/// What was asked beyond the usual.
fn asked(spec: &JobSpec, look: &Look) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    let mut say = |name, text: Option<String>| pairs.extend(text.map(|text| (name, text)));
    say(
        "Project",
        Some(spec.project.clone()).filter(|project| !project.is_empty()),
    );
    say(
        "Groups together",
        match spec.group_operator {
            GroupOperator::Intersect => None,
            GroupOperator::Uniform => Some("Uniform".to_owned()),
            GroupOperator::Union => Some("Union".to_owned()),
        },
    );
    say("At a time", spec.units.as_ref().map(units));
    say(
        "Cores per node",
        spec.cores_per_node.as_ref().map(|span| bounds(span, "")),
    );
    say(
        "Memory per node",
        spec.memory_per_node.as_ref().map(|span| bounds(span, " MiB")),
    );
    say("Order", Some(order(&spec.order_by)).filter(|order| !order.is_empty()));
    say("Held until", spec.hold_until.map(|at| moment::show(at, look.zone)));
    say(
        "After jobs",
        Some(super::people::joined(spec.parents.iter())).filter(|jobs| !jobs.is_empty()),
    );
    say("Wall clock limit", spec.max_wall_clock.map(|limit| limit.to_string()));
    say("Task retries", spec.max_retries.map(sentence::retries));
    say("Tasks at a time", spec.max_parallel_tasks.map(|most| most.to_string()));
    for (set, name) in [
        (spec.perform_exit_actions, "Performs exit actions"),
        (spec.single_node, "Single node"),
        (spec.fail_on_task_failure, "Fails with a task"),
        (spec.run_dependents_of_failed, "Runs dependents of failed"),
        (spec.run_until_canceled, "Runs until canceled"),
    ] {
        say(name, set.then(|| "true".to_owned()));
    }
    say(
        "Valid exit codes",
        spec.valid_exit_codes.as_ref().map(ToString::to_string),
    );
    say(
        "Variables",
        Some(sentence::variables(&spec.env)).filter(|text| !text.is_empty()),
    );
    pairs
}

fn units(units: &Units) -> String {
    match units.max {
        Some(most) => format!("{} to start, {most} at most", units.min),
        None => format!("{} to start", units.min),
    }
}

/// As the option is written.
fn order(keys: &[OrderBy]) -> String {
    let key = |key: &OrderBy| {
        let name = match key.by {
            OrderKey::Cores => "cores",
            OrderKey::Memory => "memory",
        };
        format!("{}{name}", if key.more_first { "" } else { "-" })
    };
    keys.iter().map(key).collect::<Vec<_>>().join(",")
}

fn bounds<T: std::fmt::Display>(span: &Span<T>, unit: &str) -> String {
    match (&span.min, &span.max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("at least {min}{unit}"),
        (None, Some(max)) => format!("at most {max}{unit}"),
        (None, None) => "any".to_owned(),
    }
}

/// A change of one that is watched, in a line.
pub(super) fn change(job: &JobRow, look: &Look) -> String {
    let now = moment::show(look.now, look.zone);
    let time = now.split_once(' ').map_or(now.as_str(), |(_, time)| time);
    let word = state_word(job.state.word(), look);
    let mut line = format!("{time} job {}: {word}; {}", job.id, counts(&job.counts));
    if let Some(progress) = &job.progress {
        line += &format!("; {}", tame(&progress_text(progress)));
    }
    if let Some(result) = result(job).filter(|_| job.state.is_ended()) {
        line += &format!("; {}", tame(without_path(&result)));
    }
    line + "\n"
}

/// What would become of a submission: where, or why and until when it would wait.
pub(super) fn rehearsed(answer: &Rehearsed, look: &Look) -> String {
    let nothing = match (answer.subject, answer.tasks) {
        (Subject::Manager, 0) => "This is about its manager. Nothing was submitted.".to_owned(),
        (Subject::Manager, tasks) => format!(
            "This is about its manager, which starts before its {}. Nothing was submitted.",
            sentence::counted(u32::try_from(tasks).unwrap_or(u32::MAX), "task")
        ),
        (Subject::First, 0 | 1) => "Nothing was submitted.".to_owned(),
        (Subject::First, tasks) => format!("It has {tasks} tasks, and this is about the first. Nothing was submitted."),
    };
    if answer.starts_now {
        let nodes: Vec<String> = answer.nodes.iter().map(ToString::to_string).collect();
        return format!(
            "It would start now: {} on {}. {nothing}\n",
            granted(answer),
            tame(&nodes.join(", "))
        );
    }
    let lines = match &answer.why {
        Some(why) => {
            let lines = why::waits("Now it would wait: it", why, &answer.names, look);
            lines.iter().filter_map(|line| unnumbered(line, why.job)).collect()
        }
        None => vec![format!("Now it would wait for {}", answer.asked)],
    };
    format!("{}{nothing}\n", why::tree(&lines))
}

/// How much it would get, as far as the head node says it: nodes are named.
fn granted(answer: &Rehearsed) -> String {
    let nodes = u32::try_from(answer.nodes.len()).unwrap_or(u32::MAX);
    match (answer.asked, answer.most) {
        (asked, None) => asked.to_string(),
        (Request::Nodes { .. }, Some(most)) => {
            let gets = Request::Nodes { count: nodes };
            format!("{gets} (it asks {} at least and {most} at most)", answer.asked)
        }
        (asked, Some(most)) => format!("{asked} at least and {most} at most"),
    }
}

/// A line without the number that the job would have: there is no such job, so that no command about it helps.
fn unnumbered(line: &str, job: JobId) -> Option<String> {
    let id = job.to_string();
    let follows = |text: &str, words: &str| {
        let mut places = text.match_indices(words).map(|(at, found)| &text[at + found.len()..]);
        places.any(|rest| {
            rest.strip_prefix(id.as_str())
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let commands = ["job modify ", "job enable ", "job why ", "task list ", "/id:"];
    let clauses = line
        .split("; ")
        .filter(|text| !commands.iter().any(|words| follows(text, words)));
    let text = clauses.collect::<Vec<_>>().join("; ");
    let mut said: Vec<String> = Vec::new();
    let own_task = format!("{id}.");
    for word in text.split(' ') {
        match said.last().map(String::as_str) {
            Some("task") if word.starts_with(&own_task) => "the task".clone_into(said.last_mut()?),
            Some("job") if word.trim_end_matches([',', ':', ';']) == id => {
                let end = &word[id.len()..];
                *said.last_mut()? = format!("the job{end}");
            }
            _ => said.push(word.to_owned()),
        }
    }
    Some(said.join(" ")).filter(|text| !text.is_empty())
}

/// One that is over, in a line.
pub(super) fn waited(job: &JobRow, look: &Look) -> String {
    let result = match &job.state {
        JobState::Ended { outcome, .. } => sentence::job_outcome(outcome, job.id, &job.counts),
        _ => job.state.word().to_owned(),
    };
    let word = state_word(job.state.word(), look);
    let when = match job_span(&job.state) {
        (None, _) => "before it started".to_owned(),
        (Some(_), _) => format!("after {}", job_time(&job.state, look)),
    };
    format!("job {}: {word} {when}: {}\n", job.id, tame(without_path(&result)))
}

/// A reason in one line: which folders a PATH has is told by `task view`.
fn without_path(reason: &str) -> &str {
    reason.split_once(" in PATH (").map_or(reason, |(what, _)| what)
}

/// How many tasks are in which state.
pub(super) fn counts(counts: &TaskCounts) -> String {
    format!("{}: {}", counts.total(), by_state(counts))
}

/// The same without their sum.
pub(super) fn by_state(counts: &TaskCounts) -> String {
    let each = [
        (counts.queued, "queued"),
        (counts.running, "running"),
        (counts.finished, "finished"),
        (counts.failed, "failed"),
        (counts.canceled, "canceled"),
    ];
    let parts = each
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"));
    parts.collect::<Vec<_>>().join(", ")
}
