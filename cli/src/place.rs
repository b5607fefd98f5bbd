//! Where the cluster is: the head node's socket, or a log-in at another machine. Looks at files, asks nobody; the
//! surroundings come in as arguments.
//!
//! ```text
//!   --scheduler HOST[:PORT] ................. another machine: the log-in there
//!   --socket PATH ........................... that socket
//!   --state DIR ............................. head/head.sock in that folder
//!   MUSTER_SOCKET ........................... that socket
//!   MUSTER_SCHEDULER, CCP_SCHEDULER ......... another machine: the log-in there
//!   MUSTER_STATE, the usual place ........... head/head.sock in that folder, when it is there
//!   nothing of all that ..................... the newest log-in
//! ```
//!
//! An explicit word of this cluster beats `CCP_SCHEDULER`, which may be left over in a profile; `CCP_SCHEDULER` beats the
//! usual place, because a job must not land on another cluster in silence. On the head node's own machine the socket goes
//! before a log-in: there the kernel proves who asks.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::login::{Logins, Remote};
use crate::request::Globals;

/// The folder of a cluster that runs as a system service.
const SYSTEM: &str = "/var/lib/muster";

/// Where `muster-computenode join` puts a node of this machine unless it was told otherwise.
pub(crate) const NODE_FOLDER: &str = "/var/lib/muster-node";

/// What of this process and machine counts.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `MUSTER_SOCKET`
    pub socket: Option<PathBuf>,
    /// `MUSTER_STATE`
    pub state: Option<PathBuf>,
    /// `MUSTER_SCHEDULER`
    pub own_scheduler: Option<String>,
    /// `CCP_SCHEDULER`
    pub scheduler: Option<String>,
    /// `XDG_CONFIG_HOME`
    pub xdg_config: Option<PathBuf>,
    /// `XDG_STATE_HOME`
    pub xdg_state: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// Whether this is root.
    pub is_root: bool,
    /// This machine's name.
    pub hostname: String,
}

impl Surroundings {
    /// Of this process.
    #[must_use]
    pub fn read() -> Self {
        let path = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            socket: path("MUSTER_SOCKET"),
            state: path("MUSTER_STATE"),
            own_scheduler: text("MUSTER_SCHEDULER"),
            scheduler: text("CCP_SCHEDULER"),
            xdg_config: path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()),
            xdg_state: path("XDG_STATE_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
            is_root: nix::unistd::geteuid().is_root(),
            // Without a name nothing but localhost is this machine.
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .unwrap_or_default()
                .trim()
                .to_owned(),
        }
    }
}

/// Why the head node cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Another machine.
    #[error(
        "no credential for the cluster at {host} ({named_by}): have 'muster user token NAME' typed on the head node, then \
         type 'muster login {host} TOKEN' here"
    )]
    Remote {
        /// Its name.
        host: String,
        /// Who said so.
        named_by: &'static str,
    },
    /// No folder for state.
    #[error("no folder for the cluster's state: neither MUSTER_STATE nor HOME is set; name one with --state DIR")]
    NoState,
}

impl PlaceError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Remote { .. } => Exit::Forbidden,
            Self::NoState => Exit::Usage,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Target {
    /// The socket of a head node on this machine.
    Socket(PathBuf),
    /// A head node elsewhere, by a log-in.
    Remote(Remote),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl From<PathBuf> for Target {
    fn from(socket: PathBuf) -> Self {
        Self::Socket(socket)
    }
}

impl From<&PathBuf> for Target {
    fn from(socket: &PathBuf) -> Self {
        Self::Socket(socket.clone())
    }
}

impl From<&Path> for Target {
    fn from(socket: &Path) -> Self {
        Self::Socket(socket.to_owned())
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

/// Whom to ask.
///
/// # Errors
/// When the command line or the surroundings name a machine where nobody is logged in.
pub fn target(globals: &Globals, around: &Surroundings) -> Result<Target, PlaceError> {
    find(globals, around, &Logins::of(around), Path::exists)
}

fn find(
    globals: &Globals,
    around: &Surroundings,
    logins: &Logins,
    is_there: impl Fn(&Path) -> bool,
) -> Result<Target, PlaceError> {
    let named = [
        (&globals.scheduler, "--scheduler"),
        (&around.own_scheduler, "MUSTER_SCHEDULER"),
        (&around.scheduler, "CCP_SCHEDULER"),
    ];
    let nearer = globals.socket.is_some() || globals.state.is_some() || around.socket.is_some();
    for (scheduler, named_by) in named {
        let Some(host) = scheduler else { continue };
        if named_by != "--scheduler" && nearer {
            break;
        }
        if !is_here(host, &around.hostname) {
            let remote = logins.at(host).ok_or_else(|| PlaceError::Remote {
                host: host.clone(),
                named_by,
            })?;
            return Ok(Target::Remote(remote));
        }
        // A log-in at this machine's own name counts where its socket is not to be had, as within a container.
        let socket = own_socket(globals, around, &is_there)?;
        return match logins.at(host) {
            Some(remote) if !nearer && !is_there(&socket) => Ok(Target::Remote(remote)),
            _ => Ok(Target::Socket(socket)),
        };
    }
    let socket = own_socket(globals, around, &is_there)?;
    if nearer || around.state.is_some() || is_there(&socket) {
        return Ok(Target::Socket(socket));
    }
    Ok(logins.newest().map_or(Target::Socket(socket), Target::Remote))
}

/// The socket of the head node on this machine, there or not.
///
/// # Errors
/// When nothing says where it could be.
pub fn socket(globals: &Globals, around: &Surroundings) -> Result<PathBuf, PlaceError> {
    own_socket(globals, around, Path::exists)
}

fn own_socket(
    globals: &Globals,
    around: &Surroundings,
    is_there: impl Fn(&Path) -> bool,
) -> Result<PathBuf, PlaceError> {
    // The command line is nearer than the surroundings.
    if let Some(socket) = &globals.socket {
        return Ok(socket.clone());
    }
    if let Some(state) = &globals.state {
        return Ok(state.join("head/head.sock"));
    }
    if let Some(socket) = &around.socket {
        return Ok(socket.clone());
    }
    let own = state(globals, around)?;
    let folder = if around.state.is_some() || is_there(&own.join("head")) {
        own
    } else {
        PathBuf::from(SYSTEM)
    };
    Ok(folder.join("head/head.sock"))
}

/// The folder of this cluster's state, there or not.
///
/// # Errors
/// When nothing says where it could be.
pub fn state(globals: &Globals, around: &Surroundings) -> Result<PathBuf, PlaceError> {
    if let Some(state) = globals.state.as_ref().or(around.state.as_ref()) {
        return Ok(state.clone());
    }
    if around.is_root {
        return Ok(PathBuf::from(SYSTEM));
    }
    let base = around
        .xdg_state
        .clone()
        .or_else(|| around.home.as_ref().map(|home| home.join(".local/state")));
    base.map(|base| base.join("muster")).ok_or(PlaceError::NoState)
}

/// Whether a name, with or without a port, is this machine's.
fn is_here(host: &str, hostname: &str) -> bool {
    let bare = if host.starts_with('[') || host.matches(':').count() > 1 {
        host.trim_start_matches('[').split(']').next().unwrap_or(host)
    } else {
        host.split(':').next().unwrap_or(host)
    };
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    matches!(bare, "." | "::1")
        || bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse()
            .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
        || bare.eq_ignore_ascii_case(hostname)
        || (!hostname.is_empty() && !bare.contains('.') && short(bare) == short(hostname))
}

#[cfg(test)]
mod tests;
