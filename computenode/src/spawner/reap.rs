//! Reaping: the one thread that learns of the end of children, its own and adopted ones alike.
//!
//! A child is first only looked at, and reaped under the keeper's lock: while that is held, the number of a child that
//! the keeper does not know to be reaped is still that child's and may be signalled.

use std::io;

use nix::errno::Errno;

use crate::spawner::keeper::{Ended, Keeper};
use crate::spawner::threads::Shared;

/// Runs for the life of the process.
pub(super) fn run(shared: &Shared) {
    let mut cloned = 0;
    loop {
        match wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT) {
            Ok(Some((pid, _))) => shared.change(|keeper| reap(keeper, pid)),
            Ok(None) | Err(Errno::EINTR) => {}
            // No child at all. One that is cloned meanwhile is counted only after its clone, so it is not missed.
            Err(Errno::ECHILD) => cloned = shared.wait_for_children(cloned),
            Err(error) => {
                tracing::error!("waiting for children failed: {error}");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }
}

fn reap(keeper: &mut Keeper, pid: i32) {
    // It ended and nobody else reaps, so this neither waits nor fails.
    let id = libc::id_t::try_from(pid).unwrap_or_default();
    match wait(libc::P_PID, id, libc::WEXITED | libc::WNOHANG) {
        Ok(Some((pid, ended))) => keeper.exited(pid, ended),
        Ok(None) => {}
        Err(error) => tracing::error!(pid, "a child that ended cannot be reaped: {error}"),
    }
}

/// `waitid`, by the C library's own structure: what is made for Rust of it knows no real-time signals, and a child that
/// one of those has killed would be lost.
fn wait(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> Result<Option<(i32, Ended)>, Errno> {
    // SAFETY: numbers and unions of numbers, of which all zero is one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable and lives through the call.
    if unsafe { libc::waitid(which, id, &raw mut info, options) } != 0 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
    }
    // SAFETY: waitid fills in what belongs to SIGCHLD, or leaves zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED => Some((pid, Ended::Exited(status))),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some((pid, Ended::Signaled(status))),
        _ => None,
    })
}
