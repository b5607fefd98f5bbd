//! `hpcfwutil`: what to open in firewalls. HPC Pack's tool of this name changes the firewall; ours only says what to type,
//! because a site's firewall has an owner who is not us.

use std::fmt::Write as _;
use std::net::SocketAddr;

use proto::client::{Reply, Request};
use proto::ids::NodeName;

use super::Door;
use crate::answer::Answer;
use crate::client::ClientError;
use crate::exit::CliError;
use crate::login::DEFAULT_PORT;

/// Nodes whose ports are listed; more are counted.
const SHOWN: usize = 32;

/// Stands for the nodes' addresses where those are not known, or too many.
const NETWORK: &str = "10.0.0.0/24";

/// What to open. Without a head node that answers, for the usual ports.
///
/// # Errors
/// None: a head node that does not answer makes the answer less exact, nothing else.
pub(super) async fn run(door: &Result<Door, CliError>) -> Result<Answer, CliError> {
    let known = match door {
        Ok(door) => known(door).await.unwrap_or_default(),
        Err(_) => Known::default(),
    };
    Ok(Answer::Help(text(&known)))
}

/// What the head node says of its cluster.
#[derive(Debug, Default)]
struct Known {
    /// Where it listens.
    head: Option<SocketAddr>,
    /// Where agents listen for each other.
    nodes: Vec<(NodeName, SocketAddr)>,
}

async fn known(door: &Door) -> Result<Known, ClientError> {
    let mut client = door.connect().await?;
    let head = match client.request(Request::Status).await? {
        Reply::Status { head, .. } => head.listen.parse().ok(),
        _ => None,
    };
    let nodes = match client.request(Request::ListNodes).await? {
        Reply::Nodes { nodes } => nodes,
        _ => Vec::new(),
    };
    let nodes = nodes
        .into_iter()
        .filter_map(|node| Some((node.row.name, node.row.peer?)));
    Ok(Known {
        head,
        nodes: nodes.collect(),
    })
}

impl Known {
    /// The port that all agents have. Ports that the system chose are hardly ever alike.
    fn common_port(&self) -> Option<u16> {
        let (_, first) = self.nodes.first()?;
        let is_common = self.nodes.len() > 1 && self.nodes.iter().all(|(_, at)| at.port() == first.port());
        is_common.then_some(first.port())
    }

    /// The nodes' addresses, as nft takes them.
    fn sources(&self) -> String {
        let mut addresses: Vec<_> = self.nodes.iter().map(|(_, at)| at.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() || addresses.len() > SHOWN || !addresses.iter().all(std::net::IpAddr::is_ipv4) {
            return NETWORK.to_owned();
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("{{ {} }}", addresses.join(", "))
    }

    /// Which ports the agents have now.
    fn listed(&self) -> String {
        if self.nodes.is_empty() {
            return String::new();
        }
        let mut out = "Where the nodes' agents listen now (UDP):\n".to_owned();
        for (name, at) in self.nodes.iter().take(SHOWN) {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {name:<16}  {at}");
        }
        if let Some(more) = self.nodes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(out, "  and {more} more"); // as above
        }
        out += match self.common_port() {
            Some(_) => "The port is the same everywhere, so somebody fixed it.",
            None => "The ports differ, so the system chose them, and will choose others at the next start.",
        };
        out += "\n\n";
        out
    }
}

fn text(known: &Known) -> String {
    let port = known.head.map_or(DEFAULT_PORT, |address| address.port());
    let source = match known.head {
        Some(address) => format!("This cluster's head node listens at {address}."),
        None => "No head node answers; these are the usual ports.".to_owned(),
    };
    let between = match known.common_port() {
        Some(port) => format!("UDP {port} and 'ports'"),
        None => "all UDP".to_owned(),
    };
    let (listed, sources) = (known.listed(), known.sources());
    format!(
        "Nothing was changed: this program does not touch firewalls. {source}\n\
         \n\
         On             Open                  For\n\
         head node      {head:<20}  compute nodes, command lines elsewhere\n\
         compute nodes  {between:<20}  each other only: launches and ranks of MPI programs\n\
         \n\
         Nothing has to be open towards the internet. Nodes dial the head node; it dials nobody.\n\
         \n\
         {listed}\
         Ports are a setting of each node: those that joined with --peer-port 8746 --ports 41000-41999, or have\n\
         'peer_port' and 'ports' in /var/lib/muster-node/node.toml, need only these UDP ports open to each other.\n\
         MPI libraries use TCP ports of their own between the nodes.\n\
         \n\
         On the head node, one of:\n\
         \x20 nft add rule inet filter input udp dport {port} accept\n\
         \x20 firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload\n\
         \x20 ufw allow {port}/udp\n\
         On each compute node, with the nodes' network in place of {NETWORK}, one of:\n\
         \x20 nft add rule inet filter input ip saddr {sources} accept\n\
         \x20 firewall-cmd --permanent --zone=trusted --add-source={NETWORK} && firewall-cmd --reload\n\
         \x20 ufw allow from {NETWORK}\n\
         \n\
         'muster doctor --probe' then has the nodes try to reach each other.\n",
        head = format!("UDP {port}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ports: [u16; 2]) -> Known {
        let name = |text| NodeName::new(text).expect("a name");
        Known {
            head: "10.0.0.1:9000".parse().ok(),
            nodes: vec![
                (name("n1"), ([10, 1, 0, 2], ports[0]).into()),
                (name("n2"), ([10, 1, 0, 3], ports[1]).into()),
            ],
        }
    }

    #[test]
    fn the_real_port_is_in_every_line_to_type() {
        let told = text(&known([1, 2]));
        assert!(
            told.contains("udp dport 9000")
                && told.contains("--add-port=9000/udp")
                && told.contains("ufw allow 9000/udp")
        );
        assert!(told.starts_with("Nothing was changed"));
        assert!(text(&Known::default()).contains("8745"));
    }

    #[test]
    fn the_ports_that_nodes_have_are_shown() {
        let told = text(&known([40_001, 40_002]));
        assert!(
            told.contains("10.1.0.2:40001\n") && told.contains("the system chose them"),
            "{told}"
        );
        assert!(told.contains("ip saddr { 10.1.0.2, 10.1.0.3 } accept"), "{told}");
        let told = text(&known([8746, 8746]));
        assert!(
            told.contains("UDP 8746 and 'ports'") && !told.contains("all UDP"),
            "{told}"
        );
    }
}
