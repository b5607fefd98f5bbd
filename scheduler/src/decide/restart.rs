//! Nodes that are to start anew: first they are drained, then told, and their next life ends it.
//!
//! ```text
//!   asked --holds nothing--> told (again after each hello) --hello with a new boot--> switched as before
//!                              '--- the node cannot ---> switched as before, and its row says why
//! ```

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::ids::{NodeId, NodeName};
use proto::model::node::{AdminState, Deallocation, Liveness, NodeErrand, NodeErrandKind, NodeRow};

use super::admin::named;
use super::attempt::shorten;
use super::duty::{Purpose, drain, stronger};
use super::ledger::Ledger;
use crate::input::Answer;
use crate::refusal::{invalid, wrong_state};

pub(super) fn restart(
    ledger: &mut Ledger<'_>,
    names: &[NodeName],
    option: Deallocation,
    reimage: bool,
) -> Result<Answer, Refusal> {
    if names.is_empty() {
        return Err(invalid("no node is named", "name those to start anew; see 'node list'"));
    }
    let kind = if reimage {
        NodeErrandKind::Reimage
    } else {
        NodeErrandKind::Reboot
    };
    let rows = named(ledger.cluster, names)?;
    for row in &rows {
        refuse_unfit(row, kind)?;
    }
    let (mut notes, mut already) = (Vec::new(), Vec::new());
    let mut stopped = BTreeSet::new();
    for row in rows {
        let same = row.errand.is_some();
        let weak = row.errand.is_some_and(|errand| errand.sent) || stronger(row.drain, option) == row.drain;
        if same && weak {
            already.push(format!("node '{}' is to start anew already", row.name));
            continue;
        }
        if !same {
            let admin = match row.admin {
                AdminState::Draining => AdminState::Offline,
                admin => admin,
            };
            let errand = NodeErrand {
                kind,
                asked_at: ledger.now.wall,
                sent: false,
                admin,
            };
            ledger.set_errand(row, Some(errand), None);
        }
        notes.append(&mut drain(ledger, row, option, Purpose::Restart, &mut stopped));
    }
    already.append(&mut notes);
    Ok(Answer::Notes(already))
}

/// Only a node that answers can be told, and only one thing at a time.
fn refuse_unfit(row: &NodeRow, kind: NodeErrandKind) -> Result<(), Refusal> {
    let name = &row.name;
    match (row.errand.map(|errand| errand.kind), row.liveness) {
        (Some(NodeErrandKind::Leave), _) => Err(wrong_state(
            format!("node '{name}' is to leave pool '{}'", row.pool),
            "it is taken out as soon as it holds nothing; see 'node list'",
        )),
        (Some(other), _) if other == kind => Ok(()),
        (Some(_), _) => Err(wrong_state(
            format!("node '{name}' is to start anew already, in another way"),
            format!("take that back first: node online {name}"),
        )),
        (None, Liveness::Up { .. }) => Ok(()),
        (None, _) => Err(wrong_state(
            format!("node '{name}' does not answer, so it cannot be told to start anew"),
            "start its machine by other means; see 'node list'",
        )),
    }
}

/// A node has a new life: it has started anew, if that was asked. A new life before it was told is no new image.
pub(super) fn reborn(ledger: &mut Ledger<'_>, row: &NodeRow) {
    let done = row.errand.is_some_and(|errand| match (errand.kind, errand.sent) {
        (NodeErrandKind::Reboot, _) | (NodeErrandKind::Reimage, true) => true,
        (NodeErrandKind::Reimage, false) | (NodeErrandKind::Leave, _) => false,
    });
    if done {
        ledger.end_errand(row, None);
    }
}

/// The node cannot start anew as it was told.
pub(super) fn refused(ledger: &mut Ledger<'_>, node: NodeId, reason: &str) {
    let row = ledger.cluster.node(node);
    if let Some(row) = row.filter(|row| row.errand.is_some_and(|errand| errand.sent)) {
        let mut reason = reason.to_owned();
        shorten(&mut reason);
        ledger.end_errand(row, Some(reason));
    }
}
