//! The first bytes of a pair's stream, and the knock. Pure.
//!
//! ```text
//! preamble:  "MRNK" | version u16 | length u16 | rank u32 | length - 4 bytes to skip
//! knock:     "MUSTERNK" | rank u32          (a UDP datagram of 12 bytes, no QUIC)
//! ```
//!
//! Little endian. The dialling rank sends the preamble; the rank in it must be the one its certificate stands for. What
//! a later version adds goes behind the rank and is skipped by this one.
//!
//! A knock asks the lower rank to dial. It proves nothing and needs no proof: all it can cause is one connection to an
//! address that is in the book anyway.

use proto::ids::Rank;

const MAGIC: [u8; 4] = *b"MRNK";
const VERSION: u16 = 1;
const KNOCK_MAGIC: [u8; 8] = *b"MUSTERNK";

/// Bytes before the part whose length is announced.
const FIXED_BYTES: usize = 8;

/// The longest announced part that is read.
const REST_MAX_BYTES: usize = 256;

/// Reads a preamble that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct PreambleReader(Vec<u8>);

/// What a reader knows so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many bytes more, no more than that.
    Wants(usize),
    /// The dialling rank.
    Complete(Rank),
    /// No preamble, or of another version.
    Wrong(&'static str),
}

/// The preamble of this rank.
pub(super) fn preamble(me: Rank) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(4u16.to_le_bytes());
    bytes.extend(me.0.to_le_bytes());
    bytes
}

impl PreambleReader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn reading(&self) -> Reading {
        let Some((fixed, rest)) = self.0.split_first_chunk::<FIXED_BYTES>() else {
            return Reading::Wants(FIXED_BYTES - self.0.len());
        };
        let [m0, m1, m2, m3, v0, v1, l0, l1] = *fixed;
        if [m0, m1, m2, m3] != MAGIC {
            return Reading::Wrong("its first bytes are not a preamble");
        }
        if u16::from_le_bytes([v0, v1]) != VERSION {
            return Reading::Wrong("it speaks another version");
        }
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if !(4..=REST_MAX_BYTES).contains(&length) {
            return Reading::Wrong("its preamble has an impossible length");
        }
        match rest.first_chunk::<4>() {
            Some(rank) if rest.len() >= length => Reading::Complete(Rank(u32::from_le_bytes(*rank))),
            _ => Reading::Wants(length - rest.len()),
        }
    }
}

/// The datagram that asks to be dialled.
pub(super) fn knock(me: Rank) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&KNOCK_MAGIC);
    bytes[8..].copy_from_slice(&me.0.to_le_bytes());
    bytes
}

/// Who knocks, if this datagram is a knock. No QUIC packet is this short.
pub(super) fn knocking(datagram: &[u8]) -> Option<Rank> {
    let rank = datagram.strip_prefix(&KNOCK_MAGIC)?;
    rank.try_into().ok().map(|rank| Rank(u32::from_le_bytes(rank)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_preamble_arrives_byte_by_byte() {
        let mut reader = PreambleReader::default();
        let bytes = preamble(Rank(77));
        for (index, byte) in bytes.iter().enumerate() {
            assert!(matches!(reader.reading(), Reading::Wants(more) if more <= bytes.len() - index));
            reader.push(&[*byte]);
        }
        assert_eq!(reader.reading(), Reading::Complete(Rank(77)));
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let mut bytes = preamble(Rank(5));
        bytes[6] = 6;
        bytes.extend([9, 9]);
        let mut reader = PreambleReader::default();
        reader.push(&bytes);
        assert_eq!(reader.reading(), Reading::Complete(Rank(5)));
    }

    #[test]
    fn knocks_are_known_and_nothing_else_is() {
        assert_eq!(knocking(&knock(Rank(3))), Some(Rank(3)));
        assert_eq!(knocking(&knock(Rank(3))[..11]), None);
        assert_eq!(knocking(b"hello"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = PreambleReader::default();
            reader.push(&bytes);
            if let Reading::Wants(more) = reader.reading() {
                prop_assert!(more > 0 && more <= REST_MAX_BYTES);
            }
        }
    }
}
