//! A relay of UDP packets between a node and the head node, with weather: it delays, drops, doubles and reorders them.
//!
//! ```text
//!   node --> listening socket --(weather)--> a socket per source --> head node
//!   node <--------------------(weather)----- the same socket <------ head node
//! ```
//!
//! It runs in the network namespace of the head node's host. Reordering needs nothing of its own: each packet waits for a
//! time of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use crate::sim::rng::Rng;

/// More packets than this at once are dropped, as a switch does.
const MOST_UNDER_WAY: usize = 10_000;

/// The largest packet.
const PACKET_BYTES: usize = 65_536;

/// What happens to packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// Each waits for 0 to so many milliseconds.
    pub(super) delay_ms: u64,
    /// So many of a hundred are lost.
    pub(super) lost_percent: u64,
    /// So many of a hundred come twice.
    pub(super) twice_percent: u64,
}

/// A relay; ends with this.
#[derive(Debug)]
pub(super) struct Relay {
    weather: Arc<Mutex<Weather>>,
    _end: oneshot::Sender<()>,
}

impl Relay {
    /// Listens at `at` within the network namespace of process `inside`, and passes on to `to`.
    ///
    /// # Errors
    /// When the namespace or the port is not to be had.
    pub(super) fn start(inside: u32, at: SocketAddr, to: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let weather = Arc::new(Mutex::new(Weather::default()));
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let air = Air {
            weather: Arc::clone(&weather),
            rng: Arc::new(Mutex::new(Rng::of(seed, &format!("relay {at}")))),
            under_way: Arc::default(),
        };
        std::thread::spawn(move || {
            // A network namespace is one of a thread; sockets stay in the one where they were made.
            let begun = begin(inside, at);
            let _ = match begun {
                Ok((runtime, socket)) => {
                    let sent = ready.send(Ok(()));
                    runtime.block_on(async {
                        tokio::select! {
                            _ = pass(Arc::new(socket), to, air) => {}
                            _ = ended => {}
                        }
                    });
                    sent
                }
                Err(error) => ready.send(Err(error)),
            };
        });
        is_ready.recv().context("the relay ended at once")??;
        Ok(Self { weather, _end: end })
    }

    /// Other weather from now on.
    pub(super) fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }
}

fn begin(inside: u32, at: SocketAddr) -> anyhow::Result<(tokio::runtime::Runtime, UdpSocket)> {
    setns(File::open(format!("/proc/{inside}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = runtime
        .block_on(UdpSocket::bind(at))
        .with_context(|| format!("binding {at}"))?;
    Ok((runtime, socket))
}

/// What packets fly through.
#[derive(Clone)]
struct Air {
    weather: Arc<Mutex<Weather>>,
    rng: Arc<Mutex<Rng>>,
    under_way: Arc<AtomicUsize>,
}

impl Air {
    /// How long each copy of a packet waits; none of a lost one.
    fn copies(&self) -> Vec<Duration> {
        let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        if rng.percent(weather.lost_percent) {
            return Vec::new();
        }
        let count = if rng.percent(weather.twice_percent) { 2 } else { 1 };
        (0..count)
            .map(|_| Duration::from_millis(rng.within(0, weather.delay_ms)))
            .collect()
    }

    async fn send(&self, socket: &Arc<UdpSocket>, packet: &[u8], to: SocketAddr) {
        for wait in self.copies() {
            if wait.is_zero() {
                // A packet may always be lost.
                let _ = socket.send_to(packet, to).await;
            } else if self.under_way.fetch_add(1, Ordering::Relaxed) < MOST_UNDER_WAY {
                let (socket, packet, under_way) = (Arc::clone(socket), packet.to_vec(), Arc::clone(&self.under_way));
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = socket.send_to(&packet, to).await;
                    under_way.fetch_sub(1, Ordering::Relaxed);
                });
            } else {
                self.under_way.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Passes packets on for as long as the listening socket works.
async fn pass(listening: Arc<UdpSocket>, to: SocketAddr, air: Air) -> std::io::Result<()> {
    let mut sources: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut packet = vec![0; PACKET_BYTES];
    loop {
        let (bytes, source) = match listening.recv_from(&mut packet).await {
            Ok(received) => received,
            // An answer to a packet that nobody took; the next one may be.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let upstream = match sources.get(&source) {
            Some(socket) => Arc::clone(socket),
            None => {
                let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?);
                sources.insert(source, Arc::clone(&socket));
                tokio::spawn(bring_back(
                    Arc::clone(&socket),
                    Arc::clone(&listening),
                    source,
                    air.clone(),
                ));
                socket
            }
        };
        air.send(&upstream, packet.get(..bytes).unwrap_or_default(), to).await;
    }
}

async fn bring_back(upstream: Arc<UdpSocket>, listening: Arc<UdpSocket>, to: SocketAddr, air: Air) {
    let mut packet = vec![0; PACKET_BYTES];
    // An error here is that the head node is not there; it comes back.
    loop {
        if let Ok((bytes, _)) = upstream.recv_from(&mut packet).await {
            air.send(&listening, packet.get(..bytes).unwrap_or_default(), to).await;
        }
    }
}
