//! Whole programs under test: clusters of real processes in temporary folders, and the demonstrations of `./dev show`.

pub mod cluster;
pub mod show;
pub mod wait;
