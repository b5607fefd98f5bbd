//! What a command line asks for: a program with options, a script with those in it, or a job file.

use proto::model::task::{Request, TaskKind};

use super::super::jobfile::{self, Graph};
use super::super::{Here, spec};
use super::UNITS;
use crate::args::table::{self, Key, Status, Verb};
use crate::args::{self, Given, Options, UsageError};
use crate::remark;
use crate::script::Script;

/// A job with its tasks, and the options that said so: with those of a script.
pub(in crate::request) struct Asked {
    pub(in crate::request) graph: Graph,
    pub(in crate::request) options: Options,
}

/// What a program with options, or a job file, asks for.
pub(in crate::request) fn asked(
    verb: Verb,
    options: &Options,
    words: &[String],
    here: &Here,
) -> Result<Asked, UsageError> {
    if let Some(file) = options.one(Key::JobFile) {
        return of_file(verb, options, file, words, here);
    }
    if words.is_empty() && options.one(Key::Manager).is_some() {
        return of_manager(options, here);
    }
    let Some(program) = words.first() else {
        return Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: match verb {
                Verb::JobSubmit => verb.spec().needs,
                _ => "a command, the program to run, or --job-file",
            },
            usage: verb.spec().usage(),
        });
    };
    let (script, options, mut remarks) = with_script(verb, options, program, here)?;
    if let Some(given) = options.one(Key::TaskType) {
        let instead = match spec::kind(&options)? {
            spec::Kind::Basic | spec::Kind::Service => None,
            spec::Kind::Preparation => Some("--prep"),
            spec::Kind::Release => Some("--release"),
        };
        if let Some(option) = instead {
            return Err(given.refuse(format!(
                "a job is more than that: write {} {option} '{program}' PROGRAM, or add it to a job with 'job add JOB'",
                verb.spec().title()
            )));
        }
    }
    let mut task = spec::task(&options, words.to_vec(), here)?;
    task.script = script;
    remarks.extend(remark::on(&task));
    if let Some(terminal) = options.one(Key::Terminal).filter(|_| is_time(program)) {
        return Err(UsageError::BadWord {
            wrong: format!(
                "{} asks for a terminal, and '{program}' would be the program",
                terminal.spelled
            ),
            usage: format!("--runtime {program} for a time limit"),
        });
    }
    let mut job = spec::job(&options, here)?;
    if task.kind == TaskKind::Service {
        // As in HPC Pack the size is the job's: an instance on each unit of it.
        job.units = spec::units(&options)?;
        task.request = one_of(task.request);
        task.request_max = None;
    }
    let graph = Graph {
        job,
        tasks: vec![task],
        remarks,
    };
    Ok(Asked { graph, options })
}

const fn one_of(request: Request) -> Request {
    match request {
        Request::Nodes { .. } => Request::Nodes { count: 1 },
        Request::Sockets { .. } => Request::Sockets { count: 1 },
        Request::Cores { .. } | Request::Beside { .. } => Request::Cores { count: 1 },
    }
}

/// An option that says something of a task, and nothing of its job or of the command itself.
fn of_a_task(options: &Options) -> Option<&Given> {
    const BESIDE: [Key; 8] = [
        Key::JobFile,
        Key::Wait,
        Key::DryRun,
        Key::SubmissionId,
        Key::Every,
        Key::From,
        Key::Until,
        Key::Window,
    ];
    let of_job = |key: Key| {
        let mut specs = table::options().filter(|spec| spec.on.contains(&Verb::JobNew));
        specs.any(|spec| spec.status == Status::Built(key))
    };
    options
        .own()
        .find(|given| !BESIDE.contains(&given.key) && !of_job(given.key))
}

/// A manager adds the tasks of its job, so that it may be all that there is at first.
fn of_manager(options: &Options, here: &Here) -> Result<Asked, UsageError> {
    if let Some(other) = of_a_task(options) {
        return Err(UsageError::MissingWord {
            place: other.spelled.clone(),
            needs: "a task beside the manager",
            usage: "job submit --manager COMMAND [OPTIONS OF THE JOB], or with a PROGRAM".to_owned(),
        });
    }
    let graph = Graph {
        job: spec::job_alone(options, here)?,
        tasks: Vec::new(),
        remarks: Vec::new(),
    };
    Ok(Asked {
        graph,
        options: options.clone(),
    })
}

/// What a job file says is said there; of the options those of the job and of the command itself go over it.
fn of_file(verb: Verb, options: &Options, file: &Given, words: &[String], here: &Here) -> Result<Asked, UsageError> {
    if let Some(other) = of_a_task(options) {
        return Err(UsageError::Conflict {
            first: file.spelled.clone(),
            second: format!("{} (a task's; say it in the file)", other.spelled),
        });
    }
    if let Some(word) = words.first() {
        return Err(UsageError::ExtraWord {
            place: format!("{} {}", verb.spec().title(), file.spelled),
            word: word.clone(),
            usage: "the programs stand in the file".to_owned(),
        });
    }
    Ok(Asked {
        graph: jobfile::read(file.text(), options, here)?,
        options: options.clone(),
    })
}

/// Where other schedulers have their time limit behind `-t`.
fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-')
}

/// The script that a program is, the options with those of the script below them, and what to remark.
pub(super) fn with_script(
    verb: Verb,
    options: &Options,
    program: &str,
    here: &Here,
) -> Result<(Option<String>, Options, Vec<String>), UsageError> {
    let read = (here.script)(program).map_err(|error| UsageError::BadWord {
        wrong: error.to_string(),
        usage: verb.spec().usage(),
    })?;
    let Some(Script {
        text,
        directives,
        late,
        foreign,
        windows,
    }) = read
    else {
        return Ok((None, options.clone(), Vec::new()));
    };
    let mut below = Options::default();
    for (line, words) in directives {
        let wrong = |error: &dyn std::fmt::Display| UsageError::BadWord {
            wrong: format!("{program}, line {line}: {error}"),
            usage: "#MUSTER [OPTIONS], as on the command line".to_owned(),
        };
        let (options, others) = args::options_of(verb, &words).map_err(|error| wrong(&error))?;
        if let Some(word) = others.first() {
            return Err(wrong(&format!("'{word}' is no option")));
        }
        below.add(options).map_err(|error| wrong(&error))?;
    }
    let remarks = late
        .into_iter()
        .map(|line| format!("{program}, line {line}: #MUSTER below the first command says nothing"));
    let foreign =
        foreign.map(|(line, mark)| format!("{program}, line {line}: {mark} is not read here; write #MUSTER [OPTIONS]"));
    let windows = windows.then(|| format!("{program} has line ends of Windows; it is sent with those of Linux"));
    if let Some(file) = below.one(Key::JobFile) {
        return Err(UsageError::NotYet {
            what: format!("{program}: {} in a script", file.spelled),
            instead: "give it on the command line",
        });
    }
    let mut all = options.clone();
    all.underlay(below, UNITS);
    Ok((Some(text), all, remarks.chain(foreign).chain(windows).collect()))
}
