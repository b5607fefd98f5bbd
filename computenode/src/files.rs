//! Tasks' output files, for the head node: their ends here, as they grow in [`crate::follow`].
//!
//! A user may name any path, and may put a link into the task's folder; so a file is opened with the user's rights, by
//! a thread that gives up the daemon's for file access. Only regular files are read: a pipe would wait for ever.
//! The agent's own thread never touches such a file: it may lie on a server that does not answer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::control::{FileReply, FileRequest, MAX_PIECE_BYTES, TaskFile};
use proto::ids::{AttemptId, JobId};
use tokio::sync::Semaphore;
use transport::control::StreamWriter;

use crate::attempts::Attempts;
use crate::directory::NodeDirectory;
use crate::spawner::message::Credentials;
use crate::watch::Watches;
use crate::workdir::{OutputPaths, Place, output_paths};

/// How many files are read at once; more wait.
const MAX_READERS: usize = 8;

/// How many follow outputs of this node at once; more are refused.
pub(crate) const MAX_FOLLOWERS: usize = 256;

/// How many talk to interactive tasks of this node at once; more are refused.
pub(crate) const MAX_TALKERS: usize = 64;

/// How long the head node may take to take the answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// How much of a file its last line is looked for in.
const LAST_LINE_BYTES: usize = 4096;

/// Why there is no file.
pub(crate) const NO_FOLDER: &str = "the task has no folder on its node: its outputs go nowhere (nul), it was never started \
                                    there, or its retention is over and it was removed";
pub(crate) const SENT_NOWHERE: &str = "the output was sent nowhere (nul)";

/// Reads for the head node. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) directory: NodeDirectory,
    pub(crate) attempts: Attempts,
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) talkers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    /// Made when it is first needed; nothing when the system gives none.
    watches: Arc<OnceLock<Option<Watches>>>,
}

impl Files {
    pub(crate) fn new(directory: NodeDirectory, attempts: Attempts) -> Self {
        Self {
            directory,
            attempts,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            talkers: Arc::new(Semaphore::new(MAX_TALKERS)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            watches: Arc::default(),
        }
    }

    /// Answers a question for the end of a file.
    pub(crate) async fn answer(self, mut to: StreamWriter, request: FileRequest) -> anyhow::Result<()> {
        let directory = self.directory.clone();
        let reply = self.reading(move || read(&directory, &request)).await?;
        tokio::time::timeout(DEADLINE, async {
            to.send(&reply).await?;
            to.finish().await
        })
        .await??;
        Ok(())
    }

    /// Does something with files on a thread that may wait for them, a few at a time.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let permit = Arc::clone(&self.readers).acquire_owned().await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        Ok(done.await?)
    }

    /// Tells of changes of files, where the system does.
    pub(crate) fn watches(&self) -> Option<&Watches> {
        let made = self.watches.get_or_init(|| {
            Watches::new()
                .inspect_err(|error| tracing::warn!("outputs are looked at once a second: no inotify: {error}"))
                .ok()
        });
        made.as_ref()
    }
}

/// The end of a file, or why there is none.
pub(crate) fn read(directory: &NodeDirectory, request: &FileRequest) -> FileReply {
    let missing = |reason: String| FileReply::Missing { reason };
    let Some(paths) = output_paths(directory, request.job, request.attempt) else {
        return missing(NO_FOLDER.to_owned());
    };
    let Place::At { path } = place_of(&paths, request.file) else {
        return missing(SENT_NOWHERE.to_owned());
    };
    let file = open_output(&paths.folder, paths.credentials.as_ref(), Path::new(path));
    let most = usize::try_from(request.last_bytes)
        .unwrap_or(usize::MAX)
        .min(MAX_PIECE_BYTES);
    match file.and_then(|file| tail(file, most)) {
        Ok(reply) => reply,
        Err(error) => missing(format!("{path}: {error}")),
    }
}

/// The last line that is not empty of a file in an attempt's folder; empty when there is none.
pub(crate) fn last_line(directory: &NodeDirectory, job: JobId, attempt: AttemptId, name: &str) -> String {
    let opened = output_paths(directory, job, attempt).and_then(|paths| {
        let path = paths.folder.join(name);
        open_output(&paths.folder, paths.credentials.as_ref(), &path).ok()
    });
    let Some(Ok(FileReply::Tail { bytes, .. })) = opened.map(|file| tail(file, LAST_LINE_BYTES)) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or_default().to_owned()
}

/// Where one of an attempt's outputs went.
pub(crate) const fn place_of(paths: &OutputPaths, file: TaskFile) -> &Place {
    match file {
        TaskFile::Stdout => &paths.stdout,
        TaskFile::Stderr => &paths.stderr,
    }
}

fn tail(mut file: File, most: usize) -> io::Result<FileReply> {
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(most as u64);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    // The file may be growing.
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(FileReply::Tail { skipped, bytes })
}

/// Opens an output of an attempt, or what lies beside it, as `user`, whose the attempt's folder was when it was looked at.
pub(crate) fn open_output(folder: &Path, user: Option<&Credentials>, path: &Path) -> io::Result<File> {
    let file = open_as(user, path)?;
    // A folder is root's while it is made, and its user's ever after. Whoever looked in between has taken the user for
    // root, and the user may have put a link there since; with root's rights it would lead anywhere.
    let is_roots = user.is_some_and(|user| user.uid == 0);
    if is_roots && std::fs::symlink_metadata(folder)?.uid() != 0 {
        return Err(io::Error::other("the task's folder was just being made; try again"));
    }
    Ok(file)
}

/// Opens a regular file for reading, with the rights of a user where the daemon has more.
pub(crate) fn open_as(user: Option<&Credentials>, path: &Path) -> io::Result<File> {
    let open = |path: &Path| {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is not a regular file"))
        }
    };
    let Some(user) = user else { return open(path) };
    let reader = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                become_user(user)?;
                let opened = open(path);
                become_root();
                opened
            })
            .join()
    });
    reader.unwrap_or_else(|_| Err(io::Error::other("the reading thread failed")))
}

/// Gives this thread a user's rights over files, and no others: with the user's own ids as real ones it could be
/// signalled by the user, and a signal's effect is on the whole process. The thread must end afterwards: it has the
/// user's groups.
fn become_user(user: &Credentials) -> io::Result<()> {
    // The C library's calls of these names change all threads of a process; the system calls change the one that makes
    // them, which is what is wanted here.
    // SAFETY: the list is as long as said and lives through the call.
    if unsafe { libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if file_id(libc::SYS_setfsgid, user.gid) && file_id(libc::SYS_setfsuid, user.uid) {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// The end of the above, as far as it can be taken back.
fn become_root() {
    file_id(libc::SYS_setfsuid, 0);
    file_id(libc::SYS_setfsgid, 0);
}

/// Sets one of the two ids that count for files. The calls tell the id before and never fail aloud: only a second one,
/// with an id that is none, tells whether the first did anything.
fn file_id(call: libc::c_long, id: u32) -> bool {
    // SAFETY: both take a number and touch no memory.
    let now = unsafe {
        libc::syscall(call, libc::c_long::from(id));
        libc::syscall(call, libc::c_long::from(-1))
    };
    now == libc::c_long::from(id)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn request(last_bytes: u32) -> FileRequest {
        FileRequest {
            job: JobId(12),
            attempt: AttemptId(7),
            file: TaskFile::Stdout,
            last_bytes,
        }
    }

    fn reason(reply: FileReply) -> String {
        match reply {
            FileReply::Missing { reason } => reason,
            FileReply::Tail { .. } => panic!("a file where none was expected"),
        }
    }

    #[test]
    fn the_end_of_a_file_is_read_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = NodeDirectory::open(folder.path()).expect("opens");
        assert!(reason(read(&directory, &request(9))).contains("never started"));
        let task = directory.job(JobId(12)).join("1-7");
        fs::create_dir_all(&task).expect("makes it");
        let stdout = task.join("stdout.txt");
        assert!(reason(read(&directory, &request(9))).contains("stdout.txt: No such file"));
        fs::write(&stdout, "0123456789").expect("writes");
        let expected = FileReply::Tail {
            skipped: 6,
            bytes: b"6789".to_vec(),
        };
        assert_eq!(read(&directory, &request(4)), expected);
        fs::remove_file(&stdout).expect("is there");
        nix::unistd::mkfifo(&stdout, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(reason(read(&directory, &request(4))).contains("not a regular file"));
    }

    #[test]
    fn a_link_to_roots_file_does_not_open_it() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED a_link_to_roots_file_does_not_open_it: needs root");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).expect("sets the mode");
        let directory = NodeDirectory::open(folder.path()).expect("opens");
        let task = directory.job(JobId(12)).join("1-7");
        fs::create_dir_all(&task).expect("makes it");
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").expect("writes");
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("sets the mode");
        symlink(&secret, task.join("stdout.txt")).expect("links");
        // Looked at before the folder was given away, and opened after it.
        let early = output_paths(&directory, JobId(12), AttemptId(7)).expect("a folder");
        std::os::unix::fs::chown(&task, Some(4242), Some(4242)).expect("gives it away");
        let late = open_output(&early.folder, early.credentials.as_ref(), &task.join("stdout.txt"));
        assert!(late.expect_err("is root's").to_string().contains("just being made"));
        assert!(reason(read(&directory, &request(4))).contains("Permission denied"));
        let theirs = task.join("stdout.txt");
        fs::remove_file(&theirs).expect("is there");
        fs::write(&theirs, "theirs").expect("writes");
        fs::set_permissions(&theirs, PermissionsExt::from_mode(0o600)).expect("sets the mode");
        std::os::unix::fs::chown(&theirs, Some(4242), Some(4242)).expect("gives it away");
        assert!(matches!(read(&directory, &request(9)), FileReply::Tail { bytes, .. } if bytes == b"theirs"));
        // This thread kept its rights.
        assert_eq!(fs::read_to_string(&secret).expect("reads"), "secret");
    }
}
