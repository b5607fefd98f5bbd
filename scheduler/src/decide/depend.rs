//! Whether tasks can ever start that depend on others: the names must be there, numbers must not be too many, and none may
//! wait for itself in a ring. A number that no task has yet is no fault: a job may get more tasks.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::Refusal;
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::task::{TaskKind, TaskRange, TaskRow, TaskSpec};

use crate::cluster::{Cluster, MAX_MEMBERS, depends, members_of};
use crate::refusal::{invalid, not_found, unknown};

/// The most names of a ring that a refusal lists.
const NAMES_SHOWN: usize = 8;

/// A task with its number in the job.
pub(super) type Numbered<'a> = (TaskNumber, &'a TaskSpec);

/// Tasks that get numbers one after the other.
pub(super) fn numbered(first: TaskNumber, tasks: &[TaskSpec]) -> impl Iterator<Item = Numbered<'_>> + Clone {
    (first.0..).map(TaskNumber).zip(tasks)
}

/// Whether one task depends on another of its job, by its name or by its number.
pub(super) fn awaits(spec: &TaskSpec, other: TaskId, of: &TaskSpec) -> bool {
    let mut ranges = spec.depends_on_ranges.iter();
    spec.depends_on.contains(&of.name) || ranges.any(|range| holds(*range, other.number))
}

fn holds(range: TaskRange, number: TaskNumber) -> bool {
    (range.first..=range.last).contains(&number)
}

/// Whether every name that one of the `new` tasks depends on is a task's, the ranges are not too large, and no task waits
/// for itself by way of others, or for a service, which has no end. `tasks` are all tasks of the job, the new ones among
/// them.
pub(super) fn check_dependencies<'a>(
    new: impl Iterator<Item = Numbered<'a>> + Clone,
    tasks: impl Iterator<Item = Numbered<'a>> + Clone,
) -> Result<(), Refusal> {
    if !new.clone().any(|(_, task)| depends(task)) {
        return Ok(());
    }
    let names: BTreeSet<&str> = tasks.clone().map(|(_, task)| task.name.as_str()).collect();
    let mut wanted = new.clone().flat_map(|(_, task)| &task.depends_on).map(String::as_str);
    if let Some(missing) = wanted.find(|name| !names.contains(name)) {
        let remedy = "name a task of the same job: /name:NAME";
        let mut named = names.into_iter().filter(|name| !name.is_empty()).peekable();
        return Err(match named.peek() {
            Some(_) => unknown("task named", missing, named, remedy),
            None => not_found(
                format!("there is no task named '{missing}'; no task of the job has a name"),
                remedy,
            ),
        });
    }
    check_ranges(new, tasks.clone())?;
    refuse_services(tasks.clone())?;
    match ring(tasks) {
        Some(ring) => Err(invalid(
            format!("the tasks {} wait for each other in a ring", shown(&ring)),
            "let one of them wait for none of the others",
        )),
        None => Ok(()),
    }
}

/// Whether the numbers that the tasks of a job wait for are not too many, and no new task waits for its own.
pub(super) fn check_ranges<'a>(
    mut new: impl Iterator<Item = Numbered<'a>>,
    tasks: impl Iterator<Item = Numbered<'a>>,
) -> Result<(), Refusal> {
    if let Some((number, _)) =
        new.find(|(number, task)| task.depends_on_ranges.iter().any(|range| holds(*range, *number)))
    {
        return Err(invalid(
            format!("task {number} is to wait for itself"),
            "give ranges of numbers without its own",
        ));
    }
    let ranges: BTreeSet<TaskRange> = tasks.flat_map(|(_, task)| &task.depends_on_ranges).copied().collect();
    let members = ranges
        .into_iter()
        .fold(0u64, |sum, range| sum.saturating_add(members_of(range)));
    if members > MAX_MEMBERS {
        return Err(invalid(
            format!("tasks of the job wait for ranges of {members} numbers together, and {MAX_MEMBERS} are the most"),
            "give the awaited tasks one name and wait for that, or wait for the same range in each task",
        ));
    }
    Ok(())
}

/// A service has no end that anything could wait for.
fn refuse_services<'a>(tasks: impl Iterator<Item = Numbered<'a>> + Clone) -> Result<(), Refusal> {
    let services = tasks.clone().filter(|(_, task)| task.kind == TaskKind::Service);
    let (names, numbers): (BTreeMap<&str, TaskNumber>, BTreeSet<TaskNumber>) = services
        .map(|(number, task)| ((task.name.as_str(), number), number))
        .unzip();
    if numbers.is_empty() {
        return Ok(());
    }
    for (other, task) in tasks {
        let named = task.depends_on.iter().find_map(|name| names.get(name.as_str()));
        let mut ranges = task.depends_on_ranges.iter();
        let in_range = ranges.find_map(|range| numbers.range(range.first..=range.last).next());
        if let Some(service) = named.or(in_range) {
            return Err(invalid(
                format!("task {other} is to wait for task {service}, which is a service and has no end"),
                "wait for other tasks",
            ));
        }
    }
    Ok(())
}

/// Tasks of a job that ended so that what depends on them can never run, by their names and numbers.
pub(super) struct Bad<'a> {
    names: BTreeMap<&'a str, &'a TaskRow>,
    numbers: BTreeMap<TaskNumber, &'a TaskRow>,
}

impl<'a> Bad<'a> {
    /// Of tasks that did not end well.
    pub(super) fn of(tasks: impl Iterator<Item = &'a TaskRow>) -> Self {
        let (mut names, mut numbers) = (BTreeMap::new(), BTreeMap::new());
        for row in tasks {
            names.entry(row.spec.name.as_str()).or_insert(row);
            numbers.entry(row.id.number).or_insert(row);
        }
        Self { names, numbers }
    }

    /// The first that a task depends on.
    pub(super) fn awaited_by(&self, spec: &TaskSpec) -> Option<&'a TaskRow> {
        let by_name = spec.depends_on.iter().find_map(|name| self.names.get(name.as_str()));
        let by_number = || {
            let mut ranges = spec.depends_on_ranges.iter();
            ranges.find_map(|range| self.numbers.range(range.first..=range.last).next().map(|(_, row)| row))
        };
        by_name.or_else(by_number).copied()
    }
}

/// A walk to the tasks that depend on others. Each name and each range of numbers is looked at once, however many tasks it
/// has.
#[derive(Default)]
pub(super) struct Dependents<'a> {
    names: BTreeSet<(JobId, &'a str)>,
    ranges: BTreeSet<(JobId, TaskRange)>,
}

impl<'a> Dependents<'a> {
    /// Those who depend on the task, unless they were given before.
    pub(super) fn of(&mut self, cluster: &'a Cluster, task: TaskId) -> Vec<TaskId> {
        let (Some(spec), Some(dependencies)) = (cluster.spec_of(task), cluster.dependencies(task.job)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        if self.names.insert((task.job, &spec.name)) {
            found.extend(dependencies.dependents(&spec.name));
        }
        for (range, tasks) in dependencies.ranges_around(task.number) {
            if self.ranges.insert((task.job, range)) {
                found.extend(tasks.iter().copied());
            }
        }
        found
    }
}

/// What waits, in a ring or not: a task for names and ranges, a name for its tasks, a range for those that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Knot<'a> {
    Name(&'a str),
    Range(TaskRange),
    Task(TaskNumber),
}

/// Everything that waits for something, with what it waits for. Sorted by name, so that rings are told by their names.
fn knots<'a>(tasks: impl Iterator<Item = Numbered<'a>>) -> BTreeMap<Knot<'a>, BTreeSet<Knot<'a>>> {
    let mut waits: BTreeMap<Knot<'a>, BTreeSet<Knot<'a>>> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    let mut ranges: BTreeSet<&TaskRange> = BTreeSet::new();
    for (number, task) in tasks {
        numbers.insert(number);
        ranges.extend(&task.depends_on_ranges);
        let names = task.depends_on.iter().map(|name| Knot::Name(name));
        let awaited = names.chain(task.depends_on_ranges.iter().map(|range| Knot::Range(*range)));
        waits.entry(Knot::Task(number)).or_default().extend(awaited);
        if !task.name.is_empty() {
            let of_name = waits.entry(Knot::Name(&task.name)).or_default();
            of_name.insert(Knot::Task(number));
        }
    }
    for range in ranges {
        let members = numbers.range(range.first..=range.last);
        waits.insert(Knot::Range(*range), members.map(|number| Knot::Task(*number)).collect());
    }
    waits
}

/// Names and numbers that wait for each other, if any do.
fn ring<'a>(tasks: impl Iterator<Item = Numbered<'a>>) -> Option<Vec<Knot<'a>>> {
    let mut waits = knots(tasks);
    let mut awaited_by: BTreeMap<Knot<'a>, Vec<Knot<'a>>> = BTreeMap::new();
    for (knot, others) in &waits {
        for other in others {
            awaited_by.entry(*other).or_default().push(*knot);
        }
    }
    let mut free: Vec<Knot<'a>> = waits
        .iter()
        .filter(|(_, others)| others.is_empty())
        .map(|(knot, _)| *knot)
        .collect();
    while let Some(knot) = free.pop() {
        waits.remove(&knot);
        for dependent in awaited_by.remove(&knot).unwrap_or_default() {
            if let Some(others) = waits.get_mut(&dependent)
                && others.remove(&knot)
                && others.is_empty()
            {
                free.push(dependent);
            }
        }
    }
    // Each knot that is left waits for another that is left, so a walk comes back to where it has been.
    let (mut walk, mut places) = (Vec::new(), BTreeMap::new());
    let mut at = *waits.first_key_value()?.0;
    loop {
        if let Some(start) = places.insert(at, walk.len()) {
            return Some(walk.split_off(start));
        }
        walk.push(at);
        at = *waits.get(&at)?.first()?;
    }
}

/// The first names of a ring, for people; the number of a task that is awaited by its number.
fn shown(ring: &[Knot<'_>]) -> String {
    let before = ring.iter().cycle().skip(ring.len().saturating_sub(1));
    let words: Vec<String> = before
        .zip(ring)
        .filter_map(|(before, knot)| match (before, knot) {
            (_, Knot::Name(name)) => Some(format!("'{name}'")),
            (Knot::Range(_), Knot::Task(number)) => Some(number.to_string()),
            (_, Knot::Task(_) | Knot::Range(_)) => None,
        })
        .collect();
    let first = words[..words.len().min(NAMES_SHOWN)].join(", ");
    match words.len().saturating_sub(NAMES_SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, depends_on: &[&str]) -> TaskSpec {
        let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
        task.name = name.to_owned();
        task.depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
        task
    }

    fn said(tasks: &[TaskSpec]) -> String {
        let all = || numbered(TaskNumber(1), tasks);
        check_dependencies(all(), all()).map_or_else(|refusal| refusal.to_string(), |()| String::new())
    }

    #[test]
    fn chains_are_taken_and_rings_are_named() {
        let chain = [
            task("c", &["b", "a"]),
            task("b", &["a"]),
            task("a", &[]),
            task("", &["c"]),
        ];
        assert_eq!(said(&chain), "");
        let ring = [
            task("d", &["a"]),
            task("a", &["b"]),
            task("b", &["c"]),
            task("c", &["a"]),
        ];
        assert!(
            said(&ring).starts_with("the tasks 'a', 'b', 'c' wait for each other in a ring"),
            "{}",
            said(&ring)
        );
        // Two tasks of one name: the ring goes through the second.
        let twice = [task("a", &[]), task("a", &["b"]), task("b", &["a"])];
        assert!(said(&twice).contains("'a', 'b'"), "{}", said(&twice));
    }

    #[test]
    fn a_missing_name_is_told_with_the_nearest() {
        let tasks = [task("prepare", &[]), task("run", &["prepar"])];
        assert!(
            said(&tasks).starts_with("there is no task named 'prepar'; did you mean 'prepare'?"),
            "{}",
            said(&tasks)
        );
    }

    fn numbers(depends_on: &[(u32, u32)]) -> TaskSpec {
        let range = |(first, last): &(u32, u32)| TaskRange {
            first: TaskNumber(*first),
            last: TaskNumber(*last),
        };
        let mut task = task("", &[]);
        task.depends_on_ranges = depends_on.iter().map(range).collect();
        task
    }

    #[test]
    fn rings_go_through_numbers_too() {
        assert_eq!(said(&[numbers(&[]), numbers(&[(1, 1), (7, 9)])]), "");
        let ring = [numbers(&[(2, 3)]), numbers(&[]), numbers(&[(1, 2)])];
        assert!(
            said(&ring).starts_with("the tasks 1, 3 wait for each other in a ring"),
            "{}",
            said(&ring)
        );
        let mut first = numbers(&[(2, 2)]);
        first.name = "a".to_owned();
        let mixed = [first, task("", &["a"])];
        assert!(
            said(&mixed).starts_with("the tasks 'a', 2 wait for each other"),
            "{}",
            said(&mixed)
        );
        assert!(said(&[numbers(&[(1, 4)])]).starts_with("task 1 is to wait for itself"));
    }

    #[test]
    fn the_numbers_of_all_ranges_together_are_bounded() {
        let mut tasks = vec![numbers(&[]); 2000];
        tasks.extend((0..100_000).map(|_| numbers(&[(1, 1000)])));
        assert_eq!(said(&tasks), "", "one range, however many wait for it");
        let apart: Vec<TaskSpec> = (0..2000).map(|n| numbers(&[(5000, 5999 + n)])).collect();
        assert!(said(&apart).contains("and 1000000 are the most"), "{}", said(&apart));
        assert!(said(&[numbers(&[(2, u32::MAX - 3)])]).contains("are the most"));
    }

    #[test]
    fn nothing_waits_for_a_service() {
        let mut service = task("s", &[]);
        service.kind = TaskKind::Service;
        assert!(said(&[service.clone(), task("", &["s"])]).starts_with("task 2 is to wait for task 1"));
        assert!(said(&[service, numbers(&[(1, 1)])]).starts_with("task 2 is to wait for task 1"));
    }

    #[test]
    fn many_tasks_cost_little() {
        let mut tasks: Vec<TaskSpec> = (0..50_000).map(|n| task(&format!("t{n}"), &[])).collect();
        for (before, task) in tasks.iter_mut().skip(1).enumerate() {
            task.depends_on.push(format!("t{before}"));
        }
        assert_eq!(said(&tasks), "");
    }
}
