//! `gang-whole`: gangs and single tasks share four nodes; every gang has all its nodes at once or none.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::Cluster;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(4)?;
    cluster.ok("job submit /parametric:1-60 sleep 0.05")?;
    let mut gangs = Vec::new();
    for nodes in [2, 4, 3, 2, 4] {
        let words = [&format!("/numnodes:{nodes}"), "sleep", "0.2"];
        gangs.push((cluster.submit(&words)?, nodes));
    }
    cluster.ok("job submit /parametric:1-60 sleep 0.05")?;
    for job in 1..=7 {
        cluster.ok(&format!("job wait {job}"))?;
    }
    let events = cluster.ok("muster events -o json")?;
    let mut held: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    // What waits in the window of a node holds nothing before it gets a slot.
    let mut ahead: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut by_job: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for line in events.lines() {
        let value: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let event = &value["event"];
        let (Some(attempt), word) = (event["attempt"].as_u64(), event["event"].as_str()) else {
            continue;
        };
        match word {
            Some("granted") => {
                let shares = event["shares"].as_array().context("shares")?;
                let nodes: BTreeSet<u64> = shares.iter().filter_map(|share| share["node"].as_u64()).collect();
                let job = event["task"]["job"].as_u64().context("a job")?;
                by_job.entry(job).or_default().push(nodes.len());
                if event["ahead"] == true {
                    ahead.insert(attempt, nodes);
                } else {
                    hold(&mut held, attempt, nodes)?;
                }
            }
            Some("advanced") => {
                let nodes = ahead.remove(&attempt).context("it waited")?;
                hold(&mut held, attempt, nodes)?;
            }
            Some("share_released") => {
                let node = event["node"].as_u64().context("a node")?;
                if let Some(nodes) = held.get_mut(&attempt) {
                    nodes.remove(&node);
                }
            }
            _ => {}
        }
    }
    for (job, nodes) in gangs {
        let got = by_job.get(&job).cloned().unwrap_or_default();
        ensure!(
            got == [nodes],
            "job {job} asked for {nodes} nodes and was given {got:?}"
        );
        say(format!("job {job}: {nodes} nodes in one grant, none shared"));
    }
    Ok(())
}

/// An attempt gets nodes, which nobody shares with a gang.
fn hold(held: &mut BTreeMap<u64, BTreeSet<u64>>, attempt: u64, nodes: BTreeSet<u64>) -> anyhow::Result<()> {
    for (other, others) in &*held {
        let whole = nodes.len() > 1 || others.len() > 1;
        ensure!(
            !whole || others.is_disjoint(&nodes),
            "attempts {attempt} and {other} share a node"
        );
    }
    held.insert(attempt, nodes);
    Ok(())
}
