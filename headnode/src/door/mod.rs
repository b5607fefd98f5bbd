//! The front door for clients: the command line, on the head node's own machine by a unix socket, elsewhere by QUIC.
//!
//! It only translates: reads are answered by the view, writes become arrivals for the controller, and what is about
//! output, input and reachability is relayed to the nodes. It decides nothing but who may look.
//!
//! ```text
//!   unix socket --caller by SO_PEERCRED--> greeting, then one request after the other --.
//!   QUIC        --caller by certificate--> greeting on the first stream, then one each --+--> request --> answer or stream
//! ```

mod answer;
mod caller;
mod events;
mod input;
mod line;
mod pace;
mod people;
mod places;
mod probe;
mod refusal;
mod share;
mod tail;
mod wait;
mod write;

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use proto::client::{Greeted, Greeting, HeadView, Reply, Request};
use proto::frame::{FrameError, VERSION};
use proto::ids::KeyHash;
use proto::model::owner::{Caller, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use transport::control::{FrameReader, FrameWriter, StreamError, split_socket, spoken};

use crate::clock::Clock;
use crate::join::Tokens;
use crate::login::Credentials;
use crate::nodes::Links;
use crate::round::{Arrival, MAX_ARRIVALS};
use crate::serve::Slot;
use crate::view::View;

pub use places::{Place, Places};
pub use refusal::RETRY_AFTER;

use answer::Served;
use caller::Local;
use line::{Line, Shown};
use share::Shares;
use tail::Turns;

/// How many reads may run at once, beside the thread that serves nodes and clients.
const MAX_READS: usize = 4;

/// How many of them one account may have: whoever else reads waits behind so many of each other account, and no more.
const MAX_READS_OF_ONE: usize = 2;

/// How many requests that change something one account may have under way: a part of what a round takes, so that one that
/// sends thousands at once fills no round, and a request of another waits for one round at most.
const MAX_WRITES_OF_ONE: usize = MAX_ARRIVALS / 4;

/// How many outputs may be followed at once.
const MAX_TAILS: usize = 128;

/// How many tasks all of these together may keep in mind.
const MAX_TAILED_TASKS: usize = 1_000_000;

/// How many of either one account may have.
const MAX_TAILS_OF_ONE: usize = 48;
const MAX_TAILED_TASKS_OF_ONE: usize = 500_000;

/// How many may type into tasks at once, and how many of them one account may have: a node takes few.
const MAX_INPUTS: usize = 256;
const MAX_INPUTS_OF_ONE: usize = 32;

/// How long a client may take to greet, or to say what it wants on a stream of its own.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// What answers are made from.
#[derive(Debug)]
pub struct Door {
    /// For reads.
    pub view: Arc<View>,
    /// For writes.
    pub arrivals: mpsc::Sender<Arrival<Slot>>,
    /// For output, input and reachability of nodes.
    pub links: Arc<Links>,
    /// For join tokens.
    pub tokens: Tokens,
    /// For log-in tokens and certificates of users.
    pub credentials: Credentials,
    /// For the ends of tokens.
    pub clock: Clock,
    /// Who is connected.
    pub places: Places,
    /// How much of everything may go on at once.
    pub bounds: Bounds,
    /// What `muster status` tells of this process; its sequence and clock are filled in per answer.
    pub head: HeadView,
}

/// How much may go on at once.
#[derive(Debug)]
pub struct Bounds {
    reads: Semaphore,
    reads_of_one: Shares,
    writes_of_one: Shares,
    tails: Places,
    tailed_tasks: Places,
    inputs: Places,
    turns: Turns,
    /// Connections of the unix socket that have not greeted yet.
    knocking: Places,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            reads: Semaphore::new(MAX_READS),
            reads_of_one: Shares::new("questions", MAX_READS_OF_ONE),
            writes_of_one: Shares::new("requests", MAX_WRITES_OF_ONE),
            tails: Places::with(MAX_TAILS, MAX_TAILS_OF_ONE),
            tailed_tasks: Places::with(MAX_TAILED_TASKS, MAX_TAILED_TASKS_OF_ONE),
            inputs: Places::with(MAX_INPUTS, MAX_INPUTS_OF_ONE),
            turns: Turns::default(),
            knocking: Places::default(),
        }
    }
}

/// Takes clients of the unix socket until the task is dropped.
pub async fn serve(listener: UnixListener, door: Arc<Door>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    if let Err(error) = door.client(stream).await {
                        tracing::debug!("a client's connection ended: {error:#}");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: let others end first.
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Door {
    /// A client on this machine, until it leaves.
    async fn client(&self, stream: UnixStream) -> anyhow::Result<()> {
        let peer = stream.peer_cred()?;
        // Whoever opens connections and says nothing must not use up the descriptors of all.
        let Some(knocking) = self.bounds.knocking.take(peer.uid(), Role::User) else {
            let what = format!("too many of the account {} knock at once", peer.uid());
            let (mut to, _) = split_socket(stream);
            // It fits into the socket, whether somebody reads it or not.
            let refusal = Greeted::Refused(refusal::busy(what));
            return Ok(timeout(Duration::ZERO, to.send(&refusal)).await??);
        };
        let local = Local::of(&peer).await;
        let (mut to, mut from) = split_socket(stream);
        let Some(greeting) = timeout(GREETING_DEADLINE, from.recv::<Greeting>()).await?? else {
            return Ok(());
        };
        let who = match local.caller(&self.view) {
            Ok(who) => who,
            Err(refusal) => return Ok(timeout(GREETING_DEADLINE, to.send(&Greeted::Refused(refusal))).await??),
        };
        let mut line = Line {
            who,
            shown: Shown::Account(local),
            to,
            from,
        };
        drop(knocking);
        let Some(_place) = self.places.take(line.who.owner.uid, line.who.role) else {
            let refusal = refusal::too_many_clients(&line.who);
            return Ok(timeout(GREETING_DEADLINE, line.to.send(&Greeted::Refused(refusal))).await??);
        };
        if !self.welcome(&line.who, &greeting, &mut line.to).await? {
            return Ok(());
        }
        loop {
            let request = match line.from.recv::<Request>().await {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                // The next message can still be read.
                Err(StreamError::Frame(error @ (FrameError::Decode(_) | FrameError::Trailing { .. }))) => {
                    line.tell(&Reply::Refused(refusal::garbled(&error))).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // A role that was given or taken counts from the next request on.
            match line.shown.who(&self.view, &line.who) {
                Ok(who) => line.who = who,
                Err(refusal) => {
                    line.tell(&Reply::Refused(refusal)).await?;
                    continue;
                }
            }
            self.serve_request(&mut line, request).await?;
        }
    }

    /// The greeting of a client that has a connection of its own: the first stream of it. False when it was refused, and
    /// the connection is to be closed.
    ///
    /// # Errors
    /// When the client says nothing in time, or something else.
    pub async fn greet<W, R>(
        &self,
        who: &Caller,
        to: &mut FrameWriter<W>,
        from: &mut FrameReader<R>,
    ) -> anyhow::Result<bool>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        match timeout(GREETING_DEADLINE, from.recv::<Greeting>()).await?? {
            Some(greeting) => self.welcome(who, &greeting, to).await,
            None => bail!("the client did not greet"),
        }
    }

    /// One request on a stream of its own, answered to its end. `key` is the key that the caller shows.
    ///
    /// # Errors
    /// When the client is gone or breaks the protocol; nobody has to do anything about it.
    pub async fn stream<W, R>(
        &self,
        who: &Caller,
        key: KeyHash,
        to: FrameWriter<W>,
        from: FrameReader<R>,
    ) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let mut line = Line {
            who: who.clone(),
            shown: Shown::Key(key),
            to,
            from,
        };
        match timeout(GREETING_DEADLINE, line.from.recv::<Request>()).await? {
            Ok(Some(request)) => self.serve_request(&mut line, request).await?,
            Ok(None) => {}
            Err(StreamError::Frame(error @ (FrameError::Decode(_) | FrameError::Trailing { .. }))) => {
                line.tell(&Reply::Refused(refusal::garbled(&error))).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(line.to.finish().await?)
    }

    async fn welcome<W>(&self, who: &Caller, greeting: &Greeting, to: &mut FrameWriter<W>) -> anyhow::Result<bool>
    where
        W: AsyncWrite + Unpin + Send,
    {
        let fits = VERSION.accepts(greeting.version);
        let greeted = if fits {
            Greeted::Welcome {
                version: spoken(),
                cluster: self.head.cluster.clone(),
                user: who.owner.name.clone(),
                role: who.role,
            }
        } else {
            Greeted::Refused(refusal::other_version(greeting.version))
        };
        timeout(GREETING_DEADLINE, to.send(&greeted)).await??;
        Ok(fits)
    }

    async fn serve_request<W, R>(&self, line: &mut Line<W, R>, request: Request) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        if line.who.role < Role::User {
            return line.tell(&Reply::Refused(refusal::a_node())).await;
        }
        match self.answer(line, request).await {
            Ok(Served::Once(reply)) => line.tell(&reply).await,
            Ok(Served::Wait(job)) => self.wait(line, job).await,
            Ok(Served::Tail(wish)) => self.tail(line, wish).await,
            Ok(Served::Input(task)) => self.input(line, task).await,
            Ok(Served::Events { after, follow }) => self.events(line, after, follow).await,
            Err(refusal) => line.tell(&Reply::Refused(refusal)).await,
        }
    }
}
