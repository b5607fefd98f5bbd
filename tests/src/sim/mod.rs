//! The whole head round under simulation: one seed drives a head node with its store, compute nodes that run the real
//! supervisor, the network between them, users, and faults. Checkers written apart from the scheduler watch.
//!
//! ```text
//!   workload --requests--> head (round + memory store) <--messages, late or lost--> nodes (Supervisor + a modelled spawner)
//!                               | stored events                                        | processes start and end
//!                               v                                                      v
//!                            claims: what was promised                             truth: what really ran
//! ```
//!
//! Time is a number; nothing here reads a clock or a random source, so a seed replays a run to the last message.
//! [`run`] lets faults happen for a while, then stops them, and expects all work to end.

mod claims;
mod clock;
mod head;
mod network;
mod node;
pub(crate) mod rng;
mod truth;
mod workload;
mod world;

use std::fmt;

pub use world::run;

/// What a run was like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs that were acknowledged.
    pub jobs: usize,
    /// Processes that were started.
    pub processes: usize,
    /// Events that were stored.
    pub events: usize,
    /// Tasks that waited on a node for a slot there.
    pub ahead: usize,
    /// Those of them that were wanted back.
    pub recalled: usize,
    /// Kills, partitions, jumps.
    pub faults: usize,
}

/// A promise that was broken, with the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Run it again with this.
    pub seed: u64,
    /// When, in simulated milliseconds.
    pub at: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at, self.what)
    }
}

impl std::error::Error for Broken {}
