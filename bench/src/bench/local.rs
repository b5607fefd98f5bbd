//! A cluster on this machine for the time of a measurement: started and taken down by the real `muster up` and `down`.
//! [`crate::bare_head`] is a head node without nodes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// A running cluster.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    state: tempfile::TempDir,
    muster: PathBuf,
}

/// The processes of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Daemons {
    /// The head node.
    pub(crate) head: Vec<i32>,
    /// The nodes' agents.
    pub(crate) agents: Vec<i32>,
    /// The nodes' keepers of tasks.
    pub(crate) spawners: Vec<i32>,
}

/// One of our programs, beside this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// A folder on the disk of the working directory, gone with the value. Others may enter it, as a site's folders are.
pub(crate) fn folder() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("muster-bench.")
        .permissions(PermissionsExt::from_mode(0o755))
        .tempdir_in(std::env::current_dir()?)?;
    Ok(folder)
}

impl LocalCluster {
    /// A head node and compute nodes of so many slots each.
    pub(crate) fn start(nodes: u32, slots: u32) -> anyhow::Result<Self> {
        let cluster = Self {
            state: folder()?,
            muster: program("muster")?,
        };
        let output = Command::new(&cluster.muster)
            .args(["up", "--nodes", &nodes.to_string()])
            .args(["--cores-per-node", &slots.to_string(), "--state"])
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

    /// Its processes.
    ///
    /// # Errors
    /// When there is no head node, agent or keeper.
    pub(crate) fn daemons(&self) -> anyhow::Result<Daemons> {
        let daemons = Daemons::below(self.state.path());
        let all = [&daemons.head, &daemons.agents, &daemons.spawners];
        ensure!(all.iter().all(|pids| !pids.is_empty()), "not all runs: {daemons:?}");
        Ok(daemons)
    }
}

impl Daemons {
    /// Those whose command line names something in that folder.
    fn below(state: &Path) -> Self {
        let mut daemons = Self::default();
        let state = state.to_string_lossy();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process that ends meanwhile is none.
            let Ok(line) = std::fs::read_to_string(entry.path().join("cmdline")) else {
                continue;
            };
            let mut words = line.split('\0');
            let program = words.next().and_then(|program| program.rsplit('/').next());
            if !line.contains(&*state) {
                continue;
            }
            match (program, words.next()) {
                (Some("muster-headnode"), _) => daemons.head.push(pid),
                (Some("muster-computenode"), Some("agent")) => daemons.agents.push(pid),
                (Some("muster-computenode"), Some("spawner")) => daemons.spawners.push(pid),
                _ => {}
            }
        }
        daemons
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
