//! Answers as people read them.

use proto::client::{FileEnd, GroupView, NodeView, PoolView};
use proto::control::{FileReply, TaskFile};
use proto::model::job::{JobRow, JobState, TaskCounts};
use proto::model::node::Liveness;
use proto::model::task::{Request, TaskRow, TaskState};
use proto::units::Timestamp;

use super::sentence;
use super::table::{Kind, Table, Tint, properties};
use super::{Form, Look, Printed, cluster, moment, output, remarks_text, tame};
use crate::answer::{Answer, Names};

pub(super) fn render(answer: &Answer, look: &Look) -> Printed {
    let mut err = String::new();
    let out = match answer {
        // Help and scripts look the same in every form and never come here.
        Answer::Help(text) | Answer::Script { lines: text, .. } => text.clone(),
        Answer::Submitted { job, repeated, remarks } => {
            if *repeated {
                err = format!("job {job} had been submitted before with this submission id; nothing new was made\n");
            }
            err += &remarks_text(remarks);
            format!("Job has been submitted. ID: {job}.\n")
        }
        Answer::Jobs { jobs, more, live_only } => {
            if jobs.is_empty() {
                let which = if *live_only {
                    "you have no job that is not over; 'job list --all' shows all jobs"
                } else {
                    "no such job"
                };
                err = format!("{which}\n");
            } else if *more {
                err = format!("only the newest {} are shown\n", jobs.len());
            }
            listed(&jobs_table(jobs, look), jobs.is_empty(), look)
        }
        Answer::Job(job) => properties(&job_properties(job, look)),
        Answer::Waited(job) => waited(job, look),
        Answer::Why { job, why } => tame_lines(&sentence::why(job, why.as_deref())) + "\n",
        Answer::Tasks { tasks, names, more } => {
            if let Some(last) = tasks.last().filter(|_| *more) {
                err = format!("only the tasks up to {} are shown\n", last.id);
            }
            listed(&tasks_table(tasks, names, look), tasks.is_empty(), look)
        }
        Answer::Task {
            task,
            names,
            files,
            all,
        } => task_text(task, names, files, *all, look),
        Answer::Nodes(nodes) => {
            if nodes.is_empty() {
                err = "no such node; 'node list' shows all, 'muster token' lets others join\n".to_owned();
            }
            listed(&nodes_table(nodes), nodes.is_empty(), look)
        }
        Answer::Node(node) => properties(&node_properties(node, look)),
        Answer::Groups(groups) => listed(&groups_table(groups), groups.is_empty(), look),
        Answer::Pools(pools) => listed(&pools_table(pools), pools.is_empty(), look),
        Answer::Pool(pool) => properties(&pool_properties(pool)),
        Answer::Notes(notes) => notes.iter().map(|note| tame(note) + "\n").collect(),
        Answer::Token {
            token,
            head,
            expires_at,
        } => {
            err = cluster::how_to_join(token, head, &moment::show(*expires_at, look.zone));
            format!("{token}\n")
        }
        Answer::Status(status) => properties(&cluster::status(status, look)),
        Answer::Up(up) => cluster::up(up, look),
        Answer::Down(down) => cluster::down(down),
    };
    Printed { out, err }
}

fn listed(table: &Table, empty: bool, look: &Look) -> String {
    match look.form {
        _ if empty => String::new(),
        Form::List => table.blocks(),
        _ => table.lines(look.width, look.colour),
    }
}

fn jobs_table(jobs: &[JobRow], look: &Look) -> Table {
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
        JobState::Queued => (None, None),
        JobState::Running { started_at } => (Some(*started_at), None),
        JobState::Canceling { started_at, .. } => (*started_at, None),
        JobState::Ended {
            started_at, ended_at, ..
        } => (*started_at, Some(*ended_at)),
    }
}

fn job_time(state: &JobState, look: &Look) -> String {
    let (started, ended) = job_span(state);
    elapsed(started, ended, look)
}

fn elapsed(started: Option<Timestamp>, ended: Option<Timestamp>, look: &Look) -> String {
    started.map_or_else(
        || "-".to_owned(),
        |started| ended.unwrap_or(look.now).since(started).to_string(),
    )
}

fn job_properties(job: &JobRow, look: &Look) -> Vec<(&'static str, String)> {
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
    if let JobState::Ended { outcome, .. } | JobState::Canceling { outcome, .. } = &job.state {
        pairs.push(("Result", sentence::job_outcome(outcome)));
    }
    tamed(pairs, look)
}

fn waited(job: &JobRow, look: &Look) -> String {
    let result = match &job.state {
        JobState::Ended { outcome, .. } => sentence::job_outcome(outcome),
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

fn counts(counts: &TaskCounts) -> String {
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
    format!("{}: {}", counts.total(), parts.collect::<Vec<_>>().join(", "))
}

fn tasks_table(tasks: &[TaskRow], names: &Names, look: &Look) -> Table {
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("Name", Kind::Text),
        ("State", Kind::State),
        ("Exit", Kind::Number),
        ("Time", Kind::Number),
        ("Nodes", Kind::Text),
        ("Command", Kind::Text),
    ]);
    for task in tasks {
        let (started, ended) = task_span(&task.state);
        table.row([
            task.id.to_string(),
            dash(&task.spec.name),
            task.state.word().to_owned(),
            task.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            elapsed(started, ended, look),
            dash(&names.of(&task.last_nodes).join(", ")),
            command_line(&task.spec.command),
        ]);
    }
    table
}

const fn task_span(state: &TaskState) -> (Option<Timestamp>, Option<Timestamp>) {
    match state {
        TaskState::Queued | TaskState::Granted { .. } => (None, None),
        TaskState::Running { started_at, .. } => (Some(*started_at), None),
        TaskState::Stopping { started_at, .. } => (*started_at, None),
        TaskState::Ended {
            started_at, ended_at, ..
        } => (*started_at, Some(*ended_at)),
    }
}

/// A command as it could be typed.
fn command_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,@%+*^".contains(c));
        if plain {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn task_text(task: &TaskRow, names: &Names, files: &[FileEnd], all: bool, look: &Look) -> String {
    let spec = &task.spec;
    let (started, ended) = task_span(&task.state);
    let mut pairs = vec![
        ("Task", task.id.to_string()),
        ("Name", dash(&spec.name)),
        ("State", state_word(task.state.word(), look)),
        ("Command", command_line(&spec.command)),
        ("Asked", asked(&spec.request, spec.exclusive)),
        ("Nodes", dash(&names.of(&task.last_nodes).join(", "))),
        ("Started", told(started, look)),
        ("Ended", told(ended, look)),
        ("Time", elapsed(started, ended, look)),
        (
            "Exit code",
            task.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        ),
    ];
    if let Some(workdir) = &spec.workdir {
        pairs.push(("Working directory", workdir.clone()));
    }
    if task.requeues > 0 {
        let times = match task.requeues {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        pairs.push(("Requeued", times));
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

fn tame_lines(text: &str) -> String {
    text.lines().map(tame).collect::<Vec<_>>().join("\n")
}

fn asked(request: &Request, exclusive: bool) -> String {
    format!("{request}{}", if exclusive { ", exclusive" } else { "" })
}

pub(super) fn nodes_table(nodes: &[NodeView]) -> Table {
    let mut table = Table::new(&[
        ("Node Name", Kind::Id),
        ("State", Kind::State),
        ("Health", Kind::State),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Pool", Kind::Text),
        ("Groups", Kind::Text),
    ]);
    for NodeView { row, slots_held, .. } in nodes {
        table.row([
            row.name.to_string(),
            sentence::admin_word(row.admin).to_owned(),
            sentence::health_word(row.liveness).to_owned(),
            row.slots.to_string(),
            slots_held.to_string(),
            row.slots.saturating_sub(*slots_held).to_string(),
            row.pool.to_string(),
            dash(&joined(row.groups.iter())),
        ]);
    }
    table
}

fn node_properties(node: &NodeView, look: &Look) -> Vec<(&'static str, String)> {
    let row = &node.row;
    let since = match row.liveness {
        Liveness::Up { since } | Liveness::Suspect { since } | Liveness::Lost { since } => Some(since),
        Liveness::Joined => None,
    };
    let health = state_word(sentence::health_word(row.liveness), look);
    let health = match since {
        Some(since) => format!("{health} since {}", moment::show(since, look.zone)),
        None => health,
    };
    let mut pairs = vec![
        ("Node", row.name.to_string()),
        ("State", state_word(sentence::admin_word(row.admin), look)),
        ("Health", health),
        ("Pool", row.pool.to_string()),
        ("Groups", dash(&joined(row.groups.iter()))),
        ("Cores", format!("{}, {} held", row.slots, node.slots_held)),
        ("Tasks", dash(&joined(node.tasks.iter()))),
        (
            "Address",
            row.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        ),
        ("Joined", moment::show(row.joined_at, look.zone)),
    ];
    if let Some(has) = &row.inventory {
        pairs.push(("Memory", memory(has.memory_bytes)));
        pairs.push(("Host", dash(&has.hostname)));
        pairs.push((
            "System",
            dash(&[has.os.as_str(), &has.kernel, &has.arch].join(" "))
                .trim()
                .to_owned(),
        ));
        pairs.push(("Version", dash(&has.version)));
    }
    tamed(pairs, look)
}

fn memory(bytes: u64) -> String {
    let mib = bytes / (1024 * 1024);
    if mib >= 10 * 1024 {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

fn groups_table(groups: &[GroupView]) -> Table {
    let mut table = Table::new(&[("Group", Kind::Id), ("Count", Kind::Number), ("Nodes", Kind::Text)]);
    for group in groups {
        table.row([
            group.name.to_string(),
            group.nodes.len().to_string(),
            dash(&joined(group.nodes.iter())),
        ]);
    }
    table
}

fn pools_table(pools: &[PoolView]) -> Table {
    let mut table = Table::new(&[
        ("Pool", Kind::Id),
        ("Nodes", Kind::Number),
        ("Ready", Kind::Number),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Node Names", Kind::Text),
    ]);
    for pool in pools {
        table.row([
            pool.name.to_string(),
            pool.nodes.len().to_string(),
            pool.ready.to_string(),
            pool.slots.to_string(),
            pool.slots_held.to_string(),
            pool.slots.saturating_sub(pool.slots_held).to_string(),
            dash(&joined(pool.nodes.iter())),
        ]);
    }
    table
}

fn pool_properties(pool: &PoolView) -> Vec<(&'static str, String)> {
    vec![
        ("Pool", pool.name.to_string()),
        (
            "Slots per node",
            pool.slots_per_node
                .map_or_else(|| "its cores".to_owned(), |slots| slots.to_string()),
        ),
        ("Nodes", pool.nodes.len().to_string()),
        ("Ready", pool.ready.to_string()),
        ("Slots", format!("{}, {} held", pool.slots, pool.slots_held)),
        ("Node names", dash(&joined(pool.nodes.iter()))),
    ]
}

fn told(at: Option<Timestamp>, look: &Look) -> String {
    at.map_or_else(|| "-".to_owned(), |at| moment::show(at, look.zone))
}

fn state_word(word: &str, look: &Look) -> String {
    Tint::of(word).paint(word, look.colour)
}

/// Tames values that came from users; a coloured word is our own and stays.
pub(super) fn tamed(pairs: Vec<(&'static str, String)>, look: &Look) -> Vec<(&'static str, String)> {
    let is_ours = |name: &str| look.colour && matches!(name, "State" | "Health");
    pairs
        .into_iter()
        .map(|(name, value)| (name, if is_ours(name) { value } else { tame(&value) }))
        .collect()
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

fn joined<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn any<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let text = joined(items);
    if text.is_empty() { "any".to_owned() } else { text }
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
