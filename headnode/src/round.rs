//! One round of the head node, without IO: `(arrivals, cluster, now) -> (changes, events, departures)`.
//!
//! The controller feeds it from its queue, a simulation from its own. What it returns leaves in this order: changes to
//! the store and flushed, events to the read model, departures to whoever waits. A crash in between means that orders
//! are sent again, never that they are forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::client::{Refusal, RefusalCode};
use proto::control::{HeadMessage, Hello, MAX_ORDERS, Order, Report, Timing};
use proto::event::Event;
use proto::frame::Version;
use proto::ids::{BootId, KeyHash, NodeId, Sequence};
use proto::model::job::MAX_PARENTS;
use proto::stored::Change;
use proto::units::{Now, Timestamp};
use scheduler::{Action, Answer, Cluster, Input, StoredJob};

use crate::past::Past;
use crate::store::StoreError;
use crate::weight;

/// The most arrivals of one round; more wait for the next one.
pub const MAX_ARRIVALS: usize = 1000;

/// One connection of a node, told from the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Bytes of orders in one message, by [`weight::of_order`]; a quarter of the largest frame.
const MAX_ORDER_BYTES: usize = proto::frame::MAX_FRAME_BYTES / 4;

/// What may wake the controller. `S` is where an answer goes.
#[derive(Debug)]
pub enum Arrival<S> {
    /// A request that gets an answer.
    Request {
        /// What is asked.
        input: Input,
        /// Where the answer goes.
        slot: S,
    },
    /// A node connected.
    Hello {
        /// Which, from its certificate.
        node: NodeId,
        /// By which connection.
        link: LinkId,
        /// The key of its certificate.
        key: KeyHash,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A node is there.
    Heartbeat {
        /// Which.
        node: NodeId,
        /// By which connection.
        link: LinkId,
        /// To be repeated in the answer.
        number: u64,
    },
    /// A node tells what happened.
    Reports {
        /// Which.
        node: NodeId,
        /// By which connection.
        link: LinkId,
        /// The life of its task keeper.
        boot: BootId,
        /// To be repeated in the answer.
        number: u64,
        /// In order.
        reports: Vec<Report>,
    },
    /// A node's connection broke.
    Gone {
        /// Which.
        node: NodeId,
    },
    /// A deadline has come.
    Tick,
}

/// What leaves after the flush.
#[derive(Debug)]
pub enum Departure<S> {
    /// An answer.
    Answer {
        /// To whom.
        slot: S,
        /// What.
        answer: Result<Answer, Refusal>,
        /// The state of the cluster that holds it.
        sequence: Sequence,
    },
    /// A message to a node; lost when it is not connected, and sent again after its next hello.
    ToNode {
        /// Which.
        node: NodeId,
        /// Only by this connection: an answer to what came by it. Orders go by whichever has been welcomed.
        link: Option<LinkId>,
        /// What.
        message: HeadMessage,
    },
    /// End a node's connection.
    Disconnect {
        /// Which.
        node: NodeId,
        /// For its log.
        reason: String,
    },
    /// Tell a node that it was taken out of the cluster, and end its connection.
    Remove {
        /// Which.
        node: NodeId,
        /// For its log.
        reason: String,
    },
}

/// What a round leaves behind.
#[derive(Debug)]
pub struct Flight<S> {
    /// To be stored, atomically and in this order: a later change of a row replaces an earlier one. Empty rounds need no
    /// flush. Whoever commits them drops them then, which is how [`Past`] knows that they can be read from the store.
    pub changes: Arc<Vec<Change>>,
    /// For the read model.
    pub events: Vec<Event>,
    /// For everybody else.
    pub departures: Vec<Departure<S>>,
    /// After the last event.
    pub sequence: Sequence,
    /// When it was decided.
    pub at: Timestamp,
}

/// What nodes are told at their hello.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// What this head node speaks.
    pub version: Version,
    /// The cluster's name.
    pub cluster: String,
    /// The clocks.
    pub timing: Timing,
}

/// Decides all arrivals, then plans once. `past` has the jobs that have left memory.
pub fn round<S>(
    cluster: &mut Cluster,
    arrivals: Vec<Arrival<S>>,
    now: Now,
    welcome: &Welcome,
    past: &mut Past,
) -> Flight<S> {
    cluster.advance(now);
    let mut work = Work {
        cluster,
        past,
        now,
        changes: Vec::new(),
        events: Vec::new(),
        departures: Vec::new(),
        orders: BTreeMap::new(),
    };
    for arrival in arrivals {
        work.take(arrival, welcome);
    }
    let plan = scheduler::plan(work.cluster, now);
    work.carry_out_together(plan.events);
    let windows = scheduler::windows(work.cluster, now);
    work.carry_out_together(windows);
    work.into_flight()
}

struct Work<'a, S> {
    cluster: &'a mut Cluster,
    past: &'a mut Past,
    now: Now,
    /// Changes that had to be taken before the end of the round; the rest follows.
    changes: Vec<Change>,
    events: Vec<Event>,
    departures: Vec<Departure<S>>,
    /// Orders of this round by node, so that each node gets one message.
    orders: BTreeMap<NodeId, Vec<Order>>,
}

impl<S> Work<'_, S> {
    fn take(&mut self, arrival: Arrival<S>, welcome: &Welcome) {
        match arrival {
            Arrival::Request { mut input, slot } => {
                let answer = self.recall(&mut input).and_then(|()| self.decide(&input));
                let sequence = self.cluster.sequence();
                self.departures.push(Departure::Answer { slot, answer, sequence });
            }
            Arrival::Hello { node, link, key, hello } => self.greet((node, key), link, hello, welcome),
            Arrival::Heartbeat { node, link, number } => {
                self.heard(node);
                self.answer_node(node, link, HeadMessage::HeartbeatTaken { number });
            }
            Arrival::Reports {
                node,
                link,
                boot,
                number,
                reports,
            } => {
                self.heard(node);
                for report in reports {
                    self.decide_quietly(&Input::Report { node, boot, report });
                }
                self.answer_node(node, link, HeadMessage::ReportsTaken { number });
            }
            Arrival::Gone { node } => self.decide_quietly(&Input::NodeGone { node }),
            Arrival::Tick => self.decide_quietly(&Input::Tick),
        }
    }

    /// Hands a job that has left memory to an input that may bring it back. It is read here and not in a door, so that
    /// nothing can happen to it between the reading and the decision.
    fn recall(&mut self, input: &mut Input) -> Result<(), Refusal> {
        self.recall_parents(input)?;
        let (caller, job, stored) = match input {
            Input::AddTasks {
                caller, job, stored, ..
            }
            | Input::CloneJob {
                caller, job, stored, ..
            }
            | Input::RequeueJob { caller, job, stored }
            | Input::DeleteJob { caller, job, stored } => (caller, *job, stored),
            Input::RequeueTasks { caller, tasks, stored } => match tasks.first() {
                Some(task) => (caller, task.job, stored),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        *stored = None;
        if self.cluster.job(job).is_some() || job >= self.cluster.next_job() {
            return Ok(());
        }
        // It may have left memory in this very round.
        self.changes.extend(self.cluster.take_changes());
        let found = self.past.job(job, &self.changes, |row| caller.may_touch(&row.owner));
        *stored = found.map_err(|error| unreadable(&error))?.map(Box::<StoredJob>::new);
        Ok(())
    }

    /// Of the jobs that a job is to wait for, those that are over and no longer in memory are looked up here, for the same
    /// reason.
    fn recall_parents(&mut self, input: &mut Input) -> Result<(), Refusal> {
        let (caller, parents) = match input {
            Input::Submit { caller, job, .. } | Input::NewJob { caller, job, .. } => (caller, &mut job.parents),
            Input::ModifyJob { caller, change, .. } => match &mut change.parents {
                Some(parents) => (caller, parents),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        // Too many are refused without a look at any.
        if parents.is_empty() || parents.len() > MAX_PARENTS {
            return Ok(());
        }
        self.changes.extend(self.cluster.take_changes());
        let is_live = |id| self.cluster.job(id).is_some();
        self.past
            .drop_met_parents(caller, parents, &self.changes, is_live)
            .map_err(|error| unreadable(&error))
    }

    fn greet(&mut self, (node, key): (NodeId, KeyHash), link: LinkId, hello: Box<Hello>, welcome: &Welcome) {
        // What waits for the node from before is superseded by what its hello leads to.
        self.orders.remove(&node);
        let held = hello.held.clone();
        // A hello that is refused must not count as heard, or its node would never be given up.
        if let Err(refusal) = self.decide(&Input::NodeUp { node, key, hello }) {
            self.departures.push(Departure::Disconnect {
                node,
                reason: refusal.to_string(),
            });
            return;
        }
        self.cluster.heard(node, self.now.monotonic);
        // Orders leave at the end of the round, so the welcome goes first.
        let (version, cluster, timing) = (welcome.version, welcome.cluster.clone(), welcome.timing);
        self.answer_node(
            node,
            link,
            HeadMessage::Welcome {
                version,
                cluster,
                timing,
            },
        );
        let repeats = scheduler::resync(self.cluster, node, &held);
        let orders = self.orders.entry(node).or_default();
        for order in repeats {
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
    }

    fn heard(&mut self, node: NodeId) {
        self.cluster.heard(node, self.now.monotonic);
        self.decide_quietly(&Input::Heard { node });
    }

    fn decide(&mut self, input: &Input) -> Result<Answer, Refusal> {
        let decision = scheduler::decide(self.cluster, input, self.now)?;
        self.carry_out(decision.events);
        self.act(decision.actions);
        Ok(decision.answer)
    }

    /// For inputs that nobody waits for.
    fn decide_quietly(&mut self, input: &Input) {
        if let Err(refusal) = self.decide(input) {
            tracing::debug!(%refusal, "an input without an asker was refused");
        }
    }

    fn carry_out(&mut self, events: Vec<Event>) {
        for event in events {
            self.cluster.apply(&event);
            let actions = scheduler::react(self.cluster, &event);
            self.act(actions);
            self.events.push(event);
        }
    }

    /// The same for many grants: what they ask of one node goes in few words.
    fn carry_out_together(&mut self, events: Vec<Event>) {
        for event in &events {
            self.cluster.apply(event);
        }
        let actions = scheduler::react_to_all(self.cluster, &events);
        self.act(actions);
        self.events.extend(events);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Order { node, order } => self.orders.entry(node).or_default().push(order),
                Action::Disconnect { node, reason } => self.departures.push(Departure::Disconnect { node, reason }),
                Action::Remove { node, reason } => self.departures.push(Departure::Remove { node, reason }),
            }
        }
    }

    fn answer_node(&mut self, node: NodeId, link: LinkId, message: HeadMessage) {
        self.departures.push(Departure::ToNode {
            node,
            link: Some(link),
            message,
        });
    }

    fn into_flight(mut self) -> Flight<S> {
        for (node, orders) in std::mem::take(&mut self.orders) {
            for orders in in_messages(orders) {
                self.departures.push(Departure::ToNode {
                    node,
                    link: None,
                    message: HeadMessage::Orders { orders },
                });
            }
        }
        let mut changes = self.changes;
        changes.extend(self.cluster.take_changes());
        let changes = Arc::new(changes);
        self.past.depart(&changes);
        Flight {
            changes,
            events: self.events,
            departures: self.departures,
            sequence: self.cluster.sequence(),
            at: self.now.wall,
        }
    }
}

fn unreadable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot be read");
    Refusal {
        code: RefusalCode::Busy,
        what: format!("the head node cannot read its store: {error}"),
        remedy: "see the head node's log".to_owned(),
        retry_after: None,
    }
}

/// Cuts orders into messages that fit into frames.
fn in_messages(orders: Vec<Order>) -> Vec<Vec<Order>> {
    let mut messages: Vec<Vec<Order>> = Vec::new();
    let mut bytes = 0;
    for order in orders {
        let more = weight::of_order(&order);
        match messages.last_mut() {
            Some(last) if last.len() < MAX_ORDERS && bytes + more <= MAX_ORDER_BYTES => {
                bytes += more;
                last.push(order);
            }
            _ => {
                bytes = more;
                messages.push(vec![order]);
            }
        }
    }
    messages
}

#[cfg(test)]
mod tests;
