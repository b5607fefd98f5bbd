//! Tasks that coordinate first, and the files that every node gets, at one real agent and its spawner.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use proto::control::{HeldState, Order, Report, StartOrder};
use proto::ids::AttemptId;
use proto::model::owner::Owner;
use proto::model::task::{AttemptOutcome, CommonFile};
use proto::units::Millis;

use crate::agent::joined;
use crate::head::Node;
use crate::node::{address, script, share};
use crate::wait::{alive, pid_in, until, until_later};

const ATTEMPT: AttemptId = AttemptId(7);

/// The folder of that attempt.
const FOLDER: &str = "tasks/12/1-7";

/// A task of nodes 1 and 2 that coordinates with a shell script.
fn coordinating(coordination: &str, command: &str) -> StartOrder {
    StartOrder {
        coordination: Some(["sh", "-c", coordination].map(str::to_owned).to_vec()),
        nodes: [1, 2].map(|number| share(number, (address(number), 1).into())).to_vec(),
        ..script(7, command)
    }
}

/// The same where the real node is not the primary.
fn as_member(order: StartOrder) -> StartOrder {
    let nodes = order.nodes.into_iter().rev().collect();
    StartOrder { nodes, ..order }
}

async fn coordinated(node: &mut Node) {
    assert_eq!(node.report().await, Report::Coordinated { attempt: ATTEMPT });
}

async fn reason(node: &mut Node) -> String {
    match node.report().await {
        Report::Ended {
            outcome: AttemptOutcome::NotStarted { reason },
            ..
        } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_primary_coordinates_begins_when_told_and_ends_what_both_left() {
    let (_head, agent, mut node) = joined().await;
    let pids = agent.path("pids");
    let coordination = format!(
        "echo $AZ_BATCH_IS_CURRENT_NODE_MASTER $PWD ${{MUSTER_RANK_NOTES-no}}; echo oops >&2; sleep 1000 & echo $! > {}",
        pids.display()
    );
    let order = coordinating(&coordination, "cat ../coordination-stderr.txt; exit 4");
    node.start(order).await;
    coordinated(&mut node).await;
    let left = pid_in(&pids);
    let read = |name: &str| std::fs::read_to_string(agent.path(FOLDER).join(name));
    let wd = agent.path(FOLDER).join("wd").canonicalize().expect("it is there");
    assert_eq!(
        read("coordination-stdout.txt").expect("an output"),
        format!("true {} no\n", wd.display())
    );
    assert!(alive(left), "what it left runs on");
    assert!(read("stdout.txt").is_err(), "the command has not begun");
    for _ in 0..2 {
        node.order(Order::Begin { attempt: ATTEMPT }).await;
    }
    let Report::Ended { outcome, .. } = node.next_end().await else {
        panic!("no end")
    };
    assert_eq!(outcome, AttemptOutcome::Exited { code: 4 });
    assert_eq!(read("stdout.txt").expect("an output"), "oops\n");
    assert!(!alive(left), "its end is told when nothing runs any more");
}

#[tokio::test]
async fn a_coordination_that_fails_ends_the_attempt_with_its_last_line() {
    let (_head, agent, mut node) = joined().await;
    let pids = agent.path("pids");
    let coordination = format!(
        "echo first >&2; echo 'mount: no such server' >&2; echo >&2; sleep 1000 & echo $! > {}; exit 3",
        pids.display()
    );
    node.start(as_member(coordinating(&coordination, "true"))).await;
    assert_eq!(
        reason(&mut node).await,
        "node node1: the coordination command failed with exit code 3: mount: no such server"
    );
    assert!(!alive(pid_in(&pids)));

    let mut missing = coordinating("", "true");
    missing.attempt = AttemptId(8);
    missing.coordination = Some(vec!["no-such-program".to_owned()]);
    node.start(missing).await;
    let told = reason(&mut node).await;
    assert!(
        told.starts_with(
            "node node1: the coordination command cannot be started: no program 'no-such-program' in PATH"
        ),
        "{told}"
    );

    let mut long = coordinating("echo began >&2; exec sleep 1000", "true");
    long.attempt = AttemptId(9);
    long.runtime_limit = Some(Millis(300));
    node.start(long).await;
    assert_eq!(
        reason(&mut node).await,
        "node node1: the coordination command ran longer than the run-time limit of its task (300ms): began"
    );
}

#[tokio::test]
async fn an_agent_that_dies_in_mid_coordination_is_followed_by_one_that_goes_on() {
    let (head, mut agent, mut node) = joined().await;
    let (pid, ran) = (agent.path("pid"), agent.path("ran"));
    // Ends when the test removes the file that it waits for.
    let coordination = format!(
        "echo x >> {}; echo $$ > {pid}; while test -e {pid}; do sleep 0.01; done",
        ran.display(),
        pid = pid.display()
    );
    node.start(coordinating(&coordination, "exit 5")).await;
    let running = node.alongside(async { until_later("its number", || pid.exists()).await });
    running.await;
    let running = pid_in(&pid);
    agent.kill(Signal::SIGKILL);
    agent.exit_code();
    std::fs::remove_file(&pid).expect("it is there");
    until("its end", || (!alive(running)).then_some(()));

    // The word of its end found nobody; the next agent asks.
    agent.again(&head.address());
    let mut node = head.node().await;
    assert_eq!(node.hello.held.len(), 1);
    assert_eq!(node.hello.held[0].state, HeldState::Waiting);
    coordinated(&mut node).await;

    agent.kill(Signal::SIGKILL);
    agent.exit_code();
    agent.again(&head.address());
    let mut node = head.node().await;
    node.order(Order::Begin { attempt: ATTEMPT }).await;
    coordinated(&mut node).await;
    assert!(matches!(
        node.next_end().await,
        Report::Ended {
            outcome: AttemptOutcome::Exited { code: 5 },
            ..
        }
    ));
    assert_eq!(std::fs::read_to_string(ran).expect("it ran"), "x\n", "it ran once");
}

#[tokio::test]
async fn a_release_or_a_stop_ends_a_coordination() {
    let (_head, agent, mut node) = joined().await;
    let pid = agent.path("pid");
    let coordination = format!("echo $$ > {}; exec sleep 1000", pid.display());
    node.start(as_member(coordinating(&coordination, "true"))).await;
    node.alongside(until_later("its number", || pid.exists())).await;
    let running = pid_in(&pid);
    node.order(Order::Release { attempt: ATTEMPT }).await;
    assert_eq!(node.report().await, Report::Released { attempt: ATTEMPT });
    assert!(!alive(running));

    std::fs::remove_file(&pid).expect("it is there");
    let mut order = coordinating(&coordination, "true");
    order.attempt = AttemptId(8);
    node.start(order).await;
    node.alongside(until_later("its number", || pid.exists())).await;
    node.order(Order::Stop {
        attempt: AttemptId(8),
        grace: Millis(10_000),
    })
    .await;
    assert!(matches!(
        node.report().await,
        Report::Ended {
            outcome: AttemptOutcome::Stopped,
            ..
        }
    ));
}

#[tokio::test]
async fn a_spawner_that_dies_in_mid_coordination_takes_it_along() {
    let (head, agent, mut node) = joined().await;
    let pid = agent.path("pid");
    let coordination = format!("echo $$ > {}; exec sleep 1000", pid.display());
    node.start(coordinating(&coordination, "true")).await;
    node.alongside(until_later("its number", || pid.exists())).await;
    let running = pid_in(&pid);
    kill(Pid::from_raw(agent.spawner_pid().expect("a spawner")), Signal::SIGKILL).expect("it is there");
    let again = head.node().await;
    assert_ne!(again.hello.boot, node.hello.boot);
    assert!(again.hello.held.is_empty() && !alive(running));
}

#[tokio::test]
async fn every_node_gets_the_common_files_as_the_tasks_user() {
    let (_head, agent, mut node) = joined().await;
    let file = |path: &str, mode| CommonFile {
        path: path.to_owned(),
        text: "#!/bin/sh\nid -u\n".to_owned(),
        mode,
    };
    let mut owner = script(1, "").owner;
    if geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody")
            .expect("accounts can be read")
            .expect("nobody is there");
        owner = Owner {
            name: nobody.name,
            uid: nobody.uid.as_raw(),
            gid: nobody.gid.as_raw(),
        };
    }
    let uid = owner.uid;
    let order = StartOrder {
        common_files: vec![file("bin/me", 0o755), file("data", 0o640)],
        owner: owner.clone(),
        ..coordinating(
            "$AZ_BATCH_TASK_SHARED_DIR/bin/me; stat -c '%a %u' ../data; echo more >> ../data",
            "true",
        )
    };
    node.start(as_member(order.clone())).await;
    coordinated(&mut node).await;
    let output = std::fs::read_to_string(agent.path(FOLDER).join("coordination-stdout.txt"));
    assert_eq!(output.expect("an output"), format!("{uid}\n640 {uid}\n"));

    // Without a coordination a member starts nothing, and has them all the same.
    let plain = StartOrder {
        attempt: AttemptId(8),
        coordination: None,
        ..as_member(order.clone())
    };
    node.start(plain).await;
    let path = agent.path("tasks/12/1-8/data");
    node.alongside(until_later("its files", || path.exists())).await;

    let wrong = StartOrder {
        attempt: AttemptId(9),
        coordination: None,
        common_files: vec![file("../../x", 0o600)],
        ..as_member(order)
    };
    node.start(wrong).await;
    let told = reason(&mut node).await;
    assert!(
        told.starts_with("node node1: the common file '../../x' cannot be put into the task's folder: give a path"),
        "{told}"
    );
    assert!(!agent.path("tasks/12/x").exists() && !agent.path("tasks/x").exists());
}
