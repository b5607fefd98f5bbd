//! Commands about jobs.

use std::collections::BTreeMap;

use proto::client::{JobFilter, RefusalCode, Reply, Request};
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::job::JobRow;
use proto::model::why::{Hold, NextEvent, Why};

use super::select::{self, Meant, Naming, Of, Pages};
use super::{Door, services, submit, task, wait};
use crate::answer::{Among, Answer, Names, Refused, TaskLine};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::Look;
use crate::request::{JobCommand, JobPick, Picked, TaskPick};

/// Carries out one.
pub(super) async fn run(command: JobCommand, look: &Look, door: &Door) -> Result<Answer, CliError> {
    match command {
        JobCommand::Submit(submission) => submit::submit(*submission, look, door).await,
        JobCommand::SubmitMade { job, then } => submit::submit_made(job, then, look, door).await,
        JobCommand::New {
            id,
            job,
            tasks,
            remarks,
        } => submit::new(id, *job, tasks, remarks, door).await,
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
        JobCommand::View(picks) => {
            let answer = each(&picks, door, |job| Request::ViewJob { job }).await?;
            on_nodes(answer, door).await
        }
        JobCommand::Why { jobs, tasks } if tasks.is_empty() => each(&jobs, door, |job| Request::WhyJob { job }).await,
        JobCommand::Why { jobs, tasks } => why(&jobs, tasks, door).await,
        JobCommand::Disable { jobs, tasks } => each(&jobs, door, |job| Request::DisableJob { job, tasks }).await,
        JobCommand::Enable(jobs) => each(&jobs, door, |job| Request::EnableJob { job }).await,
        JobCommand::Terminate { jobs, reason } => {
            let request = |job| Request::TerminateJob {
                job,
                reason: reason.clone(),
            };
            each(&jobs, door, request).await
        }
        JobCommand::Delete(jobs) => each(&jobs, door, |job| Request::DeleteJob { job }).await,
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
            Reply::Jobs { mut jobs, more, whys } => {
                for job in &mut jobs {
                    services::settle(job, &mut client).await?;
                }
                Ok(Answer::Jobs {
                    jobs,
                    more,
                    among,
                    whys,
                })
            }
            _ => Err(ClientError::Unexpected { asked: "job list" }.into()),
        };
    }
    let mut jobs = Vec::new();
    for meant in select::jobs(picks, &mut client).await? {
        match client.request(Request::ViewJob { job: meant.job }).await {
            Ok(Reply::Job { mut job }) => {
                services::settle(&mut job, &mut client).await?;
                jobs.extend(Some(*job).filter(|job| is_asked(job, &filter)));
            }
            Err(error) if is_hole(meant, &error) => {}
            Ok(_) => return Err(ClientError::Unexpected { asked: "job list" }.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer::Jobs {
        jobs,
        more: false,
        among: Among::All,
        whys: Vec::new(),
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
    for answer in answers.iter_mut().flatten() {
        if let Answer::Job(job) | Answer::Why { job, .. } = answer {
            services::settle(job, &mut client).await?;
        }
    }
    name_nodes(&mut answers, &mut client).await?;
    together(answers)
}

/// Puts the preparation and release tasks beside the jobs that have some.
async fn on_nodes(answer: Answer, door: &Door) -> Result<Answer, CliError> {
    let job = match answer {
        Answer::Job(job) if job.spec.preparation.is_some() || job.spec.release.is_some() => job,
        Answer::Many(all) => {
            let mut answers = Vec::new();
            for one in all {
                answers.push(match one {
                    // No deeper: of several jobs none is several.
                    Ok(answer) => Ok(Box::pin(on_nodes(answer, door)).await?),
                    Err(refused) => Err(refused),
                });
            }
            return Ok(Answer::Many(answers));
        }
        other => return Ok(other),
    };
    let mut client = door.connect().await?;
    let first = TaskId::new(job.id, TaskNumber::PREPARATION);
    let mut pages = Pages::new(job.id, select::before(first), Of::Steps(Vec::new()));
    let (mut tasks, mut names) = (Vec::new(), Names::default());
    while let Some((lines, more)) = pages.next(&mut client).await? {
        names.0.extend(more.0);
        tasks.extend(lines.into_iter().filter_map(|line| match line {
            TaskLine::Task(row) => Some(*row),
            TaskLine::Sweep(_) => None,
        }));
    }
    Ok(Answer::JobOnNodes { job, tasks, names })
}

/// Reasons speak of nodes by number; their names are asked for once, when one does.
async fn name_nodes(answers: &mut [Result<Answer, Refused>], client: &mut Client) -> Result<(), CliError> {
    let mut known = None;
    for answer in answers.iter_mut().flatten() {
        if let Answer::Why {
            why: Some(why), names, ..
        } = answer
            && speaks_of_nodes(why)
        {
            let all = match known.take() {
                Some(all) => all,
                None => node_names(client).await?,
            };
            *names = Names::clone(&all);
            known = Some(all);
        }
    }
    Ok(())
}

/// Whether a reason speaks of nodes by number.
pub(super) const fn speaks_of_nodes(why: &Why) -> bool {
    matches!(why.held, Some(Hold::Preparing { .. })) || matches!(why.next, Some(NextEvent::NodeReady { .. }))
}

/// The names of all nodes.
pub(super) async fn node_names(client: &mut Client) -> Result<Names, CliError> {
    match client.request(Request::ListNodes).await? {
        Reply::Nodes { nodes } => Ok(Names(
            nodes.into_iter().map(|node| (node.row.id, node.row.name)).collect(),
        )),
        _ => Err(ClientError::Unexpected { asked: "node list" }.into()),
    }
}

/// Jobs first, then single tasks.
async fn why(jobs: &[JobPick], tasks: Vec<TaskPick>, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let mut requests: Vec<Request> = Vec::new();
    for meant in select::jobs(jobs, &mut client).await? {
        requests.push(Request::WhyJob { job: meant.job });
    }
    let picked = Picked {
        tasks,
        states: Vec::new(),
    };
    let ids = select::tasks(&picked, Naming::Each, &mut client).await?;
    requests.extend(ids.into_values().flatten().map(|task| Request::WhyTask { task }));
    let several = requests.len() > 1;
    let mut answers = Vec::new();
    for request in requests {
        match client.request(request).await {
            Ok(reply) => answers.push(Ok(answer(reply)?)),
            Err(error @ ClientError::Refused(_)) if several => answers.push(Err(refused(&error))),
            Err(error) => return Err(error.into()),
        }
    }
    name_nodes(&mut answers, &mut client).await?;
    together(answers)
}

fn answer(reply: Reply) -> Result<Answer, CliError> {
    match reply {
        Reply::Job { job } => Ok(Answer::Job(job)),
        Reply::Why { job, why } => Ok(Answer::Why {
            job,
            why,
            names: Names::default(),
        }),
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
