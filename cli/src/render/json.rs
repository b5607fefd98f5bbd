//! All fields, for programs: the rows as `proto` has them, with the words that people see beside them.
//!
//! Fields are only ever added. Lists are arrays, single things objects; times are milliseconds since 1970 UTC.

use proto::client::{FileEnd, NodeView, PoolView};
use proto::control::{FileReply, TaskFile};
use proto::model::job::JobRow;
use proto::model::schedule::ScheduleRow;
use proto::model::task::TaskRow;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Look, Printed, remarks_text, sentence};
use crate::answer::{Answer, Names, SweepLine, TaskLine, TaskPage};

pub(super) fn render(answer: &Answer, look: &Look) -> Printed {
    let mut err = String::new();
    let value = match answer {
        Answer::Submitted { job, repeated, remarks } => {
            err = remarks_text(remarks);
            json!({ "id": job, "repeated": repeated })
        }
        Answer::Jobs { jobs, more, whys, .. } => {
            err = more_note(*more);
            let row = |row: &JobRow| match whys.iter().find(|why| why.job == row.id) {
                Some(why) => with(job(row), "why", of(why)),
                None => job(row),
            };
            jobs.iter().map(row).collect()
        }
        Answer::Job(row) | Answer::Waited(row) => job(row),
        Answer::JobOnNodes { job: row, tasks, names } => {
            let tasks = tasks.iter().map(|row| task(row, names));
            with(job(row), "node_tasks", tasks.collect())
        }
        Answer::Why { job: row, why, names } => {
            let lines = super::why::lines(row, why.as_deref(), names, look);
            json!({ "job": job(row), "why": why, "sentence": lines.join("\n") })
        }
        Answer::Tasks(page) => {
            return Printed {
                out: task_page(page),
                err,
            };
        }
        Answer::Sweep(line) => sweep(line),
        // The parts are told one by one and put together by the caller.
        Answer::Many(_) | Answer::Told => return Printed::default(),
        Answer::Made {
            job, repeated, remarks, ..
        } => {
            err = remarks_text(remarks);
            json!({ "id": job, "repeated": repeated })
        }
        Answer::Added {
            task,
            repeated,
            remarks,
        } => {
            err = remarks_text(remarks);
            json!({ "id": task.to_string(), "repeated": repeated })
        }
        Answer::Rehearsed(rehearsed) => {
            err = remarks_text(&rehearsed.remarks);
            json!({ "starts_now": rehearsed.starts_now, "nodes": rehearsed.nodes, "why": rehearsed.why })
        }
        Answer::Shown(shown) => with(job(&shown.job), "task", task(&shown.task, &shown.names)),
        Answer::Change(row) => {
            return Printed {
                // A stream has one object per line.
                out: format!("{}\n", job(row)),
                err,
            };
        }
        Answer::Task {
            task: row,
            names,
            files,
            ..
        } => with(task(row, names), "files", files.iter().map(file).collect()),
        Answer::Nodes(nodes) => nodes.iter().map(node).collect(),
        Answer::Node(view) => node(view),
        Answer::Groups(groups) => of(groups),
        Answer::Pools(pools) => pools.iter().map(pool).collect(),
        Answer::Pool(view) => pool(view),
        Answer::Schedules(schedules) => schedules.iter().map(schedule).collect(),
        Answer::Schedule(row) => schedule(row),
        Answer::Limits(limits) => json!({ "each": limits.each, "users": limits.users }),
        Answer::Notes(notes) => json!({ "notes": notes }),
        Answer::Token {
            token,
            head,
            expires_at,
        } => json!({ "token": token, "head": head, "expires_at": expires_at }),
        Answer::Status(status) => json!({
            "head": status.head,
            "nodes": status.nodes,
            "up": status.up,
            "jobs": status.jobs,
            "queued": status.queued,
            "running": status.running,
        }),
        Answer::Up(up) => json!({
            "state": up.state,
            "head": up.head,
            "nodes": up.nodes.iter().map(node).collect::<Value>(),
            "started": up.started,
            "runs_as": up.runs_as,
            "notes": up.notes,
        }),
        Answer::Down(down) => json!({
            "state": down.state,
            "stopped": down.stopped,
            "tasks": down.tasks,
            "purged": down.purged,
            "notes": down.notes,
        }),
        // Both look the same in every form and never come here.
        Answer::Help(text) | Answer::Script { lines: text, .. } => json!(text),
        // Told by a file of its own.
        Answer::Cluster(_) => Value::Null,
    };
    Printed {
        out: format!("{value:#}\n"),
        err,
    }
}

/// A value of ours as JSON. Ours have text for keys, so none fails; a null would show it.
fn of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn with(mut value: Value, key: &str, extra: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(key.to_owned(), extra);
    }
    value
}

fn job(row: &JobRow) -> Value {
    let value = with(of(row), "status", json!(row.state.word()));
    // The row's own has another scale than the option.
    with(value, "priority_hpc", json!(row.spec.priority.hpc()))
}

/// A part of an array: the brackets come with the first and the last page.
fn task_page(page: &TaskPage) -> String {
    let line = |line: &TaskLine| match line {
        TaskLine::Task(row) => task(row, &page.names),
        TaskLine::Sweep(line) => sweep(line),
    };
    let rows: Value = page.lines.iter().map(line).collect();
    let text = format!("{rows:#}");
    if page.first && page.last {
        return text + "\n";
    }
    let inner = text
        .strip_prefix("[\n")
        .and_then(|text| text.strip_suffix("\n]"))
        .unwrap_or_default();
    let before = match (page.first, inner.is_empty()) {
        (true, _) => "[\n",
        (false, true) => "",
        (false, false) => ",\n",
    };
    format!("{before}{inner}{}", if page.last { "\n]\n" } else { "" })
}

fn sweep(line: &SweepLine) -> Value {
    json!({
        "id": line.id.to_string(),
        "spec": line.spec,
        "status": line.word(),
        "counts": line.counts,
        "started_at": line.started_at,
        "ended_at": line.ended_at.filter(|_| line.is_over()),
        "failed": line.failed.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn task(row: &TaskRow, names: &Names) -> Value {
    // An id of two numbers reads better as people write it.
    let value = with(of(row), "id", json!(row.id.to_string()));
    let value = with(value, "status", json!(row.state.word()));
    let value = with(value, "nodes", json!(names.of(&row.last_nodes)));
    with(value, "reason", json!(sentence::task_outcome(&row.state, names)))
}

fn node(view: &NodeView) -> Value {
    let value = with(of(&view.row), "status", json!(sentence::admin_word(view.row.admin)));
    let value = with(value, "health", json!(sentence::health_word(view.row.liveness)));
    let value = with(value, "slots_held", json!(view.slots_held));
    with(value, "tasks", view.tasks.iter().map(ToString::to_string).collect())
}

/// The row, and beside it what is counted.
fn pool(view: &PoolView) -> Value {
    let mut value = of(&view.row);
    for (key, extra) in [
        ("nodes", json!(view.nodes)),
        ("ready", json!(view.ready)),
        ("slots", json!(view.slots)),
        ("slots_held", json!(view.slots_held)),
    ] {
        value = with(value, key, extra);
    }
    value
}

fn schedule(row: &ScheduleRow) -> Value {
    with(of(row), "status", json!(row.state.word()))
}

fn file(end: &FileEnd) -> Value {
    let name = match end.file {
        TaskFile::Stdout => "stdout",
        TaskFile::Stderr => "stderr",
    };
    match &end.content {
        FileReply::Tail { skipped, bytes } => json!({
            "file": name,
            "attempt": end.attempt,
            "skipped_bytes": skipped,
            "text": String::from_utf8_lossy(bytes),
        }),
        FileReply::Missing { reason } => json!({ "file": name, "attempt": end.attempt, "missing": reason }),
    }
}

fn more_note(more: bool) -> String {
    if more {
        format!("only the first {} are shown\n", proto::client::MAX_ROWS)
    } else {
        String::new()
    }
}
