//! What clients see: greetings, answers that outlive kill -9, waits, and what is said to the broken and the old.

use proto::client::{Greeted, Greeting, RefusalCode, Reply, Request};
use proto::frame::Version;
use proto::ids::{JobId, SubmissionId};
use proto::model::job::{JobSpec, JobState};
use proto::model::task::TaskSpec;

use crate::head::{Head, Line, command};

fn submission(number: u128) -> Request {
    let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()])];
    Request::Submit {
        submission: SubmissionId(number),
        job: Box::new(JobSpec::default()),
        tasks,
    }
}

async fn submit(line: &mut Line, number: u128) -> (JobId, bool) {
    match line.ask(&submission(number)).await {
        Reply::Submitted { job, repeated, .. } => (job, repeated),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kill_9_and_a_repeat_is_answered_alike() {
    let mut head = Head::start().await;
    let mut line = head.client().await;
    let mut jobs = Vec::new();
    for number in 0..20 {
        jobs.push(submit(&mut line, number).await);
    }
    assert!(jobs.iter().all(|(_, repeated)| !repeated));
    head.kill();
    head.restart().await;
    let mut line = head.client().await;
    for (number, (job, _)) in (0..20).zip(&jobs) {
        assert_eq!(submit(&mut line, number).await, (*job, true));
        let reply = line.ask(&Request::ViewJob { job: *job }).await;
        assert!(
            matches!(&reply, Reply::Job { job: row } if row.counts.queued == 1),
            "{reply:?}"
        );
    }
    assert_eq!(submit(&mut line, 99).await, (JobId(21), false), "numbers go on");
}

#[tokio::test]
async fn a_wait_tells_every_change_until_the_end() {
    let head = Head::start().await;
    let (mut waiting, mut other) = (head.client().await, head.client().await);
    let (job, _) = submit(&mut other, 1).await;
    let first = waiting.ask(&Request::WaitJob { job }).await;
    assert!(
        matches!(&first, Reply::Job { job } if job.state == JobState::Queued),
        "{first:?}"
    );
    let cancel = Request::CancelJob {
        job,
        force: false,
        message: "not needed".to_owned(),
    };
    let canceled = other.ask(&cancel).await;
    assert!(matches!(canceled, Reply::Done { .. }), "{canceled:?}");
    let last = waiting.reply().await;
    assert!(
        matches!(&last, Reply::Job { job } if job.state.word() == "Canceled"),
        "{last:?}"
    );
    // The wait is over; the line serves the next request.
    let (next, _) = submit(&mut waiting, 2).await;
    assert!(next > job);
    // The ended job is read from the store.
    let viewed = other.ask(&Request::ViewJob { job }).await;
    assert_eq!(viewed, last);
    let again = other.ask(&cancel).await;
    assert!(
        matches!(&again, Reply::Refused(refusal) if refusal.code == RefusalCode::WrongState),
        "{again:?}"
    );
}

#[tokio::test]
async fn the_broken_and_the_old_are_answered() {
    let head = Head::start().await;
    let mut line = head.client().await;
    line.to.send(&"no request").await.expect("sends");
    let reply = line.reply().await;
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.code == RefusalCode::Invalid),
        "{reply:?}"
    );
    let newer = [("t", "a_request_of_next_year")]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    line.to.send(&newer).await.expect("sends");
    let reply = line.reply().await;
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.code == RefusalCode::Unsupported),
        "{reply:?}"
    );
    assert_eq!(submit(&mut line, 1).await, (JobId(1), false), "the line still serves");

    let mut old = head.connect().await;
    old.to
        .send(&Greeting {
            version: Version { major: 0, minor: 9 },
        })
        .await
        .expect("sends");
    let greeted: Greeted = old.from.recv().await.expect("reads").expect("answers");
    assert!(
        matches!(&greeted, Greeted::Refused(refusal) if refusal.code == RefusalCode::Version),
        "{greeted:?}"
    );
}

#[tokio::test]
async fn administrators_are_not_held_to_the_places_of_one_account() {
    // The tests' own account runs the head node, so it is an administrator.
    let head = Head::start().await;
    let mut lines = Vec::new();
    for _ in 0..80 {
        lines.push(head.client().await);
    }
    let mut last = lines.pop().expect("eighty");
    assert_eq!(submit(&mut last, 1).await, (JobId(1), false));
}

#[tokio::test]
async fn a_second_head_node_in_the_same_folder_is_told_why_not() {
    let head = Head::start().await;
    let output = command(head.folder.path()).output().expect("runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in use") && said.contains("muster down"), "{said}");
    assert_eq!(
        submit(&mut head.client().await, 1).await,
        (JobId(1), false),
        "the first goes on"
    );
}
