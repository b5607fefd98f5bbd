//! The processes of this machine as `/proc` shows them: whose a process is, and what is left of an attempt.
//!
//! The spawner is child subreaper, so whatever a task leaves behind becomes its child, however it detached itself;
//! nothing escapes downwards. Whose such an orphan is tells its session, which nobody can choose, or else the mark in its
//! first environment, which anybody can write: it counts for an attempt of the process's own user only. A process
//! without both (it emptied its environment and made a session of its own) is a stray, counted to whichever attempt is
//! the last to end.
//!
//! `/proc` is no snapshot. A list can miss a process whose neighbour ends while it is read; callers look again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::ids::{AttemptId, BootId};

/// The variable that marks every process of an attempt: `<attempt>@<boot>`.
pub const MARK_VARIABLE: &str = "MUSTER_ATTEMPT";

/// The most bytes read of an environment in search of the mark, which is the first variable of every task.
const MAX_ENVIRONMENT_BYTES: usize = 256 * 1024;

/// The mark of an attempt, as the variable's value.
#[must_use]
pub fn mark(attempt: AttemptId, boot: BootId) -> String {
    format!("{attempt}@{boot}")
}

/// A process, told from a later one with the same number by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// In clock ticks since boot.
    pub started: u64,
}

/// All living processes, without those that only wait to be reaped.
#[must_use]
pub fn living() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            std::str::from_utf8(entry.ok()?.file_name().as_bytes())
                .ok()?
                .parse()
                .ok()
        })
        .filter_map(process)
        .collect()
}

/// The process with this number, if it lives.
#[must_use]
pub fn process(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, also parentheses.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // proc(5) counts from 1 with pid and name; state is field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let threads: u32 = field(20)?.parse().ok()?;
    // A program whose first thread has left shows as a zombie while its other threads run on.
    if matches!(field(3)?, "Z" | "X") && threads <= 1 {
        return None;
    }
    Some(Process {
        pid,
        parent: field(4)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        started: field(22)?.parse().ok()?,
    })
}

/// This process's own children. Cheap: no walk through all processes.
///
/// Read twice, because one list can miss a child whose neighbour ends meanwhile. None when the kernel does not tell.
#[must_use]
pub fn own_children() -> Option<BTreeSet<i32>> {
    let mut children = BTreeSet::new();
    for _ in 0..2 {
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let Ok(list) = fs::read_to_string(thread.ok()?.path().join("children")) else {
                // A thread that ended meanwhile has handed its children on; a kernel without the list has none.
                if fs::exists("/proc/thread-self/children").unwrap_or(false) {
                    continue;
                }
                return None;
            };
            children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    Some(children)
}

/// The processes that this one got as subreaper, without a walk: the kernel hands orphans to the first thread, and those
/// that are started here belong to the threads that start them.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// Kept open, because this is asked at the end of each task. None when the kernel does not tell.
    list: Option<fs::File>,
}

impl Adopted {
    /// Of this process.
    pub(crate) fn open() -> Self {
        let path = format!("/proc/self/task/{}/children", std::process::id());
        Self {
            list: fs::File::open(path).ok(),
        }
    }

    /// Their numbers. None when the kernel does not tell, or there are too many to be worth the quick way.
    ///
    /// Read twice, because one list can miss a child whose neighbour ends meanwhile.
    pub(crate) fn pids(&self) -> Option<BTreeSet<i32>> {
        use std::os::unix::fs::FileExt;
        let mut pids = BTreeSet::new();
        let mut buffer = [0; 4096];
        for _ in 0..2 {
            let read = self.list.as_ref()?.read_at(&mut buffer, 0).ok()?;
            let text = std::str::from_utf8(buffer.get(..read)?).ok()?;
            if read == buffer.len() {
                return None;
            }
            pids.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        Some(pids)
    }
}

/// The attempt and life that a process is marked with.
#[must_use]
pub fn marked(pid: i32) -> Option<(AttemptId, BootId)> {
    use std::io::Read;
    let mut environment = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT_BYTES as u64)
        .read_to_end(&mut environment)
        .ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        let (attempt, boot) = std::str::from_utf8(value).ok()?.split_once('@')?;
        Some((attempt.parse().ok()?, boot.parse().ok()?))
    })
}

/// The real user of a process: set-user-id programs leave it as it was.
#[must_use]
pub fn real_user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Sends a signal, if the process is still the one that was seen.
///
/// Between the look and the kill the number could only be given anew after the kernel went through all other numbers.
pub fn signal(seen: &Process, signal: Signal) {
    if process(seen.pid).is_some_and(|now| now.started == seen.started) {
        // Gone meanwhile, or another user's set-user-id program, which the next look shows again.
        let _ = kill(Pid::from_raw(seen.pid), signal);
    }
}

/// Which child of the spawner belongs to which attempt.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Processes that the spawner started and has not reaped: their trees are their attempt's.
    pub started: BTreeMap<i32, AttemptId>,
    /// Sessions of processes that it started, also after their end.
    pub sessions: BTreeMap<i32, AttemptId>,
    /// As whom the processes of an attempt run, where they run as different users.
    pub users: BTreeMap<AttemptId, u32>,
    /// The spawner's life.
    pub boot: Option<BootId>,
}

/// Whose the spawner's descendants are.
#[derive(Debug, Default)]
pub struct Families {
    /// By attempt.
    pub of: BTreeMap<AttemptId, Vec<Process>>,
    /// With neither mark nor session.
    pub strays: Vec<Process>,
}

impl Families {
    /// Looks at all processes below `spawner`.
    #[must_use]
    pub fn look(spawner: i32, roots: &Roots) -> Self {
        let below = by_parent(&living());
        let mut families = Self::default();
        for child in below.get(&spawner).into_iter().flatten() {
            let owner = roots
                .started
                .get(&child.pid)
                .copied()
                .or_else(|| orphan_of(child, roots));
            let family = match owner {
                Some(attempt) => families.of.entry(attempt).or_default(),
                None => &mut families.strays,
            };
            gather(*child, &below, &mut BTreeSet::new(), family);
        }
        families
    }
}

fn orphan_of(orphan: &Process, roots: &Roots) -> Option<AttemptId> {
    if let Some(attempt) = roots.sessions.get(&orphan.session) {
        return Some(*attempt);
    }
    let (attempt, boot) = marked(orphan.pid)?;
    let believed = match roots.users.get(&attempt) {
        Some(user) => real_user(orphan.pid) == Some(*user),
        // All run as one user, or the attempt is over: then the mark can only do harm to whoever carries it.
        None => true,
    };
    (Some(boot) == roots.boot && believed).then_some(attempt)
}

/// The given processes and all that descend from them.
#[must_use]
pub fn with_descendants(tops: impl IntoIterator<Item = Process>, living: &[Process]) -> Vec<Process> {
    let below = by_parent(living);
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for top in tops {
        gather(top, &below, &mut seen, &mut all);
    }
    all
}

fn by_parent(living: &[Process]) -> BTreeMap<i32, Vec<Process>> {
    let mut below: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in living {
        below.entry(process.parent).or_default().push(*process);
    }
    below
}

/// `seen` because a process number that was given anew while the list was made could close a circle.
fn gather(top: Process, below: &BTreeMap<i32, Vec<Process>>, seen: &mut BTreeSet<i32>, family: &mut Vec<Process>) {
    let mut waiting = vec![top];
    while let Some(process) = waiting.pop() {
        if seen.insert(process.pid) {
            family.push(process);
            waiting.extend(below.get(&process.pid).into_iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_and_its_mark_are_seen() {
        let boot = BootId(0xb007);
        let mut child = Command::new("sleep")
            .arg("60")
            .env_clear()
            .env(MARK_VARIABLE, mark(AttemptId(5), boot))
            .spawn()
            .expect("sleep starts");
        let pid = i32::try_from(child.id()).expect("fits");
        let seen = process(pid).expect("it lives");
        assert_eq!(seen.parent, i32::try_from(std::process::id()).expect("fits"));
        assert_eq!(marked(pid), Some((AttemptId(5), boot)));
        assert!(own_children().is_none_or(|children| children.contains(&pid)));
        let look = Families::look(
            seen.parent,
            &Roots {
                boot: Some(boot),
                ..Roots::default()
            },
        );
        assert!(look.of[&AttemptId(5)].contains(&seen));
        let roots = |roots| {
            Families::look(seen.parent, &roots)
                .of
                .remove(&AttemptId(5))
                .unwrap_or_default()
        };
        let other_user = Roots {
            boot: Some(boot),
            users: BTreeMap::from([(AttemptId(5), real_user(pid).expect("it has one") + 1)]),
            ..Roots::default()
        };
        assert_eq!(
            roots(other_user),
            [],
            "a mark of another user's attempt is not believed"
        );
        let session = Roots {
            boot: Some(boot),
            sessions: BTreeMap::from([(seen.session, AttemptId(6))]),
            ..Roots::default()
        };
        assert_eq!(roots(session), [], "the session counts more than the mark");
        signal(
            &Process {
                started: seen.started + 1,
                ..seen
            },
            Signal::SIGKILL,
        );
        assert!(
            process(pid).is_some(),
            "another process of the same number is left alone"
        );
        signal(&seen, Signal::SIGKILL);
        child.wait().expect("it ends");
        assert_eq!(process(pid), None);
    }
}
