//! What the agent does besides starting and ending: last words of failed commands, old folders, a new start of the node.

use std::sync::Arc;
use std::time::Duration;

use proto::ids::JobId;

use super::{Agent, Wake};
use crate::attempts::Present;
use crate::files::last_line;
use crate::kept::Kept;
use crate::retention::Sweeper;
use crate::supervisor::Failed;
use crate::workdir::COORDINATION_STDERR;
use crate::workdir::needs_folder;

/// How long is looked for the last words of a command: its user may have led the file to a server that does not answer.
const WORDS_DEADLINE: Duration = Duration::from_secs(3);

impl Agent {
    /// Looks for what a failed coordination command said, as its user.
    pub(super) fn explain(&self, kept: &Arc<Kept>, failed: Failed) {
        let (files, directory, wakes) = (self.files.clone(), self.directory.clone(), self.wakes.clone());
        let (job, attempt) = (kept.order.task.job, kept.attempt());
        tokio::spawn(async move {
            let look = files.reading(move || last_line(&directory, job, attempt, COORDINATION_STDERR));
            // Without words it failed all the same.
            let found = tokio::time::timeout(WORDS_DEADLINE, look).await.ok();
            let last_line = found.and_then(Result::ok).unwrap_or_default();
            // Nobody waits when the agent is ending.
            let _ = wakes.send(Wake::Explained { failed, last_line }).await;
        });
    }

    /// From now on folders are removed when their retention is over.
    pub(super) fn start_sweeper(&mut self) {
        let held = self.supervisor.held().into_iter().map(|held| held.attempt).collect();
        match Sweeper::start(self.directory.clone(), self.attempts.clone(), held) {
            Ok(sweeper) => self.sweeper = Some(sweeper),
            Err(error) => tracing::error!("old folders of tasks are not removed: {error}"),
        }
    }

    /// An attempt is over: the retention of its folder begins.
    pub(super) fn keep_from_now(&self, present: Option<Present>) {
        if let (Some(sweeper), Some(present)) = (&self.sweeper, present)
            && needs_folder(&present.kept.order)
        {
            sweeper.ended(present.kept);
        }
    }

    pub(super) fn forget(&self, job: JobId) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.forget(job);
        }
    }

    pub(super) fn restart(&mut self, reimage: bool) {
        let Some(life) = self.supervisor.boot() else { return };
        let wakes = self.wakes.clone();
        let failed = move |reason| {
            // Nobody waits when the agent is ending; the head node asks again.
            let _ = wakes.blocking_send(Wake::ErrandFailed(reason));
        };
        if let Err(reason) = self.restarts.begin(reimage, life, failed) {
            self.errand_failed(reason);
        }
    }

    pub(super) fn errand_failed(&mut self, reason: String) {
        tracing::error!("{reason}");
        self.supervisor.errand_refused(reason);
    }
}
