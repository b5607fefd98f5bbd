//! Commands about the cluster itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use proto::ids::{GroupName, PoolName, Sequence};
use proto::model::job::Env;
use proto::units::Millis;

use super::{ClusRun, Here, misplaced};
use crate::args::table::{Key, Verb};
use crate::args::{Options, Page, UsageError};
use crate::login::DEFAULT_PORT;
use crate::value;

/// A checked command about the cluster itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum ClusterCommand {
    Up(UpRequest),
    Down {
        purge: bool,
    },
    Env,
    Status,
    Token(Invitation),
    JoinCommand(Invitation),
    Envs,
    Parameters,
    SetEnvs(Env),
    SetParameters(Vec<(String, String)>),
    ServiceInstall {
        /// None means everywhere.
        listen: Option<SocketAddr>,
        print: bool,
    },
    ServiceUninstall,
    ClusRun(Box<ClusRun>),
    Events {
        follow: bool,
        after: Option<Sequence>,
    },
    Doctor {
        probe: bool,
    },
    /// Done by the head node's own program, on its folder: the verb, and a file.
    Store(&'static str, Option<String>),
    Firewall,
    Completions(CompletionShell),
    Complete(Vec<String>),
    Man {
        /// None means the page of `muster`.
        page: Option<Page>,
        /// All pages into a folder.
        dir: Option<PathBuf>,
    },
}

/// For which shell completions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionShell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Who may join with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The pool that nodes join.
    pub pool: PoolName,
    /// Their groups.
    pub groups: Vec<GroupName>,
    /// How many may.
    pub uses: u32,
    /// How long it is good for.
    pub lifetime: Millis,
    /// Where they reach the head node; none means to find out.
    pub head_address: Option<String>,
}

/// What `muster up` shall start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpRequest {
    /// How many compute nodes; none means as many as there were, else four.
    pub nodes: Option<u32>,
    /// Cores that each offers; none means all of the machine.
    pub cores_per_node: Option<u32>,
    /// Of the head node; none means the one it had, else a free one.
    pub port: Option<u16>,
    /// Where the head node listens; none means this machine only.
    pub listen: Option<SocketAddr>,
    /// Throw away what was there.
    pub fresh: bool,
}

/// The pool of nodes that nobody says otherwise of.
const POOL: &str = "default";

/// Their group, as HPC Pack has it.
const GROUP: &str = "ComputeNodes";

/// Checks one.
pub(super) fn checked(
    verb: Verb,
    options: &Options,
    words: &[String],
    here: &Here,
) -> Result<ClusterCommand, UsageError> {
    Ok(match verb {
        Verb::Up => ClusterCommand::Up(up(options)?),
        Verb::Down => ClusterCommand::Down {
            purge: options.flag(Key::Purge)?,
        },
        Verb::Env => ClusterCommand::Env,
        Verb::Status => ClusterCommand::Status,
        Verb::Token => ClusterCommand::Token(invitation(options)?),
        Verb::NodeJoinCommand => ClusterCommand::JoinCommand(invitation(options)?),
        Verb::CfgListEnvs => ClusterCommand::Envs,
        Verb::CfgListParams => ClusterCommand::Parameters,
        Verb::CfgSetEnvs => ClusterCommand::SetEnvs(variables(verb, words)?),
        Verb::CfgSetParams => ClusterCommand::SetParameters(parameters(verb, words)?),
        Verb::ServiceInstall => {
            head_only(verb, words)?;
            ClusterCommand::ServiceInstall {
                listen: options.read(Key::Listen, listen_address)?,
                print: options.flag(Key::Print)?,
            }
        }
        Verb::ServiceUninstall => {
            head_only(verb, words)?;
            ClusterCommand::ServiceUninstall
        }
        Verb::ClusRun => ClusterCommand::ClusRun(Box::new(super::clusrun::checked(
            options,
            words,
            here.directory.as_deref(),
        )?)),
        Verb::Events => ClusterCommand::Events {
            follow: options.flag(Key::FollowEvents)?,
            after: options.read(Key::After, str::parse::<Sequence>)?,
        },
        Verb::Doctor => ClusterCommand::Doctor {
            probe: options.flag(Key::Probe)?,
        },
        Verb::Backup | Verb::Restore | Verb::Dump | Verb::Check | Verb::Compact => {
            ClusterCommand::Store(verb.spec().name, words.first().cloned())
        }
        Verb::Firewall => firewall(verb, words)?,
        Verb::Completions => ClusterCommand::Completions(shell(verb, words)?),
        Verb::Complete => ClusterCommand::Complete(words.to_vec()),
        Verb::Man => ClusterCommand::Man {
            page: words.first().map(|word| page(verb, word)).transpose()?,
            dir: options.text(Key::Dir).map(PathBuf::from),
        },
        _ => return Err(misplaced(verb)),
    })
}

fn up(options: &Options) -> Result<UpRequest, UsageError> {
    let port = options.read(Key::Port, |text| value::number(text, 1, u32::from(u16::MAX)))?;
    let listen = options.read(Key::Listen, listen_address)?;
    if let (Some(port), Some(listen)) = (options.one(Key::Port), options.one(Key::Listen)) {
        return Err(UsageError::Conflict {
            first: port.spelled.clone(),
            second: listen.spelled.clone(),
        });
    }
    Ok(UpRequest {
        nodes: options.read(Key::Nodes, |text| value::number(text, 0, crate::local::MOST_NODES))?,
        cores_per_node: options.read(Key::CoresPerNode, |text| value::number(text, 1, 65_536))?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        listen,
        fresh: options.flag(Key::Fresh)?,
    })
}

/// `ADDRESS` or `ADDRESS:PORT`; without a port the usual one.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = bare
        .map(|ip| SocketAddr::new(ip, DEFAULT_PORT))
        .or_else(|_| text.parse());
    address.map_err(|_| "use an address of this machine, for example 10.0.0.1 or 0.0.0.0:8745".to_owned())
}

fn invitation(options: &Options) -> Result<Invitation, UsageError> {
    // Both constants are names: a test of this file reads them.
    let named = |error: proto::ids::IdError| UsageError::BadWord {
        wrong: error.to_string(),
        usage: Verb::NodeJoinCommand.spec().usage(),
    };
    let pool = match options.read(Key::Pool, PoolName::new)? {
        Some(pool) => pool,
        None => PoolName::new(POOL).map_err(named)?,
    };
    let groups = match options.read(Key::Groups, value::groups)? {
        Some(groups) => groups,
        None => vec![GroupName::new(GROUP).map_err(named)?],
    };
    Ok(Invitation {
        pool,
        groups,
        uses: options
            .read(Key::Uses, |text| value::number(text, 1, 1_000_000))?
            .unwrap_or(1),
        lifetime: options
            .read(Key::Lifetime, value::span)?
            .unwrap_or(Millis::from_seconds(3600)),
        head_address: options.text(Key::HeadAddress).map(str::to_owned),
    })
}

fn bad(verb: Verb, wrong: String) -> UsageError {
    UsageError::BadWord {
        wrong,
        usage: verb.spec().usage(),
    }
}

/// Each word is one variable: what the shell took for one word stays one, semicolons included.
fn variables(verb: Verb, words: &[String]) -> Result<Env, UsageError> {
    let mut env = Env::new();
    for (name, value) in pairs(verb, words)? {
        env.insert(name, (!value.is_empty()).then_some(value));
    }
    Ok(env)
}

fn parameters(verb: Verb, words: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    pairs(verb, words)
}

fn pairs(verb: Verb, words: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(bad(verb, format!("'{word}' is no NAME=VALUE"))),
    };
    words.iter().map(pair).collect()
}

/// The head node is the only service that this program installs; nodes bring their own.
fn head_only(verb: Verb, words: &[String]) -> Result<(), UsageError> {
    match words.first() {
        None => Ok(()),
        Some(word) if word.eq_ignore_ascii_case("head") => Ok(()),
        Some(word) => Err(bad(
            verb,
            format!("'{word}' is no service that this program installs; a node's comes with 'muster-computenode join'"),
        )),
    }
}

/// HPC Pack's words change firewalls; ours say what to open, whatever the word.
fn firewall(verb: Verb, words: &[String]) -> Result<ClusterCommand, UsageError> {
    const KNOWN: [&str; 4] = ["register", "unregister", "open", "show"];
    match words.first() {
        Some(word) if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(word)) => Err(bad(
            verb,
            format!(
                "'{word}' is nothing that 'hpcfwutil' does; it knows {}",
                KNOWN.join(", ")
            ),
        )),
        _ => Ok(ClusterCommand::Firewall),
    }
}

fn shell(verb: Verb, words: &[String]) -> Result<CompletionShell, UsageError> {
    let word = words.first().map_or("", String::as_str);
    match value::word(word, &["bash", "zsh", "fish"]) {
        Ok("bash") => Ok(CompletionShell::Bash),
        Ok("zsh") => Ok(CompletionShell::Zsh),
        Ok(_) => Ok(CompletionShell::Fish),
        Err(error) => Err(bad(verb, format!("'{word}': {error}"))),
    }
}

fn page(verb: Verb, word: &str) -> Result<Page, UsageError> {
    Page::named(word).ok_or_else(|| bad(verb, format!("there is no page '{word}'; there are {}", Page::names())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_names() {
        assert!(PoolName::new(POOL).is_ok() && GroupName::new(GROUP).is_ok());
    }

    #[test]
    fn addresses_to_listen_at() {
        let shown = |text| listen_address(text).map(|address| address.to_string());
        assert_eq!(shown("10.0.0.1"), Ok("10.0.0.1:8745".to_owned()));
        assert_eq!(shown("0.0.0.0:9000"), Ok("0.0.0.0:9000".to_owned()));
        assert_eq!(shown("::"), Ok("[::]:8745".to_owned()));
        assert_eq!(shown("[::1]:9"), Ok("[::1]:9".to_owned()));
        for wrong in ["", "head", "10.0.0.1:x", "10.0.0"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
