//! mpiexec and its proxies: ranks of an unmodified MPI program on the nodes of an allocation.
//!
//! mpiexec is a program of the task like any other; its only right is the task's socket. Through it, it learns what was
//! granted, gets a certificate from the allocation's own authority, and has a proxy started on every node. Proxies start
//! the ranks, answer their PMI and bring their output. Compute nodes know nothing of MPI, and nothing here knows the head.
//! `docs/launch.md` tells the whole flow, the exit codes and what is refused.

pub mod args;
pub mod coordinator;
pub mod driver;
pub mod exit;
pub mod hosts;
pub mod map;
pub mod proxy;

mod input;
mod notes;
mod output;
mod pairs;
mod standalone;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use proto::launch::{RENDEZVOUS_VARIABLE, TASK_SOCKET_VARIABLE};

use crate::args::Invocation;
use crate::coordinator::Outcome;
use crate::driver::Surroundings;

/// The variable that says what is logged, in the form of `RUST_LOG`; warnings when it is not set.
pub const LOG_VARIABLE: &str = "MUSTER_LOG";

/// The program with these words after its name.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    start_log();
    let Some(words) = words.map(|word| word.into_string().ok()).collect::<Option<Vec<_>>>() else {
        return fail("a word of the command line is no UTF-8 text");
    };
    // Ranks never see the second condition, so a program called 'proxy' can be started from within a launch.
    if words == ["proxy"] && std::env::var_os(RENDEZVOUS_VARIABLE).is_some() {
        return match run(proxy::run()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("proxy: {error:#}")),
        };
    }
    match args::parse(&words) {
        Err(error) => fail(&error.to_string()),
        Ok(Invocation::Help) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(args::USAGE.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Invocation::Launch(launch)) => start(launch),
    }
}

fn start(launch: args::Launch) -> ExitCode {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let surroundings = Surroundings {
        socket: std::env::var_os(TASK_SOCKET_VARIABLE).map(Into::into),
        directory: std::env::current_dir()
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok()),
        environment: std::env::vars_os().filter_map(text).collect(),
    };
    let tell_exits = launch.exit_codes;
    match run(driver::run(launch, surroundings)) {
        Ok(outcome) => {
            tell(&outcome, tell_exits);
            ExitCode::from(outcome.code())
        }
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// One thread: ranks inherit its core mask in the proxy, and mpiexec has nothing to do in parallel.
fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn tell(outcome: &Outcome, exits: bool) {
    let mut text = String::new();
    for (rank, status) in outcome.statuses.iter().enumerate().filter(|_| exits) {
        let ending = status.map_or_else(
            || "has no exit code".to_owned(),
            |status| exit::Ending(status).to_string(),
        );
        text.push_str(&format!("mpiexec: rank {rank} {ending}\n"));
    }
    if let Some(cause) = &outcome.cause {
        text.push_str(&format!("mpiexec: {cause}\n"));
    }
    // Without a standard error the exit code has to do.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn fail(reason: &str) -> ExitCode {
    // Without a standard error the exit code has to do.
    let _ = writeln!(std::io::stderr(), "mpiexec: {reason}");
    ExitCode::from(exit::LAUNCHER)
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env(LOG_VARIABLE);
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Else a line that cannot be written is told on the same stream, and that it cannot be is a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
