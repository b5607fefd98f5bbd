//! `mpipingpong`: the program. Puts options, wire-up, measurement and report together; only rank 0 prints a table.
//!
//! Exit codes: 0 measured; 1 something failed on the way; 2 the command line or the launch is not usable.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bench::pingpong::measure;
use bench::pingpong::options::{self, Options, Progress, Request};
use bench::pingpong::pairing::{self, Pair};
use bench::pingpong::report::{Report, Row};
use bench::pingpong::statistics::PairFigures;
use bench::wireup::{self, Card, Launcher, WireupError};
use proto::ids::Rank;
use transport::endpoint::Endpoint;
use transport::local_address::local_address;

/// How long a rank waits at the end until the others have taken what it sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a launch without a launcher should be told.
const NEEDS_MPIEXEC: &str = "mpipingpong: it must be started by mpiexec, which tells ranks of each other; for example:\n  \
    mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul\n\
    or, as a job: job submit /numnodes:4 mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul";

/// The launch or the command line is not usable.
const EXIT_UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            once(|| print(options::HELP));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Measure(options)) => options,
        Err(error) => {
            once(|| say(&error.to_string()));
            return ExitCode::from(EXIT_UNUSABLE);
        }
    };
    let mut launcher = match Launcher::connect() {
        Ok(launcher) => launcher,
        Err(WireupError::NoLauncher) => {
            say(NEEDS_MPIEXEC);
            return ExitCode::from(EXIT_UNUSABLE);
        }
        Err(error) => return fail(None, &anyhow::Error::new(error)),
    };
    let rank = launcher.rank();
    // A failure is told before the conversation ends: launchers take a rank that leaves it for dead, and kill the rest.
    match run(&mut launcher, &options) {
        Ok(code) => match launcher.finalize() {
            Ok(()) => code,
            Err(error) => fail(Some(rank), &error.into()),
        },
        Err(error) => fail(Some(rank), &error),
    }
}

fn run(launcher: &mut Launcher, options: &Options) -> anyhow::Result<ExitCode> {
    let rank = launcher.rank();
    let address = local_address().context("choosing the address of this rank")?;
    let (bound, address) = Endpoint::bind(rank, address)?;
    let cards = launcher
        .exchange(&Card {
            node: wireup::node_name(),
            address,
        })
        .context("finding the other ranks")?;
    if let Some(problem) = unusable(&cards, options) {
        if rank == Rank(0) {
            say(&format!("mpipingpong: {problem}"));
        }
        launcher.meet()?;
        return Ok(ExitCode::from(EXIT_UNUSABLE));
    }
    let mut endpoint = bound.connect_book(cards.iter().map(|card| card.address.clone()).collect())?;
    if rank == Rank(0) {
        report(&mut endpoint, &cards, options)?;
    } else {
        measure::follow(&mut endpoint)?;
    }
    endpoint.leave(FAREWELL);
    Ok(ExitCode::SUCCESS)
}

/// Directs the measurement and prints it.
fn report(endpoint: &mut Endpoint, cards: &[Card], options: &Options) -> anyhow::Result<()> {
    // Before minutes of measuring, not after.
    let file = options.file.as_deref().map(open).transpose()?;
    let names = names(cards);
    let name = |rank: Rank| {
        usize::try_from(rank.0)
            .ok()
            .and_then(|index| names.get(index))
            .cloned()
            .unwrap_or_default()
    };
    let pairs = pairing::serial(endpoint.size());
    let mut progress = ProgressLine::new(options.progress, pairs.len());
    let begins = |number, pair: Pair| progress.begin(number, &name(pair.first), &name(pair.second));
    let figures: Vec<PairFigures> = measure::direct(endpoint, &pairs, options.packet, begins, |_, _, _| {})?;
    progress.end();
    let row = |(pair, figures): (&Pair, PairFigures)| Row {
        first: name(pair.first),
        second: name(pair.second),
        figures,
    };
    let report = Report {
        ranks: endpoint.size(),
        nodes: distinct_nodes(cards),
        link: "QUIC over UDP, TLS 1.3, one connection per pair; the pair that measures polls",
        packet: options.packet,
        rows: pairs.iter().zip(figures).map(row).collect(),
    };
    let text = report.text();
    print(&text);
    if let Some((path, mut file)) = file {
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Why nothing can be measured with these ranks. The same for all ranks, so each ends by itself.
fn unusable(cards: &[Card], options: &Options) -> Option<String> {
    if cards.len() < 2 {
        return Some(
            "one rank has nobody to measure with; start at least two, for example with mpiexec -n 2".to_owned(),
        );
    }
    if options.multiple_ranks_per_node {
        return None;
    }
    let mut nodes: Vec<&str> = cards.iter().map(|card| card.node.as_str()).collect();
    nodes.sort_unstable();
    let crowded = nodes.windows(2).find(|two| two[0] == two[1])?[0];
    let count = nodes.iter().filter(|node| **node == crowded).count();
    Some(format!(
        "{count} ranks run on {crowded}; measure between nodes with mpiexec -c 1, or allow it with mpipingpong -m"
    ))
}

/// What each rank is called in the table: its node, and its number where nodes alone don't tell ranks apart.
fn names(cards: &[Card]) -> Vec<String> {
    let alone = distinct_nodes(cards) == cards.len();
    let name = |(rank, card): (usize, &Card)| {
        if alone {
            card.node.clone()
        } else {
            format!("{}[{rank}]", card.node)
        }
    };
    cards.iter().enumerate().map(name).collect()
}

fn distinct_nodes(cards: &[Card]) -> usize {
    let mut nodes: Vec<&str> = cards.iter().map(|card| card.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.len()
}

/// Opens the result file for writing without touching what is in it yet.
fn open(path: &str) -> anyhow::Result<(&str, File)> {
    let opened = OpenOptions::new().create(true).write(true).truncate(false).open(path);
    opened
        .map(|file| (path, file))
        .with_context(|| format!("opening the result file {path}"))
}

/// Says on the standard error which pair is measured: on a terminal in one line, else in a line each.
struct ProgressLine {
    wanted: Progress,
    pairs: usize,
    terminal: bool,
}

impl ProgressLine {
    fn new(wanted: Progress, pairs: usize) -> Self {
        Self {
            wanted,
            pairs,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn begin(&mut self, number: usize, first: &str, second: &str) {
        if self.wanted == Progress::Quiet {
            return;
        }
        let line = format!("pair {}/{}: {first} - {second} ...", number + 1, self.pairs);
        if self.terminal {
            eprint!("\r\x1b[K{line}");
        } else {
            say(&line);
        }
    }

    fn end(&self) {
        if self.wanted == Progress::Lines && self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// Lets one rank speak for all, and none leave before it has: the first to leave with an error takes the others along.
fn once(speak: impl FnOnce()) {
    let Ok(mut launcher) = Launcher::connect() else {
        return speak();
    };
    if launcher.rank() == Rank(0) {
        speak();
    }
    // Without the launcher nothing is left to be in order with.
    let _ = launcher.meet().and_then(|()| launcher.finalize());
}

fn fail(rank: Option<Rank>, error: &anyhow::Error) -> ExitCode {
    let node = wireup::node_name();
    say(&match rank {
        Some(rank) => format!("mpipingpong: rank {rank} on {node}: {error:#}"),
        None => format!("mpipingpong: on {node}: {error:#}"),
    });
    ExitCode::FAILURE
}

/// Prints; a reader that has gone away is no failure of the measurement.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        say(&format!("mpipingpong: printing the table failed: {error}"));
    }
}

/// Says a line on the standard error in one piece: the ranks of a launch often fail together and share it.
fn say(line: &str) {
    // Nobody is left to be told when this fails; the exit code tells.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
