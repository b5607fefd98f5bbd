//! Commands about nodes and groups.

use proto::ids::{GroupName, NodeName};
use proto::model::node::{AdminState, Deallocation};

use super::{id_of, misplaced};
use crate::args::table::{Key, Verb};
use crate::args::{Options, UsageError};
use crate::value::{self, ValueError};

const NODE_STATES: &[(&str, AdminState)] = &[
    ("Online", AdminState::Online),
    ("Draining", AdminState::Draining),
    ("Offline", AdminState::Offline),
];

/// A checked command about nodes or groups.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum NodeCommand {
    List {
        group: Option<GroupName>,
        states: Vec<AdminState>,
    },
    View(NodeName),
    Switch {
        nodes: Vec<NodeName>,
        admin: AdminState,
        /// What happens to their tasks.
        option: Deallocation,
    },
    Restart {
        nodes: Vec<NodeName>,
        option: Deallocation,
        /// From their image.
        reimage: bool,
    },
    /// Empty means all.
    Watch(Vec<NodeName>),
    Remove {
        nodes: Vec<NodeName>,
        force: bool,
    },
    GroupList,
    GroupAdd {
        group: GroupName,
        nodes: Vec<NodeName>,
    },
    GroupRemove {
        group: GroupName,
        nodes: Vec<NodeName>,
    },
}

/// Checks one.
pub(super) fn checked(verb: Verb, options: &Options, words: &[String]) -> Result<NodeCommand, UsageError> {
    Ok(match verb {
        Verb::NodeList => NodeCommand::List {
            group: options.read(Key::Group, GroupName::new)?,
            states: options.read(Key::NodeState, node_states)?.unwrap_or_default(),
        },
        Verb::NodeView => NodeCommand::View(id_of(verb, words)?),
        Verb::NodeOnline => NodeCommand::Switch {
            nodes: switched(verb, options, words)?,
            admin: AdminState::Online,
            option: Deallocation::default(),
        },
        // HPC Pack's offline lets tasks finish: the node drains first.
        Verb::NodeOffline | Verb::NodeDrain => NodeCommand::Switch {
            nodes: switched(verb, options, words)?,
            admin: AdminState::Draining,
            option: option(options)?,
        },
        Verb::NodeReboot | Verb::NodeReimage => NodeCommand::Restart {
            nodes: node_words(verb, words)?,
            option: option(options)?,
            reimage: verb == Verb::NodeReimage,
        },
        Verb::NodeWatch => NodeCommand::Watch(node_words(verb, words)?),
        Verb::NodeRemove => NodeCommand::Remove {
            nodes: node_words(verb, words)?,
            force: options.flag(Key::Force)?,
        },
        Verb::GroupList => NodeCommand::GroupList,
        Verb::GroupAdd => NodeCommand::GroupAdd {
            group: id_of(verb, words)?,
            nodes: node_words(verb, &words[1..])?,
        },
        Verb::GroupRemove => NodeCommand::GroupRemove {
            group: id_of(verb, words)?,
            nodes: node_words(verb, &words[1..])?,
        },
        _ => return Err(misplaced(verb)),
    })
}

/// `--option`, or the older `--requeue`.
pub(super) fn option(options: &Options) -> Result<Deallocation, UsageError> {
    let named = options.read(Key::Deallocation, value::deallocation)?;
    match (options.one(Key::Requeue), options.flag(Key::Requeue)?, named) {
        (Some(given), true, Some(named)) if named != Deallocation::Requeue => Err(UsageError::Conflict {
            first: given.spelled.clone(),
            second: format!("--option {}", named.word()),
        }),
        (_, true, _) => Ok(Deallocation::Requeue),
        (_, false, named) => Ok(named.unwrap_or_default()),
    }
}

fn node_words(verb: Verb, words: &[String]) -> Result<Vec<NodeName>, UsageError> {
    let mut nodes = Vec::new();
    for word in words {
        let wrong = |error: ValueError| UsageError::BadWord {
            wrong: error.to_string(),
            usage: verb.spec().usage(),
        };
        nodes.extend(value::nodes(word).map_err(wrong)?);
    }
    Ok(nodes)
}

/// Nodes to switch: the head takes no names for all of them.
fn switched(verb: Verb, options: &Options, words: &[String]) -> Result<Vec<NodeName>, UsageError> {
    let all = options.flag(Key::All)?;
    match (all, words.first()) {
        (true, None) => Ok(Vec::new()),
        (false, Some(_)) => node_words(verb, words),
        (true, Some(word)) => Err(UsageError::Conflict {
            first: "--all".to_owned(),
            second: format!("'{word}'"),
        }),
        (false, None) => Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: "a node, or --all",
            usage: verb.spec().usage(),
        }),
    }
}

fn node_states(text: &str) -> Result<Vec<AdminState>, ValueError> {
    let words: Vec<&'static str> = NODE_STATES.iter().map(|(word, _)| *word).collect();
    let given = value::words_of(text, &words)?;
    let named = NODE_STATES
        .iter()
        .filter(|(word, _)| given.iter().any(|given| given == word));
    Ok(named.map(|(_, state)| *state).collect())
}
