//! The agent: between the head node, the spawner, and the programs of tasks that launch something.
//!
//! One loop owns everything and wakes on one closed enum; what it is to do is decided by the [`supervisor`]. It can be
//! killed at any moment: the spawner keeps the tasks, their exit records, and what this loop has to know of them.
//!
//! [`supervisor`]: crate::supervisor

mod errands;
mod membership;
mod starts;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use proto::control::{HeadMessage, Hello, NodeMessage, Timing};
use proto::frame::VERSION;
use proto::ids::{AttemptId, LaunchId};
use proto::model::node::Inventory;
use proto::model::owner::Owner;
use tokio::net::unix::OwnedWriteHalf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use transport::control::{FrameWriter, spoken};

use crate::account::{Account, AccountError, Accounts};
use crate::attempts::{Attempts, Stage};
use crate::config::{Config, Flags};
use crate::directory::NodeDirectory;
use crate::environment::NodeFacts;
use crate::files::Files;
use crate::heartbeat::Heartbeats;
use crate::kept::Kept;
use crate::launch::{Launches, ProxyWanted};
use crate::link::{Brought, HeadLine, Link, Member, address_towards};
use crate::open_files::OpenFiles;
use crate::probe::Prober;
use crate::questions::Answers;
use crate::renewal::Credential;
use crate::restart::Restarts;
use crate::retention::Sweeper;
use crate::spawner::clock::{BootTime, wall_clock};
use crate::spawner::message::{FromSpawner, ToSpawner};
use crate::spawner_line::{Connected, Heard, News, SpawnerLine, listen};
use crate::supervisor::{Command, Failed, Supervisor};
use crate::workdir::discard_folder;
use crate::{commands, inventory};

/// How many wake-ups may wait; whoever brings more waits.
const WAKES_AHEAD: usize = 4096;

/// How many are taken before what they lead to is sent.
const WAKES_AT_ONCE: usize = 1024;

/// How long what the head node has nothing to do about waits to be told together with what follows.
const REPORTS_WAIT: Duration = Duration::from_millis(10);

/// How many launches may wait for their proxy here at once.
const MAX_WAITING_PROXIES: usize = 1024;

/// How many things may wait for accounts at once.
const MAX_WAITING_FOR_ACCOUNTS: usize = 32 * 1024;

/// A head node that asks for more often gets this.
const SHORTEST_BEAT: Duration = Duration::from_millis(10);

/// How long the head node may take from our hello to its welcome.
const WELCOME_DEADLINE: Duration = Duration::from_secs(30);

/// The head node took this node out of the cluster. Starting the agent again does not help.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node was taken out of the cluster: {reason}; to join again, paste here what 'muster node join-command' prints on \
     the head node"
)]
pub struct Removed {
    /// In the head node's words.
    pub reason: String,
}

impl Removed {
    /// Of the agent's process, so that whoever minds it does not start it again.
    pub const EXIT_CODE: u8 = 3;
}

/// What the loop wakes on.
#[derive(Debug)]
enum Wake {
    Spawner(Heard),
    Head(Brought),
    Proxy(ProxyWanted),
    Account {
        owner: Owner,
        found: Result<Account, AccountError>,
    },
    /// What a failed coordination command said last.
    Explained {
        failed: Failed,
        last_line: String,
    },
    /// The command that starts this node anew failed.
    ErrandFailed(String),
}

impl From<Heard> for Wake {
    fn from(heard: Heard) -> Self {
        Self::Spawner(heard)
    }
}

impl From<Brought> for Wake {
    fn from(brought: Brought) -> Self {
        Self::Head(brought)
    }
}

impl From<ProxyWanted> for Wake {
    fn from(wanted: ProxyWanted) -> Self {
        Self::Proxy(wanted)
    }
}

/// What waits for an account.
#[derive(Debug)]
enum Purpose {
    Start(Arc<Kept>),
    Coordinate(Arc<Kept>),
    /// Only the folder.
    Prepare(Arc<Kept>),
    Proxy(ProxyWanted),
}

/// Runs an agent until SIGTERM or SIGINT. Tasks run on.
///
/// # Errors
/// When the settings are wrong, the node may not join, or the machine does not let it work.
pub fn start(flags: Flags) -> anyhow::Result<()> {
    if flags.background {
        // A group leader, which this is when a person starts it in a shell, keeps its session.
        let _ = nix::unistd::setsid();
    }
    let config = flags.checked()?;
    let directory = NodeDirectory::open(&config.dir)?;
    if let Ok(reason) = std::fs::read_to_string(directory.removed()) {
        bail!(Removed { reason });
    }
    // What this process makes is for nobody else, unless a mode is set.
    umask(Mode::from_bits_truncate(0o077));
    let _lock = lock(&directory)?;
    // Of the agent before this one.
    let _ = std::fs::remove_file(directory.agent_ready());
    commands::link(&directory).context("linking the commands of tasks")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run(config, directory));
    // A name server or account database that hangs must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// One agent per folder.
fn lock(directory: &NodeDirectory) -> anyhow::Result<Flock<File>> {
    let path = directory.agent_lock();
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let Ok(mut lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        bail!("an agent with this folder runs already ({})", path.display());
    };
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

async fn run(config: Config, directory: NodeDirectory) -> anyhow::Result<()> {
    let open_files = OpenFiles::raise()
        .inspect_err(|error| tracing::warn!("the limit of open files stays as it is: {error}"))
        .ok();
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut link = Link::new(config.clone());
    let member = tokio::select! {
        member = link.member(directory.path()) => member?,
        () = either(&mut signals) => return Ok(()),
    };
    let (wakes, waiting) = mpsc::channel(WAKES_AHEAD);
    let credential = member.credential.clone();
    let answers = Answers {
        files: Files::new(directory.clone(), Attempts::new()),
        prober: Prober::new(config.address, credential.trust()),
    };
    let files = answers.files.clone();
    let agent = tokio::select! {
        agent = Agent::begin(config, directory, open_files, &member, files, wakes.clone()) => agent?,
        () = either(&mut signals) => return Ok(()),
    };
    let link = tokio::spawn(link.run(credential, answers, wakes));
    agent.serve(waiting, signals, link).await?;
    tracing::info!("agent ended; tasks run on");
    Ok(())
}

async fn either(signals: &mut (Signal, Signal)) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

struct Agent {
    config: Config,
    directory: NodeDirectory,
    facts: NodeFacts,
    inventory: Inventory,
    peer: SocketAddr,
    supervisor: Supervisor,
    /// What of it those who serve the head node's questions see.
    attempts: Attempts,
    /// For reading what users write.
    files: Files,
    /// Once it is known what is held.
    sweeper: Option<Sweeper>,
    restarts: Restarts,
    launches: Launches<Wake>,
    accounts: Accounts,
    /// By owner; the first one asked, the others wait with it.
    for_accounts: BTreeMap<(String, u32, u32), Vec<Purpose>>,
    waiting_for_accounts: usize,
    proxies: BTreeMap<(AttemptId, LaunchId), oneshot::Sender<Option<String>>>,
    line: SpawnerLine,
    /// How many lines to a spawner there were; only the last one counts.
    lines: u64,
    spawner: Option<FrameWriter<OwnedWriteHalf>>,
    to_spawner: Vec<ToSpawner>,
    head: Option<Head>,
    timing: Timing,
    next_beat: Instant,
    /// When reports are sent that wait for others.
    reports_due: Option<Instant>,
    credential: Credential,
    /// When the certificate is looked at.
    next_renewal: Instant,
    removal: Option<Removal>,
    wakes: mpsc::Sender<Wake>,
}

/// The end of this node's membership: its attempts are being ended.
struct Removal {
    reason: String,
    until: Instant,
}

/// A connection to the head node.
struct Head {
    line: HeadLine,
    hello_sent: BootTime,
    /// After the welcome.
    heartbeats: Option<Heartbeats>,
}

impl Agent {
    async fn begin(
        config: Config,
        directory: NodeDirectory,
        open_files: Option<OpenFiles>,
        member: &Member,
        files: Files,
        wakes: mpsc::Sender<Wake>,
    ) -> anyhow::Result<Self> {
        let head = config.head.clone();
        let address = match config.address {
            Some(address) => address,
            None => tokio::task::spawn_blocking(move || address_towards(&head)).await??,
        };
        let inventory = inventory::take(config.cores, &config.labels);
        let place = (address, config.peer_port);
        let (launches, peer) = Launches::listen(directory.clone(), member.node, place, wakes.clone())?;
        let facts = NodeFacts {
            name: config.name.clone(),
            address,
            folder: directory.text().to_owned(),
            bin: directory.bin().to_string_lossy().into_owned(),
            cluster: "muster".to_owned(),
            head_socket: config
                .head_socket
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            ports: config.ports,
            head: config
                .head
                .rsplit_once(':')
                .map_or_else(|| config.head.clone(), |(host, _)| host.to_owned()),
        };
        let restarts = Restarts::new(
            directory.clone(),
            config.restart.clone(),
            config.name.clone(),
            &config.settings,
            config.start(),
        );
        let mut agent = Self {
            supervisor: Supervisor::new(member.node, config.name.clone(), inventory.core_ids.clone()),
            line: SpawnerLine::new(directory.clone(), open_files, config.await_spawner),
            config,
            directory,
            facts,
            inventory,
            peer,
            attempts: files.attempts.clone(),
            files,
            sweeper: None,
            restarts,
            launches,
            accounts: Accounts::default(),
            for_accounts: BTreeMap::new(),
            waiting_for_accounts: 0,
            proxies: BTreeMap::new(),
            lines: 0,
            spawner: None,
            to_spawner: Vec::new(),
            head: None,
            timing: Timing::default(),
            next_beat: Instant::now(),
            reports_due: None,
            credential: member.credential.clone(),
            next_renewal: Instant::now(),
            removal: None,
            wakes,
        };
        agent.connect_spawner().await?;
        agent.start_sweeper();
        tracing::info!(node = %member.node, name = %agent.facts.name, cores = agent.inventory.cores, %peer, "agent ready");
        Ok(agent)
    }

    async fn serve(
        mut self,
        mut waiting: mpsc::Receiver<Wake>,
        mut signals: (Signal, Signal),
        mut link: JoinHandle<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                Some(wake) = waiting.recv() => {
                    self.wake(wake);
                    for _ in 1..WAKES_AT_ONCE {
                        match waiting.try_recv() {
                            Ok(wake) => self.wake(wake),
                            Err(_) => break,
                        }
                    }
                }
                () = tokio::time::sleep_until(self.next_beat) => self.beat(),
                () = until(self.reports_due) => {}
                () = tokio::time::sleep_until(self.next_renewal) => self.look_at_certificate(),
                () = until(self.removal.as_ref().map(|removal| removal.until)) => {}
                () = either(&mut signals) => return self.leave(&link).await,
                ended = &mut link => return ended.context("the link to the head node failed")?,
            }
            self.flush().await?;
            if let Some(reason) = self.removed() {
                self.leave(&link).await?;
                bail!(Removed { reason });
            }
        }
    }

    async fn leave(self, link: &JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
        link.abort();
        // There may be none.
        let _ = std::fs::remove_file(self.directory.agent_ready());
        if let Some(head) = self.head {
            head.line.end("the agent is ending").await;
        }
        Ok(())
    }

    /// Sends what the last wake-ups led to.
    async fn flush(&mut self) -> anyhow::Result<()> {
        loop {
            if self.spawner.is_none() {
                self.connect_spawner().await?;
            }
            if let Some(spawner) = &mut self.spawner
                && let Err(error) = spawner.send_all(&self.to_spawner).await
            {
                tracing::warn!("the spawner does not take orders: {error}");
                self.spawner = None;
                continue;
            }
            self.to_spawner.clear();
            break;
        }
        if !self.reports_wait()
            && let Some(head) = &self.head
        {
            while let Some(reports) = self.supervisor.next_reports() {
                head.line.say(reports);
            }
        }
        Ok(())
    }

    /// Whether what is to be told may still wait.
    fn reports_wait(&mut self) -> bool {
        let now = Instant::now();
        let due = self.reports_due.unwrap_or(now + REPORTS_WAIT);
        let wait = self.supervisor.may_wait() && now < due;
        self.reports_due = wait.then_some(due);
        wait
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Spawner(Heard { line, news }) if line == self.lines => self.spawner_says(news),
            // From a line that was replaced; what it told is in the list of the new one.
            Wake::Spawner(_) => {}
            Wake::Head(brought) => self.head(brought),
            Wake::Proxy(wanted) => self.proxy_wanted(wanted),
            Wake::Account { owner, found } => self.account_found(owner, found),
            Wake::Explained { failed, last_line } => {
                let commands = self.supervisor.explained(failed, &last_line);
                self.carry_out(commands);
            }
            Wake::ErrandFailed(reason) => self.errand_failed(reason),
        }
    }

    fn spawner_says(&mut self, news: News) {
        match news {
            News::Message(FromSpawner::Proxy {
                attempt,
                launch,
                refused,
            }) => {
                if let Some(reply) = self.proxies.remove(&(attempt, launch)) {
                    let refused = refused.map(|reason| format!("node {}: {reason}", self.facts.name));
                    // The asker may have gone.
                    let _ = reply.send(refused);
                }
            }
            News::Message(message) => {
                if let FromSpawner::Started { attempt, .. } = message {
                    self.attempts.started(attempt);
                }
                let commands = self.supervisor.spawner(message, wall_clock());
                self.carry_out(commands);
            }
            News::Lost(why) => {
                tracing::warn!("the spawner's line is lost: {why}");
                self.spawner = None;
            }
        }
    }

    // --- the head node ---

    fn head(&mut self, brought: Brought) {
        match brought {
            Brought::Connected(line) => {
                self.supervisor.ungreeted();
                let Some(boot) = self.supervisor.boot() else {
                    return line.close("no spawner yet");
                };
                let hello = Hello {
                    version: spoken(),
                    name: self.facts.name.clone(),
                    boot,
                    inventory: self.inventory.clone(),
                    peer: self.peer,
                    held: self.supervisor.held(),
                    clock: Some(wall_clock()),
                };
                let hello_sent = BootTime::now();
                line.say(NodeMessage::Hello(Box::new(hello)));
                self.head = Some(Head {
                    line,
                    hello_sent,
                    heartbeats: None,
                });
            }
            Brought::Message(message) => self.hear(message),
            Brought::Lost => {
                self.supervisor.ungreeted();
                self.head = None;
                // Who asks whether this node is connected looks there. It may never have been.
                let _ = std::fs::remove_file(self.directory.agent_ready());
            }
        }
    }

    fn hear(&mut self, message: HeadMessage) {
        match message {
            HeadMessage::Welcome {
                version,
                cluster,
                timing,
            } => self.welcome(version, cluster, timing),
            HeadMessage::Refused { reason } if self.is_welcome() => {
                tracing::error!("the head node does not renew this node's certificate: {reason}");
            }
            HeadMessage::Refused { reason } => {
                tracing::error!("the head node refuses this node: {reason}");
                self.close_head("refused");
            }
            HeadMessage::Removed { reason } => self.remove(reason),
            HeadMessage::Renewed { certificate, authority } => self.renewed(certificate, authority),
            HeadMessage::Orders { orders } => {
                for order in orders {
                    let commands = self.supervisor.order(order, wall_clock());
                    self.carry_out(commands);
                }
            }
            HeadMessage::ReportsTaken { number } => {
                let commands = self.supervisor.taken(number);
                self.carry_out(commands);
            }
            HeadMessage::HeartbeatTaken { number } => {
                let heartbeats = self.head.as_mut().and_then(|head| head.heartbeats.as_mut());
                if let Some(until) = heartbeats.and_then(|heartbeats| heartbeats.taken(number)) {
                    self.to_spawner.push(ToSpawner::Lease { until });
                }
            }
            HeadMessage::Unknown => {}
        }
    }

    fn welcome(&mut self, version: proto::frame::Version, cluster: String, timing: Timing) {
        if !VERSION.accepts(version) {
            tracing::error!("the head node speaks version {version}, this node {VERSION}: update one of them");
            return self.close_head("another version");
        }
        let Some(head) = &mut self.head else { return };
        // The hello was answered like a heartbeat.
        let heartbeats = Heartbeats::new(timing);
        self.to_spawner.push(ToSpawner::Lease {
            until: heartbeats.lease_from(head.hello_sent),
        });
        head.heartbeats = Some(heartbeats);
        self.timing = timing;
        tracing::info!(cluster, head = self.config.head, "the head node welcomes this node");
        // For whoever started this process and waits: the head node's own list may still show the agent before it.
        if let Err(error) = std::fs::write(self.directory.agent_ready(), std::process::id().to_string()) {
            tracing::warn!(%error, "agent.ready is not written");
        }
        self.next_renewal = Instant::now();
        self.facts.cluster = cluster;
        for message in self.supervisor.greeted() {
            head.line.say(message);
        }
        self.beat();
    }

    fn is_welcome(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.heartbeats.is_some())
    }

    fn beat(&mut self) {
        let now = BootTime::now();
        self.next_beat = Instant::now() + self.timing.heartbeat.duration().max(SHORTEST_BEAT);
        match &mut self.head {
            Some(Head {
                line,
                heartbeats: Some(heartbeats),
                ..
            }) => {
                if heartbeats.is_dead(now) {
                    line.close("heartbeats are not answered");
                } else {
                    line.say(NodeMessage::Heartbeat {
                        number: heartbeats.beat(now),
                    });
                }
            }
            Some(Head {
                line,
                hello_sent,
                heartbeats: None,
            }) if now.after(*hello_sent) > WELCOME_DEADLINE => {
                line.close("no welcome");
            }
            Some(_) | None => {}
        }
    }

    fn close_head(&self, reason: &str) {
        if let Some(head) = &self.head {
            head.line.close(reason);
        }
    }

    // --- the spawner ---

    async fn connect_spawner(&mut self) -> anyhow::Result<()> {
        // Their askers are told that the spawner was lost.
        self.proxies.clear();
        let mut connected: Connected = self.line.connect().await?;
        let held = std::mem::take(&mut connected.held);
        tracing::info!(boot = %connected.boot, attempts = held.len(), "connected to the spawner");
        // Orders that did not reach it are found missing by the comparison below and made again.
        self.to_spawner.clear();
        let commands = self.supervisor.spawner_back(connected.boot, held, wall_clock());
        let (to, from) = connected.into_halves();
        self.spawner = Some(to);
        self.lines += 1;
        tokio::spawn(listen(self.lines, from, self.wakes.clone()));
        self.carry_out(commands);
        Ok(())
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Hold(kept) => {
                    self.attempts.held(&kept, Stage::Held);
                    self.to_spawner.push(ToSpawner::Hold {
                        attempt: kept.attempt(),
                        kept: kept.to_bytes(),
                        rerunnable: kept.order.rerunnable,
                        kill_grace: self.timing.kill_grace,
                    });
                    self.serve_launches(&kept);
                }
                Command::Serve(kept) => {
                    self.attempts.held(&kept, Stage::Started);
                    self.serve_launches(&kept);
                }
                Command::Start(kept) => {
                    self.attempts.held(&kept, Stage::Held);
                    self.with_account(Purpose::Start(kept));
                }
                Command::Prepare(kept) => self.with_account(Purpose::Prepare(kept)),
                Command::Coordinate(kept) => self.with_account(Purpose::Coordinate(kept)),
                Command::Explain { kept, failed } => self.explain(&kept, failed),
                Command::Restart { reimage } => self.restart(reimage),
                Command::ForgetJob { job } => self.forget(job),
                Command::Refuse { attempt, reason } => self.to_spawner.push(ToSpawner::Refuse { attempt, reason }),
                Command::Stop { attempt, grace } => self.to_spawner.push(ToSpawner::Stop { attempt, grace }),
                Command::Release { attempt } => self.to_spawner.push(ToSpawner::Release { attempt }),
                Command::Forget { attempt } => self.to_spawner.push(ToSpawner::Forget { attempt }),
                Command::Advance { attempt, cores } => self.to_spawner.push(ToSpawner::Advance { attempt, cores }),
                Command::Recall { attempt } => self.to_spawner.push(ToSpawner::Recall { attempt }),
                Command::Discard(kept) => discard_folder(&self.directory, &kept.order),
                Command::Close { attempt } => {
                    let present = self.attempts.find(attempt);
                    self.attempts.over(attempt);
                    // Only then: what is held is in use.
                    self.keep_from_now(present);
                    self.launches.close(attempt);
                }
                Command::HelloAgain => self.close_head("the node has a new spawner"),
            }
        }
    }

    /// A task whose launches cannot be served still runs; one that launches something is told by its missing socket.
    fn serve_launches(&mut self, kept: &Kept) {
        if let Err(error) = self.launches.open(kept) {
            tracing::error!(attempt = %kept.attempt(), task = %kept.order.task, "launches cannot be served: {error:#}");
        }
    }
}
