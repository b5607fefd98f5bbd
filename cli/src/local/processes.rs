//! Which processes of a cluster run, read from /proc, and stopping them.
//!
//! A process is ours when its program and the `--dir` on its command line say so. That stays true when somebody started it
//! by hand, and it can never mean a stranger who was given an old number. Before a signal, the start time is compared
//! again; between that and the signal lies nothing but the two calls.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{LocalError, StateFolder};

/// Between two looks at a process that shall end. Its end cannot be awaited: it is no child of ours.
const LOOK: Duration = Duration::from_millis(15);

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The head node.
    Head,
    /// The agent of a node, by the node's name.
    Agent(String),
    /// The keeper of a node's tasks.
    Spawner(String),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head => f.write_str("head node"),
            Self::Agent(node) => f.write_str(node),
            Self::Spawner(node) => write!(f, "{node}'s task keeper"),
        }
    }
}

/// A running process of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// In clock ticks since boot; with the number it names a process for good.
    started: u64,
    pub(super) role: Role,
}

/// All processes of the cluster in `state`.
pub(super) fn running(state: &StateFolder) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ends meanwhile is none.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let Some(role) = role_of(&line, state) else { continue };
        if let Some(started) = start_time(pid).filter(|_| runs_our_program(&entry.path())) {
            found.push(Process { pid, started, role });
        }
    }
    found.sort_by(|a, b| a.role.cmp(&b.role).then(a.pid.cmp(&b.pid)));
    found
}

/// A command line can be written by anyone; the program cannot. Unreadable means another user's, not ours to touch.
fn runs_our_program(proc: &Path) -> bool {
    let Ok(program) = fs::read_link(proc.join("exe")) else {
        return false;
    };
    let name = program.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    // The kernel adds " (deleted)" when a newer build lies in its place.
    ["muster-headnode", "muster-computenode"].contains(&name.trim_end_matches(" (deleted)"))
}

fn role_of(command_line: &[u8], state: &StateFolder) -> Option<Role> {
    let words: Vec<&[u8]> = command_line.split(|b| *b == 0).collect();
    let program = Path::new(OsStr::from_bytes(words.first()?)).file_name()?.to_str()?;
    let dir = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| match word.strip_prefix(b"--dir") {
            Some(b"") => words.get(at + 1).copied(),
            Some(rest) => rest.strip_prefix(b"="),
            None => None,
        })?;
    let dir = PathBuf::from(OsStr::from_bytes(dir));
    match program {
        "muster-headnode" => (dir == state.head()).then_some(Role::Head),
        "muster-computenode" => {
            let node = dir.strip_prefix(state.path().join("nodes")).ok()?.to_str()?.to_owned();
            match *words.get(1)? {
                b"agent" => Some(Role::Agent(node)),
                b"spawner" => Some(Role::Spawner(node)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// When a process started, or none when it is gone; one that only waits to be reaped is gone.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind the last one come fields that are plain.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // proc(5): the state is field 3, the start time field 22.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

impl Process {
    pub(super) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    fn signal(&self, signal: Signal) -> bool {
        // Gone meanwhile is what is wanted; not allowed shows when it does not end.
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// Asks processes to end and waits; kills those that do not within `patience`. Returns those that had to be killed.
///
/// # Errors
/// When one cannot even be killed.
pub(super) async fn stop(
    state: &StateFolder,
    processes: &[Process],
    patience: Duration,
) -> Result<Vec<Process>, LocalError> {
    for process in processes {
        process.signal(Signal::SIGTERM);
    }
    wait_until_gone(processes, patience).await;
    let stubborn: Vec<Process> = processes.iter().filter(|process| process.is_alive()).cloned().collect();
    for process in &stubborn {
        process.signal(Signal::SIGKILL);
    }
    wait_until_gone(&stubborn, Duration::from_secs(10)).await;
    match stubborn.iter().find(|process| process.is_alive()) {
        Some(process) => Err(LocalError::NotStopped {
            what: process.role.to_string(),
            pid: process.pid,
            state: state.path().to_owned(),
        }),
        None => Ok(stubborn),
    }
}

async fn wait_until_gone(processes: &[Process], patience: Duration) {
    let all_gone = async {
        while processes.iter().any(Process::is_alive) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Late is seen by the caller, who looks again.
    let _ = tokio::time::timeout(patience, all_gone).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateFolder {
        StateFolder("/s".into())
    }

    fn role(line: &str) -> Option<Role> {
        role_of(&[line.replace(' ', "\0").as_bytes(), b"\0"].concat(), &state())
    }

    #[test]
    fn processes_are_told_by_program_and_folder() {
        assert_eq!(
            role("/x/muster-headnode --dir /s/head --listen 127.0.0.1:0"),
            Some(Role::Head)
        );
        assert_eq!(
            role("muster-computenode agent --dir=/s/nodes/node2"),
            Some(Role::Agent("node2".into()))
        );
        assert_eq!(
            role("muster-computenode spawner --dir /s/nodes/node2"),
            Some(Role::Spawner("node2".into()))
        );
        for stranger in [
            "muster-headnode --dir /other/head",
            "muster-computenode agent --dir /s2/nodes/node1",
            "muster-computenode stop --dir /s/nodes/node1",
            "vi --dir /s/head",
            "muster-headnode --dir",
            "",
        ] {
            assert_eq!(role(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn this_process_runs_and_is_none_of_ours() {
        let me = i32::try_from(std::process::id()).expect("a process number");
        let started = start_time(me).expect("runs");
        assert!(
            Process {
                pid: me,
                started,
                role: Role::Head
            }
            .is_alive()
        );
        assert!(
            !Process {
                pid: me,
                started: started + 1,
                role: Role::Head
            }
            .is_alive(),
            "another with the same number"
        );
        assert!(!runs_our_program(Path::new("/proc/self")));
    }

    #[tokio::test]
    async fn a_process_that_hears_no_request_is_killed() {
        use std::io::Read;
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; exec sleep 60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sh");
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .expect("a pipe")
            .read_exact(&mut ready)
            .expect("is ready");
        let pid = i32::try_from(child.id()).expect("a process number");
        let process = Process {
            pid,
            started: start_time(pid).expect("runs"),
            role: Role::Head,
        };
        let killed = stop(&state(), std::slice::from_ref(&process), Duration::from_millis(50))
            .await
            .expect("stops");
        assert_eq!(killed, [process]);
        assert!(!child.wait().expect("is reaped").success());
    }
}
