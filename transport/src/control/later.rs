//! A later release, played: in debug builds a program may be told to speak as one, for the demonstration that releases of
//! one major version work together.
//!
//! It says a higher minor version, adds a field to each message, and says a message that nobody knows yet. Optimised
//! builds have none of it: nothing that is set from outside changes what they say.

use std::sync::OnceLock;

use proto::frame::{self, FrameError, VERSION, Version};
use serde::Serialize;

/// Set for a program that is to play it. The name begins unlike the others, because `muster up` keeps those from daemons.
const VARIABLE: &str = "PLAY_LATER_MUSTER";

/// A message of a later release.
#[derive(Debug, Serialize)]
pub struct LaterMessage {
    t: &'static str,
    what: &'static str,
}

/// What a later release makes of a message.
#[derive(Serialize)]
struct Later<'a, T> {
    #[serde(flatten)]
    message: &'a T,
    added_later: &'static str,
}

/// The version that this program says first.
#[must_use]
pub fn spoken() -> Version {
    said(is_played())
}

/// What is said once after the hello, where a later release is played.
#[must_use]
pub fn later_message() -> Option<LaterMessage> {
    is_played().then_some(LaterMessage {
        t: "said_by_later_releases",
        what: "more",
    })
}

/// Appends one frame to `out`, as [`frame::encode`] does.
///
/// # Errors
/// As that.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    if is_played() {
        encode_later(message, out)
    } else {
        frame::encode(message, out)
    }
}

const fn said(later: bool) -> Version {
    if later {
        Version {
            minor: VERSION.minor + 1,
            ..VERSION
        }
    } else {
        VERSION
    }
}

fn encode_later<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let later = Later {
        message,
        added_later: "a field",
    };
    frame::encode(&later, out)
}

fn is_played() -> bool {
    static PLAYED: OnceLock<bool> = OnceLock::new();
    cfg!(debug_assertions) && *PLAYED.get_or_init(|| std::env::var_os(VARIABLE).is_some())
}

#[cfg(test)]
mod tests {
    use proto::control::{HeadMessage, NodeMessage, Report};
    use proto::ids::AttemptId;
    use serde::de::DeserializeOwned;

    use super::*;

    fn through<T: Serialize, U: DeserializeOwned>(message: &T) -> U {
        let mut bytes = Vec::new();
        encode_later(message, &mut bytes).expect("fits");
        frame::decode(&bytes[frame::HEADER_BYTES..]).expect("is understood")
    }

    #[test]
    fn an_older_release_skips_what_a_later_one_adds() {
        let reports = NodeMessage::Reports {
            number: 7,
            reports: vec![Report::Released { attempt: AttemptId(3) }],
        };
        assert_eq!(through::<_, NodeMessage>(&reports), reports);
        let unknown = LaterMessage {
            t: "said_by_later_releases",
            what: "more",
        };
        assert_eq!(through::<_, NodeMessage>(&unknown), NodeMessage::Unknown);
        assert_eq!(through::<_, HeadMessage>(&unknown), HeadMessage::Unknown);
    }

    #[test]
    fn versions_of_one_major_are_accepted_both_ways() {
        assert!(said(true) > VERSION);
        assert!(VERSION.accepts(said(true)) && said(true).accepts(VERSION));
    }
}
