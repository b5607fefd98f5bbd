//! Many simulated agents on a thread of their own, from their join to the end of the measurement.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cli::client::Client;
use proto::client::{Reply, Request};
use proto::ids::{NodeName, PoolName};
use proto::units::Millis;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use transport::control::{Dialer, Settings};
use transport::identity::JoinToken;

use super::agent::Agent;
use super::up;
use crate::bare_head::BareHead;

/// Agents that share one UDP port; a thousand ports would be a thousand tasks that read them.
const AGENTS_OF_ONE_PORT: u32 = 64;

/// Joins under way at once; the head node takes 256 strangers of one address.
const JOINS_AT_ONCE: usize = 32;

/// How long all of them may take.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at how many are up.
const LOOK: Duration = Duration::from_millis(50);

/// How long the join token is good for.
const TOKEN_LIFE: Millis = Millis::from_seconds(600);

/// Agents at work; they end with the value.
#[derive(Debug)]
pub(super) struct Fleet {
    /// Why it failed, once it has.
    state: watch::Receiver<Option<String>>,
    /// Dropping it ends the thread.
    end: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Returns when the head node has all of them up.
    ///
    /// # Errors
    /// When one is not let in, or they take too long.
    pub(super) async fn start(head: &BareHead, nodes: u32, slots: u32) -> anyhow::Result<Self> {
        // As whoever runs the head node, who administers it.
        let mut client = Client::connect(&head.socket()).await?;
        let token = token(&mut client, nodes).await?;
        let address = head.address()?;
        let (end, ended) = watch::channel(());
        let (say, state) = watch::channel(None);
        let thread = std::thread::Builder::new().name("agents".to_owned()).spawn(move || {
            if let Err(error) = run(address, &token, nodes, slots, ended) {
                say.send_replace(Some(format!("{error:#}")));
            }
        })?;
        let fleet = Self {
            state,
            end: Some(end),
            thread: Some(thread),
        };
        let start = Instant::now();
        while up(&mut client).await? < nodes {
            fleet.check()?;
            if start.elapsed() > ARRIVAL_DEADLINE {
                bail!("not all of {nodes} simulated nodes are up after {ARRIVAL_DEADLINE:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(fleet)
    }

    /// # Errors
    /// When an agent has failed.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &*self.state.borrow() {
            Some(why) => bail!("a simulated agent failed: {why}"),
            None => Ok(()),
        }
    }

    /// Returns when an agent has failed.
    pub(super) async fn failed(&self) -> anyhow::Error {
        let mut state = self.state.clone();
        // The thread ends only with a reason, as long as this value is there.
        let _ = state.wait_for(Option::is_some).await;
        self.check()
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("the simulated agents are gone"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic has told its reason already.
            let _ = thread.join();
        }
    }
}

async fn token(client: &mut Client, nodes: u32) -> anyhow::Result<JoinToken> {
    let request = Request::MakeToken {
        pool: PoolName::new("bench")?,
        groups: Vec::new(),
        uses: nodes,
        lifetime: TOKEN_LIFE,
    };
    match client.request(request).await? {
        Reply::Token { token, .. } => Ok(token.parse()?),
        other => bail!("a token was asked for, the answer is {other:?}"),
    }
}

/// Everything on one thread, until the fleet is dropped.
fn run(
    head: std::net::SocketAddr,
    token: &JoinToken,
    nodes: u32,
    slots: u32,
    mut ended: watch::Receiver<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let joins = Arc::new(Semaphore::new(JOINS_AT_ONCE));
        let mut agents = JoinSet::new();
        let mut dialer = None;
        for number in 0..nodes {
            if number % AGENTS_OF_ONE_PORT == 0 {
                dialer = Some(Dialer::for_peer(head, Settings::default())?);
            }
            let agent = Agent {
                head,
                dialer: dialer.clone().context("a port")?,
                name: NodeName::new(&format!("s{number}"))?,
                slots,
                phase: f64::from(number) / f64::from(nodes),
            };
            let (token, joins) = (token.clone(), Arc::clone(&joins));
            agents.spawn(async move {
                let turn = joins.acquire_owned().await?;
                let welcomed = agent.arrive(&token).await?;
                drop(turn);
                welcomed.work().await
            });
        }
        tokio::select! {
            // Dropped: no agent has to say good-bye.
            _ = ended.changed() => Ok(()),
            Some(first) = agents.join_next() => first?,
        }
    })
}
