//! Tokens with which nodes join, and the one line to paste.
//!
//! The line has to work as it is on a fresh host: the head node's address is one that others can reach, as far as this
//! machine can tell, and the program is named by its path where PATH does not lead to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use proto::client::{Reply, Request};

use super::Door;
use crate::answer::{Answer, ClusterAnswer, JoinLine};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::local;
use crate::login::DEFAULT_PORT;
use crate::place::Target;
use crate::request::Invitation;

/// The program on the host that joins.
const PROGRAM: &str = "muster-computenode";

/// Where every shell looks, also one of a fresh log-in.
const USUAL: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"];

/// `muster token`
pub(super) async fn token(invitation: Invitation, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let (token, expires_at) = made(&invitation, &mut client).await?;
    let (head, _) = head_address(invitation.head_address, &mut client, door).await?;
    Ok(Answer::Token {
        token,
        head,
        expires_at,
    })
}

/// `muster node join-command`
pub(super) async fn join_line(invitation: Invitation, door: &Door) -> Result<ClusterAnswer, CliError> {
    let mut client = door.connect().await?;
    let (head, mut remarks) = head_address(invitation.head_address.clone(), &mut client, door).await?;
    let (token, expires_at) = made(&invitation, &mut client).await?;
    let program = program(&mut remarks);
    Ok(ClusterAnswer::JoinLine(JoinLine {
        line: format!("{program} join --head {head} --token {token}"),
        token,
        head,
        expires_at,
        uses: invitation.uses,
        remarks,
    }))
}

async fn made(invitation: &Invitation, client: &mut Client) -> Result<(String, proto::units::Timestamp), CliError> {
    let request = Request::MakeToken {
        pool: invitation.pool.clone(),
        groups: invitation.groups.clone(),
        uses: invitation.uses,
        lifetime: invitation.lifetime,
    };
    match client.request(request).await? {
        Reply::Token { token, expires_at } => Ok((token, expires_at)),
        _ => Err(ClientError::Unexpected { asked: "muster token" }.into()),
    }
}

/// How the program is typed on the other host, which is taken to be set up like this one.
fn program(remarks: &mut Vec<String>) -> String {
    if USUAL.iter().any(|folder| Path::new(folder).join(PROGRAM).is_file()) {
        return PROGRAM.to_owned();
    }
    match local::program(PROGRAM) {
        Ok(path) => quoted(&path.display().to_string()),
        Err(_) => {
            remarks.push(format!(
                "{PROGRAM} is not on this machine; the new host needs it in its PATH."
            ));
            PROGRAM.to_owned()
        }
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Where other machines reach the head node, and what is to be said of it.
///
/// # Errors
/// When the head node does not answer, or `given` is no address.
pub(super) async fn head_address(
    given: Option<String>,
    client: &mut Client,
    door: &Door,
) -> Result<(String, Vec<String>), CliError> {
    if let Some(given) = given {
        let port = if has_port(&given) {
            String::new()
        } else {
            format!(":{}", listen_port(client).await?)
        };
        let mut remarks = Vec::new();
        if is_own(&given) {
            remarks.push(format!(
                "{given} is this machine only, for every host itself: name an address that leads here from others."
            ));
        }
        return Ok((format!("{given}{port}"), remarks));
    }
    // Where this machine itself reaches it, others most likely do too.
    if let Target::Remote(remote) = door.target() {
        return Ok((remote.to_string(), Vec::new()));
    }
    let listen = listen(client).await?;
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return Ok((listen, Vec::new()));
    };
    let ip = match address.ip() {
        ip if ip.is_unspecified() => outward(ip.is_ipv6()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ip => ip,
    };
    let mut remarks = Vec::new();
    if ip.is_loopback() {
        remarks.push(format!(
            "{ip} is reached from this machine only: have the head node listen elsewhere ('muster up --nodes 0 --listen \
             ADDRESS'), or name an address that leads to it with --head-address."
        ));
    }
    Ok((SocketAddr::new(ip, address.port()).to_string(), remarks))
}

async fn listen(client: &mut Client) -> Result<String, CliError> {
    match client.request(Request::Status).await? {
        Reply::Status { head, .. } => Ok(head.listen),
        _ => Err(ClientError::Unexpected { asked: "muster status" }.into()),
    }
}

async fn listen_port(client: &mut Client) -> Result<u16, CliError> {
    let listen = listen(client).await?;
    Ok(listen
        .parse::<SocketAddr>()
        .map_or(DEFAULT_PORT, |address| address.port()))
}

/// Whether an address, with or without a port, leads every host to itself.
fn is_own(text: &str) -> bool {
    let host = match text.rsplit_once(':') {
        Some((host, _)) if has_port(text) => host,
        _ => text,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn has_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((before, port)) => port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')),
        None => false,
    }
}

/// The address of this machine that packets to elsewhere bear, else the first one that is not loopback.
fn outward(also_v6: bool) -> Option<IpAddr> {
    // Addresses for documentation: a UDP socket is only bound to its route, nothing is sent.
    let routes: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    let routed = routes
        .into_iter()
        .filter(|(from, _)| also_v6 || from.is_ipv4())
        .find_map(|(from, to)| {
            let socket = UdpSocket::bind((from, 0)).ok()?;
            socket.connect((to, 9)).ok()?;
            let ip = socket.local_addr().ok()?.ip();
            (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
        });
    routed.or_else(|| interfaces(also_v6).into_iter().next())
}

/// Addresses of interfaces, without loopback and what is good on one wire only; IPv4 first.
pub(super) fn interfaces(also_v6: bool) -> Vec<IpAddr> {
    // Without a list there is none to choose from; the caller says so.
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let ips = all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let fits = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => also_v6 && !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let mut ips: Vec<IpAddr> = ips.filter(fits).collect();
    ips.sort_by_key(IpAddr::is_ipv6);
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_from_parts_of_addresses() {
        for with in ["head:1", "10.0.0.1:8745", "[::1]:7"] {
            assert!(has_port(with), "{with}");
        }
        for without in ["head", "10.0.0.1", "::1", "[::1]", "head:x"] {
            assert!(!has_port(without), "{without}");
        }
    }

    #[test]
    fn an_address_that_leads_every_host_to_itself_is_known() {
        for own in [
            "localhost",
            "localhost:1",
            "127.0.0.2:8745",
            "127.0.0.1",
            "[::1]:7",
            "::1",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in ["head", "head:1", "10.0.0.1:8745", "[fe80::1]:7", "fe80::1"] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted("/opt/muster/bin/x"), "/opt/muster/bin/x");
        assert_eq!(quoted("/o p/it's"), r"'/o p/it'\''s'");
    }

    #[test]
    fn the_address_for_others_is_never_loopback() {
        assert!(outward(true).is_none_or(|ip| !ip.is_loopback()));
        assert!(interfaces(false).iter().all(|ip| ip.is_ipv4() && !ip.is_loopback()));
    }
}
