//! Whole-program tests of `bench`.

mod hydra;
mod usage;
