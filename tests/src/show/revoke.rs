//! `revoke`: a node that is removed and a user that is removed are out at once, and stay out.

use std::io::Read;
use std::process::Stdio;

use anyhow::ensure;

use super::say;
use super::users::log_in;
use crate::cluster::SOON;
use crate::hosts::{ALICE, BOB, ROOT};
use crate::site::Site;
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let mut site = Site::start()?;
    site.network().add("desk")?;
    site.join(&["n1", "n2"])?;
    log_in(&site, ALICE)?;
    log_in(&site, BOB)?;
    node(&site)?;
    user(&site)
}

fn node(site: &Site) -> anyhow::Result<()> {
    let job = site.submit("head", ALICE, "/requestednodes:n2 sleep 4242")?;
    let node = site.host("n2")?;
    let runs = || Ok::<_, anyhow::Error>(node.run(ROOT, &["pgrep", "-f", "sleep 4242"])?.code == 0);
    wait::until("the task to run on n2", SOON, || Ok(runs()?.then_some(())))?;
    site.head()?.fails(ROOT, "muster node remove n2", 6)?;
    site.head()?.types(ROOT, "muster node remove n2 --force")?;
    wait::until("the task to be ended on n2", SOON, || Ok((!runs()?).then_some(())))?;
    say("muster node remove n2 --force: its task was ended there");
    let list = site.head()?.types(ROOT, "muster node list -o quiet")?;
    ensure!(!list.contains("n2"), "n2 is still listed: {list}");
    let again = node.run(
        ROOT,
        &[
            "timeout",
            "30",
            "muster-computenode",
            "agent",
            "--dir",
            "/var/lib/muster-node",
        ],
    )?;
    ensure!(
        again.code != 0 && again.code != 124 && again.err.contains("removed"),
        "n2 was not told that it is out: {again:?}"
    );
    say(format!(
        "started again, n2 is told: {}",
        again.err.trim().lines().last().unwrap_or_default()
    ));
    let counts = site.json(ALICE, &format!("muster job view {job}"))?["counts"].clone();
    ensure!(
        counts["running"] == 0 && counts["queued"] == 1,
        "the task waits for a node again: {counts}"
    );
    site.head()?.types(ALICE, &format!("muster job cancel {job}"))?;
    Ok(())
}

fn user(site: &Site) -> anyhow::Result<()> {
    let desk = site.host("desk")?;
    let job = site.submit("desk", BOB, "/requestednodes:n1 sleep 600")?;
    let mut waiting = desk
        .command(BOB, "muster")
        .args(["job", "wait", &job.to_string()])
        .stderr(Stdio::piped())
        .spawn()?;
    wait::until("bob's wait to be under way", SOON, || {
        Ok(desk
            .types(BOB, &format!("muster job view {job}"))?
            .contains("Running")
            .then_some(()))
    })?;
    site.head()?.types(ROOT, "muster user remove bob")?;
    let status = wait::until("bob's wait to end", SOON, || Ok(waiting.try_wait()?))?;
    let mut said = String::new();
    if let Some(mut err) = waiting.stderr.take() {
        err.read_to_string(&mut said)?;
    }
    ensure!(status.code() == Some(4), "bob's wait ended with {status}: {said}");
    say(format!(
        "muster user remove bob: what he watched ended: {}",
        said.trim().lines().last().unwrap_or_default()
    ));
    let refused = desk.fails(BOB, "muster job list", 4)?;
    say(format!("bob's next command: {}", refused.trim()));
    desk.types(ALICE, "muster job list")?;
    say("alice goes on");
    Ok(())
}
