//! What stories say about where tasks go and why they wait, beyond groups and units.
//!
//! ```text
//! > node n0 domain=d0 res=gpu:2 tags=fast,new
//! words of a task:   mem=512 (MiB) res=gpu:1 anydomain affinity=n0        of a job:   parallel=2
//! > limit ann jobs=1 cores=4 queued=10 | none         > limit each cores=4
//! > parameter BackfillLookAhead 2
//! > outlook 2 | 2.3        what comes next for a job or a task, when it starts at the latest, how many nodes are missing
//! > demand                 what the pass could not place         > uses        limits and what is used of them
//! ```

use std::collections::BTreeMap;

use proto::ids::{DomainName, GroupName, JobId, ResourceName, TaskId, UserName};
use proto::model::limits::Limits;
use proto::model::node::Inventory;
use proto::model::task::TaskSpec;
use proto::model::why::Why;
use scheduler::Input;

use crate::scenario::Words;
use crate::world::{World, root};

/// What `node` says about a node.
pub(crate) fn read_node(words: &Words<'_>, inventory: &mut Inventory) {
    inventory.domain = words
        .value("domain")
        .map(|name| DomainName::new(name).expect("a domain"));
    inventory.resources = resources(words);
    let tags = words
        .value("tags")
        .unwrap_or_default()
        .split(',')
        .filter(|tag| !tag.is_empty());
    inventory.tags = tags.map(|tag| GroupName::new(tag).expect("a tag")).collect();
}

/// What `submit`, `new`, `add` and `rehearse` say.
pub(crate) fn read(words: &Words<'_>, task: &mut TaskSpec) {
    if let Some(mib) = words.value("mem") {
        task.memory_mib = Some(mib.parse().expect("a number"));
    }
    task.resources.extend(resources(words));
    task.any_domain = words.has("anydomain");
}

fn resources(words: &Words<'_>) -> BTreeMap<ResourceName, u32> {
    let list = words
        .value("res")
        .unwrap_or_default()
        .split(',')
        .filter(|pair| !pair.is_empty());
    let pairs = list.map(|pair| pair.split_once(':').expect("name:count"));
    pairs
        .map(|(name, count)| {
            (
                ResourceName::new(name).expect("a resource"),
                count.parse().expect("a number"),
            )
        })
        .collect()
}

/// The input of a command, if it is one of these.
pub(crate) fn input(words: &Words<'_>) -> Option<Input> {
    let number = |key: &str| words.value(key).map(|n| n.parse::<u32>().expect("a number"));
    match words.verb() {
        "limit" => Some(Input::SetLimits {
            caller: root(),
            user: (words.rest(1)[0] != "each").then(|| UserName::new(words.rest(1)[0]).expect("a user")),
            limits: (!words.has("none")).then(|| Limits {
                running_jobs: number("jobs"),
                cores: number("cores"),
                queued_tasks: number("queued").map(u64::from),
            }),
        }),
        "parameter" => Some(Input::SetSettings {
            caller: root(),
            env: BTreeMap::new(),
            parameters: vec![(words.rest(1)[0].to_owned(), words.rest(1)[1].to_owned())],
        }),
        _ => None,
    }
}

/// What a command shows, if it is one of these.
pub(crate) fn show(words: &Words<'_>, world: &World) -> Option<Vec<String>> {
    match words.verb() {
        "outlook" => {
            let word = words.rest(1)[0];
            let why = match word.parse::<TaskId>() {
                Ok(task) => scheduler::explain_task(&world.cluster, task, world.now),
                Err(_) => scheduler::explain(&world.cluster, JobId(words.number(1)), world.now),
            };
            Some(why.map_or_else(|| vec!["it does not wait".to_owned()], |why| outlook(&why, world)))
        }
        "demand" => {
            let demand = scheduler::plan(&world.cluster, world.now).demand;
            let line = |one: &proto::model::demand::Demand| {
                let on_each = match (one.memory_mib, one.resources.is_empty()) {
                    (None, true) => String::new(),
                    (mib, _) => format!(" with {} MiB and {:?}", mib.unwrap_or(0), one.resources),
                };
                format!(
                    "job {} of {}: {} tasks of {}{on_each}: {:?}",
                    one.job, one.user, one.tasks, one.request, one.because
                )
            };
            Some(demand.iter().map(line).collect())
        }
        "uses" => Some(
            world
                .cluster
                .user_uses()
                .map(|used| {
                    let own = if used.own { "own" } else { "everybody's" };
                    format!(
                        "{} ({own} limits): {} jobs, {} cores, {} waiting",
                        used.user, used.running_jobs, used.cores, used.queued_tasks
                    )
                })
                .collect(),
        ),
        _ => None,
    }
}

fn outlook(why: &Why, world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(why.held.as_ref().map(|held| format!("held: {held:?}")));
    lines.extend(why.next.as_ref().map(|next| format!("next: {next:?}")));
    let start = why.expected_start.map(|at| at.since(world.now.wall));
    lines.push(start.map_or_else(
        || "nobody knows when it starts".to_owned(),
        |span| format!("starts within {span}"),
    ));
    lines.extend(
        why.short_nodes
            .map(|count| format!("{count} nodes more would have to be there")),
    );
    lines
}
