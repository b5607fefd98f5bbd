//! What a rank's message looks like on a link: a fixed header, then the bytes.
//!
//! ```text
//! 0        4                12
//! | tag u32 | length u64     | length bytes ...
//! ```
//!
//! Little endian. A link is an ordered stream of bytes per pair of ranks, so the source is known from the link and
//! nothing needs a sequence number. The header is fixed, and not MessagePack, because it is read once per message on
//! the path whose latency is what this crate is measured by; what may grow is the preamble of the link (`docs/rank-links.md`).
//! This module is pure.

use std::fmt;

/// The largest message in bytes. It bounds what one peer may make another allocate at once; a program with more to
/// say sends several messages.
pub const MESSAGE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of a header on the wire.
pub const HEADER_BYTES: usize = 12;

/// Tags from here on belong to this crate (barriers).
const RESERVED: u32 = 0x8000_0000;

/// What a message is about. A receive names the tag it wants; messages of one pair and one tag keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u32);

impl Tag {
    /// The largest tag a program may use.
    pub const MAX: u32 = RESERVED - 1;

    /// A program's tag.
    ///
    /// # Panics
    /// When `number` is above [`Tag::MAX`]. Tags are constants of a program, so this fails to compile where the tag is
    /// a `const`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        assert!(number <= Self::MAX, "a tag is at most Tag::MAX");
        Self(number)
    }

    /// The tag of one round of a barrier.
    pub(crate) const fn barrier(round: u32) -> Self {
        Self(RESERVED | round)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(RESERVED) {
            None => write!(f, "{}", self.0),
            Some(round) => write!(f, "barrier {round}"),
        }
    }
}

/// The head of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tag: Tag,
    pub(crate) length: u64,
}

/// A peer announced more than [`MESSAGE_MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {length} bytes was announced, {MESSAGE_MAX_BYTES} are the most")]
pub(crate) struct Oversized {
    pub(crate) length: u64,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.tag.0.to_le_bytes());
        bytes[4..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, Oversized> {
        let [t0, t1, t2, t3, length @ ..] = bytes;
        let length = u64::from_le_bytes(length);
        if length > MESSAGE_MAX_BYTES {
            return Err(Oversized { length });
        }
        Ok(Self {
            tag: Tag(u32::from_le_bytes([t0, t1, t2, t3])),
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire_and_its_bytes_are_fixed() {
        let header = Header {
            tag: Tag::new(7),
            length: 300,
        };
        assert_eq!(header.encode(), [7, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::decode(header.encode()), Ok(header));
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused() {
        let header = Header {
            tag: Tag::new(0),
            length: MESSAGE_MAX_BYTES + 1,
        };
        assert_eq!(
            Header::decode(header.encode()),
            Err(Oversized {
                length: MESSAGE_MAX_BYTES + 1
            })
        );
    }

    #[test]
    fn reserved_tags_say_what_they_are() {
        assert_eq!(Tag::new(12).to_string(), "12");
        assert_eq!(Tag::barrier(2).to_string(), "barrier 2");
    }
}
