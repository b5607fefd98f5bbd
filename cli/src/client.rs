//! A connection to the head node: on its own machine a unix socket, where the kernel says who we are; from elsewhere QUIC
//! with the certificate of a log-in.
//!
//! ```text
//!   connect --> request, submit_many, wait_job      one answer, or the end, each
//!           '-> open --> next, next, ...             a stream: what is told as it comes, until the caller has enough
//!                  '---> say, hear                   where the client goes on talking (input for a task)
//! ```
//!
//! One thing after the other. On QUIC each request has a stream of its own, so a stream that the caller leaves is ended by
//! the next request; on the socket the connection is of no more use after that. After an error other than
//! [`ClientError::Refused`] it is not either. Repeated here is only what the head node refused for want of room, with a word
//! when to come again; whether anything else can be repeated depends on the request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::client::{Greeted, Greeting, Refusal, RefusalCode, Reply, Request};
use proto::ids::JobId;
use proto::model::job::JobRow;
use proto::model::owner::Role;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use transport::control::{CloseCode, ConnectionFailure, DialError, StreamError, split_socket, spoken};
use transport::identity::HandshakeProblem;

use crate::exit::{self, Exit};
use crate::login::LoginError;
use crate::place::{NODE_FOLDER, Target};
use line::Line;
use patience::Patience;

pub(crate) mod line;
mod patience;

/// How long the head node may take to greet. It does so without looking at its queue.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// How long one answer may take. A submission of the largest size on a slow disk takes seconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// Requests under way at once. Their answers must fit into the socket while nobody reads them.
const WINDOW: usize = 64;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no head node answers at {} ({}); {remedy}, or name the socket with MUSTER_SOCKET",
        .path.display(), reason(.cause)
    )]
    NoHead {
        /// The socket.
        path: PathBuf,
        /// What the system said, as part of the message.
        cause: io::Error,
        /// What to type on a machine like this.
        remedy: &'static str,
    },
    /// The socket's permissions keep us out.
    #[error(
        "you may not open the head node's socket {}; ask whoever runs this cluster, or name another with MUSTER_SOCKET",
        .path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// A name that leads nowhere.
    #[error("the name of the head node, '{host}', leads to no address; check --scheduler or CCP_SCHEDULER")]
    NoAddress {
        /// As it was given.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection over the network.
    #[error("the head node at {host} cannot be asked")]
    Dial {
        /// Where.
        host: String,
        /// Why.
        #[source]
        source: Box<DialError>,
    },
    /// There is no log-in that could be shown.
    #[error(transparent)]
    Login(Box<LoginError>),
    /// It listens and says nothing.
    #[error("the head node at {at} does not answer within {} s; see its log", .after.as_secs())]
    Silent {
        /// Where.
        at: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection ended.
    #[error("the head node at {at} ended the connection; whether the request was carried out is not known")]
    Lost {
        /// Where.
        at: String,
        /// What the system said, if anything.
        source: Option<Box<StreamError>>,
    },
    /// It said no.
    #[error("{0}")]
    Refused(Refusal),
    /// It said something that does not fit.
    #[error("the head node answered '{asked}' with something else; it may be of another release: see 'muster status'")]
    Unexpected {
        /// What was asked.
        asked: &'static str,
    },
    /// A request above the bound of one message.
    #[error("the request is too large to be sent")]
    TooLarge(#[source] Box<StreamError>),
}

/// A head node is not what is missing on a machine that is a node of one.
fn remedy() -> &'static str {
    if Path::new(NODE_FOLDER).exists() {
        "this machine is a compute node: type it on its head node, or log in to that with 'muster login HOST'"
    } else {
        "start a cluster with 'muster up', log in to one elsewhere with 'muster login HOST'"
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there any more".to_owned(),
        _ => error.to_string(),
    }
}

impl ClientError {
    /// Its exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoHead { .. }
            | Self::NoAddress { .. }
            | Self::Dial { .. }
            | Self::Silent { .. }
            | Self::Lost { .. } => Exit::Unreachable,
            Self::Denied { .. } => Exit::Forbidden,
            Self::Login(error) => error.exit(),
            Self::Refused(refusal) => exit::of_refusal(refusal.code),
            Self::Unexpected { .. } => Exit::Internal,
            Self::TooLarge(_) => Exit::Usage,
        }
    }

    /// A connection that ended. A head node that ended it because we may not ask any more said why, and will say so again.
    pub(crate) fn of_stream(at: String, source: Option<StreamError>) -> Self {
        match source {
            Some(StreamError::Lost(ConnectionFailure {
                problem: HandshakeProblem::Closed { code, reason },
                ..
            })) if code == u64::from(CloseCode::Refused.number()) => Self::Refused(Refusal {
                code: RefusalCode::Forbidden,
                what: reason,
                remedy: String::new(),
                retry_after: None,
            }),
            source => Self::Lost {
                at,
                source: source.map(Box::new),
            },
        }
    }

    /// Whether the head node may be back in a moment.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::NoHead { .. } | Self::Silent { .. } | Self::Lost { .. } => true,
            Self::Dial { source, .. } => source.is_passing(),
            _ => false,
        }
    }
}

/// What the head node said of itself and of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The cluster's name.
    pub cluster: String,
    /// Who we are taken for.
    pub user: String,
    /// What we may do.
    pub role: Role,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    at: String,
    line: Line,
    welcome: Welcome,
}

impl Client {
    /// Connects to a head node, and greets. The path of a socket is a target too.
    ///
    /// A log-in whose certificate has passed two thirds of its life is renewed on the way.
    ///
    /// # Errors
    /// When nobody answers there, we may not ask, or the versions do not fit.
    pub async fn connect(target: impl Into<Target>) -> Result<Self, ClientError> {
        let target = target.into();
        let mut patience = Patience::new();
        loop {
            let connected = Self::connect_once(target.clone()).await;
            match connected.as_ref().err().and_then(|error| patience.pause(error)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return connected,
            }
        }
    }

    async fn connect_once(target: Target) -> Result<Self, ClientError> {
        let at = target.to_string();
        let greeted = async {
            let (line, renewal) = match target {
                Target::Socket(path) => (open_socket(path).await?, None),
                Target::Remote(remote) => {
                    let (line, renewal) = remote.dial().await?;
                    (line, renewal)
                }
            };
            Self::greet(at.clone(), line).await.map(|client| (client, renewal))
        };
        let (mut client, renewal) = match tokio::time::timeout(GREETING_DEADLINE, greeted).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(ClientError::Silent {
                    at,
                    after: GREETING_DEADLINE,
                });
            }
        };
        if let Some(renewal) = renewal {
            renewal.carry_out(&mut client).await;
        }
        Ok(client)
    }

    async fn greet(at: String, mut line: Line) -> Result<Self, ClientError> {
        // A head that refuses closes at once; its answer tells more than the failed write.
        let sent = line.send(&Greeting { version: spoken() }).await;
        let greeted = line.recv::<Greeted>().await;
        line.end_request();
        match greeted {
            Ok(Some(Greeted::Welcome {
                cluster, user, role, ..
            })) => Ok(Self {
                at,
                line,
                welcome: Welcome { cluster, user, role },
            }),
            Ok(Some(Greeted::Refused(refusal))) => Err(ClientError::Refused(refusal)),
            // Over QUIC the write already fails with what it said.
            Ok(None) => Err(ClientError::of_stream(at, sent.err())),
            Err(error) => Err(ClientError::of_stream(at, Some(error))),
        }
    }

    /// What the head node said at the beginning.
    #[must_use]
    pub const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks once. For requests with more than one answer use [`Client::open`].
    ///
    /// # Errors
    /// A refusal is an error; see [`ClientError`].
    pub async fn request(&mut self, request: Request) -> Result<Reply, ClientError> {
        let mut patience = Patience::new();
        loop {
            self.line.drop_streams();
            self.send(&request).await?;
            let reply = self.answer().await;
            self.line.end_request();
            match reply.as_ref().err().and_then(|error| patience.pause(error)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return reply,
            }
        }
    }

    /// Asks for something that is told as it comes; [`Client::next`] gives each answer.
    ///
    /// # Errors
    /// When it cannot be sent. A refusal is the first answer.
    pub async fn open(&mut self, request: &Request) -> Result<(), ClientError> {
        self.line.drop_streams();
        self.send(request).await
    }

    /// The next answer of the request that was opened. Waits as long as it takes. Can be cancelled.
    ///
    /// # Errors
    /// As [`Client::request`]; a head node that ends the stream is [`ClientError::Lost`].
    pub async fn next(&mut self) -> Result<Reply, ClientError> {
        match self.hear::<Reply>().await? {
            Reply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok(reply),
        }
    }

    /// Says more within the request that was opened, for example [`proto::control::Input`].
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn say<T: Serialize>(&mut self, message: &T) -> Result<(), ClientError> {
        match self.line.send_more(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    /// The next message within the request that was opened, for example [`proto::control::InputReply`]. Can be cancelled.
    ///
    /// # Errors
    /// When the connection is lost, or the head node has ended the stream.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        match self.line.recv::<T>().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.lost(None)),
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    /// Sends many submissions without waiting for each answer, and gives their jobs in order.
    ///
    /// # Errors
    /// The first refusal or failure; submissions after it may have been taken, which repeating them with the same ids
    /// tells.
    pub async fn submit_many(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Vec<JobId>, ClientError> {
        self.line.drop_streams();
        let mut jobs = Vec::new();
        let mut under_way = 0;
        for request in requests {
            if under_way == WINDOW {
                jobs.push(self.submitted().await?);
                under_way -= 1;
            }
            self.send(&request).await?;
            under_way += 1;
        }
        for _ in 0..under_way {
            jobs.push(self.submitted().await?);
        }
        Ok(jobs)
    }

    /// Waits until a job is over; `on_change` sees it now and at every change, the end included.
    ///
    /// # Errors
    /// When there is no such job, or the head node goes away meanwhile.
    pub async fn wait_job(&mut self, job: JobId, mut on_change: impl FnMut(&JobRow)) -> Result<JobRow, ClientError> {
        self.open(&Request::WaitJob { job }).await?;
        // The first answer comes at once; how long a job takes nobody knows.
        let mut reply = self.answer().await?;
        loop {
            let Reply::Job { job: row } = reply else {
                return Err(ClientError::Unexpected { asked: "job wait" });
            };
            on_change(&row);
            if row.state.is_ended() {
                return Ok(*row);
            }
            reply = self.next().await?;
        }
    }

    async fn submitted(&mut self) -> Result<JobId, ClientError> {
        let answer = self.answer().await;
        self.line.end_request();
        match answer? {
            Reply::Submitted { job, .. } => Ok(job),
            _ => Err(ClientError::Unexpected { asked: "job submit" }),
        }
    }

    async fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.line.send(request).await {
            Ok(()) => Ok(()),
            Err(error @ (StreamError::Frame(_) | StreamError::TooLong { .. })) => {
                Err(ClientError::TooLarge(Box::new(error)))
            }
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    async fn answer(&mut self) -> Result<Reply, ClientError> {
        match tokio::time::timeout(ANSWER_DEADLINE, self.next()).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::Silent {
                at: self.at.clone(),
                after: ANSWER_DEADLINE,
            }),
        }
    }

    fn lost(&self, source: Option<StreamError>) -> ClientError {
        ClientError::of_stream(self.at.clone(), source)
    }
}

async fn open_socket(path: PathBuf) -> Result<Line, ClientError> {
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Line::of_socket(split_socket(stream))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::Denied { path }),
        Err(cause) => Err(ClientError::NoHead {
            path,
            cause,
            remedy: remedy(),
        }),
    }
}

#[cfg(test)]
mod tests;
