//! Commands of stories about pools and the lives of nodes.
//!
//! ```text
//! > pool add p slots=4 wanted=2 start=prepare nowait retries=1 fill=spread inter=no
//! > pool set p start=other|none fill=pack cores=8       > pool delete p
//! > pool resize p 2 requeue|terminate|retaineddata timeout=60        > pool resize p stop
//! > pools                   pools, and what nodes have to do for them
//! > join n0 pool=p          without a hello
//! > reboot n0 terminate     > reimage n0      they are told to start anew     > cannot n0      and it says that it cannot
//! ```

use proto::client::RefusalCode;
use proto::control::Report;
use proto::event::Event;
use proto::ids::{NodeId, PoolName, SubmissionId};
use proto::model::exit::Retries;
use proto::model::job::SetTo;
use proto::model::limits::Limits;
use proto::model::node::{Deallocation, NodeErrand, NodeStart, StartState};
use proto::model::pool::{Allocation, FillType, PoolChange, PoolRow, PoolSpec};
use proto::model::role::StartTaskSpec;
use proto::model::task::TaskSpec;
use proto::stored::TokenRow;
use proto::units::Millis;
use scheduler::{Cluster, Input, Settings};

use crate::scenario::Words;
use crate::world::{World, hello, root};

#[test]
fn a_pool_that_is_taken_away_gets_no_tokens() {
    let mut world = World::new(Settings::default());
    let pool = PoolName::new("q").expect("a pool name");
    world.join("n0", "q", &[]);
    world.node_up(hello("n0", 2, 1)).answer.expect("a hello");
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.rerunnable = false;
    let submit = Input::Submit {
        caller: root(),
        submission: SubmissionId(1),
        job: Box::default(),
        tasks: vec![task],
    };
    world.round(&submit).answer.expect("a job");
    let delete = Input::DeletePool {
        caller: root(),
        name: pool.clone(),
    };
    world.round(&delete).answer.expect("it is being taken away");
    let token = TokenRow {
        hash: "late".to_owned(),
        pool,
        groups: Vec::new(),
        expires_at: world.now.wall + Millis(1),
        uses_left: 1,
    };
    let refused = world.round(&Input::MakeToken { caller: root(), token });
    assert_eq!(refused.answer.expect_err("no token").code, RefusalCode::WrongState);
    assert_eq!(refused.events, []);
}

/// What becomes of tasks, as a word of the command says.
pub(crate) fn option(words: &Words<'_>) -> Deallocation {
    let options = [
        Deallocation::Requeue,
        Deallocation::Terminate,
        Deallocation::RetainedData,
    ];
    let named = options.into_iter().find(|option| words.has(option.word()));
    named.unwrap_or(Deallocation::TaskCompletion)
}

pub(crate) fn input(words: &Words<'_>, world: &World) -> Input {
    let caller = words.admin();
    match words.verb() {
        "pool" => of_pool(words),
        "cannot" => {
            let name = &words.names(1)[0];
            let row = world.cluster.node_by_name(name).expect("a node of that name");
            Input::Report {
                node: row.id,
                boot: row.boot.expect("a boot id"),
                report: Report::ErrandRefused {
                    reason: "no command to start anew is configured".to_owned(),
                },
            }
        }
        verb => Input::RestartNodes {
            caller,
            nodes: words.names(1),
            option: option(words),
            reimage: verb == "reimage",
        },
    }
}

fn of_pool(words: &Words<'_>) -> Input {
    let caller = words.admin();
    let name = PoolName::new(words.plain(2)).expect("a pool name");
    let number = |key: &str| words.value(key).map(|n| n.parse::<u32>().expect("a number"));
    match words.plain(1) {
        "add" => Input::AddPool {
            caller,
            name,
            spec: Box::new(PoolSpec {
                slots_per_node: number("slots"),
                wanted: number("wanted"),
                fill: fill(words).unwrap_or_default(),
                inter_node: words.value("inter") != Some("no"),
                start_task: words.value("start").map(|command| start(words, command)),
                limits: limits(words).unwrap_or_default(),
            }),
        },
        "set" => Input::SetPool {
            caller,
            name,
            change: Box::new(PoolChange {
                fill: fill(words),
                inter_node: words.value("inter").map(|text| text == "yes"),
                start_task: words.value("start").map(|text| match text {
                    "none" => SetTo::Nothing,
                    command => SetTo::Value(start(words, command)),
                }),
                limits: limits(words),
            }),
        },
        "resize" => Input::ResizePool {
            caller,
            name,
            wanted: words.plain(3).parse().ok(),
            option: option(words),
            timeout: number("timeout").map(|n| Millis::from_seconds(u64::from(n))),
        },
        _ => Input::DeletePool { caller, name },
    }
}

fn fill(words: &Words<'_>) -> Option<FillType> {
    words.value("fill").map(|word| match word {
        "spread" => FillType::Spread,
        _ => FillType::Pack,
    })
}

fn limits(words: &Words<'_>) -> Option<Limits> {
    let cores = words.value("cores")?.parse().expect("a number");
    Some(Limits {
        cores: Some(cores),
        ..Limits::default()
    })
}

fn start(words: &Words<'_>, command: &str) -> Box<StartTaskSpec> {
    let mut task = TaskSpec::of_command(vec![command.to_owned()]);
    let retries = words.value("retries").map(|n| n.parse().expect("a number"));
    task.max_retries = retries.map(Retries::AtMost);
    if words.has("sweep") {
        task.sweep = Some(proto::model::sweep::Sweep::new(1, 3, 1).expect("a sweep"));
    }
    Box::new(StartTaskSpec {
        task,
        wait_for_success: !words.has("nowait"),
    })
}

/// What happened to pools and to nodes for them; none for other events.
pub(crate) fn event(event: &Event, name: impl Fn(NodeId) -> String) -> Option<String> {
    Some(match event {
        Event::PoolChanged { pool } => shown(pool),
        Event::PoolRemoved { pool } => format!("pool {pool} removed"),
        Event::NodeStartChanged { node, start } => format!("{} start task {}", name(*node), of_start(start.as_ref())),
        Event::NodeErrandChanged { node, errand, refused } => {
            let because = refused.as_ref().map_or_else(String::new, |text| format!(": {text}"));
            format!("{} errand {}{because}", name(*node), of_errand(errand.as_ref()))
        }
        Event::ErrandAdded { task } => format!("task {task} waits for its node"),
        Event::ErrandForgotten { task } => format!("task {task} forgotten"),
        Event::TokenRemoved { .. } => "token removed".to_owned(),
        _ => return None,
    })
}

fn shown(pool: &PoolRow) -> String {
    let wanted = pool.spec.wanted.map_or_else(String::new, |n| format!(" wants {n}"));
    let how = match pool.allocation {
        _ if pool.deleting => "deleting".to_owned(),
        Allocation::Steady => "steady".to_owned(),
        Allocation::Resizing { option, .. } => format!("resizing ({})", option.word()),
    };
    let job = pool
        .start_job
        .map_or_else(String::new, |job| format!(", start task is job {job}"));
    let error = pool.resize_error.as_ref();
    let error = error.map_or_else(String::new, |text| format!(", {text}"));
    format!("pool {}{wanted} {how}{job}{error}", pool.name)
}

fn of_start(start: Option<&NodeStart>) -> String {
    match start.map(|start| &start.state) {
        None => "none".to_owned(),
        Some(StartState::Running) => "running".to_owned(),
        Some(StartState::Done) => "done".to_owned(),
        Some(StartState::Failed { reason }) => format!("failed: {reason}"),
    }
}

fn of_errand(errand: Option<&NodeErrand>) -> String {
    errand.map_or_else(
        || "none".to_owned(),
        |errand| {
            let sent = if errand.sent { ", told" } else { "" };
            format!("{:?}{sent}, then {:?}", errand.kind, errand.admin)
        },
    )
}

/// Pools, and what nodes have to do for them.
pub(crate) fn show(cluster: &Cluster) -> Vec<String> {
    let mut lines: Vec<String> = cluster.pools().map(shown).collect();
    for row in cluster.nodes() {
        let mut line = format!("{} in {}", row.name, row.pool);
        if row.start.is_some() {
            line.push_str(&format!(", start task {}", of_start(row.start.as_ref())));
        }
        if row.errand.is_some() {
            line.push_str(&format!(", errand {}", of_errand(row.errand.as_ref())));
        }
        if let Some(reason) = &row.errand_refused {
            line.push_str(&format!(", refused: {reason}"));
        }
        lines.push(line);
    }
    lines
}
