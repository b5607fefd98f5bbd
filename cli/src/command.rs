//! Carries commands out: asks the head node, or starts and stops the cluster of this machine. Returns values, prints none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proto::client::{NodeView, Reply, Request};
use proto::control::MAX_PIECE_BYTES;
use proto::ids::{GroupName, JobId, SubmissionId};
use proto::model::job::JobRow;

use crate::answer::{Answer, Names, Status};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::local::{self, Shell, StateFolder};
use crate::place::{self, Surroundings};
use crate::render::Progress;
use crate::request::{Command, Globals, Submission};

/// Of each file of a task: several times what is shown, and all of any table.
const OUTPUT_BYTES: u32 = 64 * 1024;

/// How long a head node that went away is waited for: a restart or an upgrade.
const RETURN: Duration = Duration::from_secs(60);

/// Between two tries to reach it.
const KNOCK: Duration = Duration::from_millis(250);

/// Carries out one command.
///
/// # Errors
/// [`CliError`], with its exit code.
pub async fn run(command: Command, globals: &Globals, around: &Surroundings) -> Result<Answer, CliError> {
    let state = || place::state(globals, around);
    match command {
        Command::Up(request) => {
            let up = local::up(&state()?, &request, &mut Progress::new()).await?;
            Ok(Answer::Up(Box::new(up)))
        }
        Command::Down { purge } => Ok(Answer::Down(local::down(&state()?, purge, &mut Progress::new()).await?)),
        Command::Env => {
            let folder = StateFolder::at(&local_state(globals, around)?)?;
            let shell = std::env::var("SHELL").ok();
            let (lines, notes) = local::script(&folder, Shell::of(shell.as_deref()))?;
            Ok(Answer::Script { lines, notes })
        }
        other => {
            let socket = place::socket(globals, around, Path::is_dir)?;
            ask(other, &socket).await
        }
    }
}

/// The folder of the cluster that commands would ask.
fn local_state(globals: &Globals, around: &Surroundings) -> Result<PathBuf, CliError> {
    if let Some(state) = &globals.state {
        return Ok(state.clone());
    }
    let socket = place::socket(globals, around, Path::is_dir)?;
    let usual = socket
        .parent()
        .filter(|_| socket.ends_with("head/head.sock"))
        .and_then(Path::parent);
    match usual {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(place::state(globals, around)?),
    }
}

async fn ask(command: Command, socket: &Path) -> Result<Answer, CliError> {
    match command {
        Command::JobSubmit(submission) => submit(*submission, socket).await,
        Command::JobWait(job) => Ok(Answer::Waited(Box::new(wait(job, socket).await?))),
        other => {
            let mut client = Client::connect(socket).await?;
            once(other, &mut client).await
        }
    }
}

/// Commands of one question.
async fn once(command: Command, client: &mut Client) -> Result<Answer, CliError> {
    let wrong = |asked| Err(ClientError::Unexpected { asked }.into());
    let request = match &command {
        Command::JobList(filter) => Request::ListJobs { filter: filter.clone() },
        Command::JobView(job) => Request::ViewJob { job: *job },
        Command::JobCancel { job, force, message } => Request::CancelJob {
            job: *job,
            force: *force,
            message: message.clone(),
        },
        Command::JobWhy(job) => Request::WhyJob { job: *job },
        Command::TaskList(job) => Request::ListTasks { job: *job, from: 1 },
        Command::TaskView { task, all } => {
            let most = u32::try_from(MAX_PIECE_BYTES).unwrap_or(u32::MAX);
            Request::ViewTask {
                task: *task,
                output_bytes: if *all { most } else { OUTPUT_BYTES },
            }
        }
        Command::NodeList { .. } => Request::ListNodes,
        Command::NodeView(node) => Request::ViewNode { node: node.clone() },
        Command::NodeSwitch { nodes, admin } => Request::SwitchNodes {
            nodes: nodes.clone(),
            admin: *admin,
        },
        Command::GroupList => Request::ListGroups,
        Command::GroupAdd { group, nodes } => Request::AddToGroup {
            group: group.clone(),
            nodes: nodes.clone(),
        },
        Command::GroupRemove { group, nodes } => Request::RemoveFromGroup {
            group: group.clone(),
            nodes: nodes.clone(),
        },
        Command::PoolList => Request::ListPools,
        Command::PoolView(pool) => Request::ViewPool { pool: pool.clone() },
        Command::Token {
            pool,
            groups,
            uses,
            lifetime,
        } => Request::MakeToken {
            pool: pool.clone(),
            groups: groups.clone(),
            uses: *uses,
            lifetime: *lifetime,
        },
        Command::Status => Request::Status,
        Command::JobSubmit(_) | Command::JobWait(_) | Command::Up(_) | Command::Down { .. } | Command::Env => {
            return wrong("a command of more than one question");
        }
    };
    match (command, client.request(request).await?) {
        (Command::JobList(filter), Reply::Jobs { jobs, more }) => {
            let live_only = filter == proto::client::JobFilter::default();
            Ok(Answer::Jobs { jobs, more, live_only })
        }
        (Command::JobView(_), Reply::Job { job }) => Ok(Answer::Job(job)),
        (Command::JobWhy(_), Reply::Why { job, why }) => Ok(Answer::Why { job, why }),
        (Command::TaskList(_), Reply::Tasks { tasks, names, more }) => Ok(Answer::Tasks {
            tasks,
            names: Names(names),
            more,
        }),
        (Command::TaskView { all, .. }, Reply::Task { task, names, files }) => Ok(Answer::Task {
            task,
            names: Names(names),
            files,
            all,
        }),
        (Command::NodeList { group, states }, Reply::Nodes { nodes }) => {
            let fits = |node: &NodeView| {
                group.as_ref().is_none_or(|group| node.row.groups.contains(group))
                    && (states.is_empty() || states.contains(&node.row.admin))
            };
            let nodes: Vec<NodeView> = nodes.into_iter().filter(fits).collect();
            match group {
                Some(group) if nodes.is_empty() => check_group(group, client).await?,
                _ => {}
            }
            Ok(Answer::Nodes(nodes))
        }
        (Command::NodeView(_), Reply::Nodes { nodes }) => match nodes.into_iter().next() {
            Some(node) => Ok(Answer::Node(Box::new(node))),
            None => wrong("node view"),
        },
        (Command::GroupList, Reply::Groups { groups }) => Ok(Answer::Groups(groups)),
        (Command::PoolList, Reply::Pools { pools }) => Ok(Answer::Pools(pools)),
        (Command::PoolView(_), Reply::Pools { pools }) => match pools.into_iter().next() {
            Some(pool) => Ok(Answer::Pool(Box::new(pool))),
            None => wrong("pool view"),
        },
        (Command::Token { .. }, Reply::Token { token, expires_at }) => Ok(Answer::Token {
            token,
            head: dialled(client).await?,
            expires_at,
        }),
        (
            Command::Status,
            Reply::Status {
                head,
                nodes,
                up,
                jobs,
                queued,
                running,
            },
        ) => Ok(Answer::Status(Box::new(Status {
            head,
            nodes,
            up,
            jobs,
            queued,
            running,
        }))),
        (
            Command::JobCancel { .. }
            | Command::NodeSwitch { .. }
            | Command::GroupAdd { .. }
            | Command::GroupRemove { .. },
            Reply::Done { notes, .. },
        ) => Ok(Answer::Notes(notes)),
        _ => wrong("this command"),
    }
}

/// A group without nodes is there; one that is not there is a slip.
async fn check_group(group: GroupName, client: &mut Client) -> Result<(), CliError> {
    let Reply::Groups { groups } = client.request(Request::ListGroups).await? else {
        return Err(ClientError::Unexpected {
            asked: "nodegroup list",
        }
        .into());
    };
    let known: Vec<GroupName> = groups.into_iter().map(|group| group.name).collect();
    if known.contains(&group) {
        Ok(())
    } else {
        Err(CliError::NoGroup { group, known })
    }
}

/// Where nodes dial in, as another machine can type it.
async fn dialled(client: &mut Client) -> Result<String, CliError> {
    let Reply::Status { head, .. } = client.request(Request::Status).await? else {
        return Err(ClientError::Unexpected { asked: "muster status" }.into());
    };
    let hostname = Surroundings::read().hostname;
    Ok(match head.listen.parse::<SocketAddr>() {
        // All addresses of the machine; its name leads to one that others know.
        Ok(address) if address.ip().is_unspecified() && !hostname.is_empty() => {
            format!("{hostname}:{}", address.port())
        }
        _ => head.listen,
    })
}

/// Submits; the same id makes it safe to ask again when the head node goes away in the middle.
async fn submit(submission: Submission, socket: &Path) -> Result<Answer, CliError> {
    let remarks = submission.remarks();
    let Submission { id, job, task } = submission;
    let given = id.is_some();
    let id = match id {
        Some(id) => id,
        None => random_id().map_err(CliError::NoRandom)?,
    };
    let request = Request::Submit {
        submission: id,
        job: Box::new(job),
        tasks: vec![task],
    };
    let mut client = Client::connect(socket).await?;
    let reply = match client.request(request.clone()).await {
        Err(error) if error.is_passing() => again(socket, &request, error).await?,
        other => other?,
    };
    match reply {
        // With an id of our own a repetition is the answer to our own first try.
        Reply::Submitted { job, repeated, .. } => Ok(Answer::Submitted {
            job,
            repeated: repeated && given,
            remarks,
        }),
        _ => Err(ClientError::Unexpected { asked: "job submit" }.into()),
    }
}

/// Asks again until the head node is back.
async fn again(socket: &Path, request: &Request, first: ClientError) -> Result<Reply, CliError> {
    let begun = Instant::now();
    let mut progress = Progress::new();
    progress.show("the head node went away; asking again");
    while begun.elapsed() < RETURN {
        tokio::time::sleep(KNOCK).await;
        let Ok(mut client) = Client::connect(socket).await else {
            continue;
        };
        match client.request(request.clone()).await {
            Err(error) if error.is_passing() => {}
            other => return Ok(other?),
        }
    }
    Err(first.into())
}

/// Waits until a job is over, also across a restart of the head node.
async fn wait(job: JobId, socket: &Path) -> Result<JobRow, CliError> {
    let mut progress = Progress::new();
    let mut client = Client::connect(socket).await?;
    loop {
        let error = match client.wait_job(job, |row| progress.show(&progress_line(row))).await {
            Ok(row) => return Ok(row),
            Err(error) if error.is_passing() => error,
            Err(error) => return Err(error.into()),
        };
        progress.show(&format!("job {job}: the head node went away; waiting for it"));
        client = reconnect(socket, error).await?;
    }
}

async fn reconnect(socket: &Path, first: ClientError) -> Result<Client, CliError> {
    let begun = Instant::now();
    while begun.elapsed() < RETURN {
        tokio::time::sleep(KNOCK).await;
        if let Ok(client) = Client::connect(socket).await {
            return Ok(client);
        }
    }
    Err(first.into())
}

fn progress_line(row: &JobRow) -> String {
    let counts = &row.counts;
    let ended = counts.finished + counts.failed + counts.canceled;
    format!(
        "job {}: {}, {} of {} tasks over, {} running",
        row.id,
        row.state.word(),
        ended,
        counts.total(),
        counts.running
    )
}

fn random_id() -> std::io::Result<SubmissionId> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(SubmissionId(u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests;
