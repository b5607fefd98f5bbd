//! The command line: `muster`, answering also as `job`, `task`, `node`, `nodegroup` and `pool`.
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
pub mod place;
mod remark;
pub mod render;
pub mod request;
mod value;

use std::ffi::OsString;

use answer::Answer;
use args::{Invocation, UsageError};
use exit::{CliError, Exit};
use place::Surroundings;
use render::Look;
use request::{Command, Globals};

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
        Err(error) => {
            render::say(&name, &error.chain());
            error.exit()
        }
    }
}

fn carry_out(program: &str, words: impl Iterator<Item = OsString>) -> Result<Exit, CliError> {
    let words = words.map(text).collect::<Result<Vec<_>, _>>()?;
    let (answer, form) = match args::parse(program, &words)? {
        Invocation::Help(topic) => (Answer::Help(topic.text(render::help_width())), render::Form::Table),
        Invocation::Version => (
            Answer::Help(format!("muster {}\n", env!("CARGO_PKG_VERSION"))),
            render::Form::Table,
        ),
        Invocation::Do { verb, options, words } => {
            let globals = Globals::of(&options)?;
            // Without a directory of its own the advice is less exact, nothing else.
            let here = std::env::current_dir().ok();
            let command = request::checked(verb, &options, &words, here.as_deref().and_then(|path| path.to_str()))?;
            (act(command, &globals)?, globals.form)
        }
    };
    let printed = render::render(&answer, &Look::of_process(form));
    render::emit(&printed).map_err(CliError::Output)?;
    Ok(answer.exit())
}

fn text(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError::NotText {
        word: word.to_string_lossy().into_owned(),
    })
}

fn act(command: Command, globals: &Globals) -> Result<Answer, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let note = interruption(&command);
    let around = Surroundings::read();
    runtime.block_on(async {
        tokio::select! {
            answer = command::run(command, globals, &around) => answer,
            // Failing to listen for Control-C leaves the system's own way to end us.
            Ok(()) = tokio::signal::ctrl_c() => Err(CliError::Interrupted { note }),
        }
    })
}

/// What goes on when this program is interrupted.
fn interruption(command: &Command) -> String {
    match command {
        Command::JobWait(job) => format!("job {job} goes on; 'job cancel {job}' ends it"),
        Command::Up(_) => "what was started runs on; 'muster up' again completes it, 'muster down' stops it".to_owned(),
        Command::Down { .. } => "some of it may still run; 'muster down' again stops it".to_owned(),
        Command::JobSubmit(_) => "whether the job was taken is not known; see 'job list'".to_owned(),
        _ => "whether the request was carried out is not known".to_owned(),
    }
}
