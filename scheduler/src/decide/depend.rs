//! Whether tasks can ever start that depend on others: the names must be there, and must not wait for each other in a ring.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::Refusal;
use proto::model::task::TaskSpec;

use crate::refusal::{invalid, not_found, unknown};

/// The most names of a ring that a refusal lists.
const NAMES_SHOWN: usize = 8;

/// Whether every name that one of the `new` tasks depends on is a task's, and no task waits for itself by way of others.
/// `tasks` are all tasks of the job, the new ones among them.
pub(super) fn check_dependencies<'a>(
    new: impl Iterator<Item = &'a TaskSpec> + Clone,
    tasks: impl Iterator<Item = &'a TaskSpec> + Clone,
) -> Result<(), Refusal> {
    if new.clone().all(|task| task.depends_on.is_empty()) {
        return Ok(());
    }
    let names: BTreeSet<&str> = tasks.clone().map(|task| task.name.as_str()).collect();
    let mut wanted = new.flat_map(|task| &task.depends_on).map(String::as_str);
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
    match ring(tasks) {
        Some(ring) => Err(invalid(
            format!("the tasks {} wait for each other in a ring", shown(&ring)),
            "let one of them wait for none of the others",
        )),
        None => Ok(()),
    }
}

/// Names that wait for each other, if any do.
fn ring<'a>(tasks: impl Iterator<Item = &'a TaskSpec>) -> Option<Vec<&'a str>> {
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for task in tasks.filter(|task| !task.name.is_empty()) {
        waits
            .entry(&task.name)
            .or_default()
            .extend(task.depends_on.iter().map(String::as_str));
    }
    let mut awaited_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, others) in &waits {
        for other in others {
            awaited_by.entry(other).or_default().push(name);
        }
    }
    let mut free: Vec<&str> = waits
        .iter()
        .filter(|(_, others)| others.is_empty())
        .map(|(name, _)| *name)
        .collect();
    while let Some(name) = free.pop() {
        waits.remove(name);
        for dependent in awaited_by.remove(name).unwrap_or_default() {
            if let Some(others) = waits.get_mut(dependent)
                && others.remove(name)
                && others.is_empty()
            {
                free.push(dependent);
            }
        }
    }
    // Each name that is left waits for another that is left, so a walk comes back to where it has been.
    let (mut walk, mut places) = (Vec::new(), BTreeMap::new());
    let mut at = *waits.first_key_value()?.0;
    loop {
        if let Some(start) = places.insert(at, walk.len()) {
            return Some(walk.split_off(start));
        }
        walk.push(at);
        at = waits.get(at)?.first()?;
    }
}

/// The first names of a ring, for people.
fn shown(ring: &[&str]) -> String {
    let names = ring[..ring.len().min(NAMES_SHOWN)].join("', '");
    match ring.len().saturating_sub(NAMES_SHOWN) {
        0 => format!("'{names}'"),
        more => format!("'{names}' and {more} more"),
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
        check_dependencies(tasks.iter(), tasks.iter()).map_or_else(|refusal| refusal.to_string(), |()| String::new())
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

    #[test]
    fn many_tasks_cost_little() {
        let mut tasks: Vec<TaskSpec> = (0..50_000).map(|n| task(&format!("t{n}"), &[])).collect();
        for (before, task) in tasks.iter_mut().skip(1).enumerate() {
            task.depends_on.push(format!("t{before}"));
        }
        assert_eq!(said(&tasks), "");
    }
}
