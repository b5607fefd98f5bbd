//! Bytes between machines and between ranks.
//!
//! `identity` makes and checks certificates, `control` moves framed messages over QUIC or a unix socket; these two
//! serve the daemons and the command line. `matching`, `link` and `endpoint` move tagged messages between the ranks of
//! one launch. Nothing here knows what a job is.

pub mod control;
pub mod endpoint;
pub mod identity;
pub mod link;
pub mod local_address;
pub mod matching;
pub mod message;
pub mod port_range;
pub mod rank_address;
mod system;
pub mod wall;
