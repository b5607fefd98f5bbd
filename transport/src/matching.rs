//! Which message meets which receive: posted receives and unexpected messages by source and tag.
//!
//! Pure: no clock, no socket, no threads, ordered maps only. The endpoint tells it what is wanted (`post`), what begins
//! to arrive (`arrive`) and what is whole (`complete`); it answers where the bytes belong.
//!
//! The rule is MPI's: messages of one source and one tag are received in the order they were sent, whatever the tags
//! between them. A link hands over one message of a source at a time, so order is kept by queues alone.
//!
//! Unexpected messages are kept in memory, so what one source may occupy is bounded. When it is full the endpoint stops
//! reading from that source, and the link's flow control stops the sender.
//!
//! Calling order for each message: `arrive` once (again later after [`Arrival::Full`]), then, unless it answered
//! [`Arrival::Posted`], `complete` once.

use std::collections::{BTreeMap, VecDeque};

use proto::ids::Rank;

use crate::message::Tag;

/// What a kept message costs beside its bytes, so that a flood of empty messages is bounded too.
const COST_PER_MESSAGE_BYTES: u64 = 64;

/// A posted receive that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The answer to a posted receive.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted {
    /// It was here already.
    Ready(Vec<u8>),
    /// It is here but larger than the receive allows; it stays.
    TooLarge {
        /// The size of the message in bytes.
        length: usize,
    },
    /// Not here yet.
    Waiting(Ticket),
}

/// Where the bytes of a message that begins to arrive belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// To this receive, which has left the queue.
    Posted(Ticket),
    /// To memory; room is reserved.
    Kept,
    /// To memory, and this receive has failed: its room is too small.
    KeptTooLarge(Ticket),
    /// Nowhere: this source has filled its memory. Stop reading from it, ask again when a message of it was taken.
    Full,
}

/// What became of a kept message that is now whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Completion {
    /// It waits for a receive.
    Kept,
    /// A receive was posted meanwhile: here are its bytes.
    Posted(Ticket, Vec<u8>),
    /// A receive was posted meanwhile and has failed, its room is too small; the message waits for another.
    TooLarge(Ticket),
}

#[derive(Debug)]
struct Receive {
    ticket: Ticket,
    capacity: u64,
}

/// The two queues of one rank.
#[derive(Debug)]
pub struct Matching {
    posted: BTreeMap<(Rank, Tag), VecDeque<Receive>>,
    unexpected: BTreeMap<(Rank, Tag), VecDeque<Vec<u8>>>,
    /// Bytes kept or reserved for each source, message costs included.
    kept_bytes: BTreeMap<Rank, u64>,
    source_max_bytes: u64,
    next_ticket: u64,
}

impl Matching {
    /// Empty queues. One source may occupy `source_max_bytes` with messages nobody asked for, or a single message of
    /// any size.
    #[must_use]
    pub fn new(source_max_bytes: u64) -> Self {
        Self {
            posted: BTreeMap::new(),
            unexpected: BTreeMap::new(),
            kept_bytes: BTreeMap::new(),
            source_max_bytes,
            next_ticket: 0,
        }
    }

    /// Wants the next message of this source and tag, at most `capacity` bytes.
    pub fn post(&mut self, source: Rank, tag: Tag, capacity: u64) -> Posted {
        if let Some(length) = self.front_length(source, tag) {
            if length as u64 > capacity {
                return Posted::TooLarge { length };
            }
            if let Some(bytes) = self.take(source, tag) {
                return Posted::Ready(bytes);
            }
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.posted
            .entry((source, tag))
            .or_default()
            .push_back(Receive { ticket, capacity });
        Posted::Waiting(ticket)
    }

    /// Gives up a receive that still waits. Nothing happens when it no longer does.
    pub fn withdraw(&mut self, source: Rank, tag: Tag, ticket: Ticket) {
        if let Some(queue) = self.posted.get_mut(&(source, tag)) {
            queue.retain(|receive| receive.ticket != ticket);
            if queue.is_empty() {
                self.posted.remove(&(source, tag));
            }
        }
    }

    /// A message of this length begins.
    pub fn arrive(&mut self, source: Rank, tag: Tag, length: u64) -> Arrival {
        match self.next_receive(source, tag) {
            Some(receive) if length <= receive.capacity => Arrival::Posted(receive.ticket),
            Some(receive) => {
                self.reserve(source, length);
                Arrival::KeptTooLarge(receive.ticket)
            }
            None => {
                let kept = self.kept_bytes(source);
                if kept > 0 && kept + length + COST_PER_MESSAGE_BYTES > self.source_max_bytes {
                    return Arrival::Full;
                }
                self.reserve(source, length);
                Arrival::Kept
            }
        }
    }

    /// Sets room aside for a message whose receive was given up while its bytes were arriving.
    pub fn reserve(&mut self, source: Rank, length: u64) {
        *self.kept_bytes.entry(source).or_default() += length + COST_PER_MESSAGE_BYTES;
    }

    /// A message whose room was reserved is whole.
    pub fn complete(&mut self, source: Rank, tag: Tag, bytes: Vec<u8>) -> Completion {
        let length = bytes.len() as u64;
        match self.next_receive(source, tag) {
            Some(receive) if length <= receive.capacity => {
                self.release(source, length);
                Completion::Posted(receive.ticket, bytes)
            }
            refused => {
                self.unexpected.entry((source, tag)).or_default().push_back(bytes);
                refused.map_or(Completion::Kept, |receive| Completion::TooLarge(receive.ticket))
            }
        }
    }

    /// Bytes of memory this source occupies, a fixed cost per message included.
    #[must_use]
    pub fn kept_bytes(&self, source: Rank) -> u64 {
        self.kept_bytes.get(&source).copied().unwrap_or(0)
    }

    fn front_length(&self, source: Rank, tag: Tag) -> Option<usize> {
        self.unexpected.get(&(source, tag))?.front().map(Vec::len)
    }

    fn take(&mut self, source: Rank, tag: Tag) -> Option<Vec<u8>> {
        let queue = self.unexpected.get_mut(&(source, tag))?;
        let bytes = queue.pop_front()?;
        if queue.is_empty() {
            self.unexpected.remove(&(source, tag));
        }
        self.release(source, bytes.len() as u64);
        Some(bytes)
    }

    fn next_receive(&mut self, source: Rank, tag: Tag) -> Option<Receive> {
        let queue = self.posted.get_mut(&(source, tag))?;
        let receive = queue.pop_front();
        if queue.is_empty() {
            self.posted.remove(&(source, tag));
        }
        receive
    }

    fn release(&mut self, source: Rank, length: u64) {
        if let Some(kept) = self.kept_bytes.get_mut(&source) {
            *kept = kept.saturating_sub(length + COST_PER_MESSAGE_BYTES);
            if *kept == 0 {
                self.kept_bytes.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Rank = Rank(1);
    const B: Rank = Rank(2);
    const T: Tag = Tag::new(5);
    const U: Tag = Tag::new(6);

    fn ticket(posted: Posted) -> Ticket {
        match posted {
            Posted::Waiting(ticket) => ticket,
            other => panic!("expected a waiting receive, got {other:?}"),
        }
    }

    #[test]
    fn an_unexpected_message_waits_for_its_receive_and_no_other() {
        let mut matching = Matching::new(1000);
        assert_eq!(matching.arrive(A, T, 3), Arrival::Kept);
        assert_eq!(matching.complete(A, T, vec![1, 2, 3]), Completion::Kept);
        ticket(matching.post(B, T, 10));
        ticket(matching.post(A, U, 10));
        assert_eq!(matching.post(A, T, 10), Posted::Ready(vec![1, 2, 3]));
        assert_eq!(matching.kept_bytes(A), 0);
    }

    #[test]
    fn a_posted_receive_gets_the_bytes_without_a_stop_in_memory() {
        let mut matching = Matching::new(1000);
        let waiting = ticket(matching.post(A, T, 10));
        assert_eq!(matching.arrive(A, T, 3), Arrival::Posted(waiting));
        assert_eq!(matching.kept_bytes(A), 0);
        assert_eq!(matching.arrive(A, T, 3), Arrival::Kept, "the receive took one message");
    }

    #[test]
    fn a_receive_posted_while_the_message_arrives_gets_it() {
        let mut matching = Matching::new(1000);
        assert_eq!(matching.arrive(A, T, 2), Arrival::Kept);
        let waiting = ticket(matching.post(A, T, 10));
        assert_eq!(
            matching.complete(A, T, vec![8, 9]),
            Completion::Posted(waiting, vec![8, 9])
        );
        assert_eq!(matching.kept_bytes(A), 0);
    }

    #[test]
    fn too_small_a_room_fails_the_receive_and_keeps_the_message() {
        let mut matching = Matching::new(1000);
        let waiting = ticket(matching.post(A, T, 1));
        assert_eq!(matching.arrive(A, T, 2), Arrival::KeptTooLarge(waiting));
        assert_eq!(matching.complete(A, T, vec![1, 2]), Completion::Kept);
        assert_eq!(matching.post(A, T, 1), Posted::TooLarge { length: 2 });
        assert_eq!(matching.post(A, T, 2), Posted::Ready(vec![1, 2]));
    }

    #[test]
    fn memory_is_bounded_per_source_but_a_wanted_message_always_passes() {
        let mut matching = Matching::new(200);
        assert_eq!(
            matching.arrive(A, T, 5000),
            Arrival::Kept,
            "the first of a source may have any size"
        );
        assert_eq!(matching.arrive(A, U, 0), Arrival::Full);
        assert_eq!(
            matching.arrive(B, U, 0),
            Arrival::Kept,
            "sources do not take each other's room"
        );
        let waiting = ticket(matching.post(A, U, 10));
        assert_eq!(matching.arrive(A, U, 0), Arrival::Posted(waiting));
    }

    #[test]
    fn empty_messages_fill_memory_too() {
        let mut matching = Matching::new(1000);
        let admitted = (0..100)
            .take_while(|_| matching.arrive(A, T, 0) == Arrival::Kept)
            .count();
        assert_eq!(admitted, 1000 / 64);
    }

    #[test]
    fn a_withdrawn_receive_gets_nothing() {
        let mut matching = Matching::new(1000);
        let waiting = ticket(matching.post(A, T, 10));
        matching.withdraw(A, T, waiting);
        assert_eq!(matching.arrive(A, T, 1), Arrival::Kept);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Message { source: u32, tag: u32, length: u8 },
        Receive { source: u32, tag: u32 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let message =
            (0..3u32, 0..3u32, any::<u8>()).prop_map(|(source, tag, length)| Step::Message { source, tag, length });
        let receive = (0..3u32, 0..3u32).prop_map(|(source, tag)| Step::Receive { source, tag });
        proptest::collection::vec(prop_oneof![message, receive], 0..200)
    }

    proptest! {
        /// Whatever the mixture, the k-th receive of a source and tag gets the k-th message of that source and tag.
        #[test]
        fn order_holds_per_source_and_tag(steps in steps()) {
            let mut matching = Matching::new(u64::MAX / 2);
            let mut sent: BTreeMap<(u32, u32), Vec<Vec<u8>>> = BTreeMap::new();
            let mut got: BTreeMap<(u32, u32), Vec<Vec<u8>>> = BTreeMap::new();
            let mut serial = 0u8;
            for step in steps {
                match step {
                    Step::Message { source, tag, length } => {
                        serial = serial.wrapping_add(1);
                        let bytes = vec![serial; usize::from(length)];
                        sent.entry((source, tag)).or_default().push(bytes.clone());
                        match matching.arrive(Rank(source), Tag::new(tag), u64::from(length)) {
                            Arrival::Posted(_) => got.entry((source, tag)).or_default().push(bytes),
                            Arrival::Kept => prop_assert_eq!(
                                matching.complete(Rank(source), Tag::new(tag), bytes), Completion::Kept),
                            other => prop_assert!(false, "{:?}", other),
                        }
                    }
                    Step::Receive { source, tag } => {
                        if let Posted::Ready(bytes) = matching.post(Rank(source), Tag::new(tag), u64::MAX) {
                            got.entry((source, tag)).or_default().push(bytes);
                        }
                    }
                }
            }
            for (pair, got) in got {
                prop_assert_eq!(&got[..], &sent[&pair][..got.len()]);
            }
        }
    }
}
