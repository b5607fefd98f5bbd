#![forbid(unsafe_code)]
//! Everything that is stored or sent between Muster's programs: ids, the model, events, messages and framing.
//!
//! Layer 0: no clock, socket, file or thread. A derived `Serialize` outside this crate is a decision to be defended.
//! Messages carry field names and tolerate unknown fields and unknown variants, so that neighbouring releases can talk.

pub mod client;
pub mod control;
pub mod event;
pub mod frame;
pub mod hostlist;
pub mod ids;
pub mod launch;
pub mod model;
pub mod stored;
pub mod taskmap;
pub mod units;
