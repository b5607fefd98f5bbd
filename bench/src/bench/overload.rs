//! What 500 clients that watch and list cost somebody who submits: the same submissions alone and beside them, alternately.
//!
//! Each of the 500 has a connection of its own, follows a job that waits, and lists a screenful of jobs every two seconds. They
//! run in this process on a thread of their own, so their own processor time counts as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cli::client::Client;
use proto::client::{JobFilter, Reply, Request};
use proto::ids::{JobId, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::task::TaskSpec;
use tokio::runtime::Runtime;

use crate::figure::Figure;
use crate::local::LocalCluster;

/// Clients that watch and list.
const WATCHERS: u64 = 500;

/// Between two lists of one of them, as with watch(1).
const LIST_PAUSE: Duration = Duration::from_secs(2);

/// Jobs of one list: what a terminal shows.
const SCREENFUL: u32 = 40;

/// Jobs that wait meanwhile, for lists to have something to go through.
const WAITING_JOBS: u64 = 2000;

/// Submissions of one round, with and without.
const SUBMITS: usize = 300;

/// The watchers must all be there by then.
const START_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let cluster = LocalCluster::start(1, 2)?;
    let runtime = runtime()?;
    let mut submitter = Submitter {
        client: runtime.block_on(Client::connect(&cluster.socket()))?,
        runtime,
        number: 0,
    };
    // Nothing runs, so that only submitting and watching is measured.
    let offline = cluster.command().args(["node", "offline", "node1"]).output()?;
    ensure!(offline.status.success(), "the node did not go offline: {offline:?}");
    let mut watched = Vec::new();
    for _ in 0..WAITING_JOBS {
        watched.push(submitter.submit()?);
    }
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    let (mut beside_p99, mut alone_p99) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        submitter.round(&mut alone, &mut alone_p99)?;
        let crowd = Crowd::start(&cluster, &watched)?;
        submitter.round(&mut beside, &mut beside_p99)?;
        crowd.end()?;
    }
    let peer = "the same without watchers";
    Ok(vec![
        Figure::of("overload.submit", "ms", &mut beside, peer, &mut alone),
        Figure::of("overload.submit_p99", "ms", &mut beside_p99, peer, &mut alone_p99),
    ])
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Submits one job after the other.
struct Submitter {
    runtime: Runtime,
    client: Client,
    number: u128,
}

impl Submitter {
    fn round(&mut self, all: &mut Vec<f64>, p99: &mut Vec<f64>) -> anyhow::Result<()> {
        let mut times = Vec::with_capacity(SUBMITS);
        for _ in 0..SUBMITS {
            let start = Instant::now();
            self.submit()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        p99.extend(times.get(SUBMITS * 99 / 100));
        all.append(&mut times);
        Ok(())
    }

    fn submit(&mut self) -> anyhow::Result<JobId> {
        self.number += 1;
        let request = Request::Submit {
            submission: SubmissionId(self.number ^ u128::from(std::process::id()) << 96),
            job: Box::new(JobSpec::default()),
            tasks: vec![TaskSpec::of_command(vec!["true".to_owned()])],
        };
        match self.runtime.block_on(self.client.request(request))? {
            Reply::Submitted { job, .. } => Ok(job),
            other => bail!("the submission was not taken: {other:?}"),
        }
    }
}

/// The 500.
struct Crowd {
    over: Arc<AtomicBool>,
    lists: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Crowd {
    /// Returns when all of them watch.
    fn start(cluster: &LocalCluster, jobs: &[JobId]) -> anyhow::Result<Self> {
        let (over, lists, there) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let thread = {
            let (over, lists, there) = (Arc::clone(&over), Arc::clone(&lists), Arc::clone(&there));
            let (socket, jobs) = (cluster.socket(), jobs.to_vec());
            std::thread::spawn(move || {
                runtime()?.block_on(async {
                    for number in 0..WATCHERS {
                        let job = *jobs.get(usize::try_from(number)? % jobs.len()).context("a job")?;
                        // One after the other: one account may not knock with all of them at once.
                        let clients = (Client::connect(&socket).await?, Client::connect(&socket).await?);
                        let (lists, there) = (Arc::clone(&lists), Arc::clone(&there));
                        tokio::spawn(async move {
                            // One that fails does not count, which is seen at the start and at the end.
                            let _ = watch_and_list(clients, job, &lists, &there).await;
                        });
                    }
                    while !over.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    anyhow::Ok(())
                })
            })
        };
        let start = Instant::now();
        while there.load(Ordering::Relaxed) < WATCHERS {
            ensure!(
                start.elapsed() < START_DEADLINE,
                "only {} of {WATCHERS} watchers came in",
                there.load(Ordering::Relaxed)
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(Self { over, lists, thread })
    }

    fn end(self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the watchers' thread failed"))??;
        ensure!(
            self.lists.load(Ordering::Relaxed) >= WATCHERS,
            "the watchers listed nothing"
        );
        Ok(())
    }
}

/// On one connection one thing goes on at a time, so each client has two, as somebody with two terminals.
async fn watch_and_list(
    (mut lister, mut watcher): (Client, Client),
    job: JobId,
    lists: &AtomicU64,
    there: &AtomicU64,
) -> anyhow::Result<()> {
    watcher.open(&Request::WaitJob { job }).await?;
    watcher.next().await?;
    let filter = JobFilter {
        all_users: true,
        limit: Some(SCREENFUL),
        ..JobFilter::default()
    };
    let watch = async {
        loop {
            if let Err(error) = watcher.next().await {
                return error;
            }
        }
    };
    let list = async {
        let mut first = true;
        loop {
            let filter = filter.clone();
            if let Err(error) = lister.request(Request::ListJobs { filter }).await {
                return error;
            }
            lists.fetch_add(1, Ordering::Relaxed);
            if std::mem::take(&mut first) {
                there.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(LIST_PAUSE).await;
        }
    };
    tokio::select! {
        error = watch => Err(error.into()),
        error = list => Err(error.into()),
    }
}
