//! An array of `/bin/true`, each with a directory and both output files, beside a loop that does the same and nothing
//! else. Also what agent and spawner keep in memory by then.
//!
//! Nothing is deleted before the end: ext4 makes files slowly where thousands were deleted just before.

use std::time::Instant;

use super::limit;
use crate::figure::Figure;
use crate::local::{self, LocalCluster};
use crate::{usage, work};

/// Tasks per round.
const TASKS: u32 = 10_000;

/// Slots of the node, and processes of the loop at once.
const AT_ONCE: u32 = 2;

/// Measures.
pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = local::folder()?;
    let cluster = LocalCluster::start(1, AT_ONCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(work::connect(&cluster.socket()))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let fresh = folder.path().join(round.to_string());
        std::fs::create_dir(&fresh)?;
        theirs.push(limit::with_files(TASKS, AT_ONCE, &fresh)?);
        let task = work::array(work::task_with_files(), TASKS)?;
        let start = Instant::now();
        runtime.block_on(work::submit_and_wait(&mut client, task, TASKS))?;
        ours.push(f64::from(TASKS) / start.elapsed().as_secs_f64());
    }
    let daemons = cluster.daemons()?;
    Ok(vec![
        Figure::of(
            "tasks.files",
            "tasks/s",
            &mut ours,
            "posix_spawn with the same",
            &mut theirs,
        ),
        Figure::alone("tasks.agent_memory", "MiB", usage::resident_mib(&daemons.agents)?),
        Figure::alone("tasks.spawner_memory", "MiB", usage::resident_mib(&daemons.spawners)?),
    ])
}
