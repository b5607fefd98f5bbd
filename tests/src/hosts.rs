//! Hosts that are really apart, on one machine: each is a network, UTS, IPC, PID and mount namespace of its own, joined to
//! the others by a bridge in 172.16.0.0/16.
//!
//! A network namespace alone separates nothing that matters to MPI: programs would still find each other's shared memory
//! by machine id, IPC namespace and `/dev/shm`. A host here has its own of each, and its own `/tmp`, `/run`, `/home`,
//! `/var/lib` and user database. Programs and libraries of this machine are there; ours lie in [`BIN`].
//!
//! Each host lives as long as its first process, which ends when whoever made it is gone: nothing is left behind, even
//! after a kill -9. Needs root.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use anyhow::{Context, bail, ensure};
use nix::unistd::Uid;

use crate::cluster::{Said, program};
use crate::init;

/// Where our programs lie on every host.
pub const BIN: &str = "/opt/muster/bin";

/// A folder that all hosts of a network share, as with NFS; everybody may write there.
pub const SHARED: &str = "/opt/shared";

/// A user of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: &'static str,
    /// User and group id.
    pub id: u32,
}

/// The user of every host that may do everything there.
pub const ROOT: User = User { name: "root", id: 0 };

/// Two users that every host knows, unless it was made otherwise.
pub const ALICE: User = User {
    name: "alice",
    id: 60_001,
};
/// The other one.
pub const BOB: User = User {
    name: "bob",
    id: 60_002,
};

/// Hosts cannot be made by other users.
#[derive(Debug, thiserror::Error)]
#[error("hosts made of namespaces need root; run it with sudo")]
pub struct NeedsRoot;

/// Hosts and the bridge between them.
#[derive(Debug)]
pub struct Network {
    // Hosts end before their bridge.
    hosts: Vec<Host>,
    bridge: Namespace,
    folder: tempfile::TempDir,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    space: Namespace,
}

/// A process that holds namespaces, and ends with this.
#[derive(Debug)]
struct Namespace {
    /// Its end of input tells it to end.
    _line: ChildStdin,
    child: Child,
    /// The first process inside, as this machine counts.
    pid: u32,
}

impl Namespace {
    fn start(kinds: &[&str], inside: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--fork", "--kill-child", "--"]);
        command.arg(program("muster-show")?).args(inside);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare cannot be started: apt-get install util-linux")?;
        let line = child.stdin.take().context("a pipe was asked for")?;
        let out = child.stdout.take().context("a pipe was asked for")?;
        let mut said = String::new();
        BufReader::new(out).read_line(&mut said)?;
        ensure!(
            said.trim() == init::READY,
            "namespaces cannot be made here: {:?}",
            child.wait()?
        );
        let outer = child.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        let pid = children.split_whitespace().next().context("unshare has no child")?;
        Ok(Self {
            _line: line,
            pid: pid.parse()?,
            child,
        })
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--all", "--", program]);
        command
    }

    fn enter_network(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid.to_string(), "--net", "--"])
            .args(words);
        done(words, &command.output()?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its first process goes with it (--kill-child), and with that every process inside.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn done(words: &[&str], output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "'{}' failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    )
}

impl Network {
    /// A bridge without hosts.
    ///
    /// # Errors
    /// When this machine does not let us: not root, or without `unshare`, `nsenter` or `ip`.
    pub fn new() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Err(NeedsRoot.into());
        }
        let bridge = Namespace::start(&["--net"], &[init::HOLD])?;
        for words in [
            ["ip", "link", "add", "name", "hub", "type", "bridge"].as_slice(),
            &["ip", "link", "set", "hub", "up"],
        ] {
            bridge.enter_network(words)?;
        }
        let folder = tempfile::Builder::new().prefix("muster-hosts.").tempdir()?;
        let shared = folder.path().join("shared");
        fs::create_dir(&shared)?;
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777))?;
        Ok(Self {
            hosts: Vec::new(),
            bridge,
            folder,
        })
    }

    /// Adds a host that knows [`ALICE`] and [`BOB`].
    ///
    /// # Errors
    /// As for [`Network::new`].
    pub fn add(&mut self, name: &str) -> anyhow::Result<&Host> {
        self.add_with(name, &[ALICE, BOB])
    }

    /// Adds a host that knows these users beside root.
    ///
    /// # Errors
    /// As for [`Network::new`].
    pub fn add_with(&mut self, name: &str, users: &[User]) -> anyhow::Result<&Host> {
        let number = u8::try_from(self.hosts.len() + 1)?;
        let address = Ipv4Addr::new(172, 16, 0, number);
        let folder = self.folder.path().join(name);
        ensure!(name != "shared", "a host cannot be called so");
        fs::create_dir(&folder)?;
        write_users(&folder, users)?;
        let folder = folder.to_str().context("a folder with a plain name")?;
        let programs = program("muster-show")?;
        let programs = programs.parent().and_then(Path::to_str).context("a folder")?;
        let space = Namespace::start(
            &["--net", "--uts", "--ipc", "--pid", "--mount"],
            &[init::HOST, name, folder, programs],
        )?;
        self.plug_in(&space, number, address)?;
        self.hosts.push(Host {
            name: name.to_owned(),
            address,
            space,
        });
        self.hosts.last().context("was just put there")
    }

    fn plug_in(&self, space: &Namespace, number: u8, address: Ipv4Addr) -> anyhow::Result<()> {
        let (port, pid) = (format!("port{number}"), space.pid.to_string());
        self.bridge.enter_network(&[
            "ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ])?;
        self.bridge
            .enter_network(&["ip", "link", "set", &port, "master", "hub", "up"])?;
        let address = format!("{address}/16");
        for words in [
            ["ip", "link", "set", "lo", "up"].as_slice(),
            &["ip", "address", "add", &address, "dev", "eth0"],
            &["ip", "link", "set", "eth0", "up"],
        ] {
            space.enter_network(words)?;
        }
        Ok(())
    }

    /// The shared folder, as this machine sees it.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .with_context(|| format!("no host {name}"))
    }

    /// Takes a host off the network, or plugs it in again; its processes go on.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn plug(&self, name: &str, plugged: bool) -> anyhow::Result<()> {
        let index = self.hosts.iter().position(|host| host.name == name);
        let port = format!("port{}", index.context("no such host")? + 1);
        let state = if plugged { "up" } else { "down" };
        self.bridge.enter_network(&["ip", "link", "set", &port, state])
    }
}

impl Host {
    /// Its name, which is its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the bridge.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its first process, as this machine counts.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.space.pid
    }

    /// Runs a command of this machine that must succeed within its network, for example `nft` or `tc`.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn on_network(&self, words: &[&str]) -> anyhow::Result<()> {
        self.space.enter_network(words)
    }

    /// A command on it, as a user with a clean environment, in their home.
    #[must_use]
    pub fn command(&self, user: User, program: &str) -> Command {
        let mut command = self.space.enter("setpriv");
        let id = user.id.to_string();
        let home = home_of(user);
        command.args(["--reuid", &id, "--regid", &id, "--init-groups", "--reset-env"]);
        command.args(["env", "-C"]).arg(&home);
        command.arg(format!("PATH={BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        command.arg(format!("HOME={}", home.display()));
        command.arg(format!("USER={}", user.name)).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command line of plain words as a user.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, user: User, words: &[&str]) -> anyhow::Result<Said> {
        let (program, rest) = words.split_first().context("an empty line")?;
        Ok(Said::of(&self.command(user, program).args(rest).output()?))
    }

    /// Runs a command line through a shell, as it is typed, that must succeed; gives its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn types(&self, user: User, line: &str) -> anyhow::Result<String> {
        let said = self.run(user, &["sh", "-c", line])?;
        if said.code == 0 {
            return Ok(said.out);
        }
        bail!(
            "{}@{}: '{line}' ended with {}: {}{}",
            user.name,
            self.name,
            said.code,
            said.out,
            said.err
        )
    }

    /// Runs a command line through a shell that must fail with this exit code; gives all that it said.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn fails(&self, user: User, line: &str, code: i32) -> anyhow::Result<String> {
        let said = self.run(user, &["sh", "-c", line])?;
        ensure!(
            said.code == code,
            "{}@{}: '{line}' ended with {}, not {code}: {}{}",
            user.name,
            self.name,
            said.code,
            said.out,
            said.err
        );
        Ok(said.out + &said.err)
    }
}

fn home_of(user: User) -> PathBuf {
    if user == ROOT {
        PathBuf::from("/root")
    } else {
        Path::new("/home").join(user.name)
    }
}

/// The user database of one host: this machine's system accounts, and its own people.
fn write_users(folder: &Path, users: &[User]) -> anyhow::Result<()> {
    for (file, people) in [("passwd", true), ("group", false)] {
        let mut text = String::new();
        for line in fs::read_to_string(Path::new("/etc").join(file))?.lines() {
            let id = line.split(':').nth(2).and_then(|id| id.parse::<u32>().ok());
            if id.is_some_and(|id| id < 1000 || id == 65_534) {
                writeln!(text, "{line}")?;
            }
        }
        for User { name, id } in users {
            if people {
                writeln!(text, "{name}:x:{id}:{id}::/home/{name}:/bin/sh")?;
            } else {
                writeln!(text, "{name}:x:{id}:")?;
            }
        }
        fs::write(folder.join(file), text)?;
    }
    let homes: String = users
        .iter()
        .map(|user| format!("{} {}\n", user.name, user.id))
        .collect();
    fs::write(folder.join("homes"), homes)?;
    Ok(())
}
