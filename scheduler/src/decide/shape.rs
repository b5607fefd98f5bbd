//! What no node can ever have: a task that asks more of one node than any node offers is refused, with the nearest fit.
//! More nodes than there are today are no reason: such a task waits for them.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::model::job::JobSpec;
use proto::model::node::NodeRow;
use proto::model::task::{Request, TaskSpec};

use crate::cluster::{Class, Cluster, MIB, Wares, wares_of};
use crate::plan::Measure;
use crate::refusal::{invalid, unknown};

/// Whether one node at least could ever give a task what it asks of each.
///
/// Nodes that never said what they have could be anything; where all that the job may use are such, nothing is refused.
///
/// # Errors
/// A refusal that names what is asked and the node that comes nearest.
pub(super) fn check_shape(cluster: &Cluster, job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    if matches!(task.request, Request::Beside { .. }) {
        return Ok(());
    }
    check_names(cluster, task)?;
    if !asks_of_each(job, task) {
        return Ok(());
    }
    let class = Class::of(job);
    let known = |row: &&NodeRow| row.inventory.is_some() && class.outside(row).is_none();
    let nodes: Vec<&NodeRow> = cluster.nodes().filter(known).collect();
    let silent = cluster
        .nodes()
        .any(|row| row.inventory.is_none() && class.outside(row).is_none());
    if nodes.is_empty() || silent {
        return Ok(());
    }
    let place = place_of(job);
    let sized: Vec<&NodeRow> = nodes.iter().copied().filter(|row| !class.is_other_size(row)).collect();
    if sized.is_empty() {
        let largest = nodes
            .iter()
            .max_by_key(|row| row.inventory.as_ref().map(|own| (own.cores, own.memory_bytes)));
        let own = largest.and_then(|row| Some((row.inventory.as_ref()?, &row.name)));
        let Some((inventory, name)) = own else { return Ok(()) };
        return Err(invalid(
            format!("no node{place} is of the size that the job asks for"),
            format!(
                "the largest has {} cores and {} MiB: node {name}; ask for another size",
                inventory.cores,
                inventory.memory_bytes / MIB
            ),
        ));
    }
    check_units(&sized, &place, job, task)?;
    check_wares(&sized, &place, task)
}

/// Whether anything is asked that has to be on one node. Of most work nothing is, and no node has to be looked at.
fn asks_of_each(job: &JobSpec, task: &TaskSpec) -> bool {
    let of_size = job.cores_per_node.is_some() || job.memory_per_node.is_some();
    of_size || job.single_node || Wares::of(task).is_some()
}

/// Which nodes the job may use, for people.
fn place_of(job: &JobSpec) -> String {
    let groups: Vec<&str> = job.node_groups.iter().map(|group| group.as_str()).collect();
    match (&job.pool, groups.as_slice()) {
        _ if !job.requested_nodes.is_empty() => " among the requested ones".to_owned(),
        (Some(pool), []) => format!(" in pool {pool}"),
        (Some(pool), groups) => format!(" in pool {pool} and in the groups {}", groups.join(", ")),
        (None, []) => String::new(),
        (None, [group]) => format!(" in group {group}"),
        (None, groups) => format!(" in the groups {}", groups.join(", ")),
    }
}

/// Resources that no node has are probably misspelled.
fn check_names(cluster: &Cluster, task: &TaskSpec) -> Result<(), Refusal> {
    if task.resources.is_empty() {
        return Ok(());
    }
    let inventories = cluster.nodes().filter_map(|row| row.inventory.as_ref());
    let known: BTreeSet<&str> = inventories
        .flat_map(|inventory| inventory.resources.keys())
        .map(|name| name.as_str())
        .collect();
    let any_node = cluster.nodes().any(|row| row.inventory.is_some());
    match task.resources.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) if any_node => Err(unknown(
            "resource",
            name.as_str(),
            known.into_iter(),
            "see 'node view NODE'",
        )),
        _ => Ok(()),
    }
}

/// Units that have to be on one node.
fn check_units(nodes: &[&NodeRow], place: &str, job: &JobSpec, task: &TaskSpec) -> Result<(), Refusal> {
    let (Request::Cores { count } | Request::Sockets { count }) = task.request else {
        return Ok(());
    };
    let measure = Measure::of(task.request);
    let largest = nodes
        .iter()
        .max_by_key(|row| (measure.units_of(row), std::cmp::Reverse(row.id)));
    let Some(row) = largest.filter(|row| job.single_node && measure.units_of(row) < count) else {
        return Ok(());
    };
    Err(invalid(
        format!(
            "{} are asked for on a single node, and no node{place} has as many",
            task.request
        ),
        format!(
            "the largest has {}: node {}; ask for fewer, or leave singlenode out",
            measure.units_of(row),
            row.name
        ),
    ))
}

/// Memory and countable resources of one node, each alone and all together.
fn check_wares(nodes: &[&NodeRow], place: &str, task: &TaskSpec) -> Result<(), Refusal> {
    let Some(asked) = Wares::of(task) else { return Ok(()) };
    let offers: Vec<(&NodeRow, Wares)> = nodes.iter().map(|row| (*row, wares_of(row))).collect();
    if offers.iter().any(|(_, wares)| asked.lack(wares).is_none()) {
        return Ok(());
    }
    let most = offers
        .iter()
        .max_by_key(|(row, wares)| (wares.memory_mib, std::cmp::Reverse(row.id)));
    if let Some((row, wares)) = most.filter(|(_, wares)| wares.memory_mib < asked.memory_mib) {
        return Err(invalid(
            format!(
                "{} MiB of memory are asked for on a node, and no node{place} has as much",
                asked.memory_mib
            ),
            format!(
                "the largest has {} MiB: node {}; ask for less",
                wares.memory_mib, row.name
            ),
        ));
    }
    for (name, count) in &asked.resources {
        let had = |wares: &Wares| wares.resources.get(name).copied().unwrap_or(0);
        let most = offers
            .iter()
            .max_by_key(|(row, wares)| (had(wares), std::cmp::Reverse(row.id)));
        if let Some((row, wares)) = most.filter(|(_, wares)| had(wares) < *count) {
            return Err(invalid(
                format!("{count} of '{name}' are asked for on a node, and no node{place} has as many"),
                format!("the most are {}: node {}; ask for fewer", had(wares), row.name),
            ));
        }
    }
    Err(invalid(
        format!("no node{place} has all of the memory and resources that are asked for together"),
        "ask for less of one of them; see 'node list'",
    ))
}
