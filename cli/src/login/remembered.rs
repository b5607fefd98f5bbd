//! The folders of log-ins: found by host, or the newest. Nothing here connects.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proto::model::owner::Role;
use proto::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_PORT, LoginError};
use crate::place::Surroundings;

const RECORD: &str = "login.json";

/// More log-ins than anybody has; a folder with more entries is not searched further.
const MOST: usize = 1000;

/// What is written down of a log-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// HOST:PORT of the head node.
    pub head: String,
    /// The cluster's name.
    pub cluster: String,
    /// As whom.
    pub user: String,
    /// What they could do when they logged in; the head node decides anew at every request.
    pub role: Role,
    /// SHA-256 of the cluster authority's certificate, hex.
    pub authority: String,
    /// When.
    pub logged_in_at: Timestamp,
}

/// All log-ins of this account.
#[derive(Debug, Clone)]
pub struct Logins {
    folder: Option<PathBuf>,
}

/// A log-in at a head node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// Where key and certificate lie.
    pub folder: PathBuf,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(&self.host, self.port, f)
    }
}

fn write_address(host: &str, port: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare V6 address.
pub(super) fn split(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None if text.matches(':').count() > 1 => (text, ""),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_host = !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%'));
    let port = match port {
        "" => None,
        port => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

impl Logins {
    /// Of the account in these surroundings.
    #[must_use]
    pub fn of(around: &Surroundings) -> Self {
        let base = around
            .xdg_config
            .clone()
            .or_else(|| around.home.as_ref().map(|home| home.join(".config")));
        Self {
            folder: base.map(|base| base.join("muster")),
        }
    }

    /// The log-in at that host; without a port the newest one there.
    #[must_use]
    pub fn at(&self, host: &str) -> Option<Remote> {
        let (host, port) = split(host)?;
        let fits = |remote: &Remote| remote.host == host && port.is_none_or(|port| port == remote.port);
        self.all().into_iter().map(|(_, remote)| remote).find(fits)
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<Remote> {
        self.all().into_iter().next().map(|(_, remote)| remote)
    }

    /// Where the log-in at that host is, or will be.
    ///
    /// # Errors
    /// [`LoginError::NoFolder`].
    pub fn place(&self, host: &str, port: u16) -> Result<Remote, LoginError> {
        let folder = self.folder.as_ref().ok_or(LoginError::NoFolder)?;
        let name = host.replace([':', '%'], "-");
        Ok(Remote {
            host: host.to_owned(),
            port,
            folder: folder.join(format!("{name}_{port}")),
        })
    }

    /// The same for `HOST` or `HOST:PORT`.
    ///
    /// # Errors
    /// [`LoginError::NotAHost`].
    pub fn place_of(&self, text: &str) -> Result<Remote, LoginError> {
        let (host, port) = split(text).ok_or_else(|| LoginError::NotAHost { text: text.to_owned() })?;
        self.place(&host, port.unwrap_or(DEFAULT_PORT))
    }

    /// All, newest first. A folder without a readable record is none.
    #[must_use]
    pub fn all(&self) -> Vec<(Login, Remote)> {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else {
            return Vec::new();
        };
        let mut all: Vec<(Login, Remote)> = entries
            .take(MOST)
            .filter_map(|entry| of_folder(&entry.ok()?.path()))
            .collect();
        all.sort_by(|(a, one), (b, other)| (b.logged_in_at, &other.folder).cmp(&(a.logged_in_at, &one.folder)));
        all
    }
}

fn of_folder(folder: &Path) -> Option<(Login, Remote)> {
    let text = fs::read_to_string(folder.join(RECORD)).ok()?;
    let login: Login = serde_json::from_str(&text).ok()?;
    let (host, port) = split(&login.head)?;
    let remote = Remote {
        host,
        port: port.unwrap_or(DEFAULT_PORT),
        folder: folder.to_owned(),
    };
    Some((login, remote))
}

impl Remote {
    /// What was written down when they logged in.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        of_folder(&self.folder).map(|(login, _)| login)
    }

    /// Makes the folder, closed to others.
    pub(crate) fn make_folder(&self) -> Result<(), LoginError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        // One that was there before may be open.
        let closed = made.and_then(|()| fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)));
        closed.map_err(self.files("making the folder", &self.folder))
    }

    pub(crate) fn remember(&self, login: &Login) -> Result<(), LoginError> {
        let path = self.folder.join(RECORD);
        let new = self.folder.join(".login.json.new");
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec_pretty(login)?;
            text.push(b'\n');
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            io::Write::write_all(&mut file, &text)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(self.files("writing", &path))
    }

    /// Throws the key, the certificate and the record away, and nothing else.
    pub(crate) fn forget(&self) -> Result<(), LoginError> {
        for name in [
            "user.key",
            "user.crt",
            RECORD,
            ".login.json.new",
            ".user.key.new",
            ".user.crt.new",
        ] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.files("removing", &path)(error));
                }
                _ => {}
            }
        }
        // Somebody else's files in it keep the folder.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    fn files<'a>(&self, doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LoginError + use<'a> {
        move |source| LoginError::Files {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_people_write_them() {
        let host = |text: &str| split(text).map(|(host, port)| (host, port.unwrap_or(0)));
        let is = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(host("Head.Site"), is("head.site", 0));
        assert_eq!(host("head:9000"), is("head", 9000));
        assert_eq!(host("10.0.0.1"), is("10.0.0.1", 0));
        assert_eq!(host("::1"), is("::1", 0));
        assert_eq!(host("[2001:db8::1]:7"), is("2001:db8::1", 7));
        assert_eq!(host("[::1]"), is("::1", 0));
        for wrong in [
            "",
            ":1",
            "head:x",
            "head:0",
            "head:70000",
            "a b",
            "../x",
            "[::1",
            "[::1]x",
        ] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
        let remote = Remote {
            host: "::1".to_owned(),
            port: 7,
            folder: "/x".into(),
        };
        assert_eq!(remote.to_string(), "[::1]:7");
    }

    #[test]
    fn a_log_in_is_closed_to_others_and_can_be_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let around = Surroundings {
            xdg_config: Some(folder.path().to_owned()),
            ..Surroundings::default()
        };
        let logins = Logins::of(&around);
        assert!(logins.newest().is_none());
        super::super::tests_support::remember(&logins, "head", 1, 9);
        let remote = logins.at("HEAD").expect("is there");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(
            (mode(&remote.folder), mode(&remote.folder.join(RECORD))),
            (0o700, 0o600)
        );
        assert_eq!(remote.login().map(|login| login.user), Some("alice".to_owned()));
        remote.forget().expect("forgets");
        assert!(logins.at("head").is_none() && !remote.folder.exists());
    }
}
