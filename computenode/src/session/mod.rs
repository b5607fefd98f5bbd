//! The process above an interactive task's program: keeps its terminal or its input, and is what the spawner sees end.
//!
//! ```text
//!   agent --socket `input`--> session --terminal or pipe--> program
//!   stdout.txt <-------------------'                            '--(no terminal)--> stdout.txt, stderr.txt
//! ```
//!
//! It runs as the task's user with one thread, no runtime and nothing of the node's, so it may be signalled, traced and
//! killed by that user without harm to anybody else. Whoever attaches comes and goes; the program does not notice.
//! It ends as its program ends: with the same code, or by the same signal.

mod door;
mod program;
mod sink;
pub(crate) mod wire;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getppid};

use door::Door;
use program::Program;
use sink::{Given, Sink};

/// As shells say that a program was not found, and that it could not be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// What it is asked to run.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Where it takes input.
    #[arg(long)]
    socket: PathBuf,
    /// Give the program a terminal.
    #[arg(long)]
    terminal: bool,
    /// The file to run, where it is not the first word.
    #[arg(long)]
    program: Option<OsString>,
    /// The program's words.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the program to its end and ends as it did.
#[must_use]
pub fn run(flags: &Flags) -> ExitCode {
    let ended = Session::begin(flags).and_then(Session::serve);
    match ended {
        Ok(status) => program::end_as(status),
        Err(failure) => {
            eprintln!("{failure}");
            match failure {
                Failure::Program { ref source, .. } if source.kind() == io::ErrorKind::NotFound => NOT_FOUND.into(),
                _ => NOT_RUN.into(),
            }
        }
    }
}

/// Why there is no program, or why it is not looked after any more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "no program '{program}' can be run: {source}; is it in the task's PATH, or is another /workdir to be given?"
    )]
    Program { program: String, source: io::Error },
    #[error("the task's socket {path} cannot be made: {source}")]
    Door { path: PathBuf, source: io::Error },
    #[error("the task's input and output cannot be carried: {0}")]
    System(#[from] Errno),
}

struct Session {
    signals: SignalFd,
    door: Door,
    program: Program,
    sink: Sink,
}

/// What is ready.
#[derive(Debug, Clone, Copy)]
struct Ready {
    signals: PollFlags,
    door: PollFlags,
    guest: PollFlags,
    input: PollFlags,
    output: PollFlags,
}

impl Session {
    fn begin(flags: &Flags) -> Result<Self, Failure> {
        let mut heard = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            heard.add(signal);
        }
        heard.thread_block()?;
        let signals = SignalFd::with_flags(&heard, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let door = Door::open(&flags.socket).map_err(|source| Failure::Door {
            path: flags.socket.clone(),
            source,
        })?;
        let (program, sink) = Program::start(flags)?;
        Ok(Self {
            signals,
            door,
            program,
            sink,
        })
    }

    fn serve(mut self) -> Result<ExitStatus, Failure> {
        loop {
            let ready = self.wait()?;
            if ready.output.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
                self.program.copy_output();
            }
            if !ready.signals.is_empty()
                && let Some(status) = self.hear()?
            {
                self.program.copy_rest();
                return Ok(status);
            }
            if !ready.input.is_empty()
                && let Some(given) = self.sink.write()
            {
                self.door.answer(given);
            }
            if !ready.guest.is_empty() {
                self.door.read();
            }
            if !ready.door.is_empty() {
                self.door.let_in();
            }
            self.take_input();
        }
    }

    /// Whatever a guest has said whole, one after the other.
    fn take_input(&mut self) {
        while self.sink.is_idle() {
            let Some(input) = self.door.next_input() else { return };
            if let Some(given) = self.sink.give(input) {
                self.door.answer(given);
            }
        }
    }

    fn wait(&self) -> Result<Ready, Failure> {
        let readable = PollFlags::POLLIN;
        // Asked for nothing, the signals tell nothing that is not asked for anyway.
        let nothing = (self.signals.as_fd(), PollFlags::empty());
        let wanted = [
            (self.signals.as_fd(), readable),
            (self.door.listener(), readable),
            self.door.guest().map_or(nothing, |guest| (guest, readable)),
            self.sink.waits_for().unwrap_or(nothing),
            self.program.output().map_or(nothing, |output| (output, readable)),
        ];
        let mut fds = wanted.map(|(fd, flags)| PollFd::new(fd, flags));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let [signals, door, guest, input, output] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(Ready {
            signals,
            door,
            guest,
            input,
            output,
        })
    }

    /// Passes on signals, and says whether the program has ended.
    fn hear(&mut self) -> Result<Option<ExitStatus>, Failure> {
        while let Some(heard) = self.signals.read_signal()? {
            let number = i32::try_from(heard.ssi_signo).unwrap_or(0);
            let Ok(signal) = Signal::try_from(number) else { continue };
            // The spawner signals every process of a task by itself; a second one may mean something else to a program.
            let from_spawner = i32::try_from(heard.ssi_pid).map(Pid::from_raw) == Ok(getppid());
            if signal != Signal::SIGCHLD && !from_spawner {
                self.program.signal(signal);
            }
        }
        Ok(self.program.ended())
    }
}

/// The answer to an input.
impl Given {
    const fn byte(self) -> u8 {
        match self {
            Self::Taken => wire::TAKEN,
            Self::Closed => wire::CLOSED,
        }
    }
}
