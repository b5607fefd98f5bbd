//! The cluster itself: its status, and what `muster up` and `muster down` did.

use std::fmt::Write as _;
use std::net::SocketAddr;

use proto::client::NodeView;
use proto::model::node::{AdminState, Liveness};

use super::node;
use super::people::tamed;
use super::sentence::counted;
use super::{Look, moment, tame};
use crate::answer::{Down, Status, Up};

/// The head node and its counts.
pub(super) fn status(status: &Status, look: &Look) -> Vec<(&'static str, String)> {
    let head = &status.head;
    tamed(
        vec![
            ("Cluster", head.cluster.clone()),
            ("Head node", format!("version {}, process {}", head.version, head.pid)),
            ("Since", moment::show(head.started_at, look.zone)),
            ("Nodes dial", head.listen.clone()),
            ("Nodes", format!("{}, {} up", status.nodes, status.up)),
            ("Jobs", format!("{} not over", status.jobs)),
            ("Tasks", format!("{} running, {} queued", status.running, status.queued)),
        ],
        look,
    )
}

/// What is up, and what to type next.
pub(super) fn up(up: &Up, look: &Look) -> String {
    let first = if up.started.is_empty() {
        format!("The cluster in {} is up already.\n\n", up.state.display())
    } else {
        format!(
            "The cluster in {} is up; started: {}.\n\n",
            up.state.display(),
            up.started.join(", ")
        )
    };
    let mut out = first;
    if !up.nodes.is_empty() {
        out += &node::table(&up.nodes).lines(look.width, look.colour);
    }
    for note in &up.notes {
        let _ = writeln!(out, "\n{note}"); // a String takes everything
    }
    if let Some(user) = &up.runs_as {
        let _ = writeln!(
            out,
            "\nThis is no service of the system: every task runs as you ({user})."
        ); // as above
    }
    let works =
        |node: &&NodeView| node.row.admin == AdminState::Online && matches!(node.row.liveness, Liveness::Up { .. });
    let usable = up.nodes.iter().filter(works).count();
    if up.nodes.is_empty() {
        return out
            + &format!(
                "The head node listens at {}. Next:\n  {} node join-command\n",
                tame(&up.head.listen),
                up.typed
            );
    }
    let next = [
        format!("eval \"$({} env --state {})\"", up.typed, up.state.display()),
        format!("job submit /numnodes:{} hostname", usable.max(1)),
        "task view 1.1".to_owned(),
        "muster down".to_owned(),
    ];
    out += &format!("\nNext:\n  {}\n", next.join("\n  "));
    out
}

/// What to type on a machine that shall join.
pub(super) fn how_to_join(token: &str, head: &str, until: &str) -> String {
    let mut text = format!(
        "good until {until}; on the new node, with a folder and a name of its own:\n  \
         muster-computenode agent --dir DIR --name NAME --head {} --token {token}\n",
        tame(head)
    );
    if head.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback()) {
        text += "the head node listens on this machine only, so nodes can join from nowhere else\n";
    }
    text
}

/// What was stopped.
pub(super) fn down(down: &Down) -> String {
    let mut out = if down.stopped.is_empty() {
        format!("Nothing runs in {}.\n", down.state.display())
    } else {
        format!("Stopped in {}: {}.\n", down.state.display(), down.stopped.join(", "))
    };
    if down.tasks > 0 && !down.purged {
        let were = if down.tasks == 1 { "was" } else { "were" };
        let tasks = counted(u32::try_from(down.tasks).unwrap_or(u32::MAX), "task");
        out += &format!("{tasks} ran and {were} stopped; what may be rerun starts again with the next 'muster up'.\n");
    }
    for note in &down.notes {
        out += &format!("{note}\n");
    }
    if down.purged {
        out += "Jobs, results and settings were thrown away.\n";
    } else if !down.stopped.is_empty() {
        out += "Jobs and results stay for the next 'muster up'; 'muster down --purge' throws them away.\n";
    }
    out
}
