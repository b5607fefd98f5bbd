//! How often wrong tokens may be tried, without IO: the clock is an argument.
//!
//! A token's secret cannot be guessed in any time that matters; this keeps a broken or hostile host from filling the log
//! and the controller's queue with attempts. An address that brought [`FREE_TRIES`] wrong tokens waits before it is heard
//! again, twice as long after each further one; all addresses together get [`MAX_WRONG_PER_SECOND`]. A right token clears
//! its address. Tries that are being decided at this moment are not counted yet: the door bounds how many those are.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use proto::units::{Millis, Monotonic};

/// Wrong tokens of one address before it has to wait.
pub const FREE_TRIES: u32 = 5;

/// The first wait; it doubles with each further wrong token.
pub const FIRST_WAIT: Millis = Millis::from_seconds(1);

/// The longest wait.
pub const LONGEST_WAIT: Millis = Millis::from_seconds(60);

/// Wrong tokens of all addresses together in one second; then nobody's token is looked at until it is over.
pub const MAX_WRONG_PER_SECOND: u32 = 20;

/// Addresses that are remembered; the one that was silent for longest makes room.
pub const MAX_ADDRESSES: usize = 4096;

/// An address that brought nothing wrong for so long begins anew.
pub const FORGOTTEN_AFTER: Millis = Millis::from_seconds(600);

/// How often the log may speak of one address.
const LOG_EVERY: Millis = Millis::from_seconds(60);

const SECOND: Millis = Millis::from_seconds(1);

/// Whose tries are counted together: an IPv4 address, or the /64 of an IPv6 address, which is what one host has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl Source {
    /// The one that an address belongs to.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !(u64::MAX as u128);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            canonical @ IpAddr::V4(_) => Self(canonical),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// A token is not looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong tokens came {}; try again in {wait}", match .whose {
    Whose::Yours => "from your address",
    Whose::Everybodys => "in the last second",
})]
pub struct TooMany {
    /// For how long.
    pub wait: Millis,
    /// Whose wrong tokens were too many.
    pub whose: Whose,
}

/// Whose wrong tokens were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the address that asks.
    Yours,
    /// Of all addresses together.
    Everybodys,
}

/// The memory of wrong tokens. Ask [`Throttle::admit`] before a token is looked at, then tell [`Throttle::wrong`] or
/// [`Throttle::right`] what came of it; a try that failed for another reason is told neither.
#[derive(Debug, Default)]
pub struct Throttle {
    sources: BTreeMap<Source, Tries>,
    /// The second that began with the first wrong token after the one before had ended.
    second_began: Option<Monotonic>,
    wrong_in_second: u32,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Monotonic,
    /// Not heard before.
    until: Monotonic,
    logged: Option<Monotonic>,
}

impl Throttle {
    /// Whether a token from there is looked at now.
    ///
    /// # Errors
    /// [`TooMany`], which says how long to wait.
    pub fn admit(&mut self, source: Source, now: Monotonic) -> Result<(), TooMany> {
        if let Some(tries) = self.sources.get(&source)
            && now < tries.until
        {
            return Err(TooMany {
                wait: tries.until.since(now),
                whose: Whose::Yours,
            });
        }
        match self.second_began {
            Some(began) if now.since(began) < SECOND && self.wrong_in_second >= MAX_WRONG_PER_SECOND => Err(TooMany {
                wait: (began + SECOND).since(now),
                whose: Whose::Everybodys,
            }),
            _ => Ok(()),
        }
    }

    /// A token from there was wrong. Whether the log should say so.
    pub fn wrong(&mut self, source: Source, now: Monotonic) -> bool {
        if self.second_began.is_none_or(|began| now.since(began) >= SECOND) {
            self.second_began = Some(now);
            self.wrong_in_second = 0;
        }
        self.wrong_in_second = self.wrong_in_second.saturating_add(1);
        self.make_room_for(source);
        let tries = self.sources.entry(source).or_insert(Tries {
            wrong: 0,
            last: now,
            until: now,
            logged: None,
        });
        if now.since(tries.last) >= FORGOTTEN_AFTER {
            tries.wrong = 0;
        }
        tries.wrong = tries.wrong.saturating_add(1);
        tries.last = now;
        tries.until = now + wait_after(tries.wrong);
        let logs = tries.logged.is_none_or(|logged| now.since(logged) >= LOG_EVERY);
        if logs {
            tries.logged = Some(now);
        }
        logs
    }

    /// A token from there was right.
    pub fn right(&mut self, source: Source) {
        self.sources.remove(&source);
    }

    fn make_room_for(&mut self, source: Source) {
        if self.sources.len() < MAX_ADDRESSES || self.sources.contains_key(&source) {
            return;
        }
        // At most MAX_WRONG_PER_SECOND times in a second.
        let oldest = self.sources.iter().min_by_key(|(_, tries)| tries.last);
        if let Some(oldest) = oldest.map(|(source, _)| *source) {
            self.sources.remove(&oldest);
        }
    }
}

/// How long an address waits after so many wrong tokens.
fn wait_after(wrong: u32) -> Millis {
    let Some(beyond) = wrong.checked_sub(FREE_TRIES) else {
        return Millis(0);
    };
    // 2^6 s is beyond the longest wait.
    Millis(FIRST_WAIT.0 << beyond.min(6)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms)
    }

    #[test]
    fn after_five_wrong_tokens_each_further_one_doubles_the_wait() {
        let (mut throttle, source) = (Throttle::default(), source("192.0.2.1"));
        let mut now = at(0);
        for _ in 0..4 {
            assert_eq!(throttle.admit(source, now), Ok(()));
            throttle.wrong(source, now);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(throttle.admit(source, now), Ok(()), "after its wait");
            throttle.wrong(source, now);
            let refused = throttle.admit(source, now).expect_err("has to wait");
            assert_eq!(
                (refused.wait, refused.whose),
                (Millis::from_seconds(seconds), Whose::Yours)
            );
            now = now + Millis(refused.wait.0 - 1);
            assert!(throttle.admit(source, now).is_err(), "not a millisecond sooner");
            now = now + Millis(1);
        }
    }

    #[test]
    fn a_right_token_clears_the_address_and_so_does_time() {
        let (mut throttle, source) = (Throttle::default(), source("192.0.2.1"));
        for _ in 0..5 {
            throttle.wrong(source, at(0));
        }
        assert!(throttle.admit(source, at(10)).is_err());
        throttle.right(source);
        assert_eq!(throttle.admit(source, at(10)), Ok(()));
        for _ in 0..8 {
            throttle.wrong(source, at(10));
        }
        let much_later = at(10 + FORGOTTEN_AFTER.0);
        throttle.wrong(source, much_later);
        assert_eq!(throttle.admit(source, much_later), Ok(()), "one wrong token, not nine");
    }

    #[test]
    fn one_address_does_not_hold_up_another_but_a_v6_host_is_one_however_many_it_has() {
        let mut throttle = Throttle::default();
        for last in 0..5 {
            throttle.wrong(source(&format!("2001:db8::{last}")), at(0));
        }
        assert!(throttle.admit(source("2001:db8::ffff"), at(0)).is_err());
        assert_eq!(throttle.admit(source("2001:db8:0:1::1"), at(0)), Ok(()));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("2001:db8::7").to_string(), "2001:db8::/64");
    }

    #[test]
    fn all_addresses_together_get_twenty_in_a_second() {
        let mut throttle = Throttle::default();
        for last in 0..20_u8 {
            let source = source(&format!("192.0.2.{last}"));
            assert_eq!(throttle.admit(source, at(u64::from(last))), Ok(()));
            throttle.wrong(source, at(u64::from(last)));
        }
        let fresh = source("198.51.100.1");
        let refused = throttle.admit(fresh, at(400)).expect_err("the second is not over");
        assert_eq!((refused.wait, refused.whose), (Millis(600), Whose::Everybodys));
        assert_eq!(throttle.admit(fresh, at(1000)), Ok(()));
    }

    #[test]
    fn it_remembers_a_bounded_number_and_the_oldest_makes_room() {
        let mut throttle = Throttle::default();
        let first = source("10.0.0.0");
        for _ in 0..5 {
            throttle.wrong(first, at(0));
        }
        for number in (1_u32..).take(MAX_ADDRESSES) {
            throttle.wrong(
                Source::of(IpAddr::V4((0x0a00_0000 + number).into())),
                at(u64::from(number)),
            );
            assert!(throttle.sources.len() <= MAX_ADDRESSES);
        }
        assert!(!throttle.sources.contains_key(&first));
    }

    #[test]
    fn the_log_speaks_of_an_address_once_a_minute() {
        let (mut throttle, source) = (Throttle::default(), source("192.0.2.1"));
        let logged = [0, 1, 59_999, 60_000, 60_001].map(|ms| throttle.wrong(source, at(ms)));
        assert_eq!(logged, [true, false, false, true, false]);
    }
}
