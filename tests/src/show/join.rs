//! `join`: five hosts from nothing to the seeds' line, with the documented commands only.

use std::collections::BTreeSet;

use anyhow::ensure;

use super::say;
use crate::hosts::{ALICE, BOB, ROOT, User};
use crate::site::Site;

pub(super) fn run() -> anyhow::Result<()> {
    let mut site = Site::start()?;
    say("head: muster up --nodes 0 --listen 172.16.0.1");
    let said = site.join(&["n1", "n2", "n3", "n4"])?;
    say("n1 to n4: the line of 'muster node join-command'; the last one said:");
    for line in said.lines() {
        say(format!("  {line}"));
    }
    let nodes = site.json(ROOT, "muster node list")?;
    let rows = nodes.as_array().cloned().unwrap_or_default();
    ensure!(rows.len() == 4, "four nodes were joined: {nodes}");
    for row in &rows {
        let memory = row["inventory"]["memory_bytes"].as_u64().unwrap_or(0);
        ensure!(memory > 0, "a node without its real inventory: {row}");
        ensure!(
            row["groups"].as_array().is_some_and(|groups| groups.len() == 2),
            "a node that is not in its groups: {row}"
        );
        let skew = row["clock_ahead_ms"].as_i64();
        ensure!(
            skew.is_some_and(|ms| ms.abs() < 60_000),
            "the clock was not measured: {row}"
        );
    }
    for user in [ROOT, ALICE, BOB] {
        measure(&site, user)?;
    }
    repeat(&site)
}

/// The seeds' line as one user.
fn measure(site: &Site, user: User) -> anyhow::Result<()> {
    let line = "/nodegroup:azurenodes /numnodes:4 mpiexec -c 1 -affinity mpipingpong -p 1:10000 -op -s nul";
    let job = site.submit("head", user, line)?;
    let waited = site.head()?.run(user, &["muster", "job", "wait", &job.to_string()])?;
    let view = site.head()?.types(user, &format!("muster task view {job}.1"))?;
    ensure!(
        waited.code == 0,
        "job {job} of {} failed: {waited:?}\n{view}",
        user.name
    );
    let pairs: BTreeSet<&str> = view
        .lines()
        .filter(|line| line.starts_with('n') && line.contains(" -> "))
        .collect();
    ensure!(pairs.len() == 6, "expected six pairs of four hosts:\n{view}");
    say(format!("{}: job submit {line}", user.name));
    for line in pairs {
        say(line.trim());
    }
    Ok(())
}

/// The line again on a host that has joined changes nothing; a host that is no member cannot use it up.
fn repeat(site: &Site) -> anyhow::Result<()> {
    let line = site.join_line("--uses 1")?;
    let again = site.host("n1")?.types(ROOT, &line)?;
    say(format!(
        "n1, the line again: {}",
        again.lines().next().unwrap_or_default()
    ));
    let nodes = site.json(ROOT, "muster node list")?;
    ensure!(nodes.as_array().map(Vec::len) == Some(4), "still four nodes: {nodes}");
    let wrong = line.replace("muster-join-1.", "muster-join-1.0");
    let refused = site
        .host("n1")?
        .run(ROOT, &["sh", "-c", &format!("{wrong} --dir /run/other --name other")])?;
    ensure!(refused.code != 0, "a wrong token lets nobody in: {refused:?}");
    say("a wrong token lets nobody in");
    Ok(())
}
