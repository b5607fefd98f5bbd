//! Between the controller and the committer: rounds that wait for their commit, and what happens while the disk is full.
//!
//! ```text
//!   controller --rounds, one ahead-->  committer
//!        |  <------- shortage -------      |       the disk is full: the round that met it waits, and is tried again
//!        '--------- courtesies ------>     '--> outbox
//! ```
//!
//! While there is no room no further round is decided, because what it decided could not be told anybody. But the cluster
//! goes on: nodes are heard and told so, which keeps their leases alive; requests that would change something are refused,
//! with the reason; what nodes report is kept for the next round, and when too much of it is kept, left in the queue.
//! Reading goes by the view and notices nothing.
//!
//! A courtesy leaves before rounds that were decided earlier, so it must never hold anything that was decided.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::client::{Refusal, RefusalCode};
use proto::control::HeadMessage;
use proto::ids::NodeId;
use scheduler::Cluster;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::round::{Arrival, Departure, Flight, MAX_ARRIVALS};

/// How many rounds may be decided beyond the one that is being flushed.
const ROUNDS_AHEAD: usize = 1;

/// How many arrivals are kept for the time after a shortage; then they stay in the queue, whose bound is the doors'.
const MAX_KEPT: usize = 4 * MAX_ARRIVALS;

/// Between two looks at the queue while there is a shortage. The queue cannot wake whoever waits for the end of one.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Why nothing is stored at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage(pub(crate) String);

#[derive(Debug)]
struct Runway<S> {
    /// Guards everything that both sides see; held for a moment only.
    state: Mutex<State<S>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<S> {
    flights: VecDeque<Flight<S>>,
    courtesies: Vec<Departure<S>>,
    shortage: Option<Shortage>,
    /// One side is gone.
    closed: bool,
}

impl<S> Runway<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<S>>, at_most: Duration) -> MutexGuard<'a, State<S>> {
        let waited = self.changed.wait_timeout(state, at_most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

/// Both ends of a new one.
pub(crate) fn runway<S>() -> (Departing<S>, Landing<S>) {
    let runway = Arc::new(Runway {
        state: Mutex::new(State {
            flights: VecDeque::new(),
            courtesies: Vec::new(),
            shortage: None,
            closed: false,
        }),
        changed: Condvar::new(),
    });
    (Departing(Arc::clone(&runway)), Landing(runway))
}

/// The controller's end.
#[derive(Debug)]
pub(crate) struct Departing<S>(Arc<Runway<S>>);

impl<S> Departing<S> {
    /// Hands a round to the committer, when the one ahead of it is out of the way. Whether there still is a committer.
    pub(crate) fn send(&self, flight: Flight<S>) -> bool {
        let mut state = self.0.state();
        // In a shortage nothing gets out of the way; one more may stand there, and no other is decided.
        while !state.closed && state.shortage.is_none() && state.flights.len() >= ROUNDS_AHEAD {
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.flights.push_back(flight);
        self.0.changed.notify_all();
        true
    }

    /// Waits for arrivals of the next round, and for room to store it. Whether there is a next round.
    pub(crate) fn gather(
        &self,
        waiting: &mut mpsc::Receiver<Arrival<S>>,
        arrivals: &mut Vec<Arrival<S>>,
        cluster: &mut Cluster,
        clock: Clock,
    ) -> bool {
        if arrivals.is_empty() && waiting.blocking_recv_many(arrivals, MAX_ARRIVALS) == 0 {
            return false;
        }
        let mut first = true;
        while let Some(shortage) = self.shortage() {
            // What is there already is looked at once, then only what comes.
            let seen = if first { 0 } else { arrivals.len() };
            first = false;
            while arrivals.len() < MAX_KEPT {
                match waiting.try_recv() {
                    Ok(arrival) => arrivals.push(arrival),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return false,
                }
            }
            let new = arrivals.split_off(seen);
            let mut courtesies = Vec::new();
            for arrival in new {
                match in_shortage(arrival, arrivals, &shortage, cluster, clock) {
                    Meanwhile::Said(courtesy) => courtesies.push(courtesy),
                    Meanwhile::Kept(arrival) => arrivals.push(arrival),
                    Meanwhile::Dropped => {}
                }
            }
            self.say(courtesies);
        }
        !self.0.state().closed
    }

    fn shortage(&self) -> Option<Shortage> {
        let state = self.0.state();
        if state.closed { None } else { state.shortage.clone() }
    }

    fn say(&self, courtesies: Vec<Departure<S>>) {
        let mut state = self.0.state();
        if !courtesies.is_empty() {
            state.courtesies.extend(courtesies);
            self.0.changed.notify_all();
        }
        drop(self.0.wait(state, BETWEEN_LOOKS));
    }
}

impl<S> Drop for Departing<S> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What becomes of an arrival while nothing can be stored.
enum Meanwhile<S> {
    Said(Departure<S>),
    Kept(Arrival<S>),
    Dropped,
}

fn in_shortage<S>(
    arrival: Arrival<S>,
    kept: &[Arrival<S>],
    shortage: &Shortage,
    cluster: &mut Cluster,
    clock: Clock,
) -> Meanwhile<S> {
    match arrival {
        Arrival::Request { slot, .. } => Meanwhile::Said(Departure::Answer {
            slot,
            answer: Err(Refusal {
                code: RefusalCode::Busy,
                what: shortage.0.clone(),
                remedy: "then try again".to_owned(),
                // Somebody has to make room; waiting alone does not help.
                retry_after: None,
            }),
            sequence: cluster.sequence(),
        }),
        // A node whose hello waits is not welcome yet.
        Arrival::Heartbeat { node, .. } if greets(kept, node) => Meanwhile::Dropped,
        Arrival::Heartbeat { node, link, number } => {
            cluster.heard(node, clock.now().monotonic);
            Meanwhile::Said(Departure::ToNode {
                node,
                link: Some(link),
                message: HeadMessage::HeartbeatTaken { number },
            })
        }
        // Sent again for as long as its deadline has passed.
        Arrival::Tick => Meanwhile::Dropped,
        Arrival::Hello { .. } | Arrival::Reports { .. } | Arrival::Gone { .. } => Meanwhile::Kept(arrival),
    }
}

fn greets<S>(kept: &[Arrival<S>], whom: NodeId) -> bool {
    kept.iter()
        .any(|arrival| matches!(arrival, Arrival::Hello { node, .. } if *node == whom))
}

/// The committer's end.
#[derive(Debug)]
pub(crate) struct Landing<S>(Arc<Runway<S>>);

impl<S> Landing<S> {
    /// The next round; none when there will be no more.
    pub(crate) fn next(&self) -> Option<Flight<S>> {
        let mut state = self.0.state();
        loop {
            if let Some(flight) = state.flights.pop_front() {
                self.0.changed.notify_all();
                return Some(flight);
            }
            if state.closed {
                return None;
            }
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// There is no room: hands over courtesies as they come, for so long. Whether the controller is still there.
    pub(crate) fn hold(&self, shortage: &Shortage, pause: Duration, mut send: impl FnMut(Departure<S>)) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.0.state();
        if state.shortage.as_ref() != Some(shortage) {
            state.shortage = Some(shortage.clone());
            self.0.changed.notify_all();
        }
        loop {
            let courtesies = std::mem::take(&mut state.courtesies);
            if !courtesies.is_empty() {
                drop(state);
                courtesies.into_iter().for_each(&mut send);
                state = self.0.state();
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return !state.closed;
            }
            state = self.0.wait(state, left);
        }
    }

    /// There is room again; what was said meanwhile and has not left.
    pub(crate) fn relieve(&self) -> Vec<Departure<S>> {
        let mut state = self.0.state();
        if state.shortage.take().is_some() {
            self.0.changed.notify_all();
        }
        std::mem::take(&mut state.courtesies)
    }
}

impl<S> Drop for Landing<S> {
    fn drop(&mut self) {
        self.0.close();
    }
}
