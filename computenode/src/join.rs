//! `muster-computenode join`: the one line that an administrator pastes on a host.
//!
//! Each step says one line. It can be repeated: a host that has joined stays what it is, and what does not run is
//! started. Nothing that belongs to another cluster, or to somebody else, is overwritten.

mod folder;
mod words;

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use transport::identity::{Fingerprint, JoinToken};

use crate::config::{self, Config, ConfigError, File, read_settings, with_port};
use crate::directory::{NodeDirectory, settings_in};
use crate::inventory;
use crate::labels::{LabelFlags, Labels};
use crate::link::{Joined, Link, is_passing};
use crate::running::{LOOK_PAUSE, agent, is_welcome};
use crate::service::{self, Minder};
use folder::{Before, clean_up, look, open, write_settings};
use transport::port_range::PortRange;
pub(crate) use words::dir_flag;
use words::{clock_difference, describe, last_words, logs};

/// Where a node's folder is when nobody says otherwise.
pub const DEFAULT_FOLDER: &str = "/var/lib/muster-node";

/// How long a head node that does not answer is tried.
const JOIN_DEADLINE: Duration = Duration::from_secs(20);

/// Between two tries.
const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// How long the agent may take until the head node has welcomed it.
const WELCOME_DEADLINE: Duration = Duration::from_secs(40);

/// The most bytes of a token that is read from somewhere.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The flags of `muster-computenode join`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Where the head node listens, HOST or HOST:PORT.
    #[arg(long)]
    pub head: String,
    /// The join token; others on this host can see it in the process list while this runs.
    #[arg(long, conflicts_with_all = ["token_file", "from_input"])]
    pub token: Option<String>,
    /// A file with the join token.
    #[arg(long, conflicts_with = "from_input")]
    pub token_file: Option<PathBuf>,
    /// Reads the join token from the standard input.
    #[arg(value_name = "-", value_parser = ["-"])]
    pub from_input: Option<String>,
    /// The node's name in the cluster; default: this host's name up to the first dot.
    #[arg(long)]
    pub name: Option<String>,
    /// The node's folder.
    #[arg(long, default_value = DEFAULT_FOLDER)]
    pub dir: PathBuf,
    /// This node's address towards head and peers; default: the one that the system chooses towards the head.
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// How many cores tasks may use; default: all.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub cores: Option<u32>,
    /// The UDP port where agents of other nodes reach this one; default: any free one.
    #[arg(long)]
    pub peer_port: Option<u16>,
    /// UDP ports for the proxies and ranks of tasks, FIRST-LAST; default: any free ones.
    #[arg(long)]
    pub ports: Option<PortRange>,
    /// What the node has and how it is described.
    #[command(flatten)]
    pub labels: LabelFlags,
    /// Do not install systemd units, start in the background instead.
    #[arg(long)]
    pub no_service: bool,
}

/// The cluster that a folder's node joined, for people; what counts is the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) cluster: String,
    pub(crate) node: u32,
    pub(crate) pool: String,
    pub(crate) groups: Vec<String>,
}

impl Membership {
    fn of(joined: &Joined) -> Self {
        Self {
            cluster: joined.cluster.clone(),
            node: joined.member.node.0,
            pool: joined.pool.to_string(),
            groups: joined.groups.iter().map(ToString::to_string).collect(),
        }
    }

    /// What an earlier join wrote; none where that is not known any more.
    pub(crate) fn read(directory: &NodeDirectory) -> Option<Self> {
        toml::from_str(&std::fs::read_to_string(directory.joined()).ok()?).ok()
    }

    fn groups(&self) -> String {
        match &self.groups[..] {
            [] => "no groups".to_owned(),
            groups => format!("groups {}", groups.join(" ")),
        }
    }
}

/// Joins, starts the node, and waits until the head node has taken it in.
///
/// # Errors
/// Says what is wrong and what to type; [`ConfigError`] for what was typed wrong.
pub fn run(flags: &Flags, out: &mut dyn Write) -> anyhow::Result<()> {
    let token = flags.token()?;
    let file = flags.settings()?;
    let before = look(&flags.dir)?;
    umask(Mode::from_bits_truncate(0o077));
    let mut host = Host {
        flags,
        file,
        token,
        out,
    };
    host.say_host()?;
    match before {
        Before::Free => host.join_anew()?,
        Before::Removed { reason } => {
            host.say(
                "removed",
                &format!("it was taken out of its cluster ({reason}); joining anew"),
            )?;
            host.forget_membership()?;
            host.join_anew()?;
        }
        Before::Joined { authority } => host.joined_already(authority)?,
    }
    if host.start()? == Started::Removed {
        host.say("removed", "the head node has taken it out of the cluster; joining anew")?;
        host.forget_membership()?;
        host.join_anew()?;
        if host.start()? == Started::Removed {
            bail!("the head node takes this node out of the cluster as soon as it has joined; look at its log");
        }
    }
    host.say_summary()
}

/// Whether the agent came to be welcome.
#[derive(PartialEq, Eq)]
enum Started {
    Welcome,
    Removed,
}

struct Host<'a> {
    flags: &'a Flags,
    file: File,
    token: Option<JoinToken>,
    out: &'a mut dyn Write,
}

impl Host<'_> {
    /// One step, one line.
    fn say(&mut self, step: &str, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{step:<9} {text}")?)
    }

    fn say_host(&mut self) -> anyhow::Result<()> {
        let name = self.file.name.clone().unwrap_or_default();
        let found = describe(&inventory::take(self.file.cores, &Labels::default()));
        let whose = if geteuid().is_root() {
            "tasks run as their owners"
        } else {
            "not root: all tasks run as you"
        };
        self.say("host", &format!("{name}: {found}; {whose}"))
    }

    fn join_anew(&mut self) -> anyhow::Result<()> {
        let Some(token) = self.token.clone() else {
            bail!(
                "a join token is needed: type 'muster node join-command' on the head node and paste here what it prints, or \
                 give --token TOKEN, --token-file FILE, or - to read it from the standard input"
            );
        };
        let new = !self.flags.dir.exists();
        let directory = open(&self.flags.dir)?;
        let settings = settings_in(directory.path());
        write_settings(&settings, &self.file)?;
        let joined = match self.enroll(&token, &directory) {
            Ok(joined) => joined,
            Err(error) => {
                clean_up(directory.path(), &settings, new);
                return Err(error);
            }
        };
        let membership = Membership::of(&joined);
        let text = toml::to_string(&membership)?;
        std::fs::write(directory.joined(), text).context("writing joined.toml")?;
        let clock = clock_difference(joined.clock_ahead_ms);
        let text = format!(
            "cluster '{}' as node {}, pool {}, {}; {clock}",
            membership.cluster,
            membership.node,
            membership.pool,
            membership.groups()
        );
        self.say("joined", &text)?;
        self.say("settings", &settings.display().to_string())
    }

    fn enroll(&mut self, token: &JoinToken, directory: &NodeDirectory) -> anyhow::Result<Joined> {
        let config = self.config()?;
        let address = config::resolve(&config.head)?;
        self.say("head", &format!("{address} (UDP)"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let joined = runtime.block_on(enroll(config, token, directory.path()));
        // A name server that hangs must not hold up the end.
        runtime.shutdown_background();
        joined
    }

    fn config(&self) -> Result<Config, ConfigError> {
        config::Flags {
            dir: self.flags.dir.clone(),
            name: self.file.name.clone(),
            head: self.file.head.clone(),
            address: self.file.address,
            token: None,
            token_file: None,
            head_socket: None,
            cores: self.file.cores,
            peer_port: self.file.peer_port,
            ports: self.file.ports,
            labels: LabelFlags::default(),
            config: None,
            await_spawner: false,
            background: false,
        }
        .checked()
    }

    /// The host is in a cluster: it has to be the same one.
    fn joined_already(&mut self, authority: Fingerprint) -> anyhow::Result<()> {
        let dir = self.flags.dir.display();
        let there = read_settings(&settings_in(&self.flags.dir))?;
        let name = there.name.clone().unwrap_or_default();
        let other = self.token.as_ref().is_some_and(|token| token.authority != authority);
        if other {
            bail!(
                "{dir} is node '{name}' of another cluster (head node {}): leave that first with \
                 'muster-computenode leave --dir {dir}', or give another --dir",
                there.head.unwrap_or_default()
            );
        }
        if let Some(wanted) = &self.flags.name
            && !wanted.eq_ignore_ascii_case(&name)
        {
            bail!(
                "this host has joined as '{name}'; to have it as '{wanted}', first 'muster-computenode leave --dir {dir}' here \
                 and 'muster node remove {name}' on the head node"
            );
        }
        self.say(
            "joined",
            &format!("already, as '{name}'; its settings stay as they are"),
        )
    }

    /// Makes room for another certificate. Settings and tasks' folders stay.
    fn forget_membership(&mut self) -> anyhow::Result<()> {
        let directory = open(&self.flags.dir)?;
        crate::running::stop_agent(&directory)?;
        let files = ["node.key", "node.crt"].map(|name| directory.path().join(name));
        for path in files.into_iter().chain([directory.joined(), directory.removed()]) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<Started> {
        let directory = open(&self.flags.dir)?;
        if let Some(running) = agent(&directory) {
            self.say("agent", &format!("runs already (process {})", running.pid))?;
            return self.await_welcome(&directory, None);
        }
        // Of an agent before this one.
        let _ = std::fs::remove_file(directory.agent_ready());
        match Minder::best(!self.flags.no_service) {
            Minder::Systemd => {
                service::install(&directory)?;
                self.say(
                    "service",
                    "systemd minds muster-agent and muster-spawner, also after a restart of this host",
                )?;
                self.await_welcome(&directory, None)
            }
            Minder::Background { why } => {
                let child = service::start_in_background(&directory)?;
                let text = format!(
                    "runs in the background (process {}), not after a restart of this host: {why}",
                    child.id()
                );
                self.say("agent", &text)?;
                self.await_welcome(&directory, Some(child))
            }
        }
    }

    fn await_welcome(
        &mut self,
        directory: &NodeDirectory,
        mut child: Option<std::process::Child>,
    ) -> anyhow::Result<Started> {
        let began = Instant::now();
        loop {
            if is_welcome(directory) {
                self.say("welcome", "the head node has taken this node in")?;
                return Ok(Started::Welcome);
            }
            if directory.removed().exists() && agent(directory).is_none() {
                return Ok(Started::Removed);
            }
            let ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                bail!("the agent ended ({status}): {}", last_words(&directory.agent_log()));
            }
            if began.elapsed() > WELCOME_DEADLINE {
                bail!(
                    "the agent runs, and the head node has not welcomed it within {WELCOME_DEADLINE:?}; it tries on. Look at {}",
                    logs(directory, child.is_some())
                );
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    fn say_summary(&mut self) -> anyhow::Result<()> {
        let directory = open(&self.flags.dir)?;
        let name = read_settings(&settings_in(directory.path()))?.name.unwrap_or_default();
        let background = matches!(Minder::best(!self.flags.no_service), Minder::Background { .. });
        writeln!(
            self.out,
            "\nNode '{name}' is in the cluster. Logs: {}. Here: 'muster-computenode status{}'. On the head node: 'muster node list'.",
            logs(&directory, background),
            dir_flag(directory.path())
        )?;
        Ok(())
    }
}

impl Flags {
    fn token(&self) -> anyhow::Result<Option<JoinToken>> {
        let text = match (&self.token, &self.token_file) {
            (Some(text), _) if text == "-" => Some(read_token(std::io::stdin())?),
            (Some(text), _) => Some(text.clone()),
            (None, Some(path)) if path.as_os_str() == "-" => Some(read_token(std::io::stdin())?),
            (None, Some(path)) => {
                let opened = std::fs::File::open(path).map_err(|source| ConfigError::Unreadable {
                    what: "the token file",
                    path: path.clone(),
                    source,
                })?;
                Some(read_token(opened)?)
            }
            (None, None) if self.from_input.is_some() => Some(read_token(std::io::stdin())?),
            (None, None) => None,
        };
        let parsed = text.map(|text| text.trim().parse::<JoinToken>()).transpose();
        Ok(parsed.map_err(ConfigError::from)?)
    }

    /// What node.toml is to say.
    fn settings(&self) -> Result<File, ConfigError> {
        let name = self.name.clone().unwrap_or_else(host_name);
        proto::ids::NodeName::new(&name)?;
        let labels = self.labels.clone().over(Labels::default());
        Ok(File {
            name: Some(name),
            head: Some(with_port(self.head.clone())),
            address: self.address,
            cores: self.cores,
            peer_port: self.peer_port,
            ports: self.ports,
            resources: labels.resources,
            tags: labels.tags,
            domain: labels.domain,
            ..File::default()
        })
    }
}

fn read_token(from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .context("reading the join token")?;
    Ok(text)
}

fn host_name() -> String {
    let whole = sysinfo::System::host_name().unwrap_or_default();
    whole.split('.').next().unwrap_or_default().to_owned()
}

async fn enroll(config: Config, token: &JoinToken, folder: &Path) -> anyhow::Result<Joined> {
    let began = Instant::now();
    let mut link = Link::new(config);
    let joined = loop {
        match link.join(token, folder).await {
            Err(error) if is_passing(&error) && began.elapsed() < JOIN_DEADLINE => {
                tracing::debug!("trying on: {error:#}");
                tokio::time::sleep(JOIN_PAUSE).await;
            }
            other => break other,
        }
    };
    link.part().await;
    joined
}
