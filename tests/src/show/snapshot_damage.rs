//! `snapshot-damage`: the head node is killed under load, and what its database wrote is damaged: its snapshot in three ways,
//! then the tail and the middle of its log. Each time it starts again, and everything that was acknowledged is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

/// Jobs that are submitted before each kill.
const JOBS: usize = 4;

/// What is done, to files whose names begin so.
struct Damage {
    what: &'static str,
    files: &'static str,
    carry_out: fn(&mut Vec<u8>),
}

const DAMAGES: &[Damage] = &[
    Damage {
        what: "its snapshot is empty",
        files: "snap.",
        carry_out: |bytes| bytes.clear(),
    },
    Damage {
        what: "its snapshot is cut in half",
        files: "snap.",
        carry_out: halve,
    },
    Damage {
        what: "a bit of its snapshot is flipped",
        files: "snap.",
        carry_out: |bytes| flip(bytes),
    },
    Damage {
        what: "its log has lost its tail",
        files: "db",
        carry_out: halve,
    },
    Damage {
        what: "its log is empty",
        files: "db",
        carry_out: |bytes| bytes.clear(),
    },
];

fn halve(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x10;
    }
}

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(2)?;
    let gate = cluster.state().join("gate");
    let gated = format!("while [ ! -e {} ]; do sleep 0.1; done", gate.display());
    let mut jobs = vec![cluster.submit(&["sh", "-c", &gated])?];
    // A snapshot is written when a database is opened that has something in it.
    kill(&cluster)?;
    cluster.up()?;
    for damage in DAMAGES {
        for _ in 0..JOBS {
            jobs.push(cluster.submit(&["true"])?);
        }
        kill(&cluster)?;
        let rows = cluster.state().join("head/store/rows");
        let damaged = files(&rows, damage.files)?;
        ensure!(
            !damaged.is_empty(),
            "there is no {}* in {}",
            damage.files,
            rows.display()
        );
        for path in damaged {
            let mut bytes = fs::read(&path)?;
            (damage.carry_out)(&mut bytes);
            fs::write(&path, bytes)?;
        }
        cluster.up().with_context(|| damage.what)?;
        all_there(&cluster, &jobs).with_context(|| damage.what)?;
        say(format!(
            "killed with signal 9, {}: all {} jobs are there",
            damage.what,
            jobs.len()
        ));
    }
    ensure!(
        cluster.state().join("head/store/damaged-1").is_dir(),
        "the damaged database was kept"
    );
    say("the damaged database was set aside, named, and can be looked at");
    fs::write(gate, "")?;
    let last = cluster.submit(&["true"])?;
    jobs.push(last);
    wait::until("all jobs to finish", SOON, || {
        let states = states(&cluster)?;
        let finished = jobs
            .iter()
            .all(|job| states.get(job).is_some_and(|state| state == "finished"));
        Ok(finished.then_some(()))
    })?;
    say("the task that ran all the while has ended well, and so has everything else");
    Ok(())
}

/// The agents too: left alone they would look for the head node again only after some seconds.
fn kill(cluster: &Cluster) -> anyhow::Result<()> {
    for role in ["head", "node1", "node2"] {
        cluster.kill_9(role)?;
    }
    Ok(())
}

fn files(folder: &Path, begins: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(begins))
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn all_there(cluster: &Cluster, jobs: &[u64]) -> anyhow::Result<()> {
    let states = states(cluster)?;
    let missing: Vec<&u64> = jobs.iter().filter(|job| !states.contains_key(job)).collect();
    ensure!(missing.is_empty(), "jobs {missing:?} were acknowledged and are lost");
    Ok(())
}

/// How every job stands: its outcome, or its state.
pub(super) fn states(cluster: &Cluster) -> anyhow::Result<BTreeMap<u64, String>> {
    let listed = cluster.json("job list /all:true /state:all")?;
    let jobs = listed.as_array().into_iter().flatten().filter_map(|job| {
        let outcome = job["state"]["outcome"]["is"].as_str();
        let state = outcome.or_else(|| job["state"]["is"].as_str()).unwrap_or("live");
        Some((job["id"].as_u64()?, state.to_owned()))
    });
    Ok(jobs.collect())
}
