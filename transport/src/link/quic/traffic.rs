//! Sockets of a QUIC link: sending, receiving, spinning, sleeping.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use proto::ids::Rank;
use quinn_proto::{ConnectionHandle, DatagramEvent};

use super::connection::{self, Connection};
use super::socket::Received;
use super::{Lane, Peer, QuicLink, preamble};
use crate::link::{Gone, Pause};
use crate::system::{self, Interest};

/// How long a wait spins: about two wake-ups of a sleeping thread.
const SPIN: Duration = Duration::from_micros(50);

/// After how many looks at the socket a spinning rank lets others have the core.
const LOOKS_PER_YIELD: u32 = 8;

/// After how many looks the other connections and the timers get their turn.
const LOOKS_PER_ROUND: u32 = 64;

/// Datagrams taken from one socket in a row, so that one busy peer does not starve the others.
const RECEIVE_BURST: usize = 32;

/// A datagram shorter than this is not part of a bulk transfer: what it brought is looked at before the next.
const BULK_BYTES: usize = 1200;

impl QuicLink {
    pub(super) fn transmit_pending(&mut self, now: Instant) -> io::Result<()> {
        let mut position = 0;
        while position < self.pending.len() {
            let handle = self.pending[position];
            let sent = match self.connections.get_mut(handle.0).and_then(Option::as_deref_mut) {
                Some(connection) => connection.transmit(now, &mut self.listening, &mut self.outgoing)?,
                None => connection::Transmitted::All,
            };
            match sent {
                connection::Transmitted::All => {
                    self.pending.swap_remove(position);
                }
                connection::Transmitted::NotAll => position += 1,
                connection::Transmitted::Refused => {
                    self.lost(handle, Gone::Refused);
                    self.pending.retain(|pending| *pending != handle);
                }
            }
        }
        Ok(())
    }

    /// Looks where news of this peer would arrive.
    pub(super) fn receive_from_peer(&mut self, peer: Rank, now: Instant) -> io::Result<bool> {
        match self.peer(peer) {
            Some(Peer::Open(handle)) => {
                let handle = *handle;
                self.receive_on(Lane::Connection(handle), now)
            }
            Some(Peer::Gone { .. }) => Ok(true),
            _ => self.receive_all(now),
        }
    }

    pub(super) fn receive_all(&mut self, now: Instant) -> io::Result<bool> {
        let mut any = self.receive_on(Lane::Listening, now)?;
        for index in 0..self.connections.len() {
            any |= self.receive_on(Lane::Connection(ConnectionHandle(index)), now)?;
        }
        Ok(any)
    }

    /// Takes what waits in one socket, to the end of a bulk transfer's burst or the first short datagram.
    pub(super) fn receive_on(&mut self, lane: Lane, now: Instant) -> io::Result<bool> {
        let mut any = false;
        for _ in 0..RECEIVE_BURST {
            let socket = match lane {
                Lane::Listening => &self.listening,
                Lane::Connection(handle) => {
                    let slot = self.connections.get(handle.0).and_then(Option::as_deref);
                    match slot.map(Connection::socket) {
                        Some(Some(socket)) => socket,
                        Some(None) => &self.listening,
                        None => return Ok(any),
                    }
                }
            };
            match socket.receive(&mut self.room)? {
                Received::Nothing => return Ok(any),
                Received::Datagram(datagram, sender) => {
                    let length = datagram.len();
                    self.handle_datagram(datagram, sender, now);
                    any = true;
                    if length < BULK_BYTES {
                        return Ok(true);
                    }
                }
                Received::Refused => {
                    if let Lane::Connection(handle) = lane {
                        self.lost(handle, Gone::Refused);
                    }
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    pub(super) fn handle_datagram(&mut self, datagram: BytesMut, sender: SocketAddr, now: Instant) {
        if let Some(from) = preamble::knocking(&datagram) {
            return self.answer_knock(from, now);
        }
        let mut bytes = std::mem::take(&mut self.outgoing);
        bytes.clear();
        let event = self.engine.handle(now, sender, None, None, datagram, &mut bytes);
        if let Some(DatagramEvent::Response(response)) = &event {
            self.respond(response.destination, &bytes[..response.size]);
        }
        self.outgoing = bytes;
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connection(handle) {
                    connection.handle(event, now);
                    self.mark_pending(handle);
                    self.take_news(handle, now);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.answer(incoming, now),
            None | Some(DatagramEvent::Response(_)) => {}
        }
    }

    /// Looks again and again for [`SPIN`]. True when something came.
    pub(super) fn spin(&mut self, pause: &Pause, began: Instant) -> io::Result<bool> {
        let end = began + SPIN;
        loop {
            self.looks = self.looks.wrapping_add(1);
            if self.looks.is_multiple_of(LOOKS_PER_YIELD) {
                std::thread::yield_now();
            }
            let now = Instant::now();
            if self.looks.is_multiple_of(LOOKS_PER_ROUND) {
                self.run_timers(now);
                if self.receive_all(now)? {
                    return Ok(true);
                }
                self.transmit_pending(now)?;
            }
            if self.receive_from_peer(pause.on, now)? {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
        }
    }

    /// Sleeps until a datagram, a timer or `until`; serves whatever woke it.
    pub(super) fn sleep(&mut self, pause: Option<&Pause>, until: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        self.run_timers(now);
        let look_again = pause.and_then(|pause| self.watch(pause, now));
        self.transmit_pending(now)?;
        let wake = [self.next_timer(), look_again, until].into_iter().flatten().min();

        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.clear();
        lanes.push((
            Lane::Listening,
            Interest::new(self.listening.descriptor(), self.listening_is_full()),
        ));
        for handle in self.handles() {
            if let Some(connection) = self.connections[handle.0].as_deref()
                && let Some(socket) = connection.socket()
            {
                lanes.push((
                    Lane::Connection(handle),
                    Interest::new(socket.descriptor(), connection.is_full()),
                ));
            }
        }
        // Bursts that are cut short and sockets that were full differ: only the latter can be slept on.
        let busy = self.pending.iter().any(|handle| {
            self.connections
                .get(handle.0)
                .and_then(Option::as_deref)
                .is_some_and(|connection| !connection.is_full())
        });
        if !busy {
            let mut interests: Vec<Interest> = lanes.iter().map(|(_, interest)| *interest).collect();
            system::sleep_on(&mut interests, wake.map(|wake| wake.saturating_duration_since(now)))?;
            for ((_, slot), interest) in lanes.iter_mut().zip(interests) {
                *slot = interest;
            }
        }
        let now = Instant::now();
        for (lane, interest) in &lanes {
            if interest.happened() {
                self.receive_on(*lane, now)?;
            }
        }
        self.lanes = lanes;
        self.run_timers(now);
        Ok(())
    }

    pub(super) fn listening_is_full(&self) -> bool {
        self.connections
            .iter()
            .flatten()
            .any(|connection| connection.socket().is_none() && connection.is_full())
    }
}
