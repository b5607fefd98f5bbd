//! `job submit`, `job new`, `job add`, `job clone`: what makes something new, once.
//!
//! Each carries an id of its own, so that it can be asked again when the head node goes away in the middle.

use std::cell::RefCell;

use proto::client::{Reply, Request};
use proto::ids::{JobId, SubmissionId, TaskId};
use proto::model::job::JobSpec;
use proto::model::line::TaskLine;
use proto::model::task::{Request as Needs, TaskKind, TaskSpec};

use super::attach::{self, Attached, Keys};
use super::job::{node_names, speaks_of_nodes};
use super::select::{self, Of, Pages};
use super::{Door, wait};
use crate::answer::{Answer, Names, Rehearsed, Shown, Subject};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{Form, Labels, Live, Look};
use crate::request::{JobPick, Submission, Then};

/// `job submit PROGRAM`
pub(super) async fn submit(submission: Submission, look: &Look, door: &Door) -> Result<Answer, CliError> {
    if submission.then == Then::Rehearse {
        return rehearse(submission, door).await;
    }
    let keys = match submission.tasks.iter().find_map(|task| task.interactive) {
        // Said before anything is submitted.
        Some(kind) => attach::keys(kind.terminal)?,
        None => Keys::None,
    };
    let Submission {
        id,
        job,
        tasks,
        then,
        remarks,
    } = submission;
    let given = id.is_some();
    let one = matches!(tasks.as_slice(), [task] if task.sweep.is_none() && task.kind == TaskKind::Basic)
        && job.manager.is_none();
    let request = Request::Submit {
        submission: made_or(id)?,
        job: Box::new(job),
        tasks,
    };
    let (job, repeated) = match door.ask_again(&request).await? {
        Reply::Submitted { job, repeated, .. } => (job, repeated),
        _ => return Err(ClientError::Unexpected { asked: "job submit" }.into()),
    };
    let submitted = Answer::Submitted {
        job,
        // With an id of our own a repetition is the answer to our own first try.
        repeated: repeated && given,
        remarks,
    };
    match then {
        Then::Leave | Then::Rehearse => Ok(submitted),
        Then::Wait | Then::Attach => followed(job, one, keys, submitted, look, door).await,
    }
}

/// `job submit /id:JOB`
pub(super) async fn submit_made(pick: JobPick, then: Then, look: &Look, door: &Door) -> Result<Answer, CliError> {
    let job = select::job(pick, &mut door.connect().await?).await?;
    let reply = door.ask(Request::SubmitJob { job }).await?;
    let submitted = match reply {
        Reply::Submitted { .. } | Reply::Done { .. } => Answer::Submitted {
            job,
            repeated: false,
            remarks: Vec::new(),
        },
        _ => return Err(ClientError::Unexpected { asked: "job submit" }.into()),
    };
    match then {
        Then::Wait => {
            let one = match door.ask(Request::ViewJob { job }).await? {
                Reply::Job { job } => job.counts.total() == 1,
                _ => false,
            };
            followed(job, one, Keys::None, submitted, look, door).await
        }
        Then::Leave | Then::Attach | Then::Rehearse => Ok(submitted),
    }
}

/// Waits for a job that was just submitted; the output of a single task is shown meanwhile.
async fn followed(
    job: JobId,
    one: bool,
    keys: Keys,
    submitted: Answer,
    look: &Look,
    door: &Door,
) -> Result<Answer, CliError> {
    let for_people = matches!(look.form, Form::Table | Form::Wide | Form::List);
    if !for_people && keys == Keys::None {
        return wait_or_cancel(job, one, door).await;
    }
    let mut live = Live::new(Labels::Never, false);
    // Standard output is the program's.
    let text = crate::render::render(&submitted, look)?;
    live.remark(format!("{}{}", text.err, text.out).trim_end());
    if !one {
        return wait_or_cancel(job, one, door).await;
    }
    let Some(task) = first_task(job, &mut door.connect().await?)
        .await?
        .map(|(row, _)| row.id)
    else {
        return wait_or_cancel(job, one, door).await;
    };
    if keys == Keys::None {
        live.waiting(&format!("job {job}: waiting for its output"));
    }
    let live = RefCell::new(live);
    let attached = attach::attach(task, keys, &live, door).await?;
    drop(live);
    match attached {
        Attached::ToTheEnd => shown(job, door).await,
        Attached::Left => {
            let note = format!("job {job} goes on; 'task attach {task}' comes back, 'job cancel {job}' ends it");
            Ok(Answer::Notes(vec![note]))
        }
        Attached::Interrupted => Err(CliError::Interrupted {
            note: attach::cancel(job, door).await,
        }),
    }
}

async fn wait_or_cancel(job: JobId, one: bool, door: &Door) -> Result<Answer, CliError> {
    let row = tokio::select! {
        row = wait::wait(job, door) => row?,
        // Failing to listen for Control-C leaves the system's own way to end us.
        Ok(()) = tokio::signal::ctrl_c() => {
            return Err(CliError::Interrupted { note: attach::cancel(job, door).await });
        }
    };
    if one {
        shown(job, door).await
    } else {
        Ok(Answer::Waited(Box::new(row)))
    }
}

/// A job whose one task is over.
async fn shown(job: JobId, door: &Door) -> Result<Answer, CliError> {
    // The last output is told before the head node has taken the end of the job down.
    let row = wait::wait(job, door).await?;
    match first_task(job, &mut door.connect().await?).await? {
        Some((task, names)) => Ok(Answer::Shown(Box::new(Shown {
            job: Box::new(row),
            task: Box::new(task),
            names,
        }))),
        None => Ok(Answer::Waited(Box::new(row))),
    }
}

/// A task whose output was shown to its end; its job may have others that go on.
pub(super) async fn shown_task(id: TaskId, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let Reply::Job { job } = client.request(Request::ViewJob { job: id.job }).await? else {
        return Err(ClientError::Unexpected { asked: "job view" }.into());
    };
    let request = Request::ViewTask {
        task: id,
        output_bytes: 1,
    };
    match client.request(request).await? {
        Reply::Task { task, names, .. } => Ok(Answer::Shown(Box::new(Shown {
            job,
            task,
            names: Names(names),
        }))),
        _ => Err(ClientError::Unexpected { asked: "task view" }.into()),
    }
}

async fn first_task(job: JobId, client: &mut Client) -> Result<Option<(proto::model::task::TaskRow, Names)>, CliError> {
    let page = Pages::new(job, None, Of::Steps(Vec::new())).next(client).await?;
    Ok(page.and_then(|(lines, names)| match lines.into_iter().next()? {
        TaskLine::Task(row) => Some((*row, names)),
        TaskLine::Sweep(_) => None,
    }))
}

async fn rehearse(submission: Submission, door: &Door) -> Result<Answer, CliError> {
    let Submission {
        job, tasks, remarks, ..
    } = submission;
    // The manager starts before the others.
    let (subject, first) = match &job.manager {
        Some(manager) => (Subject::Manager, Some(&manager.task)),
        None => (Subject::First, tasks.first()),
    };
    let asked = first.map(|task| task.request).unwrap_or_default();
    let most = first.and_then(|task| task.request_max);
    let count = tasks.len();
    let request = Request::Rehearse {
        job: Box::new(job),
        tasks,
    };
    let mut client = door.connect().await?;
    match client.request(request).await? {
        Reply::Rehearsed { starts_now, nodes, why } => Ok(Answer::Rehearsed(Box::new(Rehearsed {
            names: match &why {
                Some(why) if speaks_of_nodes(why) => node_names(&mut client).await?,
                _ => Names::default(),
            },
            subject,
            asked,
            most,
            tasks: count,
            starts_now,
            nodes,
            why,
            remarks,
        }))),
        _ => Err(ClientError::Unexpected {
            asked: "job submit --dry-run",
        }
        .into()),
    }
}

/// `job new`. The tasks of a job file follow in a question of their own: while a job is in configuration that shows nowhere.
pub(super) async fn new(
    id: Option<SubmissionId>,
    job: JobSpec,
    tasks: Vec<TaskSpec>,
    remarks: Vec<String>,
    door: &Door,
) -> Result<Answer, CliError> {
    let request = Request::NewJob {
        submission: made_or(id)?,
        job: Box::new(job),
    };
    let answer = made(&request, id.is_some(), remarks, door).await?;
    // A repetition has its tasks already.
    let Answer::Made {
        job, repeated: false, ..
    } = &answer
    else {
        return Ok(answer);
    };
    if !tasks.is_empty() {
        let request = Request::AddTasks {
            submission: made_or(None)?,
            job: *job,
            tasks,
        };
        door.ask_again(&request).await.map_err(|error| CliError::WithoutTasks {
            job: *job,
            source: Box::new(error),
        })?;
    }
    Ok(answer)
}

/// `job clone`
pub(super) async fn clone(id: Option<SubmissionId>, pick: JobPick, door: &Door) -> Result<Answer, CliError> {
    let job = select::job(pick, &mut door.connect().await?).await?;
    let request = Request::CloneJob {
        submission: made_or(id)?,
        job,
    };
    made(&request, id.is_some(), Vec::new(), door).await
}

async fn made(request: &Request, given: bool, remarks: Vec<String>, door: &Door) -> Result<Answer, CliError> {
    match door.ask_again(request).await? {
        Reply::Submitted { job, repeated, .. } => Ok(Answer::Made {
            job,
            like: match request {
                Request::CloneJob { job, .. } => Some(*job),
                _ => None,
            },
            repeated: repeated && given,
            remarks,
        }),
        _ => Err(ClientError::Unexpected { asked: "job new" }.into()),
    }
}

/// One of what the job counts in.
pub(super) async fn unit_of(job: JobId, door: &Door) -> Result<Needs, CliError> {
    let Reply::Job { job } = door.ask(Request::ViewJob { job }).await? else {
        return Err(ClientError::Unexpected { asked: "job view" }.into());
    };
    Ok(match job.spec.units.map(|units| units.min) {
        Some(Needs::Nodes { .. }) => Needs::Nodes { count: 1 },
        Some(Needs::Sockets { .. }) => Needs::Sockets { count: 1 },
        Some(Needs::Cores { .. } | Needs::Beside { .. }) | None => Needs::default(),
    })
}

/// `job add`
pub(super) async fn add(
    id: Option<SubmissionId>,
    job: JobId,
    task: TaskSpec,
    remarks: Vec<String>,
    door: &Door,
) -> Result<Answer, CliError> {
    let request = Request::AddTasks {
        submission: made_or(id)?,
        job,
        tasks: vec![task],
    };
    match door.ask_again(&request).await? {
        Reply::Added {
            job, first, repeated, ..
        } => Ok(Answer::Added {
            task: TaskId::new(job, first),
            repeated: repeated && id.is_some(),
            remarks,
        }),
        _ => Err(ClientError::Unexpected { asked: "job add" }.into()),
    }
}

fn made_or(id: Option<SubmissionId>) -> Result<SubmissionId, CliError> {
    match id {
        Some(id) => Ok(id),
        None => random_id().map_err(CliError::NoRandom),
    }
}

pub(super) fn random_id() -> std::io::Result<SubmissionId> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(SubmissionId(u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_submissions_differ() {
        let (first, second) = (random_id().expect("an id"), random_id().expect("an id"));
        assert_ne!(first, second);
        assert_ne!(first, SubmissionId(0));
    }
}
