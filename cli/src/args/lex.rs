//! The lexer: tells options from words, in both spellings, by the table.
//!
//! `/name:value` never takes the next word, `--name value` and `--name=value` do and do not. What begins the program
//! ends the options: from there on every word belongs to the program, whatever it looks like.

use super::error::UsageError;
use super::slashes;
use super::table::{GLOBAL, Key, OptionSpec, Status, Tail, Value, Verb, options};

/// An option as somebody gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Which.
    pub key: Key,
    /// How it was written, without its value: `/numnodes` or `--num-nodes`. Messages say it the same way.
    pub spelled: String,
    /// Its value.
    pub value: Option<String>,
}

impl Given {
    /// The value; options without one never reach a caller who needs one.
    #[must_use]
    pub fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// A value that cannot be read.
    #[must_use]
    pub fn refuse(&self, wrong: impl Into<String>) -> UsageError {
        UsageError::BadValue {
            option: self.spelled.clone(),
            value: self.text().to_owned(),
            wrong: wrong.into(),
        }
    }

    /// A flag's value: bare means true.
    ///
    /// # Errors
    /// When the value is neither true nor false.
    pub fn is_true(&self) -> Result<bool, UsageError> {
        match self.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "yes" | "1") => Ok(true),
            Some("false" | "no" | "0") => Ok(false),
            Some(_) => Err(self.refuse("use true or false")),
        }
    }
}

/// All options of a command line, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<Given>);

impl Options {
    /// The option, if it was given.
    #[must_use]
    pub fn one(&self, key: Key) -> Option<&Given> {
        self.0.iter().find(|given| given.key == key)
    }

    /// All of an option that may be repeated.
    pub fn all(&self, key: Key) -> impl Iterator<Item = &Given> {
        self.0.iter().filter(move |given| given.key == key)
    }

    /// The text of an option.
    #[must_use]
    pub fn text(&self, key: Key) -> Option<&str> {
        self.one(key).map(Given::text)
    }

    /// A flag; one that was not given is false.
    ///
    /// # Errors
    /// When its value is neither true nor false.
    pub fn flag(&self, key: Key) -> Result<bool, UsageError> {
        self.one(key).map_or(Ok(false), Given::is_true)
    }

    /// Reads an option by `read`, which says what is wrong.
    ///
    /// # Errors
    /// When `read` refuses the value.
    pub fn read<T, E: std::fmt::Display>(
        &self,
        key: Key,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, UsageError> {
        let Some(given) = self.one(key) else { return Ok(None) };
        match read(given.text()) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(given.refuse(error.to_string())),
        }
    }

    /// The options that are the command's own.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Given> {
        let is_global = |key| GLOBAL.iter().any(|spec| spec.status == Status::Built(key));
        self.0.iter().filter(move |given| !is_global(given.key))
    }

    /// Puts options below these: one that is here already keeps its value, and so does a group of options that exclude
    /// each other. Those that may be repeated go before ours, so that our word is the last.
    pub(crate) fn underlay(&mut self, below: Self, group: &[Key]) {
        let above = std::mem::take(&mut self.0);
        let said = |key: Key| above.iter().any(|given| given.key == key);
        let grouped = group.iter().copied().any(said);
        let counts = |given: &Given| repeats(given.key) || !(said(given.key) || grouped && group.contains(&given.key));
        self.0 = below.0.into_iter().filter(counts).collect();
        self.0.extend(above);
    }

    pub(crate) fn add(&mut self, others: Self) -> Result<(), UsageError> {
        others.0.into_iter().try_for_each(|given| self.push(given))
    }

    /// Options that nobody typed: those of a job file.
    pub(crate) fn of(given: impl IntoIterator<Item = Given>) -> Result<Self, UsageError> {
        let mut options = Self::default();
        given.into_iter().try_for_each(|given| options.push(given))?;
        Ok(options)
    }

    fn push(&mut self, given: Given) -> Result<(), UsageError> {
        match self.one(given.key) {
            Some(first) if !repeats(given.key) => Err(UsageError::Twice {
                first: first.spelled.clone(),
                second: given.spelled,
            }),
            _ => {
                self.0.push(given);
                Ok(())
            }
        }
    }
}

fn repeats(key: Key) -> bool {
    all_specs().any(|spec| spec.status == Status::Built(key) && spec.repeats)
}

fn all_specs() -> impl Iterator<Item = &'static OptionSpec> {
    GLOBAL.iter().chain(options())
}

/// The options that are known at one place of a command line.
#[derive(Debug)]
pub(super) struct Scope {
    /// What messages call the place: `job submit`.
    pub(super) place: String,
    verb: Option<Verb>,
}

impl Scope {
    /// Before the command is known.
    pub(super) fn global(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            verb: None,
        }
    }

    /// Of a command.
    pub(super) fn of(verb: Verb) -> Self {
        Self {
            place: verb.spec().title(),
            verb: Some(verb),
        }
    }

    fn specs(&self) -> impl Iterator<Item = &'static OptionSpec> {
        let verb = self.verb;
        let own = options().filter(move |spec| verb.is_some_and(|verb| spec.on.contains(&verb)));
        GLOBAL.iter().chain(own)
    }

    fn takes_program(&self) -> bool {
        self.verb.is_some_and(|verb| verb.spec().tail != Tail::Words)
    }

    fn find(&self, name: &str) -> Option<&'static OptionSpec> {
        self.specs().find(|spec| spec.answers_to(name))
    }

    fn find_short(&self, letter: &str) -> Option<&'static OptionSpec> {
        self.specs().find(|spec| spec.short == Some(letter))
    }

    fn unknown(&self, spelled: &str, name: &str) -> UsageError {
        let names = self.specs().filter(|spec| matches!(spec.status, Status::Built(_)));
        let names: Vec<String> = names.flat_map(OptionSpec::plain_names).collect();
        let ours = |long: &str| self.find(long.split('=').next().unwrap_or(long)).is_some();
        // In HPC Pack's spelling too: /time is --time.
        let dashed = spelled
            .strip_prefix('/')
            .map_or_else(|| spelled.to_owned(), |name| format!("--{}", name.to_ascii_lowercase()));
        let habit = HABITS
            .iter()
            .find(|(typed, long)| typed.contains(&dashed.as_str()) && ours(long));
        if let Some((_, long)) = habit {
            return UsageError::UnknownOption {
                place: self.place.clone(),
                given: spelled.to_owned(),
                nearest: Some(format!("--{long}")),
                program: None,
            };
        }
        let near = super::nearest(&super::table::plain(name), names.iter().map(String::as_str));
        let slash = spelled.starts_with('/');
        let near = near.and_then(|near| self.find(near)).map(|spec| spec.spelling(slash));
        UsageError::UnknownOption {
            place: self.place.clone(),
            given: spelled.to_owned(),
            nearest: near,
            program: (slash && self.takes_program()).then(|| spelled.to_owned()),
        }
    }
}

/// What people from other schedulers type, and ours.
const HABITS: &[(&[&str], &str)] = &[
    (&["-N", "--nodes"], "num-nodes"),
    (
        &["-n", "-c", "--ntasks", "--cpus-per-task", "--cores", "--cpus"],
        "num-cores",
    ),
    (&["--time", "--walltime", "--time-limit", "--timeout"], "runtime"),
    (&["-p", "-q", "--partition", "--queue"], "pool"),
    (&["-C", "--constraint"], "node-group"),
    (&["-J"], "job-name"),
    (&["--mem"], "memory"),
    (&["--mem"], "memory-per-node"),
    (&["--gres", "--gpus"], "resource"),
    (&["--after", "--afterok"], "parent-job-ids"),
    (&["-f", "--file", "--json-file"], "job-file"),
    (&["-a", "--array"], "parametric"),
    (&["-d", "--dependency"], "depend"),
    (&["-e", "--error"], "stderr"),
    (&["--input"], "stdin"),
    (&["-D", "--chdir", "--cwd"], "workdir"),
    (&["-b", "--begin"], "hold-until"),
    (&["-w", "--nodelist", "--hosts"], "requested-nodes"),
    (&["-x", "--export", "--environment"], "env"),
    (&["--requeue"], "rerunnable"),
    (&["--no-requeue"], "rerunnable=false"),
    (&["-A", "--account"], "project-name"),
    (&["-W", "--sync"], "wait"),
    (&["--test-only"], "dry-run"),
    (&["-u", "--users"], "user"),
    (&["-F"], "follow"),
    (&["--tail"], "lines"),
    (&["--status", "--states"], "state"),
    (&["-a"], "all"),
];

/// What ends a command line before it is a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Help,
    Version,
}

/// What the lexer found.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) options: Options,
    pub(super) words: Vec<String>,
    pub(super) stop: Option<Stop>,
}

/// Sorts words into options and other words.
pub(super) fn lex(words: &[String], scope: &Scope, tail: Tail) -> Result<Lexed, UsageError> {
    let mut lexed = Lexed::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        if word == "--" {
            lexed.words.extend_from_slice(rest);
            break;
        }
        let Some(written) = Written::of(word) else {
            lexed.words.push(word.clone());
            if tail == Tail::Command || (tail == Tail::IdAndCommand && lexed.words.len() > 1) {
                lexed.words.extend_from_slice(rest);
                break;
            }
            continue;
        };
        if let Some(stop) = written.stop() {
            lexed.stop = Some(stop);
            return Ok(lexed);
        }
        if let Some(flags) = written.bundle(scope) {
            flags.into_iter().try_for_each(|given| lexed.options.push(given))?;
            continue;
        }
        let given = written.given(scope, &mut rest)?;
        lexed.options.push(given)?;
    }
    Ok(lexed)
}

/// An option as written, before the table was asked.
struct Written<'a> {
    spelled: &'a str,
    name: &'a str,
    value: Option<&'a str>,
    /// `/name` stands alone; `--name` may have its value in the next word.
    alone: bool,
}

impl<'a> Written<'a> {
    fn of(word: &'a str) -> Option<Self> {
        if let Some(slash) = slashes::option_of(word) {
            let spelled = &word[..=slash.name.len()];
            return Some(Self {
                spelled,
                name: slash.name,
                value: slash.value,
                alone: true,
            });
        }
        let (mark, name) = match word.strip_prefix("--") {
            Some(name) => (2, name),
            // A dash alone is a word by old custom.
            None => (1, word.strip_prefix('-').filter(|name| !name.is_empty())?),
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        Some(Self {
            spelled: &word[..mark + name.len()],
            name,
            value,
            alone: false,
        })
    }

    fn stop(&self) -> Option<Stop> {
        let help = matches!(self.spelled, "-h" | "-?" | "/?" | "--help" | "/h" | "/H")
            || (self.alone && self.name.eq_ignore_ascii_case("help"));
        let version =
            matches!(self.spelled, "-V" | "--version") || (self.alone && self.name.eq_ignore_ascii_case("version"));
        match (help, version) {
            (true, _) => Some(Stop::Help),
            (_, true) => Some(Stop::Version),
            _ => None,
        }
    }

    /// `-it` is `-i -t`: several flags of one letter each behind one dash.
    fn bundle(&self, scope: &Scope) -> Option<Vec<Given>> {
        let is_short = !self.alone && !self.spelled.starts_with("--") && self.value.is_none();
        if !is_short || self.name.chars().count() < 2 {
            return None;
        }
        let flag = |letter: char| {
            let spec = scope.find_short(letter.encode_utf8(&mut [0; 4]))?;
            match (spec.value, spec.status) {
                (Value::Flag, Status::Built(key)) => Some(Given {
                    key,
                    spelled: format!("-{letter}"),
                    value: None,
                }),
                _ => None,
            }
        };
        self.name.chars().map(flag).collect()
    }

    fn given(&self, scope: &Scope, rest: &mut &[String]) -> Result<Given, UsageError> {
        let short = !self.alone && !self.spelled.starts_with("--");
        let spec = match short {
            true => scope.find_short(self.name),
            false => scope.find(self.name),
        };
        let Some(spec) = spec else {
            return Err(self
                .colon_slip(scope)
                .unwrap_or_else(|| scope.unknown(self.spelled, self.name)));
        };
        let Status::Built(key) = spec.status else {
            return Err(UsageError::NotYet {
                what: self.spelled.to_owned(),
                instead: spec.instead,
            });
        };
        let value = match (spec.value, self.value) {
            (Value::Flag, value) => value.map(str::to_owned),
            (Value::Text(_), Some(value)) if !value.is_empty() => Some(value.to_owned()),
            (Value::Text(what), value) => {
                let next = rest.split_first().filter(|_| !self.alone && value.is_none());
                let Some((next, after)) = next else {
                    return Err(UsageError::NeedsValue {
                        option: self.spelled.to_owned(),
                        example: spec.example(self.alone, what),
                    });
                };
                *rest = after;
                Some(next.clone())
            }
        };
        Ok(Given {
            key,
            spelled: self.spelled.to_owned(),
            value,
        })
    }

    /// `--num-nodes:4` mixes the spellings.
    fn colon_slip(&self, scope: &Scope) -> Option<UsageError> {
        let (name, _) = self.name.split_once(':')?;
        let spec = scope.find(name)?;
        Some(UsageError::MixedSpelling {
            given: self.spelled.to_owned(),
            long: spec.spelling(false),
            slash: spec.spelling(true),
        })
    }
}
