//! The scheduler's tests: recorded stories, and random ones watched by a checker of their own.

mod arrays;
mod certificates;
mod checker;
mod course;
mod errands;
mod lifecycle;
mod lives;
mod places;
mod placing;
mod pools;
mod property;
mod requests;
mod restore;
mod roles;
mod scenario;
mod tasks;
mod users;
mod wants;
mod windows;
mod wishes;
mod work;
mod world;
