//! Values of options as people write them, read to types that cannot be wrong. Pure; each refusal says what to type.

mod amount;
mod exit;
mod moment;
mod needs;

use proto::hostlist;
use proto::ids::{GroupName, JobId, NodeName};
use proto::model::job::{Env, Priority};
use proto::units::Millis;

pub(crate) use amount::{Amount, amount, cores_span, exit_codes, memory, memory_span, order_by, sweep};
pub(crate) use exit::exit_rule;
pub(crate) use moment::{Clock, moment_after, moment_before};
pub(crate) use needs::{command, deallocation, depend_ids, fill, relative_path, resources, retries};

/// HPC Pack's names for priorities.
const PRIORITIES: [(&str, i32); 5] = [
    ("Lowest", 0),
    ("BelowNormal", 1000),
    ("Normal", 2000),
    ("AboveNormal", 3000),
    ("Highest", 4000),
];

/// The longest span that is not a slip: ten years.
const LONGEST: Millis = Millis::from_seconds(10 * 365 * 86_400);

/// Why a value cannot be read: what is wrong and what to type. The option's name and the value are added by the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Not a whole number in range.
    #[error("use a whole number from {least} to {most}")]
    Number {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A number, or `min-max`.
    #[error("use a whole number from {least} to {most}, or two with a dash between: 2-8")]
    Amount {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// HPC Pack's `*`.
    #[error("'*', calculated from the tasks, is not built yet; give numbers")]
    Star,
    /// `8-2`
    #[error("its end is before its start; write {last}-{first}")]
    Backwards {
        /// What stands first.
        first: u64,
        /// What stands last.
        last: u64,
    },
    /// Not an index of a sweep.
    #[error("use 1-100, 1-100:5 for every fifth, or 100 for 1-100")]
    Sweep,
    /// An index that is out of bounds.
    #[error(transparent)]
    SweepBounds(#[from] proto::model::sweep::SweepError),
    /// Not exit codes.
    #[error("use codes and ranges with commas between, for example 0,5..9")]
    ExitCodes,
    /// Exit codes that are out of bounds.
    #[error(transparent)]
    ExitCodesBounds(#[from] proto::model::task::ExitCodesError),
    /// Not keys of an order.
    #[error("use cores, -cores, memory or -memory, several with commas between")]
    OrderBy,
    /// Not a moment to come.
    #[error("use minutes from now, +2h, 18:30, 2026-12-01 or '2026-12-01 08:00', or now")]
    Moment,
    /// Not a moment that was.
    #[error("use 2h, 1d, today, 08:00, 2026-12-01 or '2026-12-01 08:00'")]
    Past,
    /// A moment that is over.
    #[error("that is over; give a moment to come, or now")]
    Over,
    /// Not the memory of a node.
    #[error("use a number of MB from 1 to {most}, or 4G, 1T")]
    Memory {
        /// The most.
        most: u64,
    },
    /// Not how often a task is run again.
    #[error("use a whole number from 0 to {most}, or -1 for ever")]
    Retries {
        /// The most.
        most: u32,
    },
    /// Not countable resources.
    #[error("'{part}' is no resource; write NAME:COUNT, several with commas between, for example gpu:1")]
    Resource {
        /// The part that is wrong.
        part: String,
    },
    /// Not numbers of tasks.
    #[error("use numbers and ranges with commas between, for example 1,3,5-9")]
    TaskIds,
    /// Not what follows from an end.
    #[error(
        "write CODES=ACTION: codes such as 1,5-9, or error (it could not be started), or default; then satisfy or \
         block, or job:none, job:disable or job:terminate, or both with a comma between"
    )]
    Exit,
    /// Two words on the same kind of end.
    #[error("it says twice what follows from {what}; say it once")]
    ExitTwice {
        /// From what.
        what: &'static str,
    },
    /// More rules than anybody means.
    #[error("these are too many codes and ranges: {most} are the most")]
    ExitRules {
        /// The most.
        most: usize,
    },
    /// A command without its end.
    #[error("a quote has no end; quotes and backslashes are read as a shell reads them, and nothing else is")]
    Quote,
    /// A command without words.
    #[error("it names no program")]
    NoCommand,
    /// A path that leads elsewhere.
    #[error("'{path}' leads out of the task's directory; write a path below it, without '..'")]
    Outside {
        /// As given.
        path: String,
    },
    /// A span that is shorter than anything that is repeated.
    #[error("it must be at least {least}")]
    TooShort {
        /// The least.
        least: Millis,
    },
    /// Not a priority.
    #[error(
        "use 0 to 4000, or Lowest, BelowNormal, Normal, AboveNormal or Highest, or one of them with an offset such as Normal+50"
    )]
    Priority,
    /// Not a run time.
    #[error("use [[days:]hours:]minutes, for example 90 or 1:30, or 90s, 30m, 2h, 1d, or Infinite")]
    RunTime,
    /// Not a span.
    #[error("use a number with s, m, h or d, for example 90s or 1h")]
    Span,
    /// A span of nothing.
    #[error("it must be longer than nothing")]
    Nothing,
    /// A run time of nothing.
    #[error("it must be longer than nothing; write Infinite for no limit")]
    NoRunTime,
    /// A span beyond all reason.
    #[error("it must be at most ten years; write Infinite for no limit")]
    TooLong,
    /// Not variables.
    #[error("'{part}' is no variable; write NAME=VALUE, several with ';' between, NAME= to take one away")]
    Variable {
        /// The part that is wrong.
        part: String,
    },
    /// A relative directory.
    #[error("it must be an absolute path: the nodes know nothing of this directory; write {example}")]
    Relative {
        /// The same as seen from here.
        example: String,
    },
    /// A name that no shell has put a value in for.
    #[error("no shell expands '{text}' here: write the directory itself, absolute, for example {example}")]
    Unexpanded {
        /// As it stands.
        text: String,
        /// A directory.
        example: String,
    },
    /// A list without entries.
    #[error("it names nothing")]
    Empty,
    /// Not one of some words.
    #[error("use {words}{}", .nearest.map(|word| format!("; did you mean '{word}'?")).unwrap_or_default())]
    Word {
        /// All of them.
        words: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Too many characters.
    #[error("it is longer than {most} characters")]
    TooManyCharacters {
        /// The most.
        most: usize,
    },
    /// Not an id of a submission.
    #[error("use 1 to 32 hexadecimal digits")]
    Hex,
    /// A name that is wrong; says which and why.
    #[error(transparent)]
    Name(#[from] proto::ids::IdError),
    /// A list of hosts that is wrong.
    #[error(transparent)]
    Hosts(#[from] hostlist::HostListError),
}

/// A count.
pub(crate) fn number(text: &str, least: u32, most: u32) -> Result<u32, ValueError> {
    let read = text.parse().ok().filter(|number| (least..=most).contains(number));
    read.ok_or(ValueError::Number { least, most })
}

/// HPC Pack's number or name, with an offset.
pub(crate) fn priority(text: &str) -> Result<Priority, ValueError> {
    let refused = |_| ValueError::Priority;
    if let Ok(number) = text.parse() {
        return Priority::from_hpc(number).map_err(refused);
    }
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (name, offset) = text.split_at(at);
    let named = PRIORITIES.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
    let (_, base) = named.ok_or(ValueError::Priority)?;
    let offset: i32 = match offset {
        "" => 0,
        offset => offset.parse().map_err(|_| ValueError::Priority)?,
    };
    Priority::from_hpc(base.saturating_add(offset)).map_err(refused)
}

/// HPC Pack's run time, or a number with its unit; none is no limit.
pub(crate) fn run_time(text: &str) -> Result<Option<Millis>, ValueError> {
    if text.eq_ignore_ascii_case("infinite") {
        return Ok(None);
    }
    let refused = |error| match error {
        ValueError::Span => ValueError::RunTime,
        ValueError::Nothing => ValueError::NoRunTime,
        other => other,
    };
    if text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return span(text).map(Some).map_err(refused);
    }
    let parts: Result<Vec<u64>, _> = text.split(':').map(str::parse).collect();
    let seconds = match parts.map_err(|_| ValueError::RunTime)?.as_slice() {
        [minutes] => times(*minutes, 60),
        [hours, minutes] => sum(times(*hours, 3600), times(*minutes, 60)),
        [days, hours, minutes] => sum(times(*days, 86_400), sum(times(*hours, 3600), times(*minutes, 60))),
        _ => return Err(ValueError::RunTime),
    };
    bounded(seconds).map(Some).map_err(refused)
}

/// A number with its unit.
pub(crate) fn span(text: &str) -> Result<Millis, ValueError> {
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or(ValueError::Span)?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| ValueError::Span)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(ValueError::Span),
    };
    bounded(times(number, unit))
}

const fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

const fn sum(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

fn bounded(seconds: u64) -> Result<Millis, ValueError> {
    match Millis::from_seconds(seconds) {
        Millis(0) => Err(ValueError::Nothing),
        span if span > LONGEST => Err(ValueError::TooLong),
        span => Ok(span),
    }
}

/// Adds `a=b;c=d` to variables; the last word on a variable counts. `\;` is a semicolon.
pub(crate) fn variables(text: &str, env: &mut Env) -> Result<(), ValueError> {
    for part in split_at_semicolons(text) {
        let refused = || ValueError::Variable { part: part.clone() };
        let (name, value) = part.split_once('=').ok_or_else(refused)?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(refused());
        }
        env.insert(name.to_owned(), (!value.is_empty()).then(|| value.to_owned()));
    }
    Ok(())
}

fn split_at_semicolons(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next_if_eq(&';').is_some() => part.push(';'),
            ';' => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// A directory that is the same on every node.
pub(crate) fn workdir(text: &str, here: Option<&str>) -> Result<String, ValueError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let here = here.unwrap_or("/shared").trim_end_matches('/');
    if text.starts_with(['$', '%', '~']) {
        return Err(ValueError::Unexpanded {
            text: text.to_owned(),
            example: here.to_owned(),
        });
    }
    let below = text.trim_start_matches("./").trim_start_matches('.');
    let example = if below.is_empty() {
        here.to_owned()
    } else {
        format!("{here}/{below}")
    };
    Err(ValueError::Relative { example })
}

/// Names with commas between.
pub(crate) fn groups(text: &str) -> Result<Vec<GroupName>, ValueError> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names = names.map(GroupName::new).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(names)
    }
}

/// Names of tasks, with commas between.
pub(crate) fn names(text: &str) -> Result<Vec<String>, ValueError> {
    let names: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(names)
    }
}

/// Names with commas between, and `n[1-4]`.
pub(crate) fn nodes(text: &str) -> Result<Vec<NodeName>, ValueError> {
    let names = hostlist::expand(text)?;
    let names = names
        .iter()
        .map(|name| NodeName::new(name))
        .collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(names)
    }
}

/// One of some words, as it stands among them.
pub(crate) fn word(text: &str, words: &[&'static str]) -> Result<&'static str, ValueError> {
    let found = words
        .iter()
        .copied()
        .find(|word| word.eq_ignore_ascii_case(text.trim()));
    found.ok_or_else(|| ValueError::Word {
        words: words.join(", "),
        nearest: crate::args::nearest(text, words.iter().copied()),
    })
}

/// Some of some words, with commas between.
pub(crate) fn words_of(text: &str, words: &[&'static str]) -> Result<Vec<String>, ValueError> {
    let found = text.split(',').filter(|word| !word.trim().is_empty());
    let found = found
        .map(|one| word(one, words).map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(found)
    }
}

/// Numbers of jobs, with commas between.
pub(crate) fn jobs(text: &str) -> Result<Vec<JobId>, ValueError> {
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids = ids.map(str::parse).collect::<Result<Vec<JobId>, _>>()?;
    if ids.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(ids)
    }
}

/// A span that is not too short to be repeated.
pub(crate) fn span_from(text: &str, least: Millis) -> Result<Millis, ValueError> {
    match span(text)? {
        span if span < least => Err(ValueError::TooShort { least }),
        span => Ok(span),
    }
}

/// A text of bounded length.
pub(crate) fn short_text(text: &str, most: usize) -> Result<String, ValueError> {
    if text.chars().count() <= most {
        Ok(text.to_owned())
    } else {
        Err(ValueError::TooManyCharacters { most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_times() {
        let minutes = |n: u64| Ok(Some(Millis::from_seconds(60 * n)));
        assert_eq!(run_time("90"), minutes(90));
        assert_eq!(run_time("1:30"), minutes(90));
        assert_eq!(run_time("2:0:1"), minutes(2 * 24 * 60 + 1));
        assert_eq!(run_time("INFINITE"), Ok(None));
        assert_eq!(run_time("30s"), Ok(Some(Millis::from_seconds(30))));
        assert_eq!(run_time("2h"), minutes(120));
        assert_eq!(run_time("0"), Err(ValueError::NoRunTime));
        assert_eq!(run_time("0s"), Err(ValueError::NoRunTime));
        assert_eq!(span("0s"), Err(ValueError::Nothing));
        for wrong in ["", ":", "1:2:3:4", "-1", "soon", "1.5", "10y"] {
            assert_eq!(run_time(wrong), Err(ValueError::RunTime), "{wrong}");
        }
        for long in ["99999999999999", "18446744073709551615:0", "9999999d"] {
            assert_eq!(run_time(long), Err(ValueError::TooLong), "{long}");
        }
    }

    #[test]
    fn priorities() {
        let hpc = |text| priority(text).map(Priority::hpc);
        assert_eq!(hpc("Normal"), Ok(2000));
        assert_eq!(hpc("normal+50"), Ok(2050));
        assert_eq!(hpc("HIGHEST-4"), Ok(3996));
        assert_eq!(hpc("0"), Ok(0));
        for wrong in [
            "5000",
            "-1",
            "Highest+1",
            "Lowest-2",
            "Normal+",
            "Normal*2",
            "urgent",
            "",
            "Normal+99999999999",
        ] {
            assert_eq!(hpc(wrong), Err(ValueError::Priority), "{wrong}");
        }
    }

    #[test]
    fn variables_as_hpc_pack_writes_them() {
        let mut env = Env::new();
        variables(r"A=1;B=x=y;C=;D=a\;b;", &mut env).expect("variables");
        variables("A=2", &mut env).expect("variables");
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(
            env.into_iter().collect::<Vec<_>>(),
            [
                ("A".to_owned(), value("2")),
                ("B".to_owned(), value("x=y")),
                ("C".to_owned(), None),
                ("D".to_owned(), value("a;b"))
            ]
        );
        assert!(matches!(variables("A=1;B", &mut Env::new()), Err(ValueError::Variable { part }) if part == "B"));
        assert!(variables("=x", &mut Env::new()).is_err());
    }

    #[test]
    fn lists_and_words() {
        assert_eq!(nodes("n[08-10],x").map(|names| names.len()), Ok(4));
        assert!(nodes(",").is_err() && groups(" ").is_err() && groups("a b").is_err());
        assert_eq!(word("failed", &["Queued", "Failed"]), Ok("Failed"));
        assert_eq!(
            word("Faild", &["Queued", "Failed"]).unwrap_err().to_string(),
            "use Queued, Failed; did you mean 'Failed'?"
        );
    }

    #[test]
    fn a_directory_of_here_means_nothing_on_the_nodes() {
        assert_eq!(workdir("/x", None), Ok("/x".to_owned()));
        let example = |text| match workdir(text, Some("/home/a")) {
            Err(ValueError::Relative { example }) => example,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [example("run"), example("."), example("./run")],
            ["/home/a/run", "/home/a", "/home/a/run"]
        );
        let unexpanded = workdir("$PWD", Some("/home/a")).unwrap_err().to_string();
        assert!(unexpanded.contains("no shell expands '$PWD' here") && unexpanded.ends_with("/home/a"));
    }
}
