//! This node's membership: its certificate is renewed in time, and it ends when the head node takes the node out.

use std::time::Duration;

use proto::control::Order;
use tokio::time::Instant;
use transport::wall;

use super::{Agent, Removal};
use crate::spawner::clock::wall_clock;

/// The longest that is slept until a renewal: wall clocks are set.
const RENEWAL_LOOK: Duration = Duration::from_secs(600);

/// How long a node that was taken out of the cluster waits for the end of its tasks.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(30);

impl Agent {
    /// Asks for a new certificate when it is time. Before the welcome the link does that, where it is needed.
    pub(super) fn look_at_certificate(&mut self) {
        let now = wall::now();
        let wait = self.credential.renew_at().duration_since(now).ok();
        let due = wait.is_none_or(|wait| wait.is_zero());
        self.next_renewal = Instant::now() + wait.filter(|_| !due).unwrap_or(RENEWAL_LOOK).min(RENEWAL_LOOK);
        let Some(head) = self.head.as_ref().filter(|head| due && head.heartbeats.is_some()) else {
            return;
        };
        self.next_renewal = Instant::now() + self.credential.retry_after();
        match self.credential.request() {
            Ok(request) => head.line.say(request),
            Err(error) => tracing::error!("a new certificate cannot be asked for: {error}"),
        }
    }

    pub(super) fn renewed(&mut self, certificate: Vec<u8>, authority: Vec<u8>) {
        match self.credential.replace(certificate, authority) {
            Ok(()) => {
                let left = self
                    .credential
                    .life()
                    .and_then(|life| life.ends.duration_since(wall::now()).ok());
                let left = left.map_or(0, |left| left.as_secs());
                tracing::info!(seconds = left, "the certificate was renewed");
                self.next_renewal = Instant::now() + self.credential.retry_after();
            }
            Err(error) => tracing::error!("the new certificate is not taken: {error:#}"),
        }
    }

    /// Nothing of this node's tasks may run on: whoever removed it counts on that.
    pub(super) fn remove(&mut self, reason: String) {
        if self.removal.is_some() {
            return;
        }
        tracing::error!("the head node took this node out of the cluster, ending all tasks: {reason}");
        if let Err(error) = std::fs::write(self.directory.removed(), &reason) {
            tracing::warn!("the removal is not remembered: {error}");
        }
        for held in self.supervisor.held() {
            let release = Order::Release { attempt: held.attempt };
            let commands = self.supervisor.order(release, wall_clock());
            self.carry_out(commands);
        }
        self.removal = Some(Removal {
            reason,
            until: Instant::now() + REMOVAL_DEADLINE,
        });
    }

    /// The reason, once this node was removed and nothing of its tasks runs any more, or that takes too long.
    pub(super) fn removed(&self) -> Option<String> {
        let removal = self.removal.as_ref()?;
        let left = self.supervisor.held().len();
        let late = removal.until <= Instant::now();
        if late && left > 0 {
            tracing::error!(
                attempts = left,
                "some tasks have not ended; the spawner goes on ending them"
            );
        }
        (left == 0 || late).then(|| removal.reason.clone())
    }
}
