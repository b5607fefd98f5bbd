//! Outputs of an attempt as they grow, for the head node: pieces until the attempt has ended and all is sent.
//!
//! ```text
//!   not started --> look at both files --> send --> all sent and over? --> End
//!                        ^                   |
//!                        '--- a change, the end, or a second <---'
//! ```
//!
//! Nothing is polled where the kernel tells of changes; the look once a second is for file systems that tell nothing of
//! other machines' writes. Whoever reads slowly is waited for, so no output piles up here.

use std::sync::Arc;
use std::time::Duration;

use proto::control::{FollowReply, FollowRequest, TaskFile};
use tokio::sync::Notify;
use tokio::time::Instant;
use transport::control::StreamWriter;

use crate::attempts::{Present, Stage};
use crate::files::{Files, MAX_FOLLOWERS, NO_FOLDER};
use crate::growing::{Growing, Look, Patience};
use crate::watch::Watch;
use crate::workdir::output_paths;

/// Between two looks where nothing was told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long bytes wait for the note of whose they are.
const NOTES_DEADLINE: Duration = Duration::from_millis(50);

/// Between two looks at a file that grows all the time, so that its lines go together.
const GATHER: Duration = Duration::from_millis(5);

/// Answers one question, until its end or until the head node does not listen any more.
pub(crate) async fn serve(files: Files, mut to: StreamWriter, request: FollowRequest) -> anyhow::Result<()> {
    let unheard = to.inner().stopped();
    let Ok(_place) = Arc::clone(&files.followers).try_acquire_owned() else {
        let reason = format!("this node serves {MAX_FOLLOWERS} followers already; try again later");
        return refuse(&mut to, &reason).await;
    };
    tokio::select! {
        done = follow(&files, &mut to, request) => done,
        // Nobody follows any more, or the connection is over.
        _ = unheard => Ok(()),
    }
}

async fn refuse(to: &mut StreamWriter, reason: &str) -> anyhow::Result<()> {
    let missing = |file| FollowReply::Missing {
        file,
        reason: reason.to_owned(),
    };
    to.send_all(&[missing(TaskFile::Stdout), missing(TaskFile::Stderr), FollowReply::End])
        .await?;
    Ok(to.finish().await?)
}

async fn follow(files: &Files, to: &mut StreamWriter, request: FollowRequest) -> anyhow::Result<()> {
    let mut present = find(files, request).await?;
    wait_for_start(&mut present, request.follow).await;
    let Some(outputs) = Outputs::find(files, request).await? else {
        return refuse(to, NO_FOLDER).await;
    };
    let mut outputs = outputs;
    let mut notes_due = None;
    loop {
        let over = present.as_ref().is_none_or(|present| present.stage() == Stage::Over);
        let looked = Instant::now();
        let waits = request.follow && !over;
        let patience = Patience {
            for_file: waits,
            for_notes: waits && notes_due.is_none_or(|due| due > looked),
        };
        let (seen, replies) = outputs.look(files, patience).await?;
        to.send_all(&replies).await?;
        let fresh = outputs.watch(files);
        match seen {
            Seen::More => notes_due = None,
            // What changed before the watch began was not told.
            _ if fresh => {}
            Seen::Drained if !waits => break,
            Seen::Drained => {
                notes_due = None;
                wait(&mut present, &outputs.wake, looked + LOOK_AGAIN).await;
                tokio::time::sleep_until(looked + GATHER).await;
            }
            Seen::NotesBehind => {
                let due = *notes_due.get_or_insert(looked + NOTES_DEADLINE);
                wait(&mut present, &outputs.wake, due).await;
            }
        }
    }
    to.send(&FollowReply::End).await?;
    Ok(to.finish().await?)
}

/// The attempt, while it is held here. The order to start it may come after the question.
async fn find(files: &Files, request: FollowRequest) -> anyhow::Result<Option<Present>> {
    if let Some(present) = files.attempts.find(request.attempt) {
        return Ok(Some(present));
    }
    let directory = files.directory.clone();
    let ended = files
        .reading(move || output_paths(&directory, request.job, request.attempt).is_some())
        .await?;
    if ended || !request.follow {
        return Ok(None);
    }
    Ok(files.attempts.find_soon(request.attempt).await)
}

/// Before that a file that the user named may hold what an earlier attempt wrote.
async fn wait_for_start(present: &mut Option<Present>, follow: bool) {
    while let Some(present) = present
        && follow
        && present.stage() == Stage::Held
    {
        present.changed().await;
    }
}

async fn wait(present: &mut Option<Present>, wake: &Notify, until: Instant) {
    let ended = async {
        match present {
            Some(present) => present.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wake.notified() => {}
        () = ended => {}
        () = tokio::time::sleep_until(until) => {}
    }
}

/// The files of one attempt, and who is woken when they change.
#[derive(Debug)]
struct Outputs {
    growing: Vec<Growing>,
    watches: Vec<Watch>,
    /// The system gave none; it is not asked again.
    unwatched: bool,
    wake: Arc<Notify>,
}

/// What a look at all files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    More,
    NotesBehind,
    Drained,
}

impl Outputs {
    async fn find(files: &Files, request: FollowRequest) -> anyhow::Result<Option<Self>> {
        let directory = files.directory.clone();
        let paths = files
            .reading(move || output_paths(&directory, request.job, request.attempt))
            .await?;
        Ok(paths.map(|paths| Self {
            growing: Growing::all(&paths, request.from, !request.follow),
            watches: Vec::new(),
            unwatched: false,
            wake: Arc::new(Notify::new()),
        }))
    }

    async fn look(&mut self, files: &Files, patience: Patience) -> anyhow::Result<(Seen, Vec<FollowReply>)> {
        let mut growing = std::mem::take(&mut self.growing);
        let work = move || {
            let mut replies = Vec::new();
            let looks: Vec<Look> = growing
                .iter_mut()
                .map(|growing| growing.look(patience, &mut replies))
                .collect();
            (growing, looks, replies)
        };
        let (growing, looks, replies) = files.reading(work).await?;
        self.growing = growing;
        let seen = if looks.contains(&Look::More) {
            Seen::More
        } else if looks.contains(&Look::NotesBehind) {
            Seen::NotesBehind
        } else {
            Seen::Drained
        };
        Ok((seen, replies))
    }

    /// Watches files that were opened since; says whether there were any.
    fn watch(&mut self, files: &Files) -> bool {
        let open: Vec<_> = self.growing.iter().flat_map(Growing::files).collect();
        if self.unwatched || open.len() <= self.watches.len() {
            return false;
        }
        let Some(watches) = files.watches() else {
            return false;
        };
        let watched = open.into_iter().map(|file| watches.file(file, &self.wake));
        match watched.collect::<Result<Vec<_>, _>>() {
            Ok(watched) => {
                self.watches = watched;
                true
            }
            Err(error) => {
                tracing::warn!("an output is looked at once a second: {error}");
                self.unwatched = true;
                false
            }
        }
    }
}
