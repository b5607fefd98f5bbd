//! Reaping: the one thread that learns of the end of children, its own and adopted ones alike.

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::spawner::keeper::Ended;
use crate::spawner::threads::Shared;

/// Runs for the life of the process.
pub(super) fn run(shared: &Shared) {
    let mut cloned = 0;
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED) {
            Ok(status) => {
                if let Some((pid, ended)) = end_of(status) {
                    shared.change(|keeper| keeper.exited(pid, ended));
                }
            }
            // No child at all. One that is cloned meanwhile is counted only after its clone, so it is not missed.
            Err(Errno::ECHILD) => cloned = shared.wait_for_children(cloned),
            Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::error!("waiting for children failed: {error}");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }
}

const fn end_of(status: WaitStatus) -> Option<(i32, Ended)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw(), Ended::Exited(code))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid.as_raw(), Ended::Signaled(signal as i32))),
        _ => None,
    }
}
