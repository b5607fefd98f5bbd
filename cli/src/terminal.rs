//! The terminal that an interactive task is attached to: every key goes to the task, none to us.
//!
//! The old settings come back on every way out: [`RawTerminal`] restores them when it is dropped, which a panic does too,
//! and signals that would end the process end the command instead (see `command::attach`).

use std::io::{self, IsTerminal};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// A terminal that passes on every key.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Takes the terminal of standard input.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // Drained, so that what we said before is not spoilt.
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that has gone away needs no settings.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Whether keys come from a terminal.
pub(crate) fn has_keys() -> bool {
    io::stdin().is_terminal()
}
