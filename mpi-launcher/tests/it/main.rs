//! Launches on real processes: mpiexec, proxies and ranks, with an agent in the test on four addresses of this machine.

mod allocation;
mod failures;
mod launches;
mod mpich;
mod standalone;
