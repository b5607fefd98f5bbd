//! Commands about tasks.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proto::client::{RefusalCode, Reply, Request};
use proto::control::{FollowFrom, MAX_PIECE_BYTES};
use proto::ids::{JobId, TaskId};

use super::attach::{self, Attached, Keys};
use super::follow::{Following, follow};
use super::job::{of_each_job, refused, together};
use super::select::{self, Naming, Of, Pages};
use super::{Door, show, submit};
use crate::answer::{Answer, Names, SweepLine, TaskLine, TaskPage};
use crate::args::UsageError;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{Form, Labels, Live, Look, Seen};
use crate::request::{JobPick, Picked, TailRequest, TaskCommand, TaskListing, TaskPick};

/// Of each file of a task: several times what is shown, and all of any table.
const OUTPUT_BYTES: u32 = 64 * 1024;

/// How long a line is thought to be when only the last ones are fetched.
const LINE_BYTES: u64 = 256;

/// The most that is fetched for the last lines.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// The most tasks that are shown one after the other.
const MOST_VIEWS: usize = 1000;

/// Carries out one.
pub(super) async fn run(command: TaskCommand, look: &Look, door: &Door) -> Result<Answer, CliError> {
    match command {
        TaskCommand::List(listing) => list(&listing, look, door).await,
        TaskCommand::View { tasks, all } => view_all(&tasks, all, door).await,
        TaskCommand::Tail(_) if matches!(look.form, Form::Json | Form::Fields(_)) => Err(UsageError::NotYet {
            what: "another form than the output itself, for 'task tail',".to_owned(),
            instead: "'task view JOB.TASK -o json' has the ends of both files",
        }
        .into()),
        TaskCommand::Tail(request) => tail(&request, door).await,
        TaskCommand::Attach(pick) => attach_to(pick, door).await,
        TaskCommand::Cancel { tasks, force, message } => {
            let request = |tasks| Request::CancelTasks {
                tasks,
                force,
                message: message.clone(),
            };
            act(&tasks, door, request).await
        }
        TaskCommand::Requeue(tasks) => act(&tasks, door, |tasks| Request::RequeueTasks { tasks }).await,
        TaskCommand::Reactivate(tasks) => act(&tasks, door, |tasks| Request::ReactivateTasks { tasks }).await,
        TaskCommand::Finish { tasks, message } => {
            let request = |tasks| Request::FinishTasks {
                tasks,
                message: message.clone(),
            };
            act(&tasks, door, request).await
        }
    }
}

/// Does something with the tasks that are meant.
pub(super) async fn act(
    picked: &Picked,
    door: &Door,
    request: impl Fn(Vec<TaskId>) -> Request,
) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let tasks = select::tasks(picked, Naming::Shortest, &mut client).await?;
    if tasks.is_empty() {
        let which = match picked.states.as_slice() {
            [] => "no such task; nothing was done".to_owned(),
            states => format!("no task of these is {}; nothing was done", states.join(" or ")),
        };
        return Ok(Answer::Notes(vec![which]));
    }
    of_each_job(&tasks, &mut client, request).await
}

/// `task list`, `job listtasks`. Each page is told when it has come; the last one is the answer.
pub(super) async fn list(listing: &TaskListing, look: &Look, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let jobs = select::jobs(&listing.jobs, &mut client).await?;
    // Who asks for some states wants to know which steps.
    let expand = listing.expand || !listing.states.is_empty();
    let mut page = TaskPage {
        lines: Vec::new(),
        names: Names::default(),
        first: true,
        last: false,
    };
    for meant in jobs {
        let of = if expand {
            Of::Steps(listing.states.clone())
        } else {
            Of::Lines
        };
        let mut pages = Pages::new(meant.job, None, of);
        loop {
            match pages.next(&mut client).await {
                Ok(Some((lines, names))) => gather(&mut page, lines, names),
                Ok(None) => break,
                Err(CliError::Client(ClientError::Refused(refusal)))
                    if !meant.by_name && refusal.code == RefusalCode::NotFound =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
            if pages.more() {
                told(&mut page, look)?;
            }
        }
    }
    page.last = true;
    Ok(Answer::Tasks(page))
}

/// Adds lines; a sweep that goes on stays one.
fn gather(page: &mut TaskPage, lines: Vec<TaskLine>, names: Names) {
    page.names.0.extend(names.0);
    page.names.0.sort_unstable();
    page.names.0.dedup();
    for line in lines {
        match (page.lines.last_mut(), &line) {
            (Some(TaskLine::Sweep(sweep)), TaskLine::Sweep(next)) if sweep.id == next.id => sweep.merge(next),
            _ => page.lines.push(line),
        }
    }
}

/// Tells what is complete: a sweep at the end may go on with the next page.
fn told(page: &mut TaskPage, look: &Look) -> Result<(), CliError> {
    let open = match page.lines.last() {
        Some(TaskLine::Sweep(_)) => page.lines.pop(),
        _ => None,
    };
    if !page.lines.is_empty() {
        let part = TaskPage {
            lines: std::mem::take(&mut page.lines),
            names: page.names.clone(),
            ..*page
        };
        page.first = false;
        show(&Answer::Tasks(part), look)?;
    }
    page.lines.extend(open);
    Ok(())
}

/// `task view`
async fn view_all(picked: &Picked, all: bool, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let ids: Vec<TaskId> = match (picked.tasks.as_slice(), picked.states.is_empty()) {
        ([TaskPick::Jobs(JobPick::Last(1))], true) => vec![first_of(JobPick::Last(1), &mut client).await?],
        _ => select::tasks(picked, Naming::Each, &mut client)
            .await?
            .into_values()
            .flatten()
            .collect(),
    };
    let mut answers = Vec::new();
    for id in ids.iter().take(MOST_VIEWS) {
        match view(*id, all, &mut client).await {
            Ok(answer) => answers.push(Ok(answer)),
            Err(CliError::Client(error @ ClientError::Refused(_))) if ids.len() > 1 => {
                answers.push(Err(refused(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    together(answers)
}

/// The first task of a job: a job of one task has no other.
async fn first_of(pick: JobPick, client: &mut Client) -> Result<TaskId, CliError> {
    let job = select::job(pick, client).await?;
    let mut pages = Pages::new(job, None, Of::Lines);
    let lines = pages.next(client).await?.map(|(lines, _)| lines).unwrap_or_default();
    lines.first().map(TaskLine::id).ok_or(CliError::NothingMeant)
}

async fn view(id: TaskId, all: bool, client: &mut Client) -> Result<Answer, CliError> {
    if id.step.is_none()
        && let Some(sweep) = sweep(id, client).await?
    {
        return Ok(Answer::Sweep(Box::new(sweep)));
    }
    let most = u32::try_from(MAX_PIECE_BYTES).unwrap_or(u32::MAX);
    let request = Request::ViewTask {
        task: id,
        output_bytes: if all { most } else { OUTPUT_BYTES },
    };
    match client.request(request).await? {
        Reply::Task { task, names, files } => Ok(Answer::Task {
            task,
            names: Names(names),
            files,
            all,
        }),
        _ => Err(ClientError::Unexpected { asked: "task view" }.into()),
    }
}

/// All steps of a sweep in one; none when the id is of no sweep, or of nothing.
async fn sweep(id: TaskId, client: &mut Client) -> Result<Option<SweepLine>, CliError> {
    let mut line: Option<SweepLine> = None;
    let mut pages = Pages::new(id.job, select::before(id), Of::Lines);
    while let Some((lines, _)) = pages.next(client).await? {
        // A sweep that goes on is the only line of its page, but for what comes behind it.
        let all = lines.len();
        match lines.into_iter().next() {
            Some(TaskLine::Sweep(next)) if next.id == id => match &mut line {
                Some(line) => line.merge(&next),
                None => line = Some(*next),
            },
            _ => break,
        }
        if all > 1 {
            break;
        }
    }
    Ok(line)
}

/// `task tail`: one job after the other.
async fn tail(request: &TailRequest, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let mut targets: BTreeMap<JobId, Vec<TaskId>> = BTreeMap::new();
    let mut whole = Vec::new();
    for pick in &request.tasks.tasks {
        match pick {
            // Without a filter also those that are added later.
            TaskPick::Jobs(pick) if request.tasks.states.is_empty() => {
                whole.extend(select::jobs(&[*pick], &mut client).await?.iter().map(|meant| meant.job));
            }
            pick => {
                let one = Picked {
                    tasks: vec![*pick],
                    states: request.tasks.states.clone(),
                };
                for (job, ids) in select::tasks(&one, Naming::Each, &mut client).await? {
                    targets.entry(job).or_default().extend(ids);
                }
            }
        }
    }
    targets.extend(whole.into_iter().map(|job| (job, Vec::new())));
    if targets.is_empty() {
        return Err(CliError::NothingMeant);
    }
    let several = targets.len() > 1 || is_several(&targets, &mut client).await?;
    let labels = match request.label {
        Some(true) => Labels::Always,
        Some(false) => Labels::Never,
        None => Labels::AsNeeded,
    };
    for (job, tasks) in targets {
        let live = Live::new(labels, several);
        let (live, from) = match request.lines {
            Some(lines) => (live.last_lines(lines), FollowFrom::Last { bytes: room(lines) }),
            None => (live, FollowFrom::Start),
        };
        let what = Following {
            job,
            tasks,
            from,
            to_the_end: request.follow,
        };
        if follow(&what, &RefCell::new(live), door).await? == Seen::No {
            break;
        }
    }
    Ok(Answer::Told)
}

fn room(lines: u32) -> u64 {
    (u64::from(lines) * LINE_BYTES).clamp(4096, MOST_BYTES)
}

/// Whether lines may be of several tasks.
async fn is_several(targets: &BTreeMap<JobId, Vec<TaskId>>, client: &mut Client) -> Result<bool, CliError> {
    let Some((job, ids)) = targets.iter().next() else {
        return Ok(false);
    };
    match ids.as_slice() {
        [id] if id.step.is_some() => Ok(false),
        // A sweep, or a task.
        [id] => Ok(sweep(*id, client).await?.is_some()),
        [] => match client.request(Request::ViewJob { job: *job }).await? {
            Reply::Job { job } => Ok(job.counts.total() != 1),
            _ => Err(ClientError::Unexpected { asked: "task tail" }.into()),
        },
        _ => Ok(true),
    }
}

/// `task attach`
async fn attach_to(pick: TaskPick, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let id = match pick {
        TaskPick::Jobs(pick) => first_of(pick, &mut client).await?,
        TaskPick::One(id) => id,
        // The command line takes no others.
        TaskPick::Tasks { .. } | TaskPick::Steps { .. } => return Err(CliError::NothingMeant),
    };
    let request = Request::ViewTask {
        task: id,
        output_bytes: 1,
    };
    let Reply::Task { task, .. } = client.request(request).await? else {
        return Err(ClientError::Unexpected { asked: "task attach" }.into());
    };
    let keys = match task.spec.interactive {
        None => return Err(CliError::NotInteractive { task: id }),
        // What ran needs no keys any more; its output is still shown.
        Some(_) if task.state.is_ended() => Keys::None,
        Some(kind) => attach::keys(kind.terminal)?,
    };
    let live = RefCell::new(Live::new(Labels::Never, false));
    match attach::attach(id, keys, &live, door).await? {
        Attached::ToTheEnd => submit::shown_task(id, door).await,
        Attached::Left => Ok(Answer::Notes(vec![format!(
            "task {id} goes on; 'task attach {id}' comes back"
        )])),
        Attached::Interrupted => Err(CliError::Interrupted {
            note: format!("task {id} goes on; 'task cancel {id}' ends it"),
        }),
    }
}
