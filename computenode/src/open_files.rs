//! How many files the agent may have open: a socket per allocation, so more than the usual soft limit of 1024.
//!
//! Tasks keep the limit that the agent was started with: programs that use `select` break above 1024 files, which is why
//! the soft limit is what it is. They get it through the spawner, which has it given back at its start.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The limit as this process got it.
#[derive(Clone, Copy)]
pub(crate) struct OpenFiles {
    before: libc::rlimit,
}

impl OpenFiles {
    /// Raises this process's soft limit to its hard one.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn raise() -> io::Result<Self> {
        let mut before = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the structure is writable and lives through the call.
        if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        set(libc::rlimit {
            rlim_cur: before.rlim_max,
            rlim_max: before.rlim_max,
        })?;
        Ok(Self { before })
    }

    /// Has a new process begin with the limit that this one began with.
    pub(crate) fn restore_in(self, command: &mut Command) {
        // SAFETY: the call after fork makes one system call and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || set(self.before));
        }
    }
}

impl std::fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFiles")
            .field("soft", &self.before.rlim_cur)
            .field("hard", &self.before.rlim_max)
            .finish()
    }
}

fn set(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: the structure lives through the call, which reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soft_limit(change: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn"]);
        change(&mut command);
        String::from_utf8(command.output().expect("sh starts").stdout).expect("text")
    }

    #[test]
    fn a_new_process_gets_the_limit_from_before() {
        let low = OpenFiles::raise().expect("can be read").before;
        let low = libc::rlimit {
            rlim_cur: low.rlim_max.min(200),
            ..low
        };
        set(low).expect("lowers it");
        let raised = OpenFiles::raise().expect("raises it");
        assert_eq!(
            soft_limit(|command| raised.restore_in(command)),
            format!("{}\n", low.rlim_cur)
        );
        if low.rlim_max > 200 {
            assert_ne!(soft_limit(|_| {}), format!("{}\n", low.rlim_cur));
        }
    }
}
