//! A node's certificate through its life: renewed in time, after a long absence, and taken back.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use proto::control::Report;
use transport::identity::{Identity, validity_of};

use crate::head::{Head, Node};
use crate::node::{AgentProcess, address, script};
use crate::wait::{alive, pid_in, until, until_later};

async fn joined(head: &mut Head) -> (AgentProcess, Node) {
    let agent = AgentProcess::start(1, &head.address(), Some(&head.token()));
    head.join().await;
    (agent, head.node().await)
}

/// When the certificate in the node's folder ends.
fn ends(agent: &AgentProcess) -> SystemTime {
    let folder = agent.path("node.crt");
    let identity = Identity::load(folder.parent().expect("a folder"), "node").expect("key and certificate fit");
    validity_of(identity.certificate()).expect("a certificate").not_after
}

fn await_expiry(agent: &AgentProcess) {
    let end = ends(agent);
    until("the certificate's end", || {
        (SystemTime::now() > end + Duration::from_secs(1)).then_some(())
    });
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_over_the_same_connection() {
    let mut head = Head::with_life(Duration::from_secs(6));
    let (agent, mut node) = joined(&mut head).await;
    assert!(node.hello.clock.is_some());
    for _ in 0..2 {
        let before = ends(&agent);
        node.renew(&head).await;
        assert!(SystemTime::now() < before, "it was late");
        until_later("the new certificate", || ends(&agent) > before).await;
    }
}

#[tokio::test]
async fn a_node_that_was_away_for_longer_than_its_certificates_life_comes_back() {
    let mut head = Head::with_life(Duration::from_secs(3));
    let (mut agent, node) = joined(&mut head).await;
    agent.kill(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
    drop(node);
    await_expiry(&agent);
    let before = ends(&agent);
    agent.again(&head.address());
    head.renewal().await;
    let again = head.node().await;
    assert_eq!(again.remote.ip(), address(1));
    assert!(ends(&agent) > before);
}

#[tokio::test]
async fn a_node_that_was_removed_while_it_was_away_learns_it_when_it_renews() {
    let mut head = Head::with_life(Duration::from_secs(2));
    let (mut agent, node) = joined(&mut head).await;
    agent.kill(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
    drop(node);
    await_expiry(&agent);
    agent.again(&head.address());
    head.renewal_of_removed().await;
    assert_eq!(agent.exit_code(), Some(3));
    assert!(agent.log().contains("removed by root"), "{}", agent.log());
}

#[tokio::test]
async fn a_removed_node_ends_its_tasks_at_once_and_is_not_started_again() {
    let mut head = Head::start();
    let (mut agent, mut node) = joined(&mut head).await;
    let pid_file = agent.path("pid");
    std::fs::write(&pid_file, "").expect("writes");
    let text = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
        pid_file.display()
    );
    node.start(script(1, &text)).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    let task = pid_in(&pid_file);
    node.remove("removed by root").await;
    assert_eq!(agent.exit_code(), Some(3));
    assert!(!alive(task));
    assert!(agent.log().contains("muster node join-command"), "{}", agent.log());
    assert!(!agent.path("agent.ready").exists());

    agent.again(&head.address());
    assert_eq!(agent.exit_code(), Some(3), "it does not even ask");
}

#[tokio::test]
async fn peers_are_probed() {
    let mut head = Head::patient();
    let (_first, node) = joined(&mut head).await;
    let _second = AgentProcess::start(2, &head.address(), Some(&head.token()));
    head.join().await;
    let other = head.node().await;
    let mute = std::net::UdpSocket::bind((address(3), 0)).expect("binds");
    let silent = mute.local_addr().expect("an address");

    let reply = node.probe(vec![other.hello.peer, silent]).await;
    let found: Vec<_> = reply
        .results
        .iter()
        .map(|probed| (probed.peer, probed.outcome.is_ok()))
        .collect();
    assert_eq!(found, [(other.hello.peer, true), (silent, false)], "{reply:?}");
}
