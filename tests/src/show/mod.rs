//! The demonstrations: what issues say must be seen, each under its name, run on real processes.

mod bad_input;
mod kill_agent;
mod kill_head;
mod line;

use std::process::ExitCode;
use std::time::Instant;

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
];

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
    if passes(show) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs all of them, one after the other.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
#[must_use]
pub fn run_all() -> ExitCode {
    let passed = SHOWS.iter().filter(|show| passes(show)).count();
    let failed = SHOWS.len() - passed;
    println!("shows: {passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
fn passes(show: &Show) -> bool {
    println!("{}: {}", show.name, show.about);
    let start = Instant::now();
    let result = (show.run)();
    let seconds = start.elapsed().as_secs();
    match &result {
        Ok(()) => println!("PASS {} ({seconds} s)", show.name),
        Err(error) => println!("FAIL {} ({seconds} s): {error:#}", show.name),
    }
    result.is_ok()
}
