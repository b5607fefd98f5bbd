//! Frames: a 4-byte big-endian length, then one MessagePack value with field names.
//!
//! Names cost 16 % in size and under a microsecond; without them no field could ever be added in the middle. The length
//! is checked before anything is allocated, and a body must be consumed whole: `rmp_serde::from_slice` alone would let
//! trailing bytes pass. Addresses travel as text (`with_human_readable`): a tagged enum is read through serde's buffer,
//! which understands them in no other form.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes a body may have. A grant of a thousand tasks with long command lines fits well; a peer that announces
/// more is broken or hostile.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the length before each body.
pub const HEADER_BYTES: usize = 4;

/// The version that each side says first. Same major: they understand each other; the minor only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct Version {
    /// Changes when an old peer would misunderstand.
    pub major: u16,
    /// Changes when something is added that an old peer skips.
    pub minor: u16,
}

/// What this build speaks.
pub const VERSION: Version = Version { major: 4, minor: 0 };

impl Version {
    /// Whether a peer of that version can be talked to.
    #[must_use]
    pub const fn accepts(self, peer: Self) -> bool {
        self.major == peer.major
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why bytes are no frame, or a message does not fit into one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length above the bound.
    #[error("a frame of {bytes} bytes is above the bound of {MAX_FRAME_BYTES}")]
    TooLong {
        /// The announced or needed length.
        bytes: usize,
    },
    /// The body is no message of the expected kind.
    #[error("a frame does not hold the expected message")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The message cannot be written, a bug of ours.
    #[error("a message cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Bytes remain after the message.
    #[error("{bytes} bytes remain in a frame after its message")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Appends one frame to `out`. Reusing `out` doubles the speed.
///
/// # Errors
/// [`FrameError::TooLong`] when the message is above the bound; `out` is then as it was.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let written = message.serialize(
        &mut rmp_serde::Serializer::new(&mut *out)
            .with_struct_map()
            .with_human_readable(),
    );
    let bytes = out.len() - start - HEADER_BYTES;
    let refused = match written {
        Err(error) => Some(error.into()),
        Ok(()) if bytes > MAX_FRAME_BYTES => Some(FrameError::TooLong { bytes }),
        Ok(()) => None,
    };
    if let Some(error) = refused {
        out.truncate(start);
        return Err(error);
    }
    let length = u32::try_from(bytes).map_err(|_| FrameError::TooLong { bytes })?;
    out[start..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Reads the message of one body.
///
/// # Errors
/// [`FrameError::Decode`] or [`FrameError::Trailing`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let mut rest = body;
    let message = {
        let mut reader = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
        serde::Deserialize::deserialize(&mut reader)?
    };
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Trailing { bytes: rest.len() })
    }
}

/// Finds the first whole frame in `buffer`: where its body begins and ends.
///
/// # Errors
/// [`FrameError::TooLong`] as soon as the length is known.
pub fn split(buffer: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes(*header) as usize;
    if bytes > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { bytes });
    }
    let end = HEADER_BYTES + bytes;
    Ok((buffer.len() >= end).then_some((HEADER_BYTES, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Old {
        Known {
            number: u32,
        },
        #[serde(other)]
        Unknown,
    }

    #[derive(Serialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum New {
        Known { number: u32, added: &'static str },
        Added { what: u8 },
    }

    fn frame_of<T: Serialize>(message: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, &mut out).expect("fits");
        out
    }

    #[test]
    fn an_old_reader_understands_a_new_writer() {
        let known = frame_of(&New::Known {
            number: 7,
            added: "later",
        });
        assert_eq!(decode::<Old>(&known[4..]).expect("decodes"), Old::Known { number: 7 });
        let added = frame_of(&New::Added { what: 1 });
        assert_eq!(decode::<Old>(&added[4..]).expect("decodes"), Old::Unknown);
    }

    #[test]
    fn addresses_inside_tagged_messages_come_back() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        #[serde(tag = "t")]
        enum Message {
            At {
                peer: core::net::SocketAddr,
                host: core::net::IpAddr,
            },
        }
        let at = Message::At {
            peer: ([127, 0, 0, 2], 7).into(),
            host: [0, 0, 0, 0, 0, 0, 0, 1].into(),
        };
        assert_eq!(decode::<Message>(&frame_of(&at)[4..]).expect("decodes"), at);
    }

    #[test]
    fn a_frame_is_found_only_when_whole() {
        let bytes = frame_of(&"hello");
        assert_eq!(split(&bytes[..3]).expect("no error"), None);
        assert_eq!(split(&bytes[..bytes.len() - 1]).expect("no error"), None);
        assert_eq!(split(&bytes).expect("no error"), Some((4, bytes.len())));
    }

    #[test]
    fn hostile_lengths_and_trailing_bytes_are_refused() {
        assert!(matches!(split(&[0xff; 8]), Err(FrameError::TooLong { .. })));
        let mut bytes = frame_of(&1u8);
        bytes.push(0);
        assert!(matches!(
            decode::<u8>(&bytes[4..]),
            Err(FrameError::Trailing { bytes: 1 })
        ));
    }
}
