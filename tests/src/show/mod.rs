//! The demonstrations: what issues say must be seen, each under its name, run on real processes.

mod attach;
mod backfill;
mod bad_input;
mod clock_jump;
mod deps;
mod drain;
mod full_disk;
mod gang_whole;
mod join;
mod kill_agent;
mod kill_head;
mod line;
mod long_absence;
mod lost_node;
mod mpich5;
mod prep_release_manager;
mod privilege;
mod revoke;
mod rolling_upgrade;
mod schedule;
mod sim;
mod snapshot_damage;
mod sweep;
mod torture;
mod users;
mod why;

use std::process::ExitCode;
use std::time::Instant;

use crate::hosts::NeedsRoot;

pub use sim::soak;
pub use torture::soak as soak_torture;

/// How one is given.
#[derive(Debug)]
enum Run {
    Plain(fn() -> anyhow::Result<()>),
    /// With the words behind its name.
    With(fn(&[&str]) -> anyhow::Result<()>),
}

/// One demonstration.
#[derive(Debug)]
struct Show {
    name: &'static str,
    about: &'static str,
    run: Run,
}

const SHOWS: &[Show] = &[
    Show {
        name: "line",
        about: "the line that must always work, its variants, and its table",
        run: Run::Plain(line::run),
    },
    Show {
        name: "kill-head",
        about: "kill -9 of the head node with 1,000 tasks queued and 8 running loses nothing, runs nothing twice",
        run: Run::Plain(kill_head::run),
    },
    Show {
        name: "kill-agent",
        about: "kill -9 of a node's agent with tasks running: exit codes are right",
        run: Run::Plain(kill_agent::run),
    },
    Show {
        name: "bad-input",
        about: "what a new user gets wrong is named, with the remedy",
        run: Run::Plain(bad_input::run),
    },
    Show {
        name: "join",
        about: "five hosts from nothing to the seeds' line, with the documented commands only",
        run: Run::Plain(join::run),
    },
    Show {
        name: "users",
        about: "two users, each sees their own; the other's files and processes are out of reach",
        run: Run::Plain(users::run),
    },
    Show {
        name: "long-absence",
        about: "a node away for longer than its certificate's life comes back",
        run: Run::Plain(long_absence::run),
    },
    Show {
        name: "revoke",
        about: "a node and a user that are removed are out at once and stay out",
        run: Run::Plain(revoke::run),
    },
    Show {
        name: "attach",
        about: "job submit -it of an interactive program with input",
        run: Run::Plain(attach::run),
    },
    Show {
        name: "sweep",
        about: "a parametric job of 1,000 with three failures; just those are queued again",
        run: Run::Plain(sweep::run),
    },
    Show {
        name: "mpich5",
        about: "a program of MPICH 5 on four hosts",
        run: Run::Plain(mpich5::run),
    },
    Show {
        name: "why",
        about: "six jobs that wait for six causes, each named with counts",
        run: Run::Plain(why::run),
    },
    Show {
        name: "backfill",
        about: "a short job passes a blocked gang and does not delay it; the picture of it",
        run: Run::Plain(backfill::run),
    },
    Show {
        name: "gang-whole",
        about: "gangs and small tasks share nodes; every gang is whole",
        run: Run::Plain(gang_whole::run),
    },
    Show {
        name: "deps",
        about: "tasks that wait by name, number and range; exit codes that satisfy and block",
        run: Run::Plain(deps::run),
    },
    Show {
        name: "prep-release-manager",
        about: "a manager adds tasks; nodes are prepared before and released after",
        run: Run::Plain(prep_release_manager::run),
    },
    Show {
        name: "schedule",
        about: "a job schedule from its first job to its deletion",
        run: Run::Plain(schedule::run),
    },
    Show {
        name: "drain",
        about: "a node out of use in each of the four ways",
        run: Run::Plain(drain::run),
    },
    Show {
        name: "lost-node",
        about: "a node of a gang is lost: the gang ends whole and runs again, nothing twice",
        run: Run::Plain(lost_node::run),
    },
    Show {
        name: "snapshot-damage",
        about: "the head node is killed and its database damaged in five ways; nothing acknowledged is lost",
        run: Run::Plain(snapshot_damage::run),
    },
    Show {
        name: "full-disk",
        about: "the head node's disk runs full: clear refusals, running tasks end, nothing is lost, work goes on",
        run: Run::Plain(full_disk::run),
    },
    Show {
        name: "privilege",
        about: "what a task may do beyond its user's rights, tried as another user's task: nothing",
        run: Run::Plain(privilege::run),
    },
    Show {
        name: "rolling-upgrade",
        about: "head node, agents and a spawner become a newer release one by one while tasks run",
        run: Run::Plain(rolling_upgrade::run),
    },
    Show {
        name: "sim",
        about: "seeds of a simulated cluster with faults, every promise watched: sim [N], sim SEED N",
        run: Run::With(sim::run),
    },
    Show {
        name: "clock-jump",
        about: "the wall clock jumps by a day, ahead and back: no lease ends, no task is killed",
        run: Run::Plain(clock_jump::run),
    },
    Show {
        name: "torture",
        about: "load while daemons, disks and links are broken at random, and a checker apart: torture [CYCLES [SEED]]",
        run: Run::With(torture::run),
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
        println!("  {:<22}{}", show.name, show.about);
    }
}

/// Runs one.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
#[must_use]
pub fn run_one(name: &str, words: &[&str]) -> ExitCode {
    let Some(show) = SHOWS.iter().find(|show| show.name == name) else {
        println!("no demonstration '{name}'");
        list();
        return ExitCode::from(2);
    };
    match outcome(show, words) {
        Outcome::Passed | Outcome::Skipped => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
    }
}

/// Runs all of them, one after the other.
#[expect(clippy::print_stdout, reason = "demonstrations speak to whoever runs them")]
#[must_use]
pub fn run_all() -> ExitCode {
    let outcomes: Vec<Outcome> = SHOWS.iter().map(|show| outcome(show, &[])).collect();
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
fn outcome(show: &Show, words: &[&str]) -> Outcome {
    println!("{}: {}", show.name, show.about);
    let start = Instant::now();
    let result = match show.run {
        Run::Plain(run) => run(),
        Run::With(run) => run(words),
    };
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
