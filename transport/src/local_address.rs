//! Which of this host's addresses a rank publishes.
//!
//! In this order: a netmask (`CCP_MPI_NETMASK` or `MPICH_NETMASK`, as HPC Pack's users write it) picks the address
//! inside it; the address this node is known by (`MUSTER_NODE_ADDRESS`, set in every launch); the first address that is
//! not loopback; loopback. With a mask, the node's own address is preferred when it lies inside. A mask that matches
//! nothing is an error and never a silent choice of another network, because the user would measure the wrong one.
//!
//! The choice is pure; reading the environment and the interfaces is kept apart at the end.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The variables that name a netmask, the stronger first.
const NETMASK_VARIABLES: [&str; 2] = ["CCP_MPI_NETMASK", "MPICH_NETMASK"];

/// The variable that holds the address this node is known by.
const NODE_ADDRESS_VARIABLE: &str = "MUSTER_NODE_ADDRESS";

/// A network: `172.16.0.0/255.255.0.0` or `172.16.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// Why no address could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum LocalAddressError {
    /// The netmask cannot be read.
    #[error(
        "{variable}={text}: no network; write it as ADDRESS/MASK, for example 172.16.0.0/255.255.0.0 or 172.16.0.0/16"
    )]
    BadNetwork {
        /// Where it was given.
        variable: &'static str,
        /// What was given.
        text: String,
    },
    /// No address of this host lies in the network.
    #[error("{variable}={network}: this node has no address in that network; it has {}. Give a network that \
             holds one of them, or leave the variable out", list(.addresses))]
    NothingInside {
        /// Where it was given.
        variable: &'static str,
        /// The network asked for.
        network: Network,
        /// What this host has.
        addresses: Vec<IpAddr>,
    },
    /// The node's address cannot be read.
    #[error("MUSTER_NODE_ADDRESS={text}: no IP address; it is set by the launcher and should be left alone")]
    BadNodeAddress {
        /// What was given.
        text: String,
    },
    /// The system did not tell its interfaces.
    #[error("listing the addresses of this host failed")]
    Interfaces(#[source] io::Error),
}

/// What decides about the address.
#[derive(Debug, Clone, Default)]
pub struct AddressWish {
    /// The network asked for and the variable that did.
    pub network: Option<(&'static str, Network)>,
    /// The address this node is known by.
    pub node_address: Option<IpAddr>,
}

impl AddressWish {
    /// Reads a wish from variables, looked up by `variable`.
    ///
    /// # Errors
    /// When one of them is set and cannot be read.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LocalAddressError> {
        let set = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let mut network = None;
        if let Some((name, text)) = NETMASK_VARIABLES.into_iter().find_map(|name| Some((name, set(name)?))) {
            let parsed = text
                .trim()
                .parse()
                .map_err(|NotANetwork| LocalAddressError::BadNetwork { variable: name, text })?;
            network = Some((name, parsed));
        }
        let node_address = match set(NODE_ADDRESS_VARIABLE) {
            Some(text) => Some(
                text.trim()
                    .parse()
                    .map_err(|_| LocalAddressError::BadNodeAddress { text })?,
            ),
            None => None,
        };
        Ok(Self { network, node_address })
    }

    /// The address to publish, out of those this host has.
    ///
    /// # Errors
    /// When a network is asked for and none lies inside.
    pub fn choose(&self, host_addresses: &[IpAddr]) -> Result<IpAddr, LocalAddressError> {
        // Loopback addresses beyond the first need no interface entry: nodes on one machine are 127.0.0.2 and on.
        let own = self.node_address.into_iter().chain(host_addresses.iter().copied());
        match self.network {
            Some((variable, network)) => own.clone().find(|address| network.contains(*address)).ok_or_else(|| {
                let mut addresses: Vec<IpAddr> = own.collect();
                addresses.dedup();
                LocalAddressError::NothingInside {
                    variable,
                    network,
                    addresses,
                }
            }),
            None => Ok(self
                .node_address
                .or_else(|| host_addresses.iter().copied().find(|address| !address.is_loopback()))
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        }
    }
}

/// The address this process should publish: environment and interfaces read, then chosen.
///
/// # Errors
/// When a variable cannot be read, names a network this host is not in, or the interfaces cannot be listed.
pub fn local_address() -> Result<IpAddr, LocalAddressError> {
    let wish = AddressWish::from_variables(|name| std::env::var(name).ok())?;
    let addresses = interface_addresses().map_err(LocalAddressError::Interfaces)?;
    wish.choose(&addresses)
}

/// A text is no network.
#[derive(Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl Network {
    /// Whether an address lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, mask) = text.split_once('/').ok_or(NotANetwork)?;
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match (mask.parse::<u32>(), mask.parse::<IpAddr>()) {
            (Ok(bits), _) if bits <= width => bits,
            (_, Ok(IpAddr::V4(mask))) if address.is_ipv4() => {
                let mask = u32::from(mask);
                let bits = mask.leading_ones();
                if mask.count_ones() != bits {
                    return Err(NotANetwork);
                }
                bits
            }
            _ => return Err(NotANetwork),
        };
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "no address at all".to_owned();
    }
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// The addresses of the interfaces that are up, in the system's order. IPv6 link-local ones are left out: they mean
/// nothing without an interface beside them.
fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    crate::system::for_each_interface(|_name, address| addresses.push(address))?;
    addresses.retain(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wish(variables: &[(&str, &str)]) -> Result<AddressWish, LocalAddressError> {
        AddressWish::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn networks_are_read_in_both_forms() {
        let dotted: Network = "172.16.0.0/255.255.0.0".parse().unwrap();
        assert_eq!(dotted, "172.16.0.0/16".parse().unwrap());
        assert!(dotted.contains(ip("172.16.9.9")) && !dotted.contains(ip("172.17.0.1")) && !dotted.contains(ip("::1")));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(ip("8.8.8.8")));
        let v6: Network = "fd00::/8".parse().unwrap();
        assert!(v6.contains(ip("fd12::1")) && !v6.contains(ip("fe80::1")));
        for wrong in [
            "",
            "172.16.0.0",
            "172.16.0.0/33",
            "172.16.0.0/255.0.255.0",
            "x/8",
            "fd00::/129",
            "10.0.0.0/ffff::",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }

    #[test]
    fn without_a_wish_the_first_real_address_is_taken() {
        let none = AddressWish::default();
        assert_eq!(
            none.choose(&[ip("127.0.0.1"), ip("10.1.0.5"), ip("10.2.0.5")]).unwrap(),
            ip("10.1.0.5")
        );
        assert_eq!(none.choose(&[]).unwrap(), ip("127.0.0.1"));
    }

    #[test]
    fn the_nodes_own_address_goes_first() {
        let wish = wish(&[("MUSTER_NODE_ADDRESS", "127.0.0.3")]).unwrap();
        assert_eq!(
            wish.choose(&[ip("127.0.0.1"), ip("10.1.0.5")]).unwrap(),
            ip("127.0.0.3")
        );
    }

    #[test]
    fn a_netmask_decides_and_prefers_the_nodes_own_address_inside_it() {
        let inside = wish(&[
            ("MUSTER_NODE_ADDRESS", "127.0.0.3"),
            ("MPICH_NETMASK", "127.0.0.0/255.0.0.0"),
        ])
        .unwrap();
        assert_eq!(inside.choose(&[ip("127.0.0.1")]).unwrap(), ip("127.0.0.3"));
        let other = wish(&[("MUSTER_NODE_ADDRESS", "127.0.0.3"), ("MPICH_NETMASK", "10.2.0.0/16")]).unwrap();
        assert_eq!(other.choose(&[ip("10.1.0.5"), ip("10.2.0.5")]).unwrap(), ip("10.2.0.5"));
        let both = wish(&[("MPICH_NETMASK", "10.1.0.0/16"), ("CCP_MPI_NETMASK", "10.2.0.0/16")]).unwrap();
        assert_eq!(both.choose(&[ip("10.1.0.5"), ip("10.2.0.5")]).unwrap(), ip("10.2.0.5"));
    }

    #[test]
    fn a_netmask_that_matches_nothing_names_itself_and_the_addresses() {
        let wish = wish(&[
            ("MUSTER_NODE_ADDRESS", "127.0.0.3"),
            ("MPICH_NETMASK", "172.16.0.0/255.255.0.0"),
        ])
        .unwrap();
        let text = wish.choose(&[ip("127.0.0.1"), ip("10.1.0.5")]).unwrap_err().to_string();
        for part in ["MPICH_NETMASK=172.16.0.0/16", "127.0.0.3, 127.0.0.1, 10.1.0.5"] {
            assert!(text.contains(part), "'{part}' in: {text}");
        }
    }

    #[test]
    fn unreadable_variables_are_errors_not_ignored() {
        let text = wish(&[("MPICH_NETMASK", "lan")]).unwrap_err().to_string();
        assert!(
            text.contains("MPICH_NETMASK=lan") && text.contains("172.16.0.0/16"),
            "{text}"
        );
        assert!(wish(&[("MUSTER_NODE_ADDRESS", "node1")]).is_err());
        assert!(
            wish(&[("MPICH_NETMASK", " ")]).unwrap().network.is_none(),
            "empty means not set"
        );
    }

    #[test]
    fn this_host_has_an_address() {
        assert!(!interface_addresses().unwrap().is_empty());
    }
}
