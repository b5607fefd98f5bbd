//! One task on an idle cluster, from its submission on a kept connection to its known end.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::figure::{Figure, percentile};
use crate::local::LocalCluster;
use crate::work;

/// Samples in all, at least: a 99th percentile of fewer says little.
const SAMPLES: usize = 300;

/// Milliseconds that are aimed at.
const MEDIAN_AIM_MS: f64 = 8.0;
const P99_AIM_MS: f64 = 20.0;

/// Measures.
pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let cluster = LocalCluster::start(1, 2)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(work::connect(&cluster.socket()))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds * SAMPLES.div_ceil(rounds) {
        let start = Instant::now();
        let status = Command::new("/bin/true").stdin(Stdio::null()).status()?;
        theirs.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "/bin/true ended with {status}");
        let start = Instant::now();
        runtime.block_on(work::submit_and_wait(&mut client, work::bare_task(), 1))?;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let p99 = percentile(&mut ours, 99);
    let median = percentile(&mut ours, 50);
    Ok(vec![
        Figure::of("tasks.one", "ms", &mut ours, "starting true once", &mut theirs),
        Figure::with_aim("tasks.one", "ms", median, MEDIAN_AIM_MS),
        Figure::with_aim("tasks.one_p99", "ms", p99, P99_AIM_MS),
    ])
}
