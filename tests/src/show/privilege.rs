//! `privilege`: a task has its user's rights and no others, tried from inside a task on the head node's own machine.
//!
//! Alice's task runs while Bob's tries to reach it, the node's and the head's secrets, and their processes. The same tries
//! as the owner succeed, so that none fails for want of a target.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::SOON;
use crate::hosts::{ALICE, BIN, BOB, Host, ROOT, User};
use crate::probe::PROBE;
use crate::site::Site;
use crate::wait;

const NODE: &str = "/var/lib/muster-node";
const HEAD: &str = "/var/lib/muster/head";

/// In the environment of the daemons.
const DAEMONS_SECRET: &str = "DAEMONS_SECRET";

/// A program that changes its user to root, outside the folders that hosts share.
const SETUID_PROGRAM: &str = "/opt/whoami-as-root";

pub(super) fn run() -> anyhow::Result<()> {
    let site = Site::start()?;
    let line = site.join_line("--groups All")?;
    let host = site.head()?;
    host.types(ROOT, &format!("export {DAEMONS_SECRET}=hidden; {line}"))?;
    say("one host is head node and compute node, its daemons run as root");

    let alice = AliceTask::start(&site)?;
    what_a_task_is(host, &alice)?;
    setuid(&site)?;
    out_of_reach(&site, &alice)
}

/// A task of alice that runs.
struct AliceTask {
    folder: String,
    pid: String,
    output: String,
}

impl AliceTask {
    fn start(site: &Site) -> anyhow::Result<Self> {
        let words = "sh -c 'umask; id -u; id -g; id -G; cd /proc/self/fd && echo *; cd - >/dev/null; ulimit -Sc; \
                     ulimit -Sn; cat /proc/self/oom_score_adj; grep -E \"^(Cap|NoNewPrivs|SigBlk|SigIgn)\" /proc/self/status; \
                     env; echo precious > result; echo $$ > pid; exec sleep 600'";
        let job = site.submit("head", ALICE, &format!("/env:OF_ALICE=precious {words}"))?;
        let host = site.head()?;
        let folder = wait::until("alice's task to run", SOON, || {
            let found = host.types(ROOT, &format!("ls {NODE}/tasks/{job}/*/wd/pid 2>/dev/null || true"))?;
            Ok(found.trim().strip_suffix("/wd/pid").map(str::to_owned))
        })
        .with_context(|| host.types(ROOT, &format!("muster job why {job}")).unwrap_or_default())?;
        let pid = wait::until("its number", SOON, || {
            let pid = host.types(ROOT, &format!("cat {folder}/wd/pid"))?;
            Ok((!pid.trim().is_empty()).then(|| pid.trim().to_owned()))
        })?;
        let output = host.types(ROOT, &format!("cat {folder}/stdout.txt"))?;
        Ok(Self { folder, pid, output })
    }
}

/// What the task itself says of what it was given.
fn what_a_task_is(host: &Host, alice: &AliceTask) -> anyhow::Result<()> {
    let mut lines = alice.output.lines();
    // The limit of open files that a process of this host begins with, before the agent raised its own.
    let files = host.types(ROOT, "ulimit -Sn")?;
    let id = ALICE.id.to_string();
    for (what, expected) in [
        ("umask", "0022"),
        ("user", &id),
        ("group", &id),
        ("groups", &id),
        // The shell has the folder open that it lists.
        ("open descriptors", "0 1 2 3"),
        ("limit of core files", "0"),
        ("limit of open files", files.trim()),
        ("oom_score_adj", "0"),
    ] {
        let said = lines.next().unwrap_or_default();
        ensure!(said == expected, "a task's {what} is '{said}' and not '{expected}'");
    }
    let rest: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once([':', '='])).collect();
    for (name, value) in [
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("OF_ALICE", "precious"),
    ] {
        let said = rest.get(name).map_or("", |said| said.trim());
        ensure!(said == value, "a task's {name} is '{said}' and not '{value}'");
    }
    let daemons = host.types(
        ROOT,
        &format!("cat /proc/$(cat {NODE}/spawner.pid)/environ | tr '\\0' '\\n'"),
    )?;
    ensure!(
        daemons.contains(DAEMONS_SECRET),
        "the spawner has no secret to keep: {daemons}"
    );
    ensure!(
        !alice.output.contains(DAEMONS_SECRET),
        "the environment of a task holds the daemon's"
    );
    say(
        "a task has its user and groups, umask 022, no capabilities, no descriptors, variables or limits of the daemon",
    );
    Ok(())
}

fn setuid(site: &Site) -> anyhow::Result<()> {
    let host = site.head()?;
    host.types(
        ROOT,
        &format!("cp /usr/bin/id {SETUID_PROGRAM} && chmod 4755 {SETUID_PROGRAM}"),
    )?;
    let outside = host.types(BOB, &format!("{SETUID_PROGRAM} -u"))?;
    ensure!(
        outside.trim() == "0",
        "a set-user-id program does not even work outside of tasks here: {outside}"
    );
    let inside = output_of(site, BOB, &format!("{SETUID_PROGRAM} -u"))?;
    ensure!(
        inside.trim() == BOB.id.to_string(),
        "a set-user-id program made a task's user {inside}"
    );
    say("a set-user-id program is root when bob types it, and bob in bob's task");
    Ok(())
}

/// Each try of bob's task fails, and succeeds for who may.
fn out_of_reach(site: &Site, alice: &AliceTask) -> anyhow::Result<()> {
    let AliceTask { folder, pid, .. } = alice;
    let host = site.head()?;
    let socket = host.types(ROOT, &format!("ls {NODE}/launch/*.sock"))?;
    let socket = socket.lines().next().context("alice's task has no launch socket")?;
    let hers = [
        ("list", folder.clone()),
        ("add", folder.clone()),
        ("read", format!("{folder}/stdout.txt")),
        ("write", format!("{folder}/stdout.txt")),
        ("read", format!("{folder}/wd/result")),
        ("change", format!("{folder}/wd/result")),
        ("connect", socket.to_owned()),
        ("signal", pid.clone()),
        ("environ", pid.clone()),
        ("descriptors", pid.clone()),
        ("memory", pid.clone()),
    ];
    let spawner = host.types(ROOT, &format!("cat {NODE}/spawner.pid"))?;
    let spawner = spawner.trim();
    let daemons = [
        ("read", format!("{NODE}/node.key")),
        ("list", NODE.to_owned()),
        ("list", format!("{NODE}/records")),
        ("list", format!("{NODE}/tasks")),
        ("add", format!("{NODE}/tasks")),
        ("list", format!("{NODE}/launch")),
        ("add", format!("{NODE}/bin")),
        ("connect", format!("{NODE}/spawner.sock")),
        ("list", HEAD.to_owned()),
        ("list", format!("{HEAD}/store")),
        ("list", format!("{HEAD}/identity")),
        ("signal", spawner.to_owned()),
        ("environ", spawner.to_owned()),
        ("descriptors", spawner.to_owned()),
        ("memory", spawner.to_owned()),
    ];
    succeed(host, ALICE, &hers)?;
    succeed(host, ROOT, &daemons)?;
    let all: Vec<(&str, String)> = hers.into_iter().chain(daemons).collect();
    let said = output_of(site, BOB, &words(&all))?;
    ensure!(
        said.lines().count() == all.len() && said.lines().all(|line| line.contains(": no (")),
        "bob's task may do what it must not: {}",
        said.lines()
            .filter(|line| !line.contains(": no ("))
            .collect::<Vec<_>>()
            .join("; ")
    );
    let ended = host.run(ALICE, &["kill", "-0", pid])?;
    ensure!(ended.code == 0, "alice's task did not outlive bob's tries");
    say(format!(
        "{} tries of bob's task at alice's task and at the daemons failed; each succeeds for who may",
        all.len()
    ));
    Ok(())
}

fn words(tries: &[(&str, String)]) -> String {
    let pairs = tries.iter().map(|(what, target)| format!(" {what} {target}"));
    format!("{BIN}/muster-show {PROBE}{}", pairs.collect::<String>())
}

fn succeed(host: &Host, user: User, tries: &[(&str, String)]) -> anyhow::Result<()> {
    let said = host.types(user, &words(tries))?;
    let failed: Vec<&str> = said.lines().filter(|line| !line.ends_with(": yes")).collect();
    ensure!(failed.is_empty(), "{} may not: {}", user.name, failed.join("; "));
    Ok(())
}

/// What a task says that ends well.
fn output_of(site: &Site, user: User, words: &str) -> anyhow::Result<String> {
    let job = site.submit("head", user, words)?;
    let host = site.head()?;
    host.types(user, &format!("muster job wait {job}")).with_context(|| {
        host.types(ROOT, &format!("muster task view {job}.1"))
            .unwrap_or_default()
    })?;
    host.types(ROOT, &format!("cat {NODE}/tasks/{job}/*/stdout.txt"))
}
