//! `muster up`: starts what of the cluster does not run, and waits until it does.
//!
//! Every step can be repeated: a second `up` finds what the first one left and goes on from there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use proto::client::{HeadView, NodeView, Reply, Request};
use proto::ids::{GroupName, IdError, PoolName};
use proto::model::node::Liveness;
use proto::units::Millis;

use super::members::{self, Known};
use super::processes::{self, Process, Role};
use super::record::{NodeRecord, Record};
use super::start::{self, Started};
use super::{LocalError, StateFolder, links, node_name};
use crate::answer::Up;
use crate::client::{Client, ClientError};
use crate::render::Progress;
use crate::request::UpRequest;

const CLUSTER: &str = "local";
const POOL: &str = "local";
/// The second one because the examples of HPC Pack's documents name it.
const GROUPS: [&str; 2] = ["ComputeNodes", "AzureNodes"];

/// How many nodes when nobody says: the first story needs four.
const NODES: u32 = 4;

/// A store of many jobs takes a while to open.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// A join takes milliseconds; a loaded machine takes longer.
const NODES_DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// An agent that was taken out of the cluster waits so long for the end of its tasks.
const AGENT_PATIENCE: Duration = Duration::from_secs(35);

/// The join token must outlast the start and no more.
const TOKEN_LIFE: Millis = Millis::from_seconds(600);

/// Starts what does not run.
///
/// # Errors
/// [`LocalError`]; what was started by then runs on, and the next `up` or `down` finds it.
pub(crate) async fn up(path: &Path, request: &UpRequest, progress: &mut Progress) -> Result<Up, LocalError> {
    let state = StateFolder::made(path)?;
    let lock = state.lock()?;
    let mut running = processes::running(&state);
    if request.fresh {
        if !running.is_empty() {
            return Err(LocalError::IsUp {
                state: state.path().to_owned(),
            });
        }
        state.purge_content()?;
        StateFolder::made(path)?;
        running = Vec::new();
    }
    let notes = links::make(&state)?;
    let record = Record::read(&state)?.unwrap_or_default();
    let mut rise = Rise {
        state,
        record,
        running,
        started: Vec::new(),
        notes,
        progress,
    };
    let up = rise.raise(request).await;
    rise.progress.clear();
    drop(lock);
    up
}

/// One `up` at work.
struct Rise<'a> {
    state: StateFolder,
    record: Record,
    running: Vec<Process>,
    started: Vec<String>,
    notes: Vec<String>,
    progress: &'a mut Progress,
}

impl Rise<'_> {
    async fn raise(&mut self, request: &UpRequest) -> Result<Up, LocalError> {
        let (mut client, head, address) = self.head(request.listen.or_else(|| request.port.map(here))).await?;
        let names = self.wanted(request);
        let names = self.members(&mut client, names, request.nodes.is_some()).await?;
        let nodes = self.nodes(&mut client, &names, request.cores_per_node, address).await?;
        self.record.write(&self.state)?;
        let root = nix::unistd::geteuid().is_root();
        Ok(Up {
            state: self.state.path().to_owned(),
            head,
            nodes,
            started: std::mem::take(&mut self.started),
            typed: start::typed(),
            runs_as: (!root).then(|| client.welcome().user.clone()),
            notes: std::mem::take(&mut self.notes),
        })
    }

    fn runs(&self, role: &Role) -> Option<&Process> {
        self.running.iter().find(|process| process.role == *role)
    }

    /// The head node, started unless it runs.
    async fn head(&mut self, asked: Option<SocketAddr>) -> Result<(Client, HeadView, SocketAddr), LocalError> {
        self.progress.show("starting the head node");
        if let Some(process) = self.runs(&Role::Head) {
            self.record.head.pid = process.pid;
            let log = self.state.log("head");
            let found = self.head_answers(None, &log).await?;
            self.note_address(asked, found.2);
            self.record.head.address = found.2.to_string();
            return Ok(found);
        }
        let agents_run = self
            .running
            .iter()
            .any(|process| matches!(process.role, Role::Agent(_)));
        let before: Option<SocketAddr> = self.record.head.address.parse().ok();
        let listen = match (before, asked) {
            // Agents that run know this address and no other.
            (Some(before), _) if agents_run => before,
            (_, Some(asked)) => asked,
            (Some(before), None) => before,
            (None, None) => here(0),
        };
        let found = match self.start_head(listen).await {
            // Somebody else has the port now, and nobody needs just this one.
            Err(LocalError::Ended { .. })
                if asked.is_none() && !agents_run && listen.port() != 0 && listen.ip().is_loopback() =>
            {
                self.start_head(here(0)).await?
            }
            other => other?,
        };
        self.note_address(asked, found.2);
        self.started.push("head node".to_owned());
        self.record.head.address = found.2.to_string();
        self.record.write(&self.state)?;
        Ok(found)
    }

    fn note_address(&mut self, asked: Option<SocketAddr>, address: SocketAddr) {
        if asked.is_some_and(|asked| asked != address && (asked.port() != 0 || asked.ip() != address.ip())) {
            self.notes.push(format!(
                "The head node keeps its address {address}, which running nodes know; 'muster down' first to change it."
            ));
        }
    }

    async fn start_head(&mut self, listen: SocketAddr) -> Result<(Client, HeadView, SocketAddr), LocalError> {
        let program = start::program("muster-headnode")?;
        let stale = self.state.address_file();
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LocalError::Files {
                    doing: "removing",
                    path: stale,
                    source: error,
                });
            }
            _ => {}
        }
        let args = [
            "--dir".into(),
            self.state.head().into_os_string(),
            "--listen".into(),
            listen.to_string().into(),
            "--cluster".into(),
            CLUSTER.into(),
        ];
        let mut started = start::detached(&self.state, "head", &program, args)?;
        self.record.head.pid = started.pid();
        self.record.write(&self.state)?;
        let log = started.log().to_owned();
        self.head_answers(Some(&mut started), &log).await
    }

    /// Waits until the head node answers and has written where nodes dial in.
    async fn head_answers(
        &mut self,
        mut started: Option<&mut Started>,
        log: &Path,
    ) -> Result<(Client, HeadView, SocketAddr), LocalError> {
        let begun = Instant::now();
        loop {
            if let Some(started) = &mut started {
                started.check()?;
            }
            let address = fs::read_to_string(self.state.address_file()).ok();
            let address = address.and_then(|text| text.trim().parse().ok());
            match Client::connect(&self.state.socket()).await {
                Ok(mut client) => {
                    if let (Reply::Status { head, .. }, Some(address)) =
                        (client.request(Request::Status).await?, address)
                    {
                        return Ok((client, head, address));
                    }
                }
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
            if begun.elapsed() > HEAD_DEADLINE {
                return Err(LocalError::Late {
                    what: "the head node did not answer".to_owned(),
                    seconds: HEAD_DEADLINE.as_secs(),
                    log: log.to_owned(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The nodes that shall run.
    fn wanted(&mut self, request: &UpRequest) -> Vec<String> {
        let recorded = self
            .record
            .nodes
            .iter()
            .filter_map(|node| super::node_number(&node.name));
        let recorded: BTreeSet<u32> = recorded.collect();
        let numbers: BTreeSet<u32> = match request.nodes {
            Some(count) => (1..=count).collect(),
            None if !recorded.is_empty() || self.record.alone => recorded,
            None => (1..=NODES).collect(),
        };
        // A head node that was started alone stays alone until somebody asks for nodes.
        self.record.alone = numbers.is_empty() && self.record.nodes.is_empty();
        let names: Vec<String> = numbers.into_iter().map(node_name).collect();
        let others = self.record.nodes.iter().filter(|node| !names.contains(&node.name));
        let others: Vec<&str> = others.map(|node| node.name.as_str()).collect();
        if !others.is_empty() {
            self.notes.push(format!("Left as they are: {}.", others.join(", ")));
        }
        names
    }

    /// Of the wanted nodes those that may run: a node that was taken out of the cluster joins anew or is left out.
    async fn members(
        &mut self,
        client: &mut Client,
        names: Vec<String>,
        asked: bool,
    ) -> Result<Vec<String>, LocalError> {
        let nodes = list(client).await?;
        let pools = match client.request(Request::ListPools).await? {
            Reply::Pools { pools } => pools,
            _ => return Err(ClientError::Unexpected { asked: "pool list" }.into()),
        };
        let known = Known::of(&nodes, &pools, POOL);
        let intake = members::intake(names, asked, &known, |name| members::was_member(&self.state, name));
        let mut old = Vec::new();
        for name in intake.anew.iter().chain(&intake.gone).chain(&intake.unwanted) {
            old.extend(self.runs(&Role::Agent(name.clone())).cloned());
        }
        // An agent that is being removed may be at its last steps still.
        processes::stop(&self.state, &old, AGENT_PATIENCE).await?;
        self.running.retain(|process| !old.contains(process));
        for name in &intake.anew {
            members::forget(&self.state, name)?;
        }
        let is_out = |name: &String| intake.gone.contains(name) || intake.unwanted.contains(name);
        self.record.nodes.retain(|node| !is_out(&node.name));
        self.notes.extend(intake.notes(POOL));
        Ok(intake.run)
    }

    /// Starts the nodes that do not run, and waits until all of `names` answer.
    async fn nodes(
        &mut self,
        client: &mut Client,
        names: &[String],
        cores: Option<u32>,
        head: SocketAddr,
    ) -> Result<Vec<NodeView>, LocalError> {
        let missing: Vec<(u32, String)> = names
            .iter()
            .filter_map(|name| Some((super::node_number(name)?, name.clone())))
            .filter(|(_, name)| self.runs(&Role::Agent(name.clone())).is_none())
            .collect();
        for process in &self.running {
            if let Role::Agent(name) = &process.role
                && let Some(node) = self.record.nodes.iter_mut().find(|node| node.name == *name)
            {
                node.pid = process.pid;
            }
        }
        self.note_other_cores(cores, &missing);
        let mut agents = Vec::new();
        if !missing.is_empty() {
            let program = start::program("muster-computenode")?;
            let token = self.token(client, missing.len()).await?;
            for (number, name) in &missing {
                agents.push((
                    name.clone(),
                    self.start_agent(&program, *number, name, cores, head, &token)?,
                ));
            }
            self.record.write(&self.state)?;
        }
        let nodes = self.nodes_answer(client, names, &mut agents).await?;
        if !agents.is_empty() {
            self.started.extend(agents.into_iter().map(|(name, _)| name));
            // Every node has its certificate; a token that is left over ends by itself.
            let _ = fs::remove_file(self.token_file());
        }
        Ok(nodes)
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.state.path().join("join.token")
    }

    async fn token(&self, client: &mut Client, uses: usize) -> Result<std::path::PathBuf, LocalError> {
        let (pool, groups) = names().map_err(|_| LocalError::Client(ClientError::Unexpected { asked: "muster up" }))?;
        let uses = u32::try_from(uses).unwrap_or(super::MOST_NODES);
        let request = Request::MakeToken {
            pool,
            groups,
            uses,
            lifetime: TOKEN_LIFE,
        };
        let Reply::Token { token, .. } = client.request(request).await? else {
            return Err(ClientError::Unexpected { asked: "muster token" }.into());
        };
        let path = self.token_file();
        let write = || -> io::Result<()> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(token.as_bytes())
        };
        write().map_err(LocalError::files("writing", &path))?;
        Ok(path)
    }

    fn start_agent(
        &mut self,
        program: &Path,
        number: u32,
        name: &str,
        cores: Option<u32>,
        head: SocketAddr,
        token: &Path,
    ) -> Result<Started, LocalError> {
        let dir = self.state.node(name);
        fs::create_dir_all(&dir).map_err(LocalError::files("making the folder", &dir))?;
        // A head node that listens everywhere is reached on this machine by its loopback address.
        let head = if head.ip().is_unspecified() {
            here(head.port())
        } else {
            head
        };
        let last = u8::try_from(1 + number).unwrap_or(u8::MAX);
        let address = Ipv4Addr::new(127, 0, 0, last).to_string();
        // A node that is added is like the last one, a node that was there as it was.
        let nodes = &self.record.nodes;
        let like = nodes.iter().find(|node| node.name == name).or_else(|| nodes.last());
        let cores = cores.or_else(|| like.and_then(|node| node.cores));
        let mut args: Vec<OsString> = vec!["agent".into(), "--dir".into(), dir.into()];
        for (flag, value) in [("--name", name), ("--head", &head.to_string()), ("--address", &address)] {
            args.extend([flag.into(), value.into()]);
        }
        args.extend(["--token-file".into(), token.into()]);
        // Commands inside tasks ask the same cluster.
        args.extend(["--head-socket".into(), self.state.socket().into()]);
        if let Some(cores) = cores {
            args.extend(["--cores".into(), cores.to_string().into()]);
        }
        let started = start::detached(&self.state, name, program, args)?;
        let node = NodeRecord {
            name: name.to_owned(),
            pid: started.pid(),
            address,
            cores,
        };
        match self.record.nodes.iter_mut().find(|node| node.name == name) {
            Some(known) => *known = node,
            None => self.record.nodes.push(node),
        }
        Ok(started)
    }

    /// Whether the head node has answered this very agent: its list may still show the one before as up.
    fn is_welcomed(&self, name: &str, agent: &Started) -> bool {
        let told = fs::read_to_string(self.state.path().join("nodes").join(name).join("agent.ready"));
        told.is_ok_and(|told| told == agent.pid().to_string())
    }

    async fn nodes_answer(
        &mut self,
        client: &mut Client,
        names: &[String],
        agents: &mut [(String, Started)],
    ) -> Result<Vec<NodeView>, LocalError> {
        let begun = Instant::now();
        loop {
            for (_, agent) in agents.iter_mut() {
                agent.check()?;
            }
            let nodes = list(client).await?;
            let is_up = |name: &String| {
                let started = agents.iter().find(|(started, _)| started == name);
                let mut same = nodes.iter().filter(|node| node.row.name.as_str() == name);
                same.any(|node| matches!(node.row.liveness, Liveness::Up { .. }))
                    && started.is_none_or(|(_, agent)| self.is_welcomed(name, agent))
            };
            let silent: Vec<&str> = names.iter().filter(|name| !is_up(name)).map(String::as_str).collect();
            if silent.is_empty() {
                self.notes.extend(members::switched_off(&nodes));
                return Ok(nodes);
            }
            if begun.elapsed() > NODES_DEADLINE {
                return Err(LocalError::Late {
                    what: format!("{} did not come up", silent.join(", ")),
                    seconds: NODES_DEADLINE.as_secs(),
                    log: self.state.log(silent[0]),
                });
            }
            self.progress.show(&format!(
                "starting: {} of {} nodes up",
                names.len() - silent.len(),
                names.len()
            ));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Cores are given at the start of a node; running ones keep theirs.
    fn note_other_cores(&mut self, asked: Option<u32>, missing: &[(u32, String)]) {
        let Some(asked) = asked else { return };
        let runs = |node: &&NodeRecord| !missing.iter().any(|(_, name)| *name == node.name);
        let others = self.record.nodes.iter().filter(runs);
        let others: Vec<String> = others
            .filter(|node| node.cores != Some(asked))
            .map(|node| match node.cores {
                Some(cores) => format!("{} ({cores})", node.name),
                None => format!("{} (all of the machine)", node.name),
            })
            .collect();
        if !others.is_empty() {
            self.notes.push(format!(
                "These run on and keep their cores: {}; 'muster down' first to change them.",
                others.join(", ")
            ));
        }
    }
}

/// On this machine only.
fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn list(client: &mut Client) -> Result<Vec<NodeView>, LocalError> {
    match client.request(Request::ListNodes).await? {
        Reply::Nodes { nodes } => Ok(nodes),
        _ => Err(ClientError::Unexpected { asked: "node list" }.into()),
    }
}

fn names() -> Result<(PoolName, Vec<GroupName>), IdError> {
    let groups = GROUPS
        .iter()
        .map(|group| GroupName::new(group))
        .collect::<Result<_, _>>()?;
    Ok((PoolName::new(POOL)?, groups))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_are_names() {
        assert!(super::names().is_ok());
    }
}
