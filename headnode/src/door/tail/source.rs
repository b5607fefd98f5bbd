//! One try's output, streamed from its node into the follower's queue.
//!
//! A follower that does not read must not hold up its nodes: unread bytes of one stream count against the whole connection,
//! and with it against heartbeats. So when the queue has been full for a moment, the stream is ended; when there is room
//! again, it is opened anew at the offset that was reached. Nothing is kept meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::client::{Output, OutputPart};
use proto::control::{FollowReply, FollowRequest, MAX_PIECE_BYTES, NodeRequest, Piece};
use proto::ids::{NodeId, NodeName, TaskId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use transport::control::{Connection, StreamReader, StreamWriter};

use super::plan::{Opening, Outcome, Place};
use crate::nodes::Links;

/// Streams that follow output on one node; the rest of the 320 that a node takes is for files, input and trials.
const MAX_FOLLOWED_OF_NODE: usize = 256;

/// How many of them one account may have.
pub(super) const MAX_FOLLOWED_OF_ONE: usize = 192;

/// How long a turn on a busy node is waited for.
const TURN_DEADLINE: Duration = Duration::from_secs(10);

/// How long a node may take to take a stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// How long a node may take for the next part when only what is there is asked for.
const PART_DEADLINE: Duration = Duration::from_secs(30);

/// How long the follower's queue may be full before the stream is ended.
const STALL: Duration = Duration::from_millis(100);

/// What a reply has beside its piece.
const OVERHEAD_BYTES: usize = 4096;

/// Turns to follow output, by node, and there by account.
#[derive(Debug, Default)]
pub(in crate::door) struct Turns {
    /// Guards the table for one look-up. It has one entry per node that is followed, and one per account there.
    table: Mutex<TurnTable>,
}

/// By node and account; without one, of all together.
type TurnTable = BTreeMap<(NodeId, Option<u32>), Arc<Semaphore>>;

/// Those of one account on one node.
#[derive(Debug)]
pub(super) struct NodeTurns {
    of_account: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn of(&self, node: NodeId, uid: u32) -> NodeTurns {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // What no source holds has all its turns.
        table.retain(|_, turns| Arc::strong_count(turns) > 1);
        let mut turns = |uid, most| {
            Arc::clone(
                table
                    .entry((node, uid))
                    .or_insert_with(|| Arc::new(Semaphore::new(most))),
            )
        };
        NodeTurns {
            of_account: turns(Some(uid), MAX_FOLLOWED_OF_ONE),
            of_all: turns(None, MAX_FOLLOWED_OF_NODE),
        }
    }
}

impl NodeTurns {
    /// The account's own first: who has used up theirs stands in nobody's way.
    async fn take(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = Arc::clone(&self.of_account).acquire_owned().await.ok()?;
        let common = Arc::clone(&self.of_all).acquire_owned().await.ok()?;
        Some([own, common])
    }
}

/// What a follower is told by its streams.
#[derive(Debug)]
pub(super) enum News {
    /// To be passed on.
    Part(Box<Output>),
    /// The stream of a task has ended.
    Closed {
        task: TaskId,
        outcome: Outcome,
        place: Place,
        /// Why, when it was not the end of the output.
        trouble: Option<Box<Output>>,
    },
}

/// One try.
pub(super) struct Source {
    pub(super) links: Arc<Links>,
    pub(super) turns: NodeTurns,
    pub(super) opening: Opening,
    pub(super) name: NodeName,
    pub(super) follow: bool,
    pub(super) to: mpsc::Sender<News>,
}

/// Why a stream was ended.
enum Stop {
    /// All was told.
    Drained,
    /// The follower's queue is full.
    Full,
    /// The follower is gone.
    Gone,
    /// For people.
    Trouble(String),
}

type Slot = mpsc::OwnedPermit<News>;

impl Source {
    /// Streams until the last byte, or until the node cannot be reached.
    pub(super) async fn run(mut self) {
        let stop = self.follow_to_the_end().await;
        let (outcome, trouble) = match stop {
            Stop::Drained => (Outcome::Drained, None),
            Stop::Trouble(reason) => (
                Outcome::Lost,
                Some(Box::new(self.output(OutputPart::Unreachable { reason }))),
            ),
            Stop::Gone | Stop::Full => return,
        };
        let closed = News::Closed {
            task: self.opening.task,
            outcome,
            place: self.opening.place,
            trouble,
        };
        // A follower that is gone wants to know nothing.
        let _ = self.to.send(closed).await;
    }

    async fn follow_to_the_end(&mut self) -> Stop {
        let mut slot: Option<Slot> = None;
        loop {
            let Some(connection) = self.links.connection(self.opening.node) else {
                return Stop::Trouble(format!("node {}, which has the output, is not connected", self.name));
            };
            let Ok(Some(turn)) = timeout(TURN_DEADLINE, self.turns.take()).await else {
                return Stop::Trouble(format!(
                    "{MAX_FOLLOWED_OF_NODE} outputs of node {} are followed already, or {MAX_FOLLOWED_OF_ONE} by you, which is the most",
                    self.name
                ));
            };
            let stop = self.stream(&connection, slot.take()).await;
            drop(turn);
            if !matches!(stop, Stop::Full) {
                return stop;
            }
            match self.to.clone().reserve_owned().await {
                Ok(free) => slot = Some(free),
                Err(_) => return Stop::Gone,
            }
        }
    }

    async fn stream(&mut self, connection: &Connection, mut slot: Option<Slot>) -> Stop {
        let (from, may_repeat) = self.opening.place.resume(self.opening.from);
        let request = FollowRequest {
            job: self.opening.task.job,
            attempt: self.opening.attempt,
            from,
            follow: self.follow,
        };
        let (_to, mut replies) = match timeout(OPEN_DEADLINE, open(connection, request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Stop::Trouble(format!("node {}: {error:#}", self.name)),
            Err(_) => return Stop::Trouble(format!("node {} did not take a request in time", self.name)),
        };
        loop {
            let received = if self.follow {
                replies.recv::<FollowReply>().await
            } else {
                match timeout(PART_DEADLINE, replies.recv()).await {
                    Ok(received) => received,
                    Err(_) => return Stop::Trouble(format!("node {} did not answer in time", self.name)),
                }
            };
            let stop = match received {
                Ok(Some(FollowReply::Piece(piece))) => {
                    let piece = if may_repeat {
                        self.opening.place.unseen(piece)
                    } else {
                        Some(piece)
                    };
                    match piece {
                        Some(piece) => self.tell_piece(piece, &mut slot).await,
                        None => None,
                    }
                }
                Ok(Some(FollowReply::Missing { file, reason })) => {
                    let part = OutputPart::Missing { file, reason };
                    self.tell(part, &mut slot).await.err()
                }
                Ok(Some(FollowReply::End)) => Some(Stop::Drained),
                Ok(None) => Some(Stop::Trouble(format!("node {} ended the stream early", self.name))),
                Err(error) => Some(Stop::Trouble(format!("node {}: {error}", self.name))),
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    async fn tell_piece(&mut self, piece: Piece, slot: &mut Option<Slot>) -> Option<Stop> {
        let (file, end) = (piece.file, piece.offset.saturating_add(piece.bytes.len() as u64));
        match self.tell(OutputPart::Piece(piece), slot).await {
            Ok(()) => {
                self.opening.place.told(file, end);
                None
            }
            Err(stop) => Some(stop),
        }
    }

    /// Into the queue, by the place that was kept if there is one. What does not fit is thrown away with the stream, and
    /// read again.
    async fn tell(&self, part: OutputPart, slot: &mut Option<Slot>) -> Result<(), Stop> {
        let news = News::Part(Box::new(self.output(part)));
        if let Some(slot) = slot.take() {
            slot.send(news);
            return Ok(());
        }
        match self.to.try_send(news) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Stop::Gone),
            Err(TrySendError::Full(news)) => match timeout(STALL, self.to.reserve()).await {
                Ok(Ok(free)) => {
                    free.send(news);
                    Ok(())
                }
                Ok(Err(_)) => Err(Stop::Gone),
                Err(_) => Err(Stop::Full),
            },
        }
    }

    fn output(&self, part: OutputPart) -> Output {
        Output {
            task: self.opening.task,
            attempt: self.opening.attempt,
            node: self.name.clone(),
            part,
        }
    }
}

async fn open(connection: &Connection, request: FollowRequest) -> anyhow::Result<(StreamWriter, StreamReader)> {
    let (mut to, mut from) = connection.open_stream().await?;
    from.set_limit(MAX_PIECE_BYTES + OVERHEAD_BYTES);
    to.send(&NodeRequest::Follow(request)).await?;
    Ok((to, from))
}
