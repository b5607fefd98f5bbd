//! A cluster of one command: real processes of all programs on this machine, in one folder.
//!
//! ```text
//!   STATE/head/        the head node: head.sock, head.addr, store, keys
//!   STATE/nodes/node1/ a compute node: certificate, spawner.sock, tasks
//!   STATE/log/         what each process says
//!   STATE/bin/         links: job, task, node, ..., mpiexec
//!   STATE/up.json      how it was started, so that it can be started again alike
//!   STATE/up.lock      held while `muster up` or `muster down` works
//!   STATE/muster-cluster  says that all this is ours: see `property`
//! ```
//!
//! Which processes run is read from /proc at every call, never believed from a file: see `processes`. Task folders and
//! everything within `head` and `nodes` belong to those programs; this module only throws them away when told to.

mod down;
mod links;
mod members;
mod processes;
mod property;
mod record;
mod service;
mod start;
mod store;
mod up;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::client::ClientError;
use crate::exit::Exit;

pub(crate) use down::down;
pub(crate) use links::{Shell, script};
pub(crate) use service::{install, uninstall};
pub(crate) use start::{program, typed};
pub(crate) use store::store;
pub(crate) use up::up;

/// Nodes on one machine: each has its own address in 127.0.0.0/24, the head node the first.
pub(crate) const MOST_NODES: u32 = 200;

/// The longest path of a state folder, in bytes. The system refuses unix sockets whose path is above 107, and the longest
/// below is `/nodes/node200/launch/1234567890.sock`.
const LONGEST_STATE: usize = 107 - 37;

/// Why a cluster here cannot be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file or folder.
    #[error("{doing} {} is not possible", .path.display())]
    Files {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Sockets below it would have paths that the system refuses.
    #[error(
        "the folder {} has a path of {bytes} bytes, sockets in it would be refused above {LONGEST_STATE}; name a shorter one with --state",
        .state.display()
    )]
    LongPath {
        /// The folder.
        state: PathBuf,
        /// Of its path.
        bytes: usize,
    },
    /// A name that is needed is somebody else's.
    #[error(
        "{}/{name} is there, and 'muster up' has not made it; nothing was done: name another folder with --state DIR",
        .state.display()
    )]
    Taken {
        /// The folder.
        state: PathBuf,
        /// What is in it.
        name: &'static str,
    },
    /// The cluster is somebody else's.
    #[error("the cluster in {} belongs to {user}; name a folder of your own with --state DIR, or ask {user}", .state.display())]
    AnotherUser {
        /// The folder.
        state: PathBuf,
        /// Whose it is.
        user: String,
    },
    /// Another `up` or `down`.
    #[error("another 'muster up' or 'muster down' is at work in {}; wait for it", .state.display())]
    AtWork {
        /// The folder.
        state: PathBuf,
    },
    /// A program of ours is not there.
    #[error("the program {name} is neither in {} nor in PATH; build or install all programs of Muster", .beside.display())]
    NoProgram {
        /// Which.
        name: &'static str,
        /// Where this program lies.
        beside: PathBuf,
    },
    /// A program cannot be started.
    #[error("{what} cannot be started")]
    NoStart {
        /// Which part.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A process ended while it was waited for.
    #[error("{what} ended at once ({status}); the end of {}:\n{tail}", .log.display())]
    Ended {
        /// Which part.
        what: String,
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s; see {}", .log.display())]
    Late {
        /// What did not happen.
        what: String,
        /// The deadline.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
    /// A process that cannot be stopped.
    #[error("process {pid} ({what}) cannot be stopped; it may belong to another user: let root run 'muster down --state {}'", .state.display())]
    NotStopped {
        /// Which part.
        what: String,
        /// Its number.
        pid: i32,
        /// The folder.
        state: PathBuf,
    },
    /// `--fresh` while it runs.
    #[error("the cluster in {} is up; 'muster down --purge' stops it and throws it away, then start anew", .state.display())]
    IsUp {
        /// The folder.
        state: PathBuf,
    },
    /// Nothing was ever started there.
    #[error("there is no cluster in {}; start one with 'muster up', or name its folder with --state", .state.display())]
    NoCluster {
        /// The folder.
        state: PathBuf,
    },
    /// No systemd.
    #[error(
        "systemd does not run on this machine, so there are no services; start the head node with 'muster up --nodes 0 --listen ADDRESS'"
    )]
    NoSystemd,
    /// Services are root's.
    #[error("only root installs services; type it with sudo, or see the unit with --print")]
    NotRoot,
    /// There is no such unit.
    #[error("there is no service of the head node to take away: {} is not there", .path.display())]
    NoService {
        /// Where it would be.
        path: PathBuf,
    },
    /// systemd said no.
    #[error("'systemctl {words}' failed: {said}")]
    Systemctl {
        /// What was asked.
        words: String,
        /// What it said.
        said: String,
    },
    /// The head node that was started said no, or went away.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl LocalError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::LongPath { .. } | Self::Taken { .. } => Exit::Usage,
            Self::AtWork { .. } => Exit::Busy,
            Self::IsUp { .. } => Exit::WrongState,
            Self::NoCluster { .. } | Self::NoService { .. } => Exit::NotFound,
            Self::NotRoot => Exit::Forbidden,
            Self::NotStopped { .. } | Self::AnotherUser { .. } => Exit::Forbidden,
            Self::Client(error) => error.exit(),
            Self::NoSystemd
            | Self::Systemctl { .. }
            | Self::Files { .. }
            | Self::NoProgram { .. }
            | Self::NoStart { .. }
            | Self::Ended { .. }
            | Self::Late { .. } => Exit::Failed,
        }
    }

    fn files<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Files {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// The folder of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// The folder, absolute and without links, so that the processes in it can be told by their command lines.
    pub(crate) fn at(path: &Path) -> Result<Self, LocalError> {
        let absolute = std::path::absolute(path).map_err(LocalError::files("finding", path))?;
        // What is not there yet has no links, what is above it may have some.
        let there = absolute.ancestors().find_map(|above| {
            let real = fs::canonicalize(above).ok()?;
            Some((real, absolute.strip_prefix(above).ok()?))
        });
        Ok(Self(match there {
            Some((real, rest)) if !rest.as_os_str().is_empty() => real.join(rest),
            Some((real, _)) => real,
            None => absolute,
        }))
    }

    /// The same, made if it is new, and marked as ours.
    ///
    /// # Errors
    /// When it cannot be ours. Nothing was made then.
    fn made(path: &Path) -> Result<Self, LocalError> {
        let state = Self::at(path)?;
        let bytes = state.0.as_os_str().len();
        if bytes > LONGEST_STATE {
            return Err(LocalError::LongPath { state: state.0, bytes });
        }
        state.check_free()?;
        state.check_owner(false)?;
        fs::create_dir_all(&state.0).map_err(LocalError::files("making the folder", &state.0))?;
        state.mark()?;
        for folder in [state.log_folder(), state.bin(), state.0.join("nodes")] {
            fs::create_dir_all(&folder).map_err(LocalError::files("making the folder", &folder))?;
        }
        Ok(state)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn head(&self) -> PathBuf {
        self.0.join("head")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("head/head.sock")
    }

    fn address_file(&self) -> PathBuf {
        self.0.join("head/head.addr")
    }

    fn node(&self, name: &str) -> PathBuf {
        self.0.join("nodes").join(name)
    }

    fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    fn log_folder(&self) -> PathBuf {
        self.0.join("log")
    }

    fn log(&self, what: &str) -> PathBuf {
        self.log_folder().join(format!("{what}.log"))
    }

    fn record(&self) -> PathBuf {
        self.0.join("up.json")
    }

    /// Only one `up` or `down` at a time.
    fn lock(&self) -> Result<Flock<File>, LocalError> {
        let path = self.0.join("up.lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(LocalError::files("opening", &path))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => LocalError::AtWork { state: self.0.clone() },
            other => LocalError::Files {
                doing: "locking",
                path,
                source: other.into(),
            },
        })
    }
}

/// The name of the node with this number, counted from 1.
fn node_name(number: u32) -> String {
    format!("node{number}")
}

/// The number in such a name.
fn node_number(name: &str) -> Option<u32> {
    name.strip_prefix("node")?.parse().ok()
}
