//! Which tasks of a job wait for which numbers (Azure Batch's `taskIdRanges`), and how the tasks of those numbers stand.
//!
//! Tasks that wait for the same range share one entry, which counts the numbers of the range that are not over and those
//! that did not end well. So it costs nothing more when 100,000 tasks wait for 1-1000. A number that no task has yet counts
//! as not over.
//!
//! When a number changes, the ranges around it are found by their size: ranges of 2^k to 2^(k+1) numbers that hold it begin
//! less than 2^(k+1) before it. All numbers changing once so look at no more than twice the members of all ranges, and
//! those are bounded when tasks come ([`MAX_MEMBERS`]).

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{TaskId, TaskNumber};
use proto::model::task::TaskRange;

use super::dependency::{Standing, Tally};

/// The most numbers that the ranges of one job hold together, a range that several tasks wait for counted once.
pub(crate) const MAX_MEMBERS: u64 = 1_000_000;

/// The size class of the largest range that may be, [`MAX_MEMBERS`] numbers.
const LAST_CLASS: u32 = MAX_MEMBERS.ilog2();

/// How many numbers a range holds, at least 1.
pub(crate) const fn members_of(range: TaskRange) -> u64 {
    (range.last.0.saturating_sub(range.first.0)) as u64 + 1
}

/// Tasks that wait for the same range.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waiting {
    /// Numbers that are not over, or that no task has.
    open: u32,
    /// Numbers that did not end well.
    bad: u32,
    dependents: BTreeSet<TaskId>,
}

/// The ranges of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    tallies: BTreeMap<TaskNumber, Tally>,
    /// By size class, then by their ends.
    ranges: BTreeMap<(u32, TaskRange), Waiting>,
}

impl Numbers {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn depend(&mut self, task: TaskId, range: TaskRange) {
        let tallies = &self.tallies;
        let waiting = self.ranges.entry(key(range)).or_insert_with(|| {
            let members = tallies.range(range.first..=range.last);
            let (mut over, mut bad) = (0, 0);
            for (_, tally) in members {
                over += u64::from(tally.open == 0);
                bad += u32::from(tally.bad > 0);
            }
            let open = u32::try_from(members_of(range) - over).unwrap_or(u32::MAX);
            Waiting {
                open,
                bad,
                dependents: BTreeSet::new(),
            }
        });
        waiting.dependents.insert(task);
    }

    /// So many tasks of the number are there, or stand otherwise now. Adds those who may wait otherwise for it to `moved`.
    pub(super) fn change(
        &mut self,
        number: TaskNumber,
        (from, to): (Option<Standing>, Standing),
        count: u32,
        moved: &mut BTreeSet<TaskId>,
    ) {
        let before = self.status(number);
        let tally = self.tallies.entry(number).or_default();
        if let Some(from) = from {
            tally.take(from, count);
        }
        tally.add(to, count);
        let after = self.status(number);
        if before == after {
            return;
        }
        let shift = |counter: &mut u32, was: bool, is: bool| {
            *counter = counter.saturating_sub(u32::from(was)) + u32::from(is);
        };
        let keys: Vec<(u32, TaskRange)> = self.around(number).map(|(key, _)| key).collect();
        for key in keys {
            let Some(waiting) = self.ranges.get_mut(&key) else {
                continue;
            };
            let was = (waiting.open > 0, waiting.bad > 0);
            shift(&mut waiting.open, before.0, after.0);
            shift(&mut waiting.bad, before.1, after.1);
            if was != (waiting.open > 0, waiting.bad > 0) {
                moved.extend(waiting.dependents.iter().copied());
            }
        }
    }

    /// Whether a number is not over, and whether something of it did not end well.
    fn status(&self, number: TaskNumber) -> (bool, bool) {
        self.tallies
            .get(&number)
            .map_or((true, false), |tally| (tally.open > 0, tally.bad > 0))
    }

    /// The ranges that hold a number.
    fn around(&self, number: TaskNumber) -> impl Iterator<Item = ((u32, TaskRange), &Waiting)> {
        let classes = if self.is_empty() { 0..0 } else { 0..LAST_CLASS + 1 };
        let near = classes.flat_map(move |class| {
            let reach = (1u32 << (class + 1)) - 1;
            let least = TaskRange {
                first: TaskNumber(number.0.saturating_sub(reach)),
                last: TaskNumber(0),
            };
            let most = TaskRange {
                first: number,
                last: TaskNumber(u32::MAX),
            };
            self.ranges.range((class, least)..=(class, most))
        });
        near.filter(move |((_, range), _)| range.last >= number)
            .map(|(key, waiting)| (*key, waiting))
    }

    /// The ranges that hold a number, with everyone who waits for them.
    pub(super) fn dependents(&self, number: TaskNumber) -> impl Iterator<Item = (TaskRange, &BTreeSet<TaskId>)> {
        self.around(number)
            .map(|((_, range), waiting)| (range, &waiting.dependents))
    }

    pub(super) fn is_met(&self, range: TaskRange, whatever: bool) -> bool {
        let waiting = self.ranges.get(&key(range));
        waiting.is_none_or(|waiting| waiting.open == 0 && (whatever || waiting.bad == 0))
    }

    pub(super) fn is_broken(&self, range: TaskRange) -> bool {
        self.ranges.get(&key(range)).is_some_and(|waiting| waiting.bad > 0)
    }

    /// The first number of these ranges that is not over or not there, and how many there are; none when all are over.
    /// Walks through them, so for people only.
    pub(super) fn awaited(&self, ranges: &[TaskRange]) -> Option<(TaskNumber, u32)> {
        let mut first = None;
        let mut count = 0;
        for range in apart(ranges) {
            let over = self.tallies.range(range.first..=range.last);
            let over: BTreeSet<u32> = over.filter(|(_, tally)| tally.open == 0).map(|(n, _)| n.0).collect();
            let open = members_of(range) - over.len() as u64;
            count += open;
            if first.is_none() && open > 0 {
                first = (range.first.0..=range.last.0).find(|number| !over.contains(number));
            }
        }
        first.map(|first| (TaskNumber(first), u32::try_from(count).unwrap_or(u32::MAX)))
    }
}

const fn key(range: TaskRange) -> (u32, TaskRange) {
    (members_of(range).ilog2(), range)
}

/// The same numbers in ranges that have none in common.
fn apart(ranges: &[TaskRange]) -> Vec<TaskRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut apart: Vec<TaskRange> = Vec::new();
    for range in sorted {
        match apart.last_mut() {
            Some(before) if range.first <= before.last => before.last = before.last.max(range.last),
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use proto::ids::JobId;

    use super::*;

    const fn range(first: u32, last: u32) -> TaskRange {
        TaskRange {
            first: TaskNumber(first),
            last: TaskNumber(last),
        }
    }

    const fn task(number: u32) -> TaskId {
        TaskId::new(JobId(1), TaskNumber(number))
    }

    fn change(numbers: &mut Numbers, number: u32, from: Option<Standing>, to: Standing) -> Vec<TaskId> {
        let mut moved = BTreeSet::new();
        numbers.change(TaskNumber(number), (from, to), 1, &mut moved);
        moved.into_iter().collect()
    }

    #[test]
    fn a_range_is_met_when_all_its_numbers_are_over() {
        let mut numbers = Numbers::default();
        change(&mut numbers, 1, None, Standing::Good);
        numbers.depend(task(9), range(1, 3));
        assert_eq!(numbers.awaited(&[range(1, 3)]), Some((TaskNumber(2), 2)));
        assert_eq!(change(&mut numbers, 3, None, Standing::Open), []);
        assert_eq!(change(&mut numbers, 2, None, Standing::Good), []);
        assert!(!numbers.is_met(range(1, 3), false));
        let moved = change(&mut numbers, 3, Some(Standing::Open), Standing::Good);
        assert_eq!(moved, [task(9)]);
        assert!(numbers.is_met(range(1, 3), false));
        assert_eq!(numbers.awaited(&[range(1, 3)]), None);
        // What is over may be opened again.
        assert_eq!(change(&mut numbers, 2, Some(Standing::Good), Standing::Open), [task(9)]);
        assert!(!numbers.is_met(range(1, 3), true));
        change(&mut numbers, 2, Some(Standing::Open), Standing::Bad);
        assert!(numbers.is_met(range(1, 3), true) && !numbers.is_met(range(1, 3), false));
        assert!(numbers.is_broken(range(1, 3)));
    }

    #[test]
    fn every_range_around_a_number_is_found() {
        let mut numbers = Numbers::default();
        let mut all = Vec::new();
        for first in 1..40 {
            for last in first..40 {
                numbers.depend(task(first), range(first, last));
                all.push(range(first, last));
            }
        }
        for number in 0..45 {
            let found: BTreeSet<TaskRange> = numbers.dependents(TaskNumber(number)).map(|(range, _)| range).collect();
            let holds = |range: &&TaskRange| (range.first.0..=range.last.0).contains(&number);
            assert_eq!(found, all.iter().filter(holds).copied().collect());
        }
    }

    #[test]
    fn numbers_are_counted_once_however_ranges_overlap() {
        let numbers = Numbers::default();
        let ranges = [range(5, 9), range(1, 3), range(2, 6), range(20, 20)];
        assert_eq!(numbers.awaited(&ranges), Some((TaskNumber(1), 10)));
        assert_eq!(apart(&ranges), [range(1, 9), range(20, 20)]);
    }

    #[test]
    fn many_tasks_that_wait_for_the_same_cost_little() {
        let mut numbers = Numbers::default();
        for number in 1..=100_000 {
            change(&mut numbers, number, None, Standing::Open);
            if number > 1000 {
                numbers.depend(task(number), range(1, 1000));
            }
        }
        let mut told = 0;
        for number in 1..=1000 {
            told += change(&mut numbers, number, Some(Standing::Open), Standing::Good).len();
        }
        assert_eq!(told, 99_000, "each is told once, by the last number");
    }
}
