//! A real client: a process of its own that submits, cancels, requeues and looks, and is killed like everything else.
//!
//! Its log is its memory. It writes down what it asks before it asks; when it comes back and finds a question without an
//! answer, it asks the same again with the same submission id. An answer that was lost is got in the same way.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cli::client::{Client, ClientError};
use proto::client::{RefusalCode, Reply, Request};
use proto::ids::{JobId, Step, SubmissionId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, Request as Demand, TaskOutcome, TaskRow, TaskSpec, TaskState};

use super::record::{Answer, Kind, Line, Shape, State, Told, Wish, append_to, boot_ms, read_lines, write_line};
use super::task::TASK;
use crate::hosts::{BIN, SHARED};
use crate::sim::rng::Rng;

/// Word for a client; its socket, its log, the folder of traces and a seed follow.
pub const CLIENT: &str = "--torture-client";

/// A client asks again after this, with the same id: the head node may be stopped, or its disk full.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// Tasks that may run again do so until they have run: no fault of a node is a reason to give up.
const MANY: u32 = 1_000_000;

/// Variable that marks every process of a run.
pub(super) const MARK: &str = "TORTURE_RUN";

/// Runs a client until it is told to end by a file `stop` beside its log.
#[must_use]
#[expect(clippy::print_stderr, reason = "whoever started it reads it")]
pub fn run(words: &[&str]) -> ExitCode {
    match begin(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin(words: &[&str]) -> anyhow::Result<()> {
    let [socket, log, traces, seed] = words else {
        anyhow::bail!("a client needs a socket, a log, traces and a seed, not {words:?}");
    };
    let log = PathBuf::from(log);
    let lines: Vec<Line> = read_lines(&log)?;
    let mut user = User {
        line: Asking::new(socket),
        stop: log.with_file_name("stop"),
        file: append_to(&log)?,
        traces: (*traces).to_owned(),
        next: 0,
        jobs: Vec::new(),
        // Another life does other things.
        rng: Rng::of(seed.parse()?, &format!("{} {}", log.display(), lines.len())),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some((number, wish)) = user.remember(lines) {
            user.carry_out(number, &wish).await?;
        }
        while !user.stop.exists() {
            let (number, wish) = (user.next, user.wish());
            write_line(
                &user.file,
                &Line::Ask {
                    number,
                    at_ms: boot_ms()?,
                    wish: wish.clone(),
                },
            )?;
            user.next += 1;
            user.carry_out(number, &wish).await?;
            tokio::time::sleep(Duration::from_millis(user.rng.within(300, 1400))).await;
        }
        Ok(())
    })
}

struct User {
    line: Asking,
    stop: PathBuf,
    file: File,
    traces: String,
    next: u64,
    jobs: Vec<(JobId, Shape)>,
    rng: Rng,
}

impl User {
    /// What an earlier life did, and the question that it left open.
    fn remember(&mut self, lines: Vec<Line>) -> Option<(u64, Wish)> {
        let mut open = None;
        for line in lines {
            match line {
                Line::Ask { number, wish, .. } => {
                    self.next = number + 1;
                    open = Some((number, wish));
                }
                Line::Answered { answer, .. } => {
                    if let (Some((_, Wish::Submit { shape, .. })), Answer::Submitted { job }) = (open.take(), answer) {
                        self.jobs.push((job, shape));
                    }
                }
            }
        }
        open
    }

    async fn carry_out(&mut self, number: u64, wish: &Wish) -> anyhow::Result<()> {
        let answer = self.line.answer(wish, &self.traces).await?;
        if let (Wish::Submit { shape, .. }, Answer::Submitted { job }) = (wish, &answer) {
            self.jobs.push((*job, *shape));
        }
        write_line(
            &self.file,
            &Line::Answered {
                number,
                at_ms: boot_ms()?,
                answer,
            },
        )
    }

    fn wish(&mut self) -> Wish {
        // Most of what is done is done to jobs that still live.
        let recent = self.jobs.len().saturating_sub(6);
        let chosen = self.rng.pick(self.jobs.get(recent..).unwrap_or_default()).copied();
        let Some((job, shape)) = chosen else {
            return self.submission();
        };
        match self.rng.within(1, 100) {
            1..=60 => self.submission(),
            61..=70 => Wish::CancelJob {
                job,
                force: self.rng.percent(30),
            },
            71..=78 => Wish::CancelTask {
                task: self.task_of(job, &shape),
            },
            // What may run once only is not asked to run again.
            79..=86 if shape.rerunnable => Wish::RequeueTask {
                task: self.task_of(job, &shape),
            },
            _ => Wish::Look { job },
        }
    }

    fn task_of(&mut self, job: JobId, shape: &Shape) -> TaskId {
        match shape.kind {
            Kind::Single { tasks } => TaskId::new(job, TaskNumber(self.rng.count(1, tasks))),
            Kind::Gang { .. } => TaskId::new(job, TaskNumber(1)),
            Kind::Sweep { steps } => TaskId {
                step: Some(Step(self.rng.count(1, steps))),
                ..TaskId::new(job, TaskNumber(1))
            },
        }
    }

    fn submission(&mut self) -> Wish {
        let key =
            SubmissionId((u128::from(self.rng.within(1, u64::MAX - 1)) << 64) | u128::from(self.next)).to_string();
        let kind = match self.rng.within(1, 10) {
            1..=5 => Kind::Single {
                tasks: self.rng.count(1, 3),
            },
            6..=8 => Kind::Sweep {
                steps: self.rng.count(2, 12),
            },
            _ => Kind::Gang {
                nodes: self.rng.count(2, 3),
            },
        };
        let shape = Shape {
            kind,
            rerunnable: self.rng.percent(65),
            code: if self.rng.percent(80) { 0 } else { 3 },
            millis: if self.rng.percent(10) {
                self.rng.within(3000, 9000)
            } else {
                self.rng.within(0, 700)
            },
            litters: self.rng.percent(15),
        };
        Wish::Submit { key, shape }
    }
}

/// The job and its tasks; the same for the same words.
fn spec(key: &str, shape: &Shape, traces: &str) -> anyhow::Result<(JobSpec, Vec<TaskSpec>)> {
    let (count, ranks, sweep) = match shape.kind {
        Kind::Single { tasks } => (tasks, 0, None),
        Kind::Sweep { steps } => (1, 0, Some(Sweep::new(1, steps, 1)?)),
        Kind::Gang { nodes } => (1, nodes, None),
    };
    let command = vec![
        format!("{BIN}/muster-show"),
        TASK.to_owned(),
        format!("{SHARED}/{traces}"),
        key.to_owned(),
        shape.millis.to_string(),
        shape.code.to_string(),
        ranks.to_string(),
        if shape.litters { "litters" } else { "clean" }.to_owned(),
    ];
    let mut task = TaskSpec::of_command(command);
    task.rerunnable = shape.rerunnable;
    task.sweep = sweep;
    task.env.insert(MARK.to_owned(), Some(traces.to_owned()));
    if shape.rerunnable {
        task.max_requeues = Some(MANY);
    }
    if ranks > 0 {
        task.request = Demand::Nodes { count: ranks };
    }
    let tasks = (0..count).map(|_| task.clone()).collect();
    Ok((JobSpec::default(), tasks))
}

/// A connection that is made again whenever it is lost.
pub(super) struct Asking {
    socket: PathBuf,
    client: Option<Client>,
}

impl Asking {
    pub(super) fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            client: None,
        }
    }

    /// Asks until there is an answer.
    async fn answer(&mut self, wish: &Wish, traces: &str) -> anyhow::Result<Answer> {
        if let Wish::Look { job } = wish {
            return Ok(Answer::Told {
                tasks: self.look(*job).await?,
            });
        }
        let request = match wish {
            Wish::Submit { key, shape } => {
                let (job, tasks) = spec(key, shape, traces)?;
                Request::Submit {
                    submission: key.parse()?,
                    job: Box::new(job),
                    tasks,
                }
            }
            Wish::CancelJob { job, force } => Request::CancelJob {
                job: *job,
                force: *force,
                message: String::new(),
            },
            Wish::CancelTask { task } => Request::CancelTasks {
                tasks: vec![*task],
                force: false,
                message: String::new(),
            },
            Wish::RequeueTask { task } => Request::RequeueTasks { tasks: vec![*task] },
            Wish::Look { .. } => Request::Unknown,
        };
        Ok(match self.ask(&request).await? {
            Reply::Submitted { job, .. } => Answer::Submitted { job },
            Reply::Done { .. } => Answer::Done,
            Reply::Refused(refusal) => Answer::Refused {
                code: format!("{:?}", refusal.code),
                what: refusal.what,
            },
            other => anyhow::bail!("{wish:?} was answered by {other:?}"),
        })
    }

    /// All tasks of a job, as the head node tells of them.
    pub(super) async fn look(&mut self, job: JobId) -> anyhow::Result<Vec<(TaskId, Told)>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = Request::ListTasks {
                job,
                after,
                states: Vec::new(),
            };
            match self.ask(&request).await? {
                Reply::Tasks { tasks, more, .. } => {
                    all.extend(tasks.iter().map(|row| (row.id, told(row))));
                    after = tasks.last().map(|row| row.id);
                    if !more || tasks.is_empty() {
                        return Ok(all);
                    }
                }
                Reply::Refused(refusal) if refusal.code == RefusalCode::NotFound => return Ok(all),
                other => anyhow::bail!("the list of tasks of job {job} is {other:?}"),
            }
        }
    }

    /// One answer, which may be a refusal; as often as it takes.
    pub(super) async fn ask(&mut self, request: &Request) -> anyhow::Result<Reply> {
        loop {
            match tokio::time::timeout(PATIENCE, self.once(request)).await {
                Ok(Ok(reply)) => return Ok(reply),
                // Later it may work.
                Ok(Err(ClientError::Refused(refusal))) if refusal.code == RefusalCode::Busy => {}
                Ok(Err(ClientError::Refused(refusal))) => return Ok(Reply::Refused(refusal)),
                Ok(Err(error)) if !error.is_passing() => return Err(error.into()),
                Ok(Err(_)) | Err(_) => self.client = None,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn once(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(self.socket.clone()).await?),
        };
        client.request(request.clone()).await
    }
}

fn told(row: &TaskRow) -> Told {
    let state = match &row.state {
        TaskState::Ended { outcome, .. } => match outcome {
            TaskOutcome::Finished => State::Finished,
            TaskOutcome::Canceled => State::Canceled,
            TaskOutcome::Failed {
                cause: AttemptOutcome::Exited { code },
            } => State::Exited { code: *code },
            TaskOutcome::Failed { cause } => State::Failed {
                cause: format!("{cause:?}"),
            },
        },
        live => State::Live {
            word: live.word().to_owned(),
        },
    };
    Told {
        state,
        attempt: row.last_attempt,
    }
}
