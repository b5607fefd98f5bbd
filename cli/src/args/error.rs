//! What is wrong with a command line, and what to type instead.

use super::nearest;
use super::table::{NOT_YET_PROGRAMS, NOT_YET_VERBS, Noun, verbs};

/// A command line that cannot be carried out. Nothing was asked of the head node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A word that is no UTF-8 text.
    #[error("'{word}' is no UTF-8 text; commands and options are sent as text")]
    NotText {
        /// The word, as far as it can be shown.
        word: String,
    },
    /// An option that the command does not have.
    #[error("no option '{given}' for '{place}'{}", option_hint(.place, .nearest.as_deref(), .program.as_deref()))]
    UnknownOption {
        /// The command.
        place: String,
        /// The option as written.
        given: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// The word, when it may have been meant as a program.
        program: Option<String>,
    },
    /// Documented by HPC Pack, not built.
    #[error("{what} is not built yet; nothing was done{}", advice(.instead))]
    NotYet {
        /// The option or command as written.
        what: String,
        /// What to do in its place; may be empty.
        instead: &'static str,
    },
    /// An option without its value.
    #[error("{option} needs a value: {example}")]
    NeedsValue {
        /// As written.
        option: String,
        /// How it is written.
        example: String,
    },
    /// A value that cannot be read.
    #[error("{option}: '{value}': {wrong}")]
    BadValue {
        /// As written.
        option: String,
        /// The value.
        value: String,
        /// What is wrong and what to type.
        wrong: String,
    },
    /// The same option twice.
    #[error("{second} was given twice (before as {first}); give it once")]
    Twice {
        /// The first spelling.
        first: String,
        /// The second one.
        second: String,
    },
    /// Options that exclude each other.
    #[error("{first} and {second} exclude each other; give one of them")]
    Conflict {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// `--name:value`.
    #[error("'{given}' mixes two spellings; write {long}=VALUE or {slash}:VALUE")]
    MixedSpelling {
        /// As written.
        given: String,
        /// The long spelling.
        long: String,
        /// HPC Pack's.
        slash: String,
    },
    /// A word that is no kind of thing and no command.
    #[error("no command '{given}'{}; see 'muster --help'", did_you_mean(.nearest.as_deref()))]
    UnknownNoun {
        /// As written.
        given: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A word that is no command of its kind.
    #[error("'{noun}' has no command '{given}'{}; see '{noun} --help'", did_you_mean(.nearest.as_deref()))]
    UnknownVerb {
        /// Of which kind.
        noun: &'static str,
        /// As written.
        given: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// No command at all.
    #[error("'{noun}' needs a command: {verbs}; see '{noun} --help'")]
    NoVerb {
        /// Of which kind.
        noun: &'static str,
        /// All of them.
        verbs: String,
    },
    /// Too few words.
    #[error("'{place}' needs {needs}: {usage}")]
    MissingWord {
        /// The command.
        place: String,
        /// What is missing.
        needs: &'static str,
        /// How it is written.
        usage: String,
    },
    /// Too many words.
    #[error("'{place}' does not know what to do with '{word}': {usage}")]
    ExtraWord {
        /// The command.
        place: String,
        /// The first that is too many.
        word: String,
        /// How it is written.
        usage: String,
    },
    /// Something in a file that a command line names.
    #[error("{place}: {wrong}")]
    File {
        /// Which file, and which line of it.
        place: String,
        /// What is wrong, and what to write.
        wrong: String,
    },
    /// A word that is no id, name or list.
    #[error("{wrong}; write {usage}")]
    BadWord {
        /// What is wrong, naming the word.
        wrong: String,
        /// How the command is written.
        usage: String,
    },
}

impl UsageError {
    pub(super) fn unknown_noun(given: &str) -> Self {
        if NOT_YET_PROGRAMS.iter().any(|name| name.eq_ignore_ascii_case(given)) {
            return Self::NotYet {
                what: format!("'{given}'"),
                instead: "",
            };
        }
        let nouns = Noun::KINDS.iter().map(|noun| noun.as_str());
        let verbs = verbs().filter(|spec| spec.noun == Noun::Cluster && !spec.verb.is_hidden());
        let verbs = verbs.map(|spec| spec.name);
        Self::UnknownNoun {
            given: given.to_owned(),
            nearest: nearest(given, nouns.chain(verbs)),
        }
    }

    pub(super) fn unknown_verb(noun: Noun, given: &str) -> Self {
        if NOT_YET_VERBS
            .iter()
            .any(|(of, name)| *of == noun && name.eq_ignore_ascii_case(given))
        {
            return Self::NotYet {
                what: format!("'{} {given}'", noun.as_str()),
                instead: "",
            };
        }
        Self::UnknownVerb {
            noun: noun.as_str(),
            given: given.to_owned(),
            nearest: nearest(given, verbs_of(noun)),
        }
    }

    pub(super) fn no_verb(noun: Noun) -> Self {
        Self::NoVerb {
            noun: noun.as_str(),
            verbs: verbs_of(noun).collect::<Vec<_>>().join(", "),
        }
    }
}

fn verbs_of(noun: Noun) -> impl Iterator<Item = &'static str> {
    verbs().filter(move |spec| spec.noun == noun).map(|spec| spec.name)
}

fn advice(instead: &str) -> String {
    if instead.is_empty() {
        String::new()
    } else {
        format!(": {instead}")
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean '{name}'?"))
        .unwrap_or_default()
}

fn option_hint(place: &str, nearest: Option<&str>, program: Option<&str>) -> String {
    let program = program
        .map(|word| format!("; if it is the program, write '-- {word}'"))
        .unwrap_or_default();
    match nearest {
        Some(name) => format!("; did you mean '{name}'?{program}"),
        None => format!("; see '{place} --help'{program}"),
    }
}
