//! The conformance run of links: every story is told over memory and over QUIC, with the same outcome.

use std::net::Ipv4Addr;
use std::thread;

use super::*;
use crate::link::memory;

const A: Tag = Tag::new(1);
const B: Tag = Tag::new(2);

/// No story takes longer; a hang shows as an error.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Carrier {
    Memory,
    Quic(Wait),
}

const CARRIERS: [Carrier; 3] = [Carrier::Memory, Carrier::Quic(Wait::Block), Carrier::Quic(Wait::Poll)];

fn mesh(carrier: Carrier, size: u32) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = match carrier {
        Carrier::Memory => memory::mesh(size)
            .into_iter()
            .enumerate()
            .map(|(rank, link)| Endpoint::over(Rank(u32::try_from(rank).unwrap()), size, Box::new(link)))
            .collect(),
        Carrier::Quic(wait) => {
            let bound: Vec<_> = (0..size)
                .map(|rank| Endpoint::bind(Rank(rank), Ipv4Addr::LOCALHOST.into()).unwrap())
                .collect();
            let book: Vec<RankAddress> = bound.iter().map(|(_, address)| address.clone()).collect();
            bound
                .into_iter()
                .map(|(bound, _)| {
                    let mut endpoint = bound.connect_book(book.clone()).unwrap();
                    endpoint.set_wait(wait);
                    endpoint
                })
                .collect()
        }
    };
    endpoints
        .iter_mut()
        .for_each(|endpoint| endpoint.set_limit(Some(LIMIT)));
    endpoints
}

/// Runs the same program on every rank, each on a thread of its own; ranks leave in order at the end.
fn run(carrier: Carrier, size: u32, program: impl Fn(&mut Endpoint) + Sync) {
    thread::scope(|scope| {
        for mut endpoint in mesh(carrier, size) {
            let program = &program;
            scope.spawn(move || {
                program(&mut endpoint);
                endpoint.leave(LIMIT);
            });
        }
    });
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).unwrap().wrapping_mul(31).wrapping_add(seed))
        .collect()
}

#[test]
fn messages_of_all_sizes_arrive_whole_in_both_directions() {
    let sizes = [0, 1, 11, 12, 2048, 2049, 65_000, 1_000_000, 4 * 1024 * 1024];
    for carrier in CARRIERS {
        run(carrier, 2, |endpoint| {
            let peer = Rank(1 - endpoint.rank().0);
            for (seed, size) in (0..).zip(sizes) {
                if endpoint.rank() == Rank(0) {
                    endpoint.send(peer, A, &pattern(size, seed)).unwrap();
                    assert!(
                        endpoint.recv(peer, B).unwrap() == pattern(size, seed + 100),
                        "{size} bytes over {carrier:?}"
                    );
                } else {
                    let mut buffer = vec![0; size];
                    assert_eq!(endpoint.recv_into(peer, A, &mut buffer).unwrap(), size);
                    assert!(buffer == pattern(size, seed), "{size} bytes over {carrier:?}");
                    endpoint.send(peer, B, &pattern(size, seed + 100)).unwrap();
                }
            }
        });
    }
}

#[test]
fn order_holds_per_tag_and_tags_can_be_received_in_any_order() {
    for carrier in CARRIERS {
        run(carrier, 2, |endpoint| {
            if endpoint.rank() == Rank(0) {
                for number in 0..100u8 {
                    endpoint
                        .send(Rank(1), if number % 2 == 0 { A } else { B }, &[number])
                        .unwrap();
                }
            } else {
                let odd: Vec<u8> = (0..50).map(|_| endpoint.recv(Rank(0), B).unwrap()[0]).collect();
                let even: Vec<u8> = (0..50).map(|_| endpoint.recv(Rank(0), A).unwrap()[0]).collect();
                assert!(
                    odd.iter().copied().eq((0..50).map(|number| 2 * number + 1)),
                    "{carrier:?}: {odd:?}"
                );
                assert!(
                    even.iter().copied().eq((0..50).map(|number| 2 * number)),
                    "{carrier:?}: {even:?}"
                );
            }
        });
    }
}

#[test]
fn both_may_send_much_before_either_receives() {
    for carrier in [Carrier::Quic(Wait::Block), Carrier::Quic(Wait::Poll)] {
        run(carrier, 2, |endpoint| {
            let peer = Rank(1 - endpoint.rank().0);
            for seed in 0..6 {
                endpoint.send(peer, A, &pattern(4_000_000, seed)).unwrap();
            }
            for seed in 0..6 {
                assert!(
                    endpoint.recv(peer, A).unwrap() == pattern(4_000_000, seed),
                    "message {seed}"
                );
            }
        });
    }
}

#[test]
fn the_higher_rank_may_speak_first_while_the_lower_waits_for_another() {
    for carrier in CARRIERS {
        run(carrier, 3, |endpoint| match endpoint.rank().0 {
            // Rank 0 hears of rank 1 only after rank 2, which waits for rank 1 in turn.
            0 => {
                assert_eq!(endpoint.recv(Rank(2), A).unwrap(), [2]);
                assert_eq!(endpoint.recv(Rank(1), A).unwrap(), [1]);
            }
            1 => {
                endpoint.send(Rank(0), A, &[1]).unwrap();
                endpoint.send(Rank(2), A, &[1]).unwrap();
            }
            _ => {
                assert_eq!(endpoint.recv(Rank(1), A).unwrap(), [1]);
                endpoint.send(Rank(0), A, &[2]).unwrap();
            }
        });
    }
}

#[test]
fn nobody_passes_a_barrier_before_everyone_has_come() {
    use std::sync::atomic::{AtomicU32, Ordering};
    for carrier in CARRIERS {
        for size in [1, 2, 5] {
            let arrived = AtomicU32::new(0);
            run(carrier, size, |endpoint| {
                for round in 1..=20 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    endpoint.barrier().unwrap();
                    assert!(
                        arrived.load(Ordering::SeqCst) >= round * size,
                        "{carrier:?}, {size} ranks, round {round}"
                    );
                }
            });
        }
    }
}

#[test]
fn a_buffer_too_small_is_an_error_and_the_message_is_kept() {
    for carrier in CARRIERS {
        run(carrier, 2, |endpoint| {
            if endpoint.rank() == Rank(0) {
                endpoint.send(Rank(1), A, &[7; 10]).unwrap();
            } else {
                let error = endpoint.recv_into(Rank(0), A, &mut [0; 9]).unwrap_err();
                assert!(
                    matches!(
                        error,
                        EndpointError::BufferTooSmall {
                            length: 10,
                            room: 9,
                            ..
                        }
                    ),
                    "{error}"
                );
                assert_eq!(endpoint.recv(Rank(0), A).unwrap(), [7; 10]);
            }
        });
    }
}

#[test]
fn what_a_peer_sent_before_it_left_is_received_and_then_it_is_gone() {
    for carrier in CARRIERS {
        run(carrier, 2, |endpoint| {
            if endpoint.rank() == Rank(0) {
                endpoint.send(Rank(1), A, &pattern(3_000_000, 1)).unwrap();
            } else {
                assert!(endpoint.recv(Rank(0), A).unwrap() == pattern(3_000_000, 1));
                let error = endpoint.recv(Rank(0), A).unwrap_err();
                assert!(
                    matches!(
                        error,
                        EndpointError::PeerGone {
                            rank: Rank(0),
                            why: Gone::Left
                        }
                    ),
                    "{carrier:?}: {error:?}"
                );
                assert!(endpoint.send(Rank(0), A, &[1]).is_err());
            }
        });
    }
}

#[test]
fn a_peer_that_dies_is_an_error_and_no_hang() {
    for carrier in CARRIERS {
        let mut endpoints = mesh(carrier, 2);
        let (mut one, mut zero) = (endpoints.pop().unwrap(), endpoints.pop().unwrap());
        let dying = thread::spawn(move || {
            assert_eq!(one.recv(Rank(0), A).unwrap(), [1]);
            // Dropped without leaving: sockets close as if the process had been killed.
        });
        zero.send(Rank(1), A, &[1]).unwrap();
        let error = zero.recv(Rank(1), A).unwrap_err();
        assert!(
            matches!(
                error,
                EndpointError::PeerGone {
                    rank: Rank(1),
                    why: Gone::Refused
                }
            ),
            "{carrier:?}: {error:?}"
        );
        dying.join().unwrap();
    }
}

#[test]
fn a_peer_that_never_came_is_an_error_at_once_when_its_host_refuses() {
    let mut endpoints = mesh(Carrier::Quic(Wait::Block), 2);
    drop(endpoints.pop());
    let mut zero = endpoints.pop().unwrap();
    let began = Instant::now();
    let error = zero.send(Rank(1), A, &[1]).unwrap_err();
    assert!(
        matches!(error, EndpointError::PeerGone { why: Gone::Refused, .. }),
        "{error:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_limit_ends_a_wait_for_a_living_peer_and_the_message_can_still_come() {
    for carrier in CARRIERS {
        run(carrier, 2, |endpoint| {
            if endpoint.rank() == Rank(0) {
                endpoint.set_limit(Some(Duration::from_millis(20)));
                let error = endpoint.recv(Rank(1), A).unwrap_err();
                assert!(
                    matches!(error, EndpointError::TimedOut { rank: Rank(1), .. }),
                    "{carrier:?}: {error}"
                );
                endpoint.set_limit(Some(LIMIT));
                endpoint.send(Rank(1), B, &[]).unwrap();
                assert_eq!(endpoint.recv(Rank(1), A).unwrap(), [5]);
            } else {
                endpoint.recv(Rank(0), B).unwrap();
                endpoint.send(Rank(0), A, &[5]).unwrap();
            }
        });
    }
}

#[test]
fn a_message_cut_short_by_the_limit_ends_the_link_and_is_never_taken_for_another() {
    for carrier in [Carrier::Memory, Carrier::Quic(Wait::Block)] {
        let mut endpoints = mesh(carrier, 2);
        let (mut one, mut zero) = (endpoints.pop().unwrap(), endpoints.pop().unwrap());
        thread::scope(|scope| {
            // Rank 1 takes one message, then is in no call, so nothing of the large one is read.
            let waiting = scope.spawn(move || {
                one.recv(Rank(0), A).unwrap();
                one
            });
            zero.send(Rank(1), A, &[1]).unwrap();
            let _one = waiting.join().unwrap();
            zero.set_limit(Some(Duration::from_millis(50)));
            let error = zero.send(Rank(1), A, &pattern(60_000_000, 0)).unwrap_err();
            assert!(
                matches!(error, EndpointError::TimedOut { .. }),
                "{carrier:?}: {error:?}"
            );
            let after = zero.send(Rank(1), A, &[2]).unwrap_err();
            assert!(
                matches!(
                    after,
                    EndpointError::PeerGone {
                        why: Gone::CutShort,
                        ..
                    }
                ),
                "{carrier:?}: {after:?}"
            );
        });
    }
}

#[test]
fn nobody_stores_without_bound_for_a_receive_that_lies_behind() {
    for carrier in [Carrier::Memory, Carrier::Quic(Wait::Block)] {
        run(carrier, 2, |endpoint| {
            if endpoint.rank() == Rank(0) {
                let large = vec![0; 30_000_000];
                for _ in 0..3 {
                    endpoint.send(Rank(1), A, &large).unwrap();
                }
                endpoint.send(Rank(1), B, &[1]).unwrap();
            } else {
                let error = endpoint.recv(Rank(0), B).unwrap_err();
                assert!(
                    matches!(error, EndpointError::UnexpectedFull { .. }),
                    "{carrier:?}: {error}"
                );
                for _ in 0..3 {
                    assert_eq!(endpoint.recv(Rank(0), A).unwrap().len(), 30_000_000);
                }
                assert_eq!(endpoint.recv(Rank(0), B).unwrap(), [1]);
            }
        });
    }
}

#[test]
fn a_stranger_with_another_certificate_is_not_let_in() {
    let bind = |rank| Endpoint::bind(Rank(rank), Ipv4Addr::LOCALHOST.into()).unwrap();
    let ((zero, zero_address), (one, one_address), (_, foreign)) = (bind(0), bind(1), bind(1));
    let mut zero = zero
        .connect_book(vec![zero_address.clone(), one_address.clone()])
        .unwrap();
    // Rank 1 expects somebody else at rank 0's address.
    let wrong = RankAddress {
        quic: zero_address.quic,
        certificate: foreign.certificate,
    };
    let mut one = one.connect_book(vec![wrong, one_address]).unwrap();
    zero.set_limit(Some(LIMIT));
    one.set_limit(Some(Duration::from_secs(2)));
    thread::scope(|scope| {
        scope.spawn(|| one.recv(Rank(0), A).unwrap_err());
        let error = zero.recv(Rank(1), A).unwrap_err();
        assert!(
            matches!(
                error,
                EndpointError::PeerGone {
                    why: Gone::Untrusted,
                    ..
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn a_rank_can_send_to_itself_and_does_not_wait_for_nothing() {
    for carrier in CARRIERS {
        run(carrier, 1, |endpoint| {
            endpoint.send(Rank(0), A, b"note").unwrap();
            assert_eq!(endpoint.recv(Rank(0), A).unwrap(), b"note");
            assert!(matches!(
                endpoint.recv(Rank(0), A),
                Err(EndpointError::NothingFromSelf { .. })
            ));
        });
    }
}

#[test]
fn impossible_requests_are_refused() {
    let mut endpoints = mesh(Carrier::Memory, 2);
    let zero = &mut endpoints[0];
    let no_rank = zero.send(Rank(2), A, &[]).unwrap_err();
    assert!(matches!(no_rank, EndpointError::NoSuchRank { rank: Rank(2), size: 2 }));
    let large = vec![0; usize::try_from(MESSAGE_MAX_BYTES).unwrap() + 1];
    let too_large = zero.send(Rank(1), A, &large).unwrap_err();
    assert!(matches!(too_large, EndpointError::TooLarge { to: Rank(1), .. }));
    assert!(too_large.to_string().contains("67108864"), "{too_large}");
}

#[test]
fn a_book_that_misplaces_this_rank_is_refused() {
    let (bound, own) = Endpoint::bind(Rank(1), Ipv4Addr::LOCALHOST.into()).unwrap();
    let error = bound.connect_book(vec![own]).unwrap_err();
    assert!(
        matches!(error, QuicLinkError::ForeignBook { rank: Rank(1), .. }),
        "{error}"
    );
}
