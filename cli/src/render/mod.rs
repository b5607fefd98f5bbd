//! From answers to text: tables for people, JSON for programs, ids for scripts. Only [`emit`] prints.
//!
//! Rendering is a function of the answer and the [`Look`]: no clock, terminal or time zone is read on the way.

mod admin;
mod cluster;
mod event;
mod fields;
mod job;
mod json;
mod live;
mod moment;
mod node;
mod output;
mod people;
mod pool;
mod quiet;
mod schedule;
mod sentence;
mod table;
mod task;
mod teller;
mod why;

use std::io::{self, IsTerminal, Write};

use proto::units::Timestamp;

use crate::answer::{Answer, Refused};
pub(crate) use admin::apart;
pub(crate) use event::EventLines;
pub use fields::{FieldError, Fields};
pub(crate) use live::{Labels, Live, Seen};
pub use moment::Zone;
pub(crate) use moment::now;
pub(crate) use teller::Teller;

/// Of lines for people, where no terminal says how many columns it has.
const UNKNOWN_WIDTH: usize = 80;

/// How answers look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Form {
    /// Tables, and sentences.
    #[default]
    Table,
    /// Tables with all columns that there are, and nothing cut.
    Wide,
    /// A block of lines per row.
    List,
    /// A line of chosen fields per row.
    Fields(Fields),
    /// All fields.
    Json,
    /// Ids and names only.
    Quiet,
}

/// Whether states have colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// What rendering depends on.
#[derive(Debug, Clone)]
pub struct Look {
    /// The form.
    pub form: Form,
    /// Columns of the terminal; none when it is none.
    pub width: Option<usize>,
    /// Whether states have colours.
    pub colour: bool,
    /// Where times are told.
    pub zone: Zone,
    /// For how long something has been running.
    pub now: Timestamp,
}

impl Look {
    /// For this process.
    #[must_use]
    pub fn of_process(form: Form, colour: Colour) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            width: Some(terminal_width()).filter(|_| terminal && form != Form::Wide),
            colour: match colour {
                Colour::Auto => terminal && !no_colour && !dumb,
                Colour::Always => true,
                Colour::Never => false,
            },
            zone: Zone::Local,
            now: now(),
            form,
        }
    }
}

/// Text for standard output and standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// What was asked for.
    pub out: String,
    /// Remarks for people.
    pub err: String,
}

/// The text of an answer.
///
/// # Errors
/// When fields were chosen that there are none of.
pub fn render(answer: &Answer, look: &Look) -> Result<Printed, FieldError> {
    Ok(match (answer, &look.form) {
        (Answer::Help(text), _) => Printed {
            out: text.clone(),
            err: String::new(),
        },
        (Answer::Script { lines, notes }, _) => Printed {
            out: lines.clone(),
            err: remarks_text(notes),
        },
        (Answer::Many(all), _) => several(all, look)?,
        (_, Form::Fields(fields)) => {
            let as_json = Look {
                form: Form::Json,
                ..look.clone()
            };
            let Printed { out, err } = render(answer, &as_json)?;
            // What is no JSON has nothing to choose from.
            let value = serde_json::from_str(&out).unwrap_or(serde_json::Value::Array(Vec::new()));
            let out = fields.lines(&value)?;
            Printed { out, err }
        }
        (Answer::Cluster(answer), _) => admin::render(answer, look),
        (_, Form::Json) => json::render(answer, look),
        (_, Form::Quiet) => quiet::render(answer),
        (_, Form::Table | Form::Wide | Form::List) => people::render(answer, look),
    })
}

/// One after the other; what could not be done is told beside them.
fn several(all: &[Result<Answer, Refused>], look: &Look) -> Result<Printed, FieldError> {
    let mut printed = Printed::default();
    let mut values = Vec::new();
    for one in all {
        let one = match one {
            Ok(answer) => render(answer, look)?,
            Err(refused) => Printed {
                out: String::new(),
                err: tame(&refused.what) + "\n",
            },
        };
        printed.err += &one.err;
        if look.form == Form::Json {
            // Our own text, read back.
            values.extend(serde_json::from_str::<serde_json::Value>(&one.out));
            continue;
        }
        // Blocks of lines want to be told apart.
        let is_block = |text: &str| text.lines().nth(1).is_some();
        if !printed.out.is_empty() && (is_block(&one.out) || is_block(&printed.out)) && !one.out.is_empty() {
            printed.out.push('\n');
        }
        printed.out += &one.out;
    }
    if look.form == Form::Json {
        printed.out = format!("{:#}\n", serde_json::Value::Array(values));
    }
    Ok(printed)
}

/// Prints. A reader that has gone away is no error: `job list | head` has got what it wanted.
///
/// # Errors
/// When standard output cannot be written for another reason.
pub fn emit(printed: &Printed) -> io::Result<()> {
    let written = io::stdout()
        .lock()
        .write_all(printed.out.as_bytes())
        .and_then(|()| io::stdout().lock().flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    say_plain(&printed.err);
    Ok(())
}

/// Prints an error to standard error.
pub fn say(program: &str, message: &str) {
    say_plain(&format!("{program}: {message}\n"));
}

/// A remark on standard error, while something goes on.
pub(crate) fn remark(line: &str) {
    say_plain(&(tame(line) + "\n"));
}

fn say_plain(text: &str) {
    // When standard error is closed there is nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A line on the terminal that is written over while something is waited for; elsewhere nothing.
#[derive(Debug)]
pub struct Progress {
    shown: Option<String>,
}

impl Progress {
    /// On standard error, when that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            shown: (io::stderr().is_terminal() && !dumb).then(String::new),
        }
    }

    /// Whether anybody sees it.
    pub(crate) const fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Shows a line in place of the last one.
    pub fn show(&mut self, line: &str) {
        let Some(shown) = &mut self.shown else { return };
        if shown != line {
            let line: String = line.chars().take(terminal_width().saturating_sub(1)).collect();
            say_plain(&format!("\r\x1b[K{line}"));
            *shown = line;
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown.as_ref().is_some_and(|shown| !shown.is_empty()) {
            say_plain("\r\x1b[K");
            self.shown = Some(String::new());
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// For help, which is for people even when it is piped.
#[must_use]
pub fn help_width() -> usize {
    if io::stdout().is_terminal() {
        terminal_width()
    } else {
        UNKNOWN_WIDTH
    }
}

fn terminal_width() -> usize {
    terminal_size().map_or(UNKNOWN_WIDTH, |(_, columns)| usize::from(columns))
}

/// Lines and columns of the terminal of standard output; none when it is none, or does not know.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one `winsize` to the pointer, which is valid and exclusive for the call; a descriptor that
    // is no terminal is an error, not a fault. std has no safe way to ask, and a crate for one number is too much.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Remarks beside an answer, a line each.
fn remarks_text(remarks: &[String]) -> String {
    remarks.iter().map(|remark| tame(remark) + "\n").collect()
}

/// A text from users or programs without what a terminal would obey: control characters as `cat -v` shows them.
fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{0}'..='\u{1f}' => {
                out.push('^');
                out.push(char::from_u32(u32::from(c) + 64).unwrap_or('?'));
            }
            '\u{7f}' => out.push_str("^?"),
            // The second set of controls, and marks that turn the direction of a line around.
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
