//! The head node: the one owner of truth, a shell around the pure `scheduler`.
//!
//! ```text
//!   doors (unix socket, QUIC)  --Arrival-->  controller thread: rounds  --Flight-->  committer thread
//!        ^   reads: view <------------------------- events, after the flush ------------'   |
//!        '------------------------- replies and orders, after the flush --------------------'
//! ```
//!
//! The doors only translate; `round` decides, stores once and plans; the committer lets nothing leave before its flush.

pub mod authority;
pub mod clock;
pub mod config;
pub mod controller;
pub mod door;
pub mod files;
pub mod join;
pub mod knock;
pub mod login;
pub mod nodes;
pub mod offline;
pub mod past;
pub mod remote;
pub mod round;
mod runway;
pub mod serve;
pub mod store;
pub mod strangers;
pub mod throttle;
pub mod view;
pub mod weight;
