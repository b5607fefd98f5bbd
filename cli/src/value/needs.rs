//! What a task needs beside cores and nodes: commands in one word, resources, numbers of tasks, retries.

use std::collections::BTreeMap;

use proto::ids::{ResourceName, TaskNumber};
use proto::model::exit::Retries;
use proto::model::node::Deallocation;
use proto::model::pool::FillType;
use proto::model::task::TaskRange;

use super::{ValueError, word};

/// The most retries that anybody means.
const MOST_RETRIES: u32 = 1000;

/// A program and its arguments in one text, split as the lines of a script are. No shell reads it.
pub(crate) fn command(text: &str) -> Result<Vec<String>, ValueError> {
    let words = crate::script::split(text).ok_or(ValueError::Quote)?;
    if words.first().is_none_or(String::is_empty) {
        return Err(ValueError::NoCommand);
    }
    Ok(words)
}

/// How often a task is run again: `3`, or `-1` for ever.
pub(crate) fn retries(text: &str) -> Result<Retries, ValueError> {
    if text == "-1" {
        return Ok(Retries::Unlimited);
    }
    let number = text.parse().ok().filter(|number| *number <= MOST_RETRIES);
    number
        .map(Retries::AtMost)
        .ok_or(ValueError::Retries { most: MOST_RETRIES })
}

/// Adds `gpu:1,license:2` to resources; the last word on one counts.
pub(crate) fn resources(text: &str, resources: &mut BTreeMap<ResourceName, u32>) -> Result<(), ValueError> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let refused = || ValueError::Resource { part: part.to_owned() };
        let (name, count) = part.split_once(':').ok_or_else(refused)?;
        let count = count.parse().ok().filter(|count| *count >= 1).ok_or_else(refused)?;
        resources.insert(ResourceName::new(name)?, count);
    }
    if resources.is_empty() {
        Err(ValueError::Empty)
    } else {
        Ok(())
    }
}

/// Numbers of tasks of the same job: `1,3,5-9`.
pub(crate) fn depend_ids(text: &str) -> Result<Vec<TaskRange>, ValueError> {
    let number = |text: &str| {
        let number = text.trim().parse().ok();
        let number = number.filter(|number| (1..=TaskNumber::LARGEST.0).contains(number));
        number.map(TaskNumber).ok_or(ValueError::TaskIds)
    };
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = TaskRange {
            first: number(first)?,
            last: number(last)?,
        };
        if range.last < range.first {
            return Err(ValueError::Backwards {
                first: u64::from(range.first.0),
                last: u64::from(range.last.0),
            });
        }
        ranges.push(range);
    }
    if ranges.is_empty() {
        Err(ValueError::TaskIds)
    } else {
        Ok(ranges)
    }
}

/// A path below a directory.
pub(crate) fn relative_path(text: &str) -> Result<String, ValueError> {
    let leads_out = text.starts_with('/') || text.split('/').any(|part| part == "..") || text.contains('\0');
    let names = text.split('/').any(|part| !part.is_empty() && part != ".");
    if leads_out || !names || text.ends_with('/') {
        return Err(ValueError::Outside { path: text.to_owned() });
    }
    Ok(text.to_owned())
}

/// What happens to the tasks of a node that is to get no more work, in Azure Batch's words.
pub(crate) fn deallocation(text: &str) -> Result<Deallocation, ValueError> {
    Ok(
        match word(text, &["requeue", "terminate", "taskcompletion", "retaineddata"])? {
            "requeue" => Deallocation::Requeue,
            "terminate" => Deallocation::Terminate,
            "retaineddata" => Deallocation::RetainedData,
            _ => Deallocation::TaskCompletion,
        },
    )
}

/// Which node a task gets.
pub(crate) fn fill(text: &str) -> Result<FillType, ValueError> {
    Ok(match word(text, &["pack", "spread"])? {
        "spread" => FillType::Spread,
        _ => FillType::Pack,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_by_quotes_and_by_no_shell() {
        assert_eq!(
            command("sh -c 'echo $A; date'").as_deref(),
            Ok(["sh", "-c", "echo $A; date"].map(str::to_owned).as_slice())
        );
        assert_eq!(command("sh -c 'x"), Err(ValueError::Quote));
        assert_eq!(command("  "), Err(ValueError::NoCommand));
        assert_eq!(command("''"), Err(ValueError::NoCommand));
    }

    #[test]
    fn counts_of_things() {
        assert_eq!(retries("-1"), Ok(Retries::Unlimited));
        assert_eq!(retries("3"), Ok(Retries::AtMost(3)));
        assert!(retries("-2").is_err() && retries("1001").is_err() && retries("").is_err());
        let mut found = BTreeMap::new();
        resources("gpu:1,lic:2", &mut found).expect("resources");
        resources("gpu:4", &mut found).expect("resources");
        let shown: Vec<String> = found.iter().map(|(name, count)| format!("{name}:{count}")).collect();
        assert_eq!(shown, ["gpu:4", "lic:2"]);
        for wrong in ["gpu", "gpu:0", "gpu:x", "g u:1"] {
            assert!(resources(wrong, &mut BTreeMap::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_tasks_and_paths() {
        let ranges = depend_ids("1,3, 5-9").expect("ranges");
        let shown: Vec<(u32, u32)> = ranges.iter().map(|range| (range.first.0, range.last.0)).collect();
        assert_eq!(shown, [(1, 1), (3, 3), (5, 9)]);
        for wrong in ["", "0", "9-5", "1-", "x"] {
            assert!(depend_ids(wrong).is_err(), "{wrong}");
        }
        assert!(relative_path("a/b.txt").is_ok());
        for wrong in ["/etc/passwd", "../x", "a/../../x", "", ".", "a/"] {
            assert!(relative_path(wrong).is_err(), "{wrong}");
        }
    }
}
