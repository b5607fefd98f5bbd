//! `muster-computenode`: flags, log, exit code.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use computenode::agent::Removed;
use computenode::config::ConfigError;
use computenode::directory::NodeDirectory;
use computenode::{join, membership};
use tracing_subscriber::EnvFilter;

/// A compute node of a Muster cluster.
#[derive(Debug, Parser)]
#[command(
    name = "muster-computenode",
    version,
    after_help = "\
Examples:
  muster-computenode join --head head.site:8745 --token muster-join-1...   ('muster node join-command' prints this line)
  muster-computenode status
  muster-computenode leave
  muster-computenode agent --dir /var/lib/muster-node                      (what the service starts)

SIGTERM ends the agent and leaves tasks running; SIGTERM to the process in DIR/spawner.pid ends the tasks.
Exit codes: 0 done, or ended by a signal; 1 refused or impossible, the last line says why (status: not connected);
2 wrong usage; 3 (agent) the head node took this node out of the cluster."
)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Make this host a node of a cluster: the line that 'muster node join-command' prints.
    Join(Box<join::Flags>),
    /// Say what of the node runs here, and whether it is connected.
    Status(membership::Flags),
    /// End the node and its tasks and remove its folder.
    Leave(membership::Flags),
    /// Connect to the head node and run what it sends.
    Agent(Box<computenode::config::Flags>),
    /// Keep the terminal or the input of one interactive task; the spawner starts this by itself.
    Session(computenode::session::Flags),
    /// Start and keep tasks; the agent starts this by itself.
    Spawner {
        /// The node's folder.
        #[arg(long)]
        dir: PathBuf,
    },
}

impl Role {
    /// What people type shows its steps and its error; what runs for long logs.
    const fn log_level(&self) -> &'static str {
        match self {
            Self::Join(_) | Self::Status(_) | Self::Leave(_) => "error",
            Self::Agent(_) | Self::Session(_) | Self::Spawner { .. } => "info",
        }
    }
}

fn main() -> ExitCode {
    let role = Arguments::parse().role;
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new(role.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Else a line that cannot be written is told on the same stream, and that it cannot be is a panic.
        .log_internal_errors(false)
        .with_ansi(false)
        .init();
    let out = &mut io::stdout();
    match role {
        Role::Join(flags) => told(join::run(&flags, out).map(|()| true)),
        Role::Status(flags) => told(membership::status(&flags, out)),
        Role::Leave(flags) => told(membership::leave(&flags, out).map(|()| true)),
        Role::Agent(flags) => logged(computenode::agent::start(*flags)),
        Role::Session(flags) => computenode::session::run(&flags),
        Role::Spawner { dir } => logged(
            NodeDirectory::open(&dir)
                .map_err(Into::into)
                .and_then(|directory| computenode::spawner::run(&directory)),
        ),
    }
}

/// The end of what a person typed.
fn told(ended: anyhow::Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody reads it when that fails too.
            let _ = writeln!(io::stderr(), "muster-computenode: {error:#}");
            match error.downcast_ref::<ConfigError>() {
                Some(_) => ExitCode::from(2),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// The end of what runs for long.
fn logged(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            match error.downcast_ref::<Removed>() {
                Some(_) => ExitCode::from(Removed::EXIT_CODE),
                None => ExitCode::FAILURE,
            }
        }
    }
}
