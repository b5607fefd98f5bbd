//! Where the input of a session's program goes: its terminal, or a pipe.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use proto::control::Input;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// It was written.
    Taken,
    /// The program reads no more.
    Closed,
}

/// The way to the program, and what is being written there.
#[derive(Debug)]
pub(super) struct Sink {
    way: Way,
    pending: Vec<u8>,
    written: usize,
    closed: bool,
}

#[derive(Debug)]
enum Way {
    Terminal {
        master: File,
        /// Whether the last byte given ended a line.
        at_line_start: bool,
    },
    Pipe(File),
}

/// Makes a file's reads and writes return at once.
pub(super) fn set_nonblocking(file: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

impl Sink {
    /// Both ends of it are made by the caller, who made this one non-blocking.
    pub(super) fn terminal(master: OwnedFd) -> Self {
        Self::of(Way::Terminal {
            master: master.into(),
            at_line_start: true,
        })
    }

    pub(super) fn pipe(pipe: OwnedFd) -> Self {
        Self::of(Way::Pipe(pipe.into()))
    }

    const fn of(way: Way) -> Self {
        Self {
            way,
            pending: Vec::new(),
            written: 0,
            closed: false,
        }
    }

    /// Whether the next input can be given.
    pub(super) const fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// What to wait for: room for what is pending, or that the reader of a pipe goes.
    pub(super) fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let room = PollFlags::POLLOUT;
        match &self.way {
            Way::Terminal { master, .. } => (!self.is_idle()).then(|| (master.as_fd(), room)),
            Way::Pipe(_) if self.closed => None,
            Way::Pipe(pipe) if self.is_idle() => Some((pipe.as_fd(), PollFlags::empty())),
            Way::Pipe(pipe) => Some((pipe.as_fd(), room)),
        }
    }

    /// Begins to give an input; says what became of it when that is known at once.
    pub(super) fn give(&mut self, input: Input) -> Option<Given> {
        match (input, &mut self.way) {
            (Input::Size { rows, columns }, Way::Terminal { master, .. }) => {
                resize(master, rows, columns);
                Some(Given::Taken)
            }
            (Input::Size { .. }, Way::Pipe(_)) => Some(Given::Taken),
            (Input::Bytes { bytes }, _) if bytes.is_empty() => Some(Given::Taken),
            (Input::Bytes { .. }, Way::Pipe(_)) if self.closed => Some(Given::Closed),
            (Input::Bytes { bytes }, _) => {
                self.pending = bytes;
                self.written = 0;
                self.write()
            }
            (Input::End, Way::Pipe(_)) => {
                self.close();
                Some(Given::Taken)
            }
            (Input::End, Way::Terminal { master, at_line_start }) => {
                // In a line the first one only hands on what was typed; the second, with nothing before it, is the end.
                let times = if *at_line_start { 1 } else { 2 };
                self.pending = vec![end_of_file(master); times];
                self.written = 0;
                self.write()
            }
        }
    }

    /// Writes what is pending, as far as there is room.
    pub(super) fn write(&mut self) -> Option<Given> {
        loop {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            let ended_line = rest.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r' | 4));
            let (way, terminal) = match &mut self.way {
                Way::Terminal { master, at_line_start } => (master, Some(at_line_start)),
                Way::Pipe(_) if self.closed => return None,
                Way::Pipe(pipe) => (pipe, None),
            };
            // With nothing to write this asks whether the reader is there, which a write of no bytes does not tell.
            if rest.is_empty() {
                self.close();
                return None;
            }
            match way.write(rest) {
                Ok(count) => {
                    self.written += count;
                    if self.written >= self.pending.len() {
                        if let Some(at_line_start) = terminal {
                            *at_line_start = ended_line;
                        }
                        self.pending.clear();
                        return Some(Given::Taken);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close();
                    return Some(Given::Closed);
                }
            }
        }
    }

    /// The program gets to know that there is no more. A terminal stays: it is the output too.
    fn close(&mut self) {
        self.pending.clear();
        if let Way::Pipe(pipe) = &mut self.way
            && let Ok(nowhere) = File::options().write(true).open("/dev/null")
        {
            *pipe = nowhere;
            self.closed = true;
        }
    }
}

fn end_of_file(master: &File) -> u8 {
    const USUAL: u8 = 4;
    let canonical = tcgetattr(master)
        .ok()
        .filter(|settings| settings.local_flags.contains(LocalFlags::ICANON));
    canonical.map_or(USUAL, |settings| {
        settings.control_chars[SpecialCharacterIndices::VEOF as usize]
    })
}

fn resize(master: &File, rows: u16, columns: u16) {
    use std::os::fd::AsRawFd;
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure is whole and lives through the call, which reads it. A terminal that does not take it keeps
    // its size, which harms nothing.
    unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
}
