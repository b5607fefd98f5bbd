//! `kill-agent`: an agent killed with signal 9 while its tasks run; the spawner keeps them and their exit codes.

use std::fs;

use anyhow::ensure;

use super::say;
use crate::cluster::{Cluster, SOON};
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(1)?;
    let trace = cluster.state().join("trace");
    fs::create_dir(&trace)?;
    let line = |code: u8| {
        format!(
            "echo $$ > {0}/started-{code}; while [ ! -e {0}/gate-{code} ]; do sleep 0.05; done; touch {0}/ended-{code}; exit {code}",
            trace.display()
        )
    };
    let early = cluster.submit(&["sh", "-c", &line(3)])?;
    let late = cluster.submit(&["sh", "-c", &line(7)])?;
    let there = |name: &str| {
        let path = trace.join(name);
        wait::until(&format!("{name} to be there"), SOON, || Ok(path.exists().then_some(())))
    };
    there("started-3")?;
    there("started-7")?;
    say("two tasks run on node1");

    cluster.kill_9("node1")?;
    say("the agent of node1 was killed with signal 9");
    fs::write(trace.join("gate-3"), "")?;
    there("ended-3")?;
    say("one task ended meanwhile, with code 3");
    cluster.up()?;
    say("the agent was started again");
    fs::write(trace.join("gate-7"), "")?;

    for (job, code) in [(early, 3), (late, 7)] {
        let waited = cluster.run("job", &["wait", &job.to_string()])?;
        ensure!(
            waited.code == 1,
            "job {job} has failed, so waiting for it ends with 1: {waited:?}"
        );
        let task = cluster.json(&format!("task view {job}.1"))?;
        let row = task.get("task").unwrap_or(&task);
        ensure!(
            row["exit_code"] == code,
            "task {job}.1 has another exit code than {code}: {task}"
        );
        ensure!(row["requeues"] == 0, "task {job}.1 was started twice: {task}");
        say(format!("task {job}.1: exit code {code}, one attempt"));
    }
    Ok(())
}
