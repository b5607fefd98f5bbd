//! The command line: `muster`, answering also as `job`, `task`, `node`, `nodegroup`, `pool`, `clusrun`, `cluscfg` and
//! `hpcfwutil`.
//!
//! ```text
//!   words -> args (plain values) -> request (checked) -> command (asks, or acts here) -> answer -> render (text)
//! ```
//!
//! Each arrow is a function that can be tested alone; only `render` prints. [`client`] is also how other programs of ours
//! talk to a head node.

pub mod answer;
pub mod args;
pub mod client;
pub mod command;
pub mod exit;
mod local;
pub mod login;
pub mod place;
mod remark;
pub mod render;
pub mod request;
pub mod script;
mod terminal;
pub mod text;
mod value;

use std::ffi::OsString;

use answer::Answer;
use args::{Invocation, UsageError};
use exit::{CliError, Exit};
use place::Surroundings;
use render::Zone;
use request::{
    ClusterCommand, Command, Globals, Here, JobCommand, NodeCommand, PoolCommand, ScheduleCommand, TaskCommand, Then,
};
use value::Clock;

/// Runs a whole command line, the program's name first, prints, and says how it went.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    let mut words = words.into_iter();
    let program = words
        .next()
        .unwrap_or_else(|| "muster".into())
        .to_string_lossy()
        .into_owned();
    let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
    match carry_out(&program, words) {
        Ok(exit) => exit,
        // A reader that has gone away has got what it wanted.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            render::say(&name, &error.chain());
            error.exit()
        }
    }
}

fn carry_out(program: &str, words: impl Iterator<Item = OsString>) -> Result<Exit, CliError> {
    let words = words.map(text).collect::<Result<Vec<_>, _>>()?;
    let (answer, look) = match args::parse(program, &words)? {
        Invocation::Help(topic) => (
            Answer::Help(topic.text(render::help_width())),
            Globals::default().look(),
        ),
        Invocation::Version => (
            Answer::Help(format!("muster {}\n", env!("CARGO_PKG_VERSION"))),
            Globals::default().look(),
        ),
        Invocation::Do { verb, options, words } => {
            let globals = Globals::of(&options)?;
            // Without a directory of its own the advice is less exact, nothing else.
            let here = std::env::current_dir().ok();
            let here = Here {
                directory: here.and_then(|path| path.to_str().map(str::to_owned)),
                clock: Clock {
                    now: render::now(),
                    zone: Zone::Local,
                },
                script: script::read,
                file: text::read,
            };
            let command = request::checked(verb, &options, &words, &here)?;
            (act(command, &globals)?, globals.look())
        }
    };
    let printed = render::render(&answer, &look)?;
    render::emit(&printed).map_err(CliError::Output)?;
    Ok(answer.exit())
}

fn text(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError::NotText {
        word: word.to_string_lossy().into_owned(),
    })
}

/// Turns of the runtime after the command: far more than one packet needs, and of no weight where there is none.
const TURNS: usize = 32;

fn act(command: Command, globals: &Globals) -> Result<Answer, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let note = interruption(&command);
    let around = Surroundings::read();
    runtime.block_on(async {
        let answer = tokio::select! {
            answer = command::run(command, globals, &around) => answer,
            // Failing to listen for Control-C leaves the system's own way to end us.
            Ok(()) = tokio::signal::ctrl_c(), if note.is_some() => {
                Err(CliError::Interrupted { note: note.unwrap_or_default() })
            }
        };
        // Connections over the network were dropped by now; a few turns let the head node be told, which else would keep
        // them until they are silent for too long.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        answer
    })
}

/// What goes on when this program is interrupted; none for commands that hear of it themselves.
fn interruption(command: &Command) -> Option<String> {
    Some(match command {
        Command::Cluster(ClusterCommand::ClusRun(_)) => return None,
        Command::Cluster(ClusterCommand::Events { .. }) | Command::Node(NodeCommand::Watch(_)) => {
            "the cluster goes on".to_owned()
        }
        Command::Job(JobCommand::Submit(submission)) if matches!(submission.then, Then::Wait | Then::Attach) => {
            return None;
        }
        Command::Job(JobCommand::SubmitMade { then: Then::Wait, .. }) | Command::Task(TaskCommand::Attach(_)) => {
            return None;
        }
        Command::Job(JobCommand::Wait(_) | JobCommand::Watch(_)) => "the jobs go on; 'job cancel' ends them".to_owned(),
        Command::Task(TaskCommand::Tail(_)) => "the tasks go on".to_owned(),
        Command::Job(JobCommand::List { .. } | JobCommand::View(_) | JobCommand::ListTasks(_))
        | Command::Job(JobCommand::Why { .. })
        | Command::Task(TaskCommand::List(_) | TaskCommand::View { .. })
        | Command::Node(NodeCommand::List { .. } | NodeCommand::View(_))
        | Command::Pool(PoolCommand::List | PoolCommand::View(_) | PoolCommand::Limits)
        | Command::Schedule(ScheduleCommand::List | ScheduleCommand::View(_)) => "nothing was changed".to_owned(),
        Command::Cluster(ClusterCommand::Up(_)) => {
            "what was started runs on; 'muster up' again completes it, 'muster down' stops it".to_owned()
        }
        Command::Cluster(ClusterCommand::Down { .. }) => {
            "some of it may still run; 'muster down' again stops it".to_owned()
        }
        Command::Job(JobCommand::Submit(_)) => "whether the job was taken is not known; see 'job list'".to_owned(),
        _ => "whether the request was carried out is not known".to_owned(),
    })
}
