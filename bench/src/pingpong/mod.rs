//! `mpipingpong`: latency and throughput between every pair of nodes of a launch.
//!
//! `options` reads the command line, `pairing` says who measures with whom, `measure` does it, `statistics` makes figures
//! of times and `report` a table of figures. Only `measure` touches a link; the program is in `src/bin/mpipingpong.rs`.

pub mod measure;
pub mod options;
pub mod pairing;
pub mod report;
pub mod statistics;
