//! `why`: six jobs that wait for six different causes; each is named, with counts.

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::Cluster;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(3)?;
    cluster.ok("node offline node3")?;
    let holder = cluster.submit(&["/numcores:4", "/runtime:5", "sleep", "600"])?;
    cluster.ok(&format!("job view {holder}"))?;

    let busy = cluster.submit(&["/numnodes:2", "true"])?;
    expect(&cluster, busy, &["2 busy", "1 offline"], "busy nodes, and one offline")?;
    let later = cluster.submit(&["/holduntil:60", "true"])?;
    expect(&cluster, later, &["held until"], "a hold")?;
    let parent = cluster.submit(&[&format!("/parentjobids:{busy}"), "true"])?;
    expect(&cluster, parent, &[&format!("job {busy}")], "a parent job")?;
    let many = cluster.submit(&["/numnodes:5", "true"])?;
    expect(&cluster, many, &["5 nodes", "3 more"], "too few nodes")?;
    cluster.ok("muster limit set --running-jobs 1")?;
    let limited = cluster.submit(&["/priority:Highest", "true"])?;
    expect(&cluster, limited, &["running job"], "a limit of the user")?;
    let disabled = cluster.submit(&["true"])?;
    cluster.ok(&format!("job disable {disabled}"))?;
    expect(&cluster, disabled, &["disabled"], "a disabled job")?;

    let refused = cluster.run("job", &["submit", "--memory", "99999999", "true"])?;
    ensure!(
        refused.code != 0 && refused.err.contains("MiB"),
        "what no node has is refused with the nearest fit: {refused:?}"
    );
    say(format!("refused: {}", refused.err.trim()));
    let list = cluster.ok("job list -o wide")?;
    ensure!(
        list.contains("limit of its user"),
        "the list has the short reason: {list}"
    );
    Ok(())
}

fn expect(cluster: &Cluster, job: u64, words: &[&str], cause: &str) -> anyhow::Result<()> {
    let why = cluster.ok(&format!("job why {job}"))?;
    for word in words {
        ensure!(why.contains(word), "{cause}: no '{word}' in: {why}");
    }
    let first = why.lines().next().context("an empty answer")?;
    say(format!("{cause}: {first}"));
    Ok(())
}
