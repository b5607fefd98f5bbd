//! HyperQueue on the same machine, when the environment variable `HQ` names its binary: a server without a journal and
//! workers, in a folder of their own; arrays without output files.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::local;

/// How long server and workers may take to find each other.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at something that cannot be awaited.
const LOOK: Duration = Duration::from_millis(50);

/// A running server with workers; ended with the value.
#[derive(Debug)]
pub(super) struct HyperQueue {
    program: PathBuf,
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl HyperQueue {
    /// Starts so many workers of so many slots; none when `HQ` is not set.
    ///
    /// # Errors
    /// When it is set and they do not start.
    pub(super) fn start(workers: u32, slots: u32) -> anyhow::Result<Option<Self>> {
        let Some(program) = std::env::var_os("HQ") else {
            return Ok(None);
        };
        let mut queue = Self {
            program: program.into(),
            folder: local::folder()?,
            children: Vec::new(),
        };
        queue.launch("server", &["server", "start"])?;
        let ready = queue.folder.path().join("server/hq-current/access.json");
        wait_for("HyperQueue's server", || Ok(ready.exists()))?;
        for number in 0..workers {
            let place = queue.folder.path().join(format!("worker{number}"));
            let slots = format!("--cpus={slots}");
            let work = format!("--work-dir={}", place.display());
            queue.launch(
                &format!("worker{number}"),
                &[
                    "worker",
                    "start",
                    &slots,
                    "--detect-resources=none",
                    &work,
                    "--heartbeat=60s",
                ],
            )?;
        }
        wait_for("HyperQueue's workers", || {
            let output = queue.command(&["--output-mode=quiet", "worker", "list"]).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).lines().count() >= workers as usize)
        })?;
        Ok(Some(queue))
    }

    /// Tasks per second of an array of `/bin/true`, submitted and awaited by its own client.
    pub(super) fn rate(&self, tasks: u32) -> anyhow::Result<f64> {
        let array = format!("--array=1-{tasks}");
        let start = Instant::now();
        let mut command = self.command(&["submit", "--stdout=none", "--stderr=none"]);
        let output = command.args([&array, "--wait", "/bin/true"]).output()?;
        ensure!(
            output.status.success(),
            "HyperQueue failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--server-dir")
            .arg(self.folder.path().join("server"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn launch(&mut self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let log = File::create(self.folder.path().join(format!("{name}.log")))?;
        let mut command = self.command(arguments);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn();
        self.children
            .push(child.with_context(|| format!("{} cannot be started; see HQ", self.program.display()))?);
        Ok(())
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_there()? {
        if start.elapsed() > START_DEADLINE {
            bail!("{what} did not start within {} s", START_DEADLINE.as_secs());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

impl Drop for HyperQueue {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // Gone already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
