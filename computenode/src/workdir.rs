//! Folders of tasks, and from an order to what the spawner starts.
//!
//! Only the task's own folder is touched here, with the daemon's rights, below folders that users cannot write.
//! Whatever else the user named (workdir, output files, the program) is opened by the new process itself, as the user.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use proto::control::StartOrder;
use proto::frame;
use proto::ids::{AttemptId, JobId};
use proto::launch::{LAUNCH_VARIABLE, RANK_NOTES_VARIABLE, RENDEZVOUS_VARIABLE};
use proto::model::role::TaskRole;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::commands::own_program;
use crate::directory::{NodeDirectory, make_passable};
use crate::environment::{NodeFacts, environment};
use crate::kept::Kept;
use crate::spawner::message::{Credentials, Output, Role, SpawnOrder};
use crate::{common_files, retention};

/// In a task's folder: its outputs when the user named no others,
const STDOUT_NAME: &str = "stdout.txt";
const STDERR_NAME: &str = "stderr.txt";

/// those of its coordination command,
const COORDINATION_STDOUT: &str = "coordination-stdout.txt";
pub(crate) const COORDINATION_STDERR: &str = "coordination-stderr.txt";

/// the text of a script task,
const SCRIPT_NAME: &str = "script";

/// and the socket where an interactive task takes input.
pub(crate) const INPUT_NAME: &str = "input";

/// Where one attempt works and writes, all paths absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its folder.
    pub folder: String,
    /// The folder's own `wd`.
    pub wd: String,
    /// Where its command starts.
    pub workdir: String,
    /// Standard input.
    pub stdin: Place,
    /// Standard output.
    pub stdout: Place,
    /// Standard error.
    pub stderr: Place,
}

/// Where an output goes, or the input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Place {
    /// Nowhere.
    Null,
    /// A file.
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

    fn of(given: &str, workdir: &str) -> Self {
        match given {
            "nul" | "NUL" | "/dev/null" => Self::Null,
            path => Self::At {
                path: join(workdir, path),
            },
        }
    }

    fn path(&self) -> Option<&str> {
        match self {
            Self::Null => None,
            Self::At { path } => Some(path),
        }
    }
}

/// What is kept beside a task's folder when its outputs lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputPaths {
    /// The attempt's folder.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    pub(crate) stdout: Place,
    pub(crate) stderr: Place,
    /// As whom they were written.
    pub(crate) credentials: Option<Credentials>,
}

/// Why a task's command cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its folder, or what belongs into it.
    #[error("the task's folder {path} cannot be made: {source}")]
    Folder {
        /// What exactly.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that every node of the task gets.
    #[error("the common file '{file}' cannot be put into the task's folder: {source}")]
    CommonFile {
        /// As it was named.
        file: String,
        /// What the system said, or what is wrong with the name.
        source: io::Error,
    },
    /// Two inputs.
    #[error("an interactive task takes its input from whoever attaches, not from '{stdin}': leave out one of the two")]
    TwoInputs {
        /// The file.
        stdin: String,
    },
    /// There is nothing that could keep its terminal.
    #[error("an interactive task cannot be started: this daemon's own program is not found: {0}")]
    NoSession(#[source] io::Error),
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
    let output = |given: &Option<String>, own| match given {
        Some(given) => Place::of(given, &workdir),
        None => Place::At {
            path: join(&folder, own),
        },
    };
    let stdin = order
        .stdin
        .as_deref()
        .map_or(Place::Null, |given| Place::of(given, &workdir));
    let (stdout, stderr) = (output(&order.stdout, STDOUT_NAME), output(&order.stderr, STDERR_NAME));
    Places {
        stdin,
        stdout,
        stderr,
        folder,
        wd,
        workdir,
    }
}

/// Whether an attempt gets a folder: not when it writes nowhere and works elsewhere, so that nothing would be in it. Such
/// tasks are the quickest.
#[must_use]
pub fn needs_folder(order: &StartOrder) -> bool {
    let nowhere = |output: &Option<String>| {
        output
            .as_deref()
            .is_some_and(|path| Place::of(path, "/") == Place::Null)
    };
    let elsewhere = order
        .workdir
        .as_deref()
        .is_some_and(|path| Path::new(path).is_absolute());
    let bare = elsewhere
        && nowhere(&order.stdout)
        && nowhere(&order.stderr)
        && order.script.is_none()
        && order.common_files.is_empty()
        && order.interactive.is_none()
        && order.coordination.is_none()
        && order.role == TaskRole::Task;
    !bare
}

/// Makes an attempt's folder, as its user's. One that is there already stays.
///
/// # Errors
/// [`PrepareError::Folder`], naming the path; [`PrepareError::CommonFile`], naming the file.
pub fn make_folder(directory: &NodeDirectory, order: &StartOrder, account: &Account) -> Result<(), PrepareError> {
    let folder = directory.task(order.task, order.attempt);
    let failed = |source| PrepareError::Folder {
        path: folder.clone(),
        source,
    };
    make_empty(&directory.job(order.task.job), &folder).map_err(failed)?;
    retention::remember(&folder, order.retention).map_err(failed)?;
    let user = account.credentials.as_ref();
    let is_theirs = user.is_some_and(|user| user.uid != 0) && fs::symlink_metadata(&folder).map_err(failed)?.uid() != 0;
    if is_theirs {
        return Ok(());
    }
    make_private(&folder, order, user)?;
    if order.role == TaskRole::Start {
        link_startup(directory, &folder).map_err(failed)?;
    }
    Ok(())
}

/// The folder of an attempt that never started anything.
pub(crate) fn discard_folder(directory: &NodeDirectory, order: &StartOrder) {
    let folder = directory.task(order.task, order.attempt);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("the folder {} stays: {error}", folder.display());
        }
        _ => {}
    }
}

/// The folder of a job goes when its last task's folder went, which may be just now.
fn make_empty(job: &Path, folder: &Path) -> io::Result<()> {
    let mut tries = 3;
    loop {
        tries -= 1;
        make_passable(job)?;
        match make_0700(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            made => return made,
        }
    }
}

/// The folder becomes the user's last: until then nobody else can put anything into it, so no call here can be led
/// elsewhere by a link.
fn make_private(folder: &Path, order: &StartOrder, user: Option<&Credentials>) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Folder {
        path: folder.to_owned(),
        source,
    };
    let wd = folder.join("wd");
    make_0700(&wd).map_err(failed)?;
    if let Some(text) = &order.script {
        write_script(folder, text, user).map_err(failed)?;
    }
    for file in &order.common_files {
        common_files::write(folder, file, user).map_err(|source| PrepareError::CommonFile {
            file: file.path.clone(),
            source,
        })?;
    }
    if let Some(user) = user {
        lchown(&wd, Some(user.uid), Some(user.gid)).map_err(failed)?;
        lchown(folder, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    Ok(())
}

/// The folder of the newest start task is found at the same place always.
fn link_startup(directory: &NodeDirectory, folder: &Path) -> io::Result<()> {
    let (link, part) = (directory.startup(), directory.path().join("startup.part"));
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(folder, &part)?;
    fs::rename(part, link)
}

/// Whole or not at all: the agent may be killed here, and what is there already may be running.
fn write_script(folder: &Path, text: &str, user: Option<&Credentials>) -> io::Result<()> {
    let (script, part) = (folder.join(SCRIPT_NAME), folder.join("script.part"));
    if script.exists() {
        return Ok(());
    }
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(&part)?;
    file.write_all(text.as_bytes())?;
    if let Some(user) = user {
        lchown(&part, Some(user.uid), Some(user.gid))?;
    }
    fs::rename(&part, &script)
}

pub(crate) fn make_0700(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The task's own command, ready to be started.
///
/// # Errors
/// [`PrepareError`].
pub fn root_order(
    directory: &NodeDirectory,
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    new_privileges: bool,
) -> Result<SpawnOrder, PrepareError> {
    let order = &kept.order;
    if let (Some(_), Some(stdin)) = (order.interactive, &order.stdin) {
        return Err(PrepareError::TwoInputs { stdin: stdin.clone() });
    }
    let started = Started::of(directory, order)?;
    let places = places(directory, order);
    if needs_folder(order) {
        make_folder(directory, order, account)?;
        if order.stdout.is_some() || order.stderr.is_some() {
            remember_paths(directory, order, &places, account)?;
        }
    }
    let output = |place: &Place| match place {
        Place::Null => Output::Null,
        Place::At { path } => Output::File { path: path.clone() },
    };
    let merged = places.stdout == places.stderr;
    Ok(SpawnOrder {
        attempt: order.attempt,
        role: Role::Root,
        command: started.command,
        program: started.program,
        env: environment(node, kept, account, &places, socket_of(directory, order).as_deref()),
        workdirs: vec![places.workdir.clone()],
        own_workdir: order.workdir.is_none(),
        stdin: places.stdin.path().map(str::to_owned),
        stdout: output(&places.stdout),
        stderr: if merged { Output::Stdout } else { output(&places.stderr) },
        credentials: account.credentials.clone(),
        runtime_limit: order.runtime_limit,
        new_privileges,
        single: order.single,
        ahead: order.ahead,
        cores: kept.core_ids.clone(),
    })
}

/// The task's coordination command, ready to be started on this node.
///
/// # Errors
/// [`PrepareError`].
pub fn coordination_order(
    directory: &NodeDirectory,
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    new_privileges: bool,
) -> Result<SpawnOrder, PrepareError> {
    let order = &kept.order;
    make_folder(directory, order, account)?;
    let places = places(directory, order);
    let mut env = environment(node, kept, account, &places, socket_of(directory, order).as_deref());
    // Notes are of the outputs of the task's own command.
    env.retain(|(name, _)| name != RANK_NOTES_VARIABLE);
    Ok(SpawnOrder {
        attempt: order.attempt,
        role: Role::Coordination,
        command: order.coordination.clone().unwrap_or_default(),
        program: None,
        env,
        // As for proxies: the primary's own disk is not here.
        workdirs: vec![places.workdir.clone(), places.wd.clone()],
        own_workdir: order.workdir.is_none(),
        stdin: None,
        stdout: Output::File {
            path: join(&places.folder, COORDINATION_STDOUT),
        },
        stderr: Output::File {
            path: join(&places.folder, COORDINATION_STDERR),
        },
        credentials: account.credentials.clone(),
        // A command that hangs on one node would hold all of them.
        runtime_limit: order.runtime_limit,
        new_privileges,
        single: false,
        ahead: false,
        cores: Vec::new(),
    })
}

/// What is run for a task, and under which words.
#[derive(Debug, PartialEq, Eq)]
struct Started {
    program: Option<String>,
    command: Vec<String>,
}

impl Started {
    fn of(directory: &NodeDirectory, order: &StartOrder) -> Result<Self, PrepareError> {
        let folder = directory.task(order.task, order.attempt);
        let own = match &order.script {
            Some(text) => Self::of_script(&folder, text, &order.command),
            None => Self {
                program: None,
                command: order.command.clone(),
            },
        };
        match order.interactive {
            Some(interactive) => own.in_session(&folder, interactive.terminal),
            None => Ok(own),
        }
    }

    /// The script in place of the command's first word, which stays its name.
    fn of_script(folder: &Path, text: &str, command: &[String]) -> Self {
        let path = folder.join(SCRIPT_NAME).to_string_lossy().into_owned();
        let name = command.first().unwrap_or(&path).clone();
        let arguments = command.iter().skip(1).cloned();
        if text.starts_with("#!") {
            Self {
                program: Some(path),
                command: [name].into_iter().chain(arguments).collect(),
            }
        } else {
            // The kernel runs no file without a first line; shells do, and so does everybody's habit.
            Self {
                program: Some("/bin/sh".to_owned()),
                command: [name, path].into_iter().chain(arguments).collect(),
            }
        }
    }

    /// The same below a process that keeps its terminal or its input.
    fn in_session(self, folder: &Path, terminal: bool) -> Result<Self, PrepareError> {
        let own = own_program().map_err(PrepareError::NoSession)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut command = vec![
            text(own),
            "session".to_owned(),
            "--socket".to_owned(),
            text(folder.join(INPUT_NAME)),
        ];
        if terminal {
            command.push("--terminal".to_owned());
        }
        if let Some(program) = self.program {
            command.extend(["--program".to_owned(), program]);
        }
        command.push("--".to_owned());
        command.extend(self.command);
        Ok(Self { program: None, command })
    }
}

/// A proxy of a launch, ready to be started.
///
/// # Errors
/// [`PrepareError`].
pub fn proxy_order(
    directory: &NodeDirectory,
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    proxy: &ProxyStart,
    new_privileges: bool,
) -> Result<SpawnOrder, PrepareError> {
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
        program: None,
        env,
        // A workdir on the primary's own disk is not here; ranks that need it fail by name, others run.
        workdirs: vec![places.workdir.clone(), places.wd.clone()],
        own_workdir: false,
        stdin: None,
        stdout: Output::Append {
            path: join(&places.folder, "proxy.log"),
        },
        stderr: Output::Stdout,
        credentials: account.credentials.clone(),
        runtime_limit: None,
        new_privileges,
        single: false,
        ahead: false,
        cores: Vec::new(),
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
) -> Result<(), PrepareError> {
    let paths = OutputPaths {
        folder: PathBuf::new(),
        stdout: places.stdout.clone(),
        stderr: places.stderr.clone(),
        credentials: account.credentials.clone(),
    };
    let mut bytes = Vec::new();
    let path = paths_file(&directory.task(order.task, order.attempt));
    let written = frame::encode(&paths, &mut bytes)
        .map_err(io::Error::other)
        .and_then(|()| fs::write(&path, bytes));
    written.map_err(|source| PrepareError::Folder { path, source })
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
        let paths = frame::decode(bytes.get(start..end)?).ok()?;
        return Some(OutputPaths { folder, ..paths });
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
        stdout: at(STDOUT_NAME),
        stderr: at(STDERR_NAME),
        credentials,
        folder,
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
