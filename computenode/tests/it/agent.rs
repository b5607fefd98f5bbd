//! One agent and its spawner as real processes, with a head node played by the test.

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use proto::control::{FileReply, FileRequest, HeldState, Order, Report, StartOrder, TaskFile};
use proto::ids::{AttemptId, JobId};
use proto::model::owner::Owner;
use proto::model::task::AttemptOutcome;
use proto::units::Millis;
use transport::identity::{Fingerprint, JoinToken};

use crate::head::{Head, Node};
use crate::node::{AgentProcess, address, script};
use crate::wait::{alive, pid_in, until};

pub(crate) async fn joined() -> (Head, AgentProcess, Node) {
    let mut head = Head::start();
    let agent = AgentProcess::start(1, &head.address(), Some(&head.token()));
    head.join().await;
    let node = head.node().await;
    (head, agent, node)
}

fn outcome(report: Report) -> AttemptOutcome {
    match report {
        Report::Ended { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn run(node: &mut Node, order: StartOrder) -> AttemptOutcome {
    node.start(order).await;
    match node.report().await {
        Report::Started { .. } => outcome(node.report().await),
        ended => outcome(ended),
    }
}

pub(crate) async fn stdout(node: &Node, attempt: u64) -> FileReply {
    let request = FileRequest {
        job: JobId(12),
        attempt: AttemptId(attempt),
        file: TaskFile::Stdout,
        last_bytes: 1000,
    };
    node.file(&request).await
}

pub(crate) fn text(reply: FileReply) -> String {
    match reply {
        FileReply::Tail { bytes, .. } => String::from_utf8(bytes).expect("text"),
        FileReply::Missing { reason } => panic!("{reason}"),
    }
}

#[tokio::test]
async fn a_node_joins_runs_a_task_and_shows_its_output() {
    let (head, mut agent, mut node) = joined().await;
    assert_eq!(
        (node.hello.name.as_str(), node.remote.ip(), node.hello.peer.ip()),
        ("node1", address(1), address(1))
    );
    assert!(node.hello.inventory.cores >= 1 && node.hello.held.is_empty());
    assert_eq!(
        run(&mut node, script(7, "echo hi; exit 3")).await,
        AttemptOutcome::Exited { code: 3 }
    );
    assert_eq!(text(stdout(&node, 7).await), "hi\n");
    until("the record's end", || (!agent.path("records/7").exists()).then_some(()));

    // The certificate is kept: no token is needed any more, and the node finds the old files.
    agent.kill(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
    agent.again(&head.address());
    let again = head.node().await;
    assert_eq!((again.hello.boot, again.hello.held.len()), (node.hello.boot, 0));
    assert_eq!(again.hello.peer, node.hello.peer, "peers find it where it was");
    assert_eq!(text(stdout(&again, 7).await), "hi\n");
}

#[tokio::test]
async fn what_the_user_names_is_used_and_what_is_missing_is_named() {
    let (_head, _agent, mut node) = joined().await;
    let folder = tempfile::tempdir().expect("a folder");
    let workdir = folder.path().to_str().expect("text").to_owned();
    let both = Some("both.txt".to_owned());
    let order = StartOrder {
        workdir: Some(workdir.clone()),
        stdout: both.clone(),
        stderr: both,
        ..script(1, "pwd; echo oops >&2; echo $CCP_NODES")
    };
    assert_eq!(run(&mut node, order).await, AttemptOutcome::Exited { code: 0 });
    assert_eq!(text(stdout(&node, 1).await), format!("{workdir}\noops\n1 node1 1\n"));
    assert!(folder.path().join("both.txt").exists());

    let refused = |reason: AttemptOutcome| match reason {
        AttemptOutcome::NotStarted { reason } => reason,
        other => panic!("{other:?}"),
    };
    let reason = refused(
        run(
            &mut node,
            StartOrder {
                workdir: Some("/no/such".to_owned()),
                ..script(2, "true")
            },
        )
        .await,
    );
    assert!(
        reason.starts_with("node node1: the working directory '/no/such' does not exist"),
        "{reason}"
    );
    let reason = refused(
        run(
            &mut node,
            StartOrder {
                command: vec!["foo".to_owned()],
                ..script(3, "")
            },
        )
        .await,
    );
    assert!(
        reason.starts_with("node node1: no program 'foo' in PATH (") && reason.contains("/bin:/usr/local"),
        "{reason}"
    );
    let nul = StartOrder {
        stdout: Some("nul".to_owned()),
        ..script(4, "echo hi")
    };
    assert_eq!(run(&mut node, nul).await, AttemptOutcome::Exited { code: 0 });
    assert!(matches!(stdout(&node, 4).await, FileReply::Missing { reason } if reason.contains("nul")));
}

#[tokio::test]
async fn tasks_of_a_privileged_daemon_run_as_their_owner() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED tasks_of_a_privileged_daemon_run_as_their_owner: needs root");
        return;
    }
    let (_head, _agent, mut node) = joined().await;
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("accounts can be read")
        .expect("nobody is there");
    let owner = Owner {
        name: nobody.name,
        uid: nobody.uid.as_raw(),
        gid: nobody.gid.as_raw(),
    };
    let text_of =
        "id -un; touch made; stat -c %U made $AZ_BATCH_TASK_DIR; ls $AZ_BATCH_NODE_ROOT_DIR 2>/dev/null | wc -l";
    let order = StartOrder {
        owner: owner.clone(),
        ..script(1, text_of)
    };
    assert_eq!(run(&mut node, order).await, AttemptOutcome::Exited { code: 0 });
    assert_eq!(text(stdout(&node, 1).await), "nobody\nnobody\nnobody\n0\n");

    let other = Owner { uid: 4242, ..owner };
    let AttemptOutcome::NotStarted { reason } = run(
        &mut node,
        StartOrder {
            owner: other,
            ..script(2, "true")
        },
    )
    .await
    else {
        panic!("it started")
    };
    assert!(
        reason.contains("node1") && reason.contains("'nobody'") && reason.contains("uid 4242"),
        "{reason}"
    );
}

#[tokio::test]
async fn stop_and_release_are_answered() {
    let (_head, agent, mut node) = joined().await;
    let pid_file = agent.path("pid");
    std::fs::write(&pid_file, "").expect("writes");
    node.start(script(1, &format!("echo $$ > {}; exec sleep 1000", pid_file.display())))
        .await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    node.order(Order::Stop {
        attempt: AttemptId(1),
        grace: Millis(1000),
    })
    .await;
    assert_eq!(outcome(node.report().await), AttemptOutcome::Stopped);
    assert!(!alive(pid_in(&pid_file)));

    node.start(script(2, "exec sleep 1000")).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    for attempt in [AttemptId(2), AttemptId(99)] {
        node.order(Order::Release { attempt }).await;
        assert_eq!(node.report().await, Report::Released { attempt });
    }
}

#[tokio::test]
async fn reports_survive_the_death_of_the_agent() {
    let (head, mut agent, mut node) = joined().await;
    let go = agent.path("go");
    let order = script(
        1,
        &format!(
            "echo x >> ran; while ! test -e {}; do sleep 0.01; done; exit 9",
            go.display()
        ),
    );
    node.start(order.clone()).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    agent.kill(Signal::SIGKILL);
    assert_eq!(agent.exit_code(), None);
    std::fs::write(&go, "").expect("writes");
    until("the record", || agent.path("records/1").exists().then_some(()));

    agent.again(&head.address());
    let mut node = head.node().await;
    assert_eq!(
        node.hello.held.iter().map(|held| &held.state).collect::<Vec<_>>(),
        [&HeldState::Ended]
    );
    node.start(order).await;
    assert_eq!(outcome(node.report_untaken().await), AttemptOutcome::Exited { code: 9 });
    // Not acknowledged: told again to the next connection, of the same agent or another.
    agent.kill(Signal::SIGKILL);
    agent.exit_code();
    agent.again(&head.address());
    let mut node = head.node().await;
    assert_eq!(outcome(node.report().await), AttemptOutcome::Exited { code: 9 });
    let ran = std::fs::read_to_string(agent.path("tasks/12/1-1/wd/ran")).expect("it ran");
    assert_eq!(ran, "x\n", "it ran once");
}

#[tokio::test]
async fn a_dead_spawner_is_replaced_and_its_tasks_are_over() {
    let (head, agent, mut node) = joined().await;
    let pid_file = agent.path("pid");
    node.start(script(1, &format!("echo $$ > {}; exec sleep 1000", pid_file.display())))
        .await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    let (task, spawner) = (pid_in(&pid_file), agent.spawner_pid().expect("a spawner"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(spawner), Signal::SIGKILL).expect("it is there");

    let mut again = head.node().await;
    assert_ne!(again.hello.boot, node.hello.boot);
    assert!(again.hello.held.is_empty() && !alive(task));
    assert_eq!(
        run(&mut again, script(2, "exit 2")).await,
        AttemptOutcome::Exited { code: 2 }
    );
}

#[tokio::test]
async fn a_lost_head_node_is_dialled_again() {
    let (head, _agent, mut node) = joined().await;
    node.start(script(1, "sleep 0.3; exit 4")).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    // Heartbeats are not answered any more; the end of the task comes with the next connection.
    let mut again = head.node().await;
    assert_eq!(again.hello.held.len(), 1);
    assert_eq!(outcome(again.report().await), AttemptOutcome::Exited { code: 4 });
    drop(node);
}

#[tokio::test]
async fn a_refused_token_ends_the_agent_with_the_reason() {
    let mut head = Head::start();
    let other: JoinToken = Head::start().token().parse().expect("a token");
    let fingerprint: Fingerprint = head.token().parse::<JoinToken>().expect("a token").authority;
    let used_up = JoinToken {
        authority: fingerprint,
        ..other.clone()
    };
    let mut agent = AgentProcess::start(1, &head.address(), Some(&used_up.to_string()));
    head.join().await;
    assert_eq!(agent.exit_code(), Some(1));
    let log = agent.log();
    assert!(
        log.contains("used up") && log.contains("cannot join") && !log.contains(&used_up.secret.to_hex()),
        "{log}"
    );

    // The token of another cluster.
    let mut agent = AgentProcess::start(1, &head.address(), Some(&other.to_string()));
    tokio::select! {
        () = head.join() => panic!("it must not get so far"),
        code = tokio::task::spawn_blocking(move || { let code = agent.exit_code(); (code, agent) }) => {
            let (code, agent) = code.expect("no panic");
            assert_eq!(code, Some(1));
            assert!(agent.log().contains(&other.authority.short()), "{}", agent.log());
        }
    }

    let mut agent = AgentProcess::start(1, &head.address(), None);
    assert_eq!(agent.exit_code(), Some(1));
    assert!(agent.log().contains("muster node join-command"), "{}", agent.log());
}
