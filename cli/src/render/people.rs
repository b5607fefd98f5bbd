//! Answers as people read them.

use proto::client::GroupView;
use proto::units::Timestamp;

use super::table::{Kind, Table, Tint, properties};
use super::{Form, Look, Printed, cluster, job, moment, node, pool, remarks_text, schedule, tame, task, why};
use crate::answer::{Among, Answer};

pub(super) fn render(answer: &Answer, look: &Look) -> Printed {
    let mut err = String::new();
    let out = match answer {
        // Help and scripts look the same in every form and never come here.
        Answer::Help(text) | Answer::Script { lines: text, .. } => text.clone(),
        // Told by a file of its own.
        Answer::Cluster(_) => String::new(),
        Answer::Submitted { job, repeated, remarks } => {
            if *repeated {
                err = format!("job {job} had been submitted before with this submission id; nothing new was made\n");
            }
            err += &remarks_text(remarks);
            format!("Job has been submitted. ID: {job}.\n")
        }
        Answer::Jobs {
            jobs,
            more,
            among,
            whys,
        } => {
            if jobs.is_empty() {
                let which = match among {
                    Among::OwnLive => "you have no job that is not over; 'job list --all' shows all jobs",
                    Among::Live => "no such job among those that are not over; --state All looks at the others too",
                    Among::All => "no such job",
                };
                err = format!("{which}\n");
            } else if *more {
                err = format!("only the newest {} are shown\n", jobs.len());
            }
            listed(&job::jobs_table(jobs, whys, look), jobs.is_empty(), look)
        }
        Answer::JobOnNodes { job, tasks, names } => {
            let mut pairs = job::job_properties(job, look);
            pairs.extend(job::on_nodes(tasks, names));
            properties(&pairs)
        }
        Answer::Job(job) => properties(&job::job_properties(job, look)),
        Answer::Waited(job) => job::waited(job, look),
        Answer::Why { job, why, names } => why::tree(&why::lines(job, why.as_deref(), names, look)),
        Answer::Tasks(page) => {
            if page.lines.is_empty() && page.first && page.last {
                err = "no such task\n".to_owned();
            }
            let table = task::tasks_table(page, look);
            match page.first {
                true => listed(&table, page.lines.is_empty(), look),
                // The titles were told with the first page.
                false if look.form == Form::List => format!("\n{}", table.blocks()),
                false => table.rows(look.width, look.colour),
            }
        }
        Answer::Sweep(sweep) => task::sweep_text(sweep, look),
        Answer::Many(_) | Answer::Told => String::new(),
        Answer::Made {
            job,
            like,
            repeated,
            remarks,
        } => {
            if *repeated {
                err = format!("job {job} had been made before with this submission id; nothing new was made\n");
            }
            err += &match like {
                Some(like) => format!(
                    "it has the wishes and tasks of job {like}; 'job modify {job}' changes it, 'job submit /id:{job}' \
                     starts it\n"
                ),
                None => format!("add tasks with 'job add {job} PROGRAM', then 'job submit /id:{job}'\n"),
            };
            err += &remarks_text(remarks);
            format!("Job has been created. ID: {job}.\n")
        }
        Answer::Added {
            task,
            repeated,
            remarks,
        } => {
            if *repeated {
                err = format!("task {task} had been added before with this submission id; nothing new was made\n");
            }
            err += &remarks_text(remarks);
            format!("Task has been added. ID: {task}.\n")
        }
        Answer::Rehearsed(rehearsed) => {
            err = remarks_text(&rehearsed.remarks);
            job::rehearsed(rehearsed, look)
        }
        Answer::Shown(shown) => {
            // Standard output is the program's alone.
            err = task::ended(shown, look);
            String::new()
        }
        Answer::Change(row) => job::change(row, look),
        Answer::Task {
            task,
            names,
            files,
            all,
        } => task::task_text(task, names, files, *all, look),
        Answer::Nodes(nodes) => {
            if nodes.is_empty() {
                err = "no such node; 'node list' shows all, 'muster node join-command' brings hosts in\n".to_owned();
            }
            let table = match look.form {
                Form::Wide => node::wide_table(nodes, look),
                _ => node::table(nodes),
            };
            listed(&table, nodes.is_empty(), look)
        }
        Answer::Node(node) => properties(&node::node_properties(node, look)),
        Answer::Groups(groups) => listed(&groups_table(groups), groups.is_empty(), look),
        Answer::Pools(pools) => listed(&pool::pools_table(pools, look), pools.is_empty(), look),
        Answer::Pool(pool) => properties(&pool::pool_properties(pool, look)),
        Answer::Limits(limits) => listed(&pool::limits_table(limits), false, look),
        Answer::Schedules(schedules) => {
            if schedules.is_empty() {
                err = "there is no job schedule; 'muster jobschedule add' makes one\n".to_owned();
            }
            listed(&schedule::table(schedules, look), schedules.is_empty(), look)
        }
        Answer::Schedule(schedule) => properties(&schedule::schedule_properties(schedule, look)),
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

/// For how long, up to now where it has not ended.
pub(super) fn elapsed(started: Option<Timestamp>, ended: Option<Timestamp>, look: &Look) -> String {
    started.map_or_else(
        || "-".to_owned(),
        |started| ended.unwrap_or(look.now).since(started).to_string(),
    )
}

pub(super) fn told(at: Option<Timestamp>, look: &Look) -> String {
    at.map_or_else(|| "-".to_owned(), |at| moment::show(at, look.zone))
}

pub(super) fn state_word(word: &str, look: &Look) -> String {
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

pub(super) fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

pub(super) fn joined<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

pub(super) fn any<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let text = joined(items);
    if text.is_empty() { "any".to_owned() } else { text }
}
