//! UDP sockets with buffers large enough that a burst of a thousand reconnecting nodes is not lost.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::system::set_int_option;

/// At this size nothing was lost on loopback; the usual 208 KiB lose up to 1 %.
const BUFFER_BYTES: i32 = 8 * 1024 * 1024;

/// A socket bound to that address. On `[::]` it also serves IPv4, where the system has IPv6.
pub(super) fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    enlarge_buffers(&socket)?;
    socket.bind(&SockAddr::from(local))?;
    Ok(socket.into())
}

/// As root the buffers may exceed the system's limit; else they get as large as it allows, which is no error.
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    let options = [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ];
    for (forced, asked) in options {
        if set_int_option(socket, libc::SOL_SOCKET, forced, BUFFER_BYTES).is_err() {
            set_int_option(socket, libc::SOL_SOCKET, asked, BUFFER_BYTES)?;
        }
    }
    Ok(())
}
