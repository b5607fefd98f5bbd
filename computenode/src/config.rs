//! Settings of an agent: flags and a file, read to plain values first and then checked into working ones.
//!
//! Without `--config` the file is `node.toml` in the node's folder, where joining put it; so an agent of a node that has
//! joined needs nothing but the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::ids::{DomainName, GroupName, NodeName, ResourceName};
use serde::{Deserialize, Serialize};
use transport::identity::{JoinToken, TokenError};

use crate::directory::settings_in;
use crate::labels::{LabelFlags, Labels};
use transport::port_range::{PortRange, PortRangeError};

/// The UDP port of the head node when only its name is given.
const DEFAULT_HEAD_PORT: u16 = 8745;

/// How long one dial may take. QUIC asks again after 1 and 3 s, and then only after 7: a new dial is sooner.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);

/// The flags of `muster-computenode agent`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// The node's folder: key, task folders, exit records.
    #[arg(long)]
    pub dir: PathBuf,
    /// The node's name in the cluster.
    #[arg(long)]
    pub name: Option<String>,
    /// Where the head node listens, HOST or HOST:PORT.
    #[arg(long)]
    pub head: Option<String>,
    /// This node's address towards head and peers; default: the one that the system chooses towards the head.
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// The join token, for the first start only.
    #[arg(long, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with the join token; keeps it out of the process list.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// The head node's own socket, where that is on this machine: tasks find their cluster by it.
    #[arg(long)]
    pub head_socket: Option<PathBuf>,
    /// How many cores tasks may use; default: all that this process may use.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub cores: Option<u32>,
    /// The UDP port where agents of other nodes reach this one; default: any free one, and the same one again.
    #[arg(long)]
    pub peer_port: Option<u16>,
    /// UDP ports for the proxies and ranks of tasks, FIRST-LAST; default: any free ones.
    #[arg(long)]
    pub ports: Option<PortRange>,
    /// What the node has and how it is described.
    #[command(flatten)]
    pub labels: LabelFlags,
    /// A file of settings; flags win over it. Default: node.toml in the node's folder, where there is one.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Wait for a spawner that somebody else starts, as its systemd unit does; never start one.
    #[arg(long)]
    pub await_spawner: bool,
    /// Leave the terminal and its session.
    #[arg(long, hide = true)]
    pub background: bool,
}

/// A file of settings, as written. A field that is not there has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// As `--name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As `--head`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// As `--address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// As `--head-socket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_socket: Option<PathBuf>,
    /// As `--cores`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// As `--token-file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// As `--peer-port`; 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// As `--ports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// As `--tag`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<GroupName>,
    /// As `--domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// What tasks may do.
    pub tasks: TaskRules,
    /// As `--resource`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<ResourceName, u32>,
    /// How the node starts anew.
    #[serde(skip_serializing_if = "RestartRules::is_default")]
    pub restart: RestartRules,
}

/// How the node starts anew, as command lines for a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartRules {
    /// For `node reboot`; none means `systemctl reboot` where the node is a service that runs as root, else nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot: Option<String>,
    /// For `node reimage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reimage: Option<String>,
}

impl RestartRules {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who starts the processes of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The units of a service: the machine is the node.
    Service,
    /// Somebody; several nodes may share a machine so.
    ByHand,
}

/// What tasks may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskRules {
    /// Whether set-user-id programs work in tasks.
    pub new_privileges: bool,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{what} {path} cannot be read")]
    Unreadable {
        /// Which kind of file.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no settings file.
    #[error("the settings file {path} is wrong")]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A flag is neither given nor in the file.
    #[error("--{flag} is missing: {example}")]
    Missing {
        /// Which.
        flag: &'static str,
        /// What to type.
        example: &'static str,
    },
    /// The name is none.
    #[error("--name")]
    Name(#[from] proto::ids::IdError),
    /// The ports are none.
    #[error("--ports")]
    Ports(#[from] PortRangeError),
    /// The token is none.
    #[error("the join token is unusable; make one on the head node with 'muster node join-command'")]
    Token(#[from] TokenError),
    /// The head's address is none.
    #[error("--head {text}: no such host or address; write HOST or HOST:PORT, for example head.site:8745")]
    Head {
        /// What was given.
        text: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's folder.
    pub dir: PathBuf,
    /// Its name.
    pub name: NodeName,
    /// Where the head node is, as written; looked up at each dial, because it may move.
    pub head: String,
    /// This node's address, when not the one that the system chooses.
    pub address: Option<IpAddr>,
    /// The head node's own socket on this machine, absolute; tasks are told.
    pub head_socket: Option<PathBuf>,
    /// For the first start.
    pub token: Option<JoinToken>,
    /// How many cores tasks may use.
    pub cores: Option<u32>,
    /// Where agents of other nodes reach this one; none means any free port.
    pub peer_port: Option<u16>,
    /// For the proxies and ranks of tasks; none means any free ports.
    pub ports: Option<PortRange>,
    /// Whether the spawner is somebody else's to start.
    pub await_spawner: bool,
    /// What tasks may do.
    pub tasks: TaskRules,
    /// What the node has and how it is described.
    pub labels: Labels,
    /// How the node starts anew.
    pub restart: RestartRules,
    /// The file of settings, also where there is none yet; for messages.
    pub settings: PathBuf,
    /// How long one dial may take.
    pub dial_deadline: Duration,
}

impl Config {
    /// Who starts the processes of the node.
    #[must_use]
    pub const fn start(&self) -> Start {
        if self.await_spawner {
            Start::Service
        } else {
            Start::ByHand
        }
    }
}

impl Flags {
    /// Reads the file and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`], naming the flag or the file.
    pub fn checked(self) -> Result<Config, ConfigError> {
        let own = settings_in(&self.dir);
        let file = match &self.config {
            Some(path) => read_settings(path)?,
            None if own.exists() => read_settings(&own)?,
            None => File::default(),
        };
        let example = "give this node's name, for example --name node1";
        let name = self
            .name
            .or(file.name)
            .ok_or(ConfigError::Missing { flag: "name", example })?;
        let example = "say where the head node listens, for example --head head.site:8745";
        let head = self
            .head
            .or(file.head)
            .ok_or(ConfigError::Missing { flag: "head", example })?;
        let token = match (self.token, self.token_file.or(file.token_file)) {
            (Some(text), _) => Some(text),
            (None, Some(path)) => read_token(&path)?,
            (None, None) => None,
        };
        // Tasks do not start where this process did. Fails for an empty path only, which is none.
        let head_socket = self.head_socket.or(file.head_socket);
        let head_socket = head_socket.and_then(|path| std::path::absolute(path).ok());
        Ok(Config {
            dir: self.dir,
            name: NodeName::new(&name)?,
            head: with_port(head),
            address: self.address.or(file.address),
            head_socket,
            token: token.map(|text| text.trim().parse()).transpose()?,
            cores: self.cores.or(file.cores).map(|cores| cores.max(1)),
            peer_port: self.peer_port.or(file.peer_port).filter(|port| *port > 0),
            ports: self.ports.or(file.ports),
            await_spawner: self.await_spawner,
            tasks: file.tasks,
            labels: self.labels.over(Labels {
                resources: file.resources,
                tags: file.tags,
                domain: file.domain,
            }),
            restart: file.restart,
            settings: self.config.unwrap_or(own),
            dial_deadline: DIAL_DEADLINE,
        })
    }
}

/// Looks a head's address up. Blocks while a name server is asked.
///
/// # Errors
/// [`ConfigError::Head`], naming the text.
pub fn resolve(head: &str) -> Result<SocketAddr, ConfigError> {
    let failed = |source| ConfigError::Head {
        text: head.to_owned(),
        source,
    };
    let mut found = head.to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

/// A head node as it was written, with the usual port when it has none.
pub(crate) fn with_port(head: String) -> String {
    let bare_v6 = head.parse::<std::net::Ipv6Addr>().is_ok();
    match head.rsplit_once(':') {
        _ if bare_v6 => format!("[{head}]:{DEFAULT_HEAD_PORT}"),
        Some((_, port)) if port.parse::<u16>().is_ok() => head,
        _ => format!("{head}:{DEFAULT_HEAD_PORT}"),
    }
}

/// Reads a file of settings.
///
/// # Errors
/// [`ConfigError`], naming the file.
pub fn read_settings(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        what: "the settings file",
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Wrong {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// A token file that was taken away after the first start is as good as none: the certificate counts then, and without
/// one the error says that a token is needed.
fn read_token(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable {
            what: "the token file",
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_folder(dir: &str) -> Flags {
        Flags {
            dir: PathBuf::from(dir),
            name: None,
            head: None,
            address: None,
            head_socket: None,
            token: None,
            token_file: None,
            cores: None,
            peer_port: None,
            ports: None,
            labels: LabelFlags::default(),
            config: None,
            await_spawner: false,
            background: false,
        }
    }

    #[test]
    fn a_folder_with_settings_needs_no_flags_and_flags_win() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File {
            name: Some("n7".to_owned()),
            head: Some("head".to_owned()),
            peer_port: Some(41_000),
            ports: Some("41001-41999".parse().expect("a range")),
            ..File::default()
        };
        let text = toml::to_string(&file).expect("is written");
        std::fs::write(settings_in(folder.path()), &text).expect("writes");
        let flags = of_folder(folder.path().to_str().expect("text"));
        let config = flags.clone().checked().expect("all is there");
        assert_eq!(
            (config.name.as_str(), config.head.as_str()),
            ("n7", "head:8745"),
            "{text}"
        );
        assert_eq!((config.peer_port, config.ports), (Some(41_000), file.ports));
        let flags = Flags {
            name: Some("n8".to_owned()),
            peer_port: Some(0),
            ..flags
        };
        let config = flags.checked().expect("all is there");
        assert_eq!((config.name.as_str(), config.peer_port), ("n8", None));
    }

    #[test]
    fn the_sample_parses() {
        let sample = include_str!("../../configs/computenode.toml");
        let file: File = toml::from_str(sample).expect("parses");
        assert_eq!(file.tasks, TaskRules::default());
        assert!(file.name.is_some() && file.head.is_some());
        assert_eq!(file.restart, RestartRules::default());
        // With the examples in it put into force, it is right too.
        let examples: String = sample
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
            })
            .map(|example| format!("{}\n", example.unwrap_or_default()))
            .collect();
        let file: File = toml::from_str(&examples).unwrap_or_else(|error| panic!("{error}\n{examples}"));
        assert!(
            file.restart.reboot.is_some() && file.restart.reimage.is_some(),
            "{examples}"
        );
        assert!(file.resources.len() == 1 && !file.tags.is_empty() && file.domain.is_some());
    }

    #[test]
    fn resources_tags_and_domain_come_from_the_file_or_from_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = settings_in(folder.path());
        let write = |more: &str| {
            let text = format!("name = \"n1\"\nhead = \"head\"\n{more}");
            std::fs::write(&path, text).expect("writes");
        };
        write("tags = [\"ssd\"]\ndomain = \"rack1\"\n[resources]\ngpu = 2\n[restart]\nreboot = \"true\"\n");
        let flags = of_folder(folder.path().to_str().expect("text"));
        let config = flags.clone().checked().expect("all is there");
        let gpu = |count| BTreeMap::from([(ResourceName::new("gpu").expect("a name"), count)]);
        assert_eq!(config.labels.resources, gpu(2));
        assert_eq!(config.labels.domain.as_ref().map(DomainName::as_str), Some("rack1"));
        assert_eq!(
            (config.restart.reboot.as_deref(), &config.settings),
            (Some("true"), &path)
        );
        let labels = LabelFlags {
            resources: gpu(4).into_iter().collect(),
            ..LabelFlags::default()
        };
        let over = Flags {
            labels,
            ..flags.clone()
        };
        let over = over.checked().expect("all is there").labels;
        assert_eq!((over.resources, over.tags), (gpu(4), config.labels.tags));
        for (wrong, key) in [
            ("[resources]\n\"a b\" = 1\n", "a b"),
            ("[resources]\ngpu = -1\n", "gpu = -1"),
            ("tags = [\"?\"]\n", "tags = "),
            ("domain = \"\"\n", "domain = "),
            ("[restart]\nrebot = \"x\"\n", "rebot"),
        ] {
            write(wrong);
            let error = format!("{:#}", anyhow::Error::new(flags.clone().checked().expect_err(wrong)));
            assert!(error.contains("node.toml") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_head_without_a_port_gets_the_usual_one() {
        assert_eq!(with_port("head".to_owned()), "head:8745");
        assert_eq!(with_port("head:1".to_owned()), "head:1");
        assert_eq!(with_port("fd00::1".to_owned()), "[fd00::1]:8745");
        assert_eq!(with_port("[fd00::1]:9".to_owned()), "[fd00::1]:9");
    }

    #[test]
    fn what_is_missing_is_named_with_an_example() {
        let flags = Flags {
            head_socket: Some(PathBuf::from("head/head.sock")),
            ..of_folder("/d")
        };
        let text = flags.clone().checked().expect_err("no name").to_string();
        assert!(text.contains("--name is missing"), "{text}");
        let full = Flags {
            name: Some("n1".to_owned()),
            head: Some("head".to_owned()),
            ..flags.clone()
        };
        let socket = full.checked().expect("all is there").head_socket.expect("given");
        assert!(socket.is_absolute() && socket.ends_with("head/head.sock"), "{socket:?}");
        let text = Flags {
            name: Some("n1".to_owned()),
            ..flags
        }
        .checked()
        .expect_err("no head")
        .to_string();
        assert!(text.contains("--head head.site:8745"), "{text}");
    }
}
