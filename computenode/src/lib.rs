//! The compute node: one program, two processes.
//!
//! The *agent* talks to the head node and can be killed or replaced at any moment. The [`spawner`] starts, signals and
//! reaps tasks, and lives as long as they do.
//!
//! ```text
//!   head node <--QUIC--> link --+                +-- launch <--socket, QUIC-- mpiexec
//!                               |                |
//!                               +---- agent -----+---- supervisor (pure): orders and news in, commands out
//!                               |                |
//!   task files <---- files -----+                +-- spawner_line <--socket--> spawner --> tasks, proxies
//! ```

pub mod account;
pub mod agent;
mod commands;
pub mod config;
pub mod directory;
pub mod environment;
mod files;
mod heartbeat;
pub mod inventory;
pub mod kept;
mod launch;
mod link;
mod open_files;
pub mod spawner;
mod spawner_line;
pub mod supervisor;
pub mod workdir;
