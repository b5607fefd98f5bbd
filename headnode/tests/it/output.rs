//! Output, input and reachability, relayed between clients and nodes; and the news that clients are told.

use std::time::Duration;

use proto::client::{Output, OutputPart, RefusalCode, Reply, Request};
use proto::control::{
    FollowFrom, FollowReply, FollowRequest, HeadMessage, Input, InputReply, NodeMessage, NodeRequest, Order, Piece,
    ProbeReply, Probed, Report, StartOrder, TaskFile,
};
use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, NodeName, PoolName, Sequence, SubmissionId, TaskId, TaskNumber, UserName};
use proto::model::job::JobSpec;
use proto::model::owner::Role;
use proto::model::task::{AttemptOutcome, Interactive, TaskSpec};
use proto::units::{Millis, Timestamp};
use transport::control::{StreamReader, StreamWriter};

use crate::head::{DEADLINE, Head, Line};
use crate::peer::{Control, Member, Peer, ask, hello};

const TASK: TaskId = TaskId::new(JobId(1), TaskNumber(1));

/// A node that does what the test says.
struct Node {
    member: Member,
    control: Control,
    reports: u64,
}

impl Node {
    async fn join(head: &Head, line: &mut Line, name: &str) -> Self {
        let token = Request::MakeToken {
            pool: PoolName::new("default").expect("a name"),
            groups: Vec::new(),
            uses: 1,
            lifetime: Millis::from_seconds(60),
        };
        let Reply::Token { token, .. } = line.ask(&token).await else {
            panic!("no token")
        };
        let member = Peer::of(head).joined(&token, name).await;
        let control = Self::connected(&member, name).await;
        Self {
            member,
            control,
            reports: 0,
        }
    }

    async fn connected(member: &Member, name: &str) -> Control {
        let mut control = member.say(&hello(name)).await;
        control
            .hear_until(|message| matches!(message, HeadMessage::Welcome { .. }))
            .await;
        control
    }

    async fn start(&mut self) -> StartOrder {
        loop {
            if let HeadMessage::Orders { orders } = self.control.hear().await {
                for order in orders {
                    if let Order::Start(start) = order {
                        return *start;
                    }
                }
            }
        }
    }

    async fn report(&mut self, reports: Vec<Report>) {
        self.reports += 1;
        let number = self.reports;
        let message = NodeMessage::Reports { number, reports };
        self.control.to.send(&message).await.expect("sends");
        self.control
            .hear_until(|message| matches!(message, HeadMessage::ReportsTaken { number: taken } if *taken == number))
            .await;
    }

    async fn started(&mut self) -> AttemptId {
        let attempt = self.start().await.attempt;
        let at = Timestamp(1);
        self.report(vec![Report::Started { attempt, at }]).await;
        attempt
    }

    async fn ended(&mut self, attempt: AttemptId, outcome: AttemptOutcome) {
        let at = Timestamp(2);
        let reports = vec![
            Report::Ended {
                attempt,
                outcome,
                at,
                started_at: None,
                then: None,
            },
            Report::Released { attempt },
        ];
        self.report(reports).await;
    }

    async fn asked(&self) -> (NodeRequest, StreamWriter, StreamReader) {
        let accepted = tokio::time::timeout(DEADLINE, self.control.connection.accept_stream()).await;
        let (to, mut from) = accepted.expect("in time").expect("a stream");
        let request = from.recv::<NodeRequest>().await.expect("reads").expect("is asked");
        (request, to, from)
    }

    async fn followed(&self) -> (FollowRequest, StreamWriter) {
        match self.asked().await {
            (NodeRequest::Follow(request), to, _) => (request, to),
            (other, ..) => panic!("{other:?}"),
        }
    }
}

async fn submit(line: &mut Line, interactive: bool) {
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.interactive = interactive.then_some(Interactive { terminal: false });
    let request = Request::Submit {
        submission: SubmissionId(1),
        job: Box::new(JobSpec::default()),
        tasks: vec![task],
    };
    let reply = line.ask(&request).await;
    assert!(matches!(reply, Reply::Submitted { .. }), "{reply:?}");
}

fn tail(follow: bool) -> Request {
    Request::Tail {
        job: JobId(1),
        tasks: Vec::new(),
        from: FollowFrom::Start,
        follow,
    }
}

fn piece(offset: u64, text: &str) -> FollowReply {
    FollowReply::Piece(Piece {
        file: TaskFile::Stdout,
        offset,
        bytes: text.as_bytes().to_vec(),
        rank: None,
        on: None,
    })
}

async fn output(line: &mut Line) -> Output {
    match line.reply().await {
        Reply::Output(output) => *output,
        other => panic!("{other:?}"),
    }
}

async fn text(line: &mut Line) -> String {
    match output(line).await.part {
        OutputPart::Piece(piece) => String::from_utf8(piece.bytes).expect("text"),
        other => panic!("{other:?}"),
    }
}

async fn end(line: &mut Line) -> (AttemptId, &'static str) {
    let told = output(line).await;
    match told.part {
        OutputPart::End { task } => (told.attempt, task.state.word()),
        other => panic!("{other:?}"),
    }
}

async fn assert_done(line: &mut Line) {
    let reply = line.reply().await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
}

#[tokio::test]
async fn a_waiting_task_is_followed_through_its_tries_to_its_end() {
    let head = Head::start().await;
    let (mut line, mut follower) = (head.client().await, head.client().await);
    submit(&mut line, false).await;
    // Before there is any node.
    follower.to.send(&tail(true)).await.expect("sends");
    let mut node = Node::join(&head, &mut line, "n1").await;
    let first = node.started().await;
    let (request, mut to) = node.followed().await;
    assert_eq!(
        (request.attempt, request.from, request.follow),
        (first, FollowFrom::Start, true)
    );
    to.send(&piece(0, "one")).await.expect("sends");
    assert_eq!(text(&mut follower).await, "one");
    to.send(&FollowReply::End).await.expect("sends");
    // Its end is told when both its last byte and its end are known.
    let lost = AttemptOutcome::NodeLost {
        node: NodeId(1),
        reason: "tried out".to_owned(),
    };
    node.ended(first, lost).await;
    assert_eq!(end(&mut follower).await.0, first);

    let second = node.started().await;
    assert_ne!(second, first);
    let (request, mut to) = node.followed().await;
    assert_eq!((request.attempt, request.from), (second, FollowFrom::Start));
    to.send(&piece(0, "two")).await.expect("sends");
    node.ended(second, AttemptOutcome::Exited { code: 0 }).await;
    to.send(&FollowReply::End).await.expect("sends");
    assert_eq!(text(&mut follower).await, "two");
    assert_eq!(end(&mut follower).await, (second, "Finished"));
    assert_done(&mut follower).await;

    // The job is only in the store now; what it said is still read from its node.
    follower.to.send(&tail(false)).await.expect("sends");
    let (request, mut to) = node.followed().await;
    assert_eq!((request.attempt, request.follow), (second, false));
    to.send(&piece(0, "two")).await.expect("sends");
    to.send(&FollowReply::End).await.expect("sends");
    assert_eq!(text(&mut follower).await, "two");
    assert_eq!(end(&mut follower).await, (second, "Finished"));
    assert_done(&mut follower).await;
}

#[tokio::test]
async fn a_job_that_is_over_is_put_back_into_the_queue_and_followed_again() {
    let head = Head::start().await;
    let (mut line, mut follower) = (head.client().await, head.client().await);
    let mut node = Node::join(&head, &mut line, "n1").await;
    submit(&mut line, false).await;
    let first = node.started().await;
    node.ended(first, AttemptOutcome::Exited { code: 3 }).await;
    let Reply::Job { job } = line.ask(&Request::WaitJob { job: JobId(1) }).await else {
        panic!("no job")
    };
    assert_eq!(job.state.word(), "Failed");
    let reply = line.ask(&Request::RequeueJob { job: JobId(1) }).await;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    follower.to.send(&tail(true)).await.expect("sends");
    let second = node.started().await;
    let (request, mut to) = node.followed().await;
    assert_eq!(request.attempt, second);
    to.send(&FollowReply::End).await.expect("sends");
    node.ended(second, AttemptOutcome::Exited { code: 0 }).await;
    assert_eq!(end(&mut follower).await, (second, "Finished"));
    assert_done(&mut follower).await;
}

#[tokio::test]
async fn a_node_that_was_away_goes_on_where_it_was() {
    let head = Head::start().await;
    let (mut line, mut follower) = (head.client().await, head.client().await);
    let mut node = Node::join(&head, &mut line, "n1").await;
    submit(&mut line, false).await;
    let attempt = node.started().await;
    follower.to.send(&tail(true)).await.expect("sends");
    let (_, mut to) = node.followed().await;
    to.send(&piece(0, "12345")).await.expect("sends");
    assert_eq!(text(&mut follower).await, "12345");
    node.control
        .connection
        .close(transport::control::CloseCode::Stopping, "tried out");
    let trouble = output(&mut follower).await;
    assert!(matches!(trouble.part, OutputPart::Unreachable { .. }), "{trouble:?}");

    let NodeMessage::Hello(mut again) = hello("n1") else {
        panic!("no hello")
    };
    again.held = vec![proto::control::HeldAttempt {
        attempt,
        state: proto::control::HeldState::Running {
            started_at: Timestamp(1),
        },
    }];
    node.control = node.member.say(&NodeMessage::Hello(again)).await;
    let (request, mut to) = node.followed().await;
    assert_eq!(request.from, FollowFrom::At { stdout: 5, stderr: 0 });
    to.send(&piece(5, "6789")).await.expect("sends");
    assert_eq!(text(&mut follower).await, "6789");
    to.send(&FollowReply::End).await.expect("sends");
    node.ended(attempt, AttemptOutcome::Exited { code: 0 }).await;
    assert_eq!(end(&mut follower).await, (attempt, "Finished"));
    assert_done(&mut follower).await;
}

#[tokio::test]
async fn a_follower_that_does_not_read_holds_up_no_node_and_loses_nothing() {
    const BYTES: u64 = 24 * 1024 * 1024;
    const PIECE: u64 = 128 * 1024;
    let head = Head::start().await;
    let (mut line, mut follower) = (head.client().await, head.client().await);
    let mut node = Node::join(&head, &mut line, "n1").await;
    submit(&mut line, false).await;
    let attempt = node.started().await;
    node.ended(attempt, AttemptOutcome::Exited { code: 0 }).await;
    follower.to.send(&tail(true)).await.expect("sends");

    // A large file, served from wherever it is asked, as often as it is asked.
    let connection = node.control.connection.clone();
    let (let_go, mut was_let_go) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(async move {
        while let Ok((mut to, mut from)) = connection.accept_stream().await {
            let Ok(Some(NodeRequest::Follow(request))) = from.recv::<NodeRequest>().await else {
                panic!("another request")
            };
            let mut offset = match request.from {
                FollowFrom::At { stdout, .. } => stdout,
                _ => 0,
            };
            while offset < BYTES {
                let length = usize::try_from(PIECE.min(BYTES - offset)).expect("small");
                let piece = FollowReply::Piece(Piece {
                    file: TaskFile::Stdout,
                    offset,
                    bytes: vec![b'x'; length],
                    rank: None,
                    on: None,
                });
                if to.send(&piece).await.is_err() {
                    let_go.send_replace(true);
                    break;
                }
                offset += length as u64;
            }
            if offset >= BYTES {
                to.send(&FollowReply::End).await.expect("sends");
                return;
            }
        }
        panic!("the connection ended");
    });
    // Nobody reads, so the stream is let go, and the node's own messages come through all the while.
    let released = tokio::time::timeout(DEADLINE, was_let_go.wait_for(|let_go| *let_go));
    tokio::pin!(released);
    for number in 0.. {
        let beat = NodeMessage::Heartbeat { number };
        node.control.to.send(&beat).await.expect("sends");
        node.control
            .hear_until(|message| matches!(message, HeadMessage::HeartbeatTaken { number: taken } if *taken == number))
            .await;
        tokio::select! {
            let_go = &mut released => {
                let_go.expect("in time").expect("serves");
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    let mut told = 0;
    loop {
        match output(&mut follower).await.part {
            OutputPart::Piece(piece) => {
                assert_eq!(piece.offset, told, "in order and without a gap");
                told += piece.bytes.len() as u64;
            }
            OutputPart::End { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, BYTES);
    assert_done(&mut follower).await;
    serving.await.expect("served");
}

#[tokio::test]
async fn input_waits_for_the_task_and_is_passed_on_piece_by_piece() {
    let head = Head::start().await;
    let (mut line, mut typist) = (head.client().await, head.client().await);
    submit(&mut line, true).await;
    typist.to.send(&Request::Input { task: TASK }).await.expect("sends");
    let mut node = Node::join(&head, &mut line, "n1").await;
    let attempt = node.started().await;
    let (request, mut to, mut from) = node.asked().await;
    assert_eq!(request, NodeRequest::Input { attempt });
    assert_done(&mut typist).await;
    let typed = Input::Bytes {
        bytes: b"hello\n".to_vec(),
    };
    for input in [typed, Input::End] {
        typist.to.send(&input).await.expect("sends");
        let heard = from.recv::<Input>().await.expect("reads").expect("comes");
        assert_eq!(heard, input);
        to.send(&InputReply::Taken).await.expect("sends");
        let reply = typist.from.recv::<InputReply>().await.expect("reads");
        assert_eq!(reply, Some(InputReply::Taken));
    }
    // That was the end; the line serves the next request.
    node.ended(attempt, AttemptOutcome::Exited { code: 0 }).await;
    let late = typist.ask(&Request::Input { task: TASK }).await;
    assert!(
        matches!(&late, Reply::Refused(refusal) if refusal.code == RefusalCode::WrongState),
        "{late:?}"
    );
}

#[tokio::test]
async fn only_interactive_tasks_take_input() {
    let head = Head::start().await;
    let mut line = head.client().await;
    submit(&mut line, false).await;
    let reply = line.ask(&Request::Input { task: TASK }).await;
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.what.contains("takes no input")),
        "{reply:?}"
    );
}

#[tokio::test]
async fn nodes_are_asked_whom_they_reach() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let first = Node::join(&head, &mut line, "n1").await;
    let second = Node::join(&head, &mut line, "n2").await;
    line.to
        .send(&Request::Probe { nodes: Vec::new() })
        .await
        .expect("sends");
    for (node, outcome) in [(&first, Ok(250)), (&second, Err("no answer".to_owned()))] {
        let (request, mut to, _) = node.asked().await;
        let NodeRequest::Probe { peers } = request else {
            panic!("{request:?}")
        };
        let results = peers
            .into_iter()
            .map(|peer| Probed {
                peer,
                outcome: outcome.clone(),
            })
            .collect();
        to.send(&ProbeReply { results }).await.expect("sends");
    }
    let Reply::Probed { nodes } = line.reply().await else {
        panic!("no answer")
    };
    let name = |text| NodeName::new(text).expect("a name");
    assert_eq!(nodes[0].reached, [(name("n2"), Ok(250))]);
    assert_eq!(nodes[1].reached, [(name("n1"), Err("no answer".to_owned()))]);
}

async fn events(line: &mut Line) -> Vec<(Sequence, Event)> {
    match line.reply().await {
        Reply::Events { events, .. } => events
            .into_iter()
            .map(|happened| (happened.sequence, *happened.event))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_are_told_as_they_happen_and_afterwards() {
    let head = Head::start().await;
    let (mut line, mut follower) = (head.client().await, head.client().await);
    let follow = Request::Events {
        after: None,
        follow: true,
    };
    follower.to.send(&follow).await.expect("sends");
    assert!(events(&mut follower).await.is_empty(), "from now on");
    submit(&mut line, false).await;
    let told = events(&mut follower).await;
    assert!(
        matches!(told[..], [(_, Event::JobAdded { job: JobId(1), .. })]),
        "{told:?}"
    );
    let (first, _) = told[0];
    let cancel = Request::CancelJob {
        job: JobId(1),
        force: false,
        message: String::new(),
    };
    assert!(matches!(line.ask(&cancel).await, Reply::Done { .. }));
    let told = events(&mut follower).await;
    assert!(matches!(told.last(), Some((_, Event::JobEnded { .. }))), "{told:?}");
    let later = Request::Events {
        after: Some(first),
        follow: false,
    };
    line.to.send(&later).await.expect("sends");
    assert_eq!(events(&mut line).await, told, "the same, asked afterwards");
}

#[tokio::test]
async fn a_plain_user_is_told_of_their_own_and_of_nodes_only() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let alice = UserName::new("alice").expect("a name");
    let add = Request::AddUser {
        user: alice.clone(),
        role: Role::User,
        ids: Some((4242, 4242)),
    };
    assert!(matches!(line.ask(&add).await, Reply::Done { .. }));
    let login = Request::MakeLogin {
        user: alice.clone(),
        lifetime: Millis::from_seconds(60),
    };
    let Reply::Token { token, .. } = line.ask(&login).await else {
        panic!("no token")
    };
    let client = Peer::of(&head).logged_in(&token).await.client().await;
    let mut node = Node::join(&head, &mut line, "n1").await;
    submit(&mut line, true).await;
    node.started().await;

    for request in [
        tail(true),
        Request::Input { task: TASK },
        Request::ViewJob { job: JobId(1) },
    ] {
        let reply = ask(&client, &request).await.expect("answers");
        assert!(
            matches!(&reply, Reply::Refused(refusal) if refusal.code == RefusalCode::NotFound),
            "{request:?}: {reply:?}"
        );
    }
    let reply = ask(&client, &Request::Probe { nodes: Vec::new() }).await;
    assert!(
        matches!(&reply, Ok(Reply::Refused(refusal)) if refusal.code == RefusalCode::Forbidden),
        "{reply:?}"
    );
    let Ok(Reply::Nodes { nodes }) = ask(&client, &Request::ListNodes).await else {
        panic!("no nodes")
    };
    assert_eq!(
        (nodes[0].slots_held, nodes[0].tasks.len()),
        (1, 0),
        "held, by whom is not told"
    );
    let Reply::Nodes { nodes } = line.ask(&Request::ListNodes).await else {
        panic!("no nodes")
    };
    assert_eq!(nodes[0].tasks, [TASK]);

    let all = Request::Events {
        after: None,
        follow: false,
    };
    let Ok(Reply::Events { events, .. }) = ask(&client, &all).await else {
        panic!("no events")
    };
    assert!(!events.is_empty());
    let seen = |event: &Event| {
        matches!(
            event,
            Event::NodeJoined { .. } | Event::NodeUp { .. } | Event::PoolAdded { .. }
        )
    };
    assert!(events.iter().all(|happened| seen(&happened.event)), "{events:?}");

    let Ok(Reply::Users { users }) = ask(&client, &Request::ListUsers).await else {
        panic!("no users")
    };
    assert_eq!(users.iter().map(|user| &user.name).collect::<Vec<_>>(), [&alice]);
}
