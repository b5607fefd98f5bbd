//! What a real agent does besides tasks: old folders go, and the node starts anew.

use nix::sys::signal::Signal;
use proto::control::{FileReply, Order, Report, StartOrder};
use proto::ids::{AttemptId, JobId};
use proto::model::role::TaskRole;
use proto::model::task::AttemptOutcome;
use proto::units::Millis;

use crate::agent::{joined, run, stdout, text};
use crate::node::script;
use crate::wait::until_later;

#[tokio::test]
async fn folders_go_when_their_retention_is_over_or_their_job_is_deleted() {
    let (_head, agent, mut node) = joined().await;
    let order = StartOrder {
        retention: Some(Millis(0)),
        ..script(1, "echo hi")
    };
    assert_eq!(run(&mut node, order).await, AttemptOutcome::Exited { code: 0 });
    let folder = agent.path("tasks/12");
    node.alongside(until_later("its folder's end", || !folder.exists()))
        .await;
    let FileReply::Missing { reason } = stdout(&node, 1).await else {
        panic!("it was removed")
    };
    assert!(reason.contains("retention"), "{reason}");

    run(&mut node, script(2, "echo two")).await;
    let waits = agent.path("waits");
    std::fs::write(&waits, "").expect("writes");
    let text_of = format!("while test -e {}; do sleep 0.01; done", waits.display());
    node.start(script(3, &text_of)).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
    assert_eq!(text(stdout(&node, 2).await), "two\n");
    node.order(Order::ForgetJob { job: JobId(12) }).await;
    let (ended, held) = (folder.join("1-2"), folder.join("1-3"));
    node.alongside(until_later("its folder's end", || !ended.exists()))
        .await;
    assert!(held.exists(), "a task runs in it");
    std::fs::remove_file(waits).expect("it is there");
    assert!(matches!(
        node.report().await,
        Report::Ended {
            attempt: AttemptId(3),
            outcome: AttemptOutcome::Exited { code: 0 },
            ..
        }
    ));
    node.alongside(until_later("the job's folder's end", || !folder.exists()))
        .await;
}

#[tokio::test]
async fn a_node_starts_anew_by_the_command_of_its_settings() {
    let (head, mut agent, mut node) = joined().await;
    node.order(Order::Restart { reimage: true }).await;
    let Report::ErrandRefused { reason } = node.report().await else {
        panic!("nothing is set")
    };
    let settings = agent
        .path("node.toml")
        .canonicalize()
        .unwrap_or_else(|_| agent.path("node.toml"));
    assert!(
        reason.contains("set reimage =") && reason.contains(&settings.display().to_string()),
        "{reason}"
    );

    let line = format!(
        "echo x >> {ran}; kill -9 $(cat {spawner})",
        ran = agent.path("ran").display(),
        spawner = agent.path("spawner.pid").display()
    );
    std::fs::write(
        &settings,
        format!("[restart]\nreboot = \"{line}\"\nreimage = \"exit 5\"\n"),
    )
    .expect("writes");
    agent.kill(Signal::SIGTERM);
    agent.exit_code();
    agent.again(&head.address());
    let mut node = head.node().await;
    node.order(Order::Restart { reimage: true }).await;
    let Report::ErrandRefused { reason } = node.report().await else {
        panic!("it fails")
    };
    assert!(reason.contains("'exit 5' failed (exit status: 5)"), "{reason}");

    for _ in 0..3 {
        node.order(Order::Restart { reimage: false }).await;
    }
    let again = head.node().await;
    assert_ne!(again.hello.boot, node.hello.boot, "another life");
    assert!(again.hello.held.is_empty());
    let ran = std::fs::read_to_string(agent.path("ran")).expect("it ran");
    assert_eq!(ran, "x\n", "once");
}

#[tokio::test]
async fn a_start_task_is_found_at_the_nodes_startup_folder() {
    let (_head, agent, mut node) = joined().await;
    let of_start = |attempt| StartOrder {
        role: TaskRole::Start,
        retention: Some(Millis(0)),
        ..script(
            attempt,
            "cd $AZ_BATCH_NODE_STARTUP_DIR/wd && pwd -P; echo $AZ_BATCH_TASK_ID; echo x > $AZ_BATCH_NODE_SHARED_DIR/x",
        )
    };
    run(&mut node, of_start(1)).await;
    assert_eq!(run(&mut node, of_start(2)).await, AttemptOutcome::Exited { code: 0 });
    let older = agent.path("tasks/12/1-1");
    node.alongside(until_later("the older one's end", || !older.exists()))
        .await;
    let wd = agent.path("tasks/12/1-2/wd").canonicalize().expect("it stays");
    let written = std::fs::read_to_string(agent.path("startup/stdout.txt")).expect("an output");
    assert_eq!(written, format!("{}\n\n", wd.display()));
    assert!(agent.path("shared/x").exists());
}
