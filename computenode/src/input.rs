//! Input for an interactive task, from the head node to the session that keeps its terminal.
//!
//! One input at a time: the next is read when the one before was written to where the program reads, so a program that
//! reads slowly holds up whoever types and fills nothing here. The session runs as the task's user, who may put
//! anything in its place: what is connected to has to be that user's own socket, and gets nothing but what was typed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::control::{Input, InputReply};
use proto::ids::AttemptId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use transport::control::{StreamReader, StreamWriter};

use crate::attempts::{Present, Stage};
use crate::files::{Files, MAX_TALKERS};
use crate::session::wire::{self, MAX_INPUT_BYTES};
use crate::watch::Watch;
use crate::workdir::INPUT_NAME;

/// Between two looks for the session's socket where nothing was told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The largest frame of an input: its bytes and what stands around them.
const MAX_FRAME_BYTES: usize = MAX_INPUT_BYTES + 1024;

/// Carries input until there is no more of it, the program reads no more, or nobody listens to the answers.
pub(crate) async fn serve(
    files: Files,
    mut to: StreamWriter,
    from: StreamReader,
    attempt: AttemptId,
) -> anyhow::Result<()> {
    let unheard = to.inner().stopped();
    let reason = tokio::select! {
        ended = carry(&files, &mut to, from, attempt) => ended?,
        _ = unheard => return Ok(()),
    };
    if let Some(reason) = reason {
        to.send(&InputReply::Closed { reason }).await?;
    }
    Ok(to.finish().await?)
}

/// The answer says why no more input is taken; nothing when there is no more.
async fn carry(
    files: &Files,
    to: &mut StreamWriter,
    mut from: StreamReader,
    attempt: AttemptId,
) -> anyhow::Result<Option<String>> {
    from.set_limit(MAX_FRAME_BYTES);
    let Ok(_place) = Arc::clone(&files.talkers).try_acquire_owned() else {
        return Ok(Some(format!(
            "{MAX_TALKERS} interactive tasks of this node take input already; try again later"
        )));
    };
    let mut session = match attach(files, attempt).await? {
        Ok(session) => session,
        Err(reason) => return Ok(Some(reason)),
    };
    while let Some(input) = from.recv::<Input>().await? {
        if matches!(&input, Input::Bytes { bytes } if bytes.len() > MAX_INPUT_BYTES) {
            return Ok(Some(format!("an input is longer than {MAX_INPUT_BYTES} bytes")));
        }
        if !hand_on(&mut session, &input).await {
            return Ok(Some(
                "the task takes no more input: it has ended, closed its input, or another one attached to it"
                    .to_owned(),
            ));
        }
        to.send(&InputReply::Taken).await?;
    }
    Ok(None)
}

/// Whether it was written to where the program reads.
async fn hand_on(session: &mut UnixStream, input: &Input) -> bool {
    let written = session.write_all(&wire::encode(input)).await;
    let answer = match written {
        Ok(()) => session.read_u8().await,
        Err(error) => Err(error),
    };
    answer.is_ok_and(|answer| answer == wire::TAKEN)
}

/// The task's session; waits for one that is about to start. The inner error is for people.
async fn attach(files: &Files, attempt: AttemptId) -> anyhow::Result<Result<UnixStream, String>> {
    let Some(mut present) = files.attempts.find_soon(attempt).await else {
        return Ok(Err("the task has ended, or was never started on its node".to_owned()));
    };
    let order = &present.kept.order;
    if order.interactive.is_none() {
        return Ok(Err(format!(
            "task {} takes no input: it was not submitted as interactive",
            order.task
        )));
    }
    let folder = files.directory.task(order.task, attempt);
    let wake = Arc::new(Notify::new());
    let mut watch = None;
    loop {
        match present.stage() {
            Stage::Over => return Ok(Err(format!("task {} has ended", present.kept.order.task))),
            Stage::Held => {
                present.changed().await;
                continue;
            }
            Stage::Started => {}
        }
        // Before the look, so that what comes after it is told.
        if watch.is_none() {
            watch = watch_folder(files, &folder, &wake).await?;
        }
        let path = folder.clone();
        match files.reading(move || find_socket(&path)).await? {
            Ok(found) => match UnixStream::connect(near(&found)).await {
                Ok(session) => return Ok(Ok(session)),
                Err(error) => tracing::debug!(%attempt, "the session does not take a connection: {error}"),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Ok(Err(format!("the task's input cannot be reached: {error}"))),
        }
        wait(&mut present, &wake).await;
    }
}

async fn wait(present: &mut Present, wake: &Notify) {
    tokio::select! {
        () = wake.notified() => {}
        () = present.changed() => {}
        () = tokio::time::sleep(LOOK_AGAIN) => {}
    }
}

/// Without a watch the socket is looked for once a second.
async fn watch_folder(files: &Files, folder: &Path, wake: &Arc<Notify>) -> anyhow::Result<Option<Watch>> {
    let path = folder.to_owned();
    let opened = files.reading(move || open_folder(&path)).await?;
    let Some((watches, folder)) = files.watches().zip(opened.ok()) else {
        return Ok(None);
    };
    Ok(watches.folder(&folder, wake).ok())
}

fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// The socket itself, not what its name may mean a moment later: a link, or somebody else's socket, is refused.
fn find_socket(folder: &Path) -> io::Result<File> {
    let folder = open_folder(folder)?;
    let socket = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(near(&folder).join(INPUT_NAME))?;
    let (found, owner) = (socket.metadata()?, folder.metadata()?.uid());
    if found.file_type().is_socket() && found.uid() == owner {
        Ok(socket)
    } else {
        Err(io::Error::other("what lies in its place is not the task's own socket"))
    }
}

/// A path to an open file.
fn near(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_tasks_own_socket_is_connected_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = folder.path().join(INPUT_NAME);
        let kind = |found: io::Result<File>| found.map(drop).map_err(|error| error.kind());
        assert_eq!(kind(find_socket(folder.path())), Err(io::ErrorKind::NotFound));
        let elsewhere = tempfile::tempdir().expect("a folder");
        let other = elsewhere.path().join("head.sock");
        let _listener = UnixListener::bind(&other).expect("a socket");
        symlink(&other, &input).expect("links");
        assert_eq!(kind(find_socket(folder.path())), Err(io::ErrorKind::Other));
        std::fs::remove_file(&input).expect("is there");
        let _own = UnixListener::bind(&input).expect("a socket");
        assert_eq!(kind(find_socket(folder.path())), Ok(()));
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(4242), Some(4242)).expect("gives it away");
            assert_eq!(kind(find_socket(folder.path())), Err(io::ErrorKind::Other));
        }
    }
}
