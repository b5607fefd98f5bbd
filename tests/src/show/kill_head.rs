//! `kill-head`: 1,000 tasks queued and 8 running, the head node killed with signal 9 and started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

const RUNNING: usize = 8;
const QUEUED: usize = 1000;
/// 1,008 processes on two cores, with all daemons beside them.
const ALL_DONE: Duration = Duration::from_secs(240);

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(4)?;
    let trace = cluster.state().join("trace");
    fs::create_dir(&trace)?;

    // Each attempt appends a line at its start and at its end, so a second run would be seen.
    let gated = format!(
        "echo start >> {0}/$CCP_JOBID; while [ ! -e {0}/gate ]; do sleep 0.1; done; echo end >> {0}/$CCP_JOBID",
        trace.display()
    );
    let quick = format!(
        "echo start >> {0}/$CCP_JOBID; echo end >> {0}/$CCP_JOBID",
        trace.display()
    );
    let mut jobs = Vec::new();
    for _ in 0..RUNNING {
        jobs.push(cluster.submit(&["sh", "-c", &gated])?);
    }
    wait::until("eight tasks to run", SOON, || {
        Ok((started(&trace)? == RUNNING).then_some(()))
    })?;
    for _ in 0..QUEUED {
        jobs.push(cluster.submit(&["sh", "-c", &quick])?);
    }
    say(format!(
        "{RUNNING} tasks run, {QUEUED} wait, every submission was acknowledged"
    ));

    cluster.kill_9("head")?;
    say("the head node was killed with signal 9");
    ensure!(
        cluster.run("job", &["list"])?.code == 5,
        "without a head node the command line says so, with code 5"
    );
    ensure!(started(&trace)? == RUNNING, "nothing starts without a head node");
    cluster.up()?;
    say("the head node was started again");
    fs::write(trace.join("gate"), "")?;

    let done = |path: &Path| {
        fs::read_to_string(path)
            .map(|text| text.ends_with("end\n"))
            .unwrap_or(false)
    };
    wait::until("all tasks to end", ALL_DONE, || {
        let ended = jobs.iter().filter(|job| done(&trace.join(job.to_string()))).count();
        Ok((ended == jobs.len()).then_some(()))
    })?;
    for job in &jobs {
        let lines = fs::read_to_string(trace.join(job.to_string()))?;
        ensure!(lines == "start\nend\n", "job {job} did not run exactly once: {lines:?}");
    }
    say(format!("all {} tasks ran exactly once", jobs.len()));
    all_finished(&cluster, &jobs)
}

fn started(trace: &Path) -> anyhow::Result<usize> {
    Ok(fs::read_dir(trace)?.count())
}

/// The cluster's own book says the same as the tasks' traces.
fn all_finished(cluster: &Cluster, jobs: &[u64]) -> anyhow::Result<()> {
    let states = wait::until("the head node to have all ends", SOON, || {
        let listed = cluster.json("job list /all:true /state:all")?;
        let states: BTreeMap<u64, String> = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|job| Some((job["id"].as_u64()?, job["state"]["outcome"]["is"].as_str()?.to_owned())))
            .collect();
        Ok(jobs.iter().all(|job| states.contains_key(job)).then_some(states))
    })?;
    for job in jobs {
        ensure!(states[job] == "finished", "job {job} is {}", states[job]);
    }
    say("the head node lists all of them as finished");
    Ok(())
}
