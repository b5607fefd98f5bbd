//! `schedule`: a job schedule makes its first job at once and knows the time of the next; disabled, enabled, terminated,
//! deleted.

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(1)?;
    let refused = cluster.run("muster", &["jobschedule", "add", "often", "--every", "5s", "true"])?;
    ensure!(
        refused.code != 0 && refused.err.contains("at least 1m"),
        "a recurrence below a minute is refused: {refused:?}"
    );
    say(format!("refused: {}", refused.err.trim()));
    cluster.ok("muster jobschedule add nightly --every 1m sleep 600")?;
    let job = wait::until("the first job of the schedule", SOON, || {
        let row = cluster.json("muster jobschedule view nightly")?;
        Ok(row["recent_job"].as_u64())
    })?;
    let row = cluster.json("muster jobschedule view nightly")?;
    let (created, next) = (row["created_at"].as_u64(), row["next_run"].as_u64());
    let after = next
        .zip(created)
        .map(|(next, created)| next - created)
        .context("the next run")?;
    ensure!(after == 60_000, "the next run is a minute after the first: {row}");
    say(format!(
        "jobschedule add nightly --every 1m: job {job}; the next is due a minute later"
    ));

    cluster.ok("muster jobschedule disable nightly")?;
    let row = cluster.json("muster jobschedule view nightly")?;
    ensure!(row["next_run"].is_null(), "a disabled schedule has no next run: {row}");
    cluster.ok("muster jobschedule enable nightly")?;
    cluster.ok("muster jobschedule terminate nightly")?;
    let job_row = wait::until("its job to be over", SOON, || {
        let row = cluster.json(&format!("job view {job}"))?;
        Ok((row["state"]["is"] == "ended").then_some(row))
    })?;
    ensure!(
        job_row["state"]["outcome"]["reason"] == "TerminateJobSchedule",
        "the reason is told: {job_row}"
    );
    say("terminate: its live job ended with TerminateJobSchedule");
    cluster.ok("muster jobschedule delete nightly")?;
    wait::until("the job to be gone with its schedule", SOON, || {
        Ok((cluster.run("job", &["view", &job.to_string()])?.code != 0).then_some(()))
    })?;
    let gone = cluster.run("muster", &["jobschedule", "view", "nightly"])?;
    ensure!(gone.code != 0, "the schedule is gone: {gone:?}");
    say("delete: the schedule and its job are gone");
    Ok(())
}
