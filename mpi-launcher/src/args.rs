//! The command line of mpiexec, in MS-MPI's and Hydra's way: options with one dash or a slash until the first word that is
//! no option; that word is the program, and all that follows belongs to it.
//!
//! Written by hand because no parser library knows `-env K V`, `-np` and `/n` at once. Nothing here looks at files or the
//! environment. An option that others document and we have not built is refused by its name: to ignore it would start
//! something else than was asked.

use std::time::Duration;

/// A checked command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Print the usage text.
    Help,
    /// Start ranks.
    Launch(Launch),
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Launch {
    /// How many ranks in all; none means as many as the nodes' shares hold.
    pub ranks: Option<u32>,
    /// How many ranks on each node; none means one per allocated core.
    pub per_node: Option<u32>,
    /// Variables for the ranks, `-env` after `-genv`, so that the last one of a name holds.
    pub env: Vec<(String, String)>,
    /// Where the ranks start.
    pub workdir: Option<String>,
    /// Whether each rank is bound to cores of its own.
    pub affinity: bool,
    /// Whether output lines are labelled with their rank.
    pub label: bool,
    /// Whether every rank's end is told.
    pub exit_codes: bool,
    /// After this long all ranks are stopped.
    pub timeout: Option<Duration>,
    /// Program and arguments, at least one word.
    pub command: Vec<String>,
}

/// What is wrong with a command line, and what to type instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An option that nobody knows.
    #[error("unknown option '{given}'{}; 'mpiexec -help' lists the options", suggestion(*nearest))]
    Unknown {
        /// As typed.
        given: String,
        /// The option that looks like it.
        nearest: Option<&'static str>,
    },
    /// An option of other launchers.
    #[error("option '{given}' is not supported yet{}", instead(*hint))]
    NotYet {
        /// As typed.
        given: String,
        /// What does the same or nearly so.
        hint: Option<&'static str>,
    },
    /// The words after an option are missing.
    #[error("option '{given}' needs {wants}")]
    NoValue {
        /// As typed.
        given: String,
        /// What must follow.
        wants: &'static str,
    },
    /// A value out of bounds.
    #[error("'{given} {value}': expected {wants}")]
    BadValue {
        /// The option as typed.
        given: String,
        /// The value as typed.
        value: String,
        /// What is taken.
        wants: &'static str,
    },
    /// No program.
    #[error("no program given; write for example: mpiexec -n 4 ./solver")]
    NoProgram,
    /// Several programs in one launch.
    #[error("several programs in one launch (':' between them) are not supported yet")]
    SeveralPrograms,
}

/// The longest `-timeout`: a year. What is longer is a typing error.
const MAX_TIMEOUT_SECONDS: u64 = 366 * 86_400;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Ranks,
    PerNode,
    Env,
    GlobalEnv,
    Workdir,
    Affinity,
    Label,
    ExitCodes,
    Timeout,
    Help,
}

const NAMES: &[(&str, Name)] = &[
    ("n", Name::Ranks),
    ("np", Name::Ranks),
    ("c", Name::PerNode),
    ("cores", Name::PerNode),
    ("env", Name::Env),
    ("genv", Name::GlobalEnv),
    ("wdir", Name::Workdir),
    ("dir", Name::Workdir),
    ("affinity", Name::Affinity),
    ("l", Name::Label),
    ("lines", Name::Label),
    ("exitcodes", Name::ExitCodes),
    ("timeout", Name::Timeout),
    ("h", Name::Help),
    ("help", Name::Help),
    ("?", Name::Help),
];

/// What to do in place of naming hosts.
const ELSEWHERE: &str = "a job names the nodes: job submit /requestednodes:A,B /numnodes:2 mpiexec ...";

/// Options of MS-MPI, Hydra, Open MPI and srun that people bring along, with what serves them here.
const NOT_YET: &[(&str, Option<&str>)] = &[
    ("host", Some(ELSEWHERE)),
    ("hosts", Some(ELSEWHERE)),
    ("hostfile", Some(ELSEWHERE)),
    ("machinefile", Some(ELSEWHERE)),
    ("gmachinefile", Some(ELSEWHERE)),
    ("f", Some(ELSEWHERE)),
    ("configfile", None),
    ("optionfile", None),
    ("ppn", Some("-c N starts N ranks on each node")),
    ("genvlist", Some("all variables of mpiexec reach the ranks")),
    ("genvall", Some("all variables of mpiexec reach the ranks")),
    ("genvnone", None),
    ("envlist", Some("all variables of mpiexec reach the ranks")),
    ("envall", Some("all variables of mpiexec reach the ranks")),
    ("envnone", None),
    ("x", Some("use -env NAME VALUE")),
    ("mca", None),
    ("gwdir", Some("use -wdir DIR")),
    ("wd", Some("use -wdir DIR")),
    ("path", Some("use -env PATH VALUE")),
    ("prepend-rank", Some("use -l")),
    ("prepend-pattern", Some("-l labels lines with their rank")),
    ("tag-output", Some("use -l")),
    ("outfile-pattern", None),
    ("errfile-pattern", None),
    ("output-filename", None),
    ("stdin", None),
    ("s", None),
    ("bind-to", Some("-affinity binds each rank to cores of its own")),
    ("map-by", None),
    ("rank-by", None),
    ("report-bindings", None),
    ("affinity_layout", Some("-affinity binds each rank to cores of its own")),
    ("affinity_auto", Some("-affinity binds each rank to cores of its own")),
    ("al", Some("-affinity binds each rank to cores of its own")),
    ("aa", Some("-affinity binds each rank to cores of its own")),
    ("print-all-exitcodes", Some("use -exitcodes")),
    ("disable-auto-cleanup", None),
    ("usize", None),
    ("oversubscribe", Some("more ranks than cores are allowed as they are")),
    ("iface", None),
    ("pmi-port", None),
    ("mpi", None),
    ("rmk", None),
    ("launcher", None),
    ("gpus-per-proc", None),
    ("gpu-bind", None),
    ("debug", None),
    ("verbose", None),
    ("v", None),
    ("info", None),
    ("logfile", None),
    ("priority", None),
    ("port", None),
    ("job", None),
    ("pwd", None),
    ("savecreds", None),
];

/// Reads the words after the program's own name.
///
/// # Errors
/// [`UsageError`] for the first word that is wrong.
pub fn parse(words: &[String]) -> Result<Invocation, UsageError> {
    let (mut launch, mut own_env) = (Launch::default(), Vec::new());
    let mut rest = words.iter();
    while let Some(word) = rest.as_slice().first() {
        let Some(name) = option_name(word)? else { break };
        rest.next();
        let given = word.as_str();
        match name {
            Name::Help => return Ok(Invocation::Help),
            Name::Affinity => launch.affinity = true,
            Name::Label => launch.label = true,
            Name::ExitCodes => launch.exit_codes = true,
            Name::Ranks => launch.ranks = rank_count(given, value(given, "a number of ranks", &mut rest)?)?,
            Name::PerNode => launch.per_node = Some(count(given, value(given, "a number of ranks", &mut rest)?)?),
            Name::Workdir => launch.workdir = Some(value(given, "a directory", &mut rest)?.to_owned()),
            Name::Timeout => launch.timeout = Some(timeout(given, value(given, "a number of seconds", &mut rest)?)?),
            Name::Env => own_env.push(variable(given, &mut rest)?),
            Name::GlobalEnv => launch.env.push(variable(given, &mut rest)?),
        }
    }
    launch.env.append(&mut own_env);
    launch.command = rest.as_slice().to_vec();
    match launch.command.first() {
        None => Err(UsageError::NoProgram),
        Some(_) if launch.command.iter().any(|word| word == ":") => Err(UsageError::SeveralPrograms),
        Some(_) => Ok(Invocation::Launch(launch)),
    }
}

/// Which option a word is; none when it is the program.
fn option_name(word: &str) -> Result<Option<Name>, UsageError> {
    let dashed = word.strip_prefix('-');
    let Some(bare) = dashed
        .map(|b| b.strip_prefix('-').unwrap_or(b))
        .or_else(|| word.strip_prefix('/'))
    else {
        return Ok(None);
    };
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(bare)) {
        return Ok(Some(*name));
    }
    if let Some((_, hint)) = NOT_YET.iter().find(|(known, _)| known.eq_ignore_ascii_case(bare)) {
        return Err(UsageError::NotYet {
            given: word.to_owned(),
            hint: *hint,
        });
    }
    // With a slash, a word that resembles no option is a program in the root directory.
    let nearest = nearest(bare);
    if dashed.is_none() && (bare.contains('/') || nearest.is_none()) {
        return Ok(None);
    }
    Err(UsageError::Unknown {
        given: word.to_owned(),
        nearest,
    })
}

fn nearest(bare: &str) -> Option<&'static str> {
    const RESEMBLES: f64 = 0.75;
    let lower = bare.to_ascii_lowercase();
    let word = lower.split('=').next().unwrap_or_default();
    let scored = NAMES
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(known, word), *known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= RESEMBLES).map(|(_, known)| known)
}

fn value<'a>(given: &str, wants: &'static str, rest: &mut std::slice::Iter<'a, String>) -> Result<&'a str, UsageError> {
    rest.next().map(String::as_str).ok_or_else(|| UsageError::NoValue {
        given: given.to_owned(),
        wants,
    })
}

fn variable(given: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(String, String), UsageError> {
    const WANTS: &str = "a NAME and a VALUE, as two words";
    let name = value(given, WANTS, rest)?;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(UsageError::BadValue {
            given: given.to_owned(),
            value: name.to_owned(),
            wants: WANTS,
        });
    }
    Ok((name.to_owned(), value(given, WANTS, rest)?.to_owned()))
}

/// MS-MPI's `-n *` means: all that the allocation holds.
fn rank_count(given: &str, text: &str) -> Result<Option<u32>, UsageError> {
    if text == "*" {
        Ok(None)
    } else {
        count(given, text).map(Some)
    }
}

fn count(given: &str, text: &str) -> Result<u32, UsageError> {
    let number = text
        .parse::<u32>()
        .ok()
        .filter(|n| (1..=proto::taskmap::MAX_RANKS).contains(n));
    number.ok_or_else(|| UsageError::BadValue {
        given: given.to_owned(),
        value: text.to_owned(),
        wants: "a whole number from 1 to 1048576",
    })
}

fn timeout(given: &str, text: &str) -> Result<Duration, UsageError> {
    let seconds = text
        .parse::<u64>()
        .ok()
        .filter(|n| (1..=MAX_TIMEOUT_SECONDS).contains(n));
    seconds.map(Duration::from_secs).ok_or_else(|| UsageError::BadValue {
        given: given.to_owned(),
        value: text.to_owned(),
        wants: "a whole number of seconds from 1 to 31622400 (366 days)",
    })
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '-{name}'?"))
}

fn instead(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("; {hint}"))
}

/// The usage text.
pub const USAGE: &str = "\
usage: mpiexec [options] program [arguments]

Starts ranks of a program on the nodes of the task that it runs in, or, outside a job, on this machine:
  job submit /numnodes:4 mpiexec -n 8 ./solver
  mpiexec -n 4 ./solver

  -n N, -np N            so many ranks in all (default: one per allocated core, '*' says the same; outside a job one)
  -c N, -cores N         so many ranks on each node
  -env NAME VALUE        set a variable for the ranks
  -genv NAME VALUE       the same; -env wins over -genv
  -wdir DIR, -dir DIR    start the ranks in this directory
  -affinity              bind each rank to cores of its own
  -l, -lines             label each line of output with its rank
  -exitcodes             tell how each rank ended
  -timeout SECONDS       stop all ranks after this time
  -h, -help, -?          this text

Options may be written with '/' in place of '-'. The first word that is no option is the program.

Exit code: 0, or that of the first rank that failed (128 + n when signal n ended it); of mpiexec itself:
  122  a rank left MPI without finalizing, or broke its protocol
  123  a node or its link was lost
  124  -timeout was over
  125  mpiexec could not do its part: wrong options, no proxy on a node
  126  the program cannot be executed
  127  no such program
";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, UsageError> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn launch(line: &str) -> Launch {
        match read(line) {
            Ok(Invocation::Launch(launch)) => launch,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn said(line: &str) -> String {
        read(line).expect_err(line).to_string()
    }

    #[test]
    fn the_documents_line() {
        let read = launch("-c 1 -affinity mpipingpong -p 1:100000 -op -s nul");
        assert_eq!((read.per_node, read.affinity, read.ranks), (Some(1), true, None));
        assert_eq!(read.command, ["mpipingpong", "-p", "1:100000", "-op", "-s", "nul"]);
    }

    #[test]
    fn both_spellings_and_any_case() {
        let read = launch("/NP 6 /cores 2 -Lines /exitcodes --timeout 30 -dir /tmp /usr/bin/true -n 9");
        assert_eq!(
            (read.ranks, read.per_node, read.label, read.exit_codes),
            (Some(6), Some(2), true, true)
        );
        assert_eq!(
            (read.timeout, read.workdir.as_deref()),
            (Some(Duration::from_secs(30)), Some("/tmp"))
        );
        assert_eq!(read.command, ["/usr/bin/true", "-n", "9"]);
        assert_eq!(launch("/solver").command, ["/solver"]);
        assert_eq!(launch("-n * x").ranks, None);
    }

    #[test]
    fn own_variables_win_over_global_ones() {
        let read = launch("-env A 1 -genv A 2 -genv B x=y prog");
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(read.env, [pair("A", "2"), pair("B", "x=y"), pair("A", "1")]);
    }

    #[test]
    fn help_in_every_spelling() {
        for word in ["-h", "-help", "--help", "-?", "/?", "/help"] {
            assert_eq!(read(word), Ok(Invocation::Help), "{word}");
        }
    }

    #[test]
    fn mistakes_are_named_with_the_remedy() {
        assert_eq!(
            said("-afinity x"),
            "unknown option '-afinity'; did you mean '-affinity'?; 'mpiexec -help' lists the options"
        );
        assert_eq!(
            said("/timeot 3 x"),
            "unknown option '/timeot'; did you mean '-timeout'?; 'mpiexec -help' lists the options"
        );
        assert_eq!(
            said("-zzz x"),
            "unknown option '-zzz'; 'mpiexec -help' lists the options"
        );
        assert_eq!(
            said("-hosts 2 a b x"),
            "option '-hosts' is not supported yet; a job names the nodes: job submit /requestednodes:A,B /numnodes:2 mpiexec ..."
        );
        assert_eq!(
            said("-ppn 2 x"),
            "option '-ppn' is not supported yet; -c N starts N ranks on each node"
        );
        assert_eq!(said("-n"), "option '-n' needs a number of ranks");
        assert_eq!(said("-n 0 x"), "'-n 0': expected a whole number from 1 to 1048576");
        assert_eq!(
            said("-env A=1 x"),
            "'-env A=1': expected a NAME and a VALUE, as two words"
        );
        assert_eq!(
            said("-n 2"),
            "no program given; write for example: mpiexec -n 4 ./solver"
        );
        assert_eq!(
            said("a : b"),
            "several programs in one launch (':' between them) are not supported yet"
        );
    }
}
