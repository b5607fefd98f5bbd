//! The command line of `mpipingpong`, as HPC Pack documents it: single dashes, `SIZE:ITERATIONS`, a file at the end.
//!
//! Pure: words in, plain values out. What is documented but not built is refused by name, and a word that is nearly an
//! option gets that option's name, because a wrong measurement is worse than none.

use transport::message::MESSAGE_MAX_BYTES;

/// The help text.
pub const HELP: &str = "\
Measures latency and throughput between every pair of nodes of a launch.

Usage: mpiexec -c 1 -affinity mpipingpong [-s] [-p SIZE[:ITERATIONS]] [-m] [-op | -oq] [FILE]

  -p SIZE[:ITERATIONS]  bytes of a message, and how often it goes there and back (1:10000)
  -s                    serial: every pair, one after the other (the default)
  -m                    allow more than one rank per node (--multiple-cores)
  -op                   print progress on the standard error
  -oq                   print no progress (the default)
  -h                    this text
  FILE                  also write the table there; nul means no file

Latency is half a round trip in microseconds, throughput is SIZE divided by it, in MB/s of 10^6 bytes.

Examples:
  mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul        latency
  mpiexec -c 1 -affinity mpipingpong -p 4000000:1000 -op -s nul    throughput
";

/// More round trips than this would need more memory for their times than a measurement may take (80 MB).
pub const ITERATIONS_MAX: u64 = 10_000_000;

/// Options that are documented elsewhere and not built yet, with what they mean.
const NOT_YET: [(&str, &str); 11] = [
    ("-r", "ring of pairs"),
    ("-rs", "distance in the ring"),
    ("-t", "tournament"),
    ("-pl", "preset packet for latency"),
    ("-pb", "preset packet for bandwidth"),
    ("-pc", "preset packets for both"),
    ("-pt", "preset packet for throughput"),
    ("-oa", "all detail"),
    ("-ob", "brief detail"),
    ("--ring", "ring of pairs"),
    ("--tournament", "tournament"),
];

const KNOWN: [&str; 9] = ["-p", "-s", "-m", "--multiple-cores", "-op", "-oq", "-h", "--help", "-?"];

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Print the help text.
    Help,
    /// Measure.
    Measure(Options),
}

/// What to measure and what to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What goes back and forth.
    pub packet: Packet,
    /// Whether several ranks of one node may take part.
    pub multiple_ranks_per_node: bool,
    /// What to say meanwhile.
    pub progress: Progress,
    /// Where the table is also written.
    pub file: Option<String>,
}

/// What goes back and forth, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Bytes of one message.
    pub size_bytes: usize,
    /// Measured round trips per pair.
    pub iterations: u64,
}

/// What to say while measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    Quiet,
    /// A line per pair.
    Lines,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("mpipingpong: unknown option '{given}'{}; 'mpipingpong -h' lists them", did_you_mean(.nearest))]
    Unknown {
        /// As given.
        given: String,
        /// The nearest option there is.
        nearest: Option<&'static str>,
    },
    /// Documented, not built.
    #[error(
        "mpipingpong: {option} ({meaning}) is not supported yet; pairs are measured with -s, the packet is chosen with -p SIZE:ITERATIONS"
    )]
    NotYet {
        /// The option.
        option: &'static str,
        /// What it would do.
        meaning: &'static str,
    },
    /// `-p` without its value.
    #[error("mpipingpong: -p needs SIZE[:ITERATIONS], for example -p 1:100000")]
    NoPacket,
    /// The value of `-p` cannot be read or is out of range.
    #[error(
        "mpipingpong: -p {given}: expected SIZE[:ITERATIONS] with a size of 0 to {MESSAGE_MAX_BYTES} bytes and 1 \
         to {ITERATIONS_MAX} iterations, for example -p 4000000:1000"
    )]
    BadPacket {
        /// As given.
        given: String,
    },
    /// Two options that exclude each other.
    #[error("mpipingpong: {first} and {second} exclude each other; give one of them")]
    Conflict {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// More than one file.
    #[error("mpipingpong: '{second}' comes after the result file '{first}'; there is one file, and it stands last")]
    SecondFile {
        /// Taken as the file.
        first: String,
        /// What came after.
        second: String,
    },
}

/// Reads the words after the program's name.
///
/// # Errors
/// When a word cannot be understood; nothing is ignored.
pub fn parse<I: IntoIterator<Item = String>>(words: I) -> Result<Request, OptionError> {
    let mut words = words.into_iter();
    let mut packet = Packet {
        size_bytes: 1,
        iterations: 10_000,
    };
    let (mut progress, mut file) = (None, None::<String>);
    let mut multiple_ranks_per_node = false;
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" | "-?" => return Ok(Request::Help),
            "-s" | "--serial" => {}
            "-m" | "--multiple-cores" => multiple_ranks_per_node = true,
            "-op" => set_progress(&mut progress, Progress::Lines)?,
            "-oq" => set_progress(&mut progress, Progress::Quiet)?,
            "-p" => packet = read_packet(&words.next().ok_or(OptionError::NoPacket)?)?,
            option if option.starts_with('-') && option.len() > 1 => return Err(refuse(option)),
            _ => match &file {
                None => file = Some(word),
                Some(first) => {
                    return Err(OptionError::SecondFile {
                        first: first.clone(),
                        second: word,
                    });
                }
            },
        }
    }
    Ok(Request::Measure(Options {
        packet,
        multiple_ranks_per_node,
        progress: progress.unwrap_or(Progress::Quiet),
        // Microsoft's examples end in `nul`, which is no file there either.
        file: file.filter(|name| !name.eq_ignore_ascii_case("nul")),
    }))
}

fn set_progress(progress: &mut Option<Progress>, wanted: Progress) -> Result<(), OptionError> {
    if progress.is_some_and(|already| already != wanted) {
        return Err(OptionError::Conflict {
            first: "-op",
            second: "-oq",
        });
    }
    *progress = Some(wanted);
    Ok(())
}

fn read_packet(given: &str) -> Result<Packet, OptionError> {
    let bad = || OptionError::BadPacket {
        given: given.to_owned(),
    };
    let (size, iterations) = match given.split_once(':') {
        Some((size, iterations)) => (size, Some(iterations)),
        None => (given, None),
    };
    let size: u64 = size.parse().map_err(|_| bad())?;
    let size_bytes = usize::try_from(size)
        .ok()
        .filter(|_| size <= MESSAGE_MAX_BYTES)
        .ok_or_else(bad)?;
    let iterations = match iterations {
        Some(text) => text.parse().map_err(|_| bad())?,
        // As others do: many round trips for small messages, fewer for large ones.
        None if size_bytes <= 8192 => 10_000,
        None => 1000,
    };
    if iterations == 0 || iterations > ITERATIONS_MAX {
        return Err(bad());
    }
    Ok(Packet { size_bytes, iterations })
}

fn refuse(given: &str) -> OptionError {
    if let Some((option, meaning)) = NOT_YET.into_iter().find(|(option, _)| *option == given) {
        return OptionError::NotYet { option, meaning };
    }
    let options = KNOWN.into_iter().chain(NOT_YET.map(|(option, _)| option));
    let nearest = options
        .map(|option| (strsim::levenshtein(given, option), option))
        .filter(|(distance, option)| *distance <= 2 && *distance < option.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option);
    OptionError::Unknown {
        given: given.to_owned(),
        nearest,
    }
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |option| format!(", did you mean '{option}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, OptionError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn measured(line: &str) -> Options {
        match read(line) {
            Ok(Request::Measure(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn microsofts_examples_mean_what_they_say() {
        let expected = Options {
            packet: Packet {
                size_bytes: 1,
                iterations: 100_000,
            },
            multiple_ranks_per_node: false,
            progress: Progress::Lines,
            file: None,
        };
        assert_eq!(measured("-p 1:100000 -op -s nul"), expected);
        let packet = Packet {
            size_bytes: 4_000_000,
            iterations: 1000,
        };
        assert_eq!(measured("-p 4000000:1000 -op -s NUL"), Options { packet, ..expected });
    }

    #[test]
    fn defaults_and_the_rest() {
        let none = measured("");
        assert_eq!(
            (none.packet, none.progress),
            (
                Packet {
                    size_bytes: 1,
                    iterations: 10_000
                },
                Progress::Quiet
            )
        );
        assert_eq!(measured("-p 1000000").packet.iterations, 1000);
        assert_eq!(
            measured("-p 0:5").packet,
            Packet {
                size_bytes: 0,
                iterations: 5
            }
        );
        assert_eq!(measured("-oq results.txt").file.as_deref(), Some("results.txt"));
        assert_eq!(
            measured("/tmp/results.txt -m").file.as_deref(),
            Some("/tmp/results.txt"),
            "a path is no option"
        );
        assert!(measured("--multiple-cores").multiple_ranks_per_node);
        assert_eq!(read("-s -h -wrong"), Ok(Request::Help));
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for option in ["-r", "-rs", "-t", "-pl", "-pb", "-pc", "-pt", "-oa", "-ob"] {
            let text = read(option).unwrap_err().to_string();
            assert!(text.contains(option) && text.contains("not supported yet"), "{text}");
        }
    }

    #[test]
    fn a_misspelt_option_gets_the_nearest_name() {
        let text = read("--multiple-core").unwrap_err().to_string();
        assert!(
            text.contains("'--multiple-core'") && text.contains("did you mean '--multiple-cores'?"),
            "{text}"
        );
        let text = read("--serail").unwrap_err().to_string();
        assert!(!text.contains("did you mean"), "{text}");
    }

    #[test]
    fn bad_packets_name_the_bounds() {
        for packet in ["x", "1:", ":5", "1:0", "-1", "1:1:1", "67108865:1", "1:10000001", "1.5"] {
            let text = read(&format!("-p {packet}")).unwrap_err().to_string();
            assert!(
                text.contains(packet) && text.contains("67108864") && text.contains("10000000"),
                "{text}"
            );
        }
        assert_eq!(read("-p"), Err(OptionError::NoPacket));
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(
            read("-op -oq"),
            Err(OptionError::Conflict {
                first: "-op",
                second: "-oq"
            })
        );
        assert!(matches!(read("a.txt b.txt"), Err(OptionError::SecondFile { .. })));
    }
}
