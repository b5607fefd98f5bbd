//! The ground: a head node and compute nodes on hosts made of namespaces, whose disks are small, and whose packets to the
//! head node go through relays of ours.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::relay::{Relay, Weather};
use crate::cluster::SOON;
use crate::hosts::{Host, Network, ROOT};
use crate::site::HEAD;
use crate::wait;

/// Clocks short enough for a run of minutes: the lease is over after 6 s, and a node is given up after 38 s, the least that
/// the head node takes.
const SETTINGS: &str = "[timing]\nheartbeat_seconds = 1\nsuspect_after_seconds = 3\nlease_seconds = 6\nkill_grace_seconds = 1\nlost_after_seconds = 38\n";

/// A daemon is its program within this.
const THERE: Duration = Duration::from_secs(2);

/// Of the head node's disk and of each node's.
const HEAD_MIB: u32 = 96;
const NODE_MIB: u32 = 24;

const HEAD_FOLDER: &str = "/var/lib/muster";
const NODE_FOLDER: &str = "/var/lib/muster-node";

/// Where the head node's host has a relay for the first node; the others follow.
const FIRST_RELAY_PORT: u16 = 9001;

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Head,
    Agent,
    Spawner,
    /// A proxy of mpiexec; there may be none.
    Proxy,
}

impl Role {
    fn fits(self, words: &[&str]) -> bool {
        let program = words
            .first()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or_default();
        matches!(
            (self, program, words.get(1)),
            (Self::Head, "muster-headnode", _)
                | (Self::Agent, "muster-computenode", Some(&"agent"))
                | (Self::Spawner, "muster-computenode", Some(&"spawner"))
                | (Self::Proxy, _, Some(&"proxy"))
        )
    }
}

/// Hosts, daemons and relays.
#[derive(Debug)]
pub(super) struct Ground {
    relays: Vec<Relay>,
    names: Vec<String>,
    network: Network,
}

impl Ground {
    /// A head node and so many nodes, all joined.
    ///
    /// # Errors
    /// Not root, or what a command said.
    pub(super) fn new(nodes: u16, seed: u64) -> anyhow::Result<Self> {
        let mut network = Network::new()?;
        network.add(HEAD)?;
        let mut ground = Self {
            relays: Vec::new(),
            names: vec![HEAD.to_owned()],
            network,
        };
        let head = ground.host(0)?;
        disk(head, HEAD_FOLDER, HEAD_MIB)?;
        head.types(
            ROOT,
            &format!("mkdir -p {HEAD_FOLDER}/head && printf '{SETTINGS}' > /run/headnode.toml"),
        )?;
        ground.start(0)?;
        wait::until("the head node to be ready", SOON, || {
            Ok(ground.socket()?.exists().then_some(()))
        })?;
        let line = ground
            .host(0)?
            .types(ROOT, &format!("muster node join-command --uses {nodes} 2>/dev/null"))?;
        let token = line
            .split("--token ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let token = token.with_context(|| format!("no token in: {line}"))?.to_owned();
        for number in 1..=nodes {
            ground.add_node(number, &token, seed)?;
        }
        Ok(ground)
    }

    fn add_node(&mut self, number: u16, token: &str, seed: u64) -> anyhow::Result<()> {
        let name = format!("n{number}");
        self.network.add(&name)?;
        self.names.push(name.clone());
        let head = self.host(0)?;
        let at = SocketAddr::from((head.address(), FIRST_RELAY_PORT + number));
        let relay = Relay::start(head.pid(), at, SocketAddr::from((head.address(), 8745)), seed)?;
        self.relays.push(relay);
        let host = self.network.host(&name)?;
        disk(host, NODE_FOLDER, NODE_MIB)?;
        let line = format!("muster-computenode join --head {at} --token {token} --name {name} --cores 2 --no-service");
        host.types(ROOT, &line)?;
        Ok(())
    }

    /// How many nodes there are; the head node's host is 0, they are 1 and up.
    pub(super) const fn nodes(&self) -> usize {
        self.relays.len()
    }

    pub(super) fn host(&self, index: usize) -> anyhow::Result<&Host> {
        self.network.host(self.names.get(index).context("a host")?)
    }

    /// The folder that tasks know as [`crate::hosts::SHARED`].
    pub(super) fn shared(&self) -> PathBuf {
        self.network.shared()
    }

    /// A path of a host as this machine sees it.
    pub(super) fn seen(&self, index: usize, path: &str) -> anyhow::Result<PathBuf> {
        let root = format!("/proc/{}/root", self.host(index)?.pid());
        Ok(Path::new(&root).join(path.trim_start_matches('/')))
    }

    /// The head node's socket.
    pub(super) fn socket(&self) -> anyhow::Result<PathBuf> {
        self.seen(0, &format!("{HEAD_FOLDER}/head/head.sock"))
    }

    /// Processes of one role on a host, as this machine counts.
    pub(super) fn pids(&self, index: usize, role: Role) -> anyhow::Result<Vec<Pid>> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid"));
        let wanted = namespace(&self.host(index)?.pid().to_string())?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name
                .to_str()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            else {
                continue;
            };
            // Processes end while we look.
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&str> = line.split('\0').collect();
            if role.fits(&words) && namespace(pid).is_ok_and(|namespace| namespace == wanted) {
                found.push(Pid::from_raw(pid.parse()?));
            }
        }
        Ok(found)
    }

    /// Sends a signal to all processes of one role on a host; gives which.
    pub(super) fn signal(&self, index: usize, role: Role, signal: Signal) -> anyhow::Result<Vec<Pid>> {
        let pids = self.pids(index, role)?;
        for pid in &pids {
            // One that has just ended needs no signal.
            let _ = kill(*pid, signal);
        }
        Ok(pids)
    }

    /// Starts the daemon of a host: the head node, or the agent, which starts its spawner.
    pub(super) fn start(&self, index: usize) -> anyhow::Result<()> {
        let host = self.host(index)?;
        let (line, log) = if index == 0 {
            let address = host.address();
            let line =
                format!("muster-headnode --dir {HEAD_FOLDER}/head --listen {address}:8745 --config /run/headnode.toml");
            (line, "/run/headnode.log")
        } else {
            (
                format!("muster-computenode agent --dir {NODE_FOLDER}"),
                "/run/agent.log",
            )
        };
        host.types(ROOT, &format!("setsid {line} >> {log} 2>&1 < /dev/null &"))?;
        Ok(())
    }

    /// Starts what does not run and is not meant to be away; says which hosts had nobody.
    pub(super) fn ensure(&self, away: impl Fn(usize) -> bool) -> anyhow::Result<Vec<usize>> {
        let mut started = Vec::new();
        for index in (0..=self.nodes()).filter(|index| !away(*index)) {
            let role = if index == 0 { Role::Head } else { Role::Agent };
            if self.pids(index, role)?.is_empty() {
                self.start(index)?;
                // One that ends at once, on its full disk, is started again at the next look.
                let is_there = || Ok((!self.pids(index, role)?.is_empty()).then_some(()));
                let _ = wait::until("a daemon to be there", THERE, is_there);
                started.push(index);
            }
        }
        Ok(started)
    }

    /// Fills the disk of a host's daemons, or frees it.
    pub(super) fn fill(&self, index: usize, full: bool) -> anyhow::Result<()> {
        let folder = if index == 0 { HEAD_FOLDER } else { NODE_FOLDER };
        let ballast = format!("{folder}/ballast");
        let host = self.host(index)?;
        if full {
            // It ends when nothing fits any more, which is what is wanted.
            host.run(ROOT, &["dd", "if=/dev/zero", &format!("of={ballast}"), "bs=4k"])?;
        } else {
            host.types(ROOT, &format!("rm -f {ballast}"))?;
        }
        Ok(())
    }

    /// Rules for the packets of a node: each line is one of `nft`.
    pub(super) fn filter(&self, index: usize, rules: &[String]) -> anyhow::Result<()> {
        let host = self.host(index)?;
        let words = |line: &str| host.on_network(&["nft", line]);
        // Made if it is not there, so that it can be taken away in any case.
        words("add table inet torture")?;
        words("delete table inet torture")?;
        if !rules.is_empty() {
            words("add table inet torture")?;
            for side in ["input", "output"] {
                words(&format!(
                    "add chain inet torture {side} {{ type filter hook {side} priority 0 ; }}"
                ))?;
            }
        }
        rules
            .iter()
            .try_for_each(|rule| words(&format!("add rule inet torture {rule}")))
    }

    /// Lets a node send only so much, or all it can.
    pub(super) fn throttle(&self, index: usize, kbit: Option<u32>) -> anyhow::Result<()> {
        let host = self.host(index)?;
        match kbit {
            Some(kbit) => {
                let rate = format!("{kbit}kbit");
                host.on_network(&[
                    "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", "4kb", "latency",
                    "300ms",
                ])
            }
            None => host.on_network(&["tc", "qdisc", "delete", "dev", "eth0", "root"]),
        }
    }

    /// The weather between a node and the head node.
    pub(super) fn weather(&self, index: usize, weather: Weather) -> anyhow::Result<()> {
        let relay = index.checked_sub(1).and_then(|number| self.relays.get(number));
        relay.context("a node has a relay")?.set(weather);
        Ok(())
    }

    /// All logs of daemons, with a name for each.
    pub(super) fn logs(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut all = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            for folder in ["/run", NODE_FOLDER] {
                let seen = self.seen(index, folder)?;
                for entry in fs::read_dir(seen).into_iter().flatten() {
                    let path = entry?.path();
                    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
                    if file == "log" || file.ends_with(".log") {
                        all.push((format!("{name}-{file}"), path.clone()));
                    }
                }
            }
        }
        Ok(all)
    }
}

/// A small disk of its own.
fn disk(host: &Host, folder: &str, mib: u32) -> anyhow::Result<()> {
    let line = format!("mkdir -p {folder} && mount -t tmpfs -o size={mib}m,mode=755 torture {folder}");
    let said = host.types(ROOT, &line)?;
    ensure!(said.is_empty(), "mount said: {said}");
    Ok(())
}
