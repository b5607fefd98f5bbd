//! Short tasks with real processes: arrays of `/bin/true` beside `xargs`, HyperQueue and the machine's own limit; with
//! directories and files; one by one; and what the daemons use meanwhile.
//!
//! The daemons run as root and the tasks as nobody when this program is root. The queue is durable always.

mod array;
mod files;
mod hyperqueue;
mod limit;
mod one;
mod spinners;
mod vfork;
mod xargs;

pub(crate) use array::{busy, four_nodes, one_node};
pub(crate) use files::run as files;
pub(crate) use limit::bare as processes_per_second;
pub(crate) use one::run as one;
