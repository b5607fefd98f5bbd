//! Variables and parameters of the whole cluster: `cluscfg`.

use proto::client::{Reply, Request};
use proto::model::job::Env;

use super::Door;
use crate::answer::{Answer, ClusterAnswer, SettingsAnswer};
use crate::client::ClientError;
use crate::exit::CliError;

/// `cluscfg listenvs`
pub(super) async fn envs(door: &Door) -> Result<ClusterAnswer, CliError> {
    match door.ask(Request::Settings).await? {
        Reply::Settings { row, standing, .. } => {
            Ok(ClusterAnswer::Settings(SettingsAnswer::Envs { set: row.env, standing }))
        }
        _ => Err(ClientError::Unexpected {
            asked: "cluscfg listenvs",
        }
        .into()),
    }
}

/// `cluscfg listparams`
pub(super) async fn parameters(door: &Door) -> Result<ClusterAnswer, CliError> {
    match door.ask(Request::Settings).await? {
        Reply::Settings { parameters, .. } => Ok(ClusterAnswer::Settings(SettingsAnswer::Parameters(parameters))),
        _ => Err(ClientError::Unexpected {
            asked: "cluscfg listparams",
        }
        .into()),
    }
}

/// `cluscfg setenvs`, `cluscfg setparams`
pub(super) async fn set(env: Env, parameters: Vec<(String, String)>, door: &Door) -> Result<Answer, CliError> {
    match door.ask(Request::SetSettings { env, parameters }).await? {
        Reply::Done { notes, .. } => Ok(Answer::Notes(notes)),
        _ => Err(ClientError::Unexpected { asked: "cluscfg" }.into()),
    }
}
