//! `backfill`: a gang waits for a task that will end; a short job passes it and does not delay it, a long one does not pass.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::say;
use crate::cluster::Cluster;
use crate::wait;

/// How long the picture is, in characters.
const WIDTH: u64 = 60;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(3)?;
    // One node is taken until its limit at the latest; the gang needs all three.
    let holder = cluster.submit(&["/numnodes:1", "--runtime", "20s", "sleep", "8"])?;
    started(&cluster, holder)?;
    let gang = cluster.submit(&["/numnodes:3", "--runtime", "60s", "sleep", "1"])?;
    let short = cluster.submit(&["/numnodes:1", "--runtime", "5s", "sleep", "2"])?;
    let long = cluster.submit(&["/numnodes:1", "--runtime", "10m", "sleep", "1"])?;
    let why = cluster.ok(&format!("job why {gang}"))?;
    ensure!(why.contains("expected"), "the gang's start is expected: {why}");
    say(why
        .lines()
        .find(|line| line.contains("expected"))
        .unwrap_or_default()
        .trim());
    for job in [holder, gang, short, long] {
        cluster.ok(&format!("job wait {job}"))?;
    }
    let span = |job: u64| span_of(&cluster, job);
    let (holder, gang, short, long) = (span(holder)?, span(gang)?, span(short)?, span(long)?);
    let start = holder.0;
    let end = [gang.1, long.1].into_iter().max().unwrap_or(start + 1);
    for (name, (from, to)) in [
        ("1 node, 8 s", holder),
        ("3 nodes", gang),
        ("1 node, 5 s at most", short),
        ("1 node, 10 min at most", long),
    ] {
        let at = |time: u64| usize::try_from((time - start) * WIDTH / (end - start).max(1)).unwrap_or(0);
        let bar = format!("{}{}", " ".repeat(at(from)), "#".repeat((at(to) - at(from)).max(1)));
        say(format!("{name:<24}|{bar:<60}|"));
    }
    ensure!(
        short.0 < gang.0 && short.1 <= gang.0,
        "the short job ran while the gang waited"
    );
    ensure!(long.0 >= gang.0, "the long job did not pass the gang");
    let idle = Duration::from_millis(gang.0.saturating_sub(holder.1));
    ensure!(
        idle < Duration::from_secs(2),
        "the gang started {idle:?} after the node was free: somebody delayed it"
    );
    Ok(())
}

fn started(cluster: &Cluster, job: u64) -> anyhow::Result<()> {
    wait::until("the first job to run", crate::cluster::SOON, || {
        let view = cluster.json(&format!("task view {job}.1"))?;
        Ok((state(&view)["is"] == "running").then_some(()))
    })
}

fn state(view: &Value) -> &Value {
    let row = view.get("task").unwrap_or(view);
    &row["state"]
}

fn span_of(cluster: &Cluster, job: u64) -> anyhow::Result<(u64, u64)> {
    let view = cluster.json(&format!("task view {job}.1"))?;
    let state = state(&view);
    let time = |name: &str| {
        state[name]
            .as_u64()
            .with_context(|| format!("job {job} has no {name}: {view}"))
    };
    Ok((time("started_at")?, time("ended_at")?))
}
