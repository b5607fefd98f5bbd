//! Process-management protocols without sockets: what ranks of an MPI program say to the one that started them.
//!
//! Each engine takes lines or pairs and returns lines and facts; the launcher's proxy owns the sockets and the processes.
//! Nothing here reads a clock, a file or the environment, and no line that a rank may send makes it panic.
//! The protocol has no official text; `docs/pmi.md` holds what we rely on, proved against Debian's MPICH.

#![forbid(unsafe_code)]

pub mod fence;
pub mod kvs;
pub mod limits;
pub mod pmi1;
pub mod process_map;
