//! Starting a process that outlives this one, its terminal and the user's log-out.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{LocalError, StateFolder};

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 2000;

/// A process that was started just now.
#[derive(Debug)]
pub(super) struct Started {
    /// What messages call it.
    pub(super) what: String,
    log: PathBuf,
    child: Child,
}

/// Where a program of ours lies: beside this one, else in PATH.
pub(crate) fn program(name: &'static str) -> Result<PathBuf, LocalError> {
    let own = std::env::current_exe().map_err(LocalError::files("finding", Path::new("/proc/self/exe")))?;
    let beside = own.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(beside.clone()).chain(std::env::split_paths(&path));
    let mut files = folders.map(|folder| folder.join(name));
    files
        .find(|file| is_program(file))
        .ok_or(LocalError::NoProgram { name, beside })
}

/// How this program is typed: `muster` when PATH leads to it, else by its path.
pub(crate) fn typed() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path)
        .map(|folder| folder.join("muster"))
        .find(|file| is_program(file));
    match first.and_then(|file| fs::canonicalize(file).ok()) {
        Some(found) if found == own => "muster".to_owned(),
        _ => own.display().to_string(),
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Starts a program in a session of its own, with its words going to a log.
pub(super) fn detached(
    state: &StateFolder,
    what: &str,
    program: &Path,
    args: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<Started, LocalError> {
    let log = state.log(what);
    let file = OpenOptions::new().create(true).append(true).open(&log);
    let file = file.map_err(LocalError::files("opening", &log))?;
    let errors = file.try_clone().map_err(LocalError::files("opening", &log))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(state.path())
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors);
    // A daemon that is started inside a task must not look like a part of it: the task's end would take it along.
    for (name, _) in std::env::vars_os() {
        if ["MUSTER_", "CCP_", "AZ_BATCH_", "PMI_"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
            && name != "MUSTER_LOG"
            && transport::wall::FILE_VARIABLE.is_none_or(|kept| name != kept)
        {
            command.env_remove(name);
        }
    }
    // SAFETY: setsid is async-signal-safe, takes nothing and touches no memory of ours; the closure allocates nothing. A
    // process group of its own, which std offers, is not enough: it would keep the controlling terminal and its hang-up.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let child = command.spawn().map_err(|source| LocalError::NoStart {
        what: what.to_owned(),
        source,
    })?;
    Ok(Started {
        what: what.to_owned(),
        log,
        child,
    })
}

impl Started {
    pub(super) fn pid(&self) -> i32 {
        // The kernel's process numbers are far below.
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// When it has ended, with the end of its log.
    pub(super) fn check(&mut self) -> Result<(), LocalError> {
        let ended = self
            .child
            .try_wait()
            .map_err(LocalError::files("watching", &self.log))?;
        match ended {
            None => Ok(()),
            Some(status) => Err(LocalError::Ended {
                what: self.what.clone(),
                status: status.to_string(),
                log: self.log.clone(),
                tail: tail(&self.log).unwrap_or_default(),
            }),
        }
    }
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(8)..];
    Ok(last
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_process_that_ends_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::made(folder.path()).expect("a folder");
        let script = "ps -o sid= -p $$ | tr -d ' '; echo $$; echo cannot bind >&2; exit 3";
        let args = ["-c", script].map(std::ffi::OsString::from);
        let mut started = detached(&state, "head", Path::new("/bin/sh"), args).expect("starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            match started.check() {
                Err(error) => break error.to_string(),
                Ok(()) => assert!(Instant::now() < deadline, "does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(error.contains("head ended at once (exit status: 3)"), "{error}");
        assert!(
            error.contains("cannot bind") && error.contains("log/head.log"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = program("muster-no-such-program").unwrap_err().to_string();
        assert!(
            error.contains("muster-no-such-program") && error.contains("PATH"),
            "{error}"
        );
    }
}
