//! `hpcfwutil`: what to open in firewalls. HPC Pack's tool of this name changes the firewall; ours only says what to type,
//! because a site's firewall has an owner who is not us.

use std::net::SocketAddr;

use proto::client::{Reply, Request};

use super::Door;
use crate::answer::Answer;
use crate::exit::CliError;
use crate::login::DEFAULT_PORT;

/// What to open. Without a head node that answers, for the usual ports.
///
/// # Errors
/// None: a head node that does not answer makes the answer less exact, nothing else.
pub(super) async fn run(door: &Result<Door, CliError>) -> Result<Answer, CliError> {
    let known = match door {
        Ok(door) => listens(door).await,
        Err(_) => None,
    };
    Ok(Answer::Help(text(known)))
}

async fn listens(door: &Door) -> Option<SocketAddr> {
    match door.ask(Request::Status).await {
        Ok(Reply::Status { head, .. }) => head.listen.parse().ok(),
        _ => None,
    }
}

fn text(known: Option<SocketAddr>) -> String {
    let port = known.map_or(DEFAULT_PORT, |address| address.port());
    let source = match known {
        Some(address) => format!("This cluster's head node listens at {address}."),
        None => "No head node answers; these are the usual ports.".to_owned(),
    };
    format!(
        "Nothing was changed: this program does not touch firewalls. {source}\n\
         \n\
         On                  Open           For\n\
         head node           UDP {port:<9}  compute nodes, command lines elsewhere\n\
         compute nodes       all UDP        each other only: launches and ranks of MPI programs\n\
         \n\
         Nothing has to be open towards the internet. Nodes dial the head node; it dials nobody.\n\
         Nodes that joined with --peer-port 8746 --ports 41000-41999, or have 'peer_port' and 'ports' in their\n\
         node.toml, need only those UDP ports open to each other.\n\
         MPI libraries use TCP ports of their own between the nodes.\n\
         \n\
         On the head node, one of:\n\
         \x20 nft add rule inet filter input udp dport {port} accept\n\
         \x20 firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload\n\
         \x20 ufw allow {port}/udp\n\
         On each compute node, with the nodes' network in place of 10.0.0.0/24, one of:\n\
         \x20 nft add rule inet filter input ip saddr 10.0.0.0/24 accept\n\
         \x20 firewall-cmd --permanent --zone=trusted --add-source=10.0.0.0/24 && firewall-cmd --reload\n\
         \x20 ufw allow from 10.0.0.0/24\n\
         \n\
         'muster doctor --probe' then has the nodes try to reach each other.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_port_is_in_every_line_to_type() {
        let told = text("10.0.0.1:9000".parse().ok());
        assert!(
            told.contains("udp dport 9000")
                && told.contains("--add-port=9000/udp")
                && told.contains("ufw allow 9000/udp")
        );
        assert!(told.starts_with("Nothing was changed"));
        assert!(text(None).contains("8745"));
    }
}
