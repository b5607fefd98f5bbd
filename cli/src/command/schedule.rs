//! Commands about job schedules.

use proto::client::{Reply, Request};
use proto::ids::ScheduleName;
use proto::model::schedule::ScheduleRow;

use super::Door;
use crate::answer::Answer;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::request::ScheduleCommand;

/// Carries out one.
pub(super) async fn run(command: ScheduleCommand, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let (request, remarks) = match command {
        ScheduleCommand::List => match client.request(Request::ListSchedules).await? {
            Reply::Schedules { schedules } => return Ok(Answer::Schedules(schedules)),
            _ => {
                return Err(ClientError::Unexpected {
                    asked: "jobschedule list",
                }
                .into());
            }
        },
        ScheduleCommand::View(name) => return Ok(Answer::Schedule(Box::new(view(name, &mut client).await?))),
        ScheduleCommand::Add { name, spec, remarks } => (Request::AddSchedule { name, spec }, remarks),
        ScheduleCommand::Modify { name, change, remarks } => {
            let standing = view(name.clone(), &mut client).await?.spec;
            let spec = Box::new(change.on(standing));
            (Request::ModifySchedule { name, spec }, remarks)
        }
        ScheduleCommand::Act { name, action } => (Request::ActOnSchedule { name, action }, Vec::new()),
    };
    match client.request(request).await? {
        Reply::Done { mut notes, .. } => {
            notes.extend(remarks);
            Ok(Answer::Notes(notes))
        }
        _ => Err(ClientError::Unexpected { asked: "this command" }.into()),
    }
}

async fn view(name: ScheduleName, client: &mut Client) -> Result<ScheduleRow, CliError> {
    let wrong = ClientError::Unexpected {
        asked: "jobschedule view",
    };
    match client.request(Request::ViewSchedule { name }).await? {
        Reply::Schedules { schedules } => schedules.into_iter().next().ok_or_else(|| wrong.into()),
        _ => Err(wrong.into()),
    }
}
