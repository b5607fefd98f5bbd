//! Trying again what the head node had no room for, when it says so.
//!
//! A refused request changed nothing, so it is repeated as it is, whatever it asks; one of which nobody knows whether it
//! was carried out is not. The head node says from when on; each client waits somewhat longer, at random, so that those that
//! were refused together do not come back together, and longer each time.

use std::time::{Duration, SystemTime};

use proto::client::Refusal;
use transport::control::Backoff;

use super::ClientError;

/// The longest pause, whatever the head node says.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How often one request is tried again; with the pauses above half a minute or so.
const MOST_TRIES: u32 = 8;

/// What is left of it for one request.
#[derive(Debug)]
pub(super) struct Patience {
    tries: u32,
    seed: u64,
    backoff: Option<Backoff>,
}

impl Patience {
    /// All of it.
    pub(super) fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self::with_seed(u64::from(now.subsec_nanos()) ^ (u64::from(std::process::id()) << 32))
    }

    const fn with_seed(seed: u64) -> Self {
        Self {
            tries: 0,
            seed,
            backoff: None,
        }
    }

    /// How long to wait before the same is asked again; none when it is to be told.
    pub(super) fn pause(&mut self, error: &ClientError) -> Option<Duration> {
        let ClientError::Refused(Refusal {
            retry_after: Some(after),
            ..
        }) = error
        else {
            return None;
        };
        self.tries += 1;
        if self.tries > MOST_TRIES {
            return None;
        }
        let after = after.duration().min(LONGEST_PAUSE);
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(after, LONGEST_PAUSE, self.seed));
        // Never earlier than was said.
        Some(after + backoff.next_wait())
    }
}

#[cfg(test)]
mod tests {
    use proto::client::RefusalCode;
    use proto::units::Millis;

    use super::*;

    fn refused(retry_after: Option<Millis>) -> ClientError {
        ClientError::Refused(Refusal {
            code: RefusalCode::Busy,
            what: "w".to_owned(),
            remedy: String::new(),
            retry_after,
        })
    }

    #[test]
    fn pauses_grow_are_never_shorter_than_said_and_end() {
        let mut patience = Patience::with_seed(7);
        let busy = refused(Some(Millis(100)));
        let pauses: Vec<Duration> = std::iter::from_fn(|| patience.pause(&busy)).collect();
        assert_eq!(pauses.len(), 8);
        assert!(
            pauses.iter().all(|pause| *pause >= Duration::from_millis(100)),
            "{pauses:?}"
        );
        assert!(pauses[7] > pauses[0] * 4, "{pauses:?}");
        assert!(*pauses.iter().max().expect("some") <= Duration::from_millis(8100));
    }

    #[test]
    fn two_clients_do_not_come_back_together() {
        let busy = refused(Some(Millis(100)));
        let first = |seed| Patience::with_seed(seed).pause(&busy);
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn what_is_wrong_by_itself_is_told_at_once() {
        assert_eq!(Patience::with_seed(7).pause(&refused(None)), None);
        let lost = ClientError::Lost {
            at: "h".to_owned(),
            source: None,
        };
        assert_eq!(Patience::with_seed(7).pause(&lost), None);
    }
}
