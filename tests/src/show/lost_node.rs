//! `lost-node`: a node of a gang goes silent for good; the gang ends whole, runs again elsewhere, and nothing runs twice.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::SOON;
use crate::hosts::ROOT;
use crate::site::Site;
use crate::wait;

/// Clocks short enough to watch: the lease is over after 6 s, and a node is given up after 38 s.
const SETTINGS: &str = "[timing]\nheartbeat_seconds = 1\nsuspect_after_seconds = 3\nlease_seconds = 6\nkill_grace_seconds = 1\nlost_after_seconds = 38\n";

pub(super) fn run() -> anyhow::Result<()> {
    let mut site = Site::start_with(SETTINGS)?;
    site.join(&["n1", "n2", "n3", "n4"])?;
    let job = site.submit(
        "head",
        ROOT,
        "/numnodes:3 sh -c 'date +%s.%N >> /tmp/starts; sleep 4242'",
    )?;
    let nodes = wait::until("the gang to run", SOON, || {
        let task = site.json(ROOT, &format!("muster task view {job}.1"))?;
        let row = task.get("task").unwrap_or(&task).clone();
        Ok((row["state"]["is"] == "running").then_some(row["last_nodes"].clone()))
    })?;
    say(format!("a gang of three runs on nodes {nodes}"));
    site.network().plug("n2", false)?;
    say("n2 is off the network for good");
    let again = wait::until("the gang to run again", Duration::from_secs(120), || {
        let task = site.json(ROOT, &format!("muster task view {job}.1"))?;
        let row = task.get("task").unwrap_or(&task).clone();
        Ok((row["requeues"] == 1 && row["state"]["is"] == "running").then_some(row["last_nodes"].clone()))
    })?;
    let list = again.as_array().context("nodes")?;
    ensure!(
        list.len() == 3 && !list.contains(&2.into()),
        "three nodes without n2: {again}"
    );
    say(format!("it was given up, ended whole, and runs again on nodes {again}"));
    let sleeping = |name: &str| -> anyhow::Result<usize> {
        let said = site.host(name)?.run(ROOT, &["pgrep", "-fc", "^sleep 4242"])?;
        Ok(said.out.trim().parse().unwrap_or(0))
    };
    let mut all = 0;
    for name in ["n1", "n2", "n3", "n4"] {
        all += sleeping(name)?;
    }
    ensure!(all == 1, "its program runs {all} times at once");
    say("its program runs once, and n2 has ended what it ran by its lease");
    site.head()?.types(ROOT, &format!("muster job cancel {job} --force"))?;
    Ok(())
}
