//! Folders of tasks, and from an order to what the spawner starts.
//!
//! Only the task's own folder is touched here, with the daemon's rights, below folders that users cannot write.
//! Whatever else the user named (workdir, output files, the program) is opened by the new process itself, as the user.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, lchown};
use std::path::{Path, PathBuf};

use proto::control::StartOrder;
use proto::frame;
use proto::ids::{AttemptId, JobId};
use proto::launch::{LAUNCH_VARIABLE, RENDEZVOUS_VARIABLE};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::directory::{NodeDirectory, make_passable};
use crate::environment::{NodeFacts, environment};
use crate::kept::Kept;
use crate::spawner::message::{Credentials, Output, Role, SpawnOrder};

/// Where one attempt works and writes, all paths absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its folder.
    pub folder: String,
    /// The folder's own `wd`.
    pub wd: String,
    /// Where its command starts.
    pub workdir: String,
    /// Standard output.
    pub stdout: Place,
    /// Standard error.
    pub stderr: Place,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Place {
    /// Nowhere.
    Null,
    /// To a file.
    At {
        /// Absolute.
        path: String,
    },
}

impl Place {
    /// As a path.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "/dev/null".to_owned(),
            Self::At { path } => path.clone(),
        }
    }

    fn of(given: Option<&str>, workdir: &str, own: &str) -> Self {
        match given {
            Some("nul" | "NUL" | "/dev/null") => Self::Null,
            Some(path) => Self::At {
                path: join(workdir, path),
            },
            None => Self::At { path: own.to_owned() },
        }
    }
}

/// What is kept beside a task's folder when its outputs lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputPaths {
    pub(crate) stdout: Place,
    pub(crate) stderr: Place,
    /// As whom they were written.
    pub(crate) credentials: Option<Credentials>,
}

/// Why a task's folder cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the task's folder {path} cannot be made: {source}")]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

fn join(folder: &str, path: &str) -> String {
    Path::new(folder).join(path).to_string_lossy().into_owned()
}

/// Where an attempt works and writes.
#[must_use]
pub fn places(directory: &NodeDirectory, order: &StartOrder) -> Places {
    let folder = directory.task(order.task, order.attempt).to_string_lossy().into_owned();
    let wd = join(&folder, "wd");
    let workdir = order
        .workdir
        .as_deref()
        .map_or_else(|| wd.clone(), |given| join(&wd, given));
    let place = |given: &Option<String>, own| Place::of(given.as_deref(), &workdir, &join(&folder, own));
    let (stdout, stderr) = (place(&order.stdout, "stdout.txt"), place(&order.stderr, "stderr.txt"));
    Places {
        stdout,
        stderr,
        folder,
        wd,
        workdir,
    }
}

/// Makes an attempt's folder, as its user's. One that is there already stays.
///
/// # Errors
/// [`FolderError`], naming the path.
pub fn make_folder(directory: &NodeDirectory, order: &StartOrder, account: &Account) -> Result<(), FolderError> {
    let job = directory.job(order.task.job);
    make_passable(&job).map_err(|source| FolderError { path: job, source })?;
    let folder = directory.task(order.task, order.attempt);
    make_private(&folder, account.credentials.as_ref()).map_err(|source| FolderError { path: folder, source })
}

/// The folder becomes the user's last: until then nobody else can put anything into it, so no call here can be led
/// elsewhere by a link.
fn make_private(folder: &Path, user: Option<&Credentials>) -> io::Result<()> {
    make_0700(folder)?;
    let is_theirs = user.is_some_and(|user| user.uid != 0) && fs::symlink_metadata(folder)?.uid() != 0;
    if is_theirs {
        return Ok(());
    }
    let wd = folder.join("wd");
    make_0700(&wd)?;
    if let Some(user) = user {
        lchown(&wd, Some(user.uid), Some(user.gid))?;
        lchown(folder, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

fn make_0700(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The task's own command, ready to be started.
///
/// # Errors
/// [`FolderError`].
pub fn root_order(
    directory: &NodeDirectory,
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    new_privileges: bool,
) -> Result<SpawnOrder, FolderError> {
    let order = &kept.order;
    make_folder(directory, order, account)?;
    let places = places(directory, order);
    if order.stdout.is_some() || order.stderr.is_some() {
        remember_paths(directory, order, &places, account)?;
    }
    let output = |place: &Place| match place {
        Place::Null => Output::Null,
        Place::At { path } => Output::File { path: path.clone() },
    };
    let merged = places.stdout == places.stderr;
    Ok(SpawnOrder {
        attempt: order.attempt,
        role: Role::Root,
        command: order.command.clone(),
        env: environment(node, kept, account, &places, socket_of(directory, order).as_deref()),
        workdirs: vec![places.workdir.clone()],
        own_workdir: order.workdir.is_none(),
        stdout: output(&places.stdout),
        stderr: if merged { Output::Stdout } else { output(&places.stderr) },
        credentials: account.credentials.clone(),
        runtime_limit: order.runtime_limit,
        new_privileges,
    })
}

/// A proxy of a launch, ready to be started.
///
/// # Errors
/// [`FolderError`].
pub fn proxy_order(
    directory: &NodeDirectory,
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    proxy: &ProxyStart,
    new_privileges: bool,
) -> Result<SpawnOrder, FolderError> {
    let order = &kept.order;
    make_folder(directory, order, account)?;
    let places = places(directory, order);
    let mut env = environment(node, kept, account, &places, socket_of(directory, order).as_deref());
    env.push((LAUNCH_VARIABLE.to_owned(), proxy.launch.to_string()));
    env.push((RENDEZVOUS_VARIABLE.to_owned(), proxy.rendezvous.to_string()));
    Ok(SpawnOrder {
        attempt: order.attempt,
        role: Role::Proxy { launch: proxy.launch },
        command: vec![proxy.program.clone(), "proxy".to_owned()],
        env,
        // A workdir on the primary's own disk is not here; ranks that need it fail by name, others run.
        workdirs: vec![places.workdir.clone(), places.wd.clone()],
        own_workdir: false,
        stdout: Output::Append {
            path: join(&places.folder, "proxy.log"),
        },
        stderr: Output::Stdout,
        credentials: account.credentials.clone(),
        runtime_limit: None,
        new_privileges,
    })
}

/// What tells one proxy from another.
#[derive(Debug, Clone)]
pub struct ProxyStart {
    /// The launch.
    pub launch: proto::ids::LaunchId,
    /// Where it is to dial.
    pub rendezvous: std::net::SocketAddr,
    /// `muster-mpiexec`.
    pub program: String,
}

fn socket_of(directory: &NodeDirectory, order: &StartOrder) -> Option<String> {
    order
        .authority
        .as_ref()
        .map(|_| directory.task_socket(order.attempt).to_string_lossy().into_owned())
}

fn paths_file(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".paths");
    name.into()
}

fn remember_paths(
    directory: &NodeDirectory,
    order: &StartOrder,
    places: &Places,
    account: &Account,
) -> Result<(), FolderError> {
    let paths = OutputPaths {
        stdout: places.stdout.clone(),
        stderr: places.stderr.clone(),
        credentials: account.credentials.clone(),
    };
    let mut bytes = Vec::new();
    let path = paths_file(&directory.task(order.task, order.attempt));
    let written = frame::encode(&paths, &mut bytes)
        .map_err(io::Error::other)
        .and_then(|()| fs::write(&path, bytes));
    written.map_err(|source| FolderError { path, source })
}

/// Where the outputs of an attempt went, also long after its end; none when it never had a folder here.
pub(crate) fn output_paths(directory: &NodeDirectory, job: JobId, attempt: AttemptId) -> Option<OutputPaths> {
    let folder = fs::read_dir(directory.job(job)).ok()?.find_map(|entry| {
        let name = entry.ok()?.file_name();
        let (_task, of) = name.to_str()?.split_once('-')?;
        (of.parse() == Ok(attempt)).then(|| directory.job(job).join(&name))
    })?;
    if let Ok(bytes) = fs::read(paths_file(&folder)) {
        let (start, end) = frame::split(&bytes).ok()??;
        return frame::decode(bytes.get(start..end)?).ok();
    }
    let at = |name: &str| Place::At {
        path: folder.join(name).to_string_lossy().into_owned(),
    };
    let owner = fs::symlink_metadata(&folder).ok()?;
    let credentials = nix::unistd::geteuid().is_root().then(|| Credentials {
        uid: owner.uid(),
        gid: owner.gid(),
        groups: vec![owner.gid()],
    });
    Some(OutputPaths {
        stdout: at("stdout.txt"),
        stderr: at("stderr.txt"),
        credentials,
    })
}

/// Gives a path to a task's user.
pub(crate) fn give_to(path: &Path, owner: &proto::model::owner::Owner) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        chown(path, Some(owner.uid), Some(owner.gid))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::tests::kept;

    fn directory() -> (tempfile::TempDir, NodeDirectory) {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = NodeDirectory::open(folder.path()).expect("opens");
        (folder, directory)
    }

    fn account() -> Account {
        Account {
            name: "me".to_owned(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
            credentials: None,
        }
    }

    #[test]
    fn outputs_start_at_the_workdir_and_nul_means_none() {
        let (_folder, directory) = directory();
        let mut order = kept(7, &["node1"]).order;
        let own = places(&directory, &order);
        assert!(own.workdir.ends_with("tasks/12/1-7/wd"), "{}", own.workdir);
        assert_eq!(
            own.stdout,
            Place::At {
                path: format!("{}/stdout.txt", own.folder)
            }
        );
        order.workdir = Some("/share/x".to_owned());
        order.stdout = Some("out.txt".to_owned());
        order.stderr = Some("nul".to_owned());
        let given = places(&directory, &order);
        assert_eq!(
            (given.stdout, given.stderr),
            (
                Place::At {
                    path: "/share/x/out.txt".to_owned()
                },
                Place::Null
            )
        );
    }

    #[test]
    fn outputs_are_found_again_by_job_and_attempt() {
        let (_folder, directory) = directory();
        let order = kept(7, &["node1"]).order;
        let find = |attempt| output_paths(&directory, JobId(12), AttemptId(attempt));
        assert_eq!(find(7), None);
        make_folder(&directory, &order, &account()).expect("makes it");
        make_folder(&directory, &order, &account()).expect("once more");
        assert_eq!(
            find(7).map(|paths| paths.stdout),
            Some(places(&directory, &order).stdout)
        );
        assert_eq!(find(17), None);

        let mut elsewhere = kept(8, &["node1"]).order;
        elsewhere.stdout = Some("/tmp/x".to_owned());
        make_folder(&directory, &elsewhere, &account()).expect("makes it");
        remember_paths(&directory, &elsewhere, &places(&directory, &elsewhere), &account()).expect("writes");
        assert_eq!(
            find(8).map(|paths| paths.stdout),
            Some(Place::At {
                path: "/tmp/x".to_owned()
            })
        );
    }
}
