//! Whether a node's agent and spawner run, seen from outside: by the files that they lock while they live.
//!
//! A process id alone may be somebody else's by now; a lock is its holder's only. Nothing here talks to either.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::bail;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::directory::NodeDirectory;

/// Between two looks at a process that is to end or to begin.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A process that holds its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) since: Option<SystemTime>,
}

/// The agent of this folder.
pub(crate) fn agent(directory: &NodeDirectory) -> Option<Running> {
    holder(&directory.agent_lock())
}

/// The spawner of this folder.
pub(crate) fn spawner(directory: &NodeDirectory) -> Option<Running> {
    holder(&directory.spawner_pid())
}

/// Whether the head node has welcomed the agent that runs, and the connection is still there.
pub(crate) fn is_welcome(directory: &NodeDirectory) -> bool {
    let Some(agent) = agent(directory) else { return false };
    let ready = std::fs::read_to_string(directory.agent_ready());
    ready.is_ok_and(|pid| pid.trim() == agent.pid.to_string())
}

/// Asks the agent to end and waits for it. Its tasks run on. Tells whether there was one.
///
/// # Errors
/// When it does not end in time.
pub(crate) fn stop_agent(directory: &NodeDirectory) -> anyhow::Result<bool> {
    stop("agent", &directory.agent_lock(), Duration::from_secs(10))
}

/// Asks the spawner to end, with all tasks, and waits for it. Tells whether there was one.
///
/// # Errors
/// When it does not end in time.
pub(crate) fn stop_spawner(directory: &NodeDirectory) -> anyhow::Result<bool> {
    stop("spawner", &directory.spawner_pid(), Duration::from_secs(30))
}

fn stop(what: &str, lock: &Path, longest: Duration) -> anyhow::Result<bool> {
    let Some(running) = holder(lock) else {
        return Ok(false);
    };
    match kill(Pid::from_raw(running.pid), Signal::SIGTERM) {
        // It ended by itself.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => bail!(
            "the {what} (process {}) cannot be stopped: {error}; are you root?",
            running.pid
        ),
    }
    let began = Instant::now();
    while holder(lock).is_some() {
        if began.elapsed() > longest {
            bail!(
                "the {what} (process {}) has not ended within {longest:?}; end it with 'kill -9 {}' and try again",
                running.pid,
                running.pid
            );
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(true)
}

fn holder(lock: &Path) -> Option<Running> {
    let pid: i32 = std::fs::read_to_string(lock).ok()?.trim().parse().ok()?;
    // A lock is only tried where there may be a holder: one that is just starting must not meet ours.
    if pid < 1 || !Path::new("/proc").join(pid.to_string()).exists() {
        return None;
    }
    let file = File::open(lock).ok()?;
    let since = file.metadata().and_then(|found| found.modified()).ok();
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err(_) => Some(Running { pid, since }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_runs_while_it_holds_its_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.pid");
        assert_eq!(holder(&path), None);
        let own = i32::try_from(std::process::id()).expect("fits");
        std::fs::write(&path, format!("{own}\n")).expect("writes");
        assert_eq!(holder(&path), None, "nobody holds it");
        let file = File::open(&path).expect("opens");
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("locks");
        assert_eq!(holder(&path).expect("it is held").pid, own);
        drop(lock);
        assert_eq!(holder(&path), None);
        assert!(!stop("agent", &path, Duration::ZERO).expect("there is none"));
    }
}
