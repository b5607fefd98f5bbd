//! Help on every level, written from the table.

use std::fmt::Write as _;

use super::table::{GLOBAL, Noun, OptionSpec, Status, Value, Verb, options, verbs};

/// What is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `muster`
    Program,
    /// `job`
    Noun(Noun),
    /// `job submit`
    Verb(Verb),
}

/// Where the second column begins at the latest.
const COLUMN: usize = 30;

/// Narrower terminals break lines by themselves, better than two columns could.
const NARROWEST: usize = 50;

/// Longer lines are hard to read.
const WIDEST: usize = 100;

impl Topic {
    /// The explanation, not wider than `width`.
    #[must_use]
    pub fn text(self, width: usize) -> String {
        let width = width.clamp(NARROWEST, WIDEST);
        match self {
            Self::Program => program(width),
            Self::Noun(noun) => of_noun(noun, width),
            Self::Verb(verb) => of_verb(verb, width),
        }
    }
}

fn program(width: usize) -> String {
    let mut out =
        String::from("Muster: a scheduler for HPC clusters\n\nmuster COMMAND, or the kinds by their own names:\n");
    for noun in Noun::KINDS {
        let verbs: Vec<&str> = verbs().filter(|spec| spec.noun == noun).map(|spec| spec.name).collect();
        row(
            &mut out,
            &noun.typed(),
            &format!("{} ({})", noun.about(), verbs.join(", ")),
            width,
        );
    }
    out.push_str("\nThe cluster itself:\n");
    for spec in verbs().filter(|spec| spec.noun == Noun::Cluster && !spec.verb.is_hidden()) {
        row(&mut out, &spec.title(), spec.about, width);
    }
    globals(&mut out, width);
    examples(
        &mut out,
        &[
            "muster up",
            "eval \"$(muster env)\"",
            "job submit /numnodes:4 hostname",
            "task view 1.1",
        ],
        width,
    );
    out.push('\n');
    let more =
        "'COMMAND --help' or 'COMMAND /?' tells more. Both spellings work everywhere: /numnodes:4 and --num-nodes 4.";
    wrap(&mut out, more, 0, 0, width);
    out
}

fn of_noun(noun: Noun, width: usize) -> String {
    let mut out = format!("{}: {}\n\n", noun.typed(), noun.about());
    let mut lines = Vec::new();
    for spec in verbs().filter(|spec| spec.noun == noun) {
        row(&mut out, &spec.title(), spec.about, width);
        lines.extend(spec.examples.iter().copied().take(1));
    }
    globals(&mut out, width);
    examples(&mut out, &lines, width);
    out
}

fn of_verb(verb: Verb, width: usize) -> String {
    let spec = verb.spec();
    let (title, mut out) = (spec.title() + ": ", String::new());
    wrap(&mut out, &(title + spec.about), 2, 0, width);
    out += &format!("\nUsage: {}\n", spec.usage());
    let own = || options().filter(|option| option.on.contains(&verb));
    if own().any(|option| option.status != Status::NotYet) {
        out.push_str("\nOptions:\n");
    }
    for option in own().filter(|option| option.status != Status::NotYet) {
        row(&mut out, &spelled(option), option.help, width);
    }
    globals(&mut out, width);
    examples(&mut out, spec.examples, width);
    let later: Vec<String> = own()
        .filter(|option| option.status == Status::NotYet)
        .map(|option| option.spelling(true))
        .collect();
    if !later.is_empty() {
        out.push_str("\nNot supported yet, and refused: ");
        wrap(&mut out, &later.join(" "), 2, 34, width);
    }
    out
}

fn globals(out: &mut String, width: usize) {
    out.push_str("\nFor every command:\n");
    for option in GLOBAL {
        row(out, &spelled(option), option.help, width);
    }
    row(out, "-h, /?, --help", "this text", width);
}

fn examples(out: &mut String, lines: &[&str], width: usize) {
    if !lines.is_empty() {
        out.push_str("\nExamples:\n");
    }
    for line in lines {
        out.push_str("  ");
        let mut column = 2;
        for (number, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            // Room for the mark that lets a shell go on reading.
            if number > 0 && column + 1 + length + 2 > width {
                out.push_str(" \\\n    ");
                column = 4;
            } else if number > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
}

fn spelled(option: &OptionSpec) -> String {
    let short = option.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    match option.value {
        Value::Flag => format!("{short}{}, {}", option.spelling(true), option.spelling(false)),
        Value::Text(what) => format!("{short}{}, {}", option.spelling(true), option.example(false, what)),
    }
}

fn row(out: &mut String, left: &str, right: &str, width: usize) {
    // A String takes everything.
    let _ = write!(out, "  {left:<0$}", COLUMN - 4);
    let used = 2 + left.chars().count().max(COLUMN - 4);
    if used > COLUMN - 2 {
        out.push('\n');
        out.push_str(&" ".repeat(COLUMN));
    } else {
        out.push_str("  ");
    }
    wrap(out, right, COLUMN, COLUMN, width);
}

/// Appends words, beginning at column `at`, further lines at `indent`.
fn wrap(out: &mut String, text: &str, indent: usize, at: usize, width: usize) {
    let mut column = at;
    for (number, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}
