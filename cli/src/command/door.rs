//! Where the head node is asked: the way to open a connection, and to open it again after the head node went away.

use std::time::{Duration, Instant};

use proto::client::{Reply, Request};

use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::place::{self, Surroundings, Target};
use crate::render::Progress;
use crate::request::Globals;

/// How long a head node that went away is waited for: a restart or an upgrade.
const RETURN: Duration = Duration::from_secs(60);

/// Between two tries to reach it.
const KNOCK: Duration = Duration::from_millis(250);

/// The place where the head node listens.
#[derive(Debug, Clone)]
pub(super) struct Door {
    target: Target,
}

impl Door {
    /// From the command line and its surroundings.
    pub(super) fn of(globals: &Globals, around: &Surroundings) -> Result<Self, CliError> {
        let target = place::target(globals, around)?;
        Ok(Self { target })
    }

    /// Whom it leads to.
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.target).await
    }

    /// One question on a connection of its own.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, ClientError> {
        self.connect().await?.request(request).await
    }

    /// A question that may be repeated: asked again until the head node is back.
    pub(super) async fn ask_again(&self, request: &Request) -> Result<Reply, CliError> {
        let first = match self.connect().await?.request(request.clone()).await {
            Err(error) if error.is_passing() => error,
            other => return Ok(other?),
        };
        let begun = Instant::now();
        let mut progress = Progress::new();
        progress.show("the head node went away; asking again");
        while begun.elapsed() < RETURN {
            tokio::time::sleep(KNOCK).await;
            let mut client = match self.connect().await {
                Ok(client) => client,
                Err(error) if error.is_passing() => continue,
                Err(error) => return Err(error.into()),
            };
            match client.request(request.clone()).await {
                Err(error) if error.is_passing() => {}
                other => return Ok(other?),
            }
        }
        Err(first.into())
    }

    /// A new connection after one was lost by `first`.
    pub(super) async fn reconnect(&self, first: ClientError) -> Result<Client, CliError> {
        let begun = Instant::now();
        while begun.elapsed() < RETURN {
            tokio::time::sleep(KNOCK).await;
            match self.connect().await {
                Ok(client) => return Ok(client),
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(first.into())
    }
}
