//! Nodes as people read them.

use std::collections::BTreeMap;

use proto::client::NodeView;
use proto::ids::ResourceName;
use proto::model::node::{AdminState, Liveness, NodeRow};

use super::people::{dash, joined, state_word, tamed};
use super::table::{Kind, Table};
use super::{Look, moment, sentence};

pub(super) fn table(nodes: &[NodeView]) -> Table {
    let mut table = Table::new(&[
        ("Node Name", Kind::Id),
        ("State", Kind::State),
        ("Health", Kind::State),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Pool", Kind::Text),
        ("Groups", Kind::Text),
    ]);
    for NodeView { row, slots_held, .. } in nodes {
        table.row([
            row.name.to_string(),
            sentence::admin_word(row.admin).to_owned(),
            sentence::health_word(row.liveness).to_owned(),
            row.slots.to_string(),
            slots_held.to_string(),
            row.slots.saturating_sub(*slots_held).to_string(),
            row.pool.to_string(),
            dash(&joined(row.groups.iter())),
        ]);
    }
    table
}

pub(super) fn node_properties(node: &NodeView, look: &Look) -> Vec<(&'static str, String)> {
    let row = &node.row;
    let since = match row.liveness {
        Liveness::Up { since } | Liveness::Suspect { since } | Liveness::Lost { since } => Some(since),
        Liveness::Joined => None,
    };
    let health = state_word(sentence::health_word(row.liveness), look);
    let health = match since {
        Some(since) => format!("{health} since {}", moment::show(since, look.zone)),
        None => health,
    };
    let mut pairs = vec![
        ("Node", row.name.to_string()),
        ("State", state_word(sentence::admin_word(row.admin), look)),
        ("Health", health),
        ("Pool", row.pool.to_string()),
        ("Groups", dash(&joined(row.groups.iter()))),
        ("Cores", format!("{}, {} held", row.slots, node.slots_held)),
        ("Tasks", dash(&joined(node.tasks.iter()))),
        (
            "Address",
            row.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        ),
        ("Joined", moment::show(row.joined_at, look.zone)),
    ];
    if let Some(ends) = row.certificate_ends {
        pairs.push(("Certificate", format!("good until {}", moment::show(ends, look.zone))));
    }
    if let Some(ahead) = row.clock_ahead_ms {
        pairs.push(("Clock", format!("{} the head node's", super::apart(ahead))));
    }
    pairs.extend(doing(row, look));
    if let Some(has) = &row.inventory {
        for (name, text) in [
            ("Resources", resources(&has.resources)),
            ("Tags", joined(has.tags.iter())),
            (
                "Domain",
                has.domain.as_ref().map(ToString::to_string).unwrap_or_default(),
            ),
        ] {
            pairs.extend(Some((name, text)).filter(|(_, text)| !text.is_empty()));
        }
        if has.sockets > 0 {
            pairs.push(("Sockets", has.sockets.to_string()));
        }
        pairs.push(("Control groups", if has.cgroups { "yes" } else { "no" }.to_owned()));
        pairs.push(("Memory", memory(has.memory_bytes)));
        pairs.push(("Host", dash(&has.hostname)));
        pairs.push((
            "System",
            dash(&[has.os.as_str(), &has.kernel, &has.arch].join(" "))
                .trim()
                .to_owned(),
        ));
        pairs.push(("Version", dash(&has.version)));
    }
    tamed(pairs, look)
}

/// All that fits on a very wide line.
pub(super) fn wide_table(nodes: &[NodeView], look: &Look) -> Table {
    let mut table = Table::new(&[
        ("Node Name", Kind::Id),
        ("State", Kind::State),
        ("Health", Kind::State),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Sockets", Kind::Number),
        ("Memory", Kind::Number),
        ("Pool", Kind::Text),
        ("Groups", Kind::Text),
        ("Start task", Kind::Text),
        ("Errand", Kind::Text),
        ("Drain", Kind::Text),
        ("Resources", Kind::Text),
        ("Tags", Kind::Text),
        ("Domain", Kind::Text),
        ("Kept until", Kind::Id),
        ("Address", Kind::Id),
        ("Clock", Kind::Number),
        ("Certificate until", Kind::Id),
        ("Version", Kind::Id),
    ]);
    for NodeView { row, slots_held, .. } in nodes {
        let has = row.inventory.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            row.name.to_string(),
            sentence::admin_word(row.admin).to_owned(),
            sentence::health_word(row.liveness).to_owned(),
            row.slots.to_string(),
            slots_held.to_string(),
            row.slots.saturating_sub(*slots_held).to_string(),
            or_dash(has.filter(|has| has.sockets > 0).map(|has| has.sockets.to_string())),
            or_dash(has.map(|has| memory(has.memory_bytes))),
            row.pool.to_string(),
            dash(&joined(row.groups.iter())),
            or_dash(row.start.as_ref().map(sentence::start_state)),
            or_dash(
                row.errand
                    .map(|errand| sentence::errand(errand.kind).to_owned())
                    .or_else(|| row.errand_refused.as_ref().map(|reason| format!("refused: {reason}"))),
            ),
            or_dash((row.admin == AdminState::Draining).then(|| row.drain.word().to_owned())),
            dash(&has.map(|has| resources(&has.resources)).unwrap_or_default()),
            dash(&has.map(|has| joined(has.tags.iter())).unwrap_or_default()),
            or_dash(has.and_then(|has| has.domain.as_ref()).map(ToString::to_string)),
            or_dash(row.retained_until.map(|at| moment::show(at, look.zone))),
            or_dash(row.peer.map(|peer| peer.to_string())),
            or_dash(row.clock_ahead_ms.map(|ahead| format!("{ahead:+} ms"))),
            or_dash(row.certificate_ends.map(|ends| moment::show(ends, look.zone))),
            or_dash(has.map(|has| dash(&has.version))),
        ]);
    }
    table
}

pub(super) fn memory(bytes: u64) -> String {
    let mib = bytes / (1024 * 1024);
    if mib >= 10 * 1024 {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

/// What a node does or is to do beside its tasks.
fn doing(row: &NodeRow, look: &Look) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if row.admin == AdminState::Draining {
        let option = format!("{} ({})", row.drain.word(), sentence::deallocation(row.drain));
        pairs.push(("Drain", option));
    }
    if let Some(start) = &row.start {
        let waits = if start.wait_for_success {
            ""
        } else {
            "; tasks do not wait for it"
        };
        pairs.push(("Start task", sentence::start_state(start) + waits));
    }
    if let Some(errand) = &row.errand {
        let told = if errand.sent {
            "it was told"
        } else {
            "when it holds nothing any more"
        };
        pairs.push((
            "Errand",
            format!(
                "{}, asked {}; {told}",
                sentence::errand(errand.kind),
                moment::show(errand.asked_at, look.zone)
            ),
        ));
    }
    if let Some(reason) = &row.errand_refused {
        pairs.push(("Errand refused", reason.clone()));
    }
    if let Some(at) = row.retained_until {
        pairs.push(("Files kept until", moment::show(at, look.zone)));
    }
    pairs
}

/// As the option is written.
pub(super) fn resources(resources: &BTreeMap<ResourceName, u32>) -> String {
    let each = resources.iter().map(|(name, count)| format!("{name}:{count}"));
    each.collect::<Vec<_>>().join(",")
}
