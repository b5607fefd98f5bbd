//! Tasks per second of `true` on one node with two slots, beside `xargs -P2` starting as many. The node makes a task
//! directory and both output files for each; xargs makes nothing.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use cli::client::Client;
use proto::client::{Reply, Request};
use proto::ids::SubmissionId;
use proto::model::job::JobSpec;
use proto::model::task::TaskSpec;

use crate::figure::Figure;
use crate::local::LocalCluster;

/// Tasks per round.
const TASKS: usize = 1000;

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let cluster = LocalCluster::start(2)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(Client::connect(&cluster.socket()))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        theirs.push(xargs()?);
        ours.push(runtime.block_on(tasks(&mut client, round))?);
    }
    Ok(vec![Figure::of(
        "spawn.true_two_slots",
        "tasks/s",
        &mut ours,
        "xargs -P2",
        &mut theirs,
    )])
}

async fn tasks(client: &mut Client, round: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    let submission =
        SubmissionId(start.elapsed().as_nanos() ^ (round as u128) << 64 ^ u128::from(std::process::id()) << 96);
    let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()]); TASKS];
    let request = Request::Submit {
        submission,
        job: Box::new(JobSpec::default()),
        tasks,
    };
    let Reply::Submitted { job, .. } = client.request(request).await? else {
        anyhow::bail!("the submission was not taken");
    };
    let ended = client.wait_job(job, |_| {}).await?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        ended.counts.finished as usize == TASKS,
        "not all tasks finished: {:?}",
        ended.counts
    );
    Ok(TASKS as f64 / seconds)
}

fn xargs() -> anyhow::Result<f64> {
    let lines = "x\n".repeat(TASKS);
    let start = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-P2", "-n1", "true"])
        .stdin(Stdio::piped())
        .spawn()
        .context("xargs cannot be started")?;
    std::io::Write::write_all(&mut child.stdin.take().context("a pipe")?, lines.as_bytes())?;
    ensure!(child.wait()?.success(), "xargs failed");
    Ok(TASKS as f64 / start.elapsed().as_secs_f64())
}
