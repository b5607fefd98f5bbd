//! Whole commands against a head node of a few lines, over a real socket.

mod model;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proto::client::{Greeted, Greeting, Output, OutputPart, Refusal, RefusalCode, Reply, Request};
use proto::control::{Piece, TaskFile};
use proto::frame::VERSION;
use proto::ids::{AttemptId, JobId, NodeName, Sequence, Step, TaskId, TaskNumber};
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, TaskCounts};
use proto::model::owner::{Owner, Role};
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::units::Timestamp;
use tokio::net::UnixListener;
use transport::control::split_socket;

use super::*;
use crate::answer::{SweepLine, TaskLine};
use crate::args::{Invocation, parse};
use crate::exit::Exit;
use crate::render::Zone;
use crate::request::{Here, checked};
use crate::value::Clock;

/// What the head node was asked, in order.
type Asked = Arc<Mutex<Vec<Request>>>;

/// A head node that answers each request with the same replies, whoever asks. It ends with the test's runtime.
struct Head {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    asked: Asked,
}

impl Head {
    fn new(answers: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).expect("binds");
        let (asked, answers) = (Asked::default(), Arc::new(answers));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&answers)));
            }
        });
        Self {
            _folder: folder,
            socket,
            asked,
        }
    }

    async fn run(&self, line: &str) -> Result<Answer, CliError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Invocation::Do { verb, options, words } = parse(&words[0], &words[1..])? else {
            panic!("{line}");
        };
        let here = Here {
            directory: None,
            clock: Clock {
                now: Timestamp(0),
                zone: Zone::Fixed(time::UtcOffset::UTC),
            },
            script: |_| Ok(None),
            file: |path, _| match path {
                "g.toml" => Ok(crate::text::FileText {
                    text: "[[task]]\nname = \"a\"\ncommand = \"x\"\n[[task]]\ncommand = \"y\"\n".to_owned(),
                    mode: 0o644,
                }),
                _ => Err(format!("there is no {path}")),
            },
        };
        let globals = Globals {
            socket: Some(self.socket.clone()),
            ..Globals::of(&options)?
        };
        run(
            checked(verb, &options, &words, &here)?,
            &globals,
            &Surroundings::default(),
        )
        .await
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("a list").clone()
    }
}

async fn serve(
    stream: tokio::net::UnixStream,
    asked: Asked,
    answers: Arc<impl Fn(&Request) -> Vec<Reply> + Send + Sync>,
) {
    let (mut to, mut from) = split_socket(stream);
    let Ok(Some(Greeting { .. })) = from.recv().await else {
        return;
    };
    let welcome = Greeted::Welcome {
        version: VERSION,
        cluster: "c".to_owned(),
        user: "u".to_owned(),
        role: Role::User,
    };
    if to.send(&welcome).await.is_err() {
        return;
    }
    while let Ok(Some(request)) = from.recv::<Request>().await {
        let replies = answers(&request);
        asked.lock().expect("a list").push(request);
        if to.send_all(&replies).await.is_err() {
            return;
        }
    }
}

fn job(id: u64, state: JobState, tasks: u32) -> Reply {
    let row = JobRow {
        id: JobId(id),
        owner: Owner {
            name: "a".to_owned(),
            uid: 1,
            gid: 1,
        },
        spec: JobSpec::default(),
        state,
        counts: TaskCounts {
            finished: tasks,
            ..TaskCounts::default()
        },
        next_task: TaskNumber(2),
        submitted_at: Timestamp(1),
        progress: None,
        requeues: 0,
        schedule: None,
        deleting: false,
        touched_nodes: std::collections::BTreeSet::new(),
    };
    Reply::Job { job: Box::new(row) }
}

fn over(outcome: JobOutcome) -> JobState {
    JobState::Ended {
        started_at: Some(Timestamp(1)),
        ended_at: Timestamp(9),
        outcome,
    }
}

fn task(id: TaskId, outcome: TaskOutcome) -> TaskRow {
    let mut spec = TaskSpec::of_command(vec!["app".to_owned(), "*".to_owned()]);
    spec.sweep = id.step.and_then(|_| Sweep::new(1, 25_000, 1).ok());
    TaskRow {
        id,
        spec: Arc::new(spec),
        state: TaskState::Ended {
            started_at: Some(Timestamp(1)),
            ended_at: Timestamp(9),
            outcome,
        },
        requeues: 0,
        retries: 0,
        array: None,
        last_attempt: Some(AttemptId(7)),
        last_nodes: vec![],
        exit_code: None,
    }
}

fn done() -> Vec<Reply> {
    vec![Reply::Done {
        sequence: Sequence(1),
        notes: vec!["done".to_owned()],
    }]
}

fn not_found() -> Vec<Reply> {
    vec![Reply::Refused(Refusal {
        code: RefusalCode::NotFound,
        what: "there is no such job".to_owned(),
        remedy: String::new(),
        retry_after: None,
    })]
}

/// Tasks of a sweep of so many steps, every hundredth of which failed, a page of 1,000 at a time.
fn sweep_page(request: &Request, steps: u32) -> Option<Reply> {
    let none = Vec::new();
    let (job, after, states) = match request {
        Request::ListTasks { job, after, states } => (job, after, states),
        Request::LineTasks { job, after } => (job, after, &none),
        _ => return None,
    };
    let all = (1..=steps).map(|step| {
        let id = TaskId {
            step: Some(Step(step)),
            ..TaskId::new(*job, TaskNumber(1))
        };
        let cause = AttemptOutcome::Exited { code: 3 };
        match step % 100 {
            0 => task(id, TaskOutcome::Failed { cause }),
            _ => task(id, TaskOutcome::Finished),
        }
    });
    let mut rows = all
        .filter(|row| after.is_none_or(|after| row.id > after))
        .filter(|row| states.is_empty() || states.iter().any(|state| state == row.state.word()));
    let tasks: Vec<TaskRow> = rows.by_ref().take(1000).collect();
    let (names, more) = (vec![], rows.next().is_some());
    if matches!(request, Request::ListTasks { .. }) {
        return Some(Reply::Tasks { tasks, names, more });
    }
    let mut line = SweepLine::of(tasks.first()?);
    tasks.iter().skip(1).for_each(|row| line.add(row));
    Some(Reply::TaskLines {
        lines: vec![TaskLine::Sweep(Box::new(line))],
        names,
        more,
    })
}

#[tokio::test]
async fn a_sweep_over_many_pages_is_one_line() {
    let head = Head::new(|request| sweep_page(request, 2500).into_iter().collect());
    let Ok(Answer::Tasks(page)) = head.run("task list 3").await else {
        panic!("a list");
    };
    let [TaskLine::Sweep(sweep)] = page.lines.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!((sweep.counts.finished, sweep.counts.failed), (2475, 25));
    assert!(page.first && page.last);
    assert_eq!(head.asked().len(), 3);
}

#[tokio::test]
async fn only_the_failed_steps_are_requeued() {
    let head = Head::new(|request| match request {
        Request::RequeueTasks { .. } | Request::CancelTasks { .. } => done(),
        other => sweep_page(other, 300).into_iter().collect(),
    });
    for line in [
        "task requeue 3 --filter failed",
        "job requeue 3 --filter failed",
        "task requeue 3.1 --filter failed",
    ] {
        assert!(matches!(head.run(line).await, Ok(Answer::Notes(_))), "{line}");
        let asked = head.asked();
        let Some(Request::RequeueTasks { tasks }) = asked.last() else {
            panic!("{asked:?}");
        };
        let ids: Vec<String> = tasks.iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["3.1.100", "3.1.200", "3.1.300"], "{line}");
    }
    let none = head
        .run("task requeue 3.1.1-99 --filter failed")
        .await
        .expect("an answer");
    assert!(
        matches!(&none, Answer::Notes(notes) if notes[0].contains("no task of these is Failed")),
        "{none:?}"
    );
    head.run("task cancel 3.1.1-3").await.expect("an answer");
    let asked = head.asked();
    assert!(
        matches!(asked.last(), Some(Request::CancelTasks { tasks, .. }) if tasks.len() == 3),
        "{:?}",
        asked.last()
    );
}

#[tokio::test]
async fn several_jobs_are_done_though_one_is_refused() {
    let head = Head::new(|request| match request {
        Request::CancelJob { job: JobId(2), .. } => not_found(),
        Request::CancelJob { .. } => done(),
        Request::ListJobs { filter } => {
            assert!(filter.ended && filter.limit == Some(2));
            let row = |id| match job(id, JobState::Queued, 0) {
                Reply::Job { job } => *job,
                other => panic!("{other:?}"),
            };
            vec![Reply::Jobs {
                jobs: vec![row(9), row(8)],
                more: true,
                whys: vec![],
            }]
        }
        other => panic!("{other:?}"),
    });
    let answer = head.run("job cancel 1,2 3").await.expect("an answer");
    assert_eq!(answer.exit(), Exit::NotFound);
    assert_eq!(head.asked().len(), 3);
    // What a range leaves open is no mistake.
    assert_eq!(head.run("job cancel 1-3").await.expect("an answer").exit(), Exit::Ok);
    assert_eq!(
        head.run("job cancel 2").await.expect_err("refused").exit(),
        Exit::NotFound
    );
    assert_eq!(
        head.run("job cancel 2-2").await.expect_err("nothing").exit(),
        Exit::NotFound
    );
    let before = head.asked().len();
    head.run("job cancel last 2").await.expect("an answer");
    let canceled: Vec<Request> = head.asked().split_off(before + 1);
    assert!(
        matches!(
            canceled.as_slice(),
            [
                Request::CancelJob { job: JobId(9), .. },
                Request::CancelJob { job: JobId(8), .. }
            ]
        ),
        "{canceled:?}"
    );
}

#[tokio::test]
async fn a_job_that_is_waited_for_gives_the_exit_code_of_its_task() {
    let id = TaskId::new(JobId(5), TaskNumber(1));
    let failed = || TaskOutcome::Failed {
        cause: AttemptOutcome::Exited { code: 42 },
    };
    let head = Head::new(move |request| match request {
        Request::Submit { .. } => vec![Reply::Submitted {
            job: JobId(5),
            sequence: Sequence(1),
            repeated: false,
        }],
        Request::ListTasks { .. } => vec![Reply::Tasks {
            tasks: vec![task(id, failed())],
            names: vec![],
            more: false,
        }],
        Request::Tail { job, tasks, follow, .. } => {
            assert_eq!((*job, tasks.as_slice(), *follow), (JobId(5), [id].as_slice(), true));
            let output = Output {
                task: id,
                attempt: AttemptId(7),
                node: NodeName::new("n").expect("a name"),
                part: OutputPart::Piece(Piece {
                    file: TaskFile::Stderr,
                    offset: 0,
                    bytes: b"output of the program\n".to_vec(),
                    rank: None,
                    on: None,
                }),
            };
            [vec![Reply::Output(Box::new(output))], done()].concat()
        }
        Request::WaitJob { .. } => vec![
            job(
                5,
                JobState::Running {
                    started_at: Timestamp(1),
                },
                0,
            ),
            job(5, over(JobOutcome::Failed { reason: "r".to_owned() }), 0),
        ],
        other => panic!("{other:?}"),
    });
    let answer = head.run("job submit --wait app").await.expect("an answer");
    assert_eq!(answer.exit(), Exit::Program(42));
    let answer = head.run("job submit --wait -o json app").await.expect("an answer");
    assert_eq!(answer.exit(), Exit::Program(42));
}

#[tokio::test]
async fn a_task_without_a_size_follows_the_unit_of_its_job() {
    let head = Head::new(|request| match request {
        Request::ViewJob { .. } => {
            let Reply::Job { mut job } = job(3, JobState::Configuring, 0) else {
                panic!("a job");
            };
            job.spec.units = Some(proto::model::job::Units {
                min: proto::model::task::Request::Nodes { count: 4 },
                max: Some(4),
            });
            vec![Reply::Job { job }]
        }
        Request::AddTasks { .. } => vec![Reply::Added {
            job: JobId(3),
            first: TaskNumber(7),
            sequence: Sequence(1),
            repeated: false,
        }],
        other => panic!("{other:?}"),
    });
    let answer = head.run("job add 3 prog").await.expect("an answer");
    assert!(matches!(answer, Answer::Added { task, .. } if task == TaskId::new(JobId(3), TaskNumber(7))));
    let asked = head.asked();
    let Some(Request::AddTasks { tasks, .. }) = asked.last() else {
        panic!("{asked:?}");
    };
    assert_eq!(tasks[0].request, proto::model::task::Request::Nodes { count: 1 });
    head.run("job add 3 /numcores:2 prog").await.expect("an answer");
    assert_eq!(head.asked().len(), 3, "the job is not asked for what was said");
}

#[tokio::test]
async fn a_task_that_takes_no_input_is_not_attached_to() {
    let id = TaskId::new(JobId(5), TaskNumber(1));
    let head = Head::new(move |_| {
        vec![Reply::Task {
            task: Box::new(task(id, TaskOutcome::Finished)),
            names: vec![],
            files: vec![],
        }]
    });
    let error = head.run("task attach 5.1").await.expect_err("refused");
    assert_eq!(error.exit(), Exit::WrongState);
    assert!(
        error.to_string().contains("'task tail -f 5.1' shows its output"),
        "{error}"
    );
}
