//! Commands about jobs.

use proto::client::JobFilter;
use proto::ids::SubmissionId;
use proto::model::job::{JobChange, JobSpec};
use proto::model::task::TaskSpec;

use super::select::{self, JobPick};
use super::task::{TaskListing, listing, picked_states};
use super::{Here, misplaced, spec};
use crate::args::table::{Key, Verb};
use crate::args::{self, Options, UsageError};
use crate::remark;
use crate::script::Script;
use crate::value::{self, ValueError};

/// The words for states of jobs that a filter may name: ours, and HPC Pack's for all of them.
const JOB_STATES: &[&str] = &[
    "Configuring",
    "Queued",
    "Running",
    "Canceling",
    "Finished",
    "Failed",
    "Canceled",
    "All",
];

/// Options of which one on the command line takes the place of another one in a script.
const UNITS: &[Key] = &[Key::NumNodes, Key::NumCores, Key::NumSockets];

/// A checked command about jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum JobCommand {
    Submit(Box<Submission>),
    /// `job submit /id`
    SubmitMade {
        job: JobPick,
        then: Then,
    },
    New {
        id: Option<SubmissionId>,
        job: Box<JobSpec>,
    },
    Add {
        id: Option<SubmissionId>,
        job: JobPick,
        task: Box<TaskSpec>,
        /// Whether it was said how much the task needs; else it is one of what the job counts in.
        sized: bool,
        remarks: Vec<String>,
    },
    List {
        filter: JobFilter,
        /// Empty means all that fit the filter.
        jobs: Vec<JobPick>,
    },
    View(Vec<JobPick>),
    ListTasks(TaskListing),
    Wait(Vec<JobPick>),
    Watch(JobPick),
    Cancel {
        jobs: Vec<JobPick>,
        tasks: Vec<String>,
        force: bool,
        message: String,
    },
    Requeue {
        jobs: Vec<JobPick>,
        tasks: Vec<String>,
    },
    Finish {
        jobs: Vec<JobPick>,
        tasks: Vec<String>,
        message: String,
    },
    Modify {
        jobs: Vec<JobPick>,
        change: Box<JobChange>,
    },
    Clone {
        id: Option<SubmissionId>,
        job: JobPick,
    },
    Why(Vec<JobPick>),
}

/// What happens after a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Leave,
    /// It is waited for, and the output of a single task is shown.
    Wait,
    /// Our input is its input.
    Attach,
    /// There is none: only what would become of it is asked.
    Rehearse,
}

/// A job with its one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Given by the user; none means a new one.
    pub id: Option<SubmissionId>,
    /// The job.
    pub job: JobSpec,
    /// Its task.
    pub task: TaskSpec,
    /// What comes after it.
    pub then: Then,
    /// What is probably meant otherwise than it was typed.
    pub remarks: Vec<String>,
}

/// Checks one.
pub(super) fn checked(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<JobCommand, UsageError> {
    let jobs = || select::jobs(verb, words);
    let message = || -> Result<String, UsageError> {
        let message = options.read(Key::Message, |text| value::short_text(text, 128))?;
        Ok(message.unwrap_or_default())
    };
    Ok(match verb {
        Verb::JobSubmit => submit(options, words, here)?,
        Verb::JobNew => JobCommand::New {
            id: submission_id(options)?,
            job: Box::new(spec::job_alone(options, here)?),
        },
        Verb::JobAdd => add(options, words, here)?,
        Verb::JobList => JobCommand::List {
            filter: job_filter(options, here)?,
            jobs: jobs()?,
        },
        Verb::JobView => JobCommand::View(jobs()?),
        Verb::JobListTasks => JobCommand::ListTasks(listing(verb, options, words)?),
        Verb::JobWait => JobCommand::Wait(jobs()?),
        Verb::JobWatch => JobCommand::Watch(select::one_job(verb, words)?),
        Verb::JobCancel => JobCommand::Cancel {
            jobs: jobs()?,
            tasks: picked_states(options)?,
            force: options.flag(Key::Force)?,
            message: message()?,
        },
        Verb::JobRequeue => JobCommand::Requeue {
            jobs: jobs()?,
            tasks: picked_states(options)?,
        },
        Verb::JobFinish => JobCommand::Finish {
            jobs: jobs()?,
            tasks: picked_states(options)?,
            message: message()?,
        },
        Verb::JobModify => modify(verb, options, words, here)?,
        Verb::JobClone => JobCommand::Clone {
            id: submission_id(options)?,
            job: select::one_job(verb, words)?,
        },
        Verb::JobWhy => JobCommand::Why(jobs()?),
        _ => return Err(misplaced(verb)),
    })
}

fn submission_id(options: &Options) -> Result<Option<SubmissionId>, UsageError> {
    options.read(Key::SubmissionId, |text| text.parse().map_err(|_| ValueError::Hex))
}

fn submit(options: &Options, words: &[String], here: &Here) -> Result<JobCommand, UsageError> {
    let verb = Verb::JobSubmit;
    if let Some(id) = options.one(Key::JobId) {
        return submit_made(options, id.text(), words);
    }
    let Some(program) = words.first() else {
        return Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: verb.spec().needs,
            usage: verb.spec().usage(),
        });
    };
    let (script, options, mut remarks) = with_script(verb, options, program, here)?;
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
    let then = then(&options, &task)?;
    Ok(JobCommand::Submit(Box::new(Submission {
        id: submission_id(&options)?,
        job: spec::job(&options, here)?,
        task,
        then,
        remarks,
    })))
}

/// Where other schedulers have their time limit behind `-t`.
fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-')
}

/// `/id` names a job that is complete; what it asks for was said before.
fn submit_made(options: &Options, id: &str, words: &[String]) -> Result<JobCommand, UsageError> {
    let verb = Verb::JobSubmit;
    let fits = [Key::JobId, Key::Wait];
    if let Some(other) = options.own().find(|given| !fits.contains(&given.key)) {
        return Err(UsageError::Conflict {
            first: "/id".to_owned(),
            second: format!("{} ('job modify' changes a job)", other.spelled),
        });
    }
    if let Some(word) = words.first() {
        return Err(UsageError::ExtraWord {
            place: "job submit /id".to_owned(),
            word: word.clone(),
            usage: "job add JOB PROGRAM adds a task, job submit /id:JOB submits".to_owned(),
        });
    }
    Ok(JobCommand::SubmitMade {
        job: select::one_job(verb, &[id.to_owned()])?,
        then: if options.flag(Key::Wait)? {
            Then::Wait
        } else {
            Then::Leave
        },
    })
}

fn then(options: &Options, task: &TaskSpec) -> Result<Then, UsageError> {
    Ok(if options.flag(Key::DryRun)? {
        Then::Rehearse
    } else if task.interactive.is_some() {
        Then::Attach
    } else if options.flag(Key::Wait)? {
        Then::Wait
    } else {
        Then::Leave
    })
}

fn add(options: &Options, words: &[String], here: &Here) -> Result<JobCommand, UsageError> {
    let verb = Verb::JobAdd;
    let (job, command) = words.split_at(1);
    let program = command.first().map_or("", String::as_str);
    let (script, options, mut remarks) = with_script(verb, options, program, here)?;
    let mut task = spec::task(&options, command.to_vec(), here)?;
    task.exclusive = options.flag(Key::Exclusive)?;
    task.script = script;
    remarks.extend(remark::on(&task));
    Ok(JobCommand::Add {
        id: submission_id(&options)?,
        job: select::one_job(verb, job)?,
        task: Box::new(task),
        sized: UNITS.iter().any(|key| options.one(*key).is_some()),
        remarks,
    })
}

/// The script that a program is, the options with those of the script below them, and what to remark.
fn with_script(
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
    let mut all = options.clone();
    all.underlay(below, UNITS);
    Ok((Some(text), all, remarks.chain(foreign).chain(windows).collect()))
}

fn modify(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<JobCommand, UsageError> {
    let change = spec::modification(options, here)?;
    if change == JobChange::default() {
        return Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: "an option that says what to change",
            usage: "job modify JOB /priority:Highest".to_owned(),
        });
    }
    Ok(JobCommand::Modify {
        jobs: select::jobs(verb, words)?,
        change: Box::new(change),
    })
}

fn job_filter(options: &Options, here: &Here) -> Result<JobFilter, UsageError> {
    let all = options.flag(Key::All)?;
    let states = options
        .read(Key::JobState, |text| value::words_of(text, JOB_STATES))?
        .unwrap_or_default();
    let every = states.iter().any(|state| state == "All");
    let since = options.read(Key::SubmitDate, |text| value::moment_before(text, here.clock))?;
    Ok(JobFilter {
        all_users: all,
        // Who asks since when wants to know how it went.
        ended: all || !states.is_empty() || since.is_some(),
        user: options.text(Key::User).map(str::to_owned),
        states: if every { Vec::new() } else { states },
        name: options.text(Key::JobName).map(str::to_owned),
        project: options.text(Key::Project).map(str::to_owned),
        since,
        admin: false,
        limit: None,
    })
}
