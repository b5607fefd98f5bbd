//! Ranks of one process, for tests: the same face as the real links, without a network.
//!
//! Each ordered pair has a bounded queue of bytes, so back pressure exists here too. Dropping a link without leaving
//! looks to the others like a process that died.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ids::Rank;

use super::{Gone, Link, LinkError, Pause};

/// How many bytes one pair may have under way in one direction.
const PIPE_MAX_BYTES: usize = 1024 * 1024;

/// How long one wait lasts at most when the caller names no end. Callers loop, so its length is no one's deadline.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A link between the threads of one process.
#[derive(Debug)]
pub struct MemoryLink {
    me: Rank,
    mesh: Arc<Mesh>,
}

#[derive(Debug, Default)]
struct Mesh {
    /// Guards every pipe and everyone's state; held only for moments.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes under way by source and target.
    pipes: BTreeMap<(Rank, Rank), VecDeque<u8>>,
    /// Sources with news, by target.
    readable: BTreeMap<Rank, BTreeSet<Rank>>,
    gone: BTreeMap<Rank, Gone>,
    /// Counts changes by rank they concern, so that a waiter does not miss one.
    news: BTreeMap<Rank, u64>,
    seen: BTreeMap<Rank, u64>,
}

/// Links for ranks 0 to `size - 1`, all connected.
#[must_use]
pub fn mesh(size: u32) -> Vec<MemoryLink> {
    let mesh = Arc::new(Mesh::default());
    {
        let mut state = mesh.lock();
        for rank in 0..size {
            state.news.insert(Rank(rank), 0);
        }
    }
    (0..size)
        .map(|rank| MemoryLink {
            me: Rank(rank),
            mesh: Arc::clone(&mesh),
        })
        .collect()
}

impl Mesh {
    /// A thread that panicked with the lock held is a failed test elsewhere; the queues are still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, rank: Rank) {
        *self.news.entry(rank).or_default() += 1;
    }

    fn end(&mut self, rank: Rank, why: Gone) {
        self.gone.entry(rank).or_insert(why);
        let others: Vec<Rank> = self.news.keys().copied().filter(|other| *other != rank).collect();
        for other in others {
            self.readable.entry(other).or_default().insert(rank);
            self.tell(other);
        }
    }

    fn check(&self, peer: Rank) -> Result<(), LinkError> {
        match self.gone.get(&peer) {
            Some(why) => Err(LinkError::Gone { peer, why: why.clone() }),
            None => Ok(()),
        }
    }
}

impl Link for MemoryLink {
    fn write(&mut self, peer: Rank, bytes: &[u8]) -> Result<usize, LinkError> {
        let mut state = self.mesh.lock();
        state.check(peer)?;
        let pipe = state.pipes.entry((self.me, peer)).or_default();
        let taken = bytes.len().min(PIPE_MAX_BYTES - pipe.len());
        pipe.extend(&bytes[..taken]);
        if taken > 0 {
            state.readable.entry(peer).or_default().insert(self.me);
            state.tell(peer);
            self.mesh.changed.notify_all();
        }
        Ok(taken)
    }

    fn read(&mut self, peer: Rank, most: usize) -> Result<Option<Bytes>, LinkError> {
        let mut state = self.mesh.lock();
        let pipe = state.pipes.entry((peer, self.me)).or_default();
        if pipe.is_empty() {
            state.check(peer)?;
            return Ok(None);
        }
        let taken = most.min(pipe.len());
        let bytes: Bytes = pipe.drain(..taken).collect();
        state.tell(peer);
        self.mesh.changed.notify_all();
        Ok(Some(bytes))
    }

    fn next_readable(&mut self) -> Option<Rank> {
        self.mesh.lock().readable.get_mut(&self.me)?.pop_first()
    }

    fn transmit(&mut self) -> Result<(), LinkError> {
        Ok(())
    }

    fn wait(&mut self, pause: &Pause) -> Result<(), LinkError> {
        let mut state = self.mesh.lock();
        let end = pause.until.unwrap_or_else(|| Instant::now() + WAIT_MAX);
        loop {
            let news = state.news.get(&self.me).copied().unwrap_or(0);
            if state.seen.insert(self.me, news) != Some(news) {
                return Ok(());
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Ok(());
            };
            state = self
                .mesh
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn serve(&mut self) -> Result<(), LinkError> {
        Ok(())
    }

    /// Here the peer is then gone for everyone; tests need no more.
    fn reject(&mut self, peer: Rank, why: Gone) {
        let mut state = self.mesh.lock();
        state.pipes.remove(&(peer, self.me));
        state.end(peer, why);
        self.mesh.changed.notify_all();
    }

    fn leave(&mut self, _until: Instant) {
        // What was written lies in the pipe and outlives the writer.
        self.mesh.lock().end(self.me, Gone::Left);
        self.mesh.changed.notify_all();
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.mesh.lock().end(self.me, Gone::Refused);
        self.mesh.changed.notify_all();
    }
}
