//! `line`: the seeds' command line on four nodes, the throughput form, and the form with three `-env` pairs.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};

use super::say;
use crate::cluster::Cluster;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(4)?;
    say("a head node and four compute nodes run");

    let table = measure(
        &cluster,
        &[
            "mpiexec",
            "-c",
            "1",
            "-affinity",
            "mpipingpong",
            "-p",
            "1:100000",
            "-op",
            "-s",
            "nul",
        ],
    )?;
    check_pairs(&table)?;
    let table = measure(
        &cluster,
        &[
            "mpiexec",
            "-c",
            "1",
            "-affinity",
            "mpipingpong",
            "-p",
            "4000000:20",
            "-op",
            "-s",
            "nul",
        ],
    )?;
    check_pairs(&table)?;
    ensure!(table.contains("MB/s"), "no throughput in the table:\n{table}");

    let with_env = |mask: &'static str| {
        let mut words = vec!["mpiexec", "-c", "1", "-affinity", "-env", "MSMPI_DISABLE_SOCK", "1"];
        words.extend(["-env", "MSMPI_PRECONNECT", "all", "-env", "MPICH_NETMASK", mask]);
        words.extend(["mpipingpong", "-p", "1:1000", "-op", "-s", "nul"]);
        words
    };
    check_pairs(&measure(&cluster, &with_env("127.0.0.0/255.0.0.0"))?)?;
    refuses_mask(&cluster, &with_env("172.16.0.0/255.255.0.0"))
}

/// Submits to four nodes of the group, waits, and gives what `task view` shows.
fn measure(cluster: &Cluster, command: &[&str]) -> anyhow::Result<String> {
    let job = submit(cluster, command)?;
    let waited = cluster.run("job", &["wait", &job.to_string()])?;
    let view = cluster.run("task", &["view", &format!("{job}.1")])?;
    if waited.code != 0 {
        bail!("job {job} did not finish: {}{}\n{}", waited.out, waited.err, view.out);
    }
    Ok(view.out)
}

fn submit(cluster: &Cluster, command: &[&str]) -> anyhow::Result<u64> {
    let line = [&["/nodegroup:azurenodes", "/numnodes:4"], command].concat();
    say(format!("job submit {}", line.join(" ")));
    cluster.submit(&line)
}

/// Six pairs of four nodes, each once.
fn check_pairs(view: &str) -> anyhow::Result<()> {
    let mut pairs = BTreeSet::new();
    for line in view.lines() {
        let mut words = line.split_whitespace();
        if let (Some(from), Some("->"), Some(to)) = (words.next(), words.next(), words.next()) {
            let numbers = words.filter_map(|word| word.parse::<f64>().ok());
            ensure!(
                numbers.filter(|number| *number > 0.0).count() >= 6,
                "a row without numbers: {line}"
            );
            ensure!(
                pairs.insert((from.to_owned(), to.to_owned())),
                "the pair {from} -> {to} stands there twice"
            );
        }
    }
    let nodes: BTreeSet<&String> = pairs.iter().flat_map(|(from, to)| [from, to]).collect();
    ensure!(
        pairs.len() == 6 && nodes.len() == 4,
        "expected six pairs of four nodes:\n{view}"
    );
    for line in view.lines().filter(|line| line.contains("->")) {
        say(line.trim());
    }
    Ok(())
}

fn refuses_mask(cluster: &Cluster, command: &[&str]) -> anyhow::Result<()> {
    let job = submit(cluster, command)?;
    let waited = cluster.run("job", &["wait", &job.to_string()])?;
    ensure!(
        waited.code == 1,
        "a mask that matches nothing must fail the job: {waited:?}"
    );
    let view = cluster.run("task", &["view", &format!("{job}.1")])?.out;
    ensure!(
        view.contains("172.16.0.0/255.255.0.0"),
        "the error does not name the mask:\n{view}"
    );
    // Whichever node is the first to see it ends the launch, and names its own.
    let named = (2..=5).any(|host| view.contains(&format!("127.0.0.{host}")));
    ensure!(named, "the error names no address of a node:\n{view}");
    say("a mask that matches nothing fails, naming mask and addresses");
    Ok(())
}
