//! The one loop: takes all waiting arrivals, runs a round, hands its flight to the committer.
//!
//! Two threads. The controller owns the cluster and decides; the committer stores, flushes, then lets the flight's
//! events and departures go. While a flush runs, the next round gathers and may be decided, but nothing of it leaves
//! before its own flush. A full disk stops acknowledgements and nothing else: the round that met it waits and is tried
//! again (`runway`). Any other failure of the store, a panic among them, ends the process: acknowledged work is on disk,
//! nothing of the failed round was told anybody, a restart recovers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proto::ids::NodeId;
use proto::stored::Change;
use proto::units::{Monotonic, Now};
use scheduler::Cluster;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::past::Past;
use crate::round::{Arrival, Departure, MAX_ARRIVALS, Welcome, round};
use crate::runway::{Departing, Landing, Shortage, runway};
use crate::store::{Store, StoreError};
use crate::view::View;

/// How many arrivals may wait; then the doors wait, and their clients with them.
pub const QUEUE: usize = 16 * MAX_ARRIVALS;

/// Between two tries to store while the disk is full, doubled up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Carries out what a round decided, after its flush.
pub trait Outbox<S>: Send + 'static {
    /// Sends one departure. Must not block: a receiver that is gone or full is the receiver's loss.
    fn send(&mut self, departure: Departure<S>);
}

/// The running loop.
#[derive(Debug)]
pub struct Controller<S> {
    /// Where arrivals go in.
    pub arrivals: mpsc::Sender<Arrival<S>>,
    /// When the next tick is due, for whoever keeps the timer.
    pub deadline: watch::Receiver<Option<Monotonic>>,
    threads: [JoinHandle<Result<(), StoreError>>; 2],
}

impl<S: Send + 'static> Controller<S> {
    /// Starts both threads on a restored cluster.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        cluster: Cluster,
        store: Arc<dyn Store>,
        view: Arc<View>,
        outbox: impl Outbox<S>,
        clock: Clock,
        welcome: Welcome,
    ) -> std::io::Result<Self> {
        let (arrivals, waiting) = mpsc::channel(QUEUE);
        let (deadline_set, deadline) = watch::channel(cluster.next_deadline());
        let (flights, landing) = runway();
        let mut past = Past::new(Arc::clone(&store));
        let committer = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || commit_all(&landing, store.as_ref(), &view, outbox))?;
        let controller = thread::Builder::new().name("controller".to_owned()).spawn(move || {
            decide_all(cluster, waiting, &flights, &deadline_set, clock, &welcome, &mut past);
            Ok(())
        })?;
        Ok(Self {
            arrivals,
            deadline,
            threads: [controller, committer],
        })
    }

    /// Waits for the end of both threads, which comes when the last sender of arrivals is dropped or the store fails.
    ///
    /// # Errors
    /// What the store said.
    pub fn join(self) -> Result<(), StoreError> {
        drop(self.arrivals);
        for thread in self.threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }

    /// Whether a thread has ended on its own: the process must end too.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

fn decide_all<S>(
    mut cluster: Cluster,
    mut waiting: mpsc::Receiver<Arrival<S>>,
    flights: &Departing<S>,
    deadline: &watch::Sender<Option<Monotonic>>,
    clock: Clock,
    welcome: &Welcome,
    past: &mut Past,
) {
    let mut arrivals = Vec::with_capacity(MAX_ARRIVALS);
    while flights.gather(&mut waiting, &mut arrivals, &mut cluster, clock) {
        // Behind a shortage there may be more than one round of them.
        let later = arrivals.split_off(arrivals.len().min(MAX_ARRIVALS));
        let taken = std::mem::replace(&mut arrivals, later);
        let now = clock.now();
        forgive_silence(&mut cluster, now);
        let flight = round(&mut cluster, taken, now, welcome, past);
        deadline.send_if_modified(|held| {
            let next = cluster.next_deadline();
            std::mem::replace(held, next) != next
        });
        if !flights.send(flight) {
            return; // The committer ended; it says why.
        }
    }
}

/// A head node that itself stood still, stopped or behind a disk that hung, heard nobody meanwhile. The silence of its nodes
/// counts anew then, as after a restart: what they had to say waits in the queue.
fn forgive_silence(cluster: &mut Cluster, now: Now) {
    let bound = cluster.settings().suspect_after;
    let late = cluster.next_deadline().map(|due| now.monotonic.since(due));
    if late.is_none_or(|late| late <= bound) {
        return;
    }
    tracing::warn!("the head node stood still for a while; its nodes get their time anew");
    let nodes: Vec<NodeId> = cluster.nodes().map(|node| node.id).collect();
    for node in nodes {
        cluster.heard(node, now.monotonic);
    }
}

fn commit_all<S>(
    landing: &Landing<S>,
    store: &dyn Store,
    view: &View,
    mut outbox: impl Outbox<S>,
) -> Result<(), StoreError> {
    while let Some(flight) = landing.next() {
        if !flight.changes.is_empty() {
            commit(landing, store, &flight.changes, &mut outbox).inspect_err(|error| {
                tracing::error!(%error, "the store failed; nothing more is acknowledged, the head node ends");
            })?;
        }
        // They can be read from the store now.
        drop(flight.changes);
        view.apply(flight.events, flight.sequence, flight.at);
        for departure in flight.departures {
            outbox.send(departure);
        }
    }
    Ok(())
}

/// Stores a round; when the disk is full, as soon as there is room.
fn commit<S>(
    landing: &Landing<S>,
    store: &dyn Store,
    changes: &[Change],
    outbox: &mut impl Outbox<S>,
) -> Result<(), StoreError> {
    let (mut pause, longest) = PAUSES;
    let mut is_short = false;
    loop {
        match commit_caught(store, changes) {
            Err(error) if error.is_full() => {
                if !is_short {
                    tracing::error!(%error, "nothing is stored or acknowledged until then; running tasks go on");
                    is_short = true;
                }
                let shortage = Shortage(error.to_string());
                if !landing.hold(&shortage, pause, |courtesy| outbox.send(courtesy)) {
                    return Err(error);
                }
                pause = (pause * 2).min(longest);
            }
            Ok(()) if is_short => {
                tracing::info!("there is room on the disk again; the cluster goes on");
                landing.relieve().into_iter().for_each(|courtesy| outbox.send(courtesy));
                return Ok(());
            }
            result => return result,
        }
    }
}

/// A panic inside the store must not pass for the end of the loop.
fn commit_caught(store: &dyn Store, changes: &[Change]) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| store.commit(changes))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Panicked {
            what: what.unwrap_or("no message").to_owned(),
        })
    })
}

#[cfg(test)]
mod tests;
