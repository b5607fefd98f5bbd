//! The demonstrations: what issues say must be seen, each under its name, run on real processes.

mod attach;
mod bad_input;
mod join;
mod kill_agent;
mod kill_head;
mod line;
mod long_absence;
mod mpich5;
mod revoke;
mod sweep;
mod users;

use std::process::ExitCode;
use std::time::Instant;

use crate::hosts::NeedsRoot;

/// One demonstration.
#[derive(Debug)]
struct Show {
    name: &'static str,
    about: &'static str,
    run: fn() -> anyhow::Result<()>,
}

const SHOWS: &[Show] = &[
    Show {
        name: "line",
        about: "the line that must always work, its variants, and its table",
        run: line::run,
    },
    Show {
        name: "kill-head",
        about: "kill -9 of the head node with 1,000 tasks queued and 8 running loses nothing, runs nothing twice",
        run: kill_head::run,
    },
    Show {
        name: "kill-agent",
        about: "kill -9 of a node's agent with tasks running: exit codes are right",
        run: kill_agent::run,
    },
    Show {
        name: "bad-input",
        about: "what a new user gets wrong is named, with the remedy",
        run: bad_input::run,
    },
    Show {
        name: "join",
        about: "five hosts from nothing to the seeds' line, with the documented commands only",
        run: join::run,
    },
    Show {
        name: "users",
        about: "two users, each sees their own; the other's files and processes are out of reach",
        run: users::run,
    },
    Show {
        name: "long-absence",
        about: "a node away for longer than its certificate's life comes back",
        run: long_absence::run,
    },
    Show {
        name: "revoke",
        about: "a node and a user that are removed are out at once and stay out",
        run: revoke::run,
    },
    Show {
        name: "attach",
        about: "job submit -it of an interactive program with input",
        run: attach::run,
    },
    Show {
        name: "sweep",
        about: "a parametric job of 1,000 with three failures; just those are queued again",
        run: sweep::run,
    },
    Show {
        name: "mpich5",
        about: "a program of MPICH 5 on four hosts",
        run: mpich5::run,
    },
];

/// Why a demonstration cannot be given here; no failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Skipped(String);

/// How a demonstration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

/// Prints one thing that a demonstration does.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
fn say(what: impl std::fmt::Display) {
    println!("  {what}");
}

/// Prints all names.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
pub fn list() {
    println!("./dev show NAME, one of:");
    for show in SHOWS {
        println!("  {:<12}{}", show.name, show.about);
    }
}

/// Runs one.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
#[must_use]
pub fn run_one(name: &str) -> ExitCode {
    let Some(show) = SHOWS.iter().find(|show| show.name == name) else {
        println!("no demonstration '{name}'");
        list();
        return ExitCode::from(2);
    };
    match outcome(show) {
        Outcome::Passed | Outcome::Skipped => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
    }
}

/// Runs all of them, one after the other.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
#[must_use]
pub fn run_all() -> ExitCode {
    let outcomes: Vec<Outcome> = SHOWS.iter().map(outcome).collect();
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let failed = count(Outcome::Failed);
    println!(
        "shows: {} passed, {} skipped, {failed} failed",
        count(Outcome::Passed),
        count(Outcome::Skipped)
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
fn outcome(show: &Show) -> Outcome {
    println!("{}: {}", show.name, show.about);
    let start = Instant::now();
    let result = (show.run)();
    let seconds = start.elapsed().as_secs();
    match &result {
        Ok(()) => {
            println!("PASS {} ({seconds} s)", show.name);
            Outcome::Passed
        }
        Err(error) if error.is::<Skipped>() || error.is::<NeedsRoot>() => {
            println!("SKIPPED {}: {error}", show.name);
            Outcome::Skipped
        }
        Err(error) => {
            println!("FAIL {} ({seconds} s): {error:#}", show.name);
            Outcome::Failed
        }
    }
}
