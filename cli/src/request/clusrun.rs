//! `clusrun`: which nodes, which command, how its output is told.

use std::path::PathBuf;

use proto::ids::{GroupName, JobId, NodeName, TaskId};
use proto::model::job::Env;

use crate::args::table::Key;
use crate::args::{Options, UsageError};
use crate::value;

/// A command for many nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusRun {
    /// Which nodes.
    pub on: Selector,
    /// But not these.
    pub exclude: Vec<NodeName>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it starts.
    pub workdir: Option<String>,
    /// What it reads, a file on the nodes.
    pub stdin: Option<String>,
    /// Its variables.
    pub env: Env,
    /// How output is told.
    pub telling: Telling,
}

/// Which nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All of the cluster.
    All,
    /// Those that answer and are online.
    Ready,
    /// By name.
    Named(Vec<NodeName>),
    /// Of a group.
    Group(GroupName),
    /// Those that a job holds.
    Job(JobId),
    /// Those that a task holds.
    Task(TaskId),
}

/// How output is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// Lines as they come, after the node's name.
    Interleaved,
    /// By node, at the end.
    Sorted,
    /// Into files here.
    Files(PathBuf),
}

/// Checks it.
pub(super) fn checked(options: &Options, words: &[String], here: Option<&str>) -> Result<ClusRun, UsageError> {
    let mut env = Env::new();
    for given in options.all(Key::Env) {
        value::variables(given.text(), &mut env).map_err(|error| given.refuse(error.to_string()))?;
    }
    Ok(ClusRun {
        on: selector(options)?,
        exclude: options.read(Key::Exclude, value::nodes)?.unwrap_or_default(),
        command: words.to_vec(),
        workdir: options.read(Key::WorkDir, |text| value::workdir(text, here))?,
        stdin: options.text(Key::Input).map(str::to_owned),
        env,
        telling: telling(options)?,
    })
}

fn selector(options: &Options) -> Result<Selector, UsageError> {
    let mut found = Vec::new();
    if options.flag(Key::All)? {
        found.push((Key::All, Selector::All));
    }
    if options.flag(Key::ReadyNodes)? {
        found.push((Key::ReadyNodes, Selector::Ready));
    }
    if let Some(nodes) = options.read(Key::NodeNames, value::nodes)? {
        found.push((Key::NodeNames, Selector::Named(nodes)));
    }
    if let Some(group) = options.read(Key::Group, GroupName::new)? {
        found.push((Key::Group, Selector::Group(group)));
    }
    if let Some(job) = options.read(Key::OfJob, str::parse::<JobId>)? {
        found.push((Key::OfJob, Selector::Job(job)));
    }
    if let Some(task) = options.read(Key::OfTask, str::parse::<TaskId>)? {
        found.push((Key::OfTask, Selector::Task(task)));
    }
    if let [(first, _), (second, _), ..] = found.as_slice() {
        return Err(conflict(options, *first, *second));
    }
    Ok(found.pop().map_or(Selector::Ready, |(_, selector)| selector))
}

fn telling(options: &Options) -> Result<Telling, UsageError> {
    let interleaved = options.flag(Key::Interleaved)?;
    let sorted = options.flag(Key::Sorted)?;
    match (interleaved, sorted, options.text(Key::OutputDir)) {
        (true, true, _) => Err(conflict(options, Key::Interleaved, Key::Sorted)),
        (true, _, Some(_)) => Err(conflict(options, Key::Interleaved, Key::OutputDir)),
        (_, true, Some(_)) => Err(conflict(options, Key::Sorted, Key::OutputDir)),
        (_, _, Some(folder)) => Ok(Telling::Files(folder.into())),
        (_, true, None) => Ok(Telling::Sorted),
        _ => Ok(Telling::Interleaved),
    }
}

fn conflict(options: &Options, first: Key, second: Key) -> UsageError {
    let spelled = |key| options.one(key).map(|given| given.spelled.clone());
    UsageError::Conflict {
        first: spelled(first).unwrap_or_default(),
        second: spelled(second).unwrap_or_default(),
    }
}
