//! Arrays: a task that is run once per step of its sweep is one record of up to [`super::sweep::MAX_STEPS`] elements.
//!
//! ```text
//!   elements:   0 ............ next ................... count
//!               touched: some ended | untouched: no row, no memory; waiting, or ended all at once
//! ```
//!
//! An element that is touched (granted, canceled alone) gets a row of its own in memory for as long as it is not over, or
//! has not ended well. On disk the touched elements of an array lie packed in chunks of [`CHUNK`], without what is the same
//! for all. A chunk whose elements have all ended well is dropped from memory and read when somebody asks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::TaskCounts;
use super::task::{TaskOutcome, TaskRow, TaskState};
use crate::ids::{AttemptId, NodeId, Step, TaskId};
use crate::units::Timestamp;

/// Elements of one stored chunk: few enough to be written again at each end, enough to make keys cheap.
pub const CHUNK: u32 = 128;

/// How far an array is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArrayState {
    /// Index of the first element that was never touched in turn: nobody touched any from here on, except those that have a
    /// row or a place in a chunk of their own.
    pub next: u32,
    /// When the untouched elements were canceled, all at once; none while they wait.
    #[serde(default)]
    pub rest_canceled_at: Option<Timestamp>,
    /// All elements by state.
    pub counts: TaskCounts,
    /// The first start of an element.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// The last end of an element.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

/// One touched element, without what its array says for all. Names are short, because there may be millions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Index in the array, from 0.
    #[serde(rename = "i")]
    pub index: u32,
    /// How far it is.
    #[serde(rename = "s")]
    pub state: ElementState,
    /// The newest try.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<AttemptId>,
    /// Its nodes, primary first.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub last_nodes: Vec<NodeId>,
    /// Exit code of the newest try.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How often it was put back into the queue.
    #[serde(rename = "q", default, skip_serializing_if = "is_zero")]
    pub requeues: u32,
    /// How often it was run again after an exit that was no success.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub retries: u32,
}

/// The state of an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementState {
    /// Ended well: by far the most.
    #[serde(rename = "f")]
    Finished {
        /// Its start, if it was started.
        #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        /// Its end.
        #[serde(rename = "e")]
        ended_at: Timestamp,
    },
    /// Anything else.
    #[serde(rename = "o")]
    Other(TaskState),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Element {
    /// What is stored of the row of an element.
    #[must_use]
    pub fn of(row: &TaskRow, index: u32) -> Self {
        let state = match &row.state {
            TaskState::Ended {
                started_at,
                ended_at,
                outcome: TaskOutcome::Finished,
            } => ElementState::Finished {
                started_at: *started_at,
                ended_at: *ended_at,
            },
            other => ElementState::Other(other.clone()),
        };
        Self {
            index,
            state,
            last_attempt: row.last_attempt,
            last_nodes: row.last_nodes.clone(),
            exit_code: row.exit_code,
            requeues: row.requeues,
            retries: row.retries,
        }
    }

    /// The row of the element of that array; none when the array is none or has no such element.
    #[must_use]
    pub fn row(&self, array: &TaskRow) -> Option<TaskRow> {
        let step = array.spec.sweep?.step(self.index)?;
        let state = match &self.state {
            ElementState::Finished { started_at, ended_at } => TaskState::Ended {
                started_at: *started_at,
                ended_at: *ended_at,
                outcome: TaskOutcome::Finished,
            },
            ElementState::Other(state) => state.clone(),
        };
        Some(TaskRow {
            state,
            last_attempt: self.last_attempt,
            last_nodes: self.last_nodes.clone(),
            exit_code: self.exit_code,
            requeues: self.requeues,
            retries: self.retries,
            ..untouched(array, step)
        })
    }
}

/// The row of an element that nobody touched: it waits, or was canceled with all others.
#[must_use]
pub fn untouched(array: &TaskRow, step: Step) -> TaskRow {
    let canceled = array.array.as_ref().and_then(|state| state.rest_canceled_at);
    TaskRow {
        id: TaskId {
            step: Some(step),
            ..array.id
        },
        spec: Arc::clone(&array.spec),
        state: canceled.map_or(TaskState::Queued, |ended_at| TaskState::Ended {
            started_at: None,
            ended_at,
            outcome: TaskOutcome::Canceled,
        }),
        requeues: 0,
        retries: 0,
        array: None,
        last_attempt: None,
        last_nodes: Vec::new(),
        exit_code: None,
    }
}

/// Touched elements of an array, as they are stored: those with `chunk * CHUNK <= index < (chunk + 1) * CHUNK`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// The array.
    pub array: TaskId,
    /// Which chunk.
    pub chunk: u32,
    /// By index.
    pub elements: Vec<Element>,
}

impl ChunkRow {
    /// Whether all elements of the chunk have ended well, in an array of so many. Such a chunk is needed only by those who
    /// list its elements.
    #[must_use]
    pub fn is_whole(&self, count: u32) -> bool {
        let first = self.chunk.saturating_mul(CHUNK);
        let all = count.saturating_sub(first).min(CHUNK) as usize;
        let well = |element: &&Element| matches!(element.state, ElementState::Finished { .. });
        all > 0 && self.elements.iter().filter(well).count() == all
    }
}
