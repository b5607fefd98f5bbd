//! Elements of an array that ended well and wait for the others of their chunk, because chunks are written whole.

use std::collections::BTreeMap;

use proto::model::array::{CHUNK, Element};

/// Elements by their chunk, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    /// No chunk here is empty.
    chunks: BTreeMap<u32, Vec<Element>>,
}

impl Packed {
    /// What stands there already stays.
    pub(super) fn insert(&mut self, element: Element) {
        let chunk = self.chunks.entry(element.index / CHUNK).or_default();
        if let Err(at) = chunk.binary_search_by_key(&element.index, |other| other.index) {
            chunk.insert(at, element);
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Element> {
        let chunk = self.chunks.get_mut(&(index / CHUNK))?;
        let at = chunk.binary_search_by_key(&index, |element| element.index).ok()?;
        let element = chunk.remove(at);
        if chunk.is_empty() {
            self.chunks.remove(&(index / CHUNK));
        }
        Some(element)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Element> {
        let chunk = self.of_chunk(index / CHUNK);
        let at = chunk.binary_search_by_key(&index, |element| element.index).ok()?;
        chunk.get(at)
    }

    pub(super) fn of_chunk(&self, chunk: u32) -> &[Element] {
        self.chunks.get(&chunk).map_or(&[], Vec::as_slice)
    }

    /// The elements of a chunk are stored by now.
    pub(super) fn forget(&mut self, chunk: u32) {
        self.chunks.remove(&chunk);
    }

    /// The numbers of chunks with elements here.
    pub(super) fn chunks(&self) -> impl Iterator<Item = u32> {
        self.chunks.keys().copied()
    }

    /// How many elements there are.
    pub(super) fn len(&self) -> usize {
        self.chunks.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use proto::model::array::ElementState;
    use proto::units::Timestamp;

    use super::*;

    fn element(index: u32) -> Element {
        Element {
            index,
            state: ElementState::Finished {
                started_at: None,
                ended_at: Timestamp(1),
            },
            last_attempt: None,
            last_nodes: Vec::new(),
            exit_code: None,
            requeues: 0,
            retries: 0,
        }
    }

    #[test]
    fn elements_stand_in_order_in_their_chunks() {
        let mut packed = Packed::default();
        for index in [CHUNK + 1, 3, 1, CHUNK, 3] {
            packed.insert(element(index));
        }
        let of = |packed: &Packed, chunk| -> Vec<u32> { packed.of_chunk(chunk).iter().map(|it| it.index).collect() };
        assert_eq!(of(&packed, 0), [1, 3]);
        assert_eq!(of(&packed, 1), [CHUNK, CHUNK + 1]);
        assert_eq!(packed.len(), 4);
        assert_eq!(packed.get(2), None);
        assert_eq!(packed.get(3), Some(&element(3)));
        assert_eq!(packed.remove(2), None);
        assert_eq!(packed.remove(1), Some(element(1)));
        assert_eq!(packed.remove(3), Some(element(3)));
        assert_eq!(packed.chunks().collect::<Vec<_>>(), [1]);
        packed.forget(1);
        assert_eq!(packed, Packed::default());
    }
}
