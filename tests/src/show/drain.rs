//! `drain`: a node is taken out of use in each of the four ways.

use anyhow::ensure;

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(2)?;
    for (option, then) in [
        ("requeue", "running"),
        ("terminate", "ended"),
        ("taskcompletion", "running"),
        ("retaineddata", "ended"),
    ] {
        try_option(&cluster, option, then)?;
    }
    Ok(())
}

/// A task runs on node1; what becomes of it and of the node when that is drained so.
fn try_option(cluster: &Cluster, option: &str, then: &str) -> anyhow::Result<()> {
    cluster.ok("node offline node2")?;
    let seconds = if option == "retaineddata" { "0.5" } else { "300" };
    let job = cluster.submit(&["--retention", "3s", "sleep", seconds])?;
    let state = || -> anyhow::Result<String> {
        let view = cluster.json(&format!("task view {job}.1"))?;
        let row = view.get("task").unwrap_or(&view);
        Ok(row["state"]["is"].as_str().unwrap_or_default().to_owned())
    };
    wait::until("the task to run on node1", SOON, || {
        Ok(matches!(state()?.as_str(), "running" | "ended").then_some(()))
    })?;
    cluster.ok("node online node2")?;
    cluster.ok(&format!("node drain node1 --option {option}"))?;
    let node = || cluster.json("node view node1");
    let admin = || -> anyhow::Result<String> { Ok(node()?["admin"].as_str().unwrap_or_default().to_owned()) };
    let offline = || Ok::<_, anyhow::Error>((admin()? == "offline").then_some(()));
    match option {
        "taskcompletion" => {
            ensure!(
                admin()? == "draining" && state()? == "running",
                "the task goes on: {}",
                node()?
            );
            cluster.ok(&format!("job cancel {job} --force"))?;
            wait::until("the node to be offline", SOON, offline)?;
            say("taskcompletion: the task went on, the node was draining, and offline with its end");
        }
        "retaineddata" => {
            wait::until("the task to end", SOON, || Ok((state()? == "ended").then_some(())))?;
            ensure!(admin()? == "draining", "its files are still kept: {}", node()?);
            wait::until("the node to be offline", SOON, offline)?;
            say("retaineddata: the node stayed until the files' retention of 3 s was over");
        }
        _ => {
            wait::until("the node to be offline", SOON, offline)?;
            wait::until("the task to be where it belongs", SOON, || {
                Ok((state()? == then).then_some(()))
            })?;
            say(format!("{option}: node1 is offline, the task is {then}"));
            cluster.run("job", &["cancel", &job.to_string(), "--force"])?;
            cluster.run("job", &["wait", &job.to_string()])?;
        }
    }
    cluster.ok("node online node1")?;
    Ok(())
}
