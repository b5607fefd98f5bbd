//! The scheduler's tests: recorded stories, and random ones watched by a checker of their own.

mod certificates;
mod checker;
mod course;
mod errands;
mod places;
mod property;
mod requests;
mod restore;
mod scenario;
mod users;
mod wants;
mod wishes;
mod work;
mod world;
