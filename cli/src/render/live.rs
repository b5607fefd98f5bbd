//! Output of tasks while it comes: as it was written, or line by line with whose it is.
//!
//! What goes to a terminal is tamed, unless the bytes themselves were asked for: then the program is the caller's own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal, Write};

use proto::client::{Output, OutputPart};
use proto::control::{Piece, TaskFile};
use proto::ids::{AttemptId, NodeName, Rank, TaskId};

use super::Progress;
use super::output::tame_output;
use crate::answer::span;

/// The longest line that is held back for its end.
const LONGEST_LINE: usize = 64 * 1024;

/// Whether somebody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Go on.
    Yes,
    /// The reader has gone away and wants no more.
    No,
}

/// Whose bytes. Sorted as they are told when several are told at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    task: TaskId,
    attempt: AttemptId,
    file: File,
    rank: Option<Rank>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Out,
    Err,
}

impl From<TaskFile> for File {
    fn from(file: TaskFile) -> Self {
        match file {
            TaskFile::Stdout => Self::Out,
            TaskFile::Stderr => Self::Err,
        }
    }
}

/// How lines begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// With nothing: the bytes as they were written.
    Never,
    /// With whose they are, where they may be of several tasks or ranks.
    AsNeeded,
    /// With whose they are.
    Always,
}

/// Shows output.
#[derive(Debug)]
pub(crate) struct Live {
    labels: Labels,
    /// Whether the output is of more than one task.
    several: bool,
    tame_out: bool,
    tame_err: bool,
    /// Lines that have not ended, and the node that they come from.
    begun: BTreeMap<Source, (NodeName, Vec<u8>)>,
    /// What is held back until it is known to be the end; none once it was told.
    backlog: Option<Backlog>,
    /// What was said of files that cannot be shown, until their task's end says whether there should be any.
    missing: BTreeMap<(TaskId, AttemptId), Vec<String>>,
    progress: Progress,
    to: (Vec<u8>, Vec<u8>),
}

impl Live {
    /// On this process's standard output and standard error.
    pub(crate) fn new(labels: Labels, several: bool) -> Self {
        let raw = labels == Labels::Never;
        Self {
            labels,
            several,
            tame_out: !raw && io::stdout().is_terminal(),
            tame_err: !raw && io::stderr().is_terminal(),
            begun: BTreeMap::new(),
            backlog: None,
            missing: BTreeMap::new(),
            progress: Progress::new(),
            to: (Vec::new(), Vec::new()),
        }
    }

    /// Begins with the last so many lines of each file; all of it is held back until [`Live::release`].
    pub(crate) fn last_lines(mut self, lines: u32) -> Self {
        self.backlog = Some(Backlog {
            lines: usize::try_from(lines).unwrap_or(usize::MAX),
            files: BTreeMap::new(),
        });
        self
    }

    /// Whether something is held back.
    pub(crate) const fn is_held_back(&self) -> bool {
        self.backlog.is_some()
    }

    /// A line on a terminal that says what is waited for.
    pub(crate) fn waiting(&mut self, line: &str) {
        self.progress.show(line);
    }

    /// A remark of our own on standard error, of one line or several.
    pub(crate) fn remark(&mut self, line: &str) {
        self.progress.clear();
        for line in line.lines() {
            super::say_plain(&format!("{}\n", super::tame(line)));
        }
    }

    /// Takes the next thing that was told.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn take(&mut self, output: &Output) -> io::Result<Seen> {
        let Output {
            task, node, attempt, ..
        } = output;
        match &output.part {
            OutputPart::Piece(piece) => match &mut self.backlog {
                Some(backlog) => backlog.add(output, piece),
                None => self.piece(*task, *attempt, node, piece),
            },
            OutputPart::Missing { file, reason } => {
                let file = match file {
                    TaskFile::Stdout => "output",
                    TaskFile::Stderr => "error output",
                };
                let what = format!("task {task}: its {file} on {node} cannot be shown: {reason}");
                self.missing.entry((*task, *attempt)).or_default().push(what);
            }
            OutputPart::Unreachable { reason } => {
                self.remark(&format!("task {task}: node {node} cannot be reached: {reason}"));
            }
            OutputPart::End { task: row } => {
                match self.missing.remove(&(*task, *attempt)) {
                    // Why it never started is the row's to tell; that it wrote no files is no trouble of its own.
                    Some(_) if span(&row.state).0.is_none() => {
                        self.remark(&format!("task {task} never started and has no output"));
                    }
                    missing => missing.iter().flatten().for_each(|what| self.remark(what)),
                }
                if let Some(backlog) = &mut self.backlog {
                    let ended = backlog.take(*task, *attempt);
                    self.tell_pieces(ended);
                }
                self.end_lines(|source| source.task == *task && source.attempt == *attempt);
            }
        }
        self.write()
    }

    /// Tells what was held back; from now on all is told as it comes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn release(&mut self) -> io::Result<Seen> {
        if let Some(backlog) = self.backlog.take() {
            self.tell_pieces(backlog.all());
        }
        self.write()
    }

    /// Tells lines that never ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<Seen> {
        let _seen = self.release()?;
        let missing = std::mem::take(&mut self.missing);
        missing.values().flatten().for_each(|what| self.remark(what));
        self.end_lines(|_| true);
        self.write()
    }

    fn tell_pieces(&mut self, pieces: Vec<Held>) {
        for Held { source, node, bytes } in pieces {
            self.bytes(source, &node, &bytes);
        }
    }

    fn piece(&mut self, task: TaskId, attempt: AttemptId, node: &NodeName, piece: &Piece) {
        let source = Source {
            task,
            attempt,
            file: piece.file.into(),
            rank: piece.rank,
        };
        self.bytes(source, node, &piece.bytes);
    }

    fn bytes(&mut self, source: Source, node: &NodeName, bytes: &[u8]) {
        let label = self.label(&source, node);
        let file = source.file;
        if self.labels == Labels::Never || (label.is_empty() && !self.is_tame(file)) {
            self.line(file, bytes);
            return;
        }
        let (_, begun) = self
            .begun
            .entry(source.clone())
            .or_insert_with(|| (node.clone(), Vec::new()));
        begun.extend_from_slice(bytes);
        let whole = match begun.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if begun.len() > LONGEST_LINE => begun.len(),
            None => return,
        };
        let rest = begun.split_off(whole);
        let lines = std::mem::replace(begun, rest);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.labelled(file, &label, line);
        }
    }

    fn end_lines(&mut self, which: impl Fn(&Source) -> bool) {
        let ended: Vec<Source> = self.begun.keys().filter(|source| which(source)).cloned().collect();
        for source in ended {
            if let Some((node, line)) = self.begun.remove(&source).filter(|(_, line)| !line.is_empty()) {
                let label = self.label(&source, &node);
                self.labelled(source.file, &label, &line);
            }
        }
    }

    /// `12.1.7 node2 3: `, or as much of it as is needed.
    fn label(&self, source: &Source, node: &NodeName) -> String {
        let mut parts = Vec::new();
        let always = self.labels == Labels::Always;
        if self.labels == Labels::Never {
            return String::new();
        }
        if self.several || always {
            parts.push(source.task.to_string());
        }
        if source.rank.is_some() || always {
            parts.push(node.to_string());
        }
        parts.extend(source.rank.map(|rank| rank.to_string()));
        if parts.is_empty() {
            String::new()
        } else {
            parts.join(" ") + ": "
        }
    }

    fn labelled(&mut self, file: File, label: &str, line: &[u8]) {
        let mut text = label.as_bytes().to_vec();
        if self.is_tame(file) {
            text.extend_from_slice(tame_output(&String::from_utf8_lossy(line)).as_bytes());
        } else {
            text.extend_from_slice(line);
        }
        // A line that was cut short must not run into that of another.
        if !label.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        self.line(file, &text);
    }

    const fn is_tame(&self, file: File) -> bool {
        match file {
            File::Out => self.tame_out,
            File::Err => self.tame_err,
        }
    }

    fn line(&mut self, file: File, bytes: &[u8]) {
        match file {
            File::Out => self.to.0.extend_from_slice(bytes),
            File::Err => self.to.1.extend_from_slice(bytes),
        }
    }

    fn write(&mut self) -> io::Result<Seen> {
        let (out, err) = std::mem::take(&mut self.to);
        if out.is_empty() && err.is_empty() {
            return Ok(Seen::Yes);
        }
        self.progress.clear();
        if !err.is_empty() {
            // When standard error is closed there is nobody to tell.
            let _ = io::stderr().lock().write_all(&err);
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&out).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(Seen::Yes),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Seen::No),
            Err(error) => Err(error),
        }
    }
}

/// A piece that may turn out to lie before the last lines.
#[derive(Debug)]
struct Held {
    source: Source,
    node: NodeName,
    bytes: Vec<u8>,
}

/// The last lines of each file, as far as they have come.
#[derive(Debug)]
struct Backlog {
    lines: usize,
    files: BTreeMap<(TaskId, AttemptId, File), VecDeque<Held>>,
}

impl Backlog {
    fn add(&mut self, output: &Output, piece: &Piece) {
        let source = Source {
            task: output.task,
            attempt: output.attempt,
            file: piece.file.into(),
            rank: piece.rank,
        };
        let key = (source.task, source.attempt, source.file);
        let held = self.files.entry(key).or_default();
        held.push_back(Held {
            source,
            node: output.node.clone(),
            bytes: piece.bytes.clone(),
        });
        cut(held, self.lines);
    }

    fn take(&mut self, task: TaskId, attempt: AttemptId) -> Vec<Held> {
        let files = [File::Out, File::Err].map(|file| self.files.remove(&(task, attempt, file)));
        files.into_iter().flatten().flatten().collect()
    }

    fn all(self) -> Vec<Held> {
        self.files.into_values().flatten().collect()
    }
}

/// Leaves the last so many lines.
fn cut(held: &mut VecDeque<Held>, lines: usize) {
    if lines == 0 {
        held.clear();
    }
    let (mut ends, mut is_last_byte) = (0, true);
    for at in (0..held.len()).rev() {
        for byte in (0..held[at].bytes.len()).rev() {
            // The very last one ends a line that is told; each before it stands between two.
            ends += usize::from(held[at].bytes[byte] == b'\n' && !is_last_byte);
            is_last_byte = false;
            if ends == lines {
                held[at].bytes.drain(..=byte);
                held.drain(..at);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(labels: Labels, several: bool) -> Live {
        Live {
            tame_out: false,
            tame_err: false,
            ..Live::new(labels, several)
        }
    }

    fn piece(task: &str, rank: Option<u32>, text: &str) -> Output {
        Output {
            task: task.parse().expect("an id"),
            attempt: AttemptId(1),
            node: NodeName::new("n1").expect("a name"),
            part: OutputPart::Piece(Piece {
                file: TaskFile::Stdout,
                offset: 0,
                bytes: text.as_bytes().to_vec(),
                rank: rank.map(Rank),
                on: None,
            }),
        }
    }

    /// What would be written to standard output.
    fn told(live: &mut Live, outputs: &[Output]) -> String {
        for output in outputs {
            let OutputPart::Piece(part) = &output.part else {
                continue;
            };
            match &mut live.backlog {
                Some(backlog) => backlog.add(output, part),
                None => live.piece(output.task, output.attempt, &output.node, part),
            }
        }
        if let Some(backlog) = live.backlog.take() {
            live.tell_pieces(backlog.all());
        }
        live.end_lines(|_| true);
        String::from_utf8(std::mem::take(&mut live.to.0)).expect("text")
    }

    #[test]
    fn one_task_is_told_as_it_was_written() {
        let pieces = [piece("3.1", None, "a\nb"), piece("3.1", None, "c\n\x1b[1m")];
        assert_eq!(told(&mut live(Labels::AsNeeded, false), &pieces), "a\nbc\n\x1b[1m");
        assert_eq!(told(&mut live(Labels::Never, true), &pieces), "a\nbc\n\x1b[1m");
        let mut terminal = live(Labels::AsNeeded, false);
        terminal.tame_out = true;
        assert_eq!(told(&mut terminal, &pieces), "a\nbc\n^[[1m");
    }

    #[test]
    fn lines_of_several_do_not_mix() {
        let pieces = [
            piece("3.1.1", None, "one"),
            piece("3.1.2", None, "two\nthr"),
            piece("3.1.1", None, " more\n"),
            piece("3.1.2", None, "ee"),
        ];
        assert_eq!(
            told(&mut live(Labels::AsNeeded, true), &pieces),
            "3.1.2: two\n3.1.1: one more\n3.1.2: three\n"
        );
    }

    #[test]
    fn ranks_are_told_with_their_node() {
        let pieces = [piece("3.1", Some(0), "a\n"), piece("3.1", Some(1), "b\n")];
        assert_eq!(told(&mut live(Labels::AsNeeded, false), &pieces), "n1 0: a\nn1 1: b\n");
        assert_eq!(told(&mut live(Labels::Always, false), &pieces[..1]), "3.1 n1 0: a\n");
    }

    #[test]
    fn the_last_lines() {
        let pieces = [piece("3.1", None, "1\n2\n3"), piece("3.1", None, "\n4\n5\n")];
        let last = |lines| told(&mut live(Labels::AsNeeded, false).last_lines(lines), &pieces);
        assert_eq!(last(2), "4\n5\n");
        assert_eq!(last(3), "3\n4\n5\n");
        assert_eq!(last(9), "1\n2\n3\n4\n5\n");
        assert_eq!(last(0), "");
        let open = [piece("3.1", None, "1\n2\n3")];
        assert_eq!(told(&mut live(Labels::AsNeeded, false).last_lines(1), &open), "3");
    }
}
