//! The spawner: starts, signals and reaps the tasks of a node, and outlives the agent that tells it to.
//!
//! It is kept small and does one thing, because everything that a node runs ends with it: threads of the standard
//! library, no runtime, no network. It decides nothing about jobs; what it minds by itself is what must hold when
//! nobody else is there: run-time limits, the fencing lease, the grace between asking and killing, and exit records.
//! It is the child subreaper of all tasks and kills by walking their tree. (Killing by cgroup is not built yet.)
//!
//! SIGTERM ends it in order: all tasks are asked and killed, then it leaves. Their attempts are then lost, which the
//! next spawner's new boot id proves to the head node.

mod attempt;
pub mod clock;
mod confine;
mod end;
mod keeper;
mod lives;
pub mod message;
pub mod processes;
mod reap;
mod record;
mod serve;
mod spawn;
mod threads;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use proto::units::Millis;

use crate::directory::NodeDirectory;
use keeper::Keeper;
use record::Records;
use spawn::Starter;
use threads::{STARTERS, Shared};

/// Between asking the tasks and killing them when the node is shut down: a person waits for it.
const LEAVING_GRACE: Millis = Millis(2000);

/// Runs the spawner of a node until SIGTERM.
///
/// # Errors
/// When another one runs, or its folder cannot be used.
pub fn run(directory: &NodeDirectory) -> anyhow::Result<()> {
    // Before any thread is started, so that all have it blocked and one waits for it.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("blocking signals")?;
    // Started by a person in a shell it is a group leader already and keeps its session.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true).context("becoming the child subreaper")?;

    let _lock = lock(&directory.spawner_pid())?;
    let mut life = lives::Life::begin(&directory.spawner_boot()).context("writing spawner.boot")?;
    life.end_earlier().context("ending what an earlier spawner left")?;
    let records = Records::open(&directory.records())?;
    let ended = records.read_all()?;
    let shared = Arc::new(Shared::new(Keeper::new(life.boot, records, ended)));
    start_threads(&shared)?;

    let listener = serve::listen(&directory.spawner_socket()).context("making the socket of the spawner")?;
    let serving = Arc::clone(&shared);
    thread("serve", move || serve::run(&listener, &serving))?;
    tracing::info!(boot = %life.boot, "spawner ready");
    wait_to_leave(&shared, &signals)?;
    tracing::info!("nothing runs any more; leaving");
    // What is left of them is replaced by the next spawner.
    let _ = std::fs::remove_file(directory.spawner_socket());
    Ok(())
}

fn start_threads(shared: &Arc<Shared>) -> anyhow::Result<()> {
    for _ in 0..STARTERS {
        let (shared, starter) = (Arc::clone(shared), Starter::new().context("opening /dev/null")?);
        thread("start", move || shared.start_processes(starter))?;
    }
    let reaping = Arc::clone(shared);
    thread("reap", move || reap::run(&reaping))
}

/// The ender runs here, on the main thread's account; a helper thread waits for the signal.
fn wait_to_leave(shared: &Arc<Shared>, signals: &SigSet) -> anyhow::Result<()> {
    let (leaving, signals) = (Arc::clone(shared), *signals);
    thread("signals", move || {
        loop {
            match signals.wait() {
                // The terminal it was started from is gone: none of its business.
                Ok(Signal::SIGHUP) | Err(_) => {}
                Ok(signal) => {
                    tracing::info!(%signal, "ending all tasks");
                    leaving.change(|keeper| keeper.leave_all(LEAVING_GRACE));
                }
            }
        }
    })?;
    end::run(shared);
    Ok(())
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.with_context(|| format!("starting the thread '{name}'"))?;
    Ok(())
}

/// Takes the place of this node's only spawner: an exclusive lock on the file that holds its process id.
fn lock(path: &Path) -> anyhow::Result<Flock<File>> {
    let file = File::options().create(true).write(true).truncate(false).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let Ok(mut lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        bail!("a spawner of this node runs already ({})", path.display());
    };
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}
