//! Submissions on connections that are kept: many at once, which share flushes, and one array of a million.
//!
//! The head node has no nodes, so that nothing but the submissions is measured.

use std::time::Instant;

use cli::client::Client;

use crate::bare_head::BareHead;
use crate::figure::Figure;
use crate::work;

/// Submissions per round and way.
const SUBMITS: u32 = 4_000;

/// Connections that send without waiting for each answer.
const PIPES: u32 = 4;

/// Connections of which each has one request under way. As many as one account may have.
const CONNECTIONS: u32 = 64;

/// Submissions per second that are aimed at.
const AIM: f64 = 5_000.0;

/// Elements of the large array, and the milliseconds that it may take to accept.
const LARGE: u32 = 1_000_000;
const LARGE_AIM_MS: f64 = 100.0;

/// Separate submissions per second: 64 connections with one under way each, and 4 that do not wait in between.
pub(crate) fn many(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let head = BareHead::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut apart, mut piped) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        apart.push(runtime.block_on(rate(&head, CONNECTIONS, one_by_one))?);
        piped.push(runtime.block_on(rate(&head, PIPES, without_waiting))?);
    }
    let mut aim = vec![AIM; rounds];
    Ok(vec![
        Figure::of("submit.kept_64", "/s", &mut apart, "the aim", &mut aim),
        Figure::of("submit.kept_4_piped", "/s", &mut piped, "the aim", &mut aim),
    ])
}

/// Milliseconds until an array of a million is accepted.
pub(crate) fn large_array(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let head = BareHead::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = runtime.block_on(work::connect(&head.socket()))?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        let task = work::array(work::bare_task(), LARGE)?;
        let start = Instant::now();
        runtime.block_on(work::submit(&mut client, task))?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut aim = vec![LARGE_AIM_MS; rounds];
    Ok(vec![Figure::of(
        "submit.array_1M",
        "ms",
        &mut took,
        "the aim",
        &mut aim,
    )])
}

async fn one_by_one(mut client: Client, count: u32) -> anyhow::Result<()> {
    for _ in 0..count {
        work::submit(&mut client, work::bare_task()).await?;
    }
    Ok(())
}

async fn without_waiting(mut client: Client, count: u32) -> anyhow::Result<()> {
    let requests = (0..count).map(|_| work::submission(work::bare_task()));
    client.submit_many(requests).await?;
    Ok(())
}

/// Submissions per second of so many clients together.
async fn rate<F>(head: &BareHead, clients: u32, submit: impl Fn(Client, u32) -> F) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(work::connect(&head.socket()).await?);
    }
    let start = Instant::now();
    let under_way: Vec<_> = connected
        .into_iter()
        .map(|client| tokio::spawn(submit(client, SUBMITS / clients)))
        .collect();
    for submitter in under_way {
        submitter.await??;
    }
    Ok(f64::from(SUBMITS) / start.elapsed().as_secs_f64())
}
