//! Log-ins at head nodes elsewhere: a key of this host, and the certificate that a one-time token was turned into.
//!
//! ```text
//!   $XDG_CONFIG_HOME/muster/HOST_PORT/      or ~/.config/muster/HOST_PORT/, mode 0700
//!     user.key                              made here, never leaves, mode 0600
//!     user.crt                              the certificate, and the authority of the cluster
//!     login.json                            which cluster, as whom, since when: for people and for finding it again
//! ```
//!
//! What counts is the certificate; `login.json` proves nothing. A certificate is renewed silently by the first command
//! that is typed after two thirds of its life.

mod dial;
mod remembered;
mod token;

use std::io;
use std::path::PathBuf;

use proto::units::Timestamp;
use transport::identity::{IdentityError, TokenError};

use crate::exit::Exit;

pub(crate) use dial::{ahead, log_in};
pub use remembered::{Login, Logins, Remote};
pub(crate) use token::{is_token, read as read_token};

/// Where a head node listens when nobody says otherwise (UDP).
pub const DEFAULT_PORT: u16 = 8745;

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no home.
    #[error("no folder for log-ins: neither XDG_CONFIG_HOME nor HOME is set; set one of them")]
    NoFolder,
    /// No token where one is needed.
    #[error(
        "'muster login' needs the token that 'muster user token NAME' prints on the head node; give it as a word, as a file, or as - for standard input"
    )]
    NoToken,
    /// No head node is named.
    #[error("'muster login' needs the head node: muster login HOST[:PORT] [TOKEN]")]
    NoHost,
    /// The text is no token.
    #[error("that is no token for a log-in")]
    Token(#[source] TokenError),
    /// The head node said no.
    #[error("the head node at {host} refused the log-in: {reason}")]
    Refused {
        /// Where.
        host: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The head node said something else, or nothing.
    #[error("the head node at {host} did not answer the log-in; it may be of another release")]
    NoReply {
        /// Where.
        host: String,
    },
    /// The certificate's time is over.
    #[error(
        "your log-in at {host} ended {ago}; have 'muster user token NAME' typed on the head node, then type 'muster login {host} TOKEN' here"
    )]
    Ended {
        /// Where.
        host: String,
        /// How long ago, for people.
        ago: String,
    },
    /// What is in the folder cannot be used.
    #[error("the log-in in {} cannot be used; 'muster logout' takes it away, 'muster login HOST TOKEN' makes a new one", .folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: IdentityError,
    },
    /// A key or certificate cannot be made or kept.
    #[error("no credential can be made")]
    Identity(#[from] IdentityError),
    /// Nobody is logged in there.
    #[error("you are not logged in{}; 'muster whoami' shows who you are", .host.as_ref().map(|host| format!(" to {host}")).unwrap_or_default())]
    NotLoggedIn {
        /// Where; none for anywhere.
        host: Option<String>,
    },
    /// A host that is none.
    #[error("'{text}' is no head node; write HOST or HOST:PORT, for example head.site:8745")]
    NotAHost {
        /// As given.
        text: String,
    },
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
}

impl LoginError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::NoFolder | Self::NoToken | Self::NoHost | Self::Token(_) | Self::NotAHost { .. } => Exit::Usage,
            Self::Refused { .. } | Self::Ended { .. } | Self::Damaged { .. } => Exit::Forbidden,
            Self::NoReply { .. } => Exit::Unreachable,
            Self::NotLoggedIn { .. } => Exit::NotFound,
            Self::Identity(_) | Self::Files { .. } => Exit::Failed,
        }
    }
}

/// What a log-in gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Where, as whom.
    pub login: Login,
    /// When the certificate ends.
    pub expires_at: Timestamp,
    /// How far this machine's clock is ahead of the head node's, in milliseconds.
    pub clock_ahead_ms: i64,
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! Log-ins without a head node.

    use super::*;
    use proto::model::owner::Role;

    /// Writes down a log-in that has no key.
    pub(crate) fn remember(logins: &Logins, host: &str, port: u16, at: u64) {
        let remote = logins.place(host, port).expect("a folder for log-ins");
        let login = Login {
            head: remote.to_string(),
            cluster: "c".to_owned(),
            user: "alice".to_owned(),
            role: Role::User,
            authority: String::new(),
            logged_in_at: Timestamp(at),
        };
        remote.make_folder().expect("makes the folder");
        remote.remember(&login).expect("writes it down");
    }
}

#[cfg(test)]
mod tests;
