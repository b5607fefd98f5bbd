//! Nodes that stop answering while a command runs on them, heard of through the head node's events.
//!
//! A node whose agent restarts, or whose head node does, is silent for a moment too; so a silence counts only when it has
//! lasted. Without this a node that loses its power would be waited for until the head node gives it up, after minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::client::{Happened, NodeView, Reply, Request};
use proto::event::Event;
use proto::ids::{NodeId, Sequence};
use proto::model::node::Liveness;
use tokio::time::{Instant, sleep_until};

use super::super::Door;
use crate::client::{Client, ClientError};
use crate::exit::CliError;

/// How long a node may be silent after the head node has noticed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who is silent, and since when.
pub(super) struct Silence {
    /// Up to where events were heard.
    heard: Sequence,
    since: BTreeMap<NodeId, Instant>,
    patience: Duration,
}

impl Silence {
    /// Nobody is, as far as was known then.
    pub(super) const fn since(heard: Sequence) -> Self {
        Self {
            heard,
            since: BTreeMap::new(),
            patience: PATIENCE,
        }
    }

    /// Looks at all nodes, and gives the line on which the head node tells of changes from here on.
    ///
    /// # Errors
    /// As for any question.
    pub(super) async fn listen(&mut self, door: &Door) -> Result<Client, CliError> {
        let mut news = door.connect().await?;
        let Reply::Nodes { nodes } = news.request(Request::ListNodes).await? else {
            return Err(ClientError::Unexpected { asked: "node list" }.into());
        };
        // What happens between the two is told after the older events, so the last word on each node is the right one.
        self.look(&nodes);
        let request = Request::Events {
            after: Some(self.heard),
            follow: true,
        };
        news.open(&request).await?;
        Ok(news)
    }

    fn look(&mut self, nodes: &[NodeView]) {
        for node in nodes {
            self.now(node.row.id, !matches!(node.row.liveness, Liveness::Up { .. }));
        }
    }

    /// Takes note of what happened.
    pub(super) fn see(&mut self, events: &[Happened]) {
        for happened in events {
            self.heard = happened.sequence;
            match *happened.event {
                Event::NodeSuspected { node, .. } | Event::NodeLost { node, .. } => self.now(node, true),
                Event::NodeReturned { node, .. } | Event::NodeUp { node, .. } => self.now(node, false),
                _ => {}
            }
        }
    }

    fn now(&mut self, node: NodeId, is_silent: bool) {
        if is_silent {
            self.since.entry(node).or_insert_with(Instant::now);
        } else {
            self.since.remove(&node);
        }
    }

    /// Whether a node is not waited for any more.
    pub(super) fn is_too_long(&self, node: NodeId) -> bool {
        self.since
            .get(&node)
            .is_some_and(|since| since.elapsed() >= self.patience)
    }

    /// Comes back when another node has been silent for too long; never when none is on its way there.
    pub(super) async fn runs_out(&self) {
        let ends = self.since.values().map(|since| *since + self.patience);
        match ends.filter(|end| *end > Instant::now()).min() {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::units::Timestamp;

    use super::*;

    fn happened(sequence: u64, event: Event) -> Happened {
        Happened {
            sequence: Sequence(sequence),
            at: Timestamp(1),
            event: Box::new(event),
        }
    }

    #[tokio::test]
    async fn only_a_silence_that_lasts_counts() {
        let (node, other, at) = (NodeId(1), NodeId(2), Timestamp(1));
        let mut silence = Silence {
            patience: Duration::from_millis(200),
            ..Silence::since(Sequence(4))
        };
        silence.see(&[happened(5, Event::NodeSuspected { node, at })]);
        silence.see(&[happened(6, Event::NodeSuspected { node: other, at })]);
        silence.see(&[happened(7, Event::NodeReturned { node: other, at })]);
        assert_eq!((silence.heard, silence.is_too_long(node)), (Sequence(7), false));
        silence.runs_out().await;
        assert!(silence.is_too_long(node) && !silence.is_too_long(other));
        silence.see(&[happened(8, Event::NodeReturned { node, at })]);
        assert!(!silence.is_too_long(node));
    }
}
