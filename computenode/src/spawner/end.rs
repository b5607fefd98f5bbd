//! Ending attempts: the thread that asks and kills whole trees, minds deadlines, and sees when nothing is left.
//!
//! Killing goes in rounds: look at all processes, signal those of the attempt, look again, until a look finds none. A
//! process that forks faster than one round is met in a later one; a process that the kernel does not let die (a
//! device or file server that hangs) keeps its attempt open, and with it the slots, because something does run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::getpid;
use proto::ids::AttemptId;

use crate::spawner::attempt::Measure;
use crate::spawner::clock::BootTime;
use crate::spawner::keeper::{Due, Rounds};
use crate::spawner::processes::{self, Families};
use crate::spawner::threads::Shared;

/// Between two looks: short at first, since a killed process is gone within a millisecond, longer for stubborn ones.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Boot time goes on while the machine sleeps and a condition variable's does not; so no wait for a deadline is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Runs until everything has left.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut keeper = shared.lock();
        if keeper.has_left() {
            return;
        }
        match keeper.due() {
            Due::At(next) => {
                pause = FIRST_PAUSE;
                let wait = next.map_or(LONGEST_WAIT, |at| at.after(BootTime::now()).min(LONGEST_WAIT));
                shared.wait_to_end(keeper, wait);
            }
            Due::Now(rounds) => {
                drop(keeper);
                let bare = one_round(shared, &rounds);
                let over = shared.change(|keeper| keeper.found_bare(&bare));
                if over < rounds.measures.len() {
                    // The end of a child wakes it sooner.
                    shared.wait_to_end(shared.lock(), pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Looks, signals, and says of which attempts nothing was found.
fn one_round(shared: &Shared, rounds: &Rounds) -> Vec<AttemptId> {
    let families = Families::look(getpid().as_raw(), &rounds.roots);
    for (attempt, family) in &families.of {
        let signal = match rounds.measures.get(attempt) {
            Some(Measure::Kill) => Some(Signal::SIGKILL),
            Some(Measure::Ask) => Some(Signal::SIGTERM),
            Some(Measure::Look) => None,
            // Left by an attempt that is over: a list missed it then.
            None => (!rounds.known.contains(attempt)).then_some(Signal::SIGKILL),
        };
        for process in family {
            if let Some(signal) = signal {
                processes::signal(process, signal);
                if signal == Signal::SIGTERM {
                    // A stopped process would not hear it.
                    processes::signal(process, Signal::SIGCONT);
                }
            }
        }
    }
    let strays = !families.strays.is_empty() && shared.lock().strays_are_sure(rounds);
    if strays {
        for process in &families.strays {
            processes::signal(process, Signal::SIGKILL);
        }
    }
    if strays {
        return Vec::new();
    }
    // Both ways of looking have to agree: the walk can miss a process whose parent ended meanwhile, but then that
    // process is a child of ours.
    let attributed: BTreeSet<i32> = families
        .of
        .values()
        .flatten()
        .chain(&families.strays)
        .map(|seen| seen.pid)
        .collect();
    let unseen = processes::own_children().is_some_and(|children| {
        children
            .iter()
            .any(|pid| !attributed.contains(pid) && is_new_orphan(*pid, rounds))
    });
    if unseen {
        return Vec::new();
    }
    rounds
        .measures
        .keys()
        .copied()
        .filter(|attempt| !families.of.contains_key(attempt))
        .collect()
}

/// A living child that the walk did not see, and that may belong to one of the attempts that are being ended.
fn is_new_orphan(pid: i32, rounds: &Rounds) -> bool {
    processes::process(pid).is_some()
        && processes::marked(pid).is_none_or(|(attempt, _)| rounds.measures.contains_key(&attempt))
        && !rounds.roots.started.contains_key(&pid)
}
