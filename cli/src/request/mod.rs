//! Checked commands: what `args` read, with every value in a type that cannot be wrong. One file for each noun.
//!
//! What needs the cluster to be judged (does that group exist?) is left to the head node.

mod access;
mod clusrun;
mod cluster;
mod job;
mod jobfile;
mod node;
mod pool;
mod schedule;
mod select;
mod spec;
mod task;

use std::path::PathBuf;

pub use access::AccessCommand;
pub use clusrun::{ClusRun, Selector, Telling};
pub use cluster::{ClusterCommand, CompletionShell, Invitation, UpRequest};
pub use job::{JobCommand, Submission, Then};
pub use node::NodeCommand;
pub use pool::{LimitChange, PoolCommand};
pub use schedule::{ScheduleChange, ScheduleCommand, ScheduleTasks};
pub use select::{JobPick, TaskPick};
pub use task::{Picked, TailRequest, TaskCommand, TaskListing};

use crate::args::table::{Key, Noun, Verb};
use crate::args::{Options, UsageError};
use crate::render::{Colour, Fields, Form, Look};
use crate::script::{Script, ScriptError};
use crate::text::FileText;
use crate::value::{self, Clock};

/// A checked command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// About jobs.
    Job(JobCommand),
    /// About tasks.
    Task(TaskCommand),
    /// About nodes and groups.
    Node(NodeCommand),
    /// About pools and limits.
    Pool(PoolCommand),
    /// About job schedules.
    Schedule(ScheduleCommand),
    /// About users and log-ins.
    Access(AccessCommand),
    /// About the cluster itself.
    Cluster(ClusterCommand),
}

/// Options that say where the cluster is and how answers look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--scheduler`
    pub scheduler: Option<String>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--state`, where the cluster is meant.
    pub state: Option<PathBuf>,
    /// `--output`
    pub form: Form,
    /// `--color`
    pub colour: Colour,
}

impl Globals {
    /// Reads them.
    ///
    /// # Errors
    /// A form of output that there is none of.
    pub fn of(options: &Options) -> Result<Self, UsageError> {
        let form = options.read(Key::Output, form_of)?;
        let format = options.read(Key::Format, |text| value::word(text, &["list", "table"]))?;
        Ok(Self {
            scheduler: options.text(Key::Scheduler).map(str::to_owned),
            socket: options.text(Key::Socket).map(PathBuf::from),
            state: options.text(Key::State).map(PathBuf::from),
            form: match (form, format) {
                (None | Some(Form::Table), Some("list")) => Form::List,
                (form, _) => form.unwrap_or_default(),
            },
            colour: match options.read(Key::Color, |text| value::word(text, &["auto", "always", "never"]))? {
                Some("always") => Colour::Always,
                Some("never") => Colour::Never,
                _ => Colour::Auto,
            },
        })
    }

    /// How answers look on this process's standard output.
    #[must_use]
    pub fn look(&self) -> Look {
        Look::of_process(self.form.clone(), self.colour)
    }
}

/// The form of output that `--output` names.
fn form_of(text: &str) -> Result<Form, String> {
    if text.contains(['{', '}']) {
        return Fields::parse(text).map(Form::Fields).map_err(|error| error.to_string());
    }
    let words = ["table", "wide", "list", "json", "quiet"];
    let word =
        value::word(text, &words).map_err(|error| format!("{error}; or fields, for example '{{id}} {{status}}'"))?;
    Ok(match word {
        "wide" => Form::Wide,
        "list" => Form::List,
        "json" => Form::Json,
        "quiet" => Form::Quiet,
        _ => Form::Table,
    })
}

/// What of the caller's own place a command line may mean.
#[derive(Debug, Clone)]
pub struct Here {
    /// The directory, for advice only.
    pub directory: Option<String>,
    /// What moments are told by.
    pub clock: Clock,
    /// Reads the script that a word names, if it names one.
    pub script: fn(&str) -> Result<Option<Script>, ScriptError>,
    /// Reads a text of at most so many bytes; else it says what is wrong with the file.
    pub file: fn(&str, usize) -> Result<FileText, String>,
}

/// Checks a command.
///
/// # Errors
/// The first value that cannot be read, and what to type instead.
pub fn checked(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<Command, UsageError> {
    match verb.spec().noun {
        Noun::Job => job::checked(verb, options, words, here).map(Command::Job),
        // They are of jobs as much as of tasks.
        Noun::Task if matches!(verb, Verb::TaskAdd | Verb::TaskWhy) => {
            job::checked(verb, options, words, here).map(Command::Job)
        }
        Noun::Task => task::checked(verb, options, words).map(Command::Task),
        Noun::Node if verb == Verb::NodeJoinCommand => {
            cluster::checked(verb, options, words, here).map(Command::Cluster)
        }
        Noun::Node | Noun::NodeGroup => node::checked(verb, options, words).map(Command::Node),
        Noun::Pool | Noun::Limit => pool::checked(verb, options, words, here).map(Command::Pool),
        Noun::Schedule => schedule::checked(verb, options, words, here).map(Command::Schedule),
        Noun::User => access::checked(verb, options, words).map(Command::Access),
        Noun::Cluster if matches!(verb, Verb::Login | Verb::Logout | Verb::WhoAmI) => {
            access::checked(verb, options, words).map(Command::Access)
        }
        Noun::Cluster | Noun::ClusCfg | Noun::Service => {
            cluster::checked(verb, options, words, here).map(Command::Cluster)
        }
    }
}

/// A verb that stands in the table of one noun and is checked by another's file; the test of all verbs finds it.
fn misplaced(verb: Verb) -> UsageError {
    UsageError::NotYet {
        what: format!("'{}'", verb.spec().title()),
        instead: "",
    }
}

/// The first word; the table has seen to it that there is one.
fn id_of<T>(verb: Verb, words: &[String]) -> Result<T, UsageError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let word = words.first().map_or("", String::as_str);
    word.parse().map_err(|error: T::Err| UsageError::BadWord {
        wrong: error.to_string(),
        usage: verb.spec().usage(),
    })
}

#[cfg(test)]
mod tests;
