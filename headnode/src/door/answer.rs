//! One request, one answer: reads from the view, writes through the controller.

use std::sync::Arc;

use proto::client::{Refusal, Reply, Request};
use proto::control::FollowFrom;
use proto::ids::{JobId, Sequence, TaskId};
use proto::model::job::{Env, JobRow};
use proto::model::owner::Caller;

use super::line::Line;
use super::refusal::{ending, unknown_request};
use super::{Door, write};
use crate::files;
use crate::view::View;

/// What a client gets.
pub(super) enum Served {
    /// One reply.
    Once(Reply),
    /// A reply per change of a job.
    Wait(JobId),
    /// Output of tasks.
    Tail(TailWish),
    /// An ear for an interactive task.
    Input(TaskId),
    /// What happens.
    Events {
        /// After this one.
        after: Option<Sequence>,
        /// Whether it goes on.
        follow: bool,
    },
}

/// Whose output, from where, for how long: [`Request::Tail`].
#[derive(Debug, Clone)]
pub(super) struct TailWish {
    pub(super) job: JobId,
    pub(super) tasks: Vec<TaskId>,
    pub(super) from: FollowFrom,
    pub(super) follow: bool,
}

impl Door {
    pub(super) async fn answer<W, R>(&self, line: &Line<W, R>, request: Request) -> Result<Served, Refusal> {
        let who = &line.who;
        let request = match write::plain(who, request) {
            Ok(write) => return self.write_plain(who, write).await.map(Served::Once),
            Err(other) => *other,
        };
        let reply = match request {
            Request::WaitJob { job } => {
                self.job(who, job).await?;
                return Ok(Served::Wait(job));
            }
            Request::Tail {
                job,
                tasks,
                from,
                follow,
            } => {
                return Ok(Served::Tail(TailWish {
                    job,
                    tasks,
                    from,
                    follow,
                }));
            }
            Request::Input { task } => return Ok(Served::Input(task)),
            Request::Events { after, follow } => return Ok(Served::Events { after, follow }),

            Request::MakeToken {
                pool,
                groups,
                uses,
                lifetime,
            } => self.make_token(who, (pool, groups), uses, lifetime).await?,
            Request::AddUser { user, role, ids } => self.add_user(who, user, role, ids).await?,
            Request::MakeLogin { user, lifetime } => self.make_login(who, user, lifetime).await?,
            Request::RenewCredential { request } => {
                self.credentials.renew(who.clone(), request, line.shown.key()).await?
            }
            Request::Probe { nodes } => self.probe(who, &nodes).await?,

            Request::ListJobs { filter } => {
                let now = self.clock.now();
                self.read(who, move |view, who| view.jobs(who, &filter, now)).await?
            }
            Request::ViewJob { job } => Reply::Job {
                job: Box::new(self.job(who, job).await?),
            },
            Request::WhyJob { job } => {
                let now = self.clock.now();
                self.read(who, move |view, who| view.why(who, job, now)).await?
            }
            Request::WhyTask { task } => {
                let now = self.clock.now();
                self.read(who, move |view, who| view.why_task(who, task, now)).await?
            }
            Request::ListSchedules => self.read(who, |view, who| view.schedules(who, None)).await?,
            Request::ViewSchedule { name } => {
                self.read(who, move |view, who| view.schedules(who, Some(&name)))
                    .await?
            }
            Request::ListLimits => self.read(who, |view, who| Ok(view.limits(who))).await?,
            Request::Rehearse { job, tasks } => {
                let now = self.clock.now();
                self.read(who, move |view, who| view.rehearse(who, &job, &tasks, now))
                    .await?
            }
            Request::ListTasks { job, after, states } => {
                self.read(who, move |view, who| view.tasks(who, job, after, &states))
                    .await?
            }
            Request::LineTasks { job, after } => {
                self.read(who, move |view, who| view.task_lines(who, job, after))
                    .await?
            }
            Request::ViewTask { task, output_bytes } => self.view_task(who, task, output_bytes).await?,
            Request::ListNodes => self.read(who, |view, who| view.nodes(who, None)).await?,
            Request::ViewNode { node } => self.read(who, move |view, who| view.nodes(who, Some(&node))).await?,
            Request::ListGroups => self.read(who, |view, _| Ok(view.groups())).await?,
            Request::ListPools => self.read(who, |view, _| view.pools(None)).await?,
            Request::ViewPool { pool } => self.read(who, move |view, _| view.pools(Some(&pool))).await?,
            Request::ListUsers => self.read(who, |view, who| Ok(view.users(who))).await?,
            Request::Settings => self.view.settings(self.standing()),
            Request::Status => self.status(),
            _ => return Err(unknown_request()),
        };
        Ok(Served::Once(reply))
    }

    /// Reads beside the thread that serves nodes and clients: a long list must hold up nobody's heartbeat.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        who: &Caller,
        look: impl FnOnce(&View, &Caller) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _share = self.bounds.reads_of_one.take(who.owner.uid).await?;
        let turn = self.bounds.reads.acquire().await.map_err(|_| ending())?;
        let (view, who) = (Arc::clone(&self.view), who.clone());
        let read = tokio::task::spawn_blocking(move || look(&view, &who)).await;
        drop(turn);
        read.map_err(|_| ending())?
    }

    pub(super) async fn job(&self, who: &Caller, id: JobId) -> Result<JobRow, Refusal> {
        self.read(who, move |view, who| view.job(who, id)).await
    }

    async fn view_task(&self, who: &Caller, task: TaskId, output_bytes: u32) -> Result<Reply, Refusal> {
        let task = self.read(who, move |view, who| view.task(who, task)).await?;
        let names = self.view.names(task.last_nodes.iter().copied());
        let files = files::ends(&self.links, &task, &names, output_bytes).await;
        Ok(Reply::Task {
            task: Box::new(task),
            names,
            files,
        })
    }

    fn status(&self) -> Reply {
        let totals = self.view.totals();
        let mut head = self.head.clone();
        head.sequence = self.view.sequence();
        head.clock = self.clock.now().wall;
        head.certificate_ends = self.credentials.authority.head_ends();
        Reply::Status {
            head,
            nodes: totals.nodes,
            up: totals.up,
            jobs: totals.jobs,
            queued: totals.queued,
            running: totals.running,
        }
    }

    /// Variables that are the same for every task of the cluster and set by nobody.
    fn standing(&self) -> Env {
        [("CCP_CLUSTER_NAME".to_owned(), Some(self.head.cluster.clone()))].into()
    }
}
