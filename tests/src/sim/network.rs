//! Connections between nodes and head: in order, late, and cut. What is on a cut connection is lost.

use std::collections::BTreeMap;

use headnode::round::LinkId;

use super::clock::Time;
use super::rng::Rng;

/// One connection.
#[derive(Debug, Clone, Copy)]
struct Line {
    link: LinkId,
    /// The latest delivery so far, per direction: to the head, to the node.
    latest: [Time; 2],
    /// Nothing arrives before: a partition.
    held_until: Time,
}

/// All of them, by the node's index.
#[derive(Debug)]
pub(super) struct Network {
    rng: Rng,
    lines: BTreeMap<usize, Line>,
    last_link: u64,
    /// Nodes that cannot connect before that time.
    apart: BTreeMap<usize, Time>,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToHead,
    ToNode,
}

impl Network {
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            rng,
            lines: BTreeMap::new(),
            last_link: 0,
            apart: BTreeMap::new(),
        }
    }

    /// A node dials. None while it is cut off.
    pub(super) fn connect(&mut self, node: usize, now: Time) -> Option<LinkId> {
        if self.apart.get(&node).is_some_and(|until| *until > now) {
            return None;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.lines.insert(
            node,
            Line {
                link,
                latest: [now, now],
                held_until: now,
            },
        );
        Some(link)
    }

    /// The connection of a node, if it has one.
    pub(super) fn link(&self, node: usize) -> Option<LinkId> {
        self.lines.get(&node).map(|line| line.link)
    }

    /// Ends a connection; false when it is another one by now.
    pub(super) fn close(&mut self, node: usize, link: LinkId) -> bool {
        let is_it = self.link(node) == Some(link);
        if is_it {
            self.lines.remove(&node);
        }
        is_it
    }

    /// Ends all.
    pub(super) fn close_all(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.lines).into_keys().collect()
    }

    /// Nothing of that node's arrives before `until`; both ends find out by silence.
    pub(super) fn cut(&mut self, node: usize, until: Time) {
        self.apart.insert(node, until);
        if let Some(line) = self.lines.get_mut(&node) {
            line.held_until = line.held_until.max(until);
        }
    }

    /// When a message that is sent now arrives; none when there is no connection.
    pub(super) fn arrival(&mut self, node: usize, way: Way, now: Time) -> Option<(LinkId, Time)> {
        // Mostly quick, now and then slow.
        let delay = if self.rng.percent(95) {
            self.rng.within(0, 3)
        } else {
            self.rng.within(3, 400)
        };
        let line = self.lines.get_mut(&node)?;
        let latest = &mut line.latest[usize::from(way == Way::ToNode)];
        let at = (now + delay).max(*latest).max(line.held_until);
        *latest = at;
        Some((line.link, at))
    }
}
