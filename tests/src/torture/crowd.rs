//! The clients of a run: processes of their own, started again when they were killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::client::CLIENT;
use crate::cluster::program;
use crate::sim::rng::Rng;
use crate::wait;

/// They end within this once they are told to; a question that is open needs an answer before.
const END: std::time::Duration = std::time::Duration::from_secs(90);

/// The clients; killed with this.
#[derive(Debug)]
pub(super) struct Crowd {
    folder: PathBuf,
    words: Vec<String>,
    clients: Vec<Child>,
}

impl Crowd {
    /// Starts so many, whose logs lie in `folder`.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) fn start(count: usize, folder: &Path, socket: &Path, traces: &str, seed: u64) -> anyhow::Result<Self> {
        let mut crowd = Self {
            folder: folder.to_owned(),
            words: vec![socket.display().to_string(), traces.to_owned(), seed.to_string()],
            clients: Vec::new(),
        };
        for number in 0..count {
            crowd.clients.push(crowd.client(number)?);
        }
        Ok(crowd)
    }

    /// The logs.
    pub(super) fn logs(&self) -> Vec<PathBuf> {
        (0..self.clients.len()).map(|number| self.log(number)).collect()
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("client{number}"))
    }

    fn client(&self, number: usize) -> anyhow::Result<Child> {
        let [socket, traces, seed] = self.words.as_slice() else {
            bail!("three words are given at the start");
        };
        let mut command = Command::new(program("muster-show")?);
        command
            .arg(CLIENT)
            .arg(socket)
            .arg(self.log(number))
            .args([traces, seed]);
        let errors = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("client{number}.err")))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command.spawn().context("a client cannot be started")
    }

    /// kill -9 of one of them.
    pub(super) fn kill_one(&mut self, rng: &mut Rng) -> anyhow::Result<()> {
        let number = usize::try_from(rng.within(1, self.clients.len() as u64))? - 1;
        if let Some(client) = self.clients.get_mut(number) {
            client.kill()?;
            client.wait()?;
        }
        Ok(())
    }

    /// Starts those again that were killed.
    ///
    /// # Errors
    /// When one has given up by itself: that is no right of a client.
    pub(super) fn ensure(&mut self) -> anyhow::Result<()> {
        for number in 0..self.clients.len() {
            let ended = match self.clients.get_mut(number) {
                Some(client) => client.try_wait()?,
                None => None,
            };
            match ended {
                None => {}
                Some(status) if status.code().is_none() => {
                    let again = self.client(number)?;
                    if let Some(client) = self.clients.get_mut(number) {
                        *client = again;
                    }
                }
                Some(status) => {
                    let said = fs::read_to_string(self.folder.join(format!("client{number}.err")))?;
                    bail!("client {number} gave up ({status}): {said}");
                }
            }
        }
        Ok(())
    }

    /// Tells them to end, once each has the answer to its open question.
    ///
    /// # Errors
    /// When one does not get it.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.ensure()?;
        fs::write(self.folder.join("stop"), "")?;
        let clients = &mut self.clients;
        wait::until("the clients to get their last answers", END, || {
            let mut all = true;
            for client in clients.iter_mut() {
                match client.try_wait()? {
                    None => all = false,
                    Some(status) if status.success() => {}
                    Some(status) => bail!("a client gave up at the end ({status})"),
                }
            }
            Ok(all.then_some(()))
        })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for client in &mut self.clients {
            // It may have ended.
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}
