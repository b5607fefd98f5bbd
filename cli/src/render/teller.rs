//! Output that is told while a command is at work: lines of many nodes, events. A reader that has gone away ends the
//! command; everything else is told at the end, by [`super::render`].

use std::io::{self, IsTerminal, Write};

use proto::control::TaskFile;

use super::tame;

/// Tells lines.
#[derive(Debug)]
pub(crate) struct Teller {
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Teller {
    /// On this process's standard output and standard error.
    pub(crate) fn new() -> Self {
        Self {
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// A line of a program, after whose it is. What goes to a terminal is tamed, what goes elsewhere stays as it is.
    ///
    /// # Errors
    /// When it cannot be written; a reader that has gone away is such a case too.
    pub(crate) fn line(&mut self, file: TaskFile, label: &str, line: &[u8]) -> io::Result<()> {
        let is_terminal = match file {
            TaskFile::Stdout => self.out_is_terminal,
            TaskFile::Stderr => self.err_is_terminal,
        };
        let mut text = format!("{label}: ").into_bytes();
        if is_terminal {
            text.extend_from_slice(tame_line(line).as_bytes());
        } else {
            text.extend_from_slice(line);
        }
        text.push(b'\n');
        match file {
            TaskFile::Stdout => written(io::stdout().lock(), &text),
            TaskFile::Stderr => written(io::stderr().lock(), &text),
        }
    }

    /// A line of our own on standard output.
    ///
    /// # Errors
    /// As [`Teller::line`].
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        written(io::stdout().lock(), format!("{line}\n").as_bytes())
    }

    /// A remark on standard error.
    pub(crate) fn remark(&mut self, line: &str) {
        super::say_plain(&format!("{}\n", tame(line)));
    }
}

fn written(mut to: impl Write, text: &[u8]) -> io::Result<()> {
    to.write_all(text)?;
    to.flush()
}

/// Tabs stay: columns of `df` and its like are made of them. A return at the end belongs to the end of the line.
fn tame_line(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    text.split('\t').map(tame).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_a_terminal_are_tamed() {
        assert_eq!(tame_line(b"a\tb\x1b[31m\r"), "a\tb^[[31m");
        assert_eq!(tame_line(b"\xff"), "\u{fffd}");
    }
}
