//! The machine's own limit: processes started by `posix_spawn`, which is vfork and exec, on two threads that do nothing
//! else. What a spawner does beyond that, and all that a head node does, comes off it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// As many as the machine that the aims are of has cores.
const THREADS: u32 = 2;

/// Processes per second of so many `/bin/true` with nothing around them, so many at once.
pub(crate) fn bare(tasks: u32, at_once: u32) -> anyhow::Result<f64> {
    rate(tasks, at_once, &|_| streams("/dev/null", "/dev/null"))
}

/// The same where each has a directory below `folder` and two files in it that take its output.
pub(super) fn with_files(tasks: u32, at_once: u32, folder: &Path) -> anyhow::Result<f64> {
    rate(tasks, at_once, &|number| {
        let own = folder.join(number.to_string());
        std::fs::create_dir(&own).with_context(|| format!("{} cannot be made", own.display()))?;
        let file = |name: &str| own.join(name).to_string_lossy().into_owned();
        streams(&file("stdout.txt"), &file("stderr.txt"))
    })
}

/// What one process needs before it starts.
type Prepare<'a> = &'a (dyn Fn(u32) -> anyhow::Result<PosixSpawnFileActions> + Sync);

fn streams(stdout: &str, stderr: &str) -> anyhow::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
    actions.add_open(0, "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    actions.add_open(1, stdout, write, Mode::from_bits_truncate(0o644))?;
    actions.add_open(2, stderr, write, Mode::from_bits_truncate(0o644))?;
    Ok(actions)
}

fn rate(tasks: u32, at_once: u32, prepare: Prepare<'_>) -> anyhow::Result<f64> {
    let at_once_each = (at_once / THREADS).max(1) as usize;
    let start = Instant::now();
    thread::scope(|scope| {
        let shares: Vec<_> = (0..THREADS)
            .map(|thread| {
                let numbers = (0..tasks).filter(move |number| number % THREADS == thread);
                scope.spawn(move || start_all(numbers, at_once_each, prepare))
            })
            .collect();
        shares.into_iter().try_for_each(|share| match share.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a starting thread panicked"),
        })
    })?;
    Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
}

fn start_all(numbers: impl Iterator<Item = u32>, at_once: usize, prepare: Prepare<'_>) -> anyhow::Result<()> {
    let attributes = PosixSpawnAttr::init()?;
    let arguments = [CString::new("true")?];
    let environment: [CString; 0] = [];
    let mut running = VecDeque::new();
    for number in numbers {
        if running.len() == at_once {
            running.pop_front().map_or(Ok(()), reap)?;
        }
        let actions = prepare(number)?;
        let pid = posix_spawn("/bin/true", &actions, &attributes, &arguments, &environment);
        running.push_back(pid.context("/bin/true cannot be started")?);
    }
    running.into_iter().try_for_each(reap)
}

fn reap(pid: Pid) -> anyhow::Result<()> {
    let ended = waitpid(pid, None)?;
    ensure!(ended == WaitStatus::Exited(pid, 0), "/bin/true ended with {ended:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_started_and_leave_their_files() {
        assert!(bare(5, 4).expect("starts") > 0.0);
        let folder = tempfile::tempdir().expect("a folder");
        with_files(3, 2, folder.path()).expect("starts");
        for number in 0..3 {
            assert!(folder.path().join(format!("{number}/stderr.txt")).exists());
        }
    }
}
