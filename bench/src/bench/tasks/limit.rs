//! The machine's own limit: processes started on two threads that do nothing else. What a spawner does beyond that, and
//! all that a head node does, comes off it. Bare ones by [`super::vfork`]; those with files by `posix_spawn`, as a careful
//! program without a queue would do it.

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

use super::vfork::Starter;

/// As many as the machine that the aims are of has cores.
const THREADS: u32 = 2;

/// Processes per second of so many `/bin/true` with nothing around them, so many at once.
pub(crate) fn bare(tasks: u32, at_once: u32) -> anyhow::Result<f64> {
    rate(tasks, at_once, &|numbers, window| {
        let mut starter = Starter::new();
        start_all(numbers, window, |_| {
            starter.start().context("/bin/true cannot be started")
        })
    })
}

/// The same where each has a directory below `folder` and two files in it that take its output.
pub(super) fn with_files(tasks: u32, at_once: u32, folder: &Path) -> anyhow::Result<f64> {
    rate(tasks, at_once, &|numbers, window| {
        start_all(numbers, window, |number| start_with_files(number, folder))
    })
}

/// Starts all of these, so many at once, and waits for their ends.
type StartShare<'a> = &'a (dyn Fn(&mut dyn Iterator<Item = u32>, usize) -> anyhow::Result<()> + Sync);

fn start_with_files(number: u32, folder: &Path) -> anyhow::Result<Pid> {
    let own = folder.join(number.to_string());
    std::fs::create_dir(&own).with_context(|| format!("{} cannot be made", own.display()))?;
    let file = |name: &str| own.join(name).to_string_lossy().into_owned();
    let actions = streams(&file("stdout.txt"), &file("stderr.txt"))?;
    let environment: [CString; 0] = [];
    let attributes = PosixSpawnAttr::init()?;
    let started = posix_spawn("/bin/true", &actions, &attributes, &[c"true"], &environment);
    started.context("/bin/true cannot be started")
}

fn streams(stdout: &str, stderr: &str) -> anyhow::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
    actions.add_open(0, "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    actions.add_open(1, stdout, write, Mode::from_bits_truncate(0o644))?;
    actions.add_open(2, stderr, write, Mode::from_bits_truncate(0o644))?;
    Ok(actions)
}

fn rate(tasks: u32, at_once: u32, start_share: StartShare<'_>) -> anyhow::Result<f64> {
    let at_once_each = (at_once / THREADS).max(1) as usize;
    let start = Instant::now();
    thread::scope(|scope| {
        let shares: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut numbers = (0..tasks).filter(move |number| number % THREADS == thread);
                scope.spawn(move || start_share(&mut numbers, at_once_each))
            })
            .collect();
        shares.into_iter().try_for_each(|share| match share.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a starting thread panicked"),
        })
    })?;
    Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
}

fn start_all(
    numbers: &mut dyn Iterator<Item = u32>,
    at_once: usize,
    mut start: impl FnMut(u32) -> anyhow::Result<Pid>,
) -> anyhow::Result<()> {
    let mut running = VecDeque::new();
    for number in numbers {
        if running.len() == at_once {
            running.pop_front().map_or(Ok(()), reap)?;
        }
        running.push_back(start(number)?);
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
