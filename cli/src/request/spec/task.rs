//! What is asked of a task.

use proto::model::exit::ExitConditions;
use proto::model::task::{CommonFile, Interactive, MAX_SCRIPT_BYTES, Request as Needs, TaskKind, TaskSpec};

use super::super::Here;
use super::{LONGEST_NAME, env, exclude, needs};
use crate::args::table::Key;
use crate::args::{Options, UsageError};
use crate::value;

/// The most tries after failures that are not the task's own that anybody means.
const MOST_REQUEUES: u32 = 1000;

/// What HPC Pack's `/type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::request) enum Kind {
    /// A task, or a sweep.
    Basic,
    /// Instances until the job is ended.
    Service,
    /// The job's preparation.
    Preparation,
    /// The job's release.
    Release,
}

/// The task of a command line, or of a part of a job file.
pub(in crate::request) fn of_parts(
    options: &Options,
    command: Vec<String>,
    here: &Here,
) -> Result<TaskSpec, UsageError> {
    let mut task = TaskSpec::of_command(command);
    task.name = options
        .read(Key::TaskName, |text| value::short_text(text, LONGEST_NAME))?
        .unwrap_or_default();
    if let Some((request, most)) = needs(options)? {
        (task.request, task.request_max) = (request, most);
    }
    if let Some(rerunnable) = options.one(Key::Rerunnable) {
        task.rerunnable = rerunnable.is_true()?;
    }
    // The job's limit is the head node's to keep; the node keeps the task's, also while the head node is away.
    task.runtime_limit = options.read(Key::RunTime, value::run_time)?.flatten();
    let directory = here.directory.as_deref();
    task.workdir = options.read(Key::WorkDir, |text| value::workdir(text, directory))?;
    task.stdin = options.text(Key::StdIn).map(str::to_owned);
    task.stdout = options.text(Key::StdOut).map(str::to_owned);
    task.stderr = options.text(Key::StdErr).map(str::to_owned);
    task.env = env(options, Key::Env)?;
    task.valid_exit_codes = options.read(Key::ValidExitCodes, value::exit_codes)?;
    task.max_requeues = options.read(Key::RetryLimit, |text| value::number(text, 0, MOST_REQUEUES))?;
    task.depends_on = options.read(Key::Depend, value::names)?.unwrap_or_default();
    task.sweep = options.read(Key::Parametric, value::sweep)?;
    task.interactive = interactive(options)?;
    further(options, &mut task, here)?;
    if kind(options)? == Kind::Service {
        exclude(options, Key::TaskType, Key::Parametric)?;
        // The head node makes its sweep without an end.
        task.kind = TaskKind::Service;
    }
    exclude(options, Key::Interactive, Key::Parametric)?;
    exclude(options, Key::Terminal, Key::Parametric)?;
    exclude(options, Key::Interactive, Key::StdIn)?;
    exclude(options, Key::Terminal, Key::StdIn)?;
    Ok(task)
}

/// What HPC Pack has no word for.
fn further(options: &Options, task: &mut TaskSpec, here: &Here) -> Result<(), UsageError> {
    task.memory_mib = memory(options, task)?;
    for given in options.all(Key::Resource) {
        value::resources(given.text(), &mut task.resources).map_err(|error| given.refuse(error.to_string()))?;
    }
    task.coordination = options.read(Key::Coordination, value::command)?;
    task.common_files = common_files(options, here)?;
    task.any_domain = options.flag(Key::AnyDomain)?;
    task.affinity = options.read(Key::Affinity, str::parse)?;
    task.depends_on_ranges = options.read(Key::DependIds, value::depend_ids)?.unwrap_or_default();
    task.max_retries = options.read(Key::MaxRetries, value::retries)?;
    task.retention = options.read(Key::Retention, value::span)?;
    let mut conditions = ExitConditions::default();
    for given in options.all(Key::OnExit) {
        value::exit_rule(given.text(), &mut conditions).map_err(|error| given.refuse(error.to_string()))?;
    }
    task.exit_conditions = (conditions != ExitConditions::default()).then(|| Box::new(conditions));
    Ok(())
}

/// Per node, as it is kept. HPC Pack counts it per process, which is the same thing only where it is known how many there
/// are on a node.
fn memory(options: &Options, task: &TaskSpec) -> Result<Option<u64>, UsageError> {
    exclude(options, Key::Memory, Key::ProcessMemory)?;
    let (Some(given), Some(each)) = (
        options.one(Key::ProcessMemory),
        options.read(Key::ProcessMemory, value::memory)?,
    ) else {
        return options.read(Key::Memory, value::memory);
    };
    let processes = match (task.request, task.request_max) {
        (Needs::Cores { count: 1 }, None) => Some(1),
        (Needs::Cores { count }, None) if options.flag(Key::SingleNode)? => Some(count),
        _ => None,
    };
    match processes {
        Some(count) => Ok(Some(each.saturating_mul(u64::from(count)))),
        None => Err(given.refuse(
            "how many processes a node gets is not known; write --memory with what the task needs on each of its nodes",
        )),
    }
}

/// `PATH` or `PATH=DEST`: read here, put there on every node.
fn common_files(options: &Options, here: &Here) -> Result<Vec<CommonFile>, UsageError> {
    let mut files: Vec<CommonFile> = Vec::new();
    let mut bytes = 0;
    for given in options.all(Key::CommonFile) {
        let (from, to) = match given.text().rsplit_once('=') {
            Some((from, to)) => (from, to),
            None => (
                given.text(),
                given.text().rsplit('/').next().unwrap_or_else(|| given.text()),
            ),
        };
        let path = value::relative_path(to).map_err(|error| given.refuse(error.to_string()))?;
        if files.iter().any(|file| file.path == path) {
            return Err(given.refuse(format!(
                "'{path}' is put there already; give it another name: {from}=NAME"
            )));
        }
        let read = (here.file)(from, MAX_SCRIPT_BYTES).map_err(|wrong| given.refuse(wrong))?;
        bytes += read.text.len();
        if bytes > MAX_SCRIPT_BYTES {
            return Err(given.refuse(format!(
                "the files are longer than {MAX_SCRIPT_BYTES} bytes together; put them where the nodes see them"
            )));
        }
        files.push(CommonFile {
            path,
            text: read.text,
            mode: read.mode,
        });
    }
    Ok(files)
}

fn interactive(options: &Options) -> Result<Option<Interactive>, UsageError> {
    let terminal = options.flag(Key::Terminal)?;
    let takes_input = terminal || options.flag(Key::Interactive)?;
    Ok(takes_input.then_some(Interactive { terminal }))
}

/// What `--type` says, or says again after `--parametric`.
pub(in crate::request) fn kind(options: &Options) -> Result<Kind, UsageError> {
    let Some(given) = options.one(Key::TaskType) else {
        return Ok(Kind::Basic);
    };
    let kinds = ["Basic", "ParametricSweep", "NodePrep", "NodeRelease", "Service"];
    let kind = options.read(Key::TaskType, |text| value::word(text, &kinds))?;
    match (kind, options.one(Key::Parametric)) {
        (Some("Basic"), Some(index)) => Err(UsageError::Conflict {
            first: format!("{} {}", given.spelled, given.text()),
            second: index.spelled.clone(),
        }),
        (Some("ParametricSweep"), None) => Err(given.refuse("give the index too: --parametric 1-100")),
        (Some("NodePrep"), _) => Ok(Kind::Preparation),
        (Some("NodeRelease"), _) => Ok(Kind::Release),
        (Some("Service"), _) => Ok(Kind::Service),
        _ => Ok(Kind::Basic),
    }
}
