//! `muster-bench`, behind `./dev bench`: figures as ratios, each measured beside its peer in the same run.
//!
//! A figure says its name, value, unit, the ratio and to what, and the raw figure of the same rounds. Contestants
//! alternate and medians are compared, because these machines are noisy; nothing here asserts a time.

mod agents;
mod bare_head;
mod figure;
mod links;
mod local;
mod overload;
mod placement;
mod store;
mod submit;
mod tasks;
mod usage;
mod work;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use figure::{Figure, Report};

/// Measures Muster beside its peers and the machine's own limits.
#[derive(Debug, Parser)]
#[command(name = "./dev bench")]
struct Flags {
    /// Only these, by name or by the part of it before the dot; an unknown one gives the list
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

/// When a measurement is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// When nothing or its group is named, or itself.
    Always,
    /// Only when it is named itself: it takes many minutes.
    Asked,
}

const MEASURES: &[(&str, When, Measure)] = &[
    ("store", When::Always, store::run),
    ("store.submitters", When::Always, store::submitters),
    ("store.retention", When::Asked, store::retention),
    ("tasks.array", When::Always, tasks::one_node),
    ("tasks.nodes", When::Always, tasks::four_nodes),
    ("tasks.busy", When::Always, tasks::busy),
    ("tasks.files", When::Always, tasks::files),
    ("tasks.one", When::Always, tasks::one),
    ("tasks.memory", When::Always, agents::head_memory),
    ("agents.rate", When::Always, agents::rate),
    ("agents.idle", When::Always, agents::idle),
    ("links", When::Always, links::run),
    ("submit", When::Always, submit::run),
    ("submit.kept", When::Always, submit::kept),
    ("submit.array", When::Always, submit::large_array),
    ("submit.process", When::Always, submit::typed),
    ("overload", When::Always, overload::run),
    ("placement", When::Always, placement::run),
];

/// Whether a name asks for a measurement.
fn is_asked(wanted: &str, name: &str, when: When) -> bool {
    let group = name.split('.').next();
    wanted == name || (when == When::Always && group == Some(wanted))
}

/// Refuses names that ask for nothing.
fn check_names(names: &[String]) -> anyhow::Result<()> {
    let is_known = |wanted: &String| MEASURES.iter().any(|(name, when, _)| is_asked(wanted, name, *when));
    match names.iter().find(|wanted| !is_known(wanted)) {
        Some(unknown) => {
            let known: Vec<&str> = MEASURES.iter().map(|(name, ..)| *name).collect();
            anyhow::bail!("there is no measurement '{unknown}'; there are {}", known.join(", "))
        }
        None => Ok(()),
    }
}

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
    check_names(&flags.names)?;
    let mut report = Report::begin();
    for (name, when, measure) in MEASURES {
        let always = flags.names.is_empty() && *when == When::Always;
        if always || flags.names.iter().any(|wanted| is_asked(wanted, name, *when)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_all_of_its_name_but_what_takes_long() {
        assert!(is_asked("tasks", "tasks.one", When::Always));
        assert!(is_asked("tasks.one", "tasks.one", When::Always));
        assert!(!is_asked("tasks.one", "tasks.array", When::Always));
        assert!(!is_asked("store", "store.retention", When::Asked));
        assert!(is_asked("store.retention", "store.retention", When::Asked));
        assert!(check_names(&["store".to_owned(), "submit".to_owned()]).is_ok());
        let refused = check_names(&["spawn".to_owned()]).expect_err("there is none");
        assert!(refused.to_string().contains("tasks.array"), "{refused}");
    }
}
