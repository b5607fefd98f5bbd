//! Tasks in order, with the elements of arrays between them: rows from memory, from stored chunks, and of those that nobody
//! touched as they would be. No list makes more rows than somebody takes.

use proto::ids::{JobId, Step, TaskId};
use proto::model::array::{CHUNK, ChunkRow, Element, ElementState, untouched};
use proto::model::sweep::Sweep;
use proto::model::task::TaskRow;
use proto::stored::{Row, RowKey};
use scheduler::{Cluster, ElementPlace};

use crate::store::{Store, StoreError};

/// Which elements of arrays somebody wants. Touched ones that did not end well are few and always given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those that ended well.
    pub(super) finished: bool,
    /// Those that nobody touched.
    pub(super) untouched: bool,
}

/// A job whose tasks are walked through.
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) wanted: Wanted,
    pub(super) take: &'a mut dyn FnMut(&TaskRow) -> bool,
}

impl Walk<'_> {
    /// Of a job in memory, behind `after`. Whether all were taken, the one who takes knows.
    pub(super) fn live(&mut self, cluster: &Cluster, job: JobId, after: Option<TaskId>) -> Result<(), StoreError> {
        let mut from = after;
        if let Some((head, next)) = after.and_then(|after| inside(cluster, after)) {
            if !self.live_elements(cluster, head, next)? {
                return Ok(());
            }
            from = after.map(behind);
        }
        let first = from.unwrap_or_else(|| TaskId::first_of(job));
        // The manager has the first id that there is, which "behind" would leave out.
        let manager = cluster.task(first).filter(|_| from.is_none());
        for row in manager.into_iter().chain(cluster.tasks_after(job, first)) {
            let is_element = row.id.step.is_some() && array_of(cluster, row.id).is_some();
            let goes_on = match &row.array {
                _ if is_element => true,
                Some(_) => self.live_elements(cluster, row, 0)?,
                None => (self.take)(row),
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn live_elements(&mut self, cluster: &Cluster, head: &TaskRow, from: u32) -> Result<bool, StoreError> {
        let Some(sweep) = head.spec.sweep else { return Ok(true) };
        if self.wanted
            == (Wanted {
                finished: false,
                untouched: false,
            })
        {
            return Ok(self.exceptions(cluster, head, sweep, from));
        }
        let mut stored: Option<ChunkRow> = None;
        let mut index = from;
        while let Some(step) = sweep.step(index) {
            let id = TaskId {
                step: Some(step),
                ..head.id
            };
            let goes_on = match cluster.element_place(id) {
                ElementPlace::Row => cluster.task(id).is_none_or(|row| (self.take)(row)),
                ElementPlace::Untouched if self.wanted.untouched => (self.take)(&untouched(head, step)),
                ElementPlace::Packed(element) if self.wanted.finished => self.give(element, head),
                ElementPlace::Stored if self.wanted.finished => {
                    let chunk = index / CHUNK;
                    if stored.as_ref().is_none_or(|row| row.chunk != chunk) {
                        stored = chunk_row(self.store, head.id, chunk)?;
                    }
                    let element = stored.as_ref().and_then(|row| find(row, index));
                    element.is_none_or(|element| self.give(element, head))
                }
                _ => true,
            };
            if !goes_on {
                return Ok(false);
            }
            index += 1;
        }
        Ok(true)
    }

    /// Only elements with rows of their own.
    fn exceptions(&mut self, cluster: &Cluster, head: &TaskRow, sweep: Sweep, from: u32) -> bool {
        let before = match from.checked_sub(1).and_then(|index| sweep.step(index)) {
            Some(step) => TaskId {
                step: Some(step),
                ..head.id
            },
            None => head.id,
        };
        let rows = cluster.tasks_after(head.id.job, before);
        rows.take_while(|row| row.id.number == head.id.number)
            .all(|row| (self.take)(row))
    }

    fn give(&mut self, element: &Element, head: &TaskRow) -> bool {
        element.row(head).is_none_or(|row| (self.take)(&row))
    }

    /// Of a job that is over, behind `after`.
    pub(super) fn stored(&mut self, job: JobId, after: Option<TaskId>) -> Result<(), StoreError> {
        let mut from = after;
        if let Some(after) = after.filter(|after| after.step.is_some())
            && let Some(Row::Task(head)) = self.store.row(&RowKey::Task(TaskId::new(job, after.number)))?
            && let (Some(_), Some(sweep), Some(step)) = (&head.array, head.spec.sweep, after.step)
        {
            let next = sweep.index(step).map_or(0, |index| index + 1);
            if !self.stored_elements(&head, next)? {
                return Ok(());
            }
            from = Some(behind(after));
        }
        let mut failed = None;
        let store = self.store;
        store.tasks_up(job, from, &mut |row| {
            if row.array.is_none() {
                return (self.take)(&row);
            }
            self.stored_elements(&row, 0).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn stored_elements(&mut self, head: &TaskRow, from: u32) -> Result<bool, StoreError> {
        let Some(sweep) = head.spec.sweep else { return Ok(true) };
        let mut next = from;
        let mut goes_on = true;
        let store = self.store;
        store.chunks_up(head.id.job, Some((head.id, from / CHUNK)), &mut |chunk| {
            if chunk.array != head.id {
                return false;
            }
            for element in chunk.elements.iter().filter(|element| element.index >= from) {
                goes_on = goes_on && self.rest(head, sweep, next..element.index);
                next = element.index + 1;
                let is_wanted = self.wanted.finished || !matches!(element.state, ElementState::Finished { .. });
                goes_on = goes_on && (!is_wanted || self.give(element, head));
            }
            goes_on
        })?;
        Ok(goes_on && self.rest(head, sweep, next..sweep.count()))
    }

    /// Elements that nobody touched.
    fn rest(&mut self, head: &TaskRow, sweep: Sweep, indexes: std::ops::Range<u32>) -> bool {
        let mut steps = indexes.filter_map(|index| sweep.step(index));
        !self.wanted.untouched || steps.all(|step| (self.take)(&untouched(head, step)))
    }
}

/// The array that a task is an element of.
fn array_of(cluster: &Cluster, id: TaskId) -> Option<&TaskRow> {
    let head = cluster.task(TaskId::new(id.job, id.number))?;
    head.array.is_some().then_some(head)
}

/// The array that a list goes on in, and the index from which.
fn inside(cluster: &Cluster, after: TaskId) -> Option<(&TaskRow, u32)> {
    let step = after.step?;
    let head = array_of(cluster, after)?;
    Some((head, head.spec.sweep?.index(step)? + 1))
}

/// Behind all elements of a task's number.
const fn behind(task: TaskId) -> TaskId {
    TaskId {
        step: Some(Step(u32::MAX)),
        ..task
    }
}

fn chunk_row(store: &dyn Store, array: TaskId, chunk: u32) -> Result<Option<ChunkRow>, StoreError> {
    Ok(match store.row(&RowKey::Chunk(array, chunk))? {
        Some(Row::Chunk(row)) => Some(row),
        _ => None,
    })
}

fn find(chunk: &ChunkRow, index: u32) -> Option<&Element> {
    let at = chunk.elements.binary_search_by_key(&index, |element| element.index);
    at.ok().and_then(|at| chunk.elements.get(at))
}

/// An element that is on disk only, by its array's row.
pub(super) fn stored_element(store: &dyn Store, head: &TaskRow, step: Step) -> Result<Option<TaskRow>, StoreError> {
    let Some(index) = head.spec.sweep.and_then(|sweep| sweep.index(step)) else {
        return Ok(None);
    };
    let chunk = chunk_row(store, head.id, index / CHUNK)?;
    let element = chunk.as_ref().and_then(|chunk| find(chunk, index));
    Ok(match element {
        Some(element) => element.row(head),
        None => Some(untouched(head, step)),
    })
}
