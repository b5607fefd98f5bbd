//! `long-absence`: a node that was away for longer than its certificate's life comes back by itself.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::SOON;
use crate::hosts::ROOT;
use crate::site::Site;
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let mut site = Site::start_with("node_certificate_life = \"9s\"\n")?;
    site.join(&["n1"])?;
    let first = ends(&site)?;
    say("n1 joined; its certificate lives 9 s");
    let renewed = wait::until("the certificate to be renewed in time", SOON, || {
        let now = ends(&site)?;
        Ok((now > first).then_some(now))
    })?;
    ensure!(health(&site)? == "Up", "the node answers while it renews");
    say("it was renewed while the node was connected");

    site.network().plug("n1", false)?;
    site.host("n1")?
        .types(ROOT, "pkill -9 -f '[m]uster-computenode agent'")?;
    say("n1 is off the network and its agent killed");
    wait::until("the certificate to have expired", Duration::from_secs(120), || {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_millis();
        Ok((now > u128::from(renewed.max(ends(&site)?)) + 3000).then_some(()))
    })?;
    site.network().plug("n1", true)?;
    site.host("n1")?.types(
        ROOT,
        "setsid muster-computenode agent --dir /var/lib/muster-node > /run/agent.log 2>&1 < /dev/null &",
    )?;
    wait::until("the node to come back", SOON, || {
        Ok((health(&site)? == "Up" && ends(&site)? > renewed).then_some(()))
    })
    .with_context(|| {
        let log = site
            .host("n1")
            .and_then(|host| host.types(ROOT, "tail -5 /run/agent.log"));
        log.unwrap_or_default()
    })?;
    say("3 s after its certificate had ended, the node dialled, renewed it, and is back");
    let job = site.submit("head", ROOT, "/requestednodes:n1 hostname")?;
    site.head()?.types(ROOT, &format!("muster job wait {job}"))?;
    say("a job ran on it");
    Ok(())
}

fn ends(site: &Site) -> anyhow::Result<u64> {
    let node = site.json(ROOT, "muster node view n1")?;
    node["certificate_ends"]
        .as_u64()
        .with_context(|| format!("no end of the certificate: {node}"))
}

fn health(site: &Site) -> anyhow::Result<String> {
    let node = site.json(ROOT, "muster node view n1")?;
    Ok(node["liveness"]["is"].as_str().map_or_else(String::new, |word| {
        if word == "up" { "Up".to_owned() } else { word.to_owned() }
    }))
}
