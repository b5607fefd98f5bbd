//! `deps`: tasks that wait for others by name, by number and by range; an exit code that satisfies, and one that blocks.

use std::fs;

use anyhow::ensure;

use super::say;
use crate::cluster::Cluster;

const GRAPH: &str = r#"
[job]
name = "deps"

[[task]]
name = "first"
command = ["sh", "-c", "echo first >> TRACE"]

[[task]]
name = "second"
command = ["sh", "-c", "echo second >> TRACE"]
depends_on = ["first"]

[[task]]
name = "sweep"
array = "1-4"
command = ["sh", "-c", "echo sweep >> TRACE"]
depends_on_ids = "2"

[[task]]
name = "warns"
command = ["sh", "-c", "echo warns >> TRACE; exit 3"]
on_exit = ["3=satisfy"]

[[task]]
name = "joins"
command = ["sh", "-c", "echo joins >> TRACE"]
depends_on_ids = "1-4"

[[task]]
name = "breaks"
command = ["sh", "-c", "echo breaks >> TRACE; exit 4"]

[[task]]
name = "blocked"
command = ["sh", "-c", "echo blocked >> TRACE"]
depends_on = ["breaks"]
"#;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(2)?;
    let trace = cluster.state().join("trace");
    let file = cluster.state().join("graph.toml");
    fs::write(&file, GRAPH.replace("TRACE", &trace.display().to_string()))?;
    cluster.ok(&format!("job submit --jobfile {}", file.display()))?;
    let waited = cluster.run("job", &["wait", "1"])?;
    ensure!(waited.code == 1, "a task failed, so the job did: {waited:?}");
    let ran = fs::read_to_string(&trace)?;
    let ran: Vec<&str> = ran.lines().collect();
    let at = |name: &str| ran.iter().position(|line| *line == name);
    ensure!(
        at("first") < at("second") && at("second") < at("sweep"),
        "in order: {ran:?}"
    );
    let last_sweep = ran.iter().rposition(|line| *line == "sweep");
    ensure!(
        ran.iter().filter(|line| **line == "sweep").count() == 4 && last_sweep < at("joins"),
        "tasks 1-4 end before 'joins': {ran:?}"
    );
    ensure!(at("warns") < at("joins"), "exit code 3 satisfies: {ran:?}");
    ensure!(at("blocked").is_none(), "a failure blocks: {ran:?}");
    say(format!("ran in this order: {}", ran.join(", ")));
    let list = cluster.ok("task list 1")?;
    ensure!(list.contains("Canceled"), "the blocked task is canceled: {list}");
    say("by name, by number, by range 1-4 with a sweep in it; exit 3 satisfied, exit 4 blocked");
    Ok(())
}
