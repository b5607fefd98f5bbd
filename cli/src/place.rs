//! Where the cluster is: the head node's socket and the state folder. Pure; the surroundings come in as arguments.
//!
//! ```text
//!   --scheduler HOST ........................ another machine: refused, there is no remote login yet
//!   --socket PATH ........................... that socket
//!   --state DIR ............................. head/head.sock in that folder
//!   MUSTER_SOCKET ........................... that socket
//!   CCP_SCHEDULER names another machine ..... refused
//!   MUSTER_STATE, the usual place ........... head/head.sock in that folder
//! ```
//!
//! An explicit word of this cluster beats `CCP_SCHEDULER`, which may be left over in a profile; `CCP_SCHEDULER` beats the
//! usual place, because a job must not land on another cluster in silence.

use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::request::Globals;

/// The folder of a cluster that runs as a system service.
const SYSTEM: &str = "/var/lib/muster";

/// What of this process and machine counts.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `MUSTER_SOCKET`
    pub socket: Option<PathBuf>,
    /// `MUSTER_STATE`
    pub state: Option<PathBuf>,
    /// `CCP_SCHEDULER`
    pub scheduler: Option<String>,
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
        Self {
            socket: path("MUSTER_SOCKET"),
            state: path("MUSTER_STATE"),
            scheduler: std::env::var("CCP_SCHEDULER").ok().filter(|value| !value.is_empty()),
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
        "no credential for the cluster at {host} ({named_by}): run this on the head node; remote login comes with `muster login`"
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

/// The head node's socket. `is_there` tells whether a folder exists.
///
/// # Errors
/// When the command line or the surroundings name another machine.
pub fn socket(
    globals: &Globals,
    around: &Surroundings,
    is_there: impl Fn(&Path) -> bool,
) -> Result<PathBuf, PlaceError> {
    if let Some(host) = &globals.scheduler {
        local_only(host, "--scheduler", &around.hostname)?;
    }
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
    if let (None, Some(host)) = (&globals.scheduler, &around.scheduler) {
        local_only(host, "CCP_SCHEDULER", &around.hostname)?;
    }
    let own = state(globals, around)?;
    let folder = if around.state.is_some() || is_there(&own) {
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

fn local_only(host: &str, named_by: &'static str, hostname: &str) -> Result<(), PlaceError> {
    let bare = if host.starts_with('[') || host.matches(':').count() > 1 {
        host.trim_start_matches('[').split(']').next().unwrap_or(host)
    } else {
        host.split(':').next().unwrap_or(host)
    };
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let is_here = matches!(bare, "." | "::1")
        || bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse()
            .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
        || bare.eq_ignore_ascii_case(hostname)
        || (!hostname.is_empty() && !bare.contains('.') && short(bare) == short(hostname));
    if is_here {
        Ok(())
    } else {
        Err(PlaceError::Remote {
            host: host.to_owned(),
            named_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            home: Some("/home/a".into()),
            hostname: "head1.lab".to_owned(),
            ..Surroundings::default()
        }
    }

    fn found(globals: &Globals, around: &Surroundings) -> PathBuf {
        socket(globals, around, |_| true).expect("a place")
    }

    #[test]
    fn the_nearest_word_counts() {
        let mut globals = Globals::default();
        let mut around = around();
        assert_eq!(
            found(&globals, &around),
            Path::new("/home/a/.local/state/muster/head/head.sock")
        );
        around.xdg_state = Some("/x".into());
        assert_eq!(found(&globals, &around), Path::new("/x/muster/head/head.sock"));
        assert_eq!(
            socket(&globals, &around, |_| false),
            Ok("/var/lib/muster/head/head.sock".into())
        );
        around.state = Some("/s".into());
        assert_eq!(socket(&globals, &around, |_| false), Ok("/s/head/head.sock".into()));
        around.socket = Some("/sock".into());
        assert_eq!(found(&globals, &around), Path::new("/sock"));
        globals.socket = Some("/other".into());
        assert_eq!(found(&globals, &around), Path::new("/other"));
        let root = Surroundings {
            is_root: true,
            ..Surroundings::default()
        };
        assert_eq!(
            found(&Globals::default(), &root),
            Path::new("/var/lib/muster/head/head.sock")
        );
        assert_eq!(
            state(&Globals::default(), &Surroundings::default()),
            Err(PlaceError::NoState)
        );
    }

    #[test]
    fn another_machine_needs_a_credential() {
        let scheduler = |host: &str| Globals {
            scheduler: Some(host.to_owned()),
            ..Globals::default()
        };
        for here in [
            "localhost",
            "127.0.0.1",
            "127.0.0.1:8745",
            "::1",
            "[::1]:8745",
            "HEAD1",
            "head1.lab",
            "Head1.lab:1",
        ] {
            assert!(socket(&scheduler(here), &around(), |_| true).is_ok(), "{here}");
        }
        for far in ["far.example", "head1.other", "10.0.0.1", "2001:db8::1"] {
            let error = socket(&scheduler(far), &around(), |_| true).expect_err(far);
            assert_eq!(error.exit(), Exit::Forbidden);
            assert!(error.to_string().contains("no credential for the cluster at") && error.to_string().contains(far));
        }
    }

    #[test]
    fn a_profile_is_heard_unless_something_nearer_speaks() {
        let mut around = Surroundings {
            scheduler: Some("far.example".to_owned()),
            ..around()
        };
        assert!(socket(&Globals::default(), &around, |_| true).is_err());
        let here = Globals {
            scheduler: Some("localhost".to_owned()),
            ..Globals::default()
        };
        assert!(socket(&here, &around, |_| true).is_ok());
        let folder = Globals {
            state: Some("/s".into()),
            ..Globals::default()
        };
        assert_eq!(found(&folder, &around), Path::new("/s/head/head.sock"));
        around.socket = Some("/sock".into());
        assert!(socket(&Globals::default(), &around, |_| true).is_ok());
        assert_eq!(found(&folder, &around), Path::new("/s/head/head.sock"));
    }
}
