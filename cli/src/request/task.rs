//! Commands about tasks.

use super::misplaced;
use super::select::{self, JobPick, TaskPick};
use crate::args::table::{Key, Verb};
use crate::args::{Options, UsageError};
use crate::value;

/// The words for states of tasks.
const TASK_STATES: &[&str] = &[
    "Queued",
    "Dispatching",
    "Running",
    "Canceling",
    "Finished",
    "Failed",
    "Canceled",
    "All",
];

/// The most lines that a tail begins with.
const MOST_LINES: u32 = 100_000;

/// A checked command about tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum TaskCommand {
    List(TaskListing),
    View {
        tasks: Picked,
        all: bool,
    },
    Tail(TailRequest),
    Attach(TaskPick),
    Cancel {
        tasks: Picked,
        force: bool,
        message: String,
    },
    Requeue(Picked),
    Reactivate(Picked),
    Finish {
        tasks: Picked,
        message: String,
    },
}

/// Which tasks a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskListing {
    /// Of which jobs.
    pub jobs: Vec<JobPick>,
    /// Each step of a sweep by itself.
    pub expand: bool,
    /// Only in these states; empty means all.
    pub states: Vec<String>,
}

/// Tasks that something is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Which.
    pub tasks: Vec<TaskPick>,
    /// Of these only in these states; empty means all.
    pub states: Vec<String>,
}

/// What `task tail` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailRequest {
    /// Of which tasks.
    pub tasks: Picked,
    /// Until they are over.
    pub follow: bool,
    /// From the last so many lines; none means from the beginning.
    pub lines: Option<u32>,
    /// Whether lines say whose they are; none leaves it to what comes.
    pub label: Option<bool>,
}

/// Checks one.
pub(super) fn checked(verb: Verb, options: &Options, words: &[String]) -> Result<TaskCommand, UsageError> {
    let message = || -> Result<String, UsageError> {
        let message = options.read(Key::Message, |text| value::short_text(text, 128))?;
        Ok(message.unwrap_or_default())
    };
    Ok(match verb {
        Verb::TaskList => TaskCommand::List(listing(verb, options, words)?),
        Verb::TaskView => TaskCommand::View {
            tasks: picked(verb, options, words)?,
            all: options.flag(Key::All)?,
        },
        Verb::TaskTail => TaskCommand::Tail(tail(verb, options, words)?),
        Verb::TaskAttach => match select::tasks(verb, words, false)?.as_slice() {
            [pick @ (TaskPick::One(_) | TaskPick::Jobs(_))] => TaskCommand::Attach(*pick),
            _ => {
                return Err(UsageError::ExtraWord {
                    place: verb.spec().title(),
                    word: words.last().cloned().unwrap_or_default(),
                    usage: verb.spec().usage(),
                });
            }
        },
        Verb::TaskCancel => TaskCommand::Cancel {
            tasks: picked(verb, options, words)?,
            force: options.flag(Key::Force)?,
            message: message()?,
        },
        Verb::TaskRequeue => TaskCommand::Requeue(picked(verb, options, words)?),
        Verb::TaskReactivate => TaskCommand::Reactivate(picked(verb, options, words)?),
        Verb::TaskFinish => TaskCommand::Finish {
            tasks: picked(verb, options, words)?,
            message: message()?,
        },
        _ => return Err(misplaced(verb)),
    })
}

/// Which tasks a list shows.
pub(super) fn listing(verb: Verb, options: &Options, words: &[String]) -> Result<TaskListing, UsageError> {
    let states = options
        .read(Key::JobState, |text| value::words_of(text, TASK_STATES))?
        .unwrap_or_default();
    let states = match states.iter().any(|state| state == "All") {
        true => Vec::new(),
        false => with_granted(states),
    };
    Ok(TaskListing {
        jobs: select::jobs(verb, words)?,
        expand: options.flag(Key::Expand)?,
        states,
    })
}

/// The states of `--filter`.
pub(super) fn picked_states(options: &Options) -> Result<Vec<String>, UsageError> {
    let states = options.read(Key::Filter, |text| value::words_of(text, TASK_STATES))?;
    let states = with_granted(states.unwrap_or_default());
    if states.iter().any(|state| state == "All") {
        return Ok(TASK_STATES
            .iter()
            .filter(|word| **word != "All")
            .map(|word| (*word).to_owned())
            .collect());
    }
    Ok(states)
}

/// Who says running means also what is about to.
fn with_granted(mut states: Vec<String>) -> Vec<String> {
    let has = |states: &[String], word: &str| states.iter().any(|state| state == word);
    if has(&states, "Running") && !has(&states, "Dispatching") {
        states.push("Dispatching".to_owned());
    }
    states
}

fn picked(verb: Verb, options: &Options, words: &[String]) -> Result<Picked, UsageError> {
    let states = picked_states(options)?;
    let tasks = select::tasks(verb, words, !states.is_empty())?;
    // 'last' alone is the one task of the newest job where it is only looked at.
    let acts = matches!(
        verb,
        Verb::TaskCancel | Verb::TaskRequeue | Verb::TaskReactivate | Verb::TaskFinish
    );
    if acts && states.is_empty() && tasks.iter().any(|pick| matches!(pick, TaskPick::Jobs(_))) {
        return Err(UsageError::BadWord {
            wrong: "'last' is a job, and no filter says which of its tasks are meant".to_owned(),
            usage: format!(
                "{} last --filter STATE, or name the tasks: {}",
                verb.spec().title(),
                "12.1 12.3-5"
            ),
        });
    }
    Ok(Picked { tasks, states })
}

fn tail(verb: Verb, options: &Options, words: &[String]) -> Result<TailRequest, UsageError> {
    let plain = options.flag(Key::NoLabel)?;
    let label = options.one(Key::Label).map(crate::args::Given::is_true).transpose()?;
    if plain && label == Some(true) {
        return Err(UsageError::Conflict {
            first: "--label".to_owned(),
            second: "--no-label".to_owned(),
        });
    }
    Ok(TailRequest {
        tasks: Picked {
            tasks: select::tasks(verb, words, true)?,
            states: picked_states(options)?,
        },
        follow: options.flag(Key::Follow)?,
        lines: options.read(Key::Lines, |text| value::number(text, 0, MOST_LINES))?,
        label: if plain { Some(false) } else { label },
    })
}
