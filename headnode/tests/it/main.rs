//! The real head node, spoken to through its socket as the command line does.

mod door;
mod formats;
mod head;
mod identity;
mod output;
mod peer;
