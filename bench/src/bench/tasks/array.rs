//! An array of 10,000 `/bin/true` without directories and output files, from its submission to its known end.
//!
//! Beside it in each round: `xargs`, HyperQueue where there is one, and the machine's own limit. What the daemons use of
//! the processor is counted over our rounds alone.

use std::time::Instant;

use cli::client::Client;

use super::hyperqueue::HyperQueue;
use super::spinners::Spinners;
use super::{limit, xargs};
use crate::figure::Figure;
use crate::local::{Daemons, LocalCluster};
use crate::{usage, work};

/// Tasks per round.
const TASKS: u32 = 10_000;

/// Processor time of the head node per task, in microseconds, that is aimed at.
const HEAD_AIM_US: f64 = 40.0;

/// One node of two slots; also what the daemons use per task.
pub(crate) fn one_node(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut contest = Contest::prepare(1, 2)?;
    for _ in 0..rounds {
        contest.round()?;
    }
    let mut figures = contest.rates.figures("tasks.array_10k");
    figures.extend(contest.used.figures(rounds));
    Ok(figures)
}

/// Four nodes of one slot.
pub(crate) fn four_nodes(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut contest = Contest::prepare(4, 1)?;
    for _ in 0..rounds {
        contest.round()?;
    }
    Ok(contest.rates.figures("tasks.array_10k_4_nodes"))
}

/// One node of two slots beside two processes that spin, which the contestants have beside them likewise.
pub(crate) fn busy(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut contest = Contest::prepare(1, 2)?;
    let spinners = Spinners::start(2)?;
    for _ in 0..rounds {
        contest.round()?;
    }
    drop(spinners);
    Ok(contest.rates.figures("tasks.array_10k_busy"))
}

/// Everybody who takes part, started.
struct Contest {
    at_once: u32,
    queue: Option<HyperQueue>,
    rates: Rates,
    used: Used,
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Last, so that it ends after its client.
    cluster: LocalCluster,
}

/// Tasks per second, by contestant.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    xargs: Vec<f64>,
    queue: Vec<f64>,
    limit: Vec<f64>,
}

/// Processor time over all our rounds, in microseconds.
#[derive(Default)]
struct Used {
    head: f64,
    agents: f64,
    spawners: f64,
}

impl Contest {
    fn prepare(nodes: u32, slots: u32) -> anyhow::Result<Self> {
        let cluster = LocalCluster::start(nodes, slots)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut client = runtime.block_on(work::connect(&cluster.socket()))?;
        // The first task of all finds programs that nobody has read yet.
        runtime.block_on(work::submit_and_wait(&mut client, work::bare_task(), 1))?;
        Ok(Self {
            at_once: nodes * slots,
            queue: HyperQueue::start(nodes, slots)?,
            rates: Rates::default(),
            used: Used::default(),
            runtime,
            client,
            cluster,
        })
    }

    fn round(&mut self) -> anyhow::Result<()> {
        self.rates.xargs.push(xargs::rate(TASKS, self.at_once)?);
        self.rates.limit.push(limit::bare(TASKS, self.at_once)?);
        if let Some(queue) = &self.queue {
            self.rates.queue.push(queue.rate(TASKS)?);
        }
        let daemons = self.cluster.daemons()?;
        let before = Used::by(&daemons)?;
        let task = work::array(work::bare_task(), TASKS)?;
        let start = Instant::now();
        self.runtime
            .block_on(work::submit_and_wait(&mut self.client, task, TASKS))?;
        self.rates.ours.push(f64::from(TASKS) / start.elapsed().as_secs_f64());
        self.used.add(&before, &Used::by(&daemons)?);
        Ok(())
    }
}

impl Rates {
    fn figures(mut self, name: &'static str) -> Vec<Figure> {
        let mut figures = Vec::new();
        for (peer, rates) in [
            ("xargs", &mut self.xargs),
            ("HyperQueue", &mut self.queue),
            ("the machine's limit", &mut self.limit),
        ] {
            if !rates.is_empty() {
                figures.push(Figure::of(name, "tasks/s", &mut self.ours, peer, rates));
            }
        }
        figures
    }
}

impl Used {
    fn by(daemons: &Daemons) -> anyhow::Result<Self> {
        Ok(Self {
            head: usage::processor_us(&daemons.head)?,
            agents: usage::processor_us(&daemons.agents)?,
            spawners: usage::processor_us(&daemons.spawners)?,
        })
    }

    fn add(&mut self, before: &Self, after: &Self) {
        self.head += after.head - before.head;
        self.agents += after.agents - before.agents;
        self.spawners += after.spawners - before.spawners;
    }

    fn figures(&self, rounds: usize) -> [Figure; 3] {
        let per_task = |us: f64| us / (f64::from(TASKS) * rounds as f64);
        [
            Figure::with_aim("tasks.head_cpu", "us", per_task(self.head), HEAD_AIM_US),
            Figure::alone("tasks.agent_cpu", "us", per_task(self.agents)),
            Figure::alone("tasks.spawner_cpu", "us", per_task(self.spawners)),
        ]
    }
}
