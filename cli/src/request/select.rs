//! Which jobs and tasks are meant: `12`, `1-10,15`, `last`, `last 5`; `12.1`, `12.2-5`, `12.1.3-7`.
//!
//! Read without the cluster; which jobs are the last ones, and which of a range are there, is asked when the command is
//! carried out.

use proto::ids::{JobId, Step, TaskId, TaskNumber};

use crate::args::UsageError;
use crate::args::table::Verb;

/// The most jobs that one word may name.
const MOST_JOBS: u64 = 10_000;

/// Jobs that one word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPick {
    /// This one.
    One(JobId),
    /// Those of them that are there, both ends included.
    Range(JobId, JobId),
    /// The caller's newest so many.
    Last(u32),
}

/// Tasks that one word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPick {
    /// This one; of a sweep all its steps.
    One(TaskId),
    /// Tasks of a job by number, both ends included.
    Tasks {
        /// Of which job.
        job: JobId,
        /// From.
        first: TaskNumber,
        /// To.
        last: TaskNumber,
    },
    /// Steps of a sweep, both ends included.
    Steps {
        /// Which sweep.
        sweep: TaskId,
        /// From.
        first: Step,
        /// To.
        last: Step,
    },
    /// All tasks of jobs.
    Jobs(JobPick),
}

/// Jobs.
pub(super) fn jobs(verb: Verb, words: &[String]) -> Result<Vec<JobPick>, UsageError> {
    let mut picks = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        if let Some(count) = last(word, &mut rest) {
            picks.push(JobPick::Last(count));
            continue;
        }
        for part in word.split(',').filter(|part| !part.is_empty()) {
            picks.push(job(part).map_err(|wrong| bad(verb, wrong))?);
        }
    }
    if picks.is_empty() && !words.is_empty() {
        return Err(bad(verb, format!("'{}' names no job", words.join(" "))));
    }
    Ok(picks)
}

/// One job.
pub(super) fn one_job(verb: Verb, words: &[String]) -> Result<JobPick, UsageError> {
    match jobs(verb, words)?.as_slice() {
        [pick @ (JobPick::One(_) | JobPick::Last(1))] => Ok(*pick),
        _ => Err(UsageError::ExtraWord {
            place: verb.spec().title(),
            word: words.get(1).or_else(|| words.first()).cloned().unwrap_or_default(),
            usage: verb.spec().usage(),
        }),
    }
}

/// Tasks. Whole jobs are only meant where `whole` says so: a number alone is mostly a slip.
pub(super) fn tasks(verb: Verb, words: &[String], whole: bool) -> Result<Vec<TaskPick>, UsageError> {
    let mut picks = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        match last(word, &mut rest) {
            Some(1) => {
                picks.push(TaskPick::Jobs(JobPick::Last(1)));
                continue;
            }
            Some(count) if whole => {
                picks.push(TaskPick::Jobs(JobPick::Last(count)));
                continue;
            }
            Some(_) => return Err(bad(verb, format!("'{}' is no task id", words.join(" ")))),
            None => {}
        }
        for part in word.split(',').filter(|part| !part.is_empty()) {
            let pick = match job(part) {
                Ok(pick) if whole => Ok(TaskPick::Jobs(pick)),
                Ok(JobPick::One(id)) => task(part).map_err(|wrong| match for_jobs(verb) {
                    Some((command, more)) => format!("{wrong}; for the whole job: {command} {id}{more}"),
                    None => wrong,
                }),
                _ => task(part),
            };
            picks.push(pick.map_err(|wrong| bad(verb, wrong))?);
        }
    }
    if picks.is_empty() {
        return Err(bad(verb, format!("'{}' names no task", words.join(" "))));
    }
    Ok(picks)
}

/// The command that does the same with all tasks of a job: what stands before and behind the job.
const fn for_jobs(verb: Verb) -> Option<(&'static str, &'static str)> {
    Some(match verb {
        Verb::TaskWhy => ("job why", ""),
        Verb::TaskView => ("task list", ""),
        Verb::TaskCancel => ("job cancel", ""),
        Verb::TaskRequeue => ("job requeue", ""),
        Verb::TaskFinish => ("job finish", ""),
        Verb::TaskReactivate => ("task reactivate", " --filter failed"),
        _ => return None,
    })
}

/// `last`, and the number behind it.
fn last(word: &str, rest: &mut &[String]) -> Option<u32> {
    if !word.eq_ignore_ascii_case("last") {
        return None;
    }
    let number = rest.first().and_then(|word| word.parse().ok());
    match number.filter(|count| (1..=10_000).contains(count)) {
        Some(count) => {
            *rest = &rest[1..];
            Some(count)
        }
        None => Some(1),
    }
}

fn job(part: &str) -> Result<JobPick, String> {
    let id = |text: &str| text.parse::<JobId>().map_err(|error| error.to_string());
    let Some((first, last)) = part.split_once('-').filter(|(first, _)| !first.is_empty()) else {
        return id(part).map(JobPick::One);
    };
    let (first, last) = (id(first)?, id(last)?);
    match last.0.checked_sub(first.0) {
        Some(more) if more < MOST_JOBS => Ok(JobPick::Range(first, last)),
        Some(_) => Err(format!("'{part}' names more than {MOST_JOBS} jobs")),
        None => Err(format!("'{part}' ends before it begins")),
    }
}

fn task(part: &str) -> Result<TaskPick, String> {
    let id = |text: &str| text.parse::<TaskId>().map_err(|error| error.to_string());
    let Some((first, last)) = part.rsplit_once('-').filter(|(first, _)| first.contains('.')) else {
        return id(part).map(TaskPick::One);
    };
    let first = id(first)?;
    let backwards = || format!("'{part}' ends before it begins");
    match first.step {
        None => {
            let last: TaskNumber = last.parse().map_err(|error| format!("'{part}': {error}"))?;
            (last >= first.number).then_some(()).ok_or_else(backwards)?;
            Ok(TaskPick::Tasks {
                job: first.job,
                first: first.number,
                last,
            })
        }
        Some(step) => {
            let last: Step = last.parse().map_err(|error| format!("'{part}': {error}"))?;
            (last >= step).then_some(()).ok_or_else(backwards)?;
            Ok(TaskPick::Steps {
                sweep: TaskId { step: None, ..first },
                first: step,
                last,
            })
        }
    }
}

fn bad(verb: Verb, wrong: String) -> UsageError {
    UsageError::BadWord {
        wrong,
        usage: verb.spec().usage(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn jobs_by_number_range_and_age() {
        let read = |line: &str| jobs(Verb::JobView, &words(line));
        let one = |id| JobPick::One(JobId(id));
        assert_eq!(read("12"), Ok(vec![one(12)]));
        assert_eq!(
            read("1-10,15 3"),
            Ok(vec![JobPick::Range(JobId(1), JobId(10)), one(15), one(3)])
        );
        assert_eq!(read("last"), Ok(vec![JobPick::Last(1)]));
        assert_eq!(read("LAST 5 7"), Ok(vec![JobPick::Last(5), one(7)]));
        for wrong in ["x", "0", "9-3", "1-99999", "-3", "1-", ","] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(one_job(Verb::JobWatch, &words("last")), Ok(JobPick::Last(1)));
        assert!(
            one_job(Verb::JobWatch, &words("1 2"))
                .unwrap_err()
                .to_string()
                .contains("'2'")
        );
        assert!(one_job(Verb::JobWatch, &words("1-2")).is_err());
    }

    #[test]
    fn tasks_and_steps() {
        let read = |line: &str, whole| tasks(Verb::TaskCancel, &words(line), whole);
        let id = |text: &str| text.parse::<TaskId>().expect("an id");
        assert_eq!(read("12.1", false), Ok(vec![TaskPick::One(id("12.1"))]));
        assert_eq!(
            read("12.2-5,12.1.3-7", false),
            Ok(vec![
                TaskPick::Tasks {
                    job: JobId(12),
                    first: TaskNumber(2),
                    last: TaskNumber(5)
                },
                TaskPick::Steps {
                    sweep: id("12.1"),
                    first: Step(3),
                    last: Step(7)
                },
            ])
        );
        assert_eq!(read("7", true), Ok(vec![TaskPick::Jobs(JobPick::One(JobId(7)))]));
        let wrong = read("7", false).unwrap_err().to_string();
        assert!(
            wrong.contains("is no task id") && wrong.contains("job cancel 7"),
            "{wrong}"
        );
        let wrong = tasks(Verb::TaskReactivate, &words("17"), false)
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("task reactivate 17 --filter failed"), "{wrong}");
        assert_eq!(read("last", false), Ok(vec![TaskPick::Jobs(JobPick::Last(1))]));
        for wrong in ["12.5-2", "12.1.7-3", "12.1-x", "12.", "last 5"] {
            assert!(read(wrong, false).is_err(), "{wrong}");
        }
    }
}
