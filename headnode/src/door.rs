//! The front door for the command line on the head node's own machine: a unix socket.
//!
//! It only translates: reads are answered by the view, writes become arrivals for the controller. Who asks is told by
//! the kernel (SO_PEERCRED): root and the account that runs the head node are administrators, everyone else a user.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Uid, User};
use proto::client::{Greeted, Greeting, HeadView, Refusal, RefusalCode, Reply, Request};
use proto::frame::VERSION;
use proto::ids::JobId;
use proto::model::owner::{Caller, Owner, Role};
use proto::stored::TokenRow;
use proto::units::Millis;
use scheduler::{Answer, Input};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use transport::control::{FrameWriter, split_socket};

use crate::clock::Clock;
use crate::files;
use crate::join::Tokens;
use crate::nodes::Links;
use crate::round::Arrival;
use crate::serve::Slot;
use crate::view::View;

/// How many clients may be connected at once; more wait in the socket's backlog.
const MAX_CLIENTS: usize = 512;

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
    /// What `muster status` tells of this process; its sequence is filled in per answer.
    pub head: HeadView,
}

/// What a client gets.
enum Served {
    /// One reply.
    Once(Reply),
    /// A reply per change of a job.
    Follow(JobId),
}

/// Takes clients until the task is dropped.
pub async fn serve(listener: UnixListener, door: Arc<Door>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    if let Err(error) = door.client(stream).await {
                        tracing::debug!(%error, "a client's connection ended");
                    }
                    drop(place);
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
    async fn client(&self, stream: UnixStream) -> anyhow::Result<()> {
        let who = caller(&stream.peer_cred()?);
        let (mut to, mut from) = split_socket(stream);
        let Some(greeting) = tokio::time::timeout(GREETING_DEADLINE, from.recv::<Greeting>()).await?? else {
            return Ok(());
        };
        if !VERSION.accepts(greeting.version) {
            to.send(&Greeted::Refused(other_version(greeting.version))).await?;
            return Ok(());
        }
        let welcome = Greeted::Welcome {
            version: VERSION,
            cluster: self.head.cluster.clone(),
            user: who.owner.name.clone(),
            role: who.role,
        };
        to.send(&welcome).await?;
        while let Some(request) = from.recv::<Request>().await? {
            match self.answer(&who, request).await {
                Ok(Served::Once(reply)) => to.send(&reply).await?,
                Ok(Served::Follow(job)) => self.follow(&who, job, &mut to).await?,
                Err(refusal) => to.send(&Reply::Refused(refusal)).await?,
            }
        }
        Ok(())
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
            Request::ListJobs { filter } => self.view.jobs(who, &filter)?,
            Request::ViewJob { job } => Reply::Job {
                job: Box::new(self.view.job(who, job)?),
            },
            Request::WaitJob { job } => {
                self.view.job(who, job)?;
                return Ok(Served::Follow(job));
            }
            Request::WhyJob { job } => self.view.why(who, job)?,
            Request::ListTasks { job, from } => self.view.tasks(who, job, from)?,
            Request::ViewTask { task, output_bytes } => {
                let task = self.view.task(who, task)?;
                let names = self.view.names(task.last_nodes.iter().copied());
                let files = files::ends(&self.links, &task, &names, output_bytes).await;
                Reply::Task {
                    task: Box::new(task),
                    names,
                    files,
                }
            }
            Request::ListNodes => self.view.nodes(None)?,
            Request::ViewNode { node } => self.view.nodes(Some(&node))?,
            Request::ListGroups => self.view.groups(),
            Request::ListPools => self.view.pools(None)?,
            Request::ViewPool { pool } => self.view.pools(Some(&pool))?,
            Request::Status => self.status(),
            Request::Unknown => return Err(unknown_request()),
        };
        Ok(Served::Once(reply))
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
    async fn follow<W>(&self, who: &Caller, id: JobId, to: &mut FrameWriter<W>) -> anyhow::Result<()>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        let mut changes = self.view.changes();
        let mut told = None;
        loop {
            changes.borrow_and_update();
            let job = match self.view.job(who, id) {
                Ok(job) => job,
                Err(refusal) => return Ok(to.send(&Reply::Refused(refusal)).await?),
            };
            let news = (job.counts, job.state.clone());
            let ended = job.state.is_ended();
            if told.as_ref() != Some(&news) {
                to.send(&Reply::Job { job: Box::new(job) }).await?;
                told = Some(news);
            }
            if ended || changes.changed().await.is_err() {
                return Ok(());
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

fn caller(peer: &UCred) -> Caller {
    let uid = Uid::from_raw(peer.uid());
    let administrator = uid.is_root() || uid == Uid::effective();
    let name = User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name);
    Caller {
        owner: Owner {
            name,
            uid: peer.uid(),
            gid: peer.gid(),
        },
        role: if administrator { Role::Administrator } else { Role::User },
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
