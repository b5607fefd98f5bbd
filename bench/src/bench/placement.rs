//! The scheduler alone, without processes, store or network: a placement pass over many nodes and many distinct jobs,
//! starts and ends decided per second on one core, and what an array of ten million costs.
//!
//! Each is compared with its aim, which is a constant: there is no peer that could be run beside it.

use std::time::Instant;

use anyhow::{Context, bail};
use proto::control::{Hello, Report};
use proto::event::Event;
use proto::frame::VERSION;
use proto::ids::{BootId, JobId, KeyHash, NodeId, NodeName, PoolName, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::node::Inventory;
use proto::model::owner::{Caller, Owner, Role};
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, Request, TaskSpec};
use proto::stored::{self, Change, Row, TokenRow};
use proto::units::{Millis, Monotonic, Now, Timestamp};
use scheduler::{Answer, Cluster, Input, Settings};

use crate::figure::Figure;

/// Nodes, and distinct waiting jobs, of the large pass.
const MANY: u32 = 10_000;
/// Elements that are run for the rate.
const ELEMENTS: u32 = 100_000;
/// Elements of the large array.
const LARGE: u32 = 10_000_000;

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut pass, mut rate, mut accept, mut memory, mut disk) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        pass.push(large_pass()?);
        let ran = many_short_tasks()?;
        rate.push(ran.per_second);
        memory.push(ran.memory_bytes);
        disk.push(ran.stored_bytes);
        accept.push(large_array()?);
    }
    let aim = |value: f64| vec![value; rounds];
    Ok(vec![
        Figure::of("placement.pass_10k_x_10k", "ms", &mut pass, "the aim", &mut aim(50.0)),
        Figure::of(
            "placement.start_and_end",
            "tasks/s",
            &mut rate,
            "the aim",
            &mut aim(200_000.0),
        ),
        Figure::of("placement.array_10M", "us", &mut accept, "the aim", &mut aim(100_000.0)),
        Figure::of(
            "placement.memory_per_element",
            "bytes",
            &mut memory,
            "the aim",
            &mut aim(100.0),
        ),
        Figure::of(
            "placement.disk_per_element",
            "bytes",
            &mut disk,
            "the aim",
            &mut aim(100.0),
        ),
    ])
}

/// Milliseconds of one pass that finds places for some of 10,000 distinct jobs on 10,000 half busy nodes.
fn large_pass() -> anyhow::Result<f64> {
    let mut head = Head::with_nodes(MANY, 16)?;
    // Half of the slots are taken by tasks with a limit, so that the pass has ends to look ahead to.
    let mut half = TaskSpec::of_command(vec!["true".to_owned()]);
    half.request = Request::Cores { count: 8 };
    half.runtime_limit = Some(Millis(600_000));
    half.sweep = Some(Sweep::new(1, MANY, 1)?);
    head.submit(JobSpec::default(), half)?;
    while head.plan() > 0 {}
    for job in 0..MANY {
        let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
        task.request = match job % 4 {
            0 => Request::Nodes { count: 2 + job % 61 },
            1 => Request::Cores { count: 1 + job % 8 },
            2 => Request::Cores { count: 9 + job % 7 },
            _ => Request::Cores { count: 17 + job % 80 },
        };
        // Distinct by its limit.
        task.runtime_limit = Some(Millis(1000 + u64::from(job)));
        head.submit(JobSpec::default(), task)?;
    }
    let start = Instant::now();
    let plan = scheduler::plan(&head.cluster, head.now);
    let took = start.elapsed().as_secs_f64() * 1e3;
    if plan.events.is_empty() {
        bail!("the pass placed nothing");
    }
    Ok(took)
}

struct Ran {
    per_second: f64,
    memory_bytes: f64,
    stored_bytes: f64,
}

/// An array on 64 nodes, each element granted and ended, all rows taken for the store.
fn many_short_tasks() -> anyhow::Result<Ran> {
    let mut head = Head::with_nodes(64, 16)?;
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.sweep = Some(Sweep::new(1, ELEMENTS, 1)?);
    head.submit(JobSpec::default(), task)?;
    drop(head.cluster.take_changes());
    let before = resident_bytes()?;
    let mut chunks = std::collections::BTreeMap::new();
    let start = Instant::now();
    let mut done = 0;
    while done < ELEMENTS {
        let plan = scheduler::plan(&head.cluster, head.now);
        let mut granted = Vec::new();
        for event in plan.events {
            head.cluster.apply(&event);
            drop(scheduler::react(&head.cluster, &event));
            if let Event::Granted { attempt, shares, .. } = &event {
                granted.push((*attempt, shares.first().context("a share")?.node));
            }
        }
        if granted.is_empty() {
            bail!("after {done} elements nothing is granted any more");
        }
        for (attempt, node) in granted {
            let at = head.now.wall;
            let report = Report::Ended {
                attempt,
                outcome: AttemptOutcome::Exited { code: 0 },
                at,
                started_at: Some(at),
                then: None,
            };
            head.decide(&Input::Report {
                node,
                boot: BootId(1),
                report,
            })?;
            done += 1;
        }
        for change in head.cluster.take_changes() {
            if let Change::Put(Row::Chunk(chunk)) = change {
                chunks.insert(chunk.chunk, Row::Chunk(chunk));
            }
        }
    }
    let per_second = f64::from(ELEMENTS) / start.elapsed().as_secs_f64();
    let mut stored_bytes = 0;
    for chunk in std::mem::take(&mut chunks).into_values() {
        stored_bytes += stored::encode(&chunk)?.len();
    }
    let after = resident_bytes()?;
    let per_element = |bytes: f64| bytes / f64::from(ELEMENTS);
    Ok(Ran {
        per_second,
        memory_bytes: per_element((after - before).max(0.0)),
        stored_bytes: per_element(u32::try_from(stored_bytes).map_or(f64::MAX, f64::from)),
    })
}

/// Microseconds to accept an array of ten million and take its rows for the store.
fn large_array() -> anyhow::Result<f64> {
    let mut head = Head::with_nodes(4, 2)?;
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.sweep = Some(Sweep::new(1, LARGE, 1)?);
    drop(head.cluster.take_changes());
    let start = Instant::now();
    head.submit(JobSpec::default(), task)?;
    let rows = head.cluster.take_changes().len();
    let took = start.elapsed().as_secs_f64() * 1e6;
    if rows > 5 {
        bail!("an array is {rows} rows");
    }
    Ok(took)
}

/// Memory of this process.
fn resident_bytes() -> anyhow::Result<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).context("resident pages")?.parse()?;
    Ok(pages * 4096.0)
}

/// A scheduler with nodes that answer.
struct Head {
    cluster: Cluster,
    now: Now,
    submissions: u32,
}

impl Head {
    fn with_nodes(count: u32, cores: u32) -> anyhow::Result<Self> {
        let now = Now {
            wall: Timestamp(1_000_000),
            monotonic: Monotonic(1000),
        };
        let mut head = Self {
            cluster: Cluster::new(Settings::default()),
            now,
            submissions: 0,
        };
        head.cluster.advance(now);
        let token = TokenRow {
            hash: "aa".to_owned(),
            pool: PoolName::new("default")?,
            groups: Vec::new(),
            expires_at: Timestamp(u64::MAX),
            uses_left: count,
        };
        head.decide(&Input::MakeToken { caller: root(), token })?;
        for index in 0..count {
            let name = NodeName::new(&format!("n{index}"))?;
            let mut key = [0; 32];
            key[..4].copy_from_slice(&index.to_be_bytes());
            let answer = head.decide(&Input::Join {
                secret_hash: "aa".to_owned(),
                name: name.clone(),
                key: KeyHash(key),
                certificate_ends: Timestamp(u64::MAX),
            })?;
            let Answer::Joined { node, .. } = answer else {
                bail!("a node does not join")
            };
            head.node_up(node, name, KeyHash(key), cores)?;
        }
        Ok(head)
    }

    fn node_up(&mut self, node: NodeId, name: NodeName, key: KeyHash, cores: u32) -> anyhow::Result<()> {
        let hello = Box::new(Hello {
            version: VERSION,
            name,
            boot: BootId(1),
            inventory: Inventory {
                cores,
                memory_bytes: 1 << 36,
                ..Inventory::default()
            },
            peer: ([127, 0, 0, 1], 1).into(),
            held: Vec::new(),
            clock: None,
        });
        self.cluster.heard(node, self.now.monotonic);
        self.decide(&Input::NodeUp { node, key, hello }).map(drop)
    }

    fn submit(&mut self, job: JobSpec, task: TaskSpec) -> anyhow::Result<JobId> {
        self.submissions += 1;
        let answer = self.decide(&Input::Submit {
            caller: root(),
            submission: SubmissionId(u128::from(self.submissions)),
            job: Box::new(job),
            tasks: vec![task],
        })?;
        match answer {
            Answer::Submitted { job, .. } => Ok(job),
            other => bail!("a submission is answered by {other:?}"),
        }
    }

    fn decide(&mut self, input: &Input) -> anyhow::Result<Answer> {
        let decision =
            scheduler::decide(&self.cluster, input, self.now).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        for event in &decision.events {
            self.cluster.apply(event);
            drop(scheduler::react(&self.cluster, event));
        }
        Ok(decision.answer)
    }

    /// Grants what fits; returns how much that was.
    fn plan(&mut self) -> usize {
        let plan = scheduler::plan(&self.cluster, self.now);
        for event in &plan.events {
            self.cluster.apply(event);
        }
        plan.events.len()
    }
}

fn root() -> Caller {
    Caller {
        owner: Owner {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
        },
        role: Role::Administrator,
    }
}
