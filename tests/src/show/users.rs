//! `users`: two users on several hosts, each sees their own; the other's files and processes are out of reach.

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::SOON;
use crate::hosts::{ALICE, BOB, ROOT, User};
use crate::site::Site;
use crate::wait;

pub(super) fn run() -> anyhow::Result<()> {
    let mut site = Site::start()?;
    site.network().add("desk")?;
    // On this host somebody else has alice's number.
    let stranger = User {
        name: "alice",
        id: 60_009,
    };
    site.network().add_with("odd", &[stranger, BOB])?;
    site.join(&["n1"])?;
    let line = site.join_line("--groups Odd")?;
    site.host("odd")?.types(ROOT, &line)?;
    say("nodes n1 and odd joined; desk is a host without a node");

    log_in(&site, ALICE)?;
    log_in(&site, BOB)?;
    let job = site.submit(
        "desk",
        ALICE,
        "/requestednodes:n1 sh -c 'id -un; echo secret; echo $$ > pid; sleep 600'",
    )?;
    let desk = site.host("desk")?;
    wait::until("alice's task to run", SOON, || {
        let view = desk.types(ALICE, &format!("muster task view {job}.1"))?;
        Ok((view.contains("alice") && view.contains("\nsecret")).then_some(()))
    })
    .with_context(|| {
        desk.types(ALICE, &format!("muster task view {job}.1"))
            .unwrap_or_default()
    })?;
    say("alice's task runs as alice; alice reads its output from desk");

    stranger_to(&site, job)?;
    out_of_reach(&site, job)?;
    disagreement(&site)?;
    operator(&site, job)
}

pub(super) fn log_in(site: &Site, user: User) -> anyhow::Result<()> {
    let name = user.name;
    site.head()?.types(ROOT, &format!("muster user add {name}"))?;
    let token = site.head()?.types(ROOT, &format!("muster user token {name}"))?;
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("muster-login-1."));
    let token = token.context("muster user token printed no token")?;
    let desk = site.host("desk")?;
    desk.types(
        user,
        &format!("muster login --scheduler {} {token}", site.head()?.address()),
    )?;
    let who = desk.types(user, "muster whoami")?;
    ensure!(who.contains(name), "muster whoami on desk said: {who}");
    desk.fails(
        user,
        &format!("muster login --scheduler {} {token}", site.head()?.address()),
        4,
    )?;
    say(format!(
        "{name} logged in on desk with a one-time token, which works once"
    ));
    Ok(())
}

/// Bob sees nothing of it.
fn stranger_to(site: &Site, job: u64) -> anyhow::Result<()> {
    let desk = site.host("desk")?;
    let list = desk.types(BOB, "muster job list --all -o quiet")?;
    ensure!(
        !list.lines().any(|line| line.trim() == job.to_string()),
        "bob sees alice's job: {list}"
    );
    for line in [
        format!("muster job view {job}"),
        format!("muster job cancel {job}"),
        format!("muster task view {job}.1"),
        format!("muster task tail {job}.1"),
        format!("muster job requeue {job}"),
        format!("muster task cancel {job}.1"),
    ] {
        desk.fails(BOB, &line, 3)?;
    }
    desk.fails(BOB, "muster node offline n1", 4)?;
    desk.fails(BOB, "muster user add eve --uid 60005 --gid 60005", 4)?;
    say("bob does not see, read or cancel it, and administers nothing");
    Ok(())
}

/// Tried as bob on the node itself.
fn out_of_reach(site: &Site, job: u64) -> anyhow::Result<()> {
    let node = site.host("n1")?;
    let pids = node.types(ROOT, "pgrep -u alice")?;
    let pid = pids.split_whitespace().next().context("no process of alice on n1")?;
    let files = node.types(
        ROOT,
        &format!("find / -xdev -path '*/tasks/{job}/*' -name stdout.txt 2>/dev/null; find /var/lib -path '*/tasks/{job}/*' -name stdout.txt"),
    )?;
    let file = files.lines().next().context("no output of alice's task on n1")?;
    ensure!(
        node.types(ROOT, &format!("cat {file}"))?.contains("secret"),
        "{file} is another file"
    );
    for line in [
        format!("cat {file}"),
        format!("ls $(dirname {file})"),
        format!("kill {pid}"),
        format!("cat /proc/{pid}/environ"),
        "cat /var/lib/muster-node/*.key".to_owned(),
        "ls /var/lib/muster-node/records".to_owned(),
    ] {
        let said = node.run(BOB, &["sh", "-c", &line])?;
        ensure!(said.code != 0, "bob may '{line}' on n1: {said:?}");
    }
    say("on n1, as bob: alice's output, directory, process and environment, and the node's key are out of reach");
    Ok(())
}

fn disagreement(site: &Site) -> anyhow::Result<()> {
    let job = site.submit("desk", ALICE, "/requestednodes:odd true")?;
    let desk = site.host("desk")?;
    desk.fails(ALICE, &format!("muster job wait {job}"), 1)?;
    let view = desk.types(ALICE, &format!("muster task view {job}.1"))?;
    ensure!(
        view.contains("odd") && view.contains("60009") && view.contains("60001"),
        "the refusal names neither node nor numbers: {view}"
    );
    say("a node where alice has another number refuses her task, naming itself and both numbers");
    Ok(())
}

fn operator(site: &Site, job: u64) -> anyhow::Result<()> {
    let desk = site.host("desk")?;
    site.head()?.types(ROOT, "muster user add bob --role operator")?;
    desk.types(BOB, &format!("muster job view {job}"))?;
    desk.types(BOB, &format!("muster job cancel {job} --force"))?;
    desk.fails(ALICE, &format!("muster job wait {job}"), 1)?;
    say("bob, made an operator, sees and cancels it at once");
    Ok(())
}
