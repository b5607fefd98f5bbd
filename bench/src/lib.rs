//! Measurement: `mpipingpong` and the benchmarks of scheduler, store, launch and links.
//!
//! `wireup` lets ranks find each other through whatever launcher started them, `pingpong` measures between them. Nothing
//! here links the head node or the store unless the feature `cluster` asks for it.

pub mod pingpong;
pub mod wireup;
