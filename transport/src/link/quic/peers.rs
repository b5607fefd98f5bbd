//! Meeting peers, knowing who they are, watching those that are waited for, and losing them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ids::Rank;
use quinn_proto::{ConnectionHandle, Incoming};

use super::connection::{self, Connection};
use super::socket::UdpSocket;
use super::{Peer, QuicLink, pinning, preamble};
use crate::link::{Gone, Pause};
use crate::rank_address::RankAddress;

/// When a silent peer that is waited for is pinged, again and again.
const PING_AFTER: Duration = Duration::from_secs(2);

/// How often a higher rank repeats its knock.
const KNOCK_EVERY: Duration = Duration::from_millis(200);

/// Connections beyond one per rank that may be half open at a time.
const HALF_OPEN_MAX: usize = 64;

impl QuicLink {
    pub(super) fn peer(&mut self, peer: Rank) -> Option<&mut Peer> {
        self.peers.get_mut(usize::try_from(peer.0).ok()?)
    }

    pub(super) fn address(&self, peer: Rank) -> Option<&RankAddress> {
        self.book.get(usize::try_from(peer.0).ok()?)
    }

    /// Dials a higher rank, knocks at a lower one.
    pub(super) fn meet(&mut self, peer: Rank, now: Instant) {
        if peer < self.me {
            self.knock(peer, now);
            return;
        }
        match self.dial(peer, now) {
            Ok(handle) => {
                self.set_peer(peer, Peer::Meeting(handle));
                self.mark_pending(handle);
            }
            Err(error) => {
                tracing::warn!(rank = %self.me, peer = %peer, %error, "dialling failed");
                self.set_gone(peer, Gone::Refused, VecDeque::new());
            }
        }
    }

    pub(super) fn dial(&mut self, peer: Rank, now: Instant) -> io::Result<ConnectionHandle> {
        let address = self
            .address(peer)
            .cloned()
            .ok_or_else(|| io::Error::other("no such rank in the book"))?;
        let socket = UdpSocket::connected(SocketAddr::new(self.listening.local().ip(), 0), address.quic, false)?;
        let crypto = self.identity.dialling(address.certificate).map_err(io::Error::other)?;
        let mut config = quinn_proto::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let (handle, quic) = self
            .engine
            .connect(now, config, address.quic, pinning::SERVER_NAME)
            .map_err(io::Error::other)?;
        self.insert(handle, Connection::dialling(quic, socket, peer, now));
        Ok(handle)
    }

    pub(super) fn knock(&mut self, peer: Rank, now: Instant) {
        let Some(address) = self.address(peer).map(|address| address.quic) else {
            return;
        };
        self.set_peer(
            peer,
            Peer::Knocking {
                again: now + KNOCK_EVERY,
            },
        );
        if let Err(error) = self.listening.send(address, &preamble::knock(self.me), None) {
            tracing::debug!(rank = %self.me, peer = %peer, %error, "knocking failed");
        }
    }

    /// Someone asks to be dialled.
    pub(super) fn answer_knock(&mut self, from: Rank, now: Instant) {
        if from > self.me && matches!(self.peer(from), Some(Peer::Stranger)) {
            self.meet(from, now);
        }
    }

    pub(super) fn answer(&mut self, incoming: Incoming, now: Instant) {
        let (remote, mut bytes) = (incoming.remote_address(), std::mem::take(&mut self.outgoing));
        bytes.clear();
        let refusal = if self.handles().count() >= self.book.len() + HALF_OPEN_MAX {
            Some(self.engine.refuse(incoming, &mut bytes))
        } else {
            match self.engine.accept(incoming, now, &mut bytes, None) {
                Ok((handle, quic)) => {
                    // Without a socket of its own the connection still works, over the shared one.
                    let twin = UdpSocket::connected(self.listening.local(), remote, true)
                        .inspect_err(|error| tracing::debug!(rank = %self.me, %error, "no twin socket"))
                        .ok();
                    self.insert(handle, Connection::answering(quic, twin, now));
                    self.mark_pending(handle);
                    self.take_news(handle, now);
                    None
                }
                Err(refusal) => refusal.response,
            }
        };
        if let Some(response) = refusal {
            self.respond(response.destination, &bytes[..response.size]);
        }
        self.outgoing = bytes;
    }

    /// Sends what belongs to no connection. Its loss is repaired by the other side asking again.
    pub(super) fn respond(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.listening.send(to, bytes, None) {
            tracing::debug!(rank = %self.me, %error, "an answer to a stranger was not sent");
        }
    }

    /// The handshake and the preamble are done. The rank comes from the certificate.
    pub(super) fn opened(&mut self, handle: ConnectionHandle, announced: Option<Rank>) {
        let Some(connection) = self.connections.get(handle.0).and_then(Option::as_deref) else {
            return;
        };
        let dialled = connection.peer();
        let proven = pinning::peer_rank(connection.quic().crypto_session(), &self.certificates);
        let (me, expected) = (self.me, dialled.or(announced));
        match (proven, expected) {
            (Some(peer), Some(expected)) if peer == expected && (dialled.is_some() || peer < me) => {
                let welcome = match self.peer(peer) {
                    Some(Peer::Meeting(met)) => *met == handle,
                    Some(Peer::Stranger | Peer::Knocking { .. }) => true,
                    _ => false,
                };
                if !welcome {
                    return self.close(handle, connection::REJECTED);
                }
                if let Some(connection) = self.connection(handle) {
                    connection.set_peer(peer);
                }
                self.set_peer(peer, Peer::Open(handle));
                self.mark_readable(peer);
            }
            _ => self.close(handle, connection::REJECTED),
        }
    }

    pub(super) fn lost(&mut self, handle: ConnectionHandle, why: Gone) {
        let Some(connection) = self.connection(handle) else {
            return;
        };
        let (peer, rest) = (connection.peer(), connection.rest());
        if let Some(peer) = peer {
            let current = matches!(self.peer(peer), Some(Peer::Open(met) | Peer::Meeting(met)) if *met == handle);
            if current {
                tracing::debug!(rank = %self.me, peer = %peer, %why, "peer is gone");
                self.set_gone(peer, why, rest);
            }
        }
        self.close(handle, connection::REJECTED);
    }

    pub(super) fn set_gone(&mut self, peer: Rank, why: Gone, rest: VecDeque<Bytes>) {
        self.set_peer(peer, Peer::Gone { why, rest });
        self.mark_readable(peer);
    }

    pub(super) fn set_peer(&mut self, peer: Rank, state: Peer) {
        if let Some(place) = self.peer(peer) {
            *place = state;
        }
    }

    pub(super) fn mark_readable(&mut self, peer: Rank) {
        if !self.readable.contains(&peer) {
            self.readable.push_back(peer);
        }
    }

    /// Looks after the peer that is waited for: pings it, and gives it up after long silence. Returns when to look again.
    pub(super) fn watch(&mut self, pause: &Pause, now: Instant) -> Option<Instant> {
        let handle = match self.peer(pause.on)? {
            Peer::Open(handle) | Peer::Meeting(handle) => Some(*handle),
            Peer::Knocking { .. } | Peer::Stranger => None,
            Peer::Gone { .. } => return Some(now),
        };
        let heard = handle
            .and_then(|handle| self.connection(handle))
            .map(|connection| connection.heard());
        let quiet_since = heard.map_or(pause.since, |heard| heard.max(pause.since));
        let given_up = quiet_since + self.silence_max;
        if now >= given_up {
            let why = Gone::Silent {
                after: self.silence_max,
            };
            match handle {
                Some(handle) => self.lost(handle, why),
                None => self.set_gone(pause.on, why, VecDeque::new()),
            }
            return Some(now);
        }
        let Some(handle) = handle else { return Some(given_up) };
        let connection = self.connection(handle)?;
        let ping_at = connection.ping_at(quiet_since, PING_AFTER);
        if now < ping_at {
            return Some(ping_at.min(given_up));
        }
        connection.ping(now);
        self.mark_pending(handle);
        Some(given_up.min(now + PING_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::UnmetQuicLink;
    use super::*;
    use crate::link::{Link, LinkError, Wait};

    const PATIENCE: Duration = Duration::from_millis(300);

    fn pair() -> (QuicLink, QuicLink) {
        let bind = |rank| UnmetQuicLink::bind(Rank(rank), Ipv4Addr::LOCALHOST.into(), None).unwrap();
        let (zero, one) = (bind(0), bind(1));
        let book = vec![zero.address().clone(), one.address().clone()];
        let mut links = [zero, one].map(|link| link.connect(book.clone()).unwrap());
        links.iter_mut().for_each(|link| link.silence_max = PATIENCE);
        let [zero, one] = links;
        (zero, one)
    }

    fn pause(on: Rank, since: Instant) -> Pause {
        let until = Some(Instant::now() + Duration::from_millis(5));
        Pause {
            on,
            since,
            wait: Wait::Block,
            until,
        }
    }

    /// Serves only this link until the peer counts as gone; returns why and after how long.
    fn wait_in_vain(link: &mut QuicLink, on: Rank) -> (Gone, Duration) {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(20) {
            link.wait(&pause(on, since)).unwrap();
            if let Err(LinkError::Gone { why, .. }) = link.read(on, 100) {
                return (why, since.elapsed());
            }
        }
        panic!("rank {on} never counted as gone");
    }

    #[test]
    fn a_peer_that_lives_and_serves_nobody_counts_as_gone_after_a_while() {
        let (mut zero, mut one) = pair();
        let began = Instant::now();
        while zero.write(Rank(1), b"x").unwrap() == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "the two never met");
            zero.wait(&pause(Rank(1), began)).unwrap();
            one.serve().unwrap();
        }
        let (why, after) = wait_in_vain(&mut zero, Rank(1));
        assert_eq!(why, Gone::Silent { after: PATIENCE });
        assert!(after >= PATIENCE, "{after:?}");
    }

    #[test]
    fn so_does_one_that_never_answers_at_all() {
        let (mut zero, mut one) = pair();
        assert_eq!(
            wait_in_vain(&mut zero, Rank(1)).0,
            Gone::Silent { after: PATIENCE },
            "dialled in vain"
        );
        assert_eq!(
            wait_in_vain(&mut one, Rank(0)).0,
            Gone::Silent { after: PATIENCE },
            "knocked in vain"
        );
    }
}
