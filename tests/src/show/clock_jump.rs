//! `clock-jump`: the wall clock of all programs jumps by a day, ahead and back, while tasks run; no lease ends, no connection
//! breaks, no task ends. Run time limits of jobs follow the wall clock and are not shown here. About 30 seconds.
//!
//! The clock of this machine is not touched: builds for tests read an offset from a file (`transport::wall`).

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

const DAY: i64 = 86_400;

pub(super) fn run() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("muster-clock.").tempdir()?;
    let clock = folder.path().join("offset");
    set(&clock, 0)?;
    let cluster = Cluster::start_with(2, &[("MUSTER_DEBUG_CLOCK", &clock.display().to_string())])?;
    let gate = folder.path().join("gate");
    let line = format!(
        "echo start >> {0}/$CCP_JOBID; while [ ! -e {1} ]; do sleep 0.1; done; exit 7",
        folder.path().display(),
        gate.display()
    );
    // One may be started elsewhere, one may not.
    let jobs = [
        cluster.submit(&["/requestednodes:node1", "sh", "-c", &line])?,
        cluster.submit(&["/requestednodes:node2", "/rerunnable:false", "sh", "-c", &line])?,
    ];
    wait::until("both tasks to run", SOON, || {
        let running = jobs.iter().filter(|job| folder.path().join(job.to_string()).exists());
        Ok((running.count() == jobs.len()).then_some(()))
    })?;
    let before = facts(&cluster, &jobs)?;
    say("two tasks run, one that may be started elsewhere");
    for (seconds, how) in [(DAY, "a day ahead"), (-DAY, "two days back"), (0, "a day ahead again")] {
        let told = wall_ms(&cluster)?;
        set(&clock, seconds)?;
        let now = wall_ms(&cluster)?;
        ensure!(
            now.abs_diff(told) > 40_000_000,
            "the head node's clock did not jump: {told}, {now}"
        );
        live_on(&cluster)?;
        let after = facts(&cluster, &jobs)?;
        ensure!(after == before, "before the jump: {before:#?}\nafter it: {after:#?}");
        say(format!(
            "the clock jumped {how}: both nodes beat on, took and ended work; nothing else has changed"
        ));
    }
    let log = fs::read_to_string(cluster.state().join("log/head.log"))?;
    ensure!(!log.contains("node disconnected"), "a connection broke: {log}");
    fs::write(&gate, "")?;
    for job in jobs {
        ensure!(
            cluster.run("job", &["wait", &job.to_string()])?.code == 1,
            "job {job} fails with code 7"
        );
        let task = cluster.json(&format!("task view {job}.1"))?;
        let row = task.get("task").unwrap_or(&task);
        ensure!(row["exit_code"] == 7, "task {job}.1 ended otherwise: {task}");
        let starts = fs::read_to_string(folder.path().join(job.to_string()))?;
        ensure!(starts == "start\n", "task {job}.1 started more than once");
    }
    say("both tasks ended by themselves, with their own exit code and one start");
    Ok(())
}

fn set(clock: &Path, seconds: i64) -> anyhow::Result<()> {
    // Whole or not at all: programs read it at any time.
    let new = clock.with_extension("new");
    fs::write(&new, seconds.to_string())?;
    Ok(fs::rename(new, clock)?)
}

/// The head node's wall clock, in milliseconds.
fn wall_ms(cluster: &Cluster) -> anyhow::Result<u64> {
    let status = cluster.json("muster status")?;
    find(&status, "clock")
        .and_then(Value::as_u64)
        .with_context(|| format!("no clock in {status}"))
}

fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .or_else(|| fields.values().find_map(|inner| find(inner, name))),
        _ => None,
    }
}

/// Each node is given work that lasts longer than a heartbeat and several rounds of the head node.
fn live_on(cluster: &Cluster) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    for node in ["node1", "node2"] {
        jobs.push(cluster.submit(&[&format!("/requestednodes:{node}"), "sleep", "6"])?);
    }
    for job in jobs {
        cluster.ok(&format!("job wait {job}"))?;
    }
    Ok(())
}

/// What no jump may change: since when nodes are up, in which life, and which attempt of each task runs.
fn facts(cluster: &Cluster, jobs: &[u64]) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for name in ["node1", "node2"] {
        let node = cluster.json(&format!("node view {name}"))?;
        let liveness = find(&node, "liveness").with_context(|| format!("no liveness in {node}"))?;
        all.push(liveness.clone());
    }
    for job in jobs {
        let task = cluster.json(&format!("task view {job}.1"))?;
        let state = find(&task, "state").with_context(|| format!("no state in {task}"))?;
        ensure!(state["is"] == "running", "task {job}.1 does not run any more: {task}");
        all.push(state.clone());
    }
    Ok(all)
}
