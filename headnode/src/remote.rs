//! Users on other hosts: connections with a user's certificate, one request per stream.
//!
//! The certificate proves a key; who that is and what they may do is read from the row that the key stands in, anew for
//! each request. So a new role counts with the next request, and a credential that was taken back ends its connections as
//! soon as that is durable. Requests themselves are the door's: see [`crate::door`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use proto::client::{Refusal, RefusalCode, Reply};
use proto::ids::KeyHash;
use proto::model::owner::Caller;
use tokio::time::timeout;
use transport::control::{CloseCode, Connection, StreamReader, StreamWriter};
use transport::wall;

use crate::door::{Door, Places, RETRY_AFTER};
use crate::knock::HEARD;
use crate::view::View;

/// How long a client may take to begin to greet.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks at whose credentials are still good.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What is said to whoever holds a key that is in nobody's row.
const TAKEN_BACK: &str =
    "your credential was taken back or has ended; ask for a new token: muster user token NAME, then muster login";

/// The connected users of other hosts.
#[derive(Debug)]
pub struct Remotes {
    door: Arc<Door>,
    view: Arc<View>,
    /// Connections by account, with the bounds of the unix socket.
    connections: Places,
    /// Requests that are being answered, with the same bounds.
    requests: Places,
    /// Guards the table for the length of one look-up.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    live: BTreeMap<u64, Live>,
    /// Of the newest connection of all.
    last: u64,
}

#[derive(Debug)]
struct Live {
    name: String,
    key: KeyHash,
    connection: Connection,
}

impl Remotes {
    /// A door for them, before the one that answers.
    #[must_use]
    pub fn new(door: Arc<Door>, view: Arc<View>) -> Self {
        Self {
            door,
            view,
            connections: Places::default(),
            requests: Places::default(),
            table: Mutex::default(),
        }
    }

    /// Serves a connection whose certificate says `name`, until it ends.
    ///
    /// # Errors
    /// For the head node's log; the peer has been told.
    pub async fn serve(self: &Arc<Self>, connection: Connection, name: &str) -> anyhow::Result<()> {
        let (Some(key), Some(validity)) = (connection.peer_key(), connection.peer_validity()) else {
            bail!("a user without a key")
        };
        let Some(who) = self.who(key, name) else {
            connection.close(CloseCode::Refused, TAKEN_BACK);
            bail!(TAKEN_BACK)
        };
        let Some(_place) = self.connections.take(who.owner.uid, who.role) else {
            let refusal = too_many(&who);
            connection.close(CloseCode::Refused, &refusal.to_string());
            bail!(refusal)
        };
        let _seat = self.attach(name, key, &connection);
        // A credential that was taken back between the look and the seat.
        if self.who(key, name).is_none() {
            connection.close(CloseCode::Refused, TAKEN_BACK);
            bail!(TAKEN_BACK)
        }
        self.greet(&connection, &who).await?;
        tracing::debug!(user = name, remote = %connection.remote_address(), "user connected");
        let left = validity.not_after.duration_since(wall::now()).unwrap_or_default();
        tokio::select! {
            ended = self.serve_requests(&connection, (key, name)) => ended,
            () = tokio::time::sleep(left) => {
                connection.close(CloseCode::Refused, TAKEN_BACK);
                Ok(())
            }
        }
    }

    async fn greet(&self, connection: &Connection, who: &Caller) -> anyhow::Result<()> {
        let (mut to, mut from) = timeout(GREETING_DEADLINE, connection.accept_stream()).await??;
        let welcome = self.door.greet(who, &mut to, &mut from).await?;
        to.finish_and_wait(HEARD).await?;
        if !welcome {
            connection.close(CloseCode::Refused, "the versions do not fit");
            bail!("a client of another version")
        }
        Ok(())
    }

    async fn serve_requests(
        self: &Arc<Self>,
        connection: &Connection,
        (key, name): (KeyHash, &str),
    ) -> anyhow::Result<()> {
        loop {
            let (to, from) = match connection.accept_stream().await {
                Ok(halves) => halves,
                // How clients leave.
                Err(_) => return Ok(()),
            };
            let Some(who) = self.who(key, name) else {
                connection.close(CloseCode::Refused, TAKEN_BACK);
                bail!(TAKEN_BACK)
            };
            let remotes = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = remotes.answer(&who, key, to, from).await {
                    tracing::debug!(user = who.owner.name, "a request ended: {error:#}");
                }
            });
        }
    }

    async fn answer(&self, who: &Caller, key: KeyHash, to: StreamWriter, from: StreamReader) -> anyhow::Result<()> {
        match self.requests.take(who.owner.uid, who.role) {
            Some(_place) => self.door.stream(who, key, to, from).await,
            None => refuse(to, too_many(who)).await,
        }
    }

    /// Ends connections whose credential is good no more, until the task is dropped.
    pub async fn watch(&self) {
        let mut changes = self.view.changes();
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            let void = |live: &Live| self.who(live.key, &live.name).is_none();
            let ended: Vec<Connection> = self
                .table()
                .live
                .values()
                .filter(|live| void(live))
                .map(|live| live.connection.clone())
                .collect();
            for connection in ended {
                tracing::info!(remote = %connection.remote_address(), "a credential was taken back: its connection is ended");
                connection.close(CloseCode::Refused, TAKEN_BACK);
            }
            // The cluster may change hundreds of times in a second.
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Who holds that key now, when a certificate of it says that name.
    fn who(&self, key: KeyHash, name: &str) -> Option<Caller> {
        let row = self.view.user_of_key(key)?;
        (row.name.as_str() == name).then(|| Caller {
            owner: row.owner(),
            role: row.role,
        })
    }

    fn attach(&self, name: &str, key: KeyHash, connection: &Connection) -> Seat<'_> {
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        let live = Live {
            name: name.to_owned(),
            key,
            connection: connection.clone(),
        };
        table.live.insert(number, live);
        Seat { remotes: self, number }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the table, taken out when it goes out of scope.
struct Seat<'a> {
    remotes: &'a Remotes,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.remotes.table().live.remove(&self.number);
    }
}

/// Answers a request that there is no room for, without looking at it.
async fn refuse(mut to: StreamWriter, refusal: Refusal) -> anyhow::Result<()> {
    to.send(&Reply::Refused(refusal)).await?;
    Ok(to.finish_and_wait(HEARD).await?)
}

fn too_many(who: &Caller) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: format!(
            "{} has as many connections or requests open at the head node as one user may, or all users together have",
            who.owner.name
        ),
        remedy: "end some, or try again later".to_owned(),
        retry_after: Some(RETRY_AFTER),
    }
}
