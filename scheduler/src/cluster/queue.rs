//! What waits: jobs by priority, then by their numbers, and in each job its tasks by theirs.
//!
//! The tasks of a job stand in groups of equal shape, because those of one group fit or do not fit alike: the placement pass
//! leaves a whole group when one of it does not fit, however many they are. The untouched elements of an array stand in
//! their group as one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, btree_map, btree_set};
use std::iter::Peekable;
use std::sync::Arc;

use proto::ids::{JobId, NodeId, TaskId};
use proto::model::job::Priority;
use proto::model::task::Request;

use super::rest::Rest;
use super::shape::Shape;

/// The waiting tasks of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitingJob {
    /// Where each stands; the rest of an array under the array's own id.
    members: BTreeMap<TaskId, Arc<Shape>>,
    groups: BTreeMap<Arc<Shape>, Group>,
    /// The first task of each group, so that a walk begins only the groups that it comes to.
    firsts: BTreeMap<TaskId, Arc<Shape>>,
    count: u64,
}

/// Equal tasks of one job.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// Tasks with rows of their own.
    singles: BTreeSet<TaskId>,
    /// By array; none that is empty.
    rests: BTreeMap<TaskId, Rest>,
    /// All of both.
    count: u64,
}

impl Group {
    fn count_before(&self, task: TaskId) -> u64 {
        let elements = self
            .rests
            .iter()
            .map(|(array, rest)| u64::from(rest.before(*array, task)));
        self.singles.range(..task).count() as u64 + elements.sum::<u64>()
    }

    fn first(&self) -> Option<TaskId> {
        Cursor::of(self).peek()
    }

    fn put_rest(&mut self, array: TaskId, rest: Rest) {
        self.take_rest(array);
        if rest.left() > 0 {
            self.count += u64::from(rest.left());
            self.rests.insert(array, rest);
        }
    }

    fn take_rest(&mut self, array: TaskId) -> Option<Rest> {
        let rest = self.rests.remove(&array)?;
        self.count -= u64::from(rest.left());
        Some(rest)
    }
}

impl WaitingJob {
    pub(crate) fn contains(&self, task: TaskId) -> bool {
        self.members.contains_key(&task) || self.rest_with(task).is_some()
    }

    /// Walks through them in the order of their numbers; shapes that do not fit are left out from then on.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk {
            job: self,
            fresh: self.firsts.iter().peekable(),
            begun: BTreeMap::new(),
            upcoming: BTreeMap::new(),
            blocked: BTreeSet::new(),
        }
    }

    /// How many there are, elements of arrays counted.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// How many of them stand before a task. Looks at every row that waits, so it is for those who ask, not for the pass.
    pub(crate) fn count_before(&self, task: TaskId) -> u64 {
        self.groups.values().map(|group| group.count_before(task)).sum()
    }

    /// The same, of one shape.
    pub(crate) fn count_of_before(&self, shape: &Shape, task: TaskId) -> u64 {
        self.groups.get(shape).map_or(0, |group| group.count_before(task))
    }

    /// How many of one shape there are, elements of arrays counted.
    pub(crate) fn count_of(&self, shape: &Shape) -> u64 {
        self.groups.get(shape).map_or(0, |group| group.count)
    }

    /// The shapes that there are.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.groups.keys().map(|shape| &**shape)
    }

    /// One task that waits alone.
    pub(crate) fn of(task: TaskId, shape: Shape) -> Self {
        let mut new = Self::default();
        new.insert(task, shape);
        new
    }

    /// The untouched rest that an element belongs to.
    fn rest_with(&self, element: TaskId) -> Option<&Rest> {
        let array = TaskId { step: None, ..element };
        let group = self.groups.get(self.members.get(&array)?)?;
        let rest = group.rests.get(&array)?;
        rest.holds(rest.index(element)?).then_some(rest)
    }

    fn insert(&mut self, task: TaskId, shape: Shape) {
        let shape = self.enter(task, shape);
        self.change(&shape, |group| group.count += u64::from(group.singles.insert(task)));
    }

    fn insert_rest(&mut self, array: TaskId, shape: Shape, rest: Rest) {
        let shape = self.enter(array, shape);
        self.change(&shape, |group| group.put_rest(array, rest));
    }

    /// The shape that the whole group has, in one copy.
    fn enter(&mut self, task: TaskId, shape: Shape) -> Arc<Shape> {
        let known = self.groups.get_key_value(&shape).map(|(known, _)| Arc::clone(known));
        let shape = known.unwrap_or_else(|| Arc::new(shape));
        if self.members.get(&task).is_some_and(|other| *other != shape) {
            self.remove(task);
        }
        self.members.insert(task, Arc::clone(&shape));
        shape
    }

    fn remove(&mut self, task: TaskId) {
        let Some(shape) = self.members.remove(&task) else {
            return;
        };
        self.change(&shape, |group| {
            group.count -= u64::from(group.singles.remove(&task));
            group.take_rest(task);
        });
    }

    /// An element of an array leaves the untouched ones.
    fn touch(&mut self, array: TaskId, index: u32) {
        let Some(shape) = self.members.get(&array).cloned() else {
            return;
        };
        let mut empty = false;
        self.change(&shape, |group| {
            if let Some(mut rest) = group.take_rest(array) {
                rest.touch(index);
                empty = rest.left() == 0;
                group.put_rest(array, rest);
            }
        });
        if empty {
            self.members.remove(&array);
        }
    }

    fn change(&mut self, shape: &Arc<Shape>, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(Arc::clone(shape)).or_default();
        let (first, count) = (group.first(), group.count);
        change(group);
        let (new_first, new_count) = (group.first(), group.count);
        if first != new_first {
            if let Some(first) = first {
                self.firsts.remove(&first);
            }
            self.firsts.extend(new_first.map(|first| (first, Arc::clone(shape))));
        }
        self.count = self.count - count + new_count;
        if new_count == 0 {
            self.groups.remove(shape);
        }
    }
}

/// A walk through the waiting tasks of one job. A step costs the logarithm of what waits, whatever was left out.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    job: &'a WaitingJob,
    /// Groups that it has not come to, by their first tasks.
    fresh: Peekable<btree_map::Iter<'a, TaskId, Arc<Shape>>>,
    /// Groups that it is in, by their next tasks.
    begun: BTreeMap<TaskId, (&'a Shape, Cursor<'a>)>,
    upcoming: BTreeMap<&'a Shape, TaskId>,
    blocked: BTreeSet<&'a Shape>,
}

impl<'a> Walk<'a> {
    /// The next task of a shape that is not blocked.
    pub(crate) fn next(&mut self) -> Option<(TaskId, &'a Shape)> {
        loop {
            let begun = self.begun.first_key_value().map(|(task, _)| *task);
            let fresh = self.fresh.peek().map(|(task, _)| **task);
            let (shape, mut cursor) = match (begun, fresh) {
                (Some(begun), fresh) if fresh.is_none_or(|fresh| begun < fresh) => self.begun.pop_first()?.1,
                _ => {
                    let (_, shape) = self.fresh.next()?;
                    if self.blocked.contains(&**shape) {
                        continue;
                    }
                    (&**shape, Cursor::of(self.job.groups.get(shape)?))
                }
            };
            self.upcoming.remove(shape);
            let task = cursor.next();
            if let Some(next) = cursor.peek() {
                self.upcoming.insert(shape, next);
                self.begun.insert(next, (shape, cursor));
            }
            if let Some(task) = task {
                return Some((task, shape));
            }
        }
    }

    /// No further task of that shape.
    pub(crate) fn block(&mut self, shape: &Shape) {
        if let Some(next) = self.upcoming.remove(shape) {
            self.begun.remove(&next);
        }
        self.blocked
            .extend(self.job.groups.get_key_value(shape).map(|(shape, _)| &**shape));
    }
}

/// A place in one group.
#[derive(Debug)]
struct Cursor<'a> {
    singles: Peekable<btree_set::Iter<'a, TaskId>>,
    rests: Peekable<btree_map::Iter<'a, TaskId, Rest>>,
    /// Of the first rest, the index from which on none was passed.
    from: u32,
}

impl<'a> Cursor<'a> {
    fn of(group: &'a Group) -> Self {
        Self {
            singles: group.singles.iter().peekable(),
            rests: group.rests.iter().peekable(),
            from: 0,
        }
    }

    fn element(&mut self) -> Option<(TaskId, u32)> {
        loop {
            let (array, rest) = self.rests.peek()?;
            if let Some(index) = rest.first_from(self.from) {
                return Some((rest.id(**array, index)?, index));
            }
            self.rests.next();
            self.from = 0;
        }
    }

    fn peek(&mut self) -> Option<TaskId> {
        let element = self.element().map(|(task, _)| task);
        let single = self.singles.peek().map(|task| **task);
        element.into_iter().chain(single).min()
    }

    fn next(&mut self) -> Option<TaskId> {
        let next = self.peek()?;
        match self.element() {
            Some((task, index)) if task == next => self.from = index + 1,
            _ => drop(self.singles.next()),
        }
        Some(next)
    }
}

/// Everything that waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    jobs: BTreeMap<(Reverse<Priority>, JobId), WaitingJob>,
    /// Tasks that wait for one node to answer and for nothing else. They stand in no order, and nobody is behind them.
    beside: BTreeMap<TaskId, NodeId>,
    beside_on: BTreeMap<NodeId, BTreeSet<TaskId>>,
}

impl Queue {
    pub(crate) fn insert(&mut self, priority: Priority, task: TaskId, shape: Shape) {
        if let Request::Beside { node } = shape.request {
            self.beside.insert(task, node);
            self.beside_on.entry(node).or_default().insert(task);
            return;
        }
        let job = self.jobs.entry((Reverse(priority), task.job)).or_default();
        job.insert(task, shape);
    }

    /// The untouched elements of an array wait, if there are any.
    pub(crate) fn insert_rest(&mut self, priority: Priority, array: TaskId, shape: Shape, rest: &Rest) {
        if rest.left() > 0 {
            let job = self.jobs.entry((Reverse(priority), array.job)).or_default();
            job.insert_rest(array, shape, rest.clone());
        }
    }

    /// An element of an array is no longer untouched. Nothing to do when the array does not wait.
    pub(crate) fn touch(&mut self, priority: Priority, array: TaskId, index: u32) {
        let key = (Reverse(priority), array.job);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.touch(array, index);
        if job.count == 0 {
            self.jobs.remove(&key);
        }
    }

    pub(crate) fn remove(&mut self, priority: Priority, task: TaskId) {
        if let Some(node) = self.beside.remove(&task) {
            if let Some(tasks) = self.beside_on.get_mut(&node) {
                tasks.remove(&task);
                if tasks.is_empty() {
                    self.beside_on.remove(&node);
                }
            }
            return;
        }
        let key = (Reverse(priority), task.job);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.remove(task);
        if job.count == 0 {
            self.jobs.remove(&key);
        }
    }

    /// Whether a task is in the queue, and not held back by something else.
    pub(crate) fn contains(&self, priority: Priority, task: TaskId) -> bool {
        let job = self.jobs.get(&(Reverse(priority), task.job));
        self.beside.contains_key(&task) || job.is_some_and(|job| job.contains(task))
    }

    /// Nodes that tasks wait for beside the order, with those tasks.
    pub(crate) fn beside(&self) -> impl Iterator<Item = (NodeId, &BTreeSet<TaskId>)> {
        self.beside_on.iter().map(|(node, tasks)| (*node, tasks))
    }

    /// The tasks of a job wait with another priority now.
    pub(crate) fn change_priority(&mut self, job: JobId, from: Priority, to: Priority) {
        if let Some(waiting) = self.jobs.remove(&(Reverse(from), job)) {
            self.jobs.insert((Reverse(to), job), waiting);
        }
    }

    /// In the order in which they are served.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &WaitingJob)> {
        self.jobs.iter().map(|((_, id), job)| (*id, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::TaskNumber;
    use proto::model::sweep::Sweep;
    use proto::model::task::TaskSpec;

    const JOB: JobId = JobId(1);

    fn shape(cores: u32) -> Shape {
        let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
        task.request = Request::Cores { count: cores };
        Shape::of(&task)
    }

    fn task(number: u32) -> TaskId {
        TaskId::new(JOB, TaskNumber(number))
    }

    fn rest(count: u32) -> Rest {
        Rest::new(Sweep::new(1, count, 1).expect("a sweep"), 0)
    }

    fn walked(waiting: &WaitingJob) -> Vec<String> {
        let mut walk = waiting.walk();
        std::iter::from_fn(|| walk.next().map(|(task, _)| task.to_string())).collect()
    }

    #[test]
    fn tasks_and_elements_come_in_the_order_of_their_numbers() {
        let mut waiting = WaitingJob::default();
        waiting.insert_rest(task(2), shape(1), rest(3));
        for number in [4, 1] {
            waiting.insert(task(number), shape(1));
        }
        waiting.insert(task(3), shape(2));
        assert_eq!(walked(&waiting), ["1.1", "1.2.1", "1.2.2", "1.2.3", "1.3", "1.4"]);
        waiting.touch(task(2), 0);
        waiting.touch(task(2), 2);
        let again = rest(3).id(task(2), 0).expect("an element");
        waiting.insert(again, shape(1));
        assert_eq!(walked(&waiting), ["1.1", "1.2.1", "1.2.2", "1.3", "1.4"]);
        assert_eq!((waiting.count(), waiting.count_before(task(3))), (5, 3));
        waiting.touch(task(2), 1);
        waiting.remove(again);
        assert_eq!(walked(&waiting), ["1.1", "1.3", "1.4"]);
        assert!(!waiting.contains(task(2)) && waiting.contains(task(3)));
    }

    #[test]
    fn a_blocked_group_is_left_as_a_whole() {
        let mut waiting = WaitingJob::default();
        for number in 1..=3 {
            waiting.insert_rest(task(number), shape(1), rest(proto::model::sweep::MAX_STEPS));
        }
        waiting.insert(task(4), shape(2));
        let mut walk = waiting.walk();
        let (first, at) = walk.next().expect("one waits");
        assert_eq!(first.to_string(), "1.1.1");
        walk.block(at);
        assert_eq!(walk.next().map(|(task, _)| task), Some(task(4)));
        assert_eq!(walk.next(), None);
        // One that it has not come to yet.
        let mut walk = waiting.walk();
        walk.block(&shape(1));
        assert_eq!(walk.next().map(|(task, _)| task), Some(task(4)));
        assert_eq!(waiting.count(), 30_000_001);
    }

    #[test]
    fn a_queue_that_is_emptied_is_as_one_that_never_was_full() {
        let priority = Priority::default();
        let mut queue = Queue::default();
        queue.insert_rest(priority, task(1), shape(1), &rest(2));
        queue.insert(priority, task(2), shape(3));
        queue.insert(priority, task(2), shape(4));
        for index in 0..2 {
            queue.touch(priority, task(1), index);
        }
        queue.remove(priority, task(2));
        assert_eq!(queue, Queue::default());
    }
}
