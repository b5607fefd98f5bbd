//! The rest of an array: those of its elements that nobody touched. They have no rows; all that is known of them is where
//! they begin, and which of those behind were touched out of turn.

use std::collections::BTreeSet;

use proto::ids::TaskId;
use proto::model::sweep::Sweep;

/// The untouched elements of one array, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    sweep: Sweep,
    /// The first of them; those before were touched, all of them.
    next: u32,
    /// Behind `next` and touched all the same: canceled alone, or run again after that.
    ahead: BTreeSet<u32>,
}

impl Rest {
    pub(crate) const fn new(sweep: Sweep, next: u32) -> Self {
        Self {
            sweep,
            next,
            ahead: BTreeSet::new(),
        }
    }

    /// The first untouched element; the count of all when none is left.
    pub(crate) const fn next(&self) -> u32 {
        self.next
    }

    /// How many are untouched.
    pub(crate) fn left(&self) -> u32 {
        let ahead = u32::try_from(self.ahead.len()).unwrap_or(u32::MAX);
        self.sweep.count().saturating_sub(self.next).saturating_sub(ahead)
    }

    /// Whether an element is untouched.
    pub(crate) fn holds(&self, index: u32) -> bool {
        index >= self.next && index < self.sweep.count() && !self.ahead.contains(&index)
    }

    /// Somebody touches an element. Costs little: each element is passed once.
    pub(crate) fn touch(&mut self, index: u32) {
        if index > self.next {
            self.ahead.insert(index);
        }
        if index == self.next {
            self.next += 1;
            while self.ahead.remove(&self.next) {
                self.next += 1;
            }
        }
    }

    /// The first untouched element that is not before `from`.
    pub(crate) fn first_from(&self, from: u32) -> Option<u32> {
        let mut index = from.max(self.next);
        while self.ahead.contains(&index) {
            index += 1;
        }
        (index < self.sweep.count()).then_some(index)
    }

    /// How many untouched elements of the array come before a task, which may be another array's or none's.
    pub(crate) fn before(&self, array: TaskId, task: TaskId) -> u32 {
        if !array.covers(task) {
            return if array < task { self.left() } else { 0 };
        }
        let Some(index) = task.step.and_then(|step| self.sweep.index(step)) else {
            return 0;
        };
        let passed = self.ahead.range(..index).count();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        index.saturating_sub(self.next).saturating_sub(passed)
    }

    /// Where an element is.
    pub(crate) fn index(&self, element: TaskId) -> Option<u32> {
        self.sweep.index(element.step?)
    }

    /// The element's name.
    pub(crate) fn id(&self, array: TaskId, index: u32) -> Option<TaskId> {
        let step = Some(self.sweep.step(index)?);
        Some(TaskId { step, ..array })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::{JobId, Step, TaskNumber};

    #[test]
    fn what_is_touched_out_of_turn_is_passed() {
        let mut rest = Rest::new(Sweep::new(0, 9, 1).expect("a sweep"), 0);
        rest.touch(2);
        rest.touch(1);
        assert_eq!((rest.next(), rest.left()), (0, 8));
        assert!(rest.holds(0) && !rest.holds(1) && !rest.holds(10));
        assert_eq!(
            (rest.first_from(1), rest.first_from(9), rest.first_from(10)),
            (Some(3), Some(9), None)
        );
        rest.touch(0);
        assert_eq!((rest.next(), rest.left(), rest.ahead.len()), (3, 7, 0));
        rest.touch(1);
        assert_eq!(rest.left(), 7, "an element is touched once");
    }

    #[test]
    fn those_before_a_task_are_counted() {
        let array = TaskId::new(JobId(1), TaskNumber(2));
        let mut rest = Rest::new(Sweep::new(10, 28, 2).expect("a sweep"), 1);
        rest.touch(3);
        let at = |number, step| TaskId {
            step: Some(Step(step)),
            ..TaskId::new(JobId(1), TaskNumber(number))
        };
        assert_eq!(rest.before(array, at(2, 12)), 0);
        assert_eq!(rest.before(array, at(2, 18)), 2);
        assert_eq!((rest.before(array, at(1, 0)), rest.before(array, at(3, 0))), (0, 8));
    }
}
