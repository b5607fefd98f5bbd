//! `muster-headnode`: flags, logging, exit code.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headnode::offline::Verb;
use headnode::store::StoreError;

/// The head node of a Muster cluster: keeps the queue, decides, and tells compute nodes what to run.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "`muster up` starts a head node and compute nodes on this machine with one command."
)]
struct Flags {
    /// Folder for the store, keys and the command line's socket; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "/var/lib/muster/head")]
    dir: PathBuf,
    /// Address where compute nodes dial in (UDP); port 0 takes any free one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Name of the cluster, seen by tasks
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Settings file (see configs/headnode.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Nothing: run a head node
    #[command(subcommand)]
    verb: Option<Verb>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    // Of a command, the answer is what is wanted; of a daemon, what it does.
    let level = if flags.verb.is_some() { "warn" } else { "info" };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // Else a line that cannot be written is told on the same stream, and that it cannot be is a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MUSTER_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level)),
        )
        .init();
    if let Some(verb) = flags.verb {
        return offline(verb);
    }
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            exit_code(&error)
        }
    }
}

fn offline(verb: Verb) -> ExitCode {
    match headnode::offline::run(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-headnode: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// When the store failed: `EX_IOERR`, for whoever decides whether to start again.
const STORE_FAILED: u8 = 74;

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let of_store = error.chain().find_map(|cause| cause.downcast_ref::<StoreError>());
    match of_store {
        // A mistake of whoever starts it.
        None | Some(StoreError::InUse { .. }) => ExitCode::FAILURE,
        Some(_) => ExitCode::from(STORE_FAILED),
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let mut file = headnode::config::read(flags.config.as_deref())?;
    if let Some(listen) = flags.listen {
        file.listen = listen;
    }
    if let Some(cluster) = flags.cluster {
        file.cluster = cluster;
    }
    headnode::serve::run(file.checked(flags.dir)?)
}
