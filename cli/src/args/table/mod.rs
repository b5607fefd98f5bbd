//! The one table of commands and options: parsing, help and the refusal of what is not built all come from it.
//!
//! What HPC Pack documents and is not built stands here too, so that it is refused by name and never ignored.

mod options;
mod verbs;

pub(super) use options::plain;
pub use options::{GLOBAL, Key, OptionSpec, Status, Value, options};
pub use verbs::{NOT_YET_PROGRAMS, NOT_YET_VERBS, Noun, Tail, Verb, VerbSpec, verbs};
