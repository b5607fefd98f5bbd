//! The ends of a task's files, as `task view` shows them.

use std::fmt::Write as _;

use proto::client::FileEnd;
use proto::control::{FileReply, TaskFile};

use super::{Look, tame};

/// How much of each file `task view` shows, in characters: a full table of pairs of some dozens of nodes.
const OUTPUT_CHARACTERS: usize = 16_000;

/// One file under its title; an empty one is named only when it is the output.
pub(super) fn file_text(out: &mut String, title: &str, end: &FileEnd, path: Option<&str>, all: bool, look: &Look) {
    let place = path.map(|path| format!(" ({})", tame(path))).unwrap_or_default();
    // Each write below goes to a String, which takes everything.
    match &end.content {
        FileReply::Missing { reason } => {
            let _ = writeln!(out, "\n{title}{place}: not available: {}", tame(reason));
        }
        FileReply::Tail { bytes, .. } if bytes.is_empty() => {
            if end.file == TaskFile::Stdout {
                let _ = writeln!(out, "\n{title}{place}: empty");
            }
        }
        FileReply::Tail { skipped, bytes } => {
            let text = String::from_utf8_lossy(bytes);
            let (cut, shown) = tail(&text, if all { usize::MAX } else { OUTPUT_CHARACTERS });
            let left = if *skipped > 0 || cut {
                " (the end of it; --all shows more)"
            } else {
                ""
            };
            let left = if all && *skipped > 0 {
                format!(" ({skipped} bytes before it are not shown)")
            } else {
                left.to_owned()
            };
            let _ = writeln!(out, "\n{title}{place}:{left}");
            if look.width.is_some() {
                out.push_str(&tame_output(shown));
            } else {
                out.push_str(shown);
            }
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
    }
}

/// The last so many characters, from the beginning of a line; and whether something was left out.
fn tail(text: &str, most: usize) -> (bool, &str) {
    let Some((at, _)) = text
        .char_indices()
        .rev()
        .nth(most.saturating_sub(1))
        .filter(|(at, _)| *at > 0)
    else {
        return (false, text);
    };
    let rest = &text[at..];
    let whole_line = text[..at].ends_with('\n');
    match rest.find('\n') {
        Some(end) if !whole_line && end + 1 < rest.len() => (true, &rest[end + 1..]),
        _ => (true, rest),
    }
}

/// A program's output on a terminal: lines and tabs stay, what a terminal would obey does not.
pub(super) fn tame_output(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
            let body = body.strip_suffix('\r').unwrap_or(body);
            body.split('\t').map(tame).collect::<Vec<_>>().join("\t") + end
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_output_begins_with_a_line() {
        assert_eq!(tail("one\ntwo\n", 100), (false, "one\ntwo\n"));
        assert_eq!(tail("one\ntwo\nthree\n", 8), (true, "three\n"));
        assert_eq!(tail("one\ntwo\n", 4), (true, "two\n"));
        assert_eq!(tail("one long line", 4), (true, "line"));
        assert_eq!(tail("", 4), (false, ""));
        assert_eq!(tail("äöü\nx\n", 3), (true, "x\n"));
    }

    #[test]
    fn a_terminal_obeys_no_program() {
        assert_eq!(tame_output("a\tb\x1b[2J\r\nc\x07\n"), "a\tb^[[2J\nc^G\n");
    }
}
