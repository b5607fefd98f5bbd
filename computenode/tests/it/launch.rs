//! Launches: two nodes of one allocation, and a test that asks as `mpiexec` would.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use proto::control::{AllocationAuthority, Order, Report, StartOrder};
use proto::frame::VERSION;
use proto::ids::{AttemptId, LaunchId, NodeId};
use proto::launch::{AgentReply, AgentRequest};
use tempfile::TempDir;
use tokio::net::UnixStream;
use transport::control::{Settings, dial, split_socket};
use transport::identity::{Alpn, ClientTls, Identity, KeyPair, allocation_server_name};

use crate::head::Head;
use crate::node::{AgentProcess, script, share};
use crate::wait::{DEADLINE, alive, pid_in, until};

/// The node's program with a proxy beside it that only says that it runs.
fn programs() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("muster-computenode");
    let built = env!("CARGO_BIN_EXE_muster-computenode");
    if std::fs::hard_link(built, &program).is_err() {
        std::fs::copy(built, &program).expect("copies");
    }
    let proxy = folder.path().join("muster-mpiexec");
    let text = "#!/bin/sh\necho $$ > $AZ_BATCH_TASK_DIR/pid\n\
                echo \"$1 $MUSTER_LAUNCH $MUSTER_LAUNCH_RENDEZVOUS $MUSTER_NODE_NAME\"\nexec sleep 1000\n";
    std::fs::write(&proxy, text).expect("writes");
    std::fs::set_permissions(&proxy, PermissionsExt::from_mode(0o755)).expect("sets the mode");
    (folder, program)
}

/// One request on a task's socket.
async fn ask(agent: &AgentProcess, request: &AgentRequest) -> AgentReply {
    let (mut to, mut from) = split_socket(
        UnixStream::connect(agent.path("launch/7.sock"))
            .await
            .expect("connects"),
    );
    to.send(request).await.expect("sent");
    from.recv().await.expect("a message").expect("an answer")
}

#[tokio::test]
async fn proxies_start_on_both_nodes_and_end_with_the_allocation() {
    let (_programs, program) = programs();
    let mut head = Head::start();
    let first = AgentProcess::start_program(program.clone(), 1, &head.address(), Some(&head.token()));
    head.join().await;
    let mut node1 = head.node().await;
    let second = AgentProcess::start_program(program, 2, &head.address(), Some(&head.token()));
    head.join().await;
    let mut node2 = head.node().await;

    let order = StartOrder {
        nodes: vec![share(1, node1.hello.peer), share(2, node2.hello.peer)],
        authority: Some(AllocationAuthority { seed: vec![7; 32] }),
        ..script(7, "exec sleep 1000")
    };
    node1.start(order.clone()).await;
    node2.start(order).await;
    assert!(matches!(node1.report().await, Report::Started { .. }));
    until("the second socket", || {
        second.path("launch/7.sock").exists().then_some(())
    });
    let mode = std::fs::metadata(first.path("launch/7.sock"))
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let AgentReply::Allocation(view) = ask(&first, &AgentRequest::Describe { version: VERSION }).await else {
        panic!()
    };
    assert_eq!(
        (view.attempt, view.here, view.nodes.len()),
        (AttemptId(7), NodeId(1), 2)
    );

    let key = KeyPair::generate().expect("a key");
    let request = key.certificate_request().expect("a request").to_vec();
    let AgentReply::Certified { certificate, authority } = ask(&first, &AgentRequest::Certify { request }).await else {
        panic!()
    };
    let identity = Identity::new(key, certificate.into(), authority.into()).expect("fits");

    let rendezvous = ([127, 0, 0, 2], 9).into();
    let start = AgentRequest::StartProxy {
        launch: LaunchId(5),
        rendezvous,
    };
    assert_eq!(ask(&first, &start).await, AgentReply::ProxyStarted);
    let tls = ClientTls::new(Some(&identity), &identity.trust(), Alpn::Launch).expect("tls");
    let name = allocation_server_name(AttemptId(7));
    let peer = dial(node2.hello.peer, &name, &tls, Settings::default(), DEADLINE)
        .await
        .expect("dials");
    let (mut to, mut from) = peer.open_stream().await.expect("a stream");
    to.send(&AgentRequest::Describe { version: VERSION })
        .await
        .expect("sent");
    let refused: AgentReply = from.recv().await.expect("a message").expect("an answer");
    assert!(matches!(refused, AgentReply::Refused { .. }), "{refused:?}");
    to.send(&start).await.expect("sent");
    let started: AgentReply = from.recv().await.expect("a message").expect("an answer");
    assert_eq!(started, AgentReply::ProxyStarted);

    let mut pids = Vec::new();
    for (agent, name) in [(&first, "node1"), (&second, "node2")] {
        pids.push(pid_in(&agent.path("tasks/12/1-7/pid")));
        let line = format!("proxy {} 127.0.0.2:9 {name}\n", LaunchId(5));
        until("the proxy's words", || {
            (std::fs::read_to_string(agent.path("tasks/12/1-7/proxy.log")).ok()? == line).then_some(())
        });
    }

    node1
        .order(Order::Stop {
            attempt: AttemptId(7),
            grace: proto::units::Millis(1000),
        })
        .await;
    assert!(matches!(node1.report().await, Report::Ended { .. }));
    node2.order(Order::Release { attempt: AttemptId(7) }).await;
    assert_eq!(node2.report().await, Report::Released { attempt: AttemptId(7) });
    assert!(pids.iter().all(|pid| !alive(*pid)));
    assert!(!second.path("launch/7.sock").exists());
    // The authority of an allocation that is over opens nothing.
    let late = dial(
        node2.hello.peer,
        &name,
        &tls,
        Settings::default(),
        Duration::from_secs(5),
    )
    .await;
    assert!(late.is_err(), "{late:?}");
}
