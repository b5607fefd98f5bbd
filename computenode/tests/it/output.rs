//! What goes into tasks and comes out of them: scripts, standard input, outputs as they grow, interactive tasks.

use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use proto::control::{
    FollowFrom, FollowReply, FollowRequest, Input, InputReply, NodeRequest, Order, Report, StartOrder, TaskFile,
};
use proto::ids::{AttemptId, JobId, Step};
use proto::model::task::{AttemptOutcome, Interactive};
use proto::units::Millis;
use transport::control::{StreamReader, StreamWriter};

use crate::agent::{joined, run, stdout, text};
use crate::head::Node;
use crate::node::script;
use crate::wait::{DEADLINE, until};

/// The output of an attempt, as it comes.
struct Follower {
    _to: StreamWriter,
    from: StreamReader,
}

impl Follower {
    async fn start(node: &Node, attempt: u64, from: FollowFrom, follow: bool) -> Self {
        let request = FollowRequest {
            job: JobId(12),
            attempt: AttemptId(attempt),
            from,
            follow,
        };
        let (_to, from) = node.ask(&NodeRequest::Follow(request)).await;
        Self { _to, from }
    }

    async fn next(&mut self) -> FollowReply {
        tokio::time::timeout(DEADLINE, self.from.recv())
            .await
            .expect("a reply")
            .expect("a message")
            .expect("it goes on")
    }

    /// Standard output until it holds this.
    async fn until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            match self.next().await {
                FollowReply::Piece(piece) if piece.file == TaskFile::Stdout => {
                    text.push_str(&String::from_utf8(piece.bytes).expect("text"));
                }
                other => panic!("{other:?} after {text}"),
            }
        }
        text
    }

    /// All that is left, with ranks.
    async fn rest(&mut self) -> (String, String, Vec<(String, Option<u32>)>) {
        let (mut out, mut err, mut labelled) = (String::new(), String::new(), Vec::new());
        loop {
            match self.next().await {
                FollowReply::Piece(piece) => {
                    let text = String::from_utf8(piece.bytes).expect("text");
                    match piece.file {
                        TaskFile::Stdout => out.push_str(&text),
                        TaskFile::Stderr => err.push_str(&text),
                    }
                    labelled.push((text, piece.rank.map(|rank| rank.0)));
                }
                FollowReply::Missing { reason, .. } => err.push_str(&reason),
                FollowReply::End => return (out, err, labelled),
            }
        }
    }
}

/// Somebody who types.
struct Typist {
    to: StreamWriter,
    from: StreamReader,
}

impl Typist {
    async fn attach(node: &Node, attempt: u64) -> Self {
        let (to, from) = node
            .ask(&NodeRequest::Input {
                attempt: AttemptId(attempt),
            })
            .await;
        Self { to, from }
    }

    async fn give(&mut self, input: Input) -> InputReply {
        // A node that refuses may have ended the stream.
        let _ = self.to.send(&input).await;
        tokio::time::timeout(DEADLINE, self.from.recv())
            .await
            .expect("a reply")
            .expect("a message")
            .expect("an answer")
    }

    async fn types(&mut self, text: &str) -> InputReply {
        self.give(Input::Bytes {
            bytes: text.as_bytes().to_vec(),
        })
        .await
    }
}

fn interactive(attempt: u64, terminal: bool, text: &str) -> StartOrder {
    StartOrder {
        interactive: Some(Interactive { terminal }),
        ..script(attempt, text)
    }
}

async fn started(node: &mut Node, order: StartOrder) {
    node.start(order).await;
    assert!(matches!(node.report().await, Report::Started { .. }));
}

async fn ended(node: &mut Node) -> AttemptOutcome {
    match node.report().await {
        Report::Ended { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_script_is_carried_and_standard_input_is_read() {
    let (_head, agent, mut node) = joined().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("in"), "data\n").expect("writes");
    let workdir = Some(folder.path().to_str().expect("text").to_owned());
    let carried = |attempt, text: &str| StartOrder {
        command: ["job.sh", "a b", "c"].map(str::to_owned).to_vec(),
        script: Some(text.to_owned()),
        stdin: Some("in".to_owned()),
        workdir: workdir.clone(),
        ..script(attempt, "")
    };
    let plain = carried(1, "echo $# \"$1\" $(basename $0); cat; echo $CCP_STDIN; exit 5\n");
    assert_eq!(run(&mut node, plain).await, AttemptOutcome::Exited { code: 5 });
    let own = format!("2 a b script\ndata\n{}/in\n", folder.path().display());
    assert_eq!(text(stdout(&node, 1).await), own);
    let mut first_line = carried(
        2,
        "#!/usr/bin/env sh\necho $# \"$1\"; tr a-z A-Z; echo $CCP_TASKINSTANCEID\n",
    );
    first_line.task.step = Some(Step(7));
    assert_eq!(run(&mut node, first_line).await, AttemptOutcome::Exited { code: 0 });
    assert_eq!(text(stdout(&node, 2).await), "2 a b\nDATA\n7\n");
    let made = std::fs::metadata(agent.path("tasks/12/1.7-2/script")).expect("it is there");
    assert_eq!(made.mode() & 0o777, 0o500);

    let missing = StartOrder {
        stdin: Some("none".to_owned()),
        ..script(3, "cat")
    };
    let AttemptOutcome::NotStarted { reason } = run(&mut node, missing).await else {
        panic!("it started")
    };
    assert!(
        reason.starts_with("node node1: standard input cannot be read from '") && reason.contains("/wd/none': no such"),
        "{reason}"
    );
}

#[tokio::test]
async fn both_outputs_are_followed_as_they_grow_and_to_their_end() {
    let (_head, agent, mut node) = joined().await;
    let go = agent.path("go");
    // The question is there before the order.
    let mut early = Follower::start(&node, 1, FollowFrom::Start, true).await;
    let text = format!(
        "echo one; while ! test -e {}; do sleep 0.01; done; echo two; echo wrong >&2; exit 3",
        go.display()
    );
    started(&mut node, script(1, &text)).await;
    assert_eq!(node.alongside(early.until("\n")).await, "one\n");
    // What is there now, and no more.
    let mut now = Follower::start(&node, 1, FollowFrom::Start, false).await;
    assert_eq!(node.alongside(now.rest()).await.0, "one\n");
    let mut late = Follower::start(&node, 1, FollowFrom::Last { bytes: 2 }, true).await;
    assert_eq!(node.alongside(late.until("\n")).await, "e\n");
    std::fs::write(&go, "").expect("writes");
    for follower in [&mut early, &mut late] {
        let (out, err, _) = node.alongside(follower.rest()).await;
        assert_eq!((out.as_str(), err.as_str()), ("two\n", "wrong\n"));
    }
    assert_eq!(ended(&mut node).await, AttemptOutcome::Exited { code: 3 });

    // Long after the end, from where another stream broke off.
    let at = FollowFrom::At { stdout: 4, stderr: 0 };
    let mut again = Follower::start(&node, 1, at, true).await;
    assert_eq!(node.alongside(again.rest()).await.0, "two\n");
    let mut never = Follower::start(&node, 99, FollowFrom::Start, false).await;
    assert!(node.alongside(never.rest()).await.1.contains("never started"));
}

#[tokio::test]
async fn outputs_elsewhere_and_those_begun_anew_are_followed() {
    let (_head, agent, mut node) = joined().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.txt");
    std::fs::write(&path, "of an earlier attempt").expect("writes");
    let file = Some(path.to_str().expect("text").to_owned());
    let go = agent.path("go");
    let wait = |number| format!("while ! test -e {}{number}; do sleep 0.01; done", go.display());
    let both = path.display();
    let text = format!("echo first; {}; : > {both}; echo x > {both}; {}", wait(1), wait(2));
    let order = StartOrder {
        stdout: file.clone(),
        stderr: file,
        ..script(1, &text)
    };
    let mut follower = Follower::start(&node, 1, FollowFrom::Start, true).await;
    started(&mut node, order).await;
    assert_eq!(node.alongside(follower.until("\n")).await, "first\n");
    std::fs::write(format!("{}1", go.display()), "").expect("writes");
    assert_eq!(node.alongside(follower.until("\n")).await, "x\n");
    std::fs::write(format!("{}2", go.display()), "").expect("writes");
    assert_eq!(node.alongside(follower.rest()).await.0, "");

    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let linked = format!("cd {}; rm both.txt; ln -s pipe both.txt", folder.path().display());
    assert_eq!(ended(&mut node).await, AttemptOutcome::Exited { code: 0 });
    assert_eq!(
        run(&mut node, script(2, &linked)).await,
        AttemptOutcome::Exited { code: 0 }
    );
    let mut pipe = Follower::start(&node, 1, FollowFrom::Start, true).await;
    let (_, said, _) = node.alongside(pipe.rest()).await;
    assert!(said.contains("not a regular file"), "{said}");
}

#[tokio::test]
async fn ranks_are_told_where_the_launcher_noted_them() {
    let (_head, _agent, mut node) = joined().await;
    // Two runs: four bytes of rank 1, five of rank 0; what follows is nobody's.
    let text = r#"test "$MUSTER_RANK_NOTES" = "$AZ_BATCH_TASK_DIR" || exit 9
        printf '\004\0\0\0\0\0\0\0\001\0\0\0\0\0\0\0\011\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' > $MUSTER_RANK_NOTES/stdout.ranks
        printf 'one\nzero\nme\n'"#;
    assert_eq!(
        run(&mut node, script(1, text)).await,
        AttemptOutcome::Exited { code: 0 }
    );
    let mut follower = Follower::start(&node, 1, FollowFrom::Start, true).await;
    let expected = [("one\n", Some(1)), ("zero\n", Some(0)), ("me\n", None)];
    let (_, _, labelled) = node.alongside(follower.rest()).await;
    assert_eq!(labelled, expected.map(|(text, rank)| (text.to_owned(), rank)));
    let elsewhere = StartOrder {
        stdout: Some("out".to_owned()),
        ..script(2, "exit ${MUSTER_RANK_NOTES:+9}")
    };
    assert_eq!(run(&mut node, elsewhere).await, AttemptOutcome::Exited { code: 0 });
}

#[tokio::test]
async fn a_program_on_a_terminal_is_talked_to() {
    let (_head, _agent, mut node) = joined().await;
    let text = "test -t 0 && test -t 1 && test -t 2 || exit 9; stty -echo; echo ready $TERM; \
                read name; echo hello $name; stty size; read more || echo end >&2; exit 7";
    // Both are there before the task.
    let mut screen = Follower::start(&node, 1, FollowFrom::Start, true).await;
    let mut typist = Typist::attach(&node, 1).await;
    started(&mut node, interactive(1, true, text)).await;
    assert_eq!(node.alongside(screen.until("\n")).await, "ready xterm-256color\r\n");
    let size = Input::Size { rows: 50, columns: 132 };
    assert_eq!(node.alongside(typist.give(size)).await, InputReply::Taken);
    assert_eq!(node.alongside(typist.types("you\n")).await, InputReply::Taken);
    assert_eq!(node.alongside(screen.until("132\r\n")).await, "hello you\r\n50 132\r\n");

    // Another one attaches; the first is not heard any more.
    let mut other = Typist::attach(&node, 1).await;
    assert_eq!(node.alongside(other.types("")).await, InputReply::Taken);
    assert!(
        matches!(node.alongside(typist.types("x")).await, InputReply::Closed { reason } if reason.contains("attached"))
    );
    assert_eq!(node.alongside(other.give(Input::End)).await, InputReply::Taken);
    assert_eq!(node.alongside(screen.rest()).await.0, "end\r\n");
    assert_eq!(ended(&mut node).await, AttemptOutcome::Exited { code: 7 });
    let mut late = Typist::attach(&node, 1).await;
    assert!(matches!(node.alongside(late.types("x")).await, InputReply::Closed { reason } if reason.contains("ended")));
}

#[tokio::test]
async fn a_program_without_a_terminal_reads_what_is_typed_to_its_end() {
    let (_head, _agent, mut node) = joined().await;
    let carried = StartOrder {
        script: Some("tr a-z A-Z; echo done >&2; kill -USR1 $$\n".to_owned()),
        command: vec!["upper.sh".to_owned()],
        ..interactive(1, false, "")
    };
    started(&mut node, carried).await;
    let mut typist = Typist::attach(&node, 1).await;
    // More than a pipe holds.
    let long = "x".repeat(60_000);
    for _ in 0..4 {
        assert_eq!(node.alongside(typist.types(&long)).await, InputReply::Taken);
    }
    assert_eq!(node.alongside(typist.types("end\n")).await, InputReply::Taken);
    assert_eq!(node.alongside(typist.give(Input::End)).await, InputReply::Taken);
    let outcome = ended(&mut node).await;
    assert_eq!(
        outcome,
        AttemptOutcome::Signaled {
            signal: Signal::SIGUSR1 as i32
        }
    );
    let (out, err, _) = rest_of(&mut node, 1).await;
    assert_eq!((out.len(), err.as_str()), (240_004, "done\n"));

    started(&mut node, script(2, "sleep 1000")).await;
    let mut typist = Typist::attach(&node, 2).await;
    let InputReply::Closed { reason } = node.alongside(typist.types("x")).await else {
        panic!("it took input")
    };
    assert!(reason.contains("not submitted as interactive"), "{reason}");
}

#[tokio::test]
async fn an_interactive_task_is_stopped_and_one_without_a_program_says_so() {
    let (_head, agent, mut node) = joined().await;
    let pid_file = agent.path("pid");
    let text = format!(
        "trap 'echo asked; exit 4' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        pid_file.display()
    );
    started(&mut node, interactive(1, true, &text)).await;
    let program = crate::wait::pid_in(&pid_file);
    node.order(Order::Stop {
        attempt: AttemptId(1),
        grace: Millis(10_000),
    })
    .await;
    assert_eq!(ended(&mut node).await, AttemptOutcome::Stopped);
    assert!(!crate::wait::alive(program));
    let said = text_of(&node, 1).await;
    assert!(said.ends_with("asked\r\n"), "{said}");

    let nothing = StartOrder {
        command: vec!["no-such-program".to_owned()],
        ..interactive(2, true, "")
    };
    assert_eq!(run(&mut node, nothing).await, AttemptOutcome::Exited { code: 127 });
    let (_, err, _) = rest_of(&mut node, 2).await;
    assert!(err.contains("no program 'no-such-program'"), "{err}");
    until("the task's end", || (!agent.path("records/2").exists()).then_some(()));
}

#[tokio::test]
async fn a_terminal_outlives_the_agent_and_takes_an_interrupt() {
    let (head, mut agent, mut node) = joined().await;
    started(&mut node, interactive(1, true, "echo ready; exec sleep 1000")).await;
    let mut before = Typist::attach(&node, 1).await;
    assert_eq!(node.alongside(before.types("unheard\n")).await, InputReply::Taken);
    agent.kill(Signal::SIGKILL);
    agent.exit_code();
    agent.again(&head.address());
    let mut node = head.node().await;
    let mut screen = Follower::start(&node, 1, FollowFrom::Start, true).await;
    let shown = node.alongside(screen.until("ready\r\n")).await;
    assert!(shown.contains("ready"), "{shown}");
    let mut typist = Typist::attach(&node, 1).await;
    assert_eq!(node.alongside(typist.types("\x03")).await, InputReply::Taken);
    let interrupted = AttemptOutcome::Signaled {
        signal: Signal::SIGINT as i32,
    };
    assert_eq!(ended(&mut node).await, interrupted);
}

async fn text_of(node: &Node, attempt: u64) -> String {
    text(stdout(node, attempt).await)
}

async fn rest_of(node: &mut Node, attempt: u64) -> (String, String, Vec<(String, Option<u32>)>) {
    let mut follower = Follower::start(node, attempt, FollowFrom::Start, true).await;
    node.alongside(follower.rest()).await
}
