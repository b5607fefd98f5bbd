//! The proxy: one per node and launch, started by the node's agent as the task's user.
//!
//! ```text
//! agent starts it -> Describe, Certify on its own node's socket -> dials mpiexec -> Hello
//!   <- Run: starts the ranks
//!   lines of ranks -> pmi server -> Fence ... <- FenceDone
//!   output of ranks, ends of ranks -> mpiexec
//!   <- Stop, Signal, or the link closes: SIGTERM, a grace, SIGKILL
//! all ranks ended and their output is sent -> Finished
//! ```
//!
//! It never outlives its link: without mpiexec nobody would read its ranks' output or stop them. It holds no right beyond
//! its allocation, and runs one loop on one thread, because ranks inherit that thread's core mask when they are spawned.

mod bind;
mod join;
mod pmi_server;
mod ranks;
mod session;
mod stdio;

pub use join::run;
pub(crate) use session::Event;
