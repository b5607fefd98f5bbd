//! The ranks' QUIC link beside a raw UDP socket: both busy-polling on two threads, 8 bytes each way, in alternating
//! rounds on the same two cores.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use proto::ids::Rank;
use transport::endpoint::{BoundEndpoint, Endpoint};
use transport::link::Wait;
use transport::message::Tag;

use crate::figure::{Figure, median};

/// Round trips per round.
const TRIPS: usize = 5000;
/// Round trips before the first that counts.
const WARM_UP: usize = 500;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIZE: usize = 8;
const PING: Tag = Tag::new(1);
const PONG: Tag = Tag::new(2);

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut quic, mut udp) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        udp.push(raw_udp()?);
        quic.push(rank_link()?);
    }
    Ok(vec![Figure::of(
        "links.quic_round_trip",
        "us",
        &mut quic,
        "raw UDP, polling",
        &mut udp,
    )])
}

fn rank_link() -> anyhow::Result<f64> {
    let (zero, address_zero) = Endpoint::bind(Rank(0), HERE)?;
    let (one, address_one) = Endpoint::bind(Rank(1), HERE)?;
    let book = vec![address_zero, address_one];
    let echo_book = book.clone();
    let echo = thread::spawn(move || answer_all(one, echo_book));
    let mut endpoint = zero.connect_book(book)?;
    endpoint.set_wait(Wait::Poll);
    let mut buffer = [0; SIZE];
    let mut samples = Vec::with_capacity(TRIPS);
    for trip in 0..WARM_UP + TRIPS {
        let start = Instant::now();
        endpoint.send(Rank(1), PING, &buffer)?;
        endpoint.recv_into(Rank(1), PONG, &mut buffer)?;
        if trip >= WARM_UP {
            samples.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    endpoint.leave(Duration::from_secs(1));
    echo.join()
        .map_err(|_| anyhow::anyhow!("the echoing rank panicked"))??;
    Ok(median(&mut samples))
}

fn answer_all(bound: BoundEndpoint, book: Vec<transport::rank_address::RankAddress>) -> anyhow::Result<()> {
    let mut endpoint = bound.connect_book(book)?;
    endpoint.set_wait(Wait::Poll);
    let mut buffer = [0; SIZE];
    for _ in 0..WARM_UP + TRIPS {
        endpoint.recv_into(Rank(0), PING, &mut buffer)?;
        endpoint.send(Rank(0), PONG, &buffer)?;
    }
    endpoint.leave(Duration::from_secs(1));
    Ok(())
}

fn raw_udp() -> anyhow::Result<f64> {
    let (near, far) = (UdpSocket::bind((HERE, 0))?, UdpSocket::bind((HERE, 0))?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let (end, ended): (Sender<()>, Receiver<()>) = channel();
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; SIZE];
        loop {
            match far.recv(&mut buffer) {
                Ok(_) => _ = far.send(&buffer)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if ended.try_recv().is_ok() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    });
    let mut buffer = [0; SIZE];
    let mut samples = Vec::with_capacity(TRIPS);
    for trip in 0..WARM_UP + TRIPS {
        let start = Instant::now();
        near.send(&buffer)?;
        while let Err(error) = near.recv(&mut buffer) {
            ensure!(error.kind() == ErrorKind::WouldBlock, "the raw socket failed: {error}");
            ensure!(
                start.elapsed() < Duration::from_secs(1),
                "loopback lost a datagram; run the bench again"
            );
        }
        if trip >= WARM_UP {
            samples.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    end.send(()).context("the echo thread is gone")?;
    echo.join().map_err(|_| anyhow::anyhow!("the echo thread panicked"))??;
    Ok(median(&mut samples))
}
