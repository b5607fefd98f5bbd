//! `prep-release-manager`: a manager task adds tasks to its own job; each node is prepared before the first of them there and
//! released at the end.

use std::collections::BTreeMap;
use std::fs;

use anyhow::ensure;

use super::say;
use crate::cluster::Cluster;

const GRAPH: &str = r#"
[job]
name = "managed"

[manager]
command = ["sh", "-c", "echo manager >> TRACE; job add $CCP_JOBID /parametric:1-6 sh -c 'echo task $CCP_NODES >> TRACE; sleep 0.3'"]
shared = true
keep_job = true

[prep]
command = ["sh", "-c", "echo prep $AZ_BATCH_NODE_ID >> TRACE"]

[release]
command = ["sh", "-c", "echo release $AZ_BATCH_NODE_ID >> TRACE"]
"#;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(3)?;
    let trace = cluster.state().join("trace");
    let file = cluster.state().join("managed.toml");
    fs::write(&file, GRAPH.replace("TRACE", &trace.display().to_string()))?;
    cluster.ok(&format!("job submit --jobfile {}", file.display()))?;
    cluster.ok("job wait 1")?;
    let text = fs::read_to_string(&trace)?;
    let lines: Vec<&str> = text.lines().collect();
    let place = |line: &str| -> String {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            // CCP_NODES: count, then name and cores.
            ["task", _, node, ..] | ["prep" | "release", node] => (*node).to_owned(),
            _ => String::new(),
        }
    };
    let mut by_node: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in &lines {
        let word = line.split_whitespace().next().unwrap_or_default();
        by_node.entry(place(line)).or_default().push(word);
    }
    let manager = by_node.remove("").unwrap_or_default();
    ensure!(manager == ["manager"], "the manager ran once: {lines:?}");
    let tasks = lines.iter().filter(|line| line.starts_with("task ")).count();
    ensure!(tasks == 6, "the manager's six tasks ran: {lines:?}");
    for (node, words) in &by_node {
        let once = |word: &str| words.iter().filter(|other| **other == word).count() == 1;
        ensure!(
            once("prep") && once("release") && words.first() == Some(&"prep") && words.last() == Some(&"release"),
            "on {node}: {words:?}"
        );
        say(format!("{node}: {}", words.join(", ")));
    }
    let view = cluster.json("job view 1")?;
    ensure!(view["state"]["outcome"]["is"] == "finished", "the job finished: {view}");
    Ok(())
}
