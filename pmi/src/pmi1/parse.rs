//! Lines of PMI-1: cutting a byte stream into lines, and a line into its words.
//!
//! The grammar is as narrow as what MPICH sends (docs/pmi.md): a value runs to the next space or newline, may hold `=` and
//! may be empty; nothing is escaped. Hostile bytes give an error, never a panic, and a line has a bound.

use std::collections::VecDeque;
use std::str::FromStr;

use crate::limits::MAX_LINE_BYTES;

/// Why a line is no message of PMI-1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More bytes without a newline than the bound.
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The bytes are no UTF-8.
    #[error("a line holds bytes that are no text")]
    NotText,
    /// The first word is not `cmd=...` or `mcmd=...`.
    #[error("'{line}' does not begin with cmd=")]
    NoCommand {
        /// The line, shortened.
        line: String,
    },
    /// A word without `=`.
    #[error("the word '{word}' is no key=value")]
    NoValue {
        /// The word, shortened.
        word: String,
    },
    /// A command that this side does not know.
    #[error("the command '{command}' is unknown")]
    UnknownCommand {
        /// The command.
        command: String,
    },
    /// A field that the command needs.
    #[error("{command} lacks the field {field}")]
    Missing {
        /// The command.
        command: String,
        /// The field.
        field: &'static str,
    },
    /// A field that must be a number.
    #[error("{command} has {field}={text}, which is no number in range")]
    NotANumber {
        /// The command.
        command: String,
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
    },
}

/// One line, cut into its words. Borrowed from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    command: &'a str,
    multi: bool,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    /// Cuts a line, with or without its newline.
    ///
    /// # Errors
    /// [`ParseError`] naming the first word that breaks the grammar.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let text = text.trim_end_matches(['\n', '\r']);
        if text.len() > MAX_LINE_BYTES {
            return Err(ParseError::TooLong);
        }
        let mut words = text.split([' ', '\n']).filter(|word| !word.is_empty());
        let first = words.next().and_then(|word| word.split_once('='));
        let (multi, command) = match first {
            Some(("cmd", command)) if !command.is_empty() => (false, command),
            Some(("mcmd", command)) if !command.is_empty() => (true, command),
            _ => return Err(ParseError::NoCommand { line: shortened(text) }),
        };
        let fields = words
            .map(|word| {
                word.split_once('=')
                    .ok_or_else(|| ParseError::NoValue { word: shortened(word) })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { command, multi, fields })
    }

    /// The command's name.
    #[must_use]
    pub const fn command(&self) -> &'a str {
        self.command
    }

    /// Whether the line opens a command of several lines, ended by `endcmd`.
    #[must_use]
    pub const fn is_multi(&self) -> bool {
        self.multi
    }

    /// The value of a field; the first one when it stands twice.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&'a str> {
        self.fields.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// [`ParseError::Missing`].
    pub fn required(&self, field: &'static str) -> Result<&'a str, ParseError> {
        self.field(field).ok_or_else(|| ParseError::Missing {
            command: self.command.to_owned(),
            field,
        })
    }

    /// A field that must be there and be a number.
    ///
    /// # Errors
    /// [`ParseError::Missing`] or [`ParseError::NotANumber`].
    pub fn number<T: FromStr>(&self, field: &'static str) -> Result<T, ParseError> {
        let text = self.required(field)?;
        text.parse().map_err(|_| ParseError::NotANumber {
            command: self.command.to_owned(),
            field,
            text: shortened(text),
        })
    }
}

/// Cuts a stream of bytes into lines. Several lines may come in one read, and one line in several.
#[derive(Debug, Default)]
pub struct Lines {
    whole: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
    overflowed: bool,
}

impl Lines {
    /// An empty stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read. Bytes after a line above the bound are dropped, because the conversation is over.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !self.overflowed && !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if self.partial.len() + piece.len() > MAX_LINE_BYTES {
                self.overflowed = true;
                return;
            }
            self.partial.extend_from_slice(piece);
            let Some(end) = end else { return };
            self.whole.push_back(std::mem::take(&mut self.partial));
            bytes = &bytes[end + 1..];
        }
    }

    /// The next whole line without its newline; nothing when more bytes are needed.
    ///
    /// # Errors
    /// [`ParseError::NotText`] for this line, [`ParseError::TooLong`] for good.
    pub fn next_line(&mut self) -> Result<Option<String>, ParseError> {
        match self.whole.pop_front() {
            Some(line) => String::from_utf8(line).map(Some).map_err(|_| ParseError::NotText),
            None if self.overflowed => Err(ParseError::TooLong),
            None => Ok(None),
        }
    }
}

/// The beginning of a text, so that an error message stays a line.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs_and_be_empty() {
        let line = Line::parse("cmd=put kvsname=k key=a value=x=1=2  empty= \n").expect("a line");
        assert_eq!(line.command(), "put");
        assert_eq!(line.field("value"), Some("x=1=2"));
        assert_eq!(line.field("empty"), Some(""));
        assert_eq!(line.field("other"), None);
    }

    #[test]
    fn broken_lines_are_named() {
        let said = |text: &str| Line::parse(text).expect_err("broken").to_string();
        assert_eq!(said("hello"), "'hello' does not begin with cmd=");
        assert_eq!(said(""), "'' does not begin with cmd=");
        assert_eq!(said("cmd="), "'cmd=' does not begin with cmd=");
        assert_eq!(said("cmd=put key"), "the word 'key' is no key=value");
    }

    #[test]
    fn lines_come_whole_however_they_were_read() {
        let mut lines = Lines::new();
        lines.push(b"cmd=a\ncmd=b\ncm");
        assert_eq!(lines.next_line(), Ok(Some("cmd=a".into())));
        assert_eq!(lines.next_line(), Ok(Some("cmd=b".into())));
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"d=c\n");
        assert_eq!(lines.next_line(), Ok(Some("cmd=c".into())));
    }

    #[test]
    fn a_line_without_end_is_an_error_and_stays_one() {
        let mut lines = Lines::new();
        lines.push(b"cmd=a\n");
        lines.push(&vec![b'x'; MAX_LINE_BYTES]);
        lines.push(b"y");
        lines.push(b"\n");
        assert_eq!(lines.next_line(), Ok(Some("cmd=a".into())));
        assert_eq!(lines.next_line(), Err(ParseError::TooLong));
        assert_eq!(lines.next_line(), Err(ParseError::TooLong));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9)) {
            let mut lines = Lines::new();
            for chunk in &chunks {
                lines.push(chunk);
            }
            let newlines = chunks.iter().flatten().filter(|b| **b == b'\n').count();
            for _ in 0..newlines {
                if let Ok(Some(text)) = lines.next_line() {
                    // Whether it is a line of PMI does not matter here, only that asking is harmless.
                    let _ = Line::parse(&text);
                }
            }
            prop_assert_eq!(lines.next_line(), Ok(None));
        }

        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec(("[a-z_]{1,12}", "[!-~]{0,40}"), 0..6)) {
            let mut text = String::from("cmd=x");
            for (key, value) in &fields {
                text.push_str(&format!(" {key}={value}"));
            }
            let line = Line::parse(&text).expect("well formed");
            for (key, _) in &fields {
                let first = fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
                prop_assert_eq!(line.field(key), first);
            }
        }
    }
}
