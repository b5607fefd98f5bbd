//! The lives of a node's spawners, in the file `spawner.boot`: this one's id, and those that it has to clean up after.
//!
//! A spawner that dies leaves its tasks without anyone who could tell how they end, so the next one kills whatever
//! still carries the mark of an earlier life, and only then takes orders. The new id is the proof for the head node
//! that nothing of the old life runs. Lives of an earlier start of the machine need no cleaning.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use proto::ids::BootId;

use crate::spawner::processes::{self, Process};

/// Between two looks for what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// After so many looks a line in the log says that something does not die.
const PATIENCE: u32 = 1000;

/// This spawner's life.
#[derive(Debug)]
pub(super) struct Life {
    file: PathBuf,
    kernel: String,
    /// This one.
    pub(super) boot: BootId,
    earlier: BTreeSet<BootId>,
}

impl Life {
    /// Begins a life and writes it down together with those before.
    ///
    /// # Errors
    /// When the system gives no randomness, or the file cannot be written.
    pub(super) fn begin(file: &Path) -> io::Result<Self> {
        let mut random = [0; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let earlier = fs::read_to_string(file)
            .map(|text| lives_of(&text, &kernel))
            .unwrap_or_default();
        let life = Self {
            file: file.to_owned(),
            kernel,
            boot: BootId(u128::from_ne_bytes(random)),
            earlier,
        };
        life.write(&life.earlier)?;
        Ok(life)
    }

    /// Kills what earlier lives left behind; returns when nothing of it runs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn end_earlier(&mut self) -> io::Result<()> {
        for look in 1u32.. {
            if !self.kill_earlier() {
                break;
            }
            if look % PATIENCE == 0 {
                tracing::error!("processes of an earlier spawner do not die; waiting for them");
            }
            std::thread::sleep(PAUSE);
        }
        self.earlier.clear();
        self.write(&BTreeSet::new())
    }

    /// Whether there was anything.
    fn kill_earlier(&self) -> bool {
        if self.earlier.is_empty() {
            return false;
        }
        let living = processes::living();
        let left = self.left_behind(&living);
        for process in &left {
            processes::signal(process, Signal::SIGKILL);
        }
        !left.is_empty()
    }

    /// What carries a mark, what descends from that, and what is in a session that one of those leads: a process that
    /// emptied its environment has no mark of its own.
    fn left_behind(&self, living: &[Process]) -> Vec<Process> {
        let is_marked =
            |process: &&Process| processes::marked(process.pid).is_some_and(|(_, boot)| self.earlier.contains(&boot));
        let marked: Vec<Process> = living.iter().filter(is_marked).copied().collect();
        let sessions: BTreeSet<i32> = marked
            .iter()
            .filter(|process| process.session == process.pid)
            .map(|leader| leader.pid)
            .collect();
        let in_sessions = living.iter().filter(|process| sessions.contains(&process.session));
        processes::with_descendants(marked.iter().chain(in_sessions).copied(), living)
    }

    fn write(&self, earlier: &BTreeSet<BootId>) -> io::Result<()> {
        let lives = [&self.boot].into_iter().chain(earlier).map(|boot| format!("{boot}\n"));
        let unfinished = self.file.with_extension("new");
        fs::write(&unfinished, format!("{}\n{}", self.kernel, lives.collect::<String>()))?;
        fs::rename(&unfinished, &self.file)
    }
}

/// The lives in a file, when they are of this start of the machine.
fn lives_of(text: &str, kernel: &str) -> BTreeSet<BootId> {
    let mut lines = text.lines();
    if lines.next() != Some(kernel) {
        return BTreeSet::new();
    }
    lines.filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_another_start_of_the_machine_are_over() {
        let boot = BootId(3);
        assert_eq!(lives_of(&format!("k1\n{boot}\n"), "k1"), BTreeSet::from([boot]));
        assert_eq!(lives_of(&format!("k1\n{boot}\n"), "k2"), BTreeSet::new());
        assert_eq!(lives_of("", "k1"), BTreeSet::new());
    }

    #[test]
    fn a_life_remembers_those_before_until_they_are_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spawner.boot");
        let first = Life::begin(&file).expect("begins");
        let mut second = Life::begin(&file).expect("begins");
        assert_ne!(first.boot, second.boot);
        assert_eq!(second.earlier, BTreeSet::from([first.boot]));
        second.end_earlier().expect("ends");
        let third = Life::begin(&file).expect("begins");
        assert_eq!(third.earlier, BTreeSet::from([second.boot]));
    }
}
