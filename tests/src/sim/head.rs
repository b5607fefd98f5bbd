//! The head node under simulation: the real round over the real memory store; a flush takes a while, and a kill loses what
//! was not flushed and what was not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headnode::past::Past;
use headnode::round::{Arrival, Departure, Flight, LinkId, Welcome, round};
use headnode::store::{MemoryStore, Store};
use proto::control::Timing;
use proto::event::Event;
use proto::ids::NodeId;
use proto::units::Millis;
use scheduler::{Cluster, Settings};

use super::clock::{Clock, Time};
use super::rng::Rng;

/// Whose answer it is: the number of the request.
pub(super) type Slot = u64;

/// Short clocks, so that a run of a minute has many leases in it.
pub(super) const fn settings() -> Settings {
    Settings {
        timing: Timing {
            heartbeat: Millis(1000),
            lease: Millis(10_000),
            kill_grace: Millis(1000),
        },
        suspect_after: Millis(3000),
        lost_after: Millis(15_000),
        drift: Millis(1000),
    }
}

/// A head node, up or down.
pub(super) struct Head {
    store: Arc<MemoryStore>,
    pub(super) clock: Clock,
    rng: Rng,
    running: Option<Running>,
}

struct Running {
    cluster: Cluster,
    past: Past,
    inbox: Vec<Arrival<Slot>>,
    flights: VecDeque<(Time, Flight<Slot>)>,
    /// Connections that were welcomed: orders go by these.
    welcomed: BTreeMap<NodeId, LinkId>,
}

/// What came out of a flush.
pub(super) struct Landed {
    pub(super) events: Vec<Event>,
    pub(super) departures: Vec<Departure<Slot>>,
}

impl Head {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            store: Arc::new(MemoryStore::default()),
            clock: Clock::new(0),
            rng,
            running: None,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Starts on what is stored.
    ///
    /// # Errors
    /// When what is stored contradicts itself.
    pub(super) fn start(&mut self, now: Time) -> Result<(), String> {
        self.clock.started = now;
        let rows = self.store.load().map_err(|error| error.to_string())?;
        let cluster = Cluster::restore(settings(), rows, self.clock.now(now)).map_err(|error| error.to_string())?;
        cluster
            .check()
            .map_err(|what| format!("after a restart of the head node: {what}"))?;
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&self.store);
        self.running = Some(Running {
            cluster,
            past: Past::new(store),
            inbox: Vec::new(),
            flights: VecDeque::new(),
            welcomed: BTreeMap::new(),
        });
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    /// Something comes in; false when nobody is there.
    pub(super) fn take(&mut self, arrival: Arrival<Slot>) -> bool {
        let Some(running) = &mut self.running else { return false };
        running.inbox.push(arrival);
        true
    }

    /// Whether something waits to be decided.
    pub(super) fn has_work(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.inbox.is_empty())
    }

    /// One round; returns when its flush is done.
    ///
    /// # Errors
    /// When an invariant does not hold after it, looked at now and then because that costs as much as a restart.
    pub(super) fn round(&mut self, now: Time, look: bool) -> Result<Option<Time>, String> {
        let clocks = self.clock.now(now);
        let Some(running) = &mut self.running else {
            return Ok(None);
        };
        let arrivals = std::mem::take(&mut running.inbox);
        let welcome = Welcome {
            version: proto::frame::VERSION,
            cluster: "sim".to_owned(),
            timing: settings().timing,
        };
        let flight = round(&mut running.cluster, arrivals, clocks, &welcome, &mut running.past);
        if look {
            running.cluster.check()?;
        }
        let earliest = running.flights.back().map_or(now, |(at, _)| *at);
        let flushed = earliest.max(now + self.rng.within(1, 6));
        running.flights.push_back((flushed, flight));
        Ok(Some(flushed))
    }

    /// The flushes that are done by now.
    ///
    /// # Errors
    /// When the store says no.
    pub(super) fn land(&mut self, now: Time) -> Result<Vec<Landed>, String> {
        let mut landed = Vec::new();
        let Some(running) = &mut self.running else {
            return Ok(landed);
        };
        while running.flights.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, flight)) = running.flights.pop_front() else {
                break;
            };
            self.store.commit(&flight.changes).map_err(|error| error.to_string())?;
            drop(flight.changes);
            landed.push(Landed {
                events: flight.events,
                departures: flight.departures,
            });
        }
        Ok(landed)
    }

    /// When a tick is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let next = self.running.as_ref()?.cluster.next_deadline()?;
        Some(self.clock.true_time(next))
    }

    /// A connection was welcomed.
    pub(super) fn welcome(&mut self, node: NodeId, link: LinkId) {
        if let Some(running) = &mut self.running {
            running.welcomed.insert(node, link);
        }
    }

    /// By which connection orders to a node go.
    pub(super) fn route(&self, node: NodeId) -> Option<LinkId> {
        self.running.as_ref()?.welcomed.get(&node).copied()
    }

    /// The state, while it is up.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.running.as_ref().map(|running| &running.cluster)
    }

    /// What is on disk.
    pub(super) fn store(&self) -> &MemoryStore {
        &self.store
    }
}
