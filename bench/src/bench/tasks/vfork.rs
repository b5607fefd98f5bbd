//! Vfork and exec of one fixed program, by the few system calls that it takes: the least that starting a process costs.
//!
//! `posix_spawn` of the C library asks for the state of all 64 signals and maps a stack each time, which is a sixth of the
//! whole, so it is no limit. The one module of this program with unsafe code; it offers a safe face.

use std::ffi::{CStr, c_char, c_int, c_void};

use nix::errno::Errno;
use nix::unistd::Pid;

/// Far above what one call of `execve` needs, also in unoptimised builds.
const STACK_BYTES: usize = 16 * 1024;

/// What is started.
const PROGRAM: &CStr = c"/bin/true";

/// Starts `/bin/true`, without variables and with this program's streams.
#[derive(Debug)]
pub(super) struct Starter {
    // 16-byte elements give the alignment that the calling conventions ask of a stack.
    stack: Box<[u128]>,
}

impl Starter {
    pub(super) fn new() -> Self {
        Self {
            stack: vec![0; STACK_BYTES / 16].into_boxed_slice(),
        }
    }

    /// Starts one, and returns when it runs. It is to be waited for; one that cannot be run ends with 127.
    ///
    /// # Errors
    /// What the kernel said to the clone.
    pub(super) fn start(&mut self) -> nix::Result<Pid> {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack's aligned end is used by nobody else, because `self` is borrowed mutably and the call returns
        // only after the child has left it (CLONE_VFORK). The child shares this program's memory and only reads constants
        // of it (see `in_child`). This program has no signal handlers of its own that could run there.
        let child = unsafe {
            let top = self.stack.as_mut_ptr_range().end.cast::<c_void>();
            libc::clone(in_child, top, flags, std::ptr::null_mut())
        };
        Errno::result(child).map(Pid::from_raw)
    }
}

/// The child's life: no allocation, no lock, no panic.
extern "C" fn in_child(_: *mut c_void) -> c_int {
    let arguments: [*const c_char; 2] = [PROGRAM.as_ptr(), std::ptr::null()];
    let environment: [*const c_char; 1] = [std::ptr::null()];
    // SAFETY: all are null-ended arrays or strings that live until the program is replaced. `_exit` runs nothing of this
    // program, which the child must not.
    unsafe {
        libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    #[test]
    fn one_starter_starts_many() {
        let mut starter = Starter::new();
        for _ in 0..20 {
            let pid = starter.start().expect("starts");
            assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
        }
    }
}
