//! Answers as people read them.

use proto::client::{GroupView, NodeView, PoolView};
use proto::model::node::Liveness;
use proto::units::Timestamp;

use super::sentence;
use super::table::{Kind, Table, Tint, properties};
use super::{Form, Look, Printed, cluster, job, moment, remarks_text, tame, task};
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
        Answer::Jobs { jobs, more, among } => {
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
            listed(&job::jobs_table(jobs, look), jobs.is_empty(), look)
        }
        Answer::Job(job) => properties(&job::job_properties(job, look)),
        Answer::Waited(job) => job::waited(job, look),
        Answer::Why { job, why } => tame_lines(&sentence::why(job, why.as_deref())) + "\n",
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
        Answer::Made { job, like, repeated } => {
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
            job::rehearsed(rehearsed)
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
                Form::Wide => wide_nodes_table(nodes, look),
                _ => nodes_table(nodes),
            };
            listed(&table, nodes.is_empty(), look)
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
    if let Some(ends) = row.certificate_ends {
        pairs.push(("Certificate", format!("good until {}", moment::show(ends, look.zone))));
    }
    if let Some(ahead) = row.clock_ahead_ms {
        pairs.push(("Clock", format!("{} the head node's", super::apart(ahead))));
    }
    if let Some(has) = &row.inventory {
        if has.sockets > 0 {
            pairs.push(("Sockets", has.sockets.to_string()));
        }
        pairs.push(("Control groups", if has.cgroups { "yes" } else { "no" }.to_owned()));
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

/// All that fits on a very wide line.
fn wide_nodes_table(nodes: &[NodeView], look: &Look) -> Table {
    let mut table = Table::new(&[
        ("Node Name", Kind::Id),
        ("State", Kind::State),
        ("Health", Kind::State),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Sockets", Kind::Number),
        ("Memory", Kind::Number),
        ("Pool", Kind::Text),
        ("Groups", Kind::Text),
        ("Address", Kind::Id),
        ("Clock", Kind::Number),
        ("Certificate until", Kind::Id),
        ("Version", Kind::Id),
    ]);
    for NodeView { row, slots_held, .. } in nodes {
        let has = row.inventory.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            row.name.to_string(),
            sentence::admin_word(row.admin).to_owned(),
            sentence::health_word(row.liveness).to_owned(),
            row.slots.to_string(),
            slots_held.to_string(),
            row.slots.saturating_sub(*slots_held).to_string(),
            or_dash(has.filter(|has| has.sockets > 0).map(|has| has.sockets.to_string())),
            or_dash(has.map(|has| memory(has.memory_bytes))),
            row.pool.to_string(),
            dash(&joined(row.groups.iter())),
            or_dash(row.peer.map(|peer| peer.to_string())),
            or_dash(row.clock_ahead_ms.map(|ahead| format!("{ahead:+} ms"))),
            or_dash(row.certificate_ends.map(|ends| moment::show(ends, look.zone))),
            or_dash(has.map(|has| dash(&has.version))),
        ]);
    }
    table
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

fn tame_lines(text: &str) -> String {
    text.lines().map(tame).collect::<Vec<_>>().join("\n")
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
