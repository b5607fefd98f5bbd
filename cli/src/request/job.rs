//! Commands about jobs.

mod asked;

use proto::client::JobFilter;
use proto::ids::SubmissionId;
use proto::model::job::{DisableTasks, JobChange, JobSpec, SetTo};
use proto::model::task::TaskSpec;

use asked::with_script;
pub(super) use asked::{Asked, asked};

use super::jobfile::{self, Graph};
use super::select::{self, JobPick, TaskPick};
use super::task::{TaskListing, listing, picked_states};
use super::{Here, misplaced, spec};
use crate::args::table::{Key, Verb};
use crate::args::{Options, UsageError};
use crate::remark;
use crate::value::{self, ValueError};

/// The words for states of jobs that a filter may name: ours, and HPC Pack's for all of them.
const JOB_STATES: &[&str] = &[
    "Configuring",
    "Queued",
    "Running",
    "Disabled",
    "Finishing",
    "Terminating",
    "Canceling",
    "Finished",
    "Failed",
    "Canceled",
    "Terminated",
    "All",
];

/// Options of which one on the command line takes the place of another one in a script.
pub(super) const UNITS: &[Key] = &[Key::NumNodes, Key::NumCores, Key::NumSockets];

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
        /// Of a job file; else they come later.
        tasks: Vec<TaskSpec>,
        remarks: Vec<String>,
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
    Why {
        jobs: Vec<JobPick>,
        tasks: Vec<TaskPick>,
    },
    Disable {
        jobs: Vec<JobPick>,
        tasks: DisableTasks,
    },
    Enable(Vec<JobPick>),
    Terminate {
        jobs: Vec<JobPick>,
        /// Empty means Azure Batch's `UserTerminate`.
        reason: String,
    },
    Delete(Vec<JobPick>),
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

/// A job with its tasks: one, or those of a job file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Given by the user; none means a new one.
    pub id: Option<SubmissionId>,
    /// The job.
    pub job: JobSpec,
    /// Its tasks.
    pub tasks: Vec<TaskSpec>,
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
        Verb::JobNew => made(options, here)?,
        Verb::JobAdd | Verb::TaskAdd => add(verb, options, words, here)?,
        Verb::JobDisable => JobCommand::Disable {
            jobs: jobs()?,
            // Azure Batch demands a word; a job that is disabled to be changed mostly wants its nodes back.
            tasks: options
                .read(Key::DisableTasks, disabled_tasks)?
                .unwrap_or(DisableTasks::Requeue),
        },
        Verb::JobEnable => JobCommand::Enable(jobs()?),
        Verb::JobTerminate => JobCommand::Terminate {
            jobs: jobs()?,
            reason: options
                .read(Key::Reason, |text| value::short_text(text, 128))?
                .unwrap_or_default(),
        },
        Verb::JobDelete => JobCommand::Delete(jobs()?),
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
        Verb::JobWhy | Verb::TaskWhy => why(verb, words)?,
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
    let Asked { graph, options } = asked(verb, options, words, here)?;
    let interactive = graph.tasks.iter().any(|task| task.interactive.is_some());
    Ok(JobCommand::Submit(Box::new(Submission {
        id: submission_id(&options)?,
        then: then(&options, interactive)?,
        job: graph.job,
        tasks: graph.tasks,
        remarks: graph.remarks,
    })))
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

fn then(options: &Options, interactive: bool) -> Result<Then, UsageError> {
    Ok(if options.flag(Key::DryRun)? {
        Then::Rehearse
    } else if interactive {
        Then::Attach
    } else if options.flag(Key::Wait)? {
        Then::Wait
    } else {
        Then::Leave
    })
}

fn add(verb: Verb, options: &Options, words: &[String], here: &Here) -> Result<JobCommand, UsageError> {
    let (job, command) = words.split_at(1);
    let program = command.first().map_or("", String::as_str);
    let (script, options, mut remarks) = with_script(verb, options, program, here)?;
    let kind = spec::kind(&options)?;
    let mut task = spec::task(&options, command.to_vec(), here)?;
    task.exclusive = options.flag(Key::Exclusive)?;
    task.script = script;
    let job = select::one_job(verb, job)?;
    let change = match kind {
        spec::Kind::Basic | spec::Kind::Service => {
            remarks.extend(remark::on(&task));
            return Ok(JobCommand::Add {
                id: submission_id(&options)?,
                job,
                task: Box::new(task),
                sized: UNITS.iter().any(|key| options.one(*key).is_some()),
                remarks,
            });
        }
        // HPC Pack has them as tasks; here they are wishes of the job.
        spec::Kind::Preparation => JobChange {
            preparation: Some(SetTo::Value(Box::new(spec::preparation_of(task, &options)?))),
            ..JobChange::default()
        },
        spec::Kind::Release => JobChange {
            release: Some(SetTo::Value(Box::new(task))),
            ..JobChange::default()
        },
    };
    Ok(JobCommand::Modify {
        jobs: vec![job],
        change: Box::new(change),
    })
}

/// Tasks have a dot in their ids, jobs have none.
fn why(verb: Verb, words: &[String]) -> Result<JobCommand, UsageError> {
    let is_task = |word: &&String| verb == Verb::TaskWhy || word.contains('.');
    let (tasks, jobs): (Vec<&String>, Vec<&String>) = words.iter().partition(is_task);
    let owned = |words: Vec<&String>| words.into_iter().cloned().collect::<Vec<_>>();
    Ok(JobCommand::Why {
        jobs: select::jobs(verb, &owned(jobs))?,
        tasks: match tasks.is_empty() {
            true => Vec::new(),
            false => select::tasks(verb, &owned(tasks), false)?,
        },
    })
}

fn made(options: &Options, here: &Here) -> Result<JobCommand, UsageError> {
    let Graph { job, tasks, remarks } = match options.one(Key::JobFile) {
        Some(file) => jobfile::read(file.text(), options, here)?,
        None => Graph {
            job: spec::job_alone(options, here)?,
            tasks: Vec::new(),
            remarks: Vec::new(),
        },
    };
    Ok(JobCommand::New {
        id: submission_id(options)?,
        job: Box::new(job),
        tasks,
        remarks,
    })
}

fn disabled_tasks(text: &str) -> Result<DisableTasks, ValueError> {
    Ok(match value::word(text, &["requeue", "terminate", "wait"])? {
        "terminate" => DisableTasks::Terminate,
        "wait" => DisableTasks::Wait,
        _ => DisableTasks::Requeue,
    })
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
