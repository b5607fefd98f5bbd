//! Whether the agents of other nodes can be reached: one QUIC handshake with each, for `muster doctor`.
//!
//! This node has no certificate that a peer takes outside an allocation, so the handshake is refused; a refusal is an
//! answer too, and shows that packets pass both ways. No message is exchanged, and no peer does more than refuse.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proto::control::{MAX_PROBES, ProbeReply, Probed};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use transport::control::{CloseCode, DialError, Dialer, Settings};
use transport::identity::{Alpn, ClientTls, HandshakeProblem, NODE_SERVER_NAME, Trust};

/// How long one peer may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Handshakes at once, whoever asks for them.
const MAX_AT_ONCE: usize = 32;

/// Tries peers.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    from: Option<IpAddr>,
    trust: Trust,
    places: Arc<Semaphore>,
}

impl Prober {
    /// Dials from that address, or from the one that the system chooses.
    pub(crate) fn new(from: Option<IpAddr>, trust: Trust) -> Self {
        Self {
            from,
            trust,
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }

    /// Tries each once, and answers in the order of the question. Peers above the bound are not answered for.
    pub(crate) async fn probe(&self, peers: &[SocketAddr]) -> ProbeReply {
        // Dropped with the question: nobody waits for the rest then.
        let mut running = tokio::task::JoinSet::new();
        for (at, peer) in peers.iter().copied().take(MAX_PROBES).enumerate() {
            let prober = self.clone();
            running.spawn(async move { (at, prober.one(peer).await) });
        }
        let mut found = Vec::with_capacity(running.len());
        while let Some(done) = running.join_next().await {
            found.extend(done);
        }
        found.sort_by_key(|(at, _)| *at);
        let results = found.into_iter().map(|(_, probed)| probed).collect();
        ProbeReply { results }
    }

    async fn one(&self, peer: SocketAddr) -> Probed {
        let Ok(_place) = self.places.acquire().await else {
            return Probed {
                peer,
                outcome: Err("the agent is ending".to_owned()),
            };
        };
        let outcome = self.reach(peer).await.map_err(|error| format!("{error:#}"));
        Probed { peer, outcome }
    }

    async fn reach(&self, peer: SocketAddr) -> anyhow::Result<u64> {
        let tls = ClientTls::new(None, &self.trust, Alpn::Launch)?;
        let dialer = match self.from {
            Some(address) if address.is_ipv4() == peer.is_ipv4() => Dialer::bind(address, Settings::default()),
            _ => Dialer::for_peer(peer, Settings::default()),
        }?;
        let began = Instant::now();
        let answered = match dialer.dial(peer, NODE_SERVER_NAME, &tls, DEADLINE).await {
            Ok(connection) => {
                connection.close(CloseCode::Done, "only a probe");
                Ok(())
            }
            Err(error) if is_answer(&error) => Ok(()),
            Err(error) => Err(error),
        };
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(answered.map(|()| took)?)
    }
}

/// Whether a failed handshake shows all the same that somebody is there.
fn is_answer(error: &DialError) -> bool {
    match error {
        DialError::Handshake(_) => !matches!(
            error.problem(),
            Some(HandshakeProblem::TimedOut | HandshakeProblem::ClosedHere)
        ),
        DialError::Subject { .. } => true,
        DialError::NoPort { .. } | DialError::NotPossible { .. } | DialError::NoAnswer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use transport::control::Listener;
    use transport::identity::{DynamicTrust, Fingerprint, ServerTls};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_refuses_is_reached_and_a_silent_one_is_not() {
        let tls = ServerTls::launch(&DynamicTrust::new()).expect("tls");
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &tls, Settings::default()).expect("listens");
        let there = listener.local_address().expect("an address");
        tokio::spawn(async move {
            while let Some(pending) = listener.accept().await {
                // It is refused, which is what the other side looks for.
                tokio::spawn(async move { pending.complete(DEADLINE).await.map(drop) });
            }
        });
        let mute = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("binds");
        let silent = mute.local_addr().expect("an address");

        let prober = Prober::new(None, Trust::pinned(Fingerprint::of(b"any")));
        let reply = prober.probe(&[silent, there]).await;
        let [first, second] = &reply.results[..] else {
            panic!("{reply:?}")
        };
        assert_eq!((first.peer, second.peer), (silent, there));
        let why = first.outcome.as_ref().expect_err("nobody answers");
        assert!(why.contains("no answer"), "{why}");
        let took = second.outcome.as_ref().expect("it refuses");
        assert!(*took > 0 && *took < 2_000_000, "{took}");
    }
}
