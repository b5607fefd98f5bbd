//! `muster-computenode`: flags, log, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use computenode::directory::NodeDirectory;
use tracing_subscriber::EnvFilter;

/// A compute node of a Muster cluster.
#[derive(Debug, Parser)]
#[command(
    name = "muster-computenode",
    version,
    after_help = "\
Examples:
  muster-computenode agent --dir /var/lib/muster --name node1 --head head.site:8745 --token-file /root/token
  muster-computenode agent --dir /var/lib/muster --name node1 --head head.site:8745      (once it has joined)

SIGTERM ends the agent and leaves tasks running; SIGTERM to the process in DIR/spawner.pid ends the tasks.
Exit codes: 0 ended by a signal; 1 refused or impossible, the last line says why; 2 wrong usage."
)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Join the head node and run what it sends.
    Agent(computenode::config::Flags),
    /// Start and keep tasks; the agent starts this by itself.
    Spawner {
        /// The node's folder.
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let ended = match Arguments::parse().role {
        Role::Agent(flags) => computenode::agent::start(flags),
        Role::Spawner { dir } => NodeDirectory::open(&dir)
            .map_err(Into::into)
            .and_then(|directory| computenode::spawner::run(&directory)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
