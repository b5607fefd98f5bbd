//! Waiting for a job: a reply now and at every change, until it has ended.

use proto::client::Reply;
use proto::ids::JobId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Door;
use super::line::Line;
use super::pace::Pace;
use crate::view::News;

impl Door {
    pub(super) async fn wait<W, R>(&self, line: &mut Line<W, R>, id: JobId) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let mut watch = self.view.watch(id);
        let mut pace = Pace::new(Instant::now());
        let mut told = None;
        loop {
            watch.look();
            // Before the job is read: what comes after it is news.
            let seen = self.view.sequence();
            if let Err(refusal) = line.check(&self.view) {
                return line.tell(&Reply::Refused(refusal)).await;
            }
            let job = match self.job(&line.who, id).await {
                Ok(job) => job,
                Err(refusal) => return line.tell(&Reply::Refused(refusal)).await,
            };
            let news = (job.counts, job.state.clone(), job.progress.clone());
            let ended = job.state.is_ended();
            if told.as_ref() != Some(&news) {
                line.stream(&Reply::Job { job: Box::new(job) }).await?;
                told = Some(news);
            }
            if ended {
                return Ok(());
            }
            while self.view.news(id, seen) == News::Nothing {
                tokio::select! {
                    () = watch.news() => {}
                    left = line.left() => left?,
                }
                if let Err(refusal) = line.check(&self.view) {
                    return line.tell(&Reply::Refused(refusal)).await;
                }
            }
            let pause = pace.told(Instant::now());
            // A timer of no time takes some.
            tokio::select! {
                biased;
                () = std::future::ready(()), if pause.is_zero() => {}
                () = tokio::time::sleep(pause) => {}
                // Its end is what is waited for.
                () = watch.over() => {}
                left = line.left() => left?,
            }
        }
    }
}
