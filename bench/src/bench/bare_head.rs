//! A head node without nodes, as a process of its own: what is submitted waits, or goes to nodes that are simulated.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cli::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::local;

/// Opening an empty store takes milliseconds; a loaded machine takes longer.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// It has only to close what it has open.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at something that cannot be awaited.
const LOOK: Duration = Duration::from_millis(10);

/// A running head node.
#[derive(Debug)]
pub(crate) struct BareHead {
    process: Child,
    folder: tempfile::TempDir,
}

impl BareHead {
    /// Starts one on an empty store and waits until it answers.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = local::folder()?;
        let program = local::program("muster-headnode")?;
        let log = std::fs::File::create(folder.path().join("head.log"))?;
        let process = Command::new(&program)
            .arg("--dir")
            .arg(folder.path().join("head"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut head = Self { process, folder };
        head.wait_until_it_answers()?;
        Ok(head)
    }

    /// Where it answers.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("head/head.sock")
    }

    /// The command line on it.
    ///
    /// # Errors
    /// When this program's own place is not known.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(local::program("muster")?);
        command.env("MUSTER_SOCKET", self.socket()).stdin(Stdio::null());
        Ok(command)
    }

    /// For [`crate::usage`].
    pub(crate) fn pid(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.process.id())?)
    }

    /// Where nodes dial in.
    ///
    /// # Errors
    /// When it has not written that yet.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        let path = self.folder.path().join("head/head.addr");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
        Ok(text.trim().parse()?)
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let start = Instant::now();
        while self.address().is_err() || runtime.block_on(Client::connect(&self.socket())).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || start.elapsed() > START_DEADLINE {
                let log = std::fs::read_to_string(self.folder.path().join("head.log")).unwrap_or_default();
                bail!("the head node does not answer; its log ends with: {}", last_lines(&log));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

impl Drop for BareHead {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            // Gone already is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > END_DEADLINE {
                let _ = self.process.kill();
            }
            std::thread::sleep(LOOK);
        }
    }
}
