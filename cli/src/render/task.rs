//! Tasks as people read them: lists, sweeps, one with the end of its output.

use proto::client::FileEnd;
use proto::control::{FileReply, TaskFile};
use proto::ids::TaskId;
use proto::model::sweep::fill_in;
use proto::model::task::{TaskKind, TaskRow, TaskSpec, TaskState};

use super::people::{dash, elapsed, state_word, tamed, told};
use super::table::{Kind, Table, properties};
use super::{Look, job, output, sentence, tame};
use crate::answer::{Names, Shown, SweepLine, TaskLine, TaskPage, instances, span};

/// A line for each task or sweep.
pub(super) fn tasks_table(page: &TaskPage, look: &Look) -> Table {
    let names = &page.names;
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("Name", Kind::Text),
        ("State", Kind::State),
        ("Exit", Kind::Number),
        ("Time", Kind::Number),
        ("Nodes", Kind::Text),
        ("Command", Kind::Text),
    ]);
    for line in &page.lines {
        match line {
            TaskLine::Task(task) => {
                let (started, ended) = span(&task.state);
                table.row([
                    task.id.to_string(),
                    dash(&task.spec.name),
                    task.state.word().to_owned(),
                    exit_code(task),
                    elapsed(started, ended, look),
                    dash(&names.of(&task.last_nodes).join(", ")),
                    command_line(&step_command(task)),
                ]);
            }
            TaskLine::Sweep(sweep) => table.row([
                sweep.id.to_string(),
                dash(&sweep.spec.name),
                sweep.word().to_owned(),
                "-".to_owned(),
                elapsed(sweep.started_at, sweep.ended_at.filter(|_| sweep.is_over()), look),
                format!("[{}]", sweep_counts(sweep)),
                command_line(&sweep.spec.command),
            ]),
        }
    }
    table
}

fn is_service(sweep: &SweepLine) -> bool {
    sweep.spec.kind == TaskKind::Service
}

/// Of a service only the instances that there were: the others are as many as numbers allow.
fn sweep_counts(sweep: &SweepLine) -> String {
    if !is_service(sweep) {
        return job::counts(&sweep.counts);
    }
    let text = job::by_state(&instances(sweep));
    format!("service: {}", if text.is_empty() { "none started yet" } else { &text })
}

fn exit_code(task: &TaskRow) -> String {
    task.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string())
}

/// The command with the step in its place.
fn step_command(task: &TaskRow) -> Vec<String> {
    match (task.id.step, task.spec.sweep) {
        (Some(step), Some(_)) => task.spec.command.iter().map(|word| fill_in(word, step)).collect(),
        _ => task.spec.command.clone(),
    }
}

/// All steps of a sweep, and how to see one.
pub(super) fn sweep_text(sweep: &SweepLine, look: &Look) -> String {
    let spec = &sweep.spec;
    let ended = sweep.ended_at.filter(|_| sweep.is_over());
    let mut pairs = vec![
        ("Task", sweep.id.to_string()),
        ("Name", dash(&spec.name)),
        ("State", state_word(sweep.word(), look)),
        ("Command", command_line(&spec.command)),
        (
            "Index",
            match (spec.kind, spec.sweep) {
                (TaskKind::Service, _) => "service: new instances until its job is ended".to_owned(),
                (TaskKind::Basic, sweep) => sweep.map_or_else(|| "-".to_owned(), |index| index.to_string()),
            },
        ),
        ("Asked", asked(spec)),
        ("Started", told(sweep.started_at, look)),
        ("Ended", told(ended, look)),
        ("Time", elapsed(sweep.started_at, ended, look)),
        (
            if is_service(sweep) { "Instances" } else { "Steps" },
            sweep_counts(sweep),
        ),
    ];
    pairs.extend(further(spec));
    if !sweep.failed.is_empty() {
        let mut ids: Vec<String> = sweep.failed.iter().map(ToString::to_string).collect();
        if usize::try_from(sweep.counts.failed).is_ok_and(|failed| failed > ids.len()) {
            ids.push("…".to_owned());
        }
        pairs.push(("Failed steps", ids.join(" ")));
    }
    let first = TaskId {
        step: spec.sweep.and_then(|index| index.steps().next()),
        ..sweep.id
    };
    let one = sweep.failed.first().unwrap_or(&first);
    let text = properties(&tamed(pairs, look));
    if is_service(sweep) {
        let job = sweep.id.job;
        return text + &format!("\nThe instances that run: task list {job} --filter running\n");
    }
    text + &format!(
        "\nOne step with its output: task view {one}. All steps: task list {} --expand\n",
        sweep.id.job
    )
}

/// What was asked beyond the usual.
fn further(spec: &TaskSpec) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    let mut say = |name, text: Option<String>| pairs.extend(text.map(|text| (name, text)));
    say(
        "Depends on",
        Some(spec.depends_on.join(", ")).filter(|names| !names.is_empty()),
    );
    let ranges = spec
        .depends_on_ranges
        .iter()
        .map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        });
    let ranges = ranges.collect::<Vec<_>>().join(",");
    say("Depends on tasks", Some(ranges).filter(|ranges| !ranges.is_empty()));
    say("Memory", spec.memory_mib.map(|mib| format!("{mib} MiB on each node")));
    say(
        "Resources",
        Some(super::node::resources(&spec.resources)).filter(|text| !text.is_empty()),
    );
    say(
        "Coordination",
        spec.coordination.as_ref().map(|words| command_line(words)),
    );
    let files = spec.common_files.iter().map(|file| file.path.as_str());
    say(
        "Common files",
        Some(files.collect::<Vec<_>>().join(", ")).filter(|files| !files.is_empty()),
    );
    say("Any domain", spec.any_domain.then(|| "true".to_owned()));
    say("Affinity", spec.affinity.as_ref().map(ToString::to_string));
    say("Retries", spec.max_retries.map(sentence::retries));
    say(
        "Exit conditions",
        spec.exit_conditions
            .as_ref()
            .map(|conditions| sentence::exit_conditions(conditions)),
    );
    say("Files kept", spec.retention.map(|span| format!("{span} after its end")));
    say("Working directory", spec.workdir.clone());
    say("Input", spec.stdin.clone());
    say(
        "Interactive",
        spec.interactive
            .map(|kind| if kind.terminal { "on a terminal" } else { "true" }.to_owned()),
    );
    say(
        "Script",
        spec.script
            .as_ref()
            .map(|text| format!("carried, {} bytes", text.len())),
    );
    say("Run time limit", spec.runtime_limit.map(|limit| limit.to_string()));
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

/// A command as it could be typed.
pub(super) fn command_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| crate::script::quoted(word));
    quoted.collect::<Vec<_>>().join(" ")
}

/// One task with the ends of its files.
pub(super) fn task_text(task: &TaskRow, names: &Names, files: &[FileEnd], all: bool, look: &Look) -> String {
    let spec = &task.spec;
    let (started, ended) = span(&task.state);
    let mut pairs = vec![
        ("Task", task.id.to_string()),
        ("Name", dash(&spec.name)),
        ("State", state_word(task.state.word(), look)),
        ("Command", command_line(&step_command(task))),
        ("Asked", asked(spec)),
        ("Nodes", dash(&names.of(&task.last_nodes).join(", "))),
        ("Started", told(started, look)),
        ("Ended", told(ended, look)),
        ("Time", elapsed(started, ended, look)),
        ("Exit code", exit_code(task)),
    ];
    pairs.extend(further(spec));
    if task.requeues > 0 {
        pairs.push(("Requeued", sentence::times(task.requeues)));
    }
    if task.retries > 0 {
        pairs.push(("Run again", sentence::times(task.retries)));
    }
    if let Some(reason) = sentence::task_outcome(&task.state, names) {
        pairs.push(("Error message", reason));
    }
    let mut out = properties(&tamed(pairs, look));
    let merged = spec.stdout.is_some() && spec.stdout == spec.stderr;
    // What never ran wrote nothing; the error message says all that is known.
    let never_ran = matches!(task.state, TaskState::Ended { started_at: None, .. });
    let is_told = |end: &&FileEnd| match &end.content {
        FileReply::Tail { bytes, .. } => !never_ran || !bytes.is_empty(),
        FileReply::Missing { .. } => !never_ran,
    };
    if files.is_empty() && !never_ran {
        out.push_str("\nOutput: none yet\n");
    }
    for end in files.iter().filter(is_told) {
        match end.file {
            TaskFile::Stdout => output::file_text(&mut out, "Output", end, spec.stdout.as_deref(), all, look),
            TaskFile::Stderr if merged => {}
            TaskFile::Stderr => output::file_text(&mut out, "Error output", end, spec.stderr.as_deref(), all, look),
        }
    }
    out
}

/// How a task ended whose output was shown; nothing when it ended well.
pub(super) fn ended(shown: &Shown, look: &Look) -> String {
    match sentence::task_outcome(&shown.task.state, &shown.names) {
        Some(reason) => {
            let word = state_word(shown.task.state.word(), look);
            format!("task {}: {word}: {}\n", shown.task.id, tame(&reason))
        }
        None => String::new(),
    }
}

fn asked(spec: &TaskSpec) -> String {
    let most = spec
        .request_max
        .map(|most| format!(", {most} at most"))
        .unwrap_or_default();
    format!(
        "{}{most}{}",
        spec.request,
        if spec.exclusive { ", exclusive" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_could_be_typed() {
        let words = ["sh", "-c", "echo 'a b'", ""].map(str::to_owned);
        assert_eq!(command_line(&words), r"sh -c 'echo '\''a b'\''' ''");
    }
}
