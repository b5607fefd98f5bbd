//! From the words of a command line to plain values: which command, which options as given, which words.
//!
//! ```text
//!   name, words -> noun, verb -> lexer (slashes | dashes) -> Invocation -> `request` checks the values
//! ```
//!
//! Nothing here knows what a value means, prints, or reads the world. The grammar is our own instead of a library's,
//! because HPC Pack's (`/name:value`, the first plain word begins the program) is no other program's; both spellings,
//! the help and the refusal of what is not built come from one table.

mod completion;
mod error;
mod help;
mod lex;
mod manual;
mod nearest;
mod slashes;
pub mod table;

pub(crate) use completion::{Source, complete, script as completion_script};
pub use error::UsageError;
pub use help::Topic;
pub use lex::{Given, Options};
pub use manual::Page;
pub(crate) use nearest::nearest;
use table::{Noun, Tail, Verb};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// An explanation.
    Help(Topic),
    /// The version of this program.
    Version,
    /// A command.
    Do {
        /// Which.
        verb: Verb,
        /// Its options, and those that every command has.
        options: Options,
        /// The words that are no options; for `job submit` the program and its arguments.
        words: Vec<String>,
    },
}

/// Reads a command line. `program` is the name it was called by: as `job`, this program is `muster job`.
///
/// # Errors
/// [`UsageError`], naming the word and what to type instead.
pub fn parse(program: &str, words: &[String]) -> Result<Invocation, UsageError> {
    let name = program.rsplit('/').next().unwrap_or(program);
    if let Some(noun) = Noun::linked(name) {
        return parse_verb(noun, Options::default(), words);
    }
    match Verb::linked(name) {
        Some(verb) => parse_rest(verb, Options::default(), words),
        None => parse_noun(words),
    }
}

/// The options of a command from elsewhere than the command line, and the words that are none.
pub(crate) fn options_of(verb: Verb, words: &[String]) -> Result<(Options, Vec<String>), UsageError> {
    let found = lex::lex(words, &lex::Scope::of(verb), Tail::Words)?;
    Ok((found.options, found.words))
}

fn parse_noun(words: &[String]) -> Result<Invocation, UsageError> {
    let found = lex::lex(words, &lex::Scope::global("muster"), Tail::Command)?;
    let topic = Topic::Program;
    match found.stop {
        Some(lex::Stop::Help) => return Ok(Invocation::Help(topic)),
        Some(lex::Stop::Version) => return Ok(Invocation::Version),
        None => {}
    }
    let Some((first, rest)) = found.words.split_first() else {
        return Ok(Invocation::Help(topic));
    };
    if first.eq_ignore_ascii_case("help") {
        return help_words(rest);
    }
    if let Some(noun) = Noun::named(first) {
        return parse_verb(noun, found.options, rest);
    }
    let cluster = Verb::named(Noun::Cluster, first);
    let verb = cluster.ok_or_else(|| UsageError::unknown_noun(first))?;
    parse_rest(verb, found.options, rest)
}

fn parse_verb(noun: Noun, before: Options, words: &[String]) -> Result<Invocation, UsageError> {
    let mut found = lex::lex(words, &lex::Scope::global(noun.as_str()), Tail::Command)?;
    match found.stop {
        Some(lex::Stop::Help) => return Ok(Invocation::Help(Topic::Noun(noun))),
        Some(lex::Stop::Version) => return Ok(Invocation::Version),
        None => {}
    }
    found.options.add(before)?;
    let Some((first, rest)) = found.words.split_first() else {
        return Err(UsageError::no_verb(noun));
    };
    if first.eq_ignore_ascii_case("help") {
        return Ok(Invocation::Help(Topic::Noun(noun)));
    }
    let verb = Verb::named(noun, first).ok_or_else(|| UsageError::unknown_verb(noun, first))?;
    parse_rest(verb, found.options, rest)
}

fn parse_rest(verb: Verb, before: Options, words: &[String]) -> Result<Invocation, UsageError> {
    let spec = verb.spec();
    let mut found = lex::lex(words, &lex::Scope::of(verb), spec.tail)?;
    match found.stop {
        Some(lex::Stop::Help) => return Ok(Invocation::Help(Topic::Verb(verb))),
        Some(lex::Stop::Version) => return Ok(Invocation::Version),
        None => {}
    }
    found.options.add(before)?;
    spec.check_words(&found.words)?;
    Ok(Invocation::Do {
        verb,
        options: found.options,
        words: found.words,
    })
}

fn help_words(words: &[String]) -> Result<Invocation, UsageError> {
    let Some((first, rest)) = words.split_first() else {
        return Ok(Invocation::Help(Topic::Program));
    };
    let topic = match (Noun::named(first), rest.first()) {
        (Some(noun), None) => Topic::Noun(noun),
        (Some(noun), Some(verb)) => {
            Topic::Verb(Verb::named(noun, verb).ok_or_else(|| UsageError::unknown_verb(noun, verb))?)
        }
        (None, _) => {
            let verb = Verb::named(Noun::Cluster, first);
            Topic::Verb(verb.ok_or_else(|| UsageError::unknown_noun(first))?)
        }
    };
    Ok(Invocation::Help(topic))
}

#[cfg(test)]
mod tests;
