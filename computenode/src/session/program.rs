//! The program of a session: its start on a terminal or with a pipe, its output, its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, raise, signal};
use nix::unistd::{Pid, pipe2};

use super::sink::{Sink, set_nonblocking};
use super::{Failure, Flags, NOT_RUN};

/// Of a terminal that nobody has told its size yet.
const FIRST_SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// How long what the program wrote last may be on its way through the terminal, in milliseconds.
const REST_DEADLINE: u16 = 100;

/// The most that is still copied after the program's end: others on its terminal may write on and on.
const MAX_REST_BYTES: usize = 1024 * 1024;

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    terminal: Option<Terminal>,
}

#[derive(Debug)]
struct Terminal {
    master: File,
    /// Kept open: without anybody at the other end the terminal would be gone, though the program may open it anew.
    _other_end: OwnedFd,
    /// The output cannot be written any more; that was said.
    broken: bool,
}

impl Program {
    /// Starts it as the flags say.
    pub(super) fn start(flags: &Flags) -> Result<(Self, Sink), Failure> {
        let Some((name, arguments)) = flags.command.split_first() else {
            return Err(Failure::System(nix::errno::Errno::EINVAL));
        };
        let file = flags.program.as_ref().unwrap_or(name);
        let mut command = Command::new(file);
        command.arg0(name).args(arguments);
        let (terminal, sink) = if flags.terminal {
            let (terminal, sink) = on_terminal(&mut command)?;
            (Some(terminal), sink)
        } else {
            (None, with_pipe(&mut command)?)
        };
        let none = SigSet::empty();
        // SAFETY: two system calls, which neither allocate nor lock. What the spawner does for a task's program is done here
        // for the one below: no signal is blocked, which a new process would keep, and it does not outlive who is to look
        // after it.
        unsafe {
            command.pre_exec(move || {
                none.thread_set_mask()?;
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().map_err(|source| Failure::Program {
            program: file.to_string_lossy().into_owned(),
            source,
        })?;
        Ok((Self { child, terminal }, sink))
    }

    /// What to read from, on a terminal.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(|terminal| terminal.master.as_fd())
    }

    /// Copies what the program wrote; at most once what is read at once.
    pub(super) fn copy_output(&mut self) -> usize {
        let Some(terminal) = &mut self.terminal else { return 0 };
        let mut bytes = vec![0; READ_BYTES];
        // An error is an end here: the next wait tells whether more comes.
        let count = terminal.master.read(&mut bytes).unwrap_or(0);
        let written = io::stdout()
            .lock()
            .write_all(bytes.get(..count).unwrap_or_default())
            .and_then(|()| io::stdout().flush());
        if let (Err(error), false) = (written, terminal.broken) {
            terminal.broken = true;
            eprintln!("the terminal's output cannot be written any more: {error}");
        }
        count
    }

    /// After its end: what is still on its way.
    pub(super) fn copy_rest(&mut self) {
        let mut copied = 0;
        while copied < MAX_REST_BYTES {
            let Some(output) = self.output() else { return };
            let mut fds = [PollFd::new(output, PollFlags::POLLIN)];
            if !poll(&mut fds, PollTimeout::from(REST_DEADLINE)).is_ok_and(|ready| ready > 0) {
                return;
            }
            match self.copy_output() {
                0 => return,
                count => copied += count,
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended, and waits to be asked for it: its number is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        // It is our child and not reaped by anybody else, so asking does not fail.
        self.child.try_wait().ok().flatten()
    }
}

/// A session and a terminal of its own for the program.
fn on_terminal(command: &mut Command) -> Result<(Terminal, Sink), Failure> {
    let OpenptyResult { master, slave } = openpty(&FIRST_SIZE, None)?;
    for end in [&master, &slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    set_nonblocking(&master)?;
    let copy = |fd: &OwnedFd| fd.try_clone().map_err(|_| nix::errno::Errno::last());
    command
        .stdin(Stdio::from(copy(&slave)?))
        .stdout(Stdio::from(copy(&slave)?))
        .stderr(Stdio::from(copy(&slave)?));
    // SAFETY: two system calls, which neither allocate nor lock; standard input is the terminal by then.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let sink = Sink::terminal(copy(&master)?);
    let terminal = Terminal {
        master: master.into(),
        _other_end: slave,
        broken: false,
    };
    Ok((terminal, sink))
}

fn with_pipe(command: &mut Command) -> Result<Sink, Failure> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(&write)?;
    command.stdin(Stdio::from(read));
    Ok(Sink::pipe(write))
}

/// Ends this process as the program ended.
pub(super) fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(Ok(number)) = status.signal().map(Signal::try_from) {
        // The program has left its memory already where it wanted to, and this one's says nothing.
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the structure lives through the call, which reads it. The handler is the default one, so nothing of
        // this program runs in it.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            // KILL has no handler and needs none.
            let _ = signal(number, SigHandler::SigDfl);
        }
        let mut only = SigSet::empty();
        only.add(number);
        // What does not end by it ends with the code below, as shells tell it.
        let _ = only.thread_unblock();
        let _ = raise(number);
    }
    let code = status.code().or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_RUN).into()
}
