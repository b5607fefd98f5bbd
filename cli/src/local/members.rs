//! Which of the asked nodes `muster up` starts: those that are members, and new ones as far as the pool takes them.
//!
//! A node that was taken out of the cluster must not be started as it is: its certificate is void, and its agent ends at
//! once. It joins anew where somebody asks for it by number, else it is left out and said so.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use proto::client::{NodeView, PoolView};
use proto::model::node::{AdminState, Liveness, NodeErrandKind};

use super::{LocalError, StateFolder};

/// What is known of the cluster before nodes are started.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    /// Members of the cluster that stay.
    pub(super) stay: BTreeSet<&'a str>,
    /// Members that are to leave as soon as they hold nothing.
    pub(super) leave: BTreeSet<&'a str>,
    /// How many more nodes the pool takes; none for as many as join.
    pub(super) room: Option<usize>,
}

impl<'a> Known<'a> {
    /// As the head node tells it.
    pub(super) fn of(nodes: &'a [NodeView], pools: &[PoolView], pool: &str) -> Self {
        let leaves = |node: &&NodeView| {
            let errand = node.row.errand.as_ref();
            errand.is_some_and(|errand| errand.kind == NodeErrandKind::Leave)
        };
        let (leave, stay): (Vec<&NodeView>, Vec<&NodeView>) = nodes.iter().partition(leaves);
        let in_pool = stay.iter().filter(|node| node.row.pool.as_str() == pool).count();
        let row = pools.iter().find(|view| view.row.name.as_str() == pool);
        let wanted = row.and_then(|view| view.row.spec.wanted);
        let names = |nodes: Vec<&'a NodeView>| nodes.into_iter().map(|node| node.row.name.as_str()).collect();
        Self {
            stay: names(stay),
            leave: names(leave),
            room: wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX).saturating_sub(in_pool)),
        }
    }
}

/// What becomes of the nodes that are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Intake {
    /// These are to run.
    pub(super) run: Vec<String>,
    /// Of these the old membership has to be forgotten first.
    pub(super) anew: Vec<String>,
    /// Taken out of the cluster, and not asked for again.
    pub(super) gone: Vec<String>,
    /// The pool is to have fewer nodes.
    pub(super) unwanted: Vec<String>,
    /// About to leave.
    pub(super) leaving: Vec<String>,
}

/// Sorts the names. `asked`: somebody said how many nodes there are to be; `was_member` tells who joined once.
pub(super) fn intake(names: Vec<String>, asked: bool, known: &Known<'_>, was_member: impl Fn(&str) -> bool) -> Intake {
    let mut intake = Intake::default();
    let mut room = known.room;
    for name in names {
        if known.stay.contains(name.as_str()) {
            intake.run.push(name);
        } else if known.leave.contains(name.as_str()) {
            intake.leaving.push(name);
        } else if room == Some(0) {
            intake.unwanted.push(name);
        } else if was_member(&name) && !asked {
            intake.gone.push(name);
        } else {
            room = room.map(|room| room - 1);
            if was_member(&name) {
                intake.anew.push(name.clone());
            }
            intake.run.push(name);
        }
    }
    intake
}

impl Intake {
    /// For people, a line for each kind that is not started.
    pub(super) fn notes(&self, pool: &str) -> Vec<String> {
        let mut notes = Vec::new();
        let mut say = |names: &[String], words: String| {
            if !names.is_empty() {
                notes.push(format!("Not started: {}: {words}", names.join(", ")));
            }
        };
        let most = self
            .gone
            .iter()
            .chain(&self.run)
            .filter_map(|name| super::node_number(name))
            .max();
        let count = most.unwrap_or_default();
        say(
            &self.gone,
            format!("taken out of the cluster; 'muster up --nodes {count}' has it join anew."),
        );
        say(
            &self.unwanted,
            format!("pool '{pool}' is to have no more nodes; 'pool resize {pool} N' says how many."),
        );
        say(&self.leaving, "about to leave the cluster.".to_owned());
        notes
    }
}

/// Whether a node's folder holds a membership: a certificate, or the word that it is no more.
pub(super) fn was_member(state: &StateFolder, name: &str) -> bool {
    let folder = state.node(name);
    ["node.crt", "removed"].iter().any(|file| folder.join(file).exists())
}

/// Makes room for another membership, as `muster-computenode join` does. Settings and folders of tasks stay.
///
/// # Errors
/// When a file cannot be removed.
pub(super) fn forget(state: &StateFolder, name: &str) -> Result<(), LocalError> {
    for file in ["node.key", "node.crt", "joined.toml", "agent.ready", "removed"] {
        let path = state.node(name).join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LocalError::files("removing", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What to type for nodes that are switched off. Only of those that answer: to switch on one that is gone helps nobody.
pub(super) fn switched_off(nodes: &[NodeView]) -> Option<String> {
    let answers = |node: &&NodeView| matches!(node.row.liveness, Liveness::Up { .. });
    let off = nodes.iter().filter(answers);
    let off = off.filter(|node| node.row.admin != AdminState::Online);
    let off: Vec<&str> = off.map(|node| node.row.name.as_str()).collect();
    (!off.is_empty()).then(|| {
        format!(
            "Switched off: {}; 'node online {}' lets them work.",
            off.join(", "),
            off.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(names: &[&str], asked: bool, known: &Known<'_>, gone: &[&str]) -> Intake {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        intake(names, asked, known, |name| gone.contains(&name))
    }

    #[test]
    fn a_node_that_was_taken_out_joins_anew_only_when_it_is_asked_for() {
        let mut known = Known {
            stay: ["node1", "node2"].into(),
            ..Known::default()
        };
        let names = ["node1", "node2", "node3", "node4"];
        let gone = ["node1", "node2", "node3"];
        let left = taken(&names, false, &known, &gone);
        assert_eq!(left.run, ["node1", "node2", "node4"]);
        assert_eq!(left.gone, ["node3"]);
        assert!(left.notes("local").concat().contains("'muster up --nodes 4'"));
        let asked = taken(&names, true, &known, &gone);
        assert_eq!(
            (asked.run.len(), asked.anew.as_slice()),
            (4, ["node3".to_owned()].as_slice())
        );
        assert_eq!(asked.notes("local"), [] as [&str; 0]);
        // After 'pool resize local 3' there is room for one.
        known.room = Some(1);
        let bounded = taken(&names, true, &known, &gone);
        assert_eq!(
            (bounded.anew, bounded.unwanted),
            (vec!["node3".to_owned()], vec!["node4".to_owned()])
        );
    }

    #[test]
    fn a_node_that_leaves_is_not_waited_for() {
        let known = Known {
            stay: ["node1"].into(),
            leave: ["node2"].into(),
            room: Some(0),
        };
        let intake = taken(&["node1", "node2"], false, &known, &["node1", "node2"]);
        assert_eq!(
            (intake.run, intake.leaving),
            (vec!["node1".to_owned()], vec!["node2".to_owned()])
        );
    }

    #[test]
    fn a_membership_is_forgotten_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::made(folder.path()).expect("a folder");
        let node = state.node("node1");
        fs::create_dir_all(node.join("tasks")).expect("makes");
        assert!(!was_member(&state, "node1"));
        fs::write(node.join("node.crt"), "x").expect("writes");
        fs::write(node.join("node.toml"), "x").expect("writes");
        assert!(was_member(&state, "node1"));
        forget(&state, "node1").expect("forgets");
        assert!(!was_member(&state, "node1") && node.join("node.toml").exists() && node.join("tasks").exists());
    }
}
