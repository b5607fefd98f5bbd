//! The front door for the command line on the head node's own machine: a unix socket.
//!
//! It only translates: reads are answered by the view, writes become arrivals for the controller. Who asks is told by
//! the kernel (SO_PEERCRED): root and the account that runs the head node are administrators, everyone else a user.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use nix::unistd::{Uid, User};
use proto::client::{Greeted, Greeting, HeadView, Refusal, RefusalCode, Reply, Request};
use proto::frame::{FrameError, VERSION};
use proto::ids::JobId;
use proto::model::job::JobRow;
use proto::model::owner::{Caller, Owner, Role};
use proto::stored::TokenRow;
use proto::units::Millis;
use scheduler::{Answer, Input};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use transport::control::{FrameReader, FrameWriter, StreamError, split_socket};

use crate::clock::Clock;
use crate::files;
use crate::join::Tokens;
use crate::nodes::Links;
use crate::round::Arrival;
use crate::serve::Slot;
use crate::view::View;

/// How many clients may be connected at once; more are told to come back.
const MAX_CLIENTS: usize = 512;

/// How many of them one account may have, administrators excepted, so that nobody locks the others out.
const MAX_CLIENTS_OF_ONE: usize = 64;

/// How many reads may run at once, beside the thread that serves nodes and clients.
const MAX_READS: usize = 4;

/// How long a client may take to read an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// How long the system's user database may take; then the account goes by its number.
const NAME_DEADLINE: Duration = Duration::from_secs(2);

/// How long a client may take to greet.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// The longest life of a join token: 30 days.
const MAX_TOKEN_LIFE: Millis = Millis::from_seconds(30 * 86_400);

/// What answers are made from.
#[derive(Debug)]
pub struct Door {
    /// For reads.
    pub view: Arc<View>,
    /// For writes.
    pub arrivals: mpsc::Sender<Arrival<Slot>>,
    /// For files of tasks.
    pub links: Arc<Links>,
    /// For join tokens.
    pub tokens: Tokens,
    /// For the ends of tokens.
    pub clock: Clock,
    /// Who is connected.
    pub places: Places,
    /// Turns for reading.
    pub reads: Semaphore,
    /// What `muster status` tells of this process; its sequence is filled in per answer.
    pub head: HeadView,
}

impl Door {
    /// As many reads as may run at once.
    #[must_use]
    pub fn read_turns() -> Semaphore {
        Semaphore::new(MAX_READS)
    }
}

/// What a client gets.
enum Served {
    /// One reply.
    Once(Reply),
    /// A reply per change of a job.
    Follow(JobId),
}

/// Connected clients by account.
#[derive(Debug, Default)]
pub struct Places {
    /// Guards the counts for the length of one change.
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A client's place, given back when it goes out of scope.
struct Place<'a> {
    places: &'a Places,
    uid: u32,
}

impl Places {
    fn take(&self, uid: u32, administrator: bool) -> Option<Place<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(uid).or_default();
        let full = all >= MAX_CLIENTS || *own >= MAX_CLIENTS_OF_ONE;
        if full && !administrator {
            return None;
        }
        *own += 1;
        Some(Place { places: self, uid })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

/// Takes clients until the task is dropped.
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

/// Both halves of a client's connection.
struct Client {
    who: Caller,
    to: FrameWriter<OwnedWriteHalf>,
    from: FrameReader<OwnedReadHalf>,
}

impl Client {
    /// Sends a reply; one that is too long for a frame becomes a refusal that says so.
    async fn tell(&mut self, reply: &Reply) -> anyhow::Result<()> {
        match timeout(ANSWER_DEADLINE, self.to.send(reply)).await? {
            Err(StreamError::Frame(FrameError::TooLong { bytes })) => {
                let refusal = Refusal {
                    code: RefusalCode::Busy,
                    what: format!("the answer would have {bytes} bytes, which is too long"),
                    remedy: "ask for less: one job, or a list of one user, state or name".to_owned(),
                };
                Ok(timeout(ANSWER_DEADLINE, self.to.send(&Reply::Refused(refusal))).await??)
            }
            other => Ok(other?),
        }
    }
}

impl Door {
    async fn client(&self, stream: UnixStream) -> anyhow::Result<()> {
        let who = caller(&stream.peer_cred()?).await;
        let (mut to, mut from) = split_socket(stream);
        let Some(greeting) = timeout(GREETING_DEADLINE, from.recv::<Greeting>()).await?? else {
            return Ok(());
        };
        let Some(_place) = self.places.take(who.owner.uid, who.role == Role::Administrator) else {
            return Ok(to.send(&Greeted::Refused(too_many(&who))).await?);
        };
        if !VERSION.accepts(greeting.version) {
            return Ok(to.send(&Greeted::Refused(other_version(greeting.version))).await?);
        }
        let welcome = Greeted::Welcome {
            version: VERSION,
            cluster: self.head.cluster.clone(),
            user: who.owner.name.clone(),
            role: who.role,
        };
        to.send(&welcome).await?;
        let mut client = Client { who, to, from };
        loop {
            let request = match client.from.recv::<Request>().await {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                // The next message can still be read.
                Err(StreamError::Frame(error @ (FrameError::Decode(_) | FrameError::Trailing { .. }))) => {
                    client.tell(&Reply::Refused(garbled(&error))).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.answer(&client.who, request).await {
                Ok(Served::Once(reply)) => client.tell(&reply).await?,
                Ok(Served::Follow(job)) => self.follow(&mut client, job).await?,
                Err(refusal) => client.tell(&Reply::Refused(refusal)).await?,
            }
        }
    }

    async fn answer(&self, who: &Caller, request: Request) -> Result<Served, Refusal> {
        let caller = || who.clone();
        let reply = match request {
            Request::Submit { submission, job, tasks } => {
                self.write(Input::Submit {
                    caller: caller(),
                    submission,
                    job,
                    tasks,
                })
                .await?
            }
            Request::CancelJob { job, force, message } => {
                // Who may not see a job is not told that it is over.
                self.job(who, job).await?;
                self.write(Input::CancelJob {
                    caller: caller(),
                    job,
                    force,
                    message,
                })
                .await?
            }
            Request::SwitchNodes { nodes, admin } => {
                self.write(Input::SwitchNodes {
                    caller: caller(),
                    nodes,
                    admin,
                })
                .await?
            }
            Request::AddToGroup { group, nodes } => {
                self.write(Input::AddToGroup {
                    caller: caller(),
                    group,
                    nodes,
                })
                .await?
            }
            Request::RemoveFromGroup { group, nodes } => {
                self.write(Input::RemoveFromGroup {
                    caller: caller(),
                    group,
                    nodes,
                })
                .await?
            }
            Request::MakeToken {
                pool,
                groups,
                uses,
                lifetime,
            } => {
                let (text, hash) = self.tokens.make().map_err(|error| no_token(&error))?;
                let expires_at = self.clock.now().wall + lifetime.min(MAX_TOKEN_LIFE);
                let token = TokenRow {
                    hash,
                    pool,
                    groups,
                    expires_at,
                    uses_left: uses,
                };
                self.write(Input::MakeToken {
                    caller: caller(),
                    token,
                })
                .await?;
                Reply::Token {
                    token: text,
                    expires_at,
                }
            }
            Request::ListJobs { filter } => self.read(who, move |view, who| view.jobs(who, &filter)).await?,
            Request::ViewJob { job } => Reply::Job {
                job: Box::new(self.view.job(who, job)?),
            },
            Request::WaitJob { job } => {
                self.job(who, job).await?;
                return Ok(Served::Follow(job));
            }
            Request::WhyJob { job } => self.read(who, move |view, who| view.why(who, job)).await?,
            Request::ListTasks { job, from } => self.read(who, move |view, who| view.tasks(who, job, from)).await?,
            Request::ViewTask { task, output_bytes } => {
                let task = self.read(who, move |view, who| view.task(who, task)).await?;
                let names = self.view.names(task.last_nodes.iter().copied());
                let files = files::ends(&self.links, &task, &names, output_bytes).await;
                Reply::Task {
                    task: Box::new(task),
                    names,
                    files,
                }
            }
            Request::ListNodes => self.read(who, |view, _| view.nodes(None)).await?,
            Request::ViewNode { node } => self.read(who, move |view, _| view.nodes(Some(&node))).await?,
            Request::ListGroups => self.view.groups(),
            Request::ListPools => self.view.pools(None)?,
            Request::ViewPool { pool } => self.view.pools(Some(&pool))?,
            Request::Status => self.status(),
            Request::Unknown => return Err(unknown_request()),
        };
        Ok(Served::Once(reply))
    }

    /// Reads beside the thread that serves nodes and clients: a long list must hold up nobody's heartbeat.
    async fn read<T: Send + 'static>(
        &self,
        who: &Caller,
        look: impl FnOnce(&View, &Caller) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = self.reads.acquire().await.map_err(|_| ending())?;
        let (view, who) = (Arc::clone(&self.view), who.clone());
        let read = tokio::task::spawn_blocking(move || look(&view, &who)).await;
        drop(turn);
        read.map_err(|_| ending())?
    }

    async fn job(&self, who: &Caller, id: JobId) -> Result<JobRow, Refusal> {
        self.read(who, move |view, who| view.job(who, id)).await
    }

    async fn write(&self, input: Input) -> Result<Reply, Refusal> {
        let (slot, answer) = oneshot::channel();
        let arrival = Arrival::Request {
            input,
            slot: Slot(slot),
        };
        self.arrivals.send(arrival).await.map_err(|_| ending())?;
        let landed = answer.await.map_err(|_| ending())?;
        let sequence = landed.sequence;
        Ok(match landed.answer? {
            Answer::Submitted { job, repeated } => Reply::Submitted {
                job,
                sequence,
                repeated,
            },
            Answer::Notes(notes) => Reply::Done { sequence, notes },
            Answer::None | Answer::Joined { .. } => Reply::Done {
                sequence,
                notes: Vec::new(),
            },
        })
    }

    /// A reply now and at every change of the job, until it has ended or the client is gone.
    async fn follow(&self, client: &mut Client, id: JobId) -> anyhow::Result<()> {
        let mut changes = self.view.changes();
        let mut told = None;
        loop {
            changes.borrow_and_update();
            let job = match self.job(&client.who, id).await {
                Ok(job) => job,
                Err(refusal) => return client.tell(&Reply::Refused(refusal)).await,
            };
            let news = (job.counts, job.state.clone());
            let ended = job.state.is_ended();
            if told.as_ref() != Some(&news) {
                client.tell(&Reply::Job { job: Box::new(job) }).await?;
                told = Some(news);
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                // Nothing may come but the end: a client that left must not keep its place until the job moves.
                more = client.from.recv::<Request>() => match more? {
                    None => bail!("the client left while it waited"),
                    Some(_) => bail!("a request came during a wait"),
                },
            }
        }
    }

    fn status(&self) -> Reply {
        let (nodes, up, jobs, queued, running) = self.view.totals();
        let mut head = self.head.clone();
        head.sequence = *self.view.changes().borrow();
        Reply::Status {
            head,
            nodes,
            up,
            jobs,
            queued,
            running,
        }
    }
}

async fn caller(peer: &UCred) -> Caller {
    let uid = Uid::from_raw(peer.uid());
    let administrator = uid.is_root() || uid == Uid::effective();
    // The user database may be a server that hangs.
    let look_up = tokio::task::spawn_blocking(move || User::from_uid(uid).ok().flatten().map(|user| user.name));
    let name = match timeout(NAME_DEADLINE, look_up).await {
        Ok(Ok(Some(name))) => name,
        _ => uid.to_string(),
    };
    Caller {
        owner: Owner {
            name,
            uid: peer.uid(),
            gid: peer.gid(),
        },
        role: if administrator { Role::Administrator } else { Role::User },
    }
}

fn too_many(who: &Caller) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: format!(
            "{} has {MAX_CLIENTS_OF_ONE} connections to the head node, or all have {MAX_CLIENTS}",
            who.owner.name
        ),
        remedy: "end some, or try again later".to_owned(),
    }
}

fn garbled(error: &FrameError) -> Refusal {
    Refusal {
        code: RefusalCode::Invalid,
        what: format!("the head node cannot read the request: {error}"),
        remedy: "use the command line of the head node's release".to_owned(),
    }
}

fn no_token(error: &transport::identity::IdentityError) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: format!("no join token can be made: {error}"),
        remedy: String::new(),
    }
}

fn ending() -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: "the head node is ending; whether the request was carried out is not known".to_owned(),
        remedy: "repeat it when the head node is back: a submission with the same id is taken once".to_owned(),
    }
}

fn other_version(theirs: proto::frame::Version) -> Refusal {
    Refusal {
        code: RefusalCode::Version,
        what: format!("the head node speaks version {VERSION}, this command line {theirs}"),
        remedy: "use the command line of the head node's release".to_owned(),
    }
}

fn unknown_request() -> Refusal {
    Refusal {
        code: RefusalCode::Unsupported,
        what: "the head node does not know this request".to_owned(),
        remedy: "it is older than your command line; update it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_lock_the_others_out() {
        let places = Places::default();
        let mut taken: Vec<Place<'_>> = (0..MAX_CLIENTS_OF_ONE)
            .filter_map(|_| places.take(1000, false))
            .collect();
        assert_eq!(taken.len(), MAX_CLIENTS_OF_ONE);
        assert!(places.take(1000, false).is_none());
        assert!(places.take(1001, false).is_some(), "others get in");
        assert!(places.take(1000, true).is_some(), "administrators always do");
        taken.pop();
        assert!(places.take(1000, false).is_some(), "a place that was given back");
    }
}
