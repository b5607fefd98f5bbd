//! The client against a head node of a few lines: greeting, refusals, waiting, and what a broken line says.

use proto::client::RefusalCode;
use proto::frame::VERSION;
use proto::ids::{Sequence, SubmissionId, TaskNumber};
use proto::model::job::{JobOutcome, JobSpec, JobState, TaskCounts};
use proto::model::owner::Owner;
use proto::model::task::TaskSpec;
use proto::units::Timestamp;
use tokio::net::UnixListener;

use super::*;

/// A head node of a few lines: welcomes one client and answers each request by `answers`.
async fn serve(listener: UnixListener, answers: impl Fn(Request) -> Vec<Reply>) {
    let (stream, _) = listener.accept().await.expect("a client");
    let (mut to, mut from) = split_socket(stream);
    let greeting: Greeting = from.recv().await.expect("reads").expect("greets");
    assert_eq!(greeting.version, VERSION);
    let (cluster, user) = ("c".to_owned(), "u".to_owned());
    to.send(&Greeted::Welcome {
        version: VERSION,
        cluster,
        user,
        role: Role::User,
    })
    .await
    .expect("welcomes");
    while let Ok(Some(request)) = from.recv::<Request>().await {
        to.send_all(&answers(request)).await.expect("answers");
    }
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    (folder, path)
}

fn row(state: JobState) -> Reply {
    let job = JobRow {
        id: JobId(3),
        owner: Owner {
            name: "a".to_owned(),
            uid: 1,
            gid: 1,
        },
        spec: JobSpec::default(),
        state,
        counts: TaskCounts::default(),
        next_task: TaskNumber(2),
        submitted_at: Timestamp(1),
        progress: None,
        requeues: 0,
        schedule: None,
        deleting: false,
        touched_nodes: std::collections::BTreeSet::new(),
    };
    Reply::Job { job: Box::new(job) }
}

fn submit(number: u128) -> Request {
    let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()])];
    Request::Submit {
        submission: SubmissionId(number),
        job: Box::new(JobSpec::default()),
        tasks,
    }
}

#[tokio::test]
async fn asks_waits_and_is_refused() {
    let (_folder, path) = socket();
    let ended = JobState::Ended {
        started_at: None,
        ended_at: Timestamp(9),
        outcome: JobOutcome::Finished,
    };
    let head = serve(
        UnixListener::bind(&path).expect("binds"),
        move |request| match request {
            Request::WaitJob { .. } => vec![row(JobState::Queued), row(ended.clone())],
            Request::ViewJob { .. } => vec![Reply::Refused(Refusal {
                code: RefusalCode::NotFound,
                what: "there is no job 9".to_owned(),
                remedy: "see 'job list'".to_owned(),
                retry_after: None,
            })],
            _ => vec![Reply::Done {
                sequence: Sequence(1),
                notes: vec![],
            }],
        },
    );
    let client = async {
        let mut client = Client::connect(&path).await.expect("connects");
        assert_eq!(client.welcome().cluster, "c");
        let mut seen = Vec::new();
        let row = client
            .wait_job(JobId(3), |row| seen.push(row.state.word()))
            .await
            .expect("waits");
        assert_eq!((seen, row.id), (vec!["Queued", "Finished"], JobId(3)));
        let refused = client
            .request(Request::ViewJob { job: JobId(9) })
            .await
            .expect_err("is refused");
        assert_eq!(refused.exit(), Exit::NotFound);
        assert_eq!(refused.to_string(), "there is no job 9; see 'job list'");
        assert!(
            client.request(Request::Status).await.is_ok(),
            "a refusal does not end the connection"
        );
    };
    tokio::join!(head, client);
}

#[tokio::test]
async fn many_submissions_are_under_way_at_once() {
    let (_folder, path) = socket();
    let head = serve(UnixListener::bind(&path).expect("binds"), |request| match request {
        Request::Submit { submission, .. } => {
            let job = JobId(u64::try_from(submission.0).expect("small"));
            vec![Reply::Submitted {
                job,
                sequence: Sequence(1),
                repeated: false,
            }]
        }
        other => panic!("{other:?}"),
    });
    let client = async {
        let mut client = Client::connect(&path).await.expect("connects");
        let jobs = client.submit_many((1..=500).map(submit)).await.expect("submits");
        assert_eq!(jobs, (1..=500).map(JobId).collect::<Vec<_>>());
    };
    tokio::join!(head, client);
}

#[tokio::test]
async fn a_head_that_is_not_there_is_named_with_the_remedy() {
    let (_folder, path) = socket();
    let error = Client::connect(&path).await.expect_err("nobody there");
    assert_eq!(error.exit(), Exit::Unreachable);
    let text = error.to_string();
    assert!(
        text.contains("there is no such socket") && text.contains("muster up") && text.contains("MUSTER_SOCKET"),
        "{text}"
    );
    drop(UnixListener::bind(&path).expect("binds"));
    let error = Client::connect(&path).await.expect_err("nobody listens");
    assert!(error.to_string().contains("nothing listens there any more"), "{error}");
    assert!(error.is_passing());
}

#[tokio::test]
async fn a_head_that_goes_away_leaves_the_question_open() {
    let (_folder, path) = socket();
    let listener = UnixListener::bind(&path).expect("binds");
    let head = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let (mut to, mut from) = split_socket(stream);
        let _: Option<Greeting> = from.recv().await.expect("reads");
        let (cluster, user) = ("c".to_owned(), "u".to_owned());
        to.send(&Greeted::Welcome {
            version: VERSION,
            cluster,
            user,
            role: Role::User,
        })
        .await
        .expect("welcomes");
    };
    let client = async {
        let mut client = Client::connect(&path).await.expect("connects");
        let error = client.request(Request::Status).await.expect_err("is gone");
        assert!(
            matches!(error, ClientError::Lost { .. }) && error.exit() == Exit::Unreachable,
            "{error}"
        );
    };
    tokio::join!(head, client);
}
