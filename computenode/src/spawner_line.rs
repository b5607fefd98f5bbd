//! The agent's line to its spawner: starts one where none answers, and reads what it says.

use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use proto::frame::VERSION;
use proto::ids::{AttemptId, BootId};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::control::{FrameReader, FrameWriter, StreamError, later_message, split_socket, spoken};

use crate::commands::own_program;
use crate::directory::NodeDirectory;
use crate::open_files::OpenFiles;
use crate::spawner::message::{FromSpawner, KeptState, MAX_ATTEMPTS, ToSpawner};

/// How long a new spawner may take; it first ends what the one before left behind.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Between two knocks at a spawner that is starting.
const KNOCK_PAUSE: Duration = Duration::from_millis(10);

/// Between the end of a spawner and the start of the next.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How long a spawner that runs may take for its list.
const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// What a spawner holds: the attempt, what it keeps of it, how far it is, and the cores that it was handed there.
pub(crate) type HeldThere = (AttemptId, Vec<u8>, KeptState, Vec<u32>);

/// A spawner that answered, and everything that it holds.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) boot: BootId,
    pub(crate) held: Vec<HeldThere>,
    pub(crate) to: FrameWriter<OwnedWriteHalf>,
    from: FrameReader<OwnedReadHalf>,
}

/// The way to the spawner.
#[derive(Debug)]
pub(crate) struct SpawnerLine {
    directory: NodeDirectory,
    /// For spawners; nothing where the limit could not be read.
    open_files: Option<OpenFiles>,
    /// Whether somebody else starts it, such as its systemd unit.
    awaited: bool,
    /// The one that this agent started, to be reaped if it ends first.
    started: Option<Child>,
}

impl SpawnerLine {
    pub(crate) const fn new(directory: NodeDirectory, open_files: Option<OpenFiles>, awaited: bool) -> Self {
        Self {
            directory,
            open_files,
            awaited,
            started: None,
        }
    }

    /// Connects, starting a spawner when none answers. One that dies while it is greeted is followed by another.
    pub(crate) async fn connect(&mut self) -> anyhow::Result<Connected> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let stream = match UnixStream::connect(self.directory.spawner_socket()).await {
                Ok(stream) => stream,
                Err(_) if self.awaited => self.knock().await?,
                Err(_) => self.start().await?,
            };
            let greeted = tokio::time::timeout(LIST_DEADLINE, greet(stream)).await;
            match greeted.context("the spawner does not answer")?? {
                Greeted::Connected(connected) => return Ok(*connected),
                Greeted::Gone(why) if Instant::now() > deadline => bail!("no spawner stays alive: {why}"),
                Greeted::Gone(why) => tracing::debug!(why, "the spawner ended while it was greeted"),
            }
            tokio::time::sleep(KNOCK_PAUSE).await;
        }
    }

    /// Waits for one that somebody else starts: a second one beside it could never have this folder.
    async fn knock(&self) -> anyhow::Result<UnixStream> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match UnixStream::connect(self.directory.spawner_socket()).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() > deadline => {
                    return Err(error)
                        .context("the spawner does not open its socket; look at 'systemctl status muster-spawner'");
                }
                Err(_) => tokio::time::sleep(RESTART_PAUSE).await,
            }
        }
    }

    /// One that ends at once is started again until the deadline: the one before may still be leaving.
    async fn start(&mut self) -> anyhow::Result<UnixStream> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let ended = match &mut self.started {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                let log = self.directory.spawner_log();
                if Instant::now() > deadline {
                    bail!("no spawner stays alive ({status}); see {}", log.display());
                }
                tracing::warn!(%status, log = %log.display(), "the spawner ended; starting it again");
                self.started = None;
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            if self.started.is_none() {
                self.spawn().context("starting the spawner")?;
            }
            match UnixStream::connect(self.directory.spawner_socket()).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the new spawner does not open its socket");
                }
                Err(_) => {}
            }
            tokio::time::sleep(KNOCK_PAUSE).await;
        }
    }

    /// Starts it so that it outlives us and our terminal: it makes a session of its own.
    fn spawn(&mut self) -> io::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.spawner_log())?;
        let mut command = Command::new(own_program()?);
        command
            .args(["spawner", "--dir"])
            .arg(self.directory.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(open_files) = self.open_files {
            open_files.restore_in(&mut command);
        }
        let child = command.spawn()?;
        tracing::info!(pid = child.id(), "spawner started");
        self.started = Some(child);
        Ok(())
    }
}

enum Greeted {
    Connected(Box<Connected>),
    /// It ended meanwhile: a killed spawner's socket takes connections until the kernel has cleared it away.
    Gone(String),
}

/// Fails only for what another try would meet again.
async fn greet(stream: UnixStream) -> anyhow::Result<Greeted> {
    let (mut to, mut from) = split_socket(stream);
    if let Err(error) = to.send(&ToSpawner::Hello { version: spoken() }).await {
        return Ok(Greeted::Gone(error.to_string()));
    }
    if let Some(later) = later_message() {
        // When it is gone the list does not come either.
        let _ = to.send(&later).await;
    }
    let mut known_boot = None;
    let mut held = Vec::new();
    loop {
        let message = match from.recv().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Greeted::Gone("it closed the connection".to_owned())),
            Err(error @ StreamError::Frame(_)) => return Err(error).context("the spawner's list cannot be read"),
            Err(error) => return Ok(Greeted::Gone(error.to_string())),
        };
        match (message, known_boot) {
            (FromSpawner::Welcome { version, boot }, None) if VERSION.accepts(version) => known_boot = Some(boot),
            (FromSpawner::Welcome { version, .. }, None) => bail!(
                "the running spawner speaks version {version}, this agent {VERSION}: drain the node, end the spawner \
                 (SIGTERM), start again"
            ),
            (
                FromSpawner::Held {
                    attempt,
                    kept,
                    state,
                    cores,
                },
                Some(_),
            ) if held.len() <= 2 * MAX_ATTEMPTS => {
                held.push((attempt, kept, state, cores));
            }
            (FromSpawner::HeldAll, Some(boot)) => {
                return Ok(Greeted::Connected(Box::new(Connected { boot, held, to, from })));
            }
            (FromSpawner::Unknown, _) => {}
            (other, _) => bail!("the spawner's list is broken off by {other:?}"),
        }
    }
}

/// Hands everything that a spawner says to `wakes`, until its end.
///
/// `line` tells this connection from those before: what an older one still says may come after it was replaced.
pub(crate) async fn listen<W: From<Heard>>(line: u64, mut from: FrameReader<OwnedReadHalf>, wakes: mpsc::Sender<W>) {
    let why = loop {
        match from.recv().await {
            Ok(Some(message)) => {
                let heard = Heard {
                    line,
                    news: News::Message(message),
                };
                if wakes.send(heard.into()).await.is_err() {
                    return;
                }
            }
            Ok(None) => break "it closed the connection".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    // Nobody waits when the agent is ending.
    let _ = wakes
        .send(
            Heard {
                line,
                news: News::Lost(why),
            }
            .into(),
        )
        .await;
}

/// What comes from the spawner, and over which of the agent's lines to it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) line: u64,
    pub(crate) news: News,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum News {
    Message(FromSpawner),
    Lost(String),
}

impl Connected {
    /// The halves, after the list was taken.
    pub(crate) fn into_halves(self) -> (FrameWriter<OwnedWriteHalf>, FrameReader<OwnedReadHalf>) {
        (self.to, self.from)
    }
}
