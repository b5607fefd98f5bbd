//! How the ranks of a launch find each other: each puts a card, all meet in a barrier, each gets all cards.
//!
//! The launcher's side is PMI-1, over the inherited socket `PMI_FD` or the address in `PMI_PORT`, so this runs under
//! Muster's launcher and under Hydra alike. `pmi::pmi1::client` knows the protocol; here is only its socket. Reads have no
//! deadline, because a barrier lasts as long as the slowest rank needs to start; a launcher that dies closes the socket.
//!
//! A card is `NODE/ADDRESS`: the name of the node and the rank's address. A host is the name the launcher gave its node,
//! never the kernel: the nodes of one machine are several.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;

use pmi::pmi1::client::{LineError, Reply, Request};
use pmi::pmi1::parse::{Line, Lines, ParseError};
use proto::ids::Rank;
use transport::rank_address::{RankAddress, RankAddressError};

/// No node name is shown longer than this.
const NODE_NAME_MAX_BYTES: usize = 64;

/// Why the ranks did not find each other.
#[derive(Debug, thiserror::Error)]
pub enum WireupError {
    /// No launcher.
    #[error("no launcher: neither PMI_FD nor PMI_PORT is set")]
    NoLauncher,
    /// A variable of the launcher cannot be read.
    #[error("{variable}={text}: expected {expected}")]
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        text: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The socket to the launcher.
    #[error("talking to the launcher failed while {doing}")]
    Socket {
        /// What was done.
        doing: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The launcher closed the socket.
    #[error("the launcher ended the conversation while {doing}")]
    Closed {
        /// What was done.
        doing: &'static str,
    },
    /// A line that PMI-1 does not have.
    #[error("the launcher's answer while {doing} cannot be read")]
    Unreadable {
        /// What was done.
        doing: &'static str,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// An answer to another question, or a refusal.
    #[error("the launcher answered {reply:?} while {doing}")]
    Unexpected {
        /// What was done.
        doing: &'static str,
        /// What came.
        reply: Box<Reply>,
    },
    /// Something of ours cannot go over PMI-1.
    #[error("a request to the launcher cannot be written")]
    Unsendable(#[from] LineError),
    /// The launcher takes only shorter values.
    #[error("the launcher takes values of {limit} bytes, a rank's card has {bytes}")]
    ValueTooLong {
        /// The launcher's bound.
        limit: usize,
        /// What is needed.
        bytes: usize,
    },
    /// Another rank's card cannot be read.
    #[error("rank {rank} published '{text}', which is no card; are all ranks the same program?")]
    BadCard {
        /// Whose.
        rank: Rank,
        /// What it published.
        text: String,
        /// What is wrong with the address, when there is one.
        #[source]
        source: Option<RankAddressError>,
    },
}

/// What a rank tells the others of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The node it runs on.
    pub node: String,
    /// Where it can be reached.
    pub address: RankAddress,
}

/// A conversation with the launcher.
#[derive(Debug)]
pub struct Launcher {
    socket: Socket,
    lines: Lines,
    rank: Rank,
    size: u32,
    kvsname: String,
    value_max_bytes: usize,
}

#[derive(Debug)]
enum Socket {
    Inherited(UnixStream),
    Dialled(TcpStream),
}

impl Launcher {
    /// Opens the conversation that the environment offers.
    ///
    /// # Errors
    /// [`WireupError::NoLauncher`] without one; else what went wrong with it.
    pub fn connect() -> Result<Self, WireupError> {
        let mut launcher = match (variable("PMI_FD"), variable("PMI_PORT")) {
            (Some(text), _) => Self::inherited(&text)?,
            (None, Some(address)) => Self::dialled(&address)?,
            (None, None) => return Err(WireupError::NoLauncher),
        };
        match launcher.ask("greeting it", &Request::Init)? {
            Reply::Init { .. } => {}
            other => return Err(unexpected("greeting it", other)),
        }
        match launcher.ask("asking for limits", &Request::GetMaxes)? {
            Reply::Maxes { value, .. } => launcher.value_max_bytes = value,
            other => return Err(unexpected("asking for limits", other)),
        }
        match launcher.ask("asking for the launch's name", &Request::GetMyKvsname)? {
            Reply::MyKvsname(name) => launcher.kvsname = name,
            other => return Err(unexpected("asking for the launch's name", other)),
        }
        Ok(launcher)
    }

    /// This rank.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// How many ranks the launch has.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Publishes this rank's card and returns everyone's, in order of ranks. All ranks call it once.
    ///
    /// # Errors
    /// When the launcher or a card cannot be understood.
    pub fn exchange(&mut self, own: &Card) -> Result<Vec<Card>, WireupError> {
        let value = own.to_text();
        if value.len() > self.value_max_bytes {
            return Err(WireupError::ValueTooLong {
                limit: self.value_max_bytes,
                bytes: value.len(),
            });
        }
        let put = Request::Put {
            kvsname: self.kvsname.clone(),
            key: key(self.rank),
            value,
        };
        match self.ask("publishing this rank's address", &put)? {
            Reply::Put => {}
            other => return Err(unexpected("publishing this rank's address", other)),
        }
        self.meet()?;
        (0..self.size).map(|rank| self.card(Rank(rank))).collect()
    }

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// When the launcher is gone or answers something else.
    pub fn meet(&mut self) -> Result<(), WireupError> {
        match self.ask("waiting for all ranks", &Request::Barrier)? {
            Reply::BarrierOut => Ok(()),
            other => Err(unexpected("waiting for all ranks", other)),
        }
    }

    /// Ends the conversation in order. A rank that ends without it counts as failed.
    ///
    /// # Errors
    /// When the launcher is gone or answers something else.
    pub fn finalize(mut self) -> Result<(), WireupError> {
        match self.ask("ending", &Request::Finalize)? {
            Reply::Finalized => Ok(()),
            other => Err(unexpected("ending", other)),
        }
    }

    fn inherited(text: &str) -> Result<Self, WireupError> {
        let expected = "the number of an open socket; it is set by mpiexec";
        let bad = || WireupError::BadVariable {
            variable: "PMI_FD",
            text: text.to_owned(),
            expected,
        };
        let descriptor: RawFd = text.parse().map_err(|_| bad())?;
        // The standard streams and closed descriptors are not ours to take.
        if descriptor <= 2 || !fs::exists(format!("/proc/self/fd/{descriptor}")).unwrap_or(true) {
            return Err(bad());
        }
        // SAFETY: the descriptor is open, and the launcher handed it to this process for this conversation alone, so
        // nothing else in the process owns it; it is taken once, here, before any other file is opened.
        let socket = unsafe { UnixStream::from_raw_fd(descriptor) };
        let rank = number("PMI_RANK")?;
        let size = number("PMI_SIZE")?;
        Ok(Self::new(Socket::Inherited(socket), Rank(rank), size))
    }

    /// Over TCP the launcher first wants to know who calls, and tells rank and size.
    fn dialled(address: &str) -> Result<Self, WireupError> {
        let doing = "connecting to PMI_PORT";
        let id: u32 = number("PMI_ID")?;
        let socket = TcpStream::connect(address).map_err(|source| WireupError::Socket { doing, source })?;
        let mut launcher = Self::new(Socket::Dialled(socket), Rank(id), 0);
        launcher.write(doing, &format!("cmd=initack pmiid={id}\n"))?;
        let unreadable = |source| WireupError::Unreadable { doing, source };
        for field in ["initack", "size", "rank", "debug"] {
            let text = launcher.read_line(doing)?;
            let line = Line::parse(&text).map_err(unreadable)?;
            match field {
                "size" => launcher.size = line.number("size").map_err(unreadable)?,
                "rank" => launcher.rank = Rank(line.number("rank").map_err(unreadable)?),
                _ => {}
            }
        }
        Ok(launcher)
    }

    fn new(socket: Socket, rank: Rank, size: u32) -> Self {
        Self {
            socket,
            lines: Lines::new(),
            rank,
            size,
            kvsname: String::new(),
            value_max_bytes: 0,
        }
    }

    fn card(&mut self, rank: Rank) -> Result<Card, WireupError> {
        let doing = "asking for the addresses of the others";
        let get = Request::Get {
            kvsname: self.kvsname.clone(),
            key: key(rank),
        };
        match self.ask(doing, &get)? {
            Reply::Value(text) => Card::from_text(rank, &text),
            other => Err(unexpected(doing, other)),
        }
    }

    fn ask(&mut self, doing: &'static str, request: &Request) -> Result<Reply, WireupError> {
        self.write(doing, &request.line()?)?;
        let line = self.read_line(doing)?;
        Reply::parse(&line).map_err(|source| WireupError::Unreadable { doing, source })
    }

    fn write(&mut self, doing: &'static str, line: &str) -> Result<(), WireupError> {
        let outcome = match &mut self.socket {
            Socket::Inherited(socket) => socket.write_all(line.as_bytes()),
            Socket::Dialled(socket) => socket.write_all(line.as_bytes()),
        };
        outcome.map_err(|source| WireupError::Socket { doing, source })
    }

    fn read_line(&mut self, doing: &'static str) -> Result<String, WireupError> {
        let mut buffer = [0; 1024];
        loop {
            if let Some(line) = self
                .lines
                .next_line()
                .map_err(|source| WireupError::Unreadable { doing, source })?
            {
                return Ok(line);
            }
            let outcome = match &mut self.socket {
                Socket::Inherited(socket) => socket.read(&mut buffer),
                Socket::Dialled(socket) => socket.read(&mut buffer),
            };
            match outcome {
                Ok(0) => return Err(WireupError::Closed { doing }),
                Ok(count) => self.lines.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(WireupError::Socket { doing, source }),
            }
        }
    }
}

impl Card {
    fn to_text(&self) -> String {
        format!("{}/{}", self.node, self.address)
    }

    fn from_text(rank: Rank, text: &str) -> Result<Self, WireupError> {
        let bad = |source| WireupError::BadCard {
            rank,
            text: text.to_owned(),
            source,
        };
        let (node, address) = text.split_once('/').ok_or_else(|| bad(None))?;
        let address = address.parse().map_err(|error| bad(Some(error)))?;
        Ok(Self {
            node: node.to_owned(),
            address,
        })
    }
}

/// The name of the node this rank runs on: the launcher's, else the host's.
#[must_use]
pub fn node_name() -> String {
    let named = variable("MUSTER_NODE_NAME").or_else(|| fs::read_to_string("/proc/sys/kernel/hostname").ok());
    sendable_name(named.as_deref().unwrap_or_default().trim())
}

/// A name as it can go into a card: PMI-1 has no spaces, and `/` ends the name.
fn sendable_name(name: &str) -> String {
    let mut clean: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_graphic() && letter != '/' {
                letter
            } else {
                '_'
            }
        })
        .take(NODE_NAME_MAX_BYTES)
        .collect();
    if clean.is_empty() {
        clean.push_str("unnamed");
    }
    clean
}

fn key(rank: Rank) -> String {
    format!("muster-card-{rank}")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &'static str) -> Result<u32, WireupError> {
    let text = variable(name).unwrap_or_default();
    text.parse().map_err(|_| WireupError::BadVariable {
        variable: name,
        text,
        expected: "a whole number; it is set by mpiexec",
    })
}

fn unexpected(doing: &'static str, reply: Reply) -> WireupError {
    WireupError::Unexpected {
        doing,
        reply: Box::new(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> RankAddress {
        format!("muster1,quic=127.0.0.2:4242,sha256={}", "0a".repeat(32))
            .parse()
            .unwrap()
    }

    #[test]
    fn a_card_survives_its_text_form_and_fits_any_launcher() {
        let card = Card {
            node: sendable_name(&"n".repeat(500)),
            address: address(),
        };
        let text = card.to_text();
        assert!(text.len() <= 256 && !text.contains(' '), "{text}");
        assert_eq!(Card::from_text(Rank(1), &text).unwrap(), card);
    }

    #[test]
    fn what_is_no_card_is_named_with_its_rank() {
        for text in ["", "node1", "node1/elsewhere"] {
            let error = Card::from_text(Rank(3), text).unwrap_err().to_string();
            assert!(error.contains("rank 3"), "{error}");
        }
    }

    #[test]
    fn names_are_made_sendable() {
        assert_eq!(sendable_name("node 1/a"), "node_1_a");
        assert_eq!(sendable_name(""), "unnamed");
        assert!(!node_name().is_empty());
    }

    #[test]
    fn a_conversation_goes_line_by_line() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut asked = String::new();
            let mut answer = |expected: &str, reply: &str| {
                let mut byte = [0];
                let mut line = String::new();
                while !line.ends_with('\n') && theirs.read(&mut byte).unwrap() == 1 {
                    line.push(char::from(byte[0]));
                }
                assert!(line.starts_with(expected), "{line}");
                theirs.write_all(reply.as_bytes()).unwrap();
                asked.push_str(&line);
            };
            answer(
                "cmd=put kvsname=kvs key=muster-card-0 value=node1/muster1,",
                "cmd=put_result rc=0 msg=success\n",
            );
            answer("cmd=barrier_in", "cmd=barrier_out rc=0\n");
            let card = Card {
                node: "node1".into(),
                address: address(),
            }
            .to_text();
            answer(
                "cmd=get kvsname=kvs key=muster-card-0",
                &format!("cmd=get_result rc=0 msg=success value={card}\n"),
            );
            answer("cmd=finalize", "cmd=finalize_ack rc=0\n");
        });
        let mut launcher = Launcher::new(Socket::Inherited(ours), Rank(0), 1);
        launcher.kvsname = "kvs".to_owned();
        launcher.value_max_bytes = 1024;
        let card = Card {
            node: "node1".into(),
            address: address(),
        };
        assert_eq!(launcher.exchange(&card).unwrap(), [card]);
        launcher.finalize().unwrap();
        server.join().unwrap();
    }
}
