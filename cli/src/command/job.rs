//! Commands about jobs.

use std::collections::BTreeMap;

use proto::client::{JobFilter, RefusalCode, Reply, Request};
use proto::ids::{JobId, TaskId};
use proto::model::job::JobRow;

use super::select::{self, Meant};
use super::{Door, submit, task, wait};
use crate::answer::{Among, Answer, Refused};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::Look;
use crate::request::{JobCommand, JobPick, Picked, TaskPick};

/// Carries out one.
pub(super) async fn run(command: JobCommand, look: &Look, door: &Door) -> Result<Answer, CliError> {
    match command {
        JobCommand::Submit(submission) => submit::submit(*submission, look, door).await,
        JobCommand::SubmitMade { job, then } => submit::submit_made(job, then, look, door).await,
        JobCommand::New { id, job } => submit::new(id, *job, door).await,
        JobCommand::Add {
            id,
            job,
            task,
            sized,
            remarks,
        } => {
            let job = select::job(job, &mut door.connect().await?).await?;
            let mut task = *task;
            if !sized {
                task.request = submit::unit_of(job, door).await?;
            }
            submit::add(id, job, task, remarks, door).await
        }
        JobCommand::Clone { id, job } => submit::clone(id, job, door).await,
        JobCommand::List { filter, jobs } => list(filter, &jobs, door).await,
        JobCommand::ListTasks(listing) => task::list(&listing, look, door).await,
        JobCommand::Watch(pick) => {
            let job = select::job(pick, &mut door.connect().await?).await?;
            wait::watch(job, look, door).await
        }
        JobCommand::Wait(picks) => wait_all(&picks, door).await,
        JobCommand::View(picks) => each(&picks, door, |job| Request::ViewJob { job }).await,
        JobCommand::Why(picks) => each(&picks, door, |job| Request::WhyJob { job }).await,
        JobCommand::Modify { jobs, change } => {
            let request = |job| Request::ModifyJob {
                job,
                change: change.clone(),
            };
            each(&jobs, door, request).await
        }
        JobCommand::Cancel {
            jobs,
            tasks,
            force,
            message,
        } if tasks.is_empty() => {
            let request = |job| Request::CancelJob {
                job,
                force,
                message: message.clone(),
            };
            each(&jobs, door, request).await
        }
        JobCommand::Requeue { jobs, tasks } if tasks.is_empty() => {
            each(&jobs, door, |job| Request::RequeueJob { job }).await
        }
        JobCommand::Finish { jobs, tasks, message } if tasks.is_empty() => {
            let request = |job| Request::FinishJob {
                job,
                message: message.clone(),
            };
            each(&jobs, door, request).await
        }
        // With a filter it is the tasks that are meant.
        JobCommand::Cancel {
            jobs,
            tasks,
            force,
            message,
        } => {
            let request = |tasks| Request::CancelTasks {
                tasks,
                force,
                message: message.clone(),
            };
            task::act(&of_jobs(jobs, tasks), door, request).await
        }
        JobCommand::Requeue { jobs, tasks } => {
            task::act(&of_jobs(jobs, tasks), door, |tasks| Request::RequeueTasks { tasks }).await
        }
        JobCommand::Finish { jobs, tasks, message } => {
            let request = |tasks| Request::FinishTasks {
                tasks,
                message: message.clone(),
            };
            task::act(&of_jobs(jobs, tasks), door, request).await
        }
    }
}

fn of_jobs(jobs: Vec<JobPick>, states: Vec<String>) -> Picked {
    Picked {
        tasks: jobs.into_iter().map(TaskPick::Jobs).collect(),
        states,
    }
}

async fn list(filter: JobFilter, picks: &[JobPick], door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    if picks.is_empty() {
        let among = match (filter == JobFilter::default(), filter.ended) {
            (true, _) => Among::OwnLive,
            (_, false) => Among::Live,
            (_, true) => Among::All,
        };
        return match client.request(Request::ListJobs { filter }).await? {
            Reply::Jobs { jobs, more } => Ok(Answer::Jobs { jobs, more, among }),
            _ => Err(ClientError::Unexpected { asked: "job list" }.into()),
        };
    }
    let mut jobs = Vec::new();
    for meant in select::jobs(picks, &mut client).await? {
        match client.request(Request::ViewJob { job: meant.job }).await {
            Ok(Reply::Job { job }) => jobs.extend(Some(*job).filter(|job| is_asked(job, &filter))),
            Err(error) if is_hole(meant, &error) => {}
            Ok(_) => return Err(ClientError::Unexpected { asked: "job list" }.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer::Jobs {
        jobs,
        more: false,
        among: Among::All,
    })
}

/// Whether a job that was named also fits what was said of it. Whether it lives was not.
fn is_asked(job: &JobRow, filter: &JobFilter) -> bool {
    let fits = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|asked| asked == is);
    (filter.states.is_empty() || filter.states.iter().any(|state| state == job.state.word()))
        && fits(&filter.user, &job.owner.name)
        && fits(&filter.name, &job.spec.name)
        && fits(&filter.project, &job.spec.project)
        && filter.since.is_none_or(|since| job.submitted_at >= since)
}

/// A number in a range that no job of ours has.
fn is_hole(meant: Meant, error: &ClientError) -> bool {
    let hidden = |code| matches!(code, RefusalCode::NotFound | RefusalCode::Forbidden);
    !meant.by_name && matches!(error, ClientError::Refused(refusal) if hidden(refusal.code))
}

/// One question for each job. One job's refusal is an error; of several the others are still asked.
async fn each(picks: &[JobPick], door: &Door, request: impl Fn(JobId) -> Request) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let meant = select::jobs(picks, &mut client).await?;
    let mut answers = Vec::new();
    for one in &meant {
        match client.request(request(one.job)).await {
            Ok(reply) => answers.push(Ok(answer(reply)?)),
            Err(error) if is_hole(*one, &error) => {}
            Err(error @ ClientError::Refused(_)) if meant.len() > 1 => answers.push(Err(refused(&error))),
            Err(error) => return Err(error.into()),
        }
    }
    together(answers)
}

fn answer(reply: Reply) -> Result<Answer, CliError> {
    match reply {
        Reply::Job { job } => Ok(Answer::Job(job)),
        Reply::Why { job, why } => Ok(Answer::Why { job, why }),
        Reply::Done { notes, .. } => Ok(Answer::Notes(notes)),
        _ => Err(ClientError::Unexpected { asked: "this command" }.into()),
    }
}

pub(super) fn refused(error: &ClientError) -> Refused {
    Refused {
        what: error.to_string(),
        exit: error.exit(),
    }
}

/// One answer as it is, several as a list; nothing at all is an error of its own.
pub(super) fn together(mut answers: Vec<Result<Answer, Refused>>) -> Result<Answer, CliError> {
    match answers.len() {
        0 => Err(CliError::NothingMeant),
        1 if answers[0].is_ok() => answers.remove(0).map_err(|_| CliError::NothingMeant),
        _ => Ok(Answer::Many(answers)),
    }
}

async fn wait_all(picks: &[JobPick], door: &Door) -> Result<Answer, CliError> {
    let meant = select::jobs(picks, &mut door.connect().await?).await?;
    let mut answers = Vec::new();
    for one in &meant {
        match wait::wait(one.job, door).await {
            Ok(row) => answers.push(Ok(Answer::Waited(Box::new(row)))),
            Err(CliError::Client(error)) if is_hole(*one, &error) => {}
            Err(CliError::Client(error @ ClientError::Refused(_))) if meant.len() > 1 => {
                answers.push(Err(refused(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    together(answers)
}

/// For each job and its tasks one question, in parts that a message may have.
pub(super) async fn of_each_job(
    tasks: &BTreeMap<JobId, Vec<TaskId>>,
    client: &mut Client,
    request: impl Fn(Vec<TaskId>) -> Request,
) -> Result<Answer, CliError> {
    let parts: Vec<&[TaskId]> = tasks
        .values()
        .flat_map(|ids| ids.chunks(proto::client::MAX_TASKS))
        .collect();
    let mut answers = Vec::new();
    for part in &parts {
        match client.request(request(part.to_vec())).await {
            Ok(reply) => answers.push(Ok(answer(reply)?)),
            Err(error @ ClientError::Refused(_)) if parts.len() > 1 => answers.push(Err(refused(&error))),
            Err(error) => return Err(error.into()),
        }
    }
    together(answers)
}
