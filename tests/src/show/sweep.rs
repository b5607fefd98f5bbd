//! `sweep`: a parametric job of 1,000 steps with three failures; just those are listed and queued again.

use std::fs;

use anyhow::ensure;

use super::say;
use crate::cluster::Cluster;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(2)?;
    let trace = cluster.state().join("trace");
    fs::create_dir(&trace)?;
    let step = format!(
        "echo * >> {0}/run; test -e {0}/mended && exit 0; case * in 17|500|999) exit 3;; esac",
        trace.display()
    );
    let job = cluster.submit(&["/parametric:1-1000", "/jobname:sweep", "sh", "-c", &step])?;
    let waited = cluster.run("job", &["wait", &job.to_string()])?;
    ensure!(waited.code == 1, "three steps fail, so the job does: {waited:?}");
    let counts = cluster.json(&format!("job view {job}"))?["counts"].clone();
    ensure!(
        counts["finished"] == 997 && counts["failed"] == 3,
        "997 and 3: {counts}"
    );
    say(format!(
        "job submit /parametric:1-1000 ...: job {job}, 997 finished, 3 failed"
    ));

    let failed = cluster.ok(&format!("task list {job} --filter failed -o quiet"))?;
    let failed: Vec<&str> = failed.lines().collect();
    let expected = [17, 500, 999].map(|step| format!("{job}.1.{step}"));
    ensure!(failed == expected, "the failed steps are {expected:?}: {failed:?}");
    say(format!("task list {job} --filter failed: {}", failed.join(" ")));
    let view = cluster.ok(&format!("task view {job}.1.500"))?;
    ensure!(view.contains("500"), "the step stands in its command line: {view}");

    fs::write(trace.join("mended"), "")?;
    cluster.ok(&format!("task requeue {job} --filter failed"))?;
    cluster.ok(&format!("job wait {job}"))?;
    let counts = cluster.json(&format!("job view {job}"))?["counts"].clone();
    ensure!(
        counts["finished"] == 1000 && counts["failed"] == 0,
        "all finished: {counts}"
    );
    let runs = fs::read_to_string(trace.join("run"))?;
    let mut steps: Vec<u32> = runs.lines().filter_map(|line| line.parse().ok()).collect();
    steps.sort_unstable();
    let mut all: Vec<u32> = (1..=1000).chain([17, 500, 999]).collect();
    all.sort_unstable();
    ensure!(steps == all, "every step ran once, and three of them twice");
    say(format!(
        "task requeue {job} --filter failed: just those three ran again, 1,000 finished"
    ));
    Ok(())
}
