//! Many nodes without a process: agents that are simulated within this program, over real connections with real
//! certificates, whose tasks end at once. They show what the head node alone can do and keeps in memory.
//!
//! They share the machine's cores with the head node, which comes off the rate.

mod agent;
mod fleet;
mod orders;

use std::time::{Duration, Instant};

use proto::client::{Reply, Request};

use crate::bare_head::BareHead;
use crate::figure::Figure;
use crate::{usage, work};
use fleet::Fleet;

pub(crate) use orders::Moments;

/// Nodes that work, and slots of each; as many as were measured with peers.
const WORKING: u32 = 64;
const SLOTS: u32 = 1;

/// Tasks per round.
const TASKS: u32 = 200_000;

/// Tasks per second that are aimed at.
const RATE_AIM: f64 = 40_000.0;

/// Processor time of the head node per task, in microseconds, that is aimed at where processes are started too.
const HEAD_AIM_US: f64 = 40.0;

/// Nodes that only are there, how long they are looked at, and what they may cost.
const IDLE: u32 = 1_000;
const IDLE_SPAN: Duration = Duration::from_secs(20);
const IDLE_AIM_PERCENT: f64 = 5.0;
const IDLE_AIM_MIB: f64 = 200.0;

/// Finished tasks after which the head node's memory is looked at. The first has an aim, and the second tells whether it
/// grows.
const MEMORY_FIRST: u32 = 100_000;
const MEMORY_LATER: u32 = 1_000_000;
const MEMORY_AIM_MIB: f64 = 64.0;

/// Tasks per second of an array on 64 nodes.
pub(crate) fn rate(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let field = Field::of(WORKING, SLOTS)?;
    let head = [field.head.pid()?];
    let before = usage::processor_us(&head)?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        rates.push(field.run(TASKS)?);
    }
    let used = usage::processor_us(&head)? - before;
    let mut aim = vec![RATE_AIM; rounds];
    let per_task = used / (f64::from(TASKS) * rounds as f64);
    Ok(vec![
        Figure::of("agents.rate_64", "tasks/s", &mut rates, "the aim", &mut aim),
        Figure::with_aim("agents.head_cpu", "us", per_task, HEAD_AIM_US),
    ])
}

/// What 1,000 nodes cost that only are there. One look, however many rounds.
pub(crate) fn idle(_rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let field = Field::of(IDLE, SLOTS)?;
    let head = [field.head.pid()?];
    // From here on no node joins any more; the heartbeats go on for as long as is looked.
    let (before, start) = (usage::processor_us(&head)?, Instant::now());
    std::thread::sleep(IDLE_SPAN);
    let used = usage::processor_us(&head)? - before;
    let percent = used / start.elapsed().as_secs_f64() / 1e6 * 100.0;
    field.fleet.check()?;
    Ok(vec![
        Figure::with_aim("agents.idle_1000_cpu", "%", percent, IDLE_AIM_PERCENT),
        Figure::with_aim(
            "agents.idle_1000_memory",
            "MiB",
            usage::resident_mib(&head)?,
            IDLE_AIM_MIB,
        ),
    ])
}

/// The head node's memory after 100,000 finished tasks, and after a million. One look, however many rounds.
pub(crate) fn head_memory(_rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let field = Field::of(WORKING, SLOTS)?;
    let head = [field.head.pid()?];
    let (mut first, mut later) = (0.0, 0.0);
    for time in 1..=MEMORY_LATER / MEMORY_FIRST {
        field.run(MEMORY_FIRST)?;
        later = usage::resident_mib_after(&head, u64::from(time * MEMORY_FIRST))?;
        if time == 1 {
            first = later;
        }
    }
    Ok(vec![
        Figure::with_aim("tasks.head_memory_100k", "MiB", first, MEMORY_AIM_MIB),
        Figure::of(
            "tasks.head_memory_1M",
            "MiB",
            &mut [later],
            "after 100,000",
            &mut [first],
        ),
    ])
}

/// A head node and its simulated nodes.
struct Field {
    runtime: tokio::runtime::Runtime,
    /// Before the head node, so that it ends first.
    fleet: Fleet,
    head: BareHead,
}

impl Field {
    /// Returns when all nodes are up.
    fn of(nodes: u32, slots: u32) -> anyhow::Result<Self> {
        let head = BareHead::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let fleet = runtime.block_on(Fleet::start(&head, nodes, slots))?;
        Ok(Self { runtime, fleet, head })
    }

    /// Tasks per second of an array, from its submission to its known end.
    fn run(&self, tasks: u32) -> anyhow::Result<f64> {
        let task = work::array(work::bare_task(), tasks)?;
        let start = Instant::now();
        self.runtime.block_on(async {
            let mut client = work::connect(&self.head.socket()).await?;
            tokio::select! {
                ended = work::submit_and_wait(&mut client, task, tasks) => ended,
                error = self.fleet.failed() => Err(error),
            }
        })?;
        Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
    }
}

/// How many nodes answer.
async fn up(client: &mut cli::client::Client) -> anyhow::Result<u32> {
    match client.request(Request::Status).await? {
        Reply::Status { up, .. } => Ok(up),
        other => anyhow::bail!("the status is {other:?}"),
    }
}
