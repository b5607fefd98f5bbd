//! The few system calls that std and socket2 do not offer, each behind a safe face.
//!
//! All `unsafe` of the rank links is here. Not a place for logic: each function is one call, its arguments checked by
//! its types.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use socket2::Socket;

/// Sets an option whose value is a C int.
pub(crate) fn set_int_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the life of `socket`; the pointer and size describe `value`, which lives
    // across the call.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), size) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives one datagram into the end of `room`, which must have `most` bytes of spare capacity to take the largest;
/// returns its length and sender.
pub(crate) fn receive_from(
    socket: &Socket,
    room: &mut BytesMut,
    most: usize,
) -> io::Result<(usize, socket2::SockAddr)> {
    let spare: &mut [MaybeUninit<u8>] = room.spare_capacity_mut();
    let most = most.min(spare.len());
    let (length, sender) = socket.recv_from(&mut spare[..most])?;
    // SAFETY: the system has written `length` bytes at the start of the spare capacity, and never more than `most`.
    unsafe { room.advance_mut(length.min(most)) };
    Ok((length, sender))
}

/// What to wait for on one descriptor, and what came of it.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Interest(libc::pollfd);

impl Interest {
    /// Waits for bytes to read, and for room to write when `write` is set.
    pub(crate) fn new(descriptor: RawFd, write: bool) -> Self {
        let events = if write {
            libc::POLLIN | libc::POLLOUT
        } else {
            libc::POLLIN
        };
        Self(libc::pollfd {
            fd: descriptor,
            events,
            revents: 0,
        })
    }

    /// Whether anything happened, errors included.
    pub(crate) fn happened(self) -> bool {
        self.0.revents != 0
    }
}

/// Sleeps until something happens on one of the descriptors or the time is over. A signal ends the sleep early.
pub(crate) fn sleep_on(interests: &mut [Interest], longest: Option<Duration>) -> io::Result<()> {
    let time = longest.map(|longest| libc::timespec {
        tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: longest.subsec_nanos().into(),
    });
    let time_pointer = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = libc::nfds_t::try_from(interests.len()).map_err(io::Error::other)?;
    // SAFETY: `Interest` is transparent over `pollfd`, the slice holds `count` of them; the time pointer is null or
    // points at `time`, which lives across the call; a null signal mask is allowed.
    let outcome = unsafe { libc::ppoll(interests.as_mut_ptr().cast(), count, time_pointer, ptr::null()) };
    if outcome >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}

/// Calls `visit` with name and address of every interface that is up.
pub(crate) fn for_each_interface(mut visit: impl FnMut(&str, IpAddr)) -> io::Result<()> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the pointer is valid for writing; on success it holds a list that is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut next = first;
    while !next.is_null() {
        // SAFETY: not null, and an element of the list that getifaddrs made and nobody has freed.
        let entry = unsafe { &*next };
        if entry.ifa_flags & libc::IFF_UP.cast_unsigned() != 0
            && let Some(address) = interface_address(entry)
        {
            // SAFETY: the name is a C string that lives as long as the list.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            visit(&name.to_string_lossy(), address);
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(())
}

fn interface_address(entry: &libc::ifaddrs) -> Option<IpAddr> {
    if entry.ifa_addr.is_null() {
        return None;
    }
    // SAFETY: not null; every socket address begins with its family.
    let family = libc::c_int::from(unsafe { (*entry.ifa_addr).sa_family });
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in; it may be unaligned, so it is copied.
            let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6; it may be unaligned, so it is copied.
            let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use socket2::{Domain, Type};

    use super::*;

    fn socket() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn a_datagram_lands_at_the_end_of_the_buffer() {
        let ((from, from_address), (to, to_address)) = (socket(), socket());
        from.send_to(b"hello", &to_address.into()).unwrap();
        let mut room = BytesMut::with_capacity(100);
        room.extend_from_slice(b"> ");
        let (length, sender) = receive_from(&to, &mut room, 50).unwrap();
        assert_eq!(
            (length, &room[..], sender.as_socket()),
            (5, &b"> hello"[..], Some(from_address))
        );
    }

    #[test]
    fn sleep_ends_with_news_or_in_time() {
        let ((from, _), (to, to_address)) = (socket(), socket());
        let mut interests = [Interest::new(to.as_raw_fd(), false)];
        let began = Instant::now();
        sleep_on(&mut interests, Some(Duration::from_millis(5))).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(5) && !interests[0].happened());
        from.send_to(b"x", &to_address.into()).unwrap();
        sleep_on(&mut interests, Some(Duration::from_secs(60))).unwrap();
        assert!(interests[0].happened());
    }

    #[test]
    fn options_reach_the_socket() {
        let (socket, _) = socket();
        set_int_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
        assert!(socket.reuse_address().unwrap());
        assert!(set_int_option(&socket, libc::SOL_SOCKET, -1, 1).is_err());
    }

    #[test]
    fn loopback_is_listed_with_its_name() {
        let mut found = false;
        for_each_interface(|name, address| found |= name == "lo" && address == IpAddr::from([127, 0, 0, 1])).unwrap();
        assert!(found);
    }
}
