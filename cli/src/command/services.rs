//! Rows of jobs with service tasks. A service is a sweep with as many steps as numbers allow; people want to know of those
//! instances that there were, and not of millions that nobody will ever start.

use proto::client::RefusalCode;
use proto::model::job::JobRow;
use proto::model::line::TaskLine;
use proto::model::sweep::Sweep;
use proto::model::task::TaskKind;

use super::Door;
use super::select::{Of, Pages};
use crate::answer::untouched;
use crate::client::{Client, ClientError};
use crate::exit::CliError;

/// Whether a job has so many tasks that there may be a service among them.
pub(super) const fn may_have(job: &JobRow) -> bool {
    job.counts.total() >= Sweep::endless().count()
}

/// Takes what nobody touched of services out of a job's counts. Other jobs stay as they are, and cost no question.
pub(super) async fn settle(job: &mut JobRow, client: &mut Client) -> Result<(), CliError> {
    if !may_have(job) {
        return Ok(());
    }
    let mut pages = Pages::new(job.id, None, Of::Lines);
    loop {
        match pages.next(client).await {
            Ok(Some((lines, _))) => lines.iter().for_each(|line| take_out(job, line)),
            Ok(None) => return Ok(()),
            // Taken away meanwhile; the row is what was known of it.
            Err(CliError::Client(ClientError::Refused(refusal))) if refusal.code == RefusalCode::NotFound => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The same with a connection of its own.
pub(super) async fn settled(mut job: JobRow, door: &Door) -> Result<JobRow, CliError> {
    if may_have(&job) {
        settle(&mut job, &mut door.connect().await?).await?;
    }
    Ok(job)
}

fn take_out(job: &mut JobRow, line: &TaskLine) {
    let TaskLine::Sweep(sweep) = line else { return };
    if sweep.spec.kind != TaskKind::Service {
        return;
    }
    let rest = untouched(&sweep.counts);
    // The row and the line are of two moments.
    job.counts.queued = job.counts.queued.saturating_sub(rest.queued);
    job.counts.canceled = job.counts.canceled.saturating_sub(rest.canceled);
}
