//! The key-value space of one launch as one node holds it.
//!
//! A put is held back until the fence that carries it is complete; then every node has every pair and a get is local.
//! Nobody ever asks another node per key, because that is what makes start-up time grow with the square of the ranks.

use std::collections::BTreeMap;

use crate::limits::{MAX_KEY_BYTES, MAX_KVS_BYTES, MAX_VALUE_BYTES};

/// A key and its value, as they travel through the tree.
pub type Pair = (String, String);

/// Why a pair is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KvsError {
    /// The key is empty or above its bound.
    #[error("the key has {bytes} bytes, the bound is {MAX_KEY_BYTES}")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// The value is above its bound.
    #[error("the value has {bytes} bytes, the bound is {MAX_VALUE_BYTES}")]
    Value {
        /// Its length.
        bytes: usize,
    },
    /// The space is full.
    #[error("the key-value space would be above its bound of {MAX_KVS_BYTES} bytes")]
    Full,
}

/// Pairs that every rank may read, and those that wait for the next fence.
#[derive(Debug, Clone, Default)]
pub struct Kvs {
    committed: BTreeMap<String, String>,
    pending: Vec<Pair>,
    bytes: usize,
}

impl Kvs {
    /// An empty space.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a local put until the next fence.
    ///
    /// # Errors
    /// [`KvsError`] when a bound is broken; the space is then as it was.
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), KvsError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(KvsError::Key { bytes: key.len() });
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(KvsError::Value { bytes: value.len() });
        }
        self.take_room(key.len() + value.len())?;
        self.pending.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Hands out what waits for the fence; it comes back through [`Self::commit`].
    pub fn drain(&mut self) -> Vec<Pair> {
        self.bytes = self.bytes.saturating_sub(self.pending.iter().map(size_of_pair).sum());
        std::mem::take(&mut self.pending)
    }

    /// Takes the pairs of a complete fence, those of this node among them. A later value of a key replaces the earlier.
    ///
    /// # Errors
    /// [`KvsError::Full`] when the launch holds more than the bound; pairs before that are taken.
    pub fn commit(&mut self, pairs: Vec<Pair>) -> Result<(), KvsError> {
        for (key, value) in pairs {
            self.take_room(key.len() + value.len())?;
            let key_bytes = key.len();
            if let Some(old) = self.committed.insert(key, value) {
                self.bytes = self.bytes.saturating_sub(key_bytes + old.len());
            }
        }
        Ok(())
    }

    /// The value of a key: what a fence brought, else what a rank of this node put since.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let committed = self.committed.get(key).map(String::as_str);
        committed.or_else(|| {
            self.pending
                .iter()
                .rev()
                .find(|(k, _)| k == key)
                .map(|(_, value)| value.as_str())
        })
    }

    fn take_room(&mut self, bytes: usize) -> Result<(), KvsError> {
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > MAX_KVS_BYTES {
            return Err(KvsError::Full);
        }
        self.bytes = wanted;
        Ok(())
    }
}

fn size_of_pair((key, value): &Pair) -> usize {
    key.len() + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_handed_out_once_and_read_after_the_fence() {
        let mut kvs = Kvs::new();
        kvs.put("a", "1").expect("room");
        assert_eq!(kvs.drain(), [("a".to_owned(), "1".to_owned())]);
        assert_eq!(kvs.drain(), []);
        assert_eq!(kvs.value("a"), None);
        kvs.commit(vec![("a".into(), "1".into()), ("b".into(), "2".into())])
            .expect("room");
        assert_eq!(
            (kvs.value("a"), kvs.value("b"), kvs.value("c")),
            (Some("1"), Some("2"), None)
        );
    }

    #[test]
    fn bounds_hold_and_replacing_gives_room_back() {
        let mut kvs = Kvs::new();
        assert_eq!(kvs.put("", "1"), Err(KvsError::Key { bytes: 0 }));
        assert_eq!(kvs.put(&"k".repeat(65), "1"), Err(KvsError::Key { bytes: 65 }));
        assert_eq!(kvs.put("k", &"v".repeat(1025)), Err(KvsError::Value { bytes: 1025 }));
        let value = "v".repeat(1023);
        for _ in 0..MAX_KVS_BYTES / 1024 {
            kvs.put("k", &value).expect("room");
        }
        assert_eq!(kvs.put("k", &value), Err(KvsError::Full));
        let pairs = kvs.drain();
        kvs.commit(pairs).expect("one key only");
        kvs.put("k", &value).expect("room again");
    }
}
