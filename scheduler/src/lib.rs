//! The cluster as a pure state machine: what may be asked, what follows from it, and where work goes.
//!
//! ```text
//!   Input --decide--> events --apply--> Cluster --react--> actions
//!                                          |
//!                                         plan --> more events
//! ```
//!
//! The shell takes every input that waits, decides and applies each, plans once, stores the changed rows
//! ([`Cluster::take_changes`]), and only then lets answers and actions leave. Actions may be repeated without harm: after
//! a crash, or when a node connects again, [`resync`] says once more what is due.
//!
//! Nothing here reads a clock, a file, a socket or a random number: the same state and the same inputs give the same
//! outputs, bit for bit. Time comes in as [`proto::units::Now`].

#![forbid(unsafe_code)]

mod action;
mod calendar;
mod cluster;
mod decide;
mod explain;
mod input;
mod names;
mod plan;
mod refusal;
mod resync;
mod settings;

pub use action::{Action, react, react_to_all};
pub use cluster::{Cluster, ElementPlace, RestoreError};
pub use decide::{decide, parent_is_met};
pub use explain::{explain, explain_task};
pub use input::{Answer, Decision, Input, StoredJob};
pub use names::natural_order;
pub use plan::{Plan, Rehearsal, plan, rehearse, windows};
pub use refusal::unknown;
pub use resync::resync;
pub use settings::{Settings, SettingsError, parameters_in_force};
