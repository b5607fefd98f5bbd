//! A connection to the head node: on its own machine a unix socket, where the kernel says who we are.
//!
//! The order of calls: [`Client::connect`], then any number of [`Client::request`], [`Client::submit_many`] and
//! [`Client::wait_job`], one after the other. After an error other than [`ClientError::Refused`] the connection is of no
//! more use. Nothing is repeated here: whether that is safe depends on the request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::client::{Greeted, Greeting, Refusal, Reply, Request};
use proto::frame::VERSION;
use proto::ids::JobId;
use proto::model::job::JobRow;
use proto::model::owner::Role;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use transport::control::{FrameReader, FrameWriter, StreamError, split_socket};

use crate::exit::{self, Exit};

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
        "no head node answers at {} ({}); start a cluster with 'muster up', or name the socket with MUSTER_SOCKET",
        .path.display(), reason(.cause)
    )]
    NoHead {
        /// The socket.
        path: PathBuf,
        /// What the system said, as part of the message.
        cause: io::Error,
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
    /// It listens and says nothing.
    #[error("the head node at {} does not answer within {} s; see its log", .path.display(), .after.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection ended.
    #[error("the head node at {} ended the connection; whether the request was carried out is not known", .path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
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
            Self::NoHead { .. } | Self::Silent { .. } | Self::Lost { .. } => Exit::Unreachable,
            Self::Denied { .. } => Exit::Forbidden,
            Self::Refused(refusal) => exit::of_refusal(refusal.code),
            Self::Unexpected { .. } => Exit::Internal,
            Self::TooLarge(_) => Exit::Usage,
        }
    }

    /// Whether the head node may be back in a moment.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::NoHead { .. } | Self::Silent { .. } | Self::Lost { .. })
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
    path: PathBuf,
    to: FrameWriter<OwnedWriteHalf>,
    from: FrameReader<OwnedReadHalf>,
    welcome: Welcome,
}

impl Client {
    /// Connects to the socket of a head node, and greets.
    ///
    /// # Errors
    /// When nobody answers there, we may not ask, or the versions do not fit.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let path = socket.to_owned();
        match tokio::time::timeout(GREETING_DEADLINE, Self::greet(path.clone())).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Silent {
                path,
                after: GREETING_DEADLINE,
            }),
        }
    }

    async fn greet(path: PathBuf) -> Result<Self, ClientError> {
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(ClientError::Denied { path }),
            Err(cause) => return Err(ClientError::NoHead { path, cause }),
        };
        let (mut to, mut from) = split_socket(stream);
        // A head that refuses closes at once; its answer tells more than the failed write.
        let sent = to.send(&Greeting { version: VERSION }).await;
        match from.recv::<Greeted>().await {
            Ok(Some(Greeted::Welcome {
                cluster, user, role, ..
            })) => Ok(Self {
                path,
                to,
                from,
                welcome: Welcome { cluster, user, role },
            }),
            Ok(Some(Greeted::Refused(refusal))) => Err(ClientError::Refused(refusal)),
            Ok(None) => Err(ClientError::Lost {
                path,
                source: sent.err().map(Box::new),
            }),
            Err(error) => Err(ClientError::Lost {
                path,
                source: Some(Box::new(error)),
            }),
        }
    }

    /// What the head node said at the beginning.
    #[must_use]
    pub const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks once. For [`Request::WaitJob`] use [`Client::wait_job`].
    ///
    /// # Errors
    /// A refusal is an error; see [`ClientError`].
    pub async fn request(&mut self, request: Request) -> Result<Reply, ClientError> {
        self.send(&request).await?;
        self.answer().await
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
        self.send(&Request::WaitJob { job }).await?;
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
        match self.answer().await? {
            Reply::Submitted { job, .. } => Ok(job),
            _ => Err(ClientError::Unexpected { asked: "job submit" }),
        }
    }

    async fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.to.send(request).await {
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
                path: self.path.clone(),
                after: ANSWER_DEADLINE,
            }),
        }
    }

    async fn next(&mut self) -> Result<Reply, ClientError> {
        match self.from.recv::<Reply>().await {
            Ok(Some(Reply::Refused(refusal))) => Err(ClientError::Refused(refusal)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(self.lost(None)),
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    fn lost(&self, source: Option<StreamError>) -> ClientError {
        ClientError::Lost {
            path: self.path.clone(),
            source: source.map(Box::new),
        }
    }
}

#[cfg(test)]
mod tests;
