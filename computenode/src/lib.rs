//! The compute node: one program, two processes.
//!
//! The *agent* talks to the head node and can be killed or replaced at any moment. The [`spawner`] starts, signals and
//! reaps tasks, and lives as long as they do. What an administrator types on a host is [`join`] and [`membership`]: they
//! start and end the two, with systemd's units where there is systemd.
//!
//! ```text
//!   head node <--QUIC--> link --+                +-- launch <--socket, QUIC-- mpiexec
//!                               |                |
//!                               +---- agent -----+---- supervisor (pure): orders and news in, commands out
//!                               |                |
//!   task files <- files, follow -+               +-- spawner_line <--socket--> spawner --> tasks, proxies
//!   session <------- input ------'                                                  '--> session --> interactive task
//! ```

pub mod account;
pub mod agent;
mod attempts;
mod commands;
mod common_files;
pub mod config;
pub mod directory;
pub mod environment;
mod files;
mod follow;
mod growing;
mod heartbeat;
mod input;
pub mod inventory;
pub mod join;
pub mod kept;
pub mod labels;
mod launch;
mod link;
pub mod membership;
mod open_files;
mod probe;
mod questions;
mod ranks;
mod removal;
mod renewal;
mod restart;
mod retention;
mod running;
mod service;
pub mod session;
pub mod spawner;
mod spawner_line;
pub mod supervisor;
mod watch;
pub mod workdir;
