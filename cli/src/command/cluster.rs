//! Commands about the cluster itself.

use std::path::{Path, PathBuf};

use proto::client::{Reply, Request};

use super::{Door, clusrun, complete, doctor, events, firewall, invite, settings};
use crate::answer::{Answer, ClusterAnswer, Status};
use crate::args::{self, Page};
use crate::client::ClientError;
use crate::exit::CliError;
use crate::local::{self, Shell, StateFolder};
use crate::place::{self, Surroundings};
use crate::render::{Form, Progress};
use crate::request::{ClusterCommand, Globals, Telling};

/// Carries out one.
pub(super) async fn run(command: ClusterCommand, globals: &Globals, around: &Surroundings) -> Result<Answer, CliError> {
    let state = || place::state(globals, around);
    let door = || Door::of(globals, around);
    let told = |answer| Ok(Answer::Cluster(Box::new(answer)));
    match command {
        ClusterCommand::Up(request) => {
            let up = local::up(&state()?, &request, &mut Progress::new()).await?;
            Ok(Answer::Up(Box::new(up)))
        }
        ClusterCommand::Down { purge } => Ok(Answer::Down(local::down(&state()?, purge, &mut Progress::new()).await?)),
        ClusterCommand::Env => {
            let folder = StateFolder::at(&local_state(globals, around)?)?;
            let shell = std::env::var("SHELL").ok();
            let (lines, notes) = local::script(&folder, Shell::of(shell.as_deref()))?;
            Ok(Answer::Script { lines, notes })
        }
        ClusterCommand::Status => status(&door()?).await,
        ClusterCommand::Token(invitation) => invite::token(invitation, &door()?).await,
        ClusterCommand::JoinCommand(invitation) => told(invite::join_line(invitation, &door()?).await?),
        ClusterCommand::Envs => told(settings::envs(&door()?).await?),
        ClusterCommand::Parameters => told(settings::parameters(&door()?).await?),
        ClusterCommand::SetEnvs(env) => settings::set(env, Vec::new(), &door()?).await,
        ClusterCommand::SetParameters(parameters) => settings::set(Default::default(), parameters, &door()?).await,
        ClusterCommand::ServiceInstall { listen, print } => Ok(local::install(&state()?, listen, print)?),
        ClusterCommand::ServiceUninstall => Ok(local::uninstall()?),
        ClusterCommand::ClusRun(mut wanted) => {
            // For programs all of it is one answer.
            if globals.form == Form::Json && wanted.telling == Telling::Interleaved {
                wanted.telling = Telling::Sorted;
            }
            told(clusrun::run(*wanted, &door()?).await?)
        }
        ClusterCommand::Events { follow, after } => {
            events::run(follow, after, globals.look(), &door()?).await?;
            told(ClusterAnswer::Told)
        }
        ClusterCommand::Doctor { probe } => told(doctor::run(probe, globals, around).await),
        ClusterCommand::Store(verb, file) => Err(local::store(verb, file, &local_state(globals, around)?).into()),
        ClusterCommand::Firewall => firewall::run(&door()).await,
        ClusterCommand::Completions(shell) => Ok(Answer::Script {
            lines: args::completion_script(shell, &local::typed()),
            notes: Vec::new(),
        }),
        ClusterCommand::Complete(words) => Ok(complete::run(&words, globals, around).await),
        ClusterCommand::Man { page, dir } => manual(page, dir.as_deref()),
    }
}

async fn status(door: &Door) -> Result<Answer, CliError> {
    match door.ask(Request::Status).await? {
        Reply::Status {
            head,
            nodes,
            up,
            jobs,
            queued,
            running,
        } => Ok(Answer::Status(Box::new(Status {
            head,
            nodes,
            up,
            jobs,
            queued,
            running,
        }))),
        _ => Err(ClientError::Unexpected { asked: "muster status" }.into()),
    }
}

/// The folder of the cluster that commands would ask.
pub(super) fn local_state(globals: &Globals, around: &Surroundings) -> Result<PathBuf, CliError> {
    if let Some(state) = &globals.state {
        return Ok(state.clone());
    }
    let socket = place::socket(globals, around)?;
    let usual = socket
        .parent()
        .filter(|_| socket.ends_with("head/head.sock"))
        .and_then(Path::parent);
    match usual {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(place::state(globals, around)?),
    }
}

/// One page as text, or all of them into a folder.
fn manual(page: Option<Page>, dir: Option<&Path>) -> Result<Answer, CliError> {
    let Some(dir) = dir else {
        return Ok(Answer::Script {
            lines: page.unwrap_or(Page::PROGRAM).text(),
            notes: Vec::new(),
        });
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Files {
            doing: "writing",
            path,
            source,
        }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut notes = Vec::new();
    for page in Page::all() {
        let path = dir.join(format!("{}.1", page.name()));
        std::fs::write(&path, page.text()).map_err(failed(&path))?;
        notes.push(path.display().to_string());
    }
    Ok(Answer::Notes(notes))
}
