//! What a new process becomes before its program runs, written down so that the child only has to carry it out.
//!
//! Between clone and exec the child shares its parent's memory and must not allocate, lock or panic. So every string
//! it needs is made here, before, as the kernel wants it; and what went wrong is put into words here, after.
//! Everything that touches the user's files, entering the workdir, opening the outputs, searching the program, is a
//! step of the child after it became the user: the spawner's own rights never reach them.

use std::ffi::{CString, NulError, c_char};
use std::path::Path;

use nix::errno::Errno;
use proto::ids::BootId;

use crate::spawner::message::{Credentials, Output, SpawnOrder};
use crate::spawner::processes::{MARK_VARIABLE, mark};

/// Where programs are looked for when a task's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A process to be, in the kernel's terms.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) programs: Vec<CString>,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
    pub(super) workdirs: Vec<CString>,
    /// None means nothing.
    pub(super) stdin: Option<CString>,
    pub(super) stdout: Target,
    pub(super) stderr: Target,
    pub(super) credentials: Option<Credentials>,
    pub(super) new_privileges: bool,
    wanted: Wanted,
}

/// Where a standard stream of the new process goes.
#[derive(Debug)]
pub(super) enum Target {
    Null,
    Open { path: CString, append: bool },
    Stdout,
}

/// The order's own words, for messages.
#[derive(Debug)]
struct Wanted {
    program: String,
    path: String,
    workdir: String,
    /// Whether the user named no other.
    own_workdir: bool,
    stdin: String,
    stdout: String,
    stderr: String,
}

/// A list of strings with the null-ended list of pointers that exec takes.
#[derive(Debug)]
pub(super) struct Strings {
    // Owns what the pointers point to; never changed after they were taken.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead into `_strings`, which moves with them, is private and never changed.
unsafe impl Send for Strings {}

impl Strings {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        Self {
            _strings: strings,
            pointers,
        }
    }

    pub(super) const fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// What the child was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Step {
    /// Nothing yet: the system gave no process.
    Clone = 1,
    /// Becoming the user.
    User,
    /// Entering the workdir.
    Workdir,
    /// Opening standard output.
    Stdout,
    /// Opening standard error.
    Stderr,
    /// Moving the streams to their numbers, and other calls that do not fail.
    Setup,
    /// Running the program.
    Exec,
    /// Opening standard input.
    Stdin,
}

impl Step {
    pub(super) fn of(number: i32) -> Option<Self> {
        [
            Self::Clone,
            Self::User,
            Self::Workdir,
            Self::Stdout,
            Self::Stderr,
            Self::Setup,
            Self::Exec,
            Self::Stdin,
        ]
        .into_iter()
        .find(|step| *step as i32 == number)
    }
}

/// Why there is no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    /// Which step.
    pub step: Step,
    /// What the kernel said.
    pub errno: Errno,
}

/// Why an order cannot be a plan.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// Nothing to start.
    #[error("the command is empty")]
    NoCommand,
    /// The kernel ends strings there.
    #[error("a word of the command, a variable or a path holds a zero byte")]
    ZeroByte(#[from] NulError),
}

impl Plan {
    /// Makes a plan of an order.
    ///
    /// # Errors
    /// [`PlanError`], for the user.
    pub(super) fn new(order: &SpawnOrder, boot: BootId) -> Result<Self, PlanError> {
        let program = order
            .program
            .as_ref()
            .or_else(|| order.command.first())
            .filter(|word| !word.is_empty())
            .ok_or(PlanError::NoCommand)?;
        let path = order
            .env
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(DEFAULT_PATH, |(_, value)| value);
        let set_mark = [format!("{MARK_VARIABLE}={}", mark(order.attempt, boot))];
        let others = order.env.iter().filter(|(name, _)| name != MARK_VARIABLE);
        let environment = set_mark
            .into_iter()
            .chain(others.map(|(name, value)| format!("{name}={value}")));
        Ok(Self {
            programs: candidates(program, path)
                .into_iter()
                .map(CString::new)
                .collect::<Result<_, _>>()?,
            arguments: Strings::new(
                order
                    .command
                    .iter()
                    .map(|word| CString::new(word.as_str()))
                    .collect::<Result<_, _>>()?,
            ),
            environment: Strings::new(environment.map(CString::new).collect::<Result<_, _>>()?),
            workdirs: order
                .workdirs
                .iter()
                .map(|dir| CString::new(dir.as_str()))
                .collect::<Result<_, _>>()?,
            stdin: order.stdin.as_deref().map(CString::new).transpose()?,
            stdout: Target::of(&order.stdout)?,
            stderr: Target::of(&order.stderr)?,
            credentials: order.credentials.clone(),
            new_privileges: order.new_privileges,
            wanted: Wanted {
                program: program.clone(),
                path: path.to_owned(),
                workdir: order.workdirs.join(" or "),
                own_workdir: order.own_workdir,
                stdin: order.stdin.clone().unwrap_or_default(),
                stdout: name_of(&order.stdout),
                stderr: name_of(&order.stderr),
            },
        })
    }

    /// A failure in words: what was wanted, what is wrong.
    #[must_use]
    pub(super) fn explain(&self, failure: Failure) -> String {
        let Failure { step, errno } = failure;
        let why = reason(errno);
        let Wanted {
            program,
            path,
            workdir,
            stdin,
            stdout,
            stderr,
            ..
        } = &self.wanted;
        match (step, errno) {
            (Step::Clone, _) => format!("the system gives no more processes: {why}"),
            (Step::User, _) => format!("cannot become the task's user: {why}"),
            (Step::Workdir, Errno::ENOENT) => {
                format!(
                    "the working directory '{workdir}' does not exist; make it on every node or give another /workdir"
                )
            }
            (Step::Workdir, _) => format!("the working directory '{workdir}' cannot be entered: {why}"),
            (Step::Stdin, Errno::EISDIR) => format!("standard input cannot be read from '{stdin}': it is a folder"),
            (Step::Stdin, _) => format!("standard input cannot be read from '{stdin}': {why}"),
            (Step::Stdout, _) => format!("standard output cannot be written to '{stdout}': {why}"),
            (Step::Stderr, _) => format!("standard error cannot be written to '{stderr}': {why}"),
            (Step::Setup, _) => format!("the process could not be set up: {why}"),
            (Step::Exec, Errno::ENOENT | Errno::ENOTDIR) if program.contains('/') => {
                let hint = self.wanted.hint();
                format!("no program '{program}' (or the interpreter that its first line names is missing){hint}")
            }
            (Step::Exec, Errno::ENOENT | Errno::ENOTDIR) => {
                format!("no program '{program}' in PATH ({path}){}", self.wanted.hint())
            }
            (Step::Exec, Errno::EACCES) => {
                format!(
                    "'{program}' cannot be executed: it is a directory, or its mode does not let this user (see chmod +x)"
                )
            }
            (Step::Exec, Errno::ENOEXEC) => {
                format!("'{program}' is no program for this machine; a script needs a first line like '#!/bin/sh'")
            }
            (Step::Exec, Errno::E2BIG) => {
                format!("'{program}': the command line and the variables are too long together")
            }
            (Step::Exec, _) => format!("'{program}' cannot be executed: {why}"),
        }
    }
}

impl Wanted {
    /// What most likely is to be changed when there is no such program.
    fn hint(&self) -> String {
        let Self { program, workdir, .. } = self;
        if program.contains(char::is_whitespace) {
            let words = if program.contains('\'') { "..." } else { program };
            format!("; the name contains blanks: leave out the quotes, or use sh -c '{words}'")
        } else if program.contains('/') && !program.starts_with('/') && self.own_workdir {
            format!("; the task starts in {workdir}, its own new folder; give /workdir:DIR")
        } else {
            String::new()
        }
    }
}

impl Target {
    fn of(output: &Output) -> Result<Self, NulError> {
        Ok(match output {
            Output::Null => Self::Null,
            Output::Stdout => Self::Stdout,
            Output::File { path } => Self::Open {
                path: CString::new(path.as_str())?,
                append: false,
            },
            Output::Append { path } => Self::Open {
                path: CString::new(path.as_str())?,
                append: true,
            },
        })
    }
}

fn name_of(output: &Output) -> String {
    match output {
        Output::File { path } | Output::Append { path } => path.clone(),
        Output::Null | Output::Stdout => String::new(),
    }
}

/// Every file that the program may be, in the order in which a shell would try them.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    // An empty part means the current directory, as it does to execvp.
    let folders = path
        .split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder });
    folders
        .map(|folder| Path::new(folder).join(program).to_string_lossy().into_owned())
        .collect()
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "no such file or folder".to_owned(),
        Errno::EACCES => "permission denied for the task's user".to_owned(),
        Errno::EISDIR => "it is a folder".to_owned(),
        Errno::ENXIO => "it is a pipe that nobody reads".to_owned(),
        Errno::ENOTDIR => "a part of the path is no folder".to_owned(),
        other => other.desc().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_searched_and_a_path_is_not() {
        assert_eq!(candidates("foo", "/a:/b"), ["/a/foo", "/b/foo"]);
        assert_eq!(candidates("foo", ":/b"), ["./foo", "/b/foo"]);
        assert_eq!(candidates("./foo", "/a:/b"), ["./foo"]);
    }
}
