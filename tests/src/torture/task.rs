//! What the tasks of a tortured cluster do: they append their start and their end to a trace.
//!
//! A trace is locked as long as any process of the attempt lives, its litter included; the kernel unlocks it. So an attempt
//! that starts while an earlier one runs sees that, whatever killed the earlier one, and writes it down.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use proto::ids::{AttemptId, TaskId};

use super::record::{Mark, append_to, boot_ms, read_lines, write_line};
use crate::wait;

/// Word for a task; the folder of traces, the key of the submission, milliseconds, exit code, number of ranks and `litters`
/// or `clean` follow.
pub const TASK: &str = "--torture-task";

/// Word for a rank of a gang; the name of the trace, the attempt and the number of ranks follow.
pub const RANK: &str = "--torture-rank";

/// Word for what a task leaves behind.
pub const LITTER: &str = "--torture-litter";

/// A rank that does not see all others ends with this.
const ALONE: i32 = 17;

/// A gang is started at once, or, when a proxy was killed or a link cut, never.
const TOGETHER: Duration = Duration::from_secs(20);

/// The name of the trace of a rank.
pub(super) fn rank_trace(task: &str, rank: u32) -> String {
    format!("{task}.rank{rank}")
}

/// Runs a task, a rank or litter, by the words behind the program's name.
#[must_use]
#[expect(clippy::print_stderr, reason = "it lies in the task's output")]
pub fn run(words: &[&str]) -> ExitCode {
    let code = match words {
        [TASK, folder, key, millis, code, ranks, litters] => {
            task(folder, key, (millis, code), ranks, litters == &"litters")
        }
        [RANK, trace, attempt, ranks, millis] => rank(trace, attempt, ranks, millis),
        [LITTER, ..] => {
            std::thread::sleep(Duration::from_secs(4242));
            Ok(0)
        }
        _ => Err(anyhow::anyhow!("these words are none: {words:?}")),
    };
    match code {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(99)
        }
    }
}

/// A trace that is open, and locked if nobody else holds it.
struct Trace {
    attempt: AttemptId,
    file: File,
    _lock: Option<Flock<File>>,
}

impl Trace {
    fn begin(path: &Path, attempt: AttemptId, task: TaskId) -> anyhow::Result<Self> {
        let file = append_to(path)?;
        let lock = Flock::lock(append_to(path)?, FlockArg::LockExclusiveNonblock);
        let host = std::env::var("MUSTER_NODE_NAME").unwrap_or_default();
        let at_ms = boot_ms()?;
        write_line(
            &file,
            &Mark::Start {
                attempt,
                task,
                at_ms,
                host: host.clone(),
                pid: std::process::id(),
            },
        )?;
        let lock = match lock {
            Ok(lock) => {
                // What we start shares the lock, so that an orphan of ours is seen.
                fcntl(lock.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
                Some(lock)
            }
            Err(_) => {
                write_line(&file, &Mark::Twice { attempt, at_ms, host })?;
                None
            }
        };
        Ok(Self {
            attempt,
            file,
            _lock: lock,
        })
    }

    fn end(&self, code: i32) -> anyhow::Result<i32> {
        let (attempt, at_ms) = (self.attempt, boot_ms()?);
        write_line(&self.file, &Mark::End { attempt, at_ms, code })?;
        Ok(code)
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("a task has the variable {name}"))
}

fn task(folder: &str, key: &str, (millis, code): (&str, &str), ranks: &str, litters: bool) -> anyhow::Result<i32> {
    let (task, attempt): (TaskId, AttemptId) = (
        variable("MUSTER_TASK_ID")?.parse()?,
        variable("CCP_TASKSYSTEMID")?.parse()?,
    );
    let name = format!("{key}.{}.{}", task.number, variable("CCP_TASKINSTANCEID")?);
    let path = PathBuf::from(folder).join(name);
    let trace = Trace::begin(&path, attempt, task)?;
    let own = std::env::current_exe()?;
    if litters {
        let started = Command::new("setsid")
            .arg("-f")
            .arg(&own)
            .args([LITTER, folder])
            .status()?;
        anyhow::ensure!(started.success(), "the litter could not be started");
    }
    if ranks == "0" {
        std::thread::sleep(Duration::from_millis(millis.parse()?));
        return trace.end(code.parse()?);
    }
    let ended = Command::new("mpiexec")
        .args(["-c", "1"])
        .arg(&own)
        .args([RANK, &path.display().to_string(), &attempt.to_string(), ranks, millis])
        .stdin(Stdio::null())
        .status()?;
    trace.end(ended.code().unwrap_or(98))
}

fn rank(trace: &str, attempt: &str, ranks: &str, millis: &str) -> anyhow::Result<i32> {
    let (attempt, ranks): (AttemptId, u32) = (attempt.parse()?, ranks.parse()?);
    let path = |rank: u32| PathBuf::from(rank_trace(trace, rank));
    let number: u32 = variable("PMI_RANK")?.parse()?;
    let own = Trace::begin(&path(number), attempt, variable("MUSTER_TASK_ID")?.parse()?)?;
    let starts = |rank: u32| -> anyhow::Result<bool> {
        let marks: Vec<Mark> = read_lines(&path(rank))?;
        Ok(marks.iter().any(|mark| mark.attempt() == attempt))
    };
    let all = || -> anyhow::Result<Option<()>> {
        for rank in 0..ranks {
            if !starts(rank)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    if wait::until("all ranks to be there", TOGETHER, all).is_err() {
        return own.end(ALONE);
    }
    std::thread::sleep(Duration::from_millis(millis.parse()?));
    own.end(0)
}
