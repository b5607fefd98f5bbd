//! Carries commands out: asks the head node, or starts and stops the cluster of this machine. One file for each noun, and
//! one for each command that is a conversation. Returns values; what is printed before the end goes through `render`.

mod access;
mod attach;
mod clusrun;
mod cluster;
mod complete;
mod doctor;
mod door;
mod events;
mod firewall;
mod follow;
mod invite;
mod job;
mod node;
mod pool;
mod schedule;
mod select;
mod services;
mod settings;
mod submit;
mod task;
mod wait;

use door::Door;

use crate::answer::Answer;
use crate::exit::CliError;
use crate::place::Surroundings;
use crate::render::{self, Look};
use crate::request::{Command, Globals};

/// Carries out one command.
///
/// # Errors
/// [`CliError`], with its exit code.
pub async fn run(command: Command, globals: &Globals, around: &Surroundings) -> Result<Answer, CliError> {
    match command {
        Command::Cluster(command) => cluster::run(command, globals, around).await,
        Command::Access(command) => access::run(command, globals, around).await,
        Command::Node(command) => node::run(command, globals.look(), &Door::of(globals, around)?).await,
        Command::Pool(command) => pool::run(command, &Door::of(globals, around)?).await,
        Command::Schedule(command) => schedule::run(command, &Door::of(globals, around)?).await,
        Command::Job(command) => job::run(command, &globals.look(), &Door::of(globals, around)?).await,
        Command::Task(command) => task::run(command, &globals.look(), &Door::of(globals, around)?).await,
    }
}

/// Tells a part of an answer before the end.
fn show(answer: &Answer, look: &Look) -> Result<(), CliError> {
    let printed = render::render(answer, look)?;
    render::emit(&printed).map_err(CliError::Output)
}

#[cfg(test)]
mod tests;
