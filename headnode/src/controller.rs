//! The one loop: takes all waiting arrivals, runs a round, hands its flight to the committer.
//!
//! Two threads. The controller owns the cluster and decides; the committer stores, flushes, then lets the flight's
//! events and departures go. While a flush runs, the next round gathers and may be decided, but nothing of it leaves
//! before its own flush. A failing store ends the process: acknowledged work is on disk, a restart recovers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use proto::ids::NodeId;
use proto::units::{Monotonic, Now};
use scheduler::Cluster;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::past::Past;
use crate::round::{Arrival, Departure, Flight, MAX_ARRIVALS, Welcome, round};
use crate::store::{Store, StoreError};
use crate::view::View;

/// How many arrivals may wait; then the doors wait, and their clients with them.
pub const QUEUE: usize = 16 * MAX_ARRIVALS;

/// How many rounds may be decided beyond the one that is being flushed.
const ROUNDS_AHEAD: usize = 1;

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
        let (flights, landing) = sync_channel(ROUNDS_AHEAD);
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
    flights: &SyncSender<Flight<S>>,
    deadline: &watch::Sender<Option<Monotonic>>,
    clock: Clock,
    welcome: &Welcome,
    past: &mut Past,
) {
    let mut arrivals = Vec::with_capacity(MAX_ARRIVALS);
    while waiting.blocking_recv_many(&mut arrivals, MAX_ARRIVALS) > 0 {
        let taken = std::mem::replace(&mut arrivals, Vec::with_capacity(MAX_ARRIVALS));
        let now = clock.now();
        forgive_silence(&mut cluster, now);
        let flight = round(&mut cluster, taken, now, welcome, past);
        deadline.send_if_modified(|held| {
            let next = cluster.next_deadline();
            std::mem::replace(held, next) != next
        });
        if flights.send(flight).is_err() {
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
    landing: &Receiver<Flight<S>>,
    store: &dyn Store,
    view: &View,
    mut outbox: impl Outbox<S>,
) -> Result<(), StoreError> {
    for flight in landing {
        if !flight.changes.is_empty() {
            store.commit(&flight.changes).inspect_err(|error| {
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
