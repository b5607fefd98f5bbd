//! Commands about pools, and about limits of users.

use proto::ids::{PoolName, UserName};
use proto::model::job::SetTo;
use proto::model::limits::Limits;
use proto::model::node::Deallocation;
use proto::model::pool::{MAX_SLOTS_PER_NODE, PoolChange, PoolSpec};
use proto::units::Millis;

use super::{Here, id_of, misplaced, node, spec};
use crate::args::table::{Key, Verb};
use crate::args::{Given, Options, UsageError};
use crate::value;

/// More nodes than any pool has.
const MOST_NODES: u32 = 1_000_000;

/// A checked command about pools or limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum PoolCommand {
    List,
    View(PoolName),
    Create {
        name: PoolName,
        spec: Box<PoolSpec>,
    },
    Set {
        name: PoolName,
        /// Without limits: the head node takes all of them or none.
        change: Box<PoolChange>,
        limits: LimitChange,
    },
    Resize {
        name: PoolName,
        /// None stops where it is.
        wanted: Option<u32>,
        option: Deallocation,
        timeout: Option<Millis>,
    },
    Delete(PoolName),
    Limits,
    SetLimits {
        /// None means of everybody who has none of their own.
        user: Option<UserName>,
        change: LimitChange,
    },
    ClearLimits(UserName),
}

/// What is said of limits; none leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitChange {
    /// See [`Limits::running_jobs`].
    pub running_jobs: Option<Option<u32>>,
    /// See [`Limits::cores`].
    pub cores: Option<Option<u32>>,
    /// See [`Limits::queued_tasks`].
    pub queued_tasks: Option<Option<u64>>,
}

impl LimitChange {
    /// The limits after it.
    #[must_use]
    pub fn on(self, standing: Limits) -> Limits {
        Limits {
            running_jobs: self.running_jobs.unwrap_or(standing.running_jobs),
            cores: self.cores.unwrap_or(standing.cores),
            queued_tasks: self.queued_tasks.unwrap_or(standing.queued_tasks),
        }
    }
}

/// Checks one.
pub(super) fn checked(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<PoolCommand, UsageError> {
    Ok(match verb {
        Verb::PoolList => PoolCommand::List,
        Verb::PoolView => PoolCommand::View(id_of(verb, words)?),
        Verb::PoolCreate => PoolCommand::Create {
            name: id_of(verb, words)?,
            spec: Box::new(pool(options, here)?),
        },
        Verb::PoolSet => set(verb, options, words, here)?,
        Verb::PoolResize => resize(verb, options, words)?,
        Verb::PoolDelete => PoolCommand::Delete(id_of(verb, words)?),
        Verb::LimitList => PoolCommand::Limits,
        Verb::LimitSet => PoolCommand::SetLimits {
            user: options.read(Key::User, UserName::new)?,
            change: said(verb, limits(options)?, LimitChange::default(), "--cores 128")?,
        },
        Verb::LimitClear => match options.read(Key::User, UserName::new)? {
            Some(user) => PoolCommand::ClearLimits(user),
            None => {
                return Err(UsageError::MissingWord {
                    place: verb.spec().title(),
                    needs: "the user whose limits are taken back",
                    usage: format!("{} --user NAME", verb.spec().title()),
                });
            }
        },
        _ => return Err(misplaced(verb)),
    })
}

fn pool(options: &Options, here: &Here) -> Result<PoolSpec, UsageError> {
    Ok(PoolSpec {
        slots_per_node: options.read(Key::Slots, |text| value::number(text, 1, MAX_SLOTS_PER_NODE))?,
        wanted: options.read(Key::Size, |text| value::number(text, 0, MOST_NODES))?,
        fill: options.read(Key::Fill, value::fill)?.unwrap_or_default(),
        inter_node: !options.flag(Key::NoInterNode)?,
        start_task: spec::start_task(options, here)?.and_then(SetTo::into_option),
        limits: limits(options)?.on(Limits::default()),
    })
}

fn set(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<PoolCommand, UsageError> {
    let forbids = options.one(Key::NoInterNode).map(Given::is_true).transpose()?;
    let change = PoolChange {
        fill: options.read(Key::Fill, value::fill)?,
        inter_node: forbids.map(|forbids| !forbids),
        start_task: spec::start_task(options, here)?,
        limits: None,
    };
    let nothing = (PoolChange::default(), LimitChange::default());
    let (change, limits) = said(verb, (change, limits(options)?), nothing, "POOL --fill spread")?;
    Ok(PoolCommand::Set {
        name: id_of(verb, words)?,
        change: Box::new(change),
        limits,
    })
}

/// A change that changes nothing is a slip.
fn said<T: PartialEq>(verb: Verb, change: T, nothing: T, example: &str) -> Result<T, UsageError> {
    if change == nothing {
        return Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: "an option that says what to change",
            usage: format!("{} {example}", verb.spec().title()),
        });
    }
    Ok(change)
}

fn resize(verb: Verb, options: &Options, words: &[String]) -> Result<PoolCommand, UsageError> {
    let bad = |wrong: String| UsageError::BadWord {
        wrong,
        usage: format!("{0} POOL N, or {0} POOL --stop", verb.spec().title()),
    };
    let wanted = match (options.flag(Key::Stop)?, words.get(1)) {
        (true, None) => None,
        (true, Some(word)) => {
            return Err(bad(format!(
                "--stop leaves the size as it is, and '{word}' says another"
            )));
        }
        (false, None) => return Err(bad("nothing says how many nodes the pool is to have".to_owned())),
        (false, Some(word)) => {
            let number = value::number(word, 0, MOST_NODES);
            Some(number.map_err(|error| bad(format!("'{word}': {error}")))?)
        }
    };
    Ok(PoolCommand::Resize {
        name: id_of(verb, words)?,
        wanted,
        option: node::option(options)?,
        timeout: options.read(Key::Timeout, value::span)?,
    })
}

fn limits(options: &Options) -> Result<LimitChange, UsageError> {
    let bound = |key| {
        options.read(key, |text| {
            match text.eq_ignore_ascii_case("any") || text.eq_ignore_ascii_case("none") {
                true => Ok(None),
                false => value::number(text, 0, u32::MAX).map(Some),
            }
        })
    };
    Ok(LimitChange {
        running_jobs: bound(Key::RunningJobs)?,
        cores: bound(Key::Cores)?,
        queued_tasks: bound(Key::QueuedTasks)?.map(|bound| bound.map(u64::from)),
    })
}
