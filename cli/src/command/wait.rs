//! `job wait` and `job watch`: until a job is over, also across a restart of the head node.

use proto::ids::JobId;
use proto::model::job::{JobRow, JobState};

use super::{Door, services, show};
use crate::answer::Answer;
use crate::exit::CliError;
use crate::render::{Form, Look, Progress};

/// Waits until a job is over; `on_change` sees it now and at every change.
async fn until_over(job: JobId, door: &Door, mut on_change: impl FnMut(&JobRow)) -> Result<JobRow, CliError> {
    let mut client = door.connect().await?;
    loop {
        let error = match client.wait_job(job, &mut on_change).await {
            Ok(row) => return services::settled(row, door).await,
            Err(error) if error.is_passing() => error,
            Err(error) => return Err(error.into()),
        };
        let mut progress = Progress::new();
        progress.show(&format!("job {job}: the head node went away; waiting for it"));
        client = door.reconnect(error).await?;
    }
}

/// Waits until a job is over, with a line on a terminal that says how far it is.
pub(super) async fn wait(job: JobId, door: &Door) -> Result<JobRow, CliError> {
    let mut progress = Progress::new();
    let mut remarked = false;
    let on_change = |row: &JobRow| {
        if row.state == JobState::Configuring && !remarked {
            remarked = true;
            progress.clear();
            crate::render::remark(&unsubmitted(row));
        }
        progress.show(&progress_line(row));
    };
    until_over(job, door, on_change).await
}

/// Nobody else may know that a job waits for its submission.
fn unsubmitted(row: &JobRow) -> String {
    format!("job {0} is not submitted yet: job submit /id:{0}", row.id)
}

/// Tells each change until the job is over.
pub(super) async fn watch(job: JobId, look: &Look, door: &Door) -> Result<Answer, CliError> {
    let mut progress = Progress::new();
    // For people on a terminal one line that changes is enough; programs and files get them all.
    let in_place = look.width.is_some() && matches!(look.form, Form::Table) && progress.is_shown();
    let mut failed = None;
    let mut last = None;
    let row = until_over(job, door, |row| {
        if in_place {
            progress.show(&progress_line(row));
        } else if !row.state.is_ended() && last.as_ref() != Some(row) {
            last = Some(row.clone());
            let now = Look {
                now: crate::render::now(),
                ..look.clone()
            };
            failed = show(&Answer::Change(Box::new(row.clone())), &now).err();
        }
    })
    .await?;
    match failed {
        Some(error) => Err(error),
        None if in_place => Ok(Answer::Waited(Box::new(row))),
        None => Ok(Answer::Change(Box::new(row))),
    }
}

/// How far a job is, in a line.
pub(super) fn progress_line(row: &JobRow) -> String {
    let counts = &row.counts;
    let ended = counts.finished + counts.failed + counts.canceled;
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!(" ({failed} failed)"),
    };
    let said = row.progress.as_ref().map_or_else(String::new, |progress| {
        let percent = progress
            .percent
            .map(|percent| format!("{percent} % "))
            .unwrap_or_default();
        format!("; {percent}{}", progress.message)
    });
    // A service has no end, and what nobody touched of it is no task.
    let of = match services::may_have(row) {
        true => String::new(),
        false => format!(" of {}", counts.total()),
    };
    format!(
        "job {}: {}, {ended}{of} tasks over{failed}, {} running{said}",
        row.id,
        row.state.word(),
        counts.running
    )
}
