//! The scheduler's tests: recorded stories, and random ones watched by a checker of their own.

mod checker;
mod property;
mod requests;
mod restore;
mod scenario;
mod world;
