//! What a cluster is made of: specifications as users give them, rows as they are kept, states as enums.

pub mod array;
pub mod attempt;
pub mod demand;
pub mod exit;
pub mod job;
pub mod limits;
pub mod line;
pub mod node;
pub mod owner;
pub mod pool;
pub mod role;
pub mod schedule;
pub mod sweep;
pub mod task;
pub mod user;
pub mod why;
