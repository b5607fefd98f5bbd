//! Whole programs under test: clusters of real processes in temporary folders, and the demonstrations of `./dev show`.

pub mod cluster;
pub mod hosts;
pub mod init;
pub mod probe;
pub mod show;
pub mod sim;
pub mod site;
pub mod torture;
pub mod wait;
