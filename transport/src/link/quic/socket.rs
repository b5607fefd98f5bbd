//! UDP sockets for QUIC between ranks: one that listens, and a connected one per peer.
//!
//! A connected socket spares the route look-up of every send, and its sends report it when the peer's process is gone.
//! The answering side connects a twin bound to its listening address (`SO_REUSEPORT`; the kernel prefers the connected
//! socket for datagrams of its peer). Receives name their sender all the same, because a datagram of someone else may
//! slip in between bind and connect.
//!
//! Several datagrams go out in one call by the socket option `UDP_SEGMENT`, set when the size changes, rather than by a
//! control message on every call: ping-pong never pays for it.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use bytes::BytesMut;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::system;

/// The largest UDP payload there is, so the largest datagram a receive must have room for.
pub(super) const DATAGRAM_MAX_BYTES: usize = 65_535;

/// What one send may carry, all segments together: a UDP datagram's limit before the kernel splits it.
pub(super) const SEND_MAX_BYTES: usize = 65_000;

/// The most segments of one send; the kernel takes 64, and 44 of 1452 bytes fill a send anyway.
pub(super) const SEGMENTS_MAX: usize = 44;

/// Wanted socket buffers. The system's defaults lose packets on loopback already.
const SOCKET_BUFFER_BYTES: libc::c_int = 8 * 1024 * 1024;

/// Where received datagrams are put: room for this many bytes is taken at a time and cut into datagrams.
const ROOM_BYTES: usize = 1024 * 1024;

/// What came of a receive.
#[derive(Debug)]
pub(super) enum Received {
    /// A datagram and its sender.
    Datagram(BytesMut, SocketAddr),
    /// Nothing now.
    Nothing,
    /// The peer of this connected socket is gone.
    Refused,
}

/// What came of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way, or lost like any datagram may be.
    Taken,
    /// The socket's buffer is full; try again when it is writable.
    Full,
    /// The peer of this connected socket is gone.
    Refused,
}

/// Memory that datagrams are received into. It is reused when all that was cut from it has been read.
#[derive(Debug, Default)]
pub(super) struct Room(BytesMut);

/// One UDP socket.
#[derive(Debug)]
pub(super) struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    connected: bool,
    /// The segment size the kernel now cuts sends at; 0 is none.
    segment_bytes: usize,
}

impl UdpSocket {
    /// A socket that hears everyone, on a port of its own choice when `address` has port 0.
    pub(super) fn listening(address: SocketAddr) -> io::Result<Self> {
        let socket = new_socket(address, true)?;
        Self::finish(socket, false)
    }

    /// A socket from `local` to one peer. `share` when another socket of this process listens on `local`.
    pub(super) fn connected(local: SocketAddr, peer: SocketAddr, share: bool) -> io::Result<Self> {
        let socket = new_socket(local, share)?;
        socket.connect(&SockAddr::from(peer))?;
        Self::finish(socket, true)
    }

    fn finish(socket: Socket, connected: bool) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("not an IP socket"))?;
        Ok(Self {
            socket,
            local,
            connected,
            segment_bytes: 0,
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Takes one datagram, if one waits.
    pub(super) fn receive(&self, room: &mut Room) -> io::Result<Received> {
        if room.0.capacity() < DATAGRAM_MAX_BYTES {
            room.0.reserve(ROOM_BYTES);
        }
        match system::receive_from(&self.socket, &mut room.0, DATAGRAM_MAX_BYTES) {
            Ok((_, sender)) => {
                let datagram = room.0.split();
                Ok(sender
                    .as_socket()
                    .map_or(Received::Nothing, |sender| Received::Datagram(datagram, sender)))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
                io::ErrorKind::ConnectionRefused if self.connected => Ok(Received::Refused),
                // Another kind of bad news from the network about some datagram; QUIC repeats what was lost.
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => Ok(Received::Nothing),
                _ => Err(error),
            },
        }
    }

    /// Sends `bytes`, cut at `segment_bytes` when that is given.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_bytes: Option<usize>) -> io::Result<Sent> {
        self.cut_at(bytes.len(), segment_bytes)?;
        let outcome = if self.connected {
            self.socket.send(bytes)
        } else {
            self.socket.send_to(bytes, &to.into())
        };
        match outcome {
            Ok(_) => Ok(Sent::Taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Full),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && self.connected => Ok(Sent::Refused),
            Err(error) if is_a_loss(&error) => Ok(Sent::Taken),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel cut at this size. A size in force does not touch sends that are shorter.
    fn cut_at(&mut self, length: usize, segment_bytes: Option<usize>) -> io::Result<()> {
        let wanted = match segment_bytes {
            Some(size) => size,
            None if self.segment_bytes == 0 || length <= self.segment_bytes => return Ok(()),
            None => 0,
        };
        if wanted != self.segment_bytes {
            let value = libc::c_int::try_from(wanted).map_err(io::Error::other)?;
            system::set_int_option(&self.socket, libc::SOL_UDP, libc::UDP_SEGMENT, value)?;
            self.segment_bytes = wanted;
        }
        Ok(())
    }
}

/// Errors of a send that mean no more than that this datagram did not arrive: too large for the path (a probe of MTU
/// discovery), or no route just now. QUIC repeats or gives up by itself.
fn is_a_loss(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMSGSIZE | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EPERM | libc::EINTR)
    ) || error.kind() == io::ErrorKind::ConnectionRefused
}

fn new_socket(local: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    enlarge_buffers(&socket)?;
    forbid_fragments(&socket, local.is_ipv4())?;
    socket.bind(&SockAddr::from(local))?;
    Ok(socket)
}

/// As root the buffers may exceed the system's limit; else they get as large as it allows.
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    let forced = [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE];
    for (forced, asked) in forced.into_iter().zip([libc::SO_RCVBUF, libc::SO_SNDBUF]) {
        if system::set_int_option(socket, libc::SOL_SOCKET, forced, SOCKET_BUFFER_BYTES).is_err() {
            system::set_int_option(socket, libc::SOL_SOCKET, asked, SOCKET_BUFFER_BYTES)?;
        }
    }
    Ok(())
}

/// MTU discovery counts on datagrams arriving whole or not at all.
fn forbid_fragments(socket: &Socket, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        system::set_int_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    } else {
        system::set_int_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )
    }
}

/// The largest UDP payload worth probing for from this address: what its interface carries, less IP and UDP headers.
pub(super) fn payload_bound_bytes(local: IpAddr) -> u16 {
    /// 1500 less IPv6 and UDP headers: what to assume when the interface does not tell.
    const ETHERNET: u16 = 1452;
    let headers = if local.is_ipv4() { 28 } else { 48 };
    // Addresses of 127.0.0.0/8 beyond the first are not listed but belong to loopback too.
    let name = if local.is_loopback() {
        Some("lo".to_owned())
    } else {
        interface_of(local)
    };
    let mtu = name.and_then(|name| fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok());
    let Some(mtu) = mtu.and_then(|text| text.trim().parse::<usize>().ok()) else {
        return ETHERNET;
    };
    let payload = mtu.saturating_sub(headers).clamp(1200, SEND_MAX_BYTES);
    u16::try_from(payload).unwrap_or(ETHERNET)
}

fn interface_of(local: IpAddr) -> Option<String> {
    let mut found = None;
    system::for_each_interface(|name, address| {
        if address == local {
            found = Some(name.to_owned());
        }
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn any() -> SocketAddr {
        SocketAddr::new(HOST, 0)
    }

    fn receive(socket: &UdpSocket) -> Received {
        let end = Instant::now() + Duration::from_secs(10);
        let mut room = Room::default();
        while Instant::now() < end {
            match socket.receive(&mut room).unwrap() {
                Received::Nothing => std::thread::yield_now(),
                other => return other,
            }
        }
        panic!("nothing came within ten seconds");
    }

    #[test]
    fn the_twin_hears_its_peer_and_the_listener_everyone_else() {
        let listener = UdpSocket::listening(any()).unwrap();
        let mut peer = UdpSocket::connected(any(), listener.local(), false).unwrap();
        let twin = UdpSocket::connected(listener.local(), peer.local(), true).unwrap();
        let mut stranger = UdpSocket::connected(any(), listener.local(), false).unwrap();
        peer.send(listener.local(), b"peer", None).unwrap();
        stranger.send(listener.local(), b"stranger", None).unwrap();
        assert!(
            matches!(receive(&twin), Received::Datagram(bytes, from) if &bytes[..] == b"peer" && from == peer.local())
        );
        assert!(matches!(receive(&listener), Received::Datagram(bytes, _) if &bytes[..] == b"stranger"));
    }

    #[test]
    fn segments_arrive_as_datagrams_of_their_own_and_a_longer_one_whole() {
        let to = UdpSocket::listening(any()).unwrap();
        let mut from = UdpSocket::connected(any(), to.local(), false).unwrap();
        let mut lengths = Vec::new();
        from.send(to.local(), &[1; 2500], Some(1200)).unwrap();
        from.send(to.local(), &[2; 5000], None).unwrap();
        from.send(to.local(), &[3; 10], None).unwrap();
        while lengths.len() < 5 {
            if let Received::Datagram(bytes, _) = receive(&to) {
                lengths.push(bytes.len());
            }
        }
        assert_eq!(lengths, [1200, 1200, 100, 5000, 10]);
    }

    #[test]
    fn a_closed_port_is_told_to_the_connected_side() {
        let gone = UdpSocket::listening(any()).unwrap();
        let mut from = UdpSocket::connected(any(), gone.local(), false).unwrap();
        let address = gone.local();
        drop(gone);
        assert_eq!(from.send(address, b"x", None).unwrap(), Sent::Taken);
        assert!(matches!(receive(&from), Received::Refused));
    }

    #[test]
    fn loopback_carries_large_packets() {
        assert_eq!(payload_bound_bytes("127.0.0.3".parse().unwrap()), 65_000);
        assert_eq!(payload_bound_bytes("203.0.113.1".parse().unwrap()), 1452);
    }
}
