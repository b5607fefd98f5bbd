//! `muster-bench`, behind `./dev bench`: figures as ratios, each measured beside its peer in the same run.
//!
//! A figure says its name, value, unit, the ratio and to what, and the raw figure of the same rounds. Contestants
//! alternate and medians are compared, because these machines are noisy; nothing here asserts a time.

mod figure;
mod links;
mod local;
mod overload;
mod placement;
mod spawn;
mod store;
mod submit;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use figure::{Figure, Report};

/// Measures Muster beside its peers and the machine's own limits.
#[derive(Debug, Parser)]
#[command(name = "./dev bench")]
struct Flags {
    /// Only these: store, spawn, links, submit, overload, placement
    names: Vec<String>,
    /// Also write the figures, with facts of the machine, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Rounds per contestant; the median is told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

/// A measurement: rounds in, figures out.
type Measure = fn(usize) -> anyhow::Result<Vec<Figure>>;

const MEASURES: &[(&str, Measure)] = &[
    ("store", store::run),
    ("spawn", spawn::run),
    ("links", links::run),
    ("submit", submit::run),
    ("overload", overload::run),
    ("placement", placement::run),
];

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> anyhow::Result<()> {
    if let Some(unknown) = flags
        .names
        .iter()
        .find(|name| MEASURES.iter().all(|(known, _)| known != name))
    {
        let known: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("there is no measurement '{unknown}'; there are {}", known.join(", "));
    }
    let mut report = Report::begin();
    for (name, measure) in MEASURES {
        if flags.names.is_empty() || flags.names.iter().any(|wanted| wanted == name) {
            for figure in measure(flags.rounds as usize).with_context(|| format!("measuring {name}"))? {
                report.add(figure);
            }
        }
    }
    if let Some(path) = &flags.json {
        std::fs::write(path, report.json()?).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
