//! What mpiexec decides, without any IO: who must join, when ranks start, when a barrier is over, when and how all ends.
//!
//! ```text
//!   Joining --all proxies are there--> Running --all ranks ended well--> Ended
//!      |                                  |                                ^
//!      '--------- first cause -----------'--> Stopping --all finished, or deadline
//! ```
//!
//! Feed it each [`Input`] with the time, carry out the [`Action`]s in order, and call it with [`Input::Tick`] at
//! [`Coordinator::next_deadline`]. No rank starts before every proxy is there, so a node that does not answer costs
//! nothing but the wait. What happens after the first cause is a consequence and changes neither code nor words.

use std::time::Duration;

use pmi::fence::Fence;
use proto::ids::{NodeName, Rank};
use proto::launch::{KeyValue, LauncherMessage, ProxyMessage, RankStatus, RunOrder};
use proto::taskmap::TaskMap;
use proto::units::{Millis, Monotonic};

use crate::exit::Cause;
use crate::pairs::{MAX_FENCE_BYTES, from_wire, to_wire, wire_bytes};

/// How long proxies have to call. An agent starts one in milliseconds; the rest is for a node under heavy load.
pub const JOIN_TIMEOUT: Millis = Millis(30_000);

/// How long proxies have to end their ranks and send what is left: their own grace of one second, and time for output.
pub const STOP_TIMEOUT: Millis = Millis(10_000);

/// How long they have after a kill.
pub const KILL_TIMEOUT: Millis = Millis(2_000);

/// A second interruption within this time kills.
pub const SECOND_SIGNAL: Millis = Millis(1_000);

/// What reaches the coordinator. A position is a node's place in the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A proxy has called and said who it is.
    Joined {
        /// Which.
        position: u32,
    },
    /// A node would not start a proxy.
    NoProxy {
        /// Which.
        position: u32,
        /// The agent's words.
        reason: String,
    },
    /// A proxy said something. Output does not come here.
    Said {
        /// Which.
        position: u32,
        /// What.
        message: ProxyMessage,
    },
    /// The link to a proxy is gone.
    Lost {
        /// Which.
        position: u32,
        /// What the link said.
        reason: String,
    },
    /// mpiexec got SIGINT, SIGTERM or SIGHUP.
    Signal {
        /// Which.
        signal: i32,
    },
    /// A deadline passed.
    Tick,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message to one proxy.
    Send {
        /// Which.
        position: u32,
        /// What.
        message: LauncherMessage,
    },
    /// Rank 0 can take input.
    OfferInput,
    /// All is over.
    End(Outcome),
}

/// How a launch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why not with success; none when every rank ended with 0.
    pub cause: Option<Cause>,
    /// How each rank ended, by rank; none for those that never ran or whose node was lost.
    pub statuses: Vec<Option<RankStatus>>,
}

impl Outcome {
    /// mpiexec's exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.cause.as_ref().map_or(0, Cause::code)
    }
}

/// How far a node's proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proxy {
    Awaited,
    Joined,
    Finished,
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Joining { until: Monotonic },
    Running,
    Stopping { cause: Cause, until: Monotonic },
    Ended,
}

/// The interruption that was handed on last.
#[derive(Debug, Clone, Copy)]
struct Interruption {
    signal: i32,
    at: Monotonic,
}

/// The state of one launch.
#[derive(Debug)]
pub struct Coordinator {
    nodes: Vec<(NodeName, Proxy)>,
    map: TaskMap,
    order: RunOrder,
    statuses: Vec<Option<RankStatus>>,
    fence: Fence<u32>,
    phase: Phase,
    interruption: Option<Interruption>,
    limit: Option<(Duration, Monotonic)>,
}

impl Coordinator {
    /// A launch that begins now. `order` is what each proxy gets, with its own position and name filled in; `nodes` are
    /// those of `order.map`; after `limit` all is stopped.
    #[must_use]
    pub fn new(nodes: Vec<NodeName>, order: RunOrder, limit: Option<Duration>, now: Monotonic) -> Self {
        let positions = 0..u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        Self {
            nodes: nodes.into_iter().map(|name| (name, Proxy::Awaited)).collect(),
            map: order.map.clone(),
            statuses: vec![None; order.map.size() as usize],
            order,
            fence: Fence::new(positions),
            phase: Phase::Joining {
                until: now + JOIN_TIMEOUT,
            },
            interruption: None,
            limit: limit.map(|limit| (limit, now + millis(limit))),
        }
    }

    /// Takes one input. After [`Action::End`] nothing is returned any more.
    pub fn handle(&mut self, input: Input, now: Monotonic) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        let mut actions = match input {
            Input::Joined { position } => self.joined(position),
            Input::NoProxy { position, reason } => match self.name(position) {
                Some(node) => self.stop(Cause::NoProxy { node, reason }, now),
                None => Vec::new(),
            },
            Input::Said { position, message } => self.said(position, message, now),
            Input::Lost { position, reason } => self.lost(position, reason, now),
            Input::Signal { signal } => self.interrupted(signal, now),
            Input::Tick => self.tick(now),
        };
        actions.extend(self.ended(now));
        actions
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let limit = self.limit.map(|(_, at)| at);
        match &self.phase {
            Phase::Joining { until } => Some(limit.map_or(*until, |limit| limit.min(*until))),
            Phase::Running => limit,
            Phase::Stopping { until, .. } => Some(*until),
            Phase::Ended => None,
        }
    }

    fn joined(&mut self, position: u32) -> Vec<Action> {
        let Some((_, proxy)) = self.nodes.get_mut(position as usize) else {
            return Vec::new();
        };
        if *proxy != Proxy::Awaited {
            return Vec::new();
        }
        *proxy = Proxy::Joined;
        if matches!(self.phase, Phase::Stopping { .. }) {
            return vec![Action::Send {
                position,
                message: LauncherMessage::Stop,
            }];
        }
        if self.nodes.iter().any(|(_, proxy)| *proxy != Proxy::Joined) {
            return Vec::new();
        }
        self.phase = Phase::Running;
        let runs = (0u32..).zip(&self.nodes).map(|(position, (name, _))| {
            let order = RunOrder {
                position,
                node_name: name.clone(),
                ..self.order.clone()
            };
            Action::Send {
                position,
                message: LauncherMessage::Run(Box::new(order)),
            }
        });
        runs.chain([Action::OfferInput]).collect()
    }

    fn said(&mut self, position: u32, message: ProxyMessage, now: Monotonic) -> Vec<Action> {
        let Some(node) = self.name(position) else {
            return Vec::new();
        };
        if let Some(rank) = rank_of(&message)
            && self.map.node_of(rank) != Some(position)
        {
            let reason = format!("its proxy spoke of rank {rank}, which is not there");
            return self.lost(position, reason, now);
        }
        match message {
            ProxyMessage::Exited { rank, status } => self.exited(rank, node, status, now),
            ProxyMessage::NotStarted { rank, problem, reason } => self.stop(
                Cause::NotStarted {
                    rank,
                    node,
                    problem,
                    reason,
                },
                now,
            ),
            ProxyMessage::Fault { rank, reason } => self.stop(Cause::Fault { rank, node, reason }, now),
            ProxyMessage::Abort { rank, code } => {
                let [low, ..] = code.to_le_bytes();
                self.stop(
                    Cause::Aborted {
                        rank,
                        node,
                        code: low.max(1),
                    },
                    now,
                )
            }
            ProxyMessage::Fence { pairs } => self.fence(position, pairs, now),
            ProxyMessage::InputTaken => vec![Action::OfferInput],
            ProxyMessage::Finished => self.finished(position, now),
            // Output goes around the coordinator; the others say nothing that changes a decision.
            ProxyMessage::Hello { .. }
            | ProxyMessage::Started
            | ProxyMessage::Output { .. }
            | ProxyMessage::Unknown => Vec::new(),
        }
    }

    fn exited(&mut self, rank: Rank, node: NodeName, status: RankStatus, now: Monotonic) -> Vec<Action> {
        if let Some(slot) = self.statuses.get_mut(rank.index()) {
            *slot = Some(status);
        }
        match (status, self.interruption) {
            (RankStatus::Exited { code: 0 }, _) => Vec::new(),
            (RankStatus::Signaled { signal }, Some(interruption)) if interruption.signal == signal => {
                self.stop(Cause::Interrupted { signal }, now)
            }
            _ => self.stop(Cause::RankFailed { rank, node, status }, now),
        }
    }

    fn fence(&mut self, position: u32, pairs: Vec<KeyValue>, now: Monotonic) -> Vec<Action> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        let union = match self.fence.arrive(position, from_wire(pairs)) {
            Ok(union) => union,
            Err(error) => return self.lost(position, format!("its proxy broke the protocol: {error}"), now),
        };
        let Some(union) = union else {
            return self.unfillable(now);
        };
        let pairs = to_wire(union);
        if wire_bytes(&pairs) > MAX_FENCE_BYTES {
            let reason = format!("and others published more than {MAX_FENCE_BYTES} bytes in one barrier");
            return self.fault_on(position, reason, now);
        }
        let positions = 0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        positions
            .map(|position| Action::Send {
                position,
                message: LauncherMessage::FenceDone { pairs: pairs.clone() },
            })
            .collect()
    }

    fn finished(&mut self, position: u32, now: Monotonic) -> Vec<Action> {
        let untold = self
            .map
            .ranks_of(position)
            .find(|rank| self.statuses[rank.index()].is_none());
        if let (Some(rank), Phase::Running) = (untold, &self.phase) {
            return self.lost(
                position,
                format!("its proxy ended without a word about rank {rank}"),
                now,
            );
        }
        if let Some((_, proxy)) = self.nodes.get_mut(position as usize) {
            *proxy = Proxy::Finished;
        }
        self.unfillable(now)
    }

    /// A barrier in which somebody waits for a node whose ranks have all ended can never be over.
    fn unfillable(&mut self, now: Monotonic) -> Vec<Action> {
        if !self.fence.is_waiting() {
            return Vec::new();
        }
        let absent = self
            .fence
            .missing()
            .find(|position| matches!(self.nodes.get(*position as usize), Some((_, Proxy::Finished))));
        match absent {
            Some(position) => self.fault_on(
                position,
                "ended without entering the barrier in which others wait".to_owned(),
                now,
            ),
            None => Vec::new(),
        }
    }

    fn fault_on(&mut self, position: u32, reason: String, now: Monotonic) -> Vec<Action> {
        let rank = self.map.ranks_of(position).next().unwrap_or(Rank(0));
        match self.name(position) {
            Some(node) => self.stop(Cause::Fault { rank, node, reason }, now),
            None => Vec::new(),
        }
    }

    fn lost(&mut self, position: u32, reason: String, now: Monotonic) -> Vec<Action> {
        let Some((name, proxy)) = self.nodes.get_mut(position as usize) else {
            return Vec::new();
        };
        let before = std::mem::replace(proxy, Proxy::Gone);
        if before == Proxy::Finished {
            *proxy = Proxy::Finished;
            return Vec::new();
        }
        let node = name.clone();
        self.stop(Cause::NodeLost { node, reason }, now)
    }

    fn interrupted(&mut self, signal: i32, now: Monotonic) -> Vec<Action> {
        let second = self
            .interruption
            .is_some_and(|last| now.since(last.at) <= SECOND_SIGNAL);
        self.interruption = Some(Interruption { signal, at: now });
        match &self.phase {
            Phase::Running if !second => self.to_joined(&LauncherMessage::Signal { signal }),
            Phase::Running => {
                let mut actions = self.stop(Cause::Interrupted { signal }, now);
                actions.extend(self.kill(now));
                actions
            }
            Phase::Stopping { .. } => self.kill(now),
            Phase::Joining { .. } => self.stop(Cause::Interrupted { signal }, now),
            Phase::Ended => Vec::new(),
        }
    }

    fn tick(&mut self, now: Monotonic) -> Vec<Action> {
        if let (Some((limit, at)), Phase::Joining { .. } | Phase::Running) = (self.limit, &self.phase)
            && now >= at
        {
            return self.stop(Cause::TimedOut { limit }, now);
        }
        match &self.phase {
            Phase::Joining { until } if now >= *until => {
                let silent = self.nodes.iter().filter(|(_, proxy)| *proxy == Proxy::Awaited);
                let nodes = silent.map(|(name, _)| name.clone()).collect();
                self.stop(
                    Cause::Silent {
                        nodes,
                        waited: JOIN_TIMEOUT.duration(),
                    },
                    now,
                )
            }
            _ => Vec::new(),
        }
    }

    /// The first cause decides; later ones change nothing.
    fn stop(&mut self, cause: Cause, now: Monotonic) -> Vec<Action> {
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Ended) {
            return Vec::new();
        }
        self.phase = Phase::Stopping {
            cause,
            until: now + STOP_TIMEOUT,
        };
        self.to_joined(&LauncherMessage::Stop)
    }

    fn kill(&mut self, now: Monotonic) -> Vec<Action> {
        const SIGKILL: i32 = 9;
        if let Phase::Stopping { until, .. } = &mut self.phase {
            *until = (*until).min(now + KILL_TIMEOUT);
        }
        self.to_joined(&LauncherMessage::Signal { signal: SIGKILL })
    }

    fn to_joined(&self, message: &LauncherMessage) -> Vec<Action> {
        let joined = (0u32..)
            .zip(&self.nodes)
            .filter(|(_, (_, proxy))| *proxy == Proxy::Joined);
        joined
            .map(|(position, _)| Action::Send {
                position,
                message: message.clone(),
            })
            .collect()
    }

    fn ended(&mut self, now: Monotonic) -> Option<Action> {
        let quiet = self.nodes.iter().all(|(_, proxy)| *proxy != Proxy::Joined);
        let over = match &self.phase {
            Phase::Running => quiet,
            Phase::Stopping { until, .. } => quiet || now >= *until,
            Phase::Joining { .. } | Phase::Ended => false,
        };
        if !over {
            return None;
        }
        let cause = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Stopping { cause, .. } => Some(cause),
            Phase::Joining { .. } | Phase::Running | Phase::Ended => None,
        };
        Some(Action::End(Outcome {
            cause,
            statuses: std::mem::take(&mut self.statuses),
        }))
    }

    fn name(&self, position: u32) -> Option<NodeName> {
        self.nodes.get(position as usize).map(|(name, _)| name.clone())
    }
}

/// The rank that a message speaks of.
const fn rank_of(message: &ProxyMessage) -> Option<Rank> {
    match message {
        ProxyMessage::NotStarted { rank, .. }
        | ProxyMessage::Output { rank, .. }
        | ProxyMessage::Exited { rank, .. }
        | ProxyMessage::Abort { rank, .. }
        | ProxyMessage::Fault { rank, .. } => Some(*rank),
        ProxyMessage::Hello { .. }
        | ProxyMessage::Started
        | ProxyMessage::Fence { .. }
        | ProxyMessage::InputTaken
        | ProxyMessage::Finished
        | ProxyMessage::Unknown => None,
    }
}

fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
