//! What there is little of at any moment, such as turns to read, shared out by account: one that asks for much waits for
//! its own, and not the others for it.
//!
//! The rule: of any resource one account holds at most its share, and further requests of it wait in line for that. So in
//! the line for the resource itself stand at most so many of each account, and whoever comes waits behind those only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::client::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{busy, ending};

/// How long a request waits for a share of its account, before it is told to come again: longer than a well-behaved client
/// ever does, shorter than it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shares of all accounts.
#[derive(Debug)]
pub(super) struct Shares {
    what: &'static str,
    of_one: usize,
    patience: Duration,
    /// Guards the table for the length of one look-up. An account without a request has no entry.
    accounts: Mutex<BTreeMap<u32, Arc<Semaphore>>>,
}

/// A part of an account's share, given back when it goes out of scope.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    uid: u32,
    /// Gone only within the drop.
    permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// So many for each account, of what the message calls so.
    pub(super) const fn new(what: &'static str, of_one: usize) -> Self {
        Self {
            what,
            of_one,
            patience: PATIENCE,
            accounts: Mutex::new(BTreeMap::new()),
        }
    }

    /// One for that account, in the order of asking. Can be cancelled.
    ///
    /// # Errors
    /// When none becomes free for too long.
    pub(super) async fn take(&self, uid: u32) -> Result<Share<'_>, Refusal> {
        let own = {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let own = accounts
                .entry(uid)
                .or_insert_with(|| Arc::new(Semaphore::new(self.of_one)));
            Arc::clone(own)
        };
        // Made before the wait, so that a wait that is given up cleans up as well.
        let mut share = Share {
            shares: self,
            uid,
            permit: None,
        };
        match tokio::time::timeout(self.patience, own.acquire_owned()).await {
            Ok(permit) => share.permit = Some(permit.map_err(|_| ending())?),
            Err(_) => {
                let what = format!(
                    "{} of this account wait for too long: too many are under way",
                    self.what
                );
                return Err(busy(what));
            }
        }
        Ok(share)
    }

    #[cfg(test)]
    fn accounts(&self) -> usize {
        self.accounts.lock().expect("no panic").len()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut accounts = self.shares.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever else holds or waits has a reference beside the table's.
        if accounts.get(&self.uid).is_some_and(|own| Arc::strong_count(own) == 1) {
            accounts.remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn taken<'a>(polled: Poll<Result<Share<'a>, Refusal>>) -> Option<Share<'a>> {
        match polled {
            Poll::Ready(share) => Some(share.expect("a share")),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn one_account_waits_for_its_own_and_others_do_not() {
        let shares = Shares::new("requests", 2);
        let _first = shares.take(1000).await.expect("a share");
        let second = shares.take(1000).await.expect("a share");
        let mut third = pin!(shares.take(1000));
        let mut fourth = pin!(shares.take(1000));
        assert!(taken(poll(third.as_mut())).is_none(), "its share is two");
        assert!(taken(poll(fourth.as_mut())).is_none());
        assert!(
            taken(poll(pin!(shares.take(1001)))).is_some(),
            "another account does not wait for that"
        );
        drop(second);
        assert!(taken(poll(fourth.as_mut())).is_none(), "in the order of asking");
        assert!(taken(poll(third.as_mut())).is_some());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_accounts_that_have_no_request() {
        let shares = Shares::new("requests", 1);
        let held = shares.take(1000).await.expect("a share");
        {
            let mut waiting = Box::pin(shares.take(1000));
            assert!(taken(poll(waiting.as_mut())).is_none());
            // The client leaves.
        }
        assert_eq!(shares.accounts(), 1);
        drop(held);
        assert_eq!(shares.accounts(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_too_long_is_told_when_to_come_again() {
        let shares = Shares {
            patience: Duration::ZERO,
            ..Shares::new("requests", 1)
        };
        let _held = shares.take(1000).await.expect("a share");
        let refusal = shares.take(1000).await.expect_err("nothing becomes free");
        assert!(refusal.retry_after.is_some(), "{refusal:?}");
        assert_eq!(shares.accounts(), 1);
    }
}
