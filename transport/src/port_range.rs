//! The UDP ports on which the proxies and ranks of tasks listen, where an administrator wants to know them.
//!
//! A node's settings name the range; tasks find it in `MUSTER_PORT_RANGE`. Without one the system chooses.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// The variable in which tasks find their node's range.
pub const PORT_RANGE_VARIABLE: &str = "MUSTER_PORT_RANGE";

/// A range as it is written: `41000-41999`, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A text that is no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no range of ports: write FIRST-LAST with numbers from 1 to 65535, the smaller one first, for example 41000-41999"
)]
pub struct PortRangeError {
    /// What was written.
    pub text: String,
}

impl PortRange {
    /// The range of the task that this program belongs to; none when its node has none.
    ///
    /// # Errors
    /// When the variable is set to something else; an [`io::Error`] of kind `InvalidInput` that names it.
    pub fn of_task() -> io::Result<Option<Self>> {
        let Some(text) = std::env::var_os(PORT_RANGE_VARIABLE) else {
            return Ok(None);
        };
        let range = text.to_string_lossy().parse().map_err(|error: PortRangeError| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{PORT_RANGE_VARIABLE}: {error}"))
        })?;
        Ok(Some(range))
    }

    /// The first and the last one.
    #[must_use]
    pub const fn bounds(self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// All of them, beginning anywhere, so that programs that look for a port do not all try the same ones.
    fn in_turn(self) -> impl Iterator<Item = u16> {
        let count = u32::from(self.last - self.first) + 1;
        let mut random = [0; 4];
        // Without randomness the search begins at the first, which is slower and nothing else.
        let _ = SystemRandom::new().fill(&mut random);
        let start = u32::from_le_bytes(random) % count;
        (0..count).filter_map(move |step| u16::try_from(u32::from(self.first) + (start + step) % count).ok())
    }
}

/// Binds on an address: to a free port of the range, or to any when there is none.
///
/// # Errors
/// What `bind` says; when every port of the range is taken, one that names the range.
pub fn bind<T>(
    range: Option<PortRange>,
    address: IpAddr,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let Some(range) = range else {
        return bind(SocketAddr::new(address, 0));
    };
    for port in range.in_turn() {
        match bind(SocketAddr::new(address, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!(
            "every UDP port of the range {range} is in use on {address}; a launch takes one for mpiexec and one for each rank: \
             give the node a larger range (ports in its settings)"
        ),
    ))
}

impl FromStr for PortRange {
    type Err = PortRangeError;
    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let number = |digits: &str| digits.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let range = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Self { first, last })
        });
        range.ok_or_else(|| PortRangeError { text: text.to_owned() })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl TryFrom<String> for PortRange {
    type Error = PortRangeError;
    fn try_from(text: String) -> Result<Self, PortRangeError> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_as_it_is_written() {
        let range: PortRange = "41000-41999".parse().expect("a range");
        assert_eq!(
            (range.to_string().as_str(), range.bounds()),
            ("41000-41999", (41_000, 41_999))
        );
        assert_eq!("7-7".parse::<PortRange>().map(String::from), Ok("7-7".to_owned()));
        for text in ["", "41000", "2-1", "0-5", "1-65536", "a-b", "1-2-3"] {
            let error = text.parse::<PortRange>().expect_err("is none").to_string();
            assert!(error.contains("41000-41999"), "{error}");
        }
    }

    #[test]
    fn a_free_port_of_the_range_is_found_and_an_exhausted_range_is_named() {
        let range: PortRange = "1-65535".parse().expect("a range");
        assert_eq!(range.in_turn().count(), 65_535);
        let range: PortRange = "10-12".parse().expect("a range");
        let address = IpAddr::from([127, 0, 0, 1]);
        let taken = |free: u16| {
            move |address: SocketAddr| match address.port() == free {
                true => Ok(address.port()),
                false => Err(io::Error::from(io::ErrorKind::AddrInUse)),
            }
        };
        assert_eq!(bind(Some(range), address, taken(11)).expect("is free"), 11);
        assert_eq!(bind(None, address, taken(0)).expect("any"), 0);
        let error = bind(Some(range), address, taken(13)).expect_err("all are taken");
        assert!(error.to_string().contains("10-12"), "{error}");
    }
}
