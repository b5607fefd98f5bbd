//! Following the output of a job's tasks from wherever they run.
//!
//! ```text
//!   view: news of the job --> Plan: which try is told next --> Source per try (a stream to its node)
//!                               ^                                     |
//!                               '----- its stream has ended ----- queue of a few parts --> the client
//! ```
//!
//! Nothing is polled: news come from the view, parts from the nodes. The queue is short, and a source that finds it full
//! lets go of its node ([`source`]).

mod plan;
mod source;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use proto::client::{Output, OutputPart, Refusal, RefusalCode, Reply};
use proto::control::{FollowFrom, Piece};
use proto::ids::{AttemptId, NodeId, NodeName, Sequence, TaskId};
use proto::model::owner::Caller;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Door;
use super::answer::TailWish;
use super::line::Line;
use super::places::Place;
use super::refusal::{ending, refused};
use crate::view;
use plan::{Opening, Plan, Step};
use source::{News, Source};

pub(in crate::door) use source::Turns;

/// How many parts wait for one client, each of at most 256 KiB.
const PARTS_AHEAD: usize = 4;

/// One client that follows.
struct Tail<'a> {
    door: &'a Door,
    wish: TailWish,
    /// Of whoever follows.
    uid: u32,
    /// The tasks and sweeps that are followed; all when it is empty.
    asked: BTreeSet<TaskId>,
    plan: Plan,
    /// Up to where the view was looked at.
    seen: Sequence,
    /// For the tasks that are kept in mind.
    room: Place<'a>,
    queue: (mpsc::Sender<News>, mpsc::Receiver<News>),
    /// Ended with this value.
    sources: JoinSet<()>,
}

impl Door {
    pub(super) async fn tail<W, R>(&self, line: &mut Line<W, R>, wish: TailWish) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let Some(_place) = self.bounds.tails.take(line.who.owner.uid, line.who.role) else {
            let refusal = refused(
                RefusalCode::Busy,
                "too many outputs are followed at once, by you or by all together",
                "try again later, or read the end of a task's output with 'task view'",
            );
            return line.tell(&Reply::Refused(refusal)).await;
        };
        // Before anything is read: what comes after that is news.
        let changes = self.view.changes();
        match self.begin(line, wish).await {
            Ok(tail) => tail.run(line, changes).await,
            Err(refusal) => line.tell(&Reply::Refused(refusal)).await,
        }
    }

    async fn begin<W, R>(&self, line: &Line<W, R>, wish: TailWish) -> Result<Tail<'_>, Refusal> {
        check(&wish)?;
        let (job, tasks) = (wish.job, wish.tasks.clone());
        let stages = self
            .read(&line.who, move |view, who| view.stages(who, job, &tasks))
            .await?;
        if matches!(wish.from, FollowFrom::At { .. }) && stages.tasks.len() > 1 {
            return Err(many_places());
        }
        let mut plan = Plan::new(wish.from, wish.follow, !wish.tasks.is_empty());
        plan.begin(stages.is_over, &stages.tasks);
        Ok(Tail {
            room: self.room_for(&line.who, plan.tasks())?,
            door: self,
            uid: line.who.owner.uid,
            asked: wish.tasks.iter().copied().collect(),
            wish,
            plan,
            seen: stages.sequence,
            queue: mpsc::channel(PARTS_AHEAD),
            sources: JoinSet::new(),
        })
    }

    fn room_for(&self, who: &Caller, tasks: usize) -> Result<Place<'_>, Refusal> {
        let room = self.bounds.tailed_tasks.take_many(who.owner.uid, who.role, tasks);
        room.ok_or_else(|| no_room_for(tasks))
    }
}

fn no_room_for(tasks: usize) -> Refusal {
    refused(
        RefusalCode::Busy,
        format!("the output of {tasks} more tasks cannot be followed now"),
        "name some of the tasks, or try again later",
    )
}

fn check(wish: &TailWish) -> Result<(), Refusal> {
    if let Some(other) = wish.tasks.iter().find(|task| task.job != wish.job) {
        return Err(refused(
            RefusalCode::Invalid,
            format!("task {other} is none of job {}", wish.job),
            "follow one job at a time",
        ));
    }
    let one = wish.tasks.len() == 1;
    if matches!(wish.from, FollowFrom::At { .. }) && !one {
        return Err(many_places());
    }
    Ok(())
}

fn many_places() -> Refusal {
    refused(
        RefusalCode::Invalid,
        "output can be followed from a place in its files for one task only",
        "name one task, or follow from the beginning",
    )
}

impl Tail<'_> {
    async fn run<W, R>(
        mut self,
        line: &mut Line<W, R>,
        mut changes: tokio::sync::watch::Receiver<Sequence>,
    ) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        loop {
            self.do_all_steps(line).await?;
            if self.plan.is_done() {
                let sequence = self.seen;
                let notes = Vec::new();
                return line.tell(&Reply::Done { sequence, notes }).await;
            }
            let deadline = self.plan.deadline(Instant::now());
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // A sender is kept here, so there is always a next one.
                Some(news) = self.queue.1.recv() => self.pass_on(line, news).await?,
                // One that panicked would never tell that it has ended.
                Some(ended) = self.sources.join_next() => ended?,
                changed = changes.changed() => {
                    changed.map_err(|_| anyhow::anyhow!("{}", ending()))?;
                    if let Err(refusal) = self.look(line).await {
                        return line.tell(&Reply::Refused(refusal)).await;
                    }
                    self.retry();
                }
                () = due => self.retry(),
                left = line.left() => return left,
            }
        }
    }

    async fn do_all_steps<W, R>(&mut self, line: &mut Line<W, R>) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        while let Some(step) = self.plan.next_step() {
            match step {
                Step::Open(opening) => self.open(opening),
                Step::End { task, attempt, node } => self.tell_end(line, task, attempt, node).await?,
            }
        }
        Ok(())
    }

    fn open(&mut self, opening: Opening) {
        let source = Source {
            links: Arc::clone(&self.door.links),
            turns: self.door.bounds.turns.of(opening.node, self.uid),
            name: self.name(opening.node),
            follow: self.wish.follow,
            to: self.queue.0.clone(),
            opening,
        };
        self.sources.spawn(source.run());
    }

    async fn tell_end<W, R>(
        &mut self,
        line: &mut Line<W, R>,
        task: TaskId,
        attempt: AttemptId,
        node: NodeId,
    ) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let row = self.door.read(&line.who, move |view, who| view.task(who, task)).await;
        // A row that cannot be read any more is no reason to tell nothing of the others.
        let Ok(row) = row else { return Ok(()) };
        let output = Output {
            task,
            attempt,
            node: self.name(node),
            part: OutputPart::End { task: Box::new(row) },
        };
        line.stream(&Reply::Output(Box::new(output))).await
    }

    async fn pass_on<W, R>(&mut self, line: &mut Line<W, R>, news: News) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        match news {
            News::Part(mut output) => {
                // The rank's own node, not that which keeps the file.
                if let OutputPart::Piece(Piece { on: Some(node), .. }) = &output.part {
                    output.node = self.name(*node);
                }
                line.stream(&Reply::Output(output)).await
            }
            News::Closed {
                task,
                outcome,
                place,
                trouble,
            } => {
                let is_new = self.plan.closed(task, outcome, place, Instant::now());
                match trouble.filter(|_| is_new) {
                    Some(trouble) => line.stream(&Reply::Output(trouble)).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// What has become of the job since it was looked at.
    async fn look<W, R>(&mut self, line: &Line<W, R>) -> Result<(), Refusal> {
        line.check(&self.door.view)?;
        if !self.wish.follow {
            return Ok(());
        }
        let job = self.wish.job;
        let now = self.door.view.sequence();
        let some = match self.door.view.news(job, self.seen) {
            view::News::Nothing => {
                self.seen = now;
                return Ok(());
            }
            view::News::Tasks(tasks) => self.door.view.stages_of(job, &tasks),
            view::News::Much => None,
        };
        let stages = match some {
            Some(mut stages) => {
                let asked = &self.asked;
                let covers =
                    |task: TaskId| asked.contains(&task) || asked.contains(&TaskId::new(task.job, task.number));
                stages.tasks.retain(|now| asked.is_empty() || covers(now.task));
                // The end of the job is news of its own. Seen here, it could come before the ends of its other tasks.
                stages.is_over = self.plan.job_is_over();
                stages
            }
            None => {
                let tasks = self.wish.tasks.clone();
                self.door
                    .read(&line.who, move |view, who| view.stages(who, job, &tasks))
                    .await?
            }
        };
        // What happened between the news and the stages is seen again, which does no harm.
        self.seen = now;
        self.plan.see_job(stages.is_over, &stages.tasks);
        let more = self.plan.tasks().saturating_sub(self.room.count());
        if more > 0 && !self.room.grow(more, line.who.role) {
            return Err(no_room_for(more));
        }
        Ok(())
    }

    fn retry(&mut self) {
        let links = &self.door.links;
        self.plan.retry(Instant::now(), |node| links.connection(node).is_some());
    }

    fn name(&self, node: NodeId) -> NodeName {
        let names = self.door.view.names(std::iter::once(node));
        names.into_iter().next().map_or_else(|| removed(node), |(_, name)| name)
    }
}

/// A node that was taken out of the cluster goes by its number.
fn removed(node: NodeId) -> NodeName {
    // A number after a word is a name.
    NodeName::new(&format!("node-{node}")).expect("a name")
}
