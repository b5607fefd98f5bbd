//! One task, from submit to its known end, and the submit alone: on a kept connection beside a durable append on the
//! same disk, and as a user's own `job submit` beside the start of `true`. Many at once: [`kept`], [`typed`].

mod kept;
mod typed;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::figure::Figure;
use crate::local::LocalCluster;
use crate::work;

pub(crate) use kept::{large_array, many as kept};
pub(crate) use typed::run as typed;

/// Submissions per round.
const SUBMITS: u32 = 40;

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let cluster = LocalCluster::start(1, 2)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(work::connect(&cluster.socket()))?;
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let mut raw = std::fs::File::create(folder.path().join("raw"))?;

    let (mut durable, mut appended) = (Vec::new(), Vec::new());
    let (mut ended, mut one_process) = (Vec::new(), Vec::new());
    let mut typed = Vec::new();
    for _ in 0..rounds {
        for _ in 0..SUBMITS {
            appended.push(millis(|| {
                raw.write_all(&[0; 512])?;
                Ok(raw.sync_data()?)
            })?);
            one_process.push(millis(|| succeed(Command::new("true").stdin(Stdio::null())))?);
            let start = Instant::now();
            let job = runtime.block_on(work::submit(&mut client, work::task_with_files()))?;
            durable.push(start.elapsed().as_secs_f64() * 1e3);
            let row = runtime.block_on(client.wait_job(job, |_| {}))?;
            ended.push(start.elapsed().as_secs_f64() * 1e3);
            ensure!(row.counts.finished == 1, "the task did not finish: {:?}", row.state);
        }
        for _ in 0..SUBMITS / 4 {
            let mut command = cluster.command();
            let command = command.args(["job", "submit", "true"]).stdout(Stdio::null());
            typed.push(millis(|| succeed(command))?);
        }
    }
    let mut one = one_process.clone();
    Ok(vec![
        Figure::of(
            "submit.durable",
            "ms",
            &mut durable,
            "raw append + fdatasync",
            &mut appended,
        ),
        Figure::of(
            "submit.to_known_end",
            "ms",
            &mut ended,
            "starting true once",
            &mut one_process,
        ),
        Figure::of("submit.typed", "ms", &mut typed, "starting true once", &mut one),
    ])
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn millis(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
