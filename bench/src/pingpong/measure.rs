//! Rank 0 directs, one pair measures, everyone else sleeps.
//!
//! ```text
//! rank 0 -> second   Echo { peer: first, warm-up + iterations }
//! rank 0 -> first    Measure { peer: second, warm-up, iterations }
//! first <-> second   ping, pong ...
//! first  -> rank 0   figures
//! rank 0 -> all      Done, after the last pair
//! ```
//!
//! There is no barrier between pairs: the figures of one pair are the signal for the next. Only the two that measure
//! poll; the others block in one receive, so that ranks may outnumber cores. Orders carry all that matters, so only
//! rank 0's command line decides.

use std::time::{Duration, Instant};

use proto::ids::Rank;
use transport::endpoint::{Endpoint, EndpointError};
use transport::link::Wait;
use transport::message::{MESSAGE_MAX_BYTES, Tag};

use super::options::{ITERATIONS_MAX, Packet};
use super::pairing::Pair;
use super::statistics::PairFigures;

const ORDER: Tag = Tag::new(1);
const FIGURES: Tag = Tag::new(2);
const PING: Tag = Tag::new(3);
const PONG: Tag = Tag::new(4);

/// The rank that directs and reports.
const DIRECTOR: Rank = Rank(0);

/// Warm-up round trips for small messages: caches, MTU discovery and the congestion window settle well before.
const WARM_UP_MAX: u64 = 1000;

/// The least warm-up round trips, for large messages.
const WARM_UP_MIN: u64 = 10;

/// What a warm-up may move, so that large messages do not warm up for longer than they measure.
const WARM_UP_BYTES: u64 = 64 * 1024 * 1024;

/// How long at least the pair goes back and forth before it measures, so that the processors' clocks settle too.
const CLOCK_SAMPLES: usize = 1001;

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A message did not get through.
    #[error("exchanging messages failed while {doing}")]
    Link {
        /// What was done.
        doing: &'static str,
        /// Why.
        #[source]
        source: EndpointError,
    },
    /// What came back is not what was sent.
    #[error("rank {peer} sent back other bytes than it got: the {which} message is wrong")]
    WrongBytes {
        /// Who.
        peer: Rank,
        /// First or last.
        which: &'static str,
    },
    /// An order or figures that this version does not understand.
    #[error("rank {peer} sent {what} that cannot be read; are all ranks of one version?")]
    Unreadable {
        /// Who.
        peer: Rank,
        /// What.
        what: &'static str,
    },
    /// Nothing was measured.
    #[error("no round trip was measured")]
    Nothing,
}

/// What rank 0 tells another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Measure { peer: Rank, run: Run },
    Echo { peer: Rank, run: Run },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    packet: Packet,
    warm_up: u64,
}

/// Directs the measurement of these pairs, as rank 0; `begins` is told of each pair before, `ends` of its figures.
///
/// # Errors
/// [`MeasureError`] of this rank, or when a rank is gone.
pub fn direct(
    endpoint: &mut Endpoint,
    pairs: &[Pair],
    packet: Packet,
    mut begins: impl FnMut(usize, Pair),
    mut ends: impl FnMut(usize, Pair, &PairFigures),
) -> Result<Vec<PairFigures>, MeasureError> {
    let run = Run {
        packet,
        warm_up: warm_up(packet),
    };
    let mut all = Vec::with_capacity(pairs.len());
    for (number, pair) in pairs.iter().enumerate() {
        begins(number, *pair);
        order(endpoint, pair.second, Order::Echo { peer: pair.first, run })?;
        let figures = if pair.first == DIRECTOR {
            measure(endpoint, pair.second, run)?
        } else {
            order(endpoint, pair.first, Order::Measure { peer: pair.second, run })?;
            endpoint.set_wait(Wait::Block);
            let bytes = endpoint
                .recv(pair.first, FIGURES)
                .map_err(while_doing("waiting for figures"))?;
            PairFigures::decode(&bytes).ok_or(MeasureError::Unreadable {
                peer: pair.first,
                what: "figures",
            })?
        };
        ends(number, *pair, &figures);
        all.push(figures);
    }
    for rank in 1..endpoint.size() {
        order(endpoint, Rank(rank), Order::Done)?;
    }
    Ok(all)
}

/// Does what rank 0 says until it is done, as any other rank.
///
/// # Errors
/// [`MeasureError`] of this rank, or when a rank is gone.
pub fn follow(endpoint: &mut Endpoint) -> Result<(), MeasureError> {
    loop {
        endpoint.set_wait(Wait::Block);
        let bytes = endpoint
            .recv(DIRECTOR, ORDER)
            .map_err(while_doing("waiting for the next pair"))?;
        match Order::decode(&bytes).ok_or(MeasureError::Unreadable {
            peer: DIRECTOR,
            what: "an order",
        })? {
            Order::Measure { peer, run } => {
                let figures = measure(endpoint, peer, run)?;
                endpoint
                    .send(DIRECTOR, FIGURES, &figures.encode())
                    .map_err(while_doing("telling figures"))?;
            }
            Order::Echo { peer, run } => echo(endpoint, peer, run)?,
            Order::Done => return Ok(()),
        }
    }
}

fn order(endpoint: &mut Endpoint, to: Rank, order: Order) -> Result<(), MeasureError> {
    endpoint
        .send(to, ORDER, &order.encode())
        .map_err(while_doing("telling who measures"))
}

/// Sends first and keeps the times.
fn measure(endpoint: &mut Endpoint, peer: Rank, run: Run) -> Result<PairFigures, MeasureError> {
    endpoint.set_wait(Wait::Poll);
    let failed = while_doing("measuring");
    let sent = pattern(run.packet.size_bytes);
    let mut returned = vec![0; sent.len()];
    let trip = |endpoint: &mut Endpoint, returned: &mut Vec<u8>| -> Result<(), EndpointError> {
        endpoint.send(peer, PING, &sent)?;
        endpoint
            .recv_into(peer, PONG, returned)
            .map(|length| returned.truncate(length))
    };
    let check = |returned: &[u8], which| {
        if returned == sent {
            Ok(())
        } else {
            Err(MeasureError::WrongBytes { peer, which })
        }
    };
    for _ in 0..run.warm_up {
        trip(endpoint, &mut returned).map_err(failed)?;
    }
    check(&returned, "first")?;
    let clock_us = clock_cost_us();
    let mut times_ns = Vec::with_capacity(usize::try_from(run.packet.iterations).unwrap_or(0));
    returned.fill(0);
    // One reading of the clock ends a round trip and begins the next.
    let mut before = Instant::now();
    for _ in 0..run.packet.iterations {
        trip(endpoint, &mut returned).map_err(failed)?;
        let after = Instant::now();
        times_ns.push(u64::try_from((after - before).as_nanos()).unwrap_or(u64::MAX));
        before = after;
    }
    check(&returned, "last")?;
    PairFigures::of_round_trips(&mut times_ns, clock_us).ok_or(MeasureError::Nothing)
}

/// Sends back what comes.
fn echo(endpoint: &mut Endpoint, peer: Rank, run: Run) -> Result<(), MeasureError> {
    endpoint.set_wait(Wait::Poll);
    let failed = while_doing("sending back");
    let mut bytes = vec![0; run.packet.size_bytes];
    for _ in 0..run.warm_up + run.packet.iterations {
        let length = endpoint.recv_into(peer, PING, &mut bytes).map_err(failed)?;
        endpoint.send(peer, PONG, &bytes[..length]).map_err(failed)?;
    }
    Ok(())
}

fn while_doing(doing: &'static str) -> impl Fn(EndpointError) -> MeasureError + Copy {
    move |source| MeasureError::Link { doing, source }
}

fn warm_up(packet: Packet) -> u64 {
    (WARM_UP_BYTES / (packet.size_bytes as u64).max(1)).clamp(WARM_UP_MIN, WARM_UP_MAX)
}

/// Bytes that a shift, a repeat or a gap would show in.
fn pattern(size_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size_bytes).map(|_| next()).collect()
}

/// What one reading of the clock costs, in microseconds: the median of many.
fn clock_cost_us() -> f64 {
    let readings: Vec<Instant> = (0..CLOCK_SAMPLES).map(|_| Instant::now()).collect();
    let mut costs: Vec<Duration> = readings.windows(2).map(|two| two[1] - two[0]).collect();
    costs.sort_unstable();
    costs[costs.len() / 2].as_secs_f64() * 1e6
}

/// An order on the wire: kind, peer, size, iterations, warm-up; little endian.
impl Order {
    fn encode(self) -> Vec<u8> {
        let (kind, peer, run) = match self {
            Self::Done => return vec![0],
            Self::Measure { peer, run } => (1, peer, run),
            Self::Echo { peer, run } => (2, peer, run),
        };
        let mut bytes = vec![kind];
        bytes.extend(peer.0.to_le_bytes());
        for number in [run.packet.size_bytes as u64, run.packet.iterations, run.warm_up] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        if *kind == 0 && rest.is_empty() {
            return Some(Self::Done);
        }
        let (peer, numbers) = rest.split_first_chunk::<4>()?;
        let peer = Rank(u32::from_le_bytes(*peer));
        let numbers: &[u8; 24] = numbers.try_into().ok()?;
        let mut numbers = numbers
            .chunks_exact(8)
            .filter_map(|part| part.try_into().ok().map(u64::from_le_bytes));
        let (size, iterations, warm_up) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if size > MESSAGE_MAX_BYTES || iterations > ITERATIONS_MAX || warm_up > WARM_UP_MAX {
            return None;
        }
        let run = Run {
            packet: Packet {
                size_bytes: usize::try_from(size).ok()?,
                iterations,
            },
            warm_up,
        };
        match kind {
            1 => Some(Self::Measure { peer, run }),
            2 => Some(Self::Echo { peer, run }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use transport::link::memory;

    use super::*;
    use crate::pingpong::pairing;

    #[test]
    fn orders_survive_the_wire_and_nonsense_is_refused() {
        let run = Run {
            packet: Packet {
                size_bytes: 4_000_000,
                iterations: 1000,
            },
            warm_up: 16,
        };
        for order in [
            Order::Done,
            Order::Measure { peer: Rank(3), run },
            Order::Echo { peer: Rank(1), run },
        ] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        let huge = Run {
            packet: Packet {
                size_bytes: usize::MAX,
                iterations: 1,
            },
            warm_up: 1,
        };
        let huge = Order::Echo {
            peer: Rank(1),
            run: huge,
        }
        .encode();
        for nonsense in [&[][..], &[9], &[1, 2, 3], &huge] {
            assert_eq!(Order::decode(nonsense), None);
        }
    }

    #[test]
    fn four_ranks_measure_six_pairs_in_order() {
        let mut endpoints: Vec<Endpoint> = memory::mesh(4)
            .into_iter()
            .zip(0..)
            .map(|(link, rank)| Endpoint::over(Rank(rank), 4, Box::new(link)))
            .collect();
        let packet = Packet {
            size_bytes: 100,
            iterations: 20,
        };
        let mut begun = Vec::new();
        let figures = std::thread::scope(|scope| {
            for mut endpoint in endpoints.drain(1..) {
                scope.spawn(move || follow(&mut endpoint).unwrap());
            }
            let pairs = pairing::serial(4);
            direct(
                &mut endpoints[0],
                &pairs,
                packet,
                |number, _| begun.push(number),
                |_, _, _| {},
            )
            .unwrap()
        });
        assert_eq!(begun, [0, 1, 2, 3, 4, 5]);
        assert!(
            figures.len() == 6
                && figures
                    .iter()
                    .all(|pair| pair.min_us > 0.0 && pair.min_us <= pair.max_us)
        );
    }

    #[test]
    fn warm_up_is_bounded_by_volume() {
        let rounds = |size_bytes| {
            warm_up(Packet {
                size_bytes,
                iterations: 1,
            })
        };
        assert_eq!(
            (rounds(0), rounds(1), rounds(4_000_000), rounds(64 << 20)),
            (1000, 1000, 16, 10)
        );
    }
}
