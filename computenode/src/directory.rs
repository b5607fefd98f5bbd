//! The folder of a node: where everything it keeps lies, and who may enter.
//!
//! ```text
//!   node.toml joined.toml        its settings; the cluster that it joined
//!   node.key node.crt            who this node is (key 0600)
//!   removed                      why the head node took it out of the cluster
//!   peer.port                    where the agent listens for peers, to listen there again
//!   spawner.sock spawner.pid     the spawner; its lives in spawner.boot, its words in spawner.log
//!   records/ATTEMPT              exit records
//!   bin/                         job, task, mpiexec ... : first in the PATH of tasks
//!   launch/ATTEMPT.sock          the task's own socket (0600, the task's user)
//!   tasks/JOB/TASK-ATTEMPT/      a task's folder (0700, the task's user): wd/ stdout.txt stderr.txt proxy.log, a
//!                                script (0500), the socket `input` of an interactive task, notes of ranks,
//!                                coordination-stdout.txt coordination-stderr.txt, common files
//!   tasks/JOB/TASK-ATTEMPT.paths where its outputs went when the user named files of their own
//!   tasks/JOB/TASK-ATTEMPT.keep  for how long the folder is kept, as milliseconds; its time is the attempt's end
//!   trash/                       folders that are being removed
//!   startup                      link to the folder of the newest start task
//!   shared/ fsmounts/            for all tasks of the node (1777 where tasks have users of their own); for mounts
//!   restarting restart.log       the life in which the node was told to start anew; what that command said
//! ```
//!
//! An element of a sweep has TASK.STEP-ATTEMPT. Folders above a task's own are 0711: its user can go through and not look around.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proto::ids::{AttemptId, JobId, TaskId};

/// The longest path of a node's folder: a unix socket's path ends at 107 bytes, and `/launch/1234567890.sock` is to fit.
pub const MAX_DIRECTORY_BYTES: usize = 84;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Sockets would have no room.
    #[error(
        "--dir {path}: {bytes} bytes are too long for the sockets in it; use a path of at most {MAX_DIRECTORY_BYTES}"
    )]
    TooLong {
        /// Which.
        path: PathBuf,
        /// How long.
        bytes: usize,
    },
    /// The path is not text.
    #[error("--dir {path}: the path has to be UTF-8")]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// Others could put anything in the place of what lies in it.
    #[error(
        "--dir {path} belongs to the user {owner} (mode {mode:o}), and others could change what lies in it; use a folder of your own, closed to their writing"
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The system refused.
    #[error("{path} cannot be made or found")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where the settings lie in a node's folder; their file is also what tells such a folder from others.
#[must_use]
pub fn settings_in(folder: &Path) -> PathBuf {
    folder.join("node.toml")
}

/// A node's folder.
#[derive(Debug, Clone)]
pub struct NodeDirectory {
    path: PathBuf,
    text: String,
}

impl NodeDirectory {
    /// Makes what is not there yet.
    ///
    /// # Errors
    /// [`DirectoryError`], naming the path.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io {
            path: path.to_owned(),
            source,
        };
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        // Users go through all of them, down to the folders of their tasks.
        for folder in missing
            .into_iter()
            .rev()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            make_passable(folder).map_err(failed)?;
        }
        let path = path.canonicalize().map_err(failed)?;
        refuse_exposed(&path)?;
        let Some(text) = path.to_str().map(str::to_owned) else {
            return Err(DirectoryError::NotText { path });
        };
        if text.len() > MAX_DIRECTORY_BYTES {
            return Err(DirectoryError::TooLong {
                bytes: text.len(),
                path,
            });
        }
        let directory = Self { path, text };
        for folder in [
            directory.tasks(),
            directory.launch(),
            directory.bin(),
            directory.fsmounts(),
        ] {
            make_passable(&folder).map_err(|source| DirectoryError::Io { path: folder, source })?;
        }
        let shared = directory.shared();
        make_shared(&shared).map_err(|source| DirectoryError::Io { path: shared, source })?;
        Ok(directory)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn spawner_socket(&self) -> PathBuf {
        self.path.join("spawner.sock")
    }

    pub(crate) fn spawner_pid(&self) -> PathBuf {
        self.path.join("spawner.pid")
    }

    pub(crate) fn spawner_boot(&self) -> PathBuf {
        self.path.join("spawner.boot")
    }

    pub(crate) fn spawner_log(&self) -> PathBuf {
        self.path.join("spawner.log")
    }

    pub(crate) fn agent_lock(&self) -> PathBuf {
        self.path.join("agent.pid")
    }

    /// Holds the number of the agent's process once the head node has welcomed it.
    pub(crate) fn agent_ready(&self) -> PathBuf {
        self.path.join("agent.ready")
    }

    pub(crate) fn joined(&self) -> PathBuf {
        self.path.join("joined.toml")
    }

    /// Holds the reason for which the head node took this node out of the cluster.
    pub(crate) fn removed(&self) -> PathBuf {
        self.path.join("removed")
    }

    /// Of an agent that runs in the background.
    pub(crate) fn agent_log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn peer_port(&self) -> PathBuf {
        self.path.join("peer.port")
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.path.join("records")
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// What all tasks of the node share.
    pub(crate) fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    /// For file systems that a start task mounts.
    pub(crate) fn fsmounts(&self) -> PathBuf {
        self.path.join("fsmounts")
    }

    /// Leads to the folder of the newest start task.
    pub(crate) fn startup(&self) -> PathBuf {
        self.path.join("startup")
    }

    /// Holds folders that are being removed.
    pub(crate) fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }

    /// Holds the life of the spawner in which the node was told to start anew.
    pub(crate) fn restarting(&self) -> PathBuf {
        self.path.join("restarting")
    }

    pub(crate) fn restart_log(&self) -> PathBuf {
        self.path.join("restart.log")
    }

    pub(crate) fn launch(&self) -> PathBuf {
        self.path.join("launch")
    }

    pub(crate) fn task_socket(&self, attempt: AttemptId) -> PathBuf {
        self.launch().join(format!("{attempt}.sock"))
    }

    pub(crate) fn tasks(&self) -> PathBuf {
        self.path.join("tasks")
    }

    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.tasks().join(job.to_string())
    }

    /// The folder of one try.
    #[must_use]
    pub fn task(&self, task: TaskId, attempt: AttemptId) -> PathBuf {
        let name = match task.step {
            Some(step) => format!("{}.{step}-{attempt}", task.number),
            None => format!("{}-{attempt}", task.number),
        };
        self.job(task.job).join(name)
    }
}

/// What lies in the folder decides what runs here as anybody: only its own account and root may write into it.
fn refuse_exposed(path: &Path) -> Result<(), DirectoryError> {
    let found = fs::metadata(path).map_err(|source| DirectoryError::Io {
        path: path.to_owned(),
        source,
    })?;
    let (owner, mode) = (found.uid(), found.mode() & 0o777);
    if mode & 0o022 == 0 && (owner == 0 || owner == nix::unistd::geteuid().as_raw()) {
        return Ok(());
    }
    Err(DirectoryError::Exposed {
        path: path.to_owned(),
        owner,
        mode,
    })
}

/// Makes the folder that all tasks of the node write into. Where they have users of their own, nobody removes what is
/// another's.
fn make_shared(path: &Path) -> io::Result<()> {
    match DirBuilder::new().create(path) {
        Ok(()) => {
            let mode = if nix::unistd::geteuid().is_root() {
                0o1777
            } else {
                0o700
            };
            fs::set_permissions(path, Permissions::from_mode(mode))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder that users can go through, whatever the umask. One that is there already stays as it is.
pub(crate) fn make_passable(path: &Path) -> io::Result<()> {
    match DirBuilder::new().create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o711)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_too_long_for_sockets_is_refused_with_its_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("x".repeat(MAX_DIRECTORY_BYTES));
        let error = NodeDirectory::open(&long).expect_err("too long").to_string();
        assert!(error.contains("at most 84"), "{error}");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("sets the mode");
        let error = NodeDirectory::open(folder.path()).expect_err("is open").to_string();
        assert!(error.contains("mode 777"), "{error}");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("sets the mode");
        NodeDirectory::open(folder.path()).expect("is closed");
    }

    #[test]
    fn folders_can_be_passed_and_not_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = NodeDirectory::open(&folder.path().join("a/b")).expect("opens");
        let mode = |path: PathBuf| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(
            [
                mode(folder.path().join("a")),
                mode(directory.path().to_owned()),
                mode(directory.tasks()),
                mode(directory.launch()),
                mode(directory.bin())
            ],
            [0o711; 5]
        );
    }
}
