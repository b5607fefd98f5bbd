//! The server's side of PMI-1 for the ranks of one node.
//!
//! Feed it each line of a rank ([`Server::handle_line`]), the end of each rank's socket ([`Server::handle_gone`]) and the
//! answer to each fence ([`Server::handle_fence_out`]); carry out what it returns, in order. It answers everything locally
//! except barriers: when all ranks of the node are in one, it returns [`Output::FenceIn`] with what they put.
//!
//! ```text
//! rank:  Silent -> Talking -> Finalized -> (gone)
//!            \        \--------------------> Left: others would wait for it for ever
//!             \-> (gone: a program without MPI)
//! ```
//!
//! Spawning and name publishing are refused with `rc=-1`, which an MPI program sees as an error code, not as a crash.

use std::collections::BTreeMap;

use proto::ids::Rank;
use proto::taskmap::TaskMap;

use super::parse::{Line, ParseError};
use crate::fence::Fence;
use crate::kvs::{Kvs, KvsError, Pair};
use crate::limits::{MAX_KEY_BYTES, MAX_KVSNAME_BYTES, MAX_VALUE_BYTES};
use crate::process_map;

/// What the server tells ranks about their launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The name of the key-value space, without spaces; unique on the host, because MPI libraries make file names of it.
    pub kvsname: String,
    /// How many ranks the launch may ever have; absent when unknown.
    pub universe_size: Option<u32>,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write this line, newline included, to the rank's socket.
    Reply {
        /// To whom.
        rank: Rank,
        /// What.
        line: String,
    },
    /// All ranks of this node are in a barrier: bring these pairs to the other nodes.
    FenceIn {
        /// What ranks of this node put since the last fence.
        pairs: Vec<Pair>,
    },
    /// A rank asked to end the launch.
    Abort {
        /// Who.
        rank: Rank,
        /// The exit code, 1 to 255.
        code: u8,
    },
    /// A rank is gone without having finalized, so the launch cannot go on.
    Left {
        /// Who.
        rank: Rank,
    },
    /// A rank broke the protocol, so the launch cannot go on.
    Broken {
        /// Who.
        rank: Rank,
        /// How.
        violation: Violation,
    },
}

/// How a rank broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A line that cannot be read.
    #[error(transparent)]
    Line(#[from] ParseError),
    /// A barrier inside a barrier, or a command while it must wait for the answer to another.
    #[error("it sent '{command}' while it waits in a barrier")]
    InBarrier {
        /// The command.
        command: String,
    },
    /// Together the ranks put more than a launch may.
    #[error("{0}")]
    Space(KvsError),
}

/// Where the conversation with a rank stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Silent,
    Talking,
    Spawning { total: u64, so_far: u64 },
    Finalized,
    Gone,
}

/// The engine of one node. The calling order is in the module's text.
#[derive(Debug)]
pub struct Server {
    facts: Facts,
    process_mapping: Option<String>,
    ranks: BTreeMap<Rank, Talk>,
    kvs: Kvs,
    fence: Fence<Rank>,
    /// All local ranks are in the barrier and the other nodes are awaited.
    fence_sent: bool,
}

impl Server {
    /// A server for the ranks that `map` has on its `node`.
    #[must_use]
    pub fn new(facts: Facts, map: &TaskMap, node: u32) -> Self {
        let ranks: BTreeMap<Rank, Talk> = map.ranks_of(node).map(|rank| (rank, Talk::Silent)).collect();
        let fence = Fence::new(ranks.keys().copied());
        let process_mapping = process_map::encode(map);
        Self {
            facts,
            process_mapping,
            ranks,
            kvs: Kvs::new(),
            fence,
            fence_sent: false,
        }
    }

    /// A rank sent a line, given with or without its newline.
    pub fn handle_line(&mut self, rank: Rank, text: &str) -> Vec<Output> {
        match self.ranks.get(&rank) {
            None | Some(Talk::Gone) => return Vec::new(),
            Some(Talk::Spawning { total, so_far }) => {
                let (total, so_far) = (*total, *so_far);
                return self.continue_spawn(rank, text, total, so_far);
            }
            Some(Talk::Silent | Talk::Talking | Talk::Finalized) => {}
        }
        // An abort carries free text in some MPI libraries, so it is looked for before the grammar applies.
        if let Some(code) = abort_code(text) {
            return vec![Output::Abort { rank, code }];
        }
        let line = match Line::parse(text) {
            Ok(line) => line,
            Err(error) => {
                return vec![Output::Broken {
                    rank,
                    violation: error.into(),
                }];
            }
        };
        if self.fence.has_arrived(rank) || self.fence_sent {
            let command = line.command().to_owned();
            return vec![Output::Broken {
                rank,
                violation: Violation::InBarrier { command },
            }];
        }
        if self.ranks.get(&rank) == Some(&Talk::Silent) {
            self.set(rank, Talk::Talking);
        }
        self.answer(rank, &line).unwrap_or_else(|error| {
            vec![Output::Broken {
                rank,
                violation: error.into(),
            }]
        })
    }

    /// A line could not be taken from a rank's socket: it has no end, or it is no text.
    pub fn handle_broken_stream(&mut self, rank: Rank, error: ParseError) -> Vec<Output> {
        vec![Output::Broken {
            rank,
            violation: error.into(),
        }]
    }

    /// A rank's socket is at its end.
    pub fn handle_gone(&mut self, rank: Rank) -> Vec<Output> {
        let Some(talk) = self.ranks.get_mut(&rank) else {
            return Vec::new();
        };
        let before = std::mem::replace(talk, Talk::Gone);
        match before {
            Talk::Gone | Talk::Finalized => Vec::new(),
            // A program without MPI beside others without MPI is fine; beside ranks that wait for it, it is not.
            Talk::Silent if !self.fence.is_waiting() => Vec::new(),
            Talk::Silent | Talk::Talking | Talk::Spawning { .. } => vec![Output::Left { rank }],
        }
    }

    /// Every node arrived in the fence; these are the pairs of all of them.
    pub fn handle_fence_out(&mut self, pairs: Vec<Pair>) -> Vec<Output> {
        if !std::mem::take(&mut self.fence_sent) {
            return Vec::new();
        }
        if let Err(error) = self.kvs.commit(pairs) {
            let first = self.ranks.keys().next().copied();
            return first
                .map(|rank| Output::Broken {
                    rank,
                    violation: Violation::Space(error),
                })
                .into_iter()
                .collect();
        }
        let waiting = self.ranks.iter().filter(|(_, talk)| **talk != Talk::Gone);
        waiting.map(|(rank, _)| reply(*rank, "cmd=barrier_out rc=0")).collect()
    }

    fn answer(&mut self, rank: Rank, line: &Line<'_>) -> Result<Vec<Output>, ParseError> {
        let text = match line.command() {
            "spawn" if line.is_multi() => {
                self.set(rank, Talk::Spawning { total: 1, so_far: 1 });
                return Ok(Vec::new());
            }
            "init" => init(line)?,
            "get_maxes" => format!(
                "cmd=maxes kvsname_max={MAX_KVSNAME_BYTES} keylen_max={MAX_KEY_BYTES} vallen_max={MAX_VALUE_BYTES}"
            ),
            "get_appnum" => "cmd=appnum rc=0 appnum=0".to_owned(),
            "get_my_kvsname" => format!("cmd=my_kvsname rc=0 kvsname={}", self.facts.kvsname),
            "get_universe_size" => {
                let size = self.facts.universe_size.map_or(-1, i64::from);
                format!("cmd=universe_size rc=0 size={size}")
            }
            "put" => self.put(line)?,
            "get" => self.value(line)?,
            "barrier_in" if line.field("group").is_none() => return Ok(self.barrier(rank)),
            "barrier_in" => "cmd=barrier_out rc=-1 msg=groups_are_not_supported".to_owned(),
            "finalize" => {
                self.set(rank, Talk::Finalized);
                "cmd=finalize_ack rc=0".to_owned()
            }
            "publish_name" => "cmd=publish_result rc=-1 msg=names_are_not_supported".to_owned(),
            "lookup_name" => "cmd=lookup_result rc=-1 msg=names_are_not_supported".to_owned(),
            "unpublish_name" => "cmd=unpublish_result rc=-1 msg=names_are_not_supported".to_owned(),
            other => format!("cmd={other}_result rc=-1 msg=unknown_command"),
        };
        Ok(vec![reply(rank, &text)])
    }

    fn put(&mut self, line: &Line<'_>) -> Result<String, ParseError> {
        let (space, key, value) = (
            line.required("kvsname")?,
            line.required("key")?,
            line.required("value")?,
        );
        let refused = if space == self.facts.kvsname {
            self.kvs.put(key, value).err().map(reason)
        } else {
            Some("unknown_kvsname")
        };
        Ok(refused.map_or_else(
            || "cmd=put_result rc=0 msg=success".to_owned(),
            |reason| format!("cmd=put_result rc=-1 msg={reason}"),
        ))
    }

    fn value(&self, line: &Line<'_>) -> Result<String, ParseError> {
        let (space, key) = (line.required("kvsname")?, line.required("key")?);
        let found = match key {
            _ if space != self.facts.kvsname => Err("unknown_kvsname"),
            process_map::KEY => self.process_mapping.as_deref().ok_or("no_process_mapping"),
            _ => self.kvs.value(key).ok_or("key_not_found"),
        };
        Ok(match found {
            Ok(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
            Err(reason) => format!("cmd=get_result rc=-1 msg={reason} value=unknown"),
        })
    }

    fn barrier(&mut self, rank: Rank) -> Vec<Output> {
        // Whoever is gone can never arrive, and saying so now is better than a launch that hangs.
        if let Some((gone, _)) = self.ranks.iter().find(|(_, talk)| **talk == Talk::Gone) {
            return vec![Output::Left { rank: *gone }];
        }
        match self.fence.arrive(rank, Vec::new()) {
            Ok(Some(_)) => {
                self.fence_sent = true;
                vec![Output::FenceIn {
                    pairs: self.kvs.drain(),
                }]
            }
            // The caller has checked that this rank is a member that has not arrived.
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    /// Lines of a spawn request are read to its end, so that the one reply comes when the client waits for it.
    fn continue_spawn(&mut self, rank: Rank, text: &str, total: u64, so_far: u64) -> Vec<Output> {
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let next = match text.trim_end().split_once('=') {
            None if text.trim_end() == "endcmd" && so_far >= total => {
                self.set(rank, Talk::Talking);
                return vec![reply(rank, "cmd=spawn_result rc=-1 msg=spawning_is_not_supported")];
            }
            Some(("totspawns", n)) => Talk::Spawning {
                total: number(n),
                so_far,
            },
            Some(("spawnssofar", n)) => Talk::Spawning {
                total,
                so_far: number(n),
            },
            _ => Talk::Spawning { total, so_far },
        };
        self.set(rank, next);
        Vec::new()
    }

    fn set(&mut self, rank: Rank, talk: Talk) {
        self.ranks.insert(rank, talk);
    }
}

fn init(line: &Line<'_>) -> Result<String, ParseError> {
    // Any subversion is taken and 1 is answered: a client of 1.2 then leaves barrier groups alone.
    let rc = if line.number::<u32>("pmi_version")? == 1 { 0 } else { -1 };
    Ok(format!("cmd=response_to_init rc={rc} pmi_version=1 pmi_subversion=1"))
}

fn reply(rank: Rank, text: &str) -> Output {
    Output::Reply {
        rank,
        line: format!("{text}\n"),
    }
}

/// A reason in one word, because a value of the protocol ends at a space.
const fn reason(error: KvsError) -> &'static str {
    match error {
        KvsError::Key { .. } => "bad_key_length",
        KvsError::Value { .. } => "value_too_long",
        KvsError::Full => "kvs_full",
    }
}

/// The exit code of an abort: 8 bits as the system has them, and never 0, because an abort is no success.
fn abort_code(text: &str) -> Option<u8> {
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some("cmd=abort") {
        return None;
    }
    let code = words
        .find_map(|word| word.strip_prefix("exitcode="))
        .and_then(|code| code.parse::<i64>().ok());
    let [low, ..] = code.unwrap_or(1).to_le_bytes();
    Some(low.max(1))
}

#[cfg(test)]
mod tests;
