//! A cluster on this machine for the time of a measurement, started and taken down by the real `muster up` and `down`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A running cluster of one node.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    state: tempfile::TempDir,
    muster: PathBuf,
}

impl LocalCluster {
    /// A head node and one compute node of so many slots.
    pub(crate) fn start(slots: u32) -> anyhow::Result<Self> {
        let state = tempfile::Builder::new()
            .prefix("muster-bench.")
            .tempdir_in(std::env::current_dir()?)?;
        let muster = std::env::current_exe()?.with_file_name("muster");
        let cluster = Self { state, muster };
        let output = Command::new(&cluster.muster)
            .args(["up", "--nodes", "1", "--cores-per-node", &slots.to_string(), "--state"])
            .arg(cluster.state.path())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} cannot be started", cluster.muster.display()))?;
        if !output.status.success() {
            bail!("muster up failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(cluster)
    }

    /// Where its head node answers.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.path().join("head/head.sock")
    }

    /// The command line on this cluster.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.muster);
        command.env("MUSTER_STATE", self.state.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // A measurement that failed tells its own reason; the folder goes in any case.
        let _ = self
            .command()
            .args(["down", "--purge"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
