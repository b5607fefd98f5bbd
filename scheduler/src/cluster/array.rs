//! Arrays become state: one row, and rows of those elements that somebody touched and that have not ended well.
//!
//! ```text
//!   untouched --granted, canceled alone--> row --ended well--> packed --its chunk ended well--> stored
//!                                          ^ |
//!                                          '-' failed, canceled, waits again
//! ```
//!
//! Untouched elements cost no memory; packed ones wait, without a row, for their chunk, because the chunk is written whole;
//! stored ones are only on disk. A chunk leaves memory when all its elements have ended well and none behind it will make it
//! look untouched again, which is when `next` has passed its end.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use proto::ids::{JobId, TaskId};
use proto::model::array::{CHUNK, ChunkRow, Element, ElementState, untouched};
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::stored::{Row, RowKey};
use proto::units::Timestamp;

use super::apply::counter;
use super::dependency::Standing;
use super::packed::Packed;
use super::rest::Rest;
use super::restore::RestoreError;
use super::{Cluster, Shape};

/// What is known of an array beside its row and the rows of its elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Array {
    sweep: Sweep,
    pub(super) rest: Rest,
    /// Elements that ended well, of chunks of which others did not.
    pub(super) packed: Packed,
}

impl Array {
    pub(super) fn new(sweep: Sweep, next: u32) -> Self {
        Self {
            sweep,
            rest: Rest::new(sweep, next),
            packed: Packed::default(),
        }
    }

    /// The first index of a chunk, and the one after its last.
    pub(super) fn span(&self, chunk: u32) -> (u32, u32) {
        let first = chunk.saturating_mul(CHUNK);
        (first, first.saturating_add(CHUNK).min(self.sweep.count()))
    }
}

/// Where an element of an array is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementPlace<'a> {
    /// It has a row of its own ([`Cluster::task`]); so has every task that is no element.
    Row,
    /// Nobody touched it: its row would be [`untouched`].
    Untouched,
    /// It ended well, and others of its chunk did not yet.
    Packed(&'a Element),
    /// It ended well with all of its chunk, which is on disk only.
    Stored,
    /// There is no such task, or its job is not in memory.
    None,
}

/// What others read of arrays.
impl Cluster {
    /// Where a task is kept.
    #[must_use]
    pub fn element_place(&self, id: TaskId) -> ElementPlace<'_> {
        if self.tasks.contains_key(&id) {
            return ElementPlace::Row;
        }
        let Some((array, index)) = self.element(id) else {
            return ElementPlace::None;
        };
        match self.arrays.get(&array) {
            None => ElementPlace::None,
            Some(array) if array.rest.holds(index) => ElementPlace::Untouched,
            Some(array) => array
                .packed
                .get(index)
                .map_or(ElementPlace::Stored, ElementPlace::Packed),
        }
    }

    /// A task's row; of an element without one, the row that it would have. None for an element that is only on disk.
    #[must_use]
    pub fn task_or_untouched(&self, id: TaskId) -> Option<Cow<'_, TaskRow>> {
        let head = || self.tasks.get(&array_id(id));
        match self.element_place(id) {
            ElementPlace::Row => self.tasks.get(&id).map(Cow::Borrowed),
            ElementPlace::Untouched => Some(Cow::Owned(untouched(head()?, id.step?))),
            ElementPlace::Packed(element) => element.row(head()?).map(Cow::Owned),
            ElementPlace::Stored | ElementPlace::None => None,
        }
    }

    /// The rows of the arrays of a job, by number.
    pub fn arrays_of(&self, job: JobId) -> impl Iterator<Item = &TaskRow> {
        let of_job = TaskId::first_of(job)..=TaskId::last_of(job);
        self.arrays.range(of_job).filter_map(|(id, _)| self.tasks.get(id))
    }

    /// Whether a chunk of an array has elements in memory. If not, it is on disk only, or none of it was ever touched.
    #[must_use]
    pub fn chunk_in_memory(&self, array: TaskId, chunk: u32) -> bool {
        let Some(of) = self.arrays.get(&array) else {
            return false;
        };
        let (first, end) = of.span(chunk);
        let steps = of.rest.id(array, first).zip(of.rest.id(array, end.saturating_sub(1)));
        let has_rows = |(first, last)| self.tasks.range(first..=last).next().is_some();
        !of.packed.of_chunk(chunk).is_empty() || steps.is_some_and(has_rows)
    }

    /// Elements of an array that nobody touched, whether they wait or were canceled all at once.
    #[must_use]
    pub fn untouched_of(&self, array: TaskId) -> u32 {
        self.arrays.get(&array).map_or(0, |array| array.rest.left())
    }

    /// How many rows of tasks, and how many packed elements, are in memory.
    #[must_use]
    pub fn rows_in_memory(&self) -> usize {
        self.tasks.len() + self.arrays.values().map(|array| array.packed.len()).sum::<usize>()
    }
}

/// What only this crate reads of arrays.
impl Cluster {
    /// Whether the task is an array as a whole.
    pub(crate) fn is_array(&self, id: TaskId) -> bool {
        self.arrays.contains_key(&id)
    }

    /// The array and the index of an element. None for a task that is none, also for a step that a store of an older release
    /// has as a row of its own.
    pub(crate) fn element(&self, id: TaskId) -> Option<(TaskId, u32)> {
        let array = array_id(id);
        let index = self.arrays.get(&array)?.sweep.index(id.step?)?;
        Some((array, index))
    }

    /// What was asked for a task, whether it has a row or not.
    pub(crate) fn spec_of(&self, id: TaskId) -> Option<&Arc<TaskSpec>> {
        self.row_with_spec(id).map(|row| &row.spec)
    }

    /// The task's own row, or that of its array.
    pub(super) fn row_with_spec(&self, id: TaskId) -> Option<&TaskRow> {
        self.tasks.get(&id).or_else(|| self.tasks.get(&self.element(id)?.0))
    }

    /// Whether something waits that is this row's own: the task itself, or untouched elements of the array.
    pub(crate) fn waits(&self, row: &TaskRow) -> bool {
        match &row.array {
            Some(state) => state.rest_canceled_at.is_none() && self.untouched_of(row.id) > 0,
            None => row.state == TaskState::Queued,
        }
    }

    /// The first untouched element of an array that waits.
    pub(crate) fn first_untouched(&self, array: &TaskRow) -> Option<TaskRow> {
        let rest = &self.arrays.get(&array.id).filter(|_| self.waits(array))?.rest;
        let id = rest.id(array.id, rest.first_from(0)?)?;
        Some(untouched(array, id.step?))
    }

    /// Touched elements as they are stored; none when no element of the chunk is in memory.
    pub(super) fn chunk_row(&self, id: TaskId, chunk: u32) -> Option<ChunkRow> {
        let array = self.arrays.get(&id)?;
        let (first, end) = array.span(chunk);
        let steps = array.rest.id(id, first)?..=array.rest.id(id, end.checked_sub(1)?)?;
        let rows = self.tasks.range(steps).filter_map(|(id, row)| {
            let index = array.sweep.index(id.step?)?;
            Some(Element::of(row, index))
        });
        let mut elements: Vec<Element> = array.packed.of_chunk(chunk).to_vec();
        elements.extend(rows);
        elements.sort_by_key(|element| element.index);
        (!elements.is_empty()).then_some(ChunkRow {
            array: id,
            chunk,
            elements,
        })
    }

    /// The chunks of an array of which elements are in memory.
    pub(super) fn chunks_of(&self, id: TaskId) -> impl Iterator<Item = ChunkRow> {
        let numbers = self.arrays.get(&id).map(|array| {
            let rows = self.elements_of(id).filter_map(|row| array.sweep.index(row.id.step?));
            let of_rows = rows.map(|index| index / CHUNK);
            array.packed.chunks().chain(of_rows).collect::<BTreeSet<u32>>()
        });
        let numbers = numbers.unwrap_or_default().into_iter();
        numbers.filter_map(move |chunk| self.chunk_row(id, chunk))
    }

    /// The chunks of all arrays of a job of which elements are in memory, in order.
    pub(crate) fn chunks_of_job(&self, job: JobId) -> impl Iterator<Item = ChunkRow> {
        self.arrays_of(job).flat_map(|head| self.chunks_of(head.id))
    }

    /// Rows of elements of an array, in order.
    pub(crate) fn elements_of(&self, array: TaskId) -> impl Iterator<Item = &TaskRow> {
        self.covered(array).filter(|row| row.id.step.is_some())
    }

    /// The row of a task as it is stored by itself; none when it is part of a chunk.
    pub(super) fn is_stored_alone(&self, row: &TaskRow) -> bool {
        self.element(row.id).is_none()
    }
}

/// How arrays change.
impl Cluster {
    /// A task's row changed, or that of an element, which is stored in its chunk.
    pub(super) fn mark_task(&mut self, id: TaskId) {
        self.changes.mark(match self.element(id) {
            Some((array, index)) => RowKey::Chunk(array, index / CHUNK),
            None => RowKey::Task(id),
        });
    }

    /// Gives an untouched element a row; nothing to do for any other task.
    pub(super) fn materialise(&mut self, id: TaskId) {
        let Some((array, index)) = self.element(id) else { return };
        let (Some(of), Some(head), Some(job)) = (
            self.arrays.get_mut(&array),
            self.tasks.get_mut(&array),
            self.jobs.get(&id.job),
        ) else {
            return;
        };
        if !of.rest.holds(index) {
            return;
        }
        let before = of.rest.next();
        of.rest.touch(index);
        let next = of.rest.next();
        if let Some(state) = &mut head.array {
            state.next = next;
        }
        let row = id.step.map(|step| untouched(head, step));
        self.tasks.extend(row.map(|row| (id, row)));
        self.queue.touch(job.row.spec.priority, array, index);
        self.changes.mark(RowKey::Task(array));
        self.mark_task(id);
        for chunk in before / CHUNK..next.div_ceil(CHUNK) {
            self.drop_if_whole(array, chunk);
        }
    }

    /// An element that ended well loses its row. Its chunk leaves memory with the last of its elements.
    pub(super) fn pack(&mut self, id: TaskId) {
        let Some((array, index)) = self.element(id) else { return };
        let (Some(of), Some(row)) = (self.arrays.get_mut(&array), self.tasks.remove(&id)) else {
            return;
        };
        of.packed.insert(Element::of(&row, index));
        self.drop_if_whole(array, index / CHUNK);
    }

    /// An element that ended well gets its row back, because it is to run again after all.
    pub(super) fn unpack(&mut self, id: TaskId) {
        let Some((array, index)) = self.element(id) else { return };
        let (Some(of), Some(head)) = (self.arrays.get_mut(&array), self.tasks.get(&array)) else {
            return;
        };
        let row = of.packed.remove(index).and_then(|element| element.row(head));
        self.tasks.extend(row.map(|row| (id, row)));
    }

    fn drop_if_whole(&mut self, id: TaskId, chunk: u32) {
        let Some(array) = self.arrays.get(&id) else { return };
        let (first, end) = array.span(chunk);
        let whole = end <= array.rest.next() && array.packed.of_chunk(chunk).len() == (end - first) as usize;
        if !whole {
            return;
        }
        if let Some(row) = self.chunk_row(id, chunk) {
            self.changes.depart(Row::Chunk(row));
        }
        if let Some(array) = self.arrays.get_mut(&id) {
            array.packed.forget(chunk);
        }
    }

    /// Counts an element's change in its array.
    pub(super) fn count_in_array(&mut self, id: TaskId, from: &TaskState, to: &TaskState) {
        let Some((array, _)) = self.element(id) else { return };
        let Some(state) = self.tasks.get_mut(&array).and_then(|head| head.array.as_mut()) else {
            return;
        };
        let before = **state;
        *counter(&mut state.counts, from) -= 1;
        *counter(&mut state.counts, to) += 1;
        let (started, ended) = match to {
            TaskState::Running { started_at, .. } => (Some(*started_at), None),
            TaskState::Ended {
                started_at, ended_at, ..
            } => (*started_at, Some(*ended_at)),
            _ => (None, None),
        };
        state.started_at = state.started_at.into_iter().chain(started).min();
        state.ended_at = state.ended_at.max(ended);
        if **state != before {
            self.changes.mark(RowKey::Task(array));
            self.sum_up(array);
        }
    }

    /// The state of an array follows from those of its elements.
    fn sum_up(&mut self, id: TaskId) {
        let Some(state) = self.tasks.get(&id).and_then(|head| head.array.as_deref()) else {
            return;
        };
        let (counts, started_at, ended_at) = (state.counts, state.started_at, state.ended_at);
        let new = match ended_at.filter(|_| counts.queued + counts.running == 0) {
            None => TaskState::Queued,
            Some(ended_at) => TaskState::Ended {
                started_at,
                ended_at,
                outcome: match (counts.failed, counts.canceled) {
                    (0, 0) => TaskOutcome::Finished,
                    (0, _) => TaskOutcome::Canceled,
                    _ => TaskOutcome::Failed {
                        cause: self.first_failure(id).unwrap_or(AttemptOutcome::Unknown),
                    },
                },
            },
        };
        if let Some(head) = self.tasks.get_mut(&id) {
            head.state = new;
        }
    }

    fn first_failure(&self, array: TaskId) -> Option<AttemptOutcome> {
        self.elements_of(array).find_map(|row| match &row.state {
            TaskState::Ended {
                outcome: TaskOutcome::Failed { cause },
                ..
            } => Some(cause.clone()),
            _ => None,
        })
    }

    pub(super) fn array_rest_canceled(&mut self, id: TaskId, at: Timestamp) {
        self.turn_rest(id, Some(at));
    }

    pub(super) fn array_rest_requeued(&mut self, id: TaskId) {
        self.turn_rest(id, None);
    }

    /// All untouched elements at once are canceled, or wait again.
    fn turn_rest(&mut self, id: TaskId, canceled_at: Option<Timestamp>) {
        let left = self.untouched_of(id);
        let (Some(head), Some(job)) = (self.tasks.get_mut(&id), self.jobs.get_mut(&id.job)) else {
            return;
        };
        let Some(state) = head.array.as_mut().filter(|_| left > 0) else {
            return;
        };
        if state.rest_canceled_at.is_some() == canceled_at.is_some() {
            return;
        }
        state.rest_canceled_at = canceled_at;
        state.ended_at = state.ended_at.max(canceled_at);
        for counts in [&mut state.counts, &mut job.row.counts] {
            let (from, to) = match canceled_at {
                Some(_) => (&mut counts.queued, &mut counts.canceled),
                None => (&mut counts.canceled, &mut counts.queued),
            };
            *from -= left;
            *to += left;
        }
        self.changes.mark(RowKey::Task(id));
        self.changes.mark(RowKey::Job(id.job));
        self.sum_up(id);
        self.refresh(id);
        match canceled_at {
            Some(_) => self.stand(id, (Standing::Open, Standing::Bad), left),
            None => self.stand(id, (Standing::Bad, Standing::Open), left),
        }
    }

    /// The rest of an array goes into the queue or out of it.
    pub(super) fn refresh_rest(&mut self, id: TaskId) {
        let (Some(head), Some(job), Some(array)) = (self.tasks.get(&id), self.jobs.get(&id.job), self.arrays.get(&id))
        else {
            return;
        };
        let priority = job.row.spec.priority;
        if self.takes_turn(job, head) {
            self.queue.insert_rest(priority, id, Shape::of(&head.spec), &array.rest);
        } else {
            self.queue.remove(priority, id);
        }
    }

    /// Arrays come into memory with the chunks that have elements to remember. Their own rows are there already.
    pub(super) fn take_arrays(
        &mut self,
        heads: impl IntoIterator<Item = TaskId>,
        chunks: impl IntoIterator<Item = ChunkRow>,
    ) -> Result<(), RestoreError> {
        for id in heads {
            let head = self.tasks.get(&id);
            let array = head.and_then(|head| Some(Array::new(head.spec.sweep?, head.array.as_ref()?.next)));
            self.arrays.extend(array.map(|array| (id, array)));
        }
        for chunk in chunks {
            let id = chunk.array;
            let (Some(head), Some(array)) = (self.tasks.get(&id).cloned(), self.arrays.get_mut(&id)) else {
                return Err(RestoreError::OrphanTask { task: id });
            };
            for element in chunk.elements {
                array.rest.touch(element.index);
                if matches!(element.state, ElementState::Finished { .. }) {
                    array.packed.insert(element);
                } else {
                    self.tasks.extend(element.row(&head).map(|row| (row.id, row)));
                }
            }
            self.drop_if_whole(id, chunk.chunk);
        }
        Ok(())
    }

    /// The arrays of a job leave memory. Their rows, and those of their elements, are taken out by whoever calls this.
    pub(super) fn forget_arrays(&mut self, job: JobId) {
        let of_job = TaskId::first_of(job)..=TaskId::last_of(job);
        let gone: Vec<TaskId> = self.arrays.range(of_job).map(|(id, _)| *id).collect();
        for id in gone {
            self.arrays.remove(&id);
        }
    }
}

/// The array that an element would be of.
pub(super) const fn array_id(id: TaskId) -> TaskId {
    TaskId { step: None, ..id }
}
