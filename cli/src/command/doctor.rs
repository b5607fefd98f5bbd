//! `muster doctor`: looks for what keeps a cluster from working, and says what to type.
//!
//! Each check stands for itself: one that cannot be made says so and the others go on. Nothing is changed. What is looked
//! at here is this machine's; what nodes have to say comes from the head node.

mod host;
mod reach;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use nix::sys::resource::{Resource, getrlimit};
use proto::client::{HeadView, NodeView, RefusalCode, Reply, Request};
use proto::model::node::{AdminState, Liveness};
use proto::units::{Millis, Timestamp};
use transport::identity::validity_of;

use super::{Door, cluster};
use crate::answer::{Check, ClusterAnswer};
use crate::client::ClientError;
use crate::login::{DEFAULT_PORT, Logins, ahead};
use crate::place::{NODE_FOLDER, Surroundings, Target};
use crate::render::{apart, now};
use crate::request::Globals;

/// Clocks that are further apart make certificates fail at the edges of their lives. In milliseconds.
const CLOCKS_APART_MS: u64 = 10_000;

/// Certificates of nodes and of the head node renew themselves long before.
const SOON: Millis = Millis::from_seconds(3 * 86_400);

/// Names that a check lists; more are counted.
const SHOWN: usize = 8;

/// Makes all checks.
pub(super) async fn run(probe: bool, globals: &Globals, around: &Surroundings) -> ClusterAnswer {
    let mut checks = Vec::new();
    match cluster::local_state(globals, around) {
        Ok(state) => folder(&state, &mut checks),
        Err(error) => checks.push(Check::warn("state folder", error.chain(), "name it with --state DIR")),
    }
    let is_node = host::check(Path::new(NODE_FOLDER), &mut checks);
    log_ins(&Logins::of(around), &mut checks);
    memory_lock(&mut checks);
    match Door::of(globals, around) {
        Ok(door) if is_node && is_absent(door.target()) => checks.push(host::no_head_here()),
        Ok(door) => asked(probe, &door, &mut checks).await,
        Err(error) => checks.push(Check::fail("head node", error.chain(), "")),
    }
    ClusterAnswer::Checks(checks)
}

/// Modes of the folder and of the keys in it, as far as this account may look.
fn folder(state: &Path, checks: &mut Vec<Check>) {
    let what = "state folder";
    let head = state.join("head");
    let Ok(meta) = fs::metadata(&head) else {
        checks.push(Check::ok(
            what,
            format!("no head node of this machine has its state in {}", state.display()),
        ));
        return;
    };
    let mode = meta.mode() & 0o777;
    if mode & 0o022 != 0 {
        checks.push(Check::fail(
            what,
            format!("{} may be written by others (mode {mode:04o})", head.display()),
            format!("chmod go-w {}", head.display()),
        ));
    } else {
        checks.push(Check::ok(what, format!("{} (mode {mode:04o})", head.display())));
    }
    let mut keys = Vec::new();
    key_files(&head, 2, &mut keys);
    let open: Vec<String> = keys
        .iter()
        .filter(|(_, mode)| mode & 0o077 != 0)
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !open.is_empty() {
        checks.push(Check::fail(
            "keys",
            format!("others may read {}", few(&open)),
            format!("chmod 600 {}", open.join(" ")),
        ));
    } else if !keys.is_empty() {
        checks.push(Check::ok(
            "keys",
            format!("{} of this machine's head node, closed to others", keys.len()),
        ));
    }
}

/// Files whose name ends with `.key`, some folders deep. What this account may not look into is left out.
fn key_files(folder: &Path, deep: u32, found: &mut Vec<(PathBuf, u32)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(1000) {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() && deep > 0 {
            key_files(&path, deep - 1, found);
        } else if path.extension().is_some_and(|ending| ending == "key") {
            found.push((path, meta.mode() & 0o777));
        }
    }
}

/// Credentials of this account for head nodes elsewhere.
fn log_ins(logins: &Logins, checks: &mut Vec<Check>) {
    for (login, remote) in logins.all() {
        let what = format!("log-in at {}", login.head);
        let remedy = format!(
            "have 'muster user token {}' typed there, then type 'muster login {} TOKEN'",
            login.user, login.head
        );
        let identity = match remote.identity() {
            Ok(identity) => identity,
            Err(error) => {
                checks.push(Check::fail(what, error.to_string(), remedy));
                continue;
            }
        };
        let ends = validity_of(identity.certificate()).and_then(|life| life.not_after.duration_since(UNIX_EPOCH).ok());
        let ends = ends.map(|span| Timestamp(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
        checks.push(match ends {
            Some(at) if at <= now() => Check::fail(what, "its certificate has ended", remedy),
            Some(at) => Check::ok(
                what,
                format!(
                    "as {}, {} left; renews itself while it is used",
                    login.user,
                    at.since(now())
                ),
            ),
            None => Check::fail(what, "its certificate has no end", remedy),
        });
    }
}

/// Network cards for MPI pin memory; a small limit shows up as strange failures of a program much later.
fn memory_lock(checks: &mut Vec<Check>) {
    let what = "locked memory";
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft >= 1 << 30 => checks.push(Check::ok(what, "no small limit here")),
        Ok((soft, _)) => checks.push(Check::ok(
            what,
            format!(
                "{} KiB here; nodes that are services of the system set their own (LimitMEMLOCK=infinity)",
                soft / 1024
            ),
        )),
        Err(error) => checks.push(Check::warn(
            what,
            format!("the limit cannot be read: {error}"),
            "ulimit -l",
        )),
    }
}

/// Everything that the head node knows.
async fn asked(probe: bool, door: &Door, checks: &mut Vec<Check>) {
    let what = "head node";
    let mut client = match door.connect().await {
        Ok(client) => client,
        Err(error) => {
            let remedy = not_reached(&error, door.target());
            checks.push(Check::fail(what, crate::exit::CliError::from(error).chain(), remedy));
            if matches!(door.target(), Target::Socket(_)) {
                port_free(checks);
            }
            return;
        }
    };
    let asked_at = now();
    let head = match client.request(Request::Status).await {
        Ok(Reply::Status { head, .. }) => head,
        Ok(_) => {
            checks.push(Check::fail(
                what,
                "it answers with something else",
                "use programs of one release",
            ));
            return;
        }
        Err(error) => {
            checks.push(Check::fail(what, error.to_string(), "see its log"));
            return;
        }
    };
    let way = match door.target() {
        Target::Socket(path) => format!("answers on {}", path.display()),
        Target::Remote(remote) => format!("answers over QUIC at {remote}"),
    };
    checks.push(Check::ok(
        what,
        format!("{way}, cluster {}, process {}", head.cluster, head.pid),
    ));
    of_head(&head, asked_at, door.target(), checks);
    match client.request(Request::ListNodes).await {
        Ok(Reply::Nodes { nodes }) => {
            of_nodes(&nodes, &head, checks);
            if probe {
                reach::probe(&mut client, checks).await;
            } else if nodes.len() > 1 {
                checks.push(Check::ok("node to node", "not tried; 'muster doctor --probe' does"));
            }
        }
        Ok(_) => checks.push(Check::fail("nodes", "the head node answers with something else", "")),
        Err(error) => checks.push(Check::fail("nodes", error.to_string(), "see the head node's log")),
    }
}

/// Whether nothing on this machine is there to be asked.
fn is_absent(target: &Target) -> bool {
    matches!(target, Target::Socket(path) if !path.exists())
}

fn not_reached(error: &ClientError, target: &Target) -> String {
    match target {
        // What it says names what to type.
        _ if matches!(error, ClientError::Refused(refusal) if refusal.code == RefusalCode::Forbidden) => String::new(),
        Target::Socket(_) => {
            "'muster up' starts a cluster here; 'systemctl status muster-headnode' shows the service".to_owned()
        }
        Target::Remote(remote) => format!(
            "check that UDP port {} of {} is open: 'hpcfwutil show' there says how",
            remote.port, remote.host
        ),
    }
}

/// Only asked where no head node runs: then its usual port should be free.
fn port_free(checks: &mut Vec<Check>) {
    let what = format!("UDP port {DEFAULT_PORT}");
    match UdpSocket::bind(("0.0.0.0", DEFAULT_PORT)) {
        Ok(_) => checks.push(Check::ok(what, "free on this machine")),
        Err(error) => checks.push(Check::warn(
            what,
            format!("in use on this machine: {error}"),
            format!("'ss -lunp sport = :{DEFAULT_PORT}' shows by whom; or choose another with --listen ADDRESS:PORT"),
        )),
    }
}

fn of_head(head: &HeadView, asked_at: Timestamp, target: &Target, checks: &mut Vec<Check>) {
    let own = env!("CARGO_PKG_VERSION");
    checks.push(if head.version == own {
        Check::ok("versions", format!("head node and this command line are {own}"))
    } else {
        Check::warn(
            "versions",
            format!("the head node is {}, this command line {own}", head.version),
            "install the same release on both",
        )
    });
    if let Target::Remote(_) = target {
        let ahead_ms = ahead(asked_at, head.clock);
        checks.push(if ahead_ms.unsigned_abs() > CLOCKS_APART_MS {
            Check::warn(
                "clock",
                format!("this machine is {} the head node", apart(ahead_ms)),
                "let chrony or systemd-timesyncd set both clocks",
            )
        } else {
            Check::ok("clock", format!("this machine is {} the head node", apart(ahead_ms)))
        });
    }
    if head.certificate_ends.0 > 0 {
        checks.push(certificate("head certificate", head.certificate_ends, head.clock));
    }
    let loopback = head
        .listen
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_loopback());
    checks.push(if loopback {
        Check::ok(
            "listens",
            format!(
                "at {}, for this machine only; --listen ADDRESS is for real hosts",
                head.listen
            ),
        )
    } else {
        Check::ok("listens", format!("at {} (UDP)", head.listen))
    });
}

fn certificate(what: &str, ends: Timestamp, at: Timestamp) -> Check {
    let left = ends.since(at);
    if ends <= at {
        Check::fail(
            what,
            "it has ended",
            "restart the head node: it renews its own at the start",
        )
    } else if left < SOON {
        Check::warn(
            what,
            format!("{left} left"),
            "it renews itself; look into the head node's log if it does not",
        )
    } else {
        Check::ok(what, format!("{left} left; renews itself"))
    }
}

fn of_nodes(nodes: &[NodeView], head: &HeadView, checks: &mut Vec<Check>) {
    if nodes.is_empty() {
        checks.push(Check::warn(
            "nodes",
            "the cluster has none",
            "'muster node join-command' prints the line to paste on a host",
        ));
        return;
    }
    let named = |fits: &dyn Fn(&NodeView) -> bool| -> Vec<String> {
        nodes
            .iter()
            .filter(|node| fits(node))
            .map(|node| node.row.name.to_string())
            .collect()
    };
    let silent = named(&|node| !answers(node));
    checks.push(if silent.is_empty() {
        Check::ok("nodes", format!("all {} answer", nodes.len()))
    } else {
        Check::fail(
            "nodes",
            format!("{} of {} do not answer: {}", silent.len(), nodes.len(), few(&silent)),
            "look there: 'muster-computenode status'; 'node remove' takes out those that are gone for good",
        )
    });
    let off = named(&|node| answers(node) && node.row.admin != AdminState::Online);
    if !off.is_empty() {
        checks.push(Check::warn(
            "switched off",
            few(&off),
            format!(
                "node online {}",
                off.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ")
            ),
        ));
    }
    node_versions(nodes, head, checks);
    node_clocks(nodes, checks);
    node_certificates(nodes, head, checks);
    let without = named(&|node| answers(node) && node.row.inventory.as_ref().is_some_and(|has| !has.cgroups));
    checks.push(if without.is_empty() {
        Check::ok("control groups", "on all nodes that answer")
    } else {
        Check::warn(
            "control groups",
            format!("none for tasks on {}", few(&without)),
            "tasks run without limits there and are found by their descent; nodes that are services of the system on a machine with cgroup v2 have them",
        )
    });
}

fn answers(node: &NodeView) -> bool {
    matches!(node.row.liveness, Liveness::Up { .. })
}

fn node_versions(nodes: &[NodeView], head: &HeadView, checks: &mut Vec<Check>) {
    let other = nodes.iter().filter_map(|node| {
        let has = node.row.inventory.as_ref()?;
        (!has.version.is_empty() && has.version != head.version).then(|| format!("{} ({})", node.row.name, has.version))
    });
    let other: Vec<String> = other.collect();
    checks.push(if other.is_empty() {
        Check::ok("node versions", format!("all {}", head.version))
    } else {
        Check::warn(
            "node versions",
            format!("not the head node's {}: {}", head.version, few(&other)),
            "install the same release there and restart muster-agent; tasks run on",
        )
    });
}

fn node_clocks(nodes: &[NodeView], checks: &mut Vec<Check>) {
    let known = nodes.iter().filter_map(|node| Some((node, node.row.clock_ahead_ms?)));
    let far: Vec<String> = known
        .filter(|(_, ahead)| ahead.unsigned_abs() > CLOCKS_APART_MS)
        .map(|(node, ahead)| format!("{} is {} the head node", node.row.name, apart(ahead)))
        .collect();
    checks.push(if far.is_empty() {
        Check::ok("node clocks", "agree with the head node's")
    } else {
        Check::warn("node clocks", few(&far), "let chrony or systemd-timesyncd set them")
    });
}

fn node_certificates(nodes: &[NodeView], head: &HeadView, checks: &mut Vec<Check>) {
    let ended = nodes
        .iter()
        .filter(|node| node.row.certificate_ends.is_some_and(|ends| ends <= head.clock));
    let ended: Vec<String> = ended.map(|node| node.row.name.to_string()).collect();
    checks.push(if ended.is_empty() {
        Check::ok("node certificates", "all good; they renew themselves")
    } else {
        Check::warn(
            "node certificates",
            format!("ended: {}", few(&ended)),
            "nothing, if they come back: they renew theirs then",
        )
    });
}

/// The first of some, and how many more.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::answer::Verdict;

    #[test]
    fn a_key_that_others_can_read_fails() {
        let state = tempfile::tempdir().expect("a folder");
        let head = state.path().join("head");
        fs::create_dir(&head).expect("makes");
        fs::set_permissions(&head, fs::Permissions::from_mode(0o700)).expect("closes");
        let key = head.join("ca.key");
        fs::write(&key, "secret").expect("writes");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closes");
        let verdicts = || {
            let mut checks = Vec::new();
            folder(state.path(), &mut checks);
            checks.iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(), [Verdict::Ok, Verdict::Ok]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opens");
        assert_eq!(verdicts(), [Verdict::Ok, Verdict::Fail]);
        fs::set_permissions(&head, fs::Permissions::from_mode(0o777)).expect("opens");
        assert_eq!(verdicts(), [Verdict::Fail, Verdict::Fail]);
    }

    #[test]
    fn a_certificate_near_its_end_is_a_warning() {
        let at = Timestamp(1_000_000_000);
        let ends = |seconds: u64| certificate("x", Timestamp(at.0 + seconds * 1000), at).verdict;
        assert_eq!(
            [ends(0), ends(86_400), ends(30 * 86_400)],
            [Verdict::Fail, Verdict::Warn, Verdict::Ok]
        );
    }
}
