//! Requests of callers whom nobody knows: counted for the log, and slowed down by where they come from.
//!
//! In: the address at the other end of a request, before anybody looks at it. Out: whether it is looked at, or how long it
//! waits. To look at a token or a signature costs more than to send one. So each look is charged to the address when the
//! request's head has come, and taken off again if its caller is known. A connection on which a known caller has spoken
//! is charged nothing and never waits; whoever shares an address with a flood and connects anew waits with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Looks in a row that an address has: clients start without a token and look for one, and many start together.
const AT_ONCE: u64 = 1000;
/// Microseconds after which one more costs nothing: twenty a second, at some 50 µs each, take a processor a thousandth of its time.
const EACH: u64 = 50_000;
/// Addresses that are remembered. The rest wait together.
const MAX_SOURCES: usize = 16_384;

/// Where requests come from: an IPv4 address, or a network of IPv6, which gives each of its machines more addresses than
/// anybody could count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
    /// All for whom there is no room.
    Rest,
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Refusals of strangers.
#[derive(Debug, Default)]
pub struct Strangers {
    count: AtomicU64,
    /// When what came from there will have been paid for, in microseconds of the gateway's clock.
    paid: Mutex<HashMap<Source, u64>>,
}

impl Strangers {
    /// A request comes from there on a connection of nobody known; the error is how many whole seconds it waits.
    ///
    /// # Errors
    /// If it has to wait.
    pub fn enter(&self, from: IpAddr, now: u64) -> Result<(), u64> {
        let mut paid = self.locked();
        let mut source = Source::of(from);
        if paid.len() >= MAX_SOURCES && !paid.contains_key(&source) {
            paid.retain(|_, until| *until > now);
            if paid.len() >= MAX_SOURCES {
                source = Source::Rest;
            }
        }
        let until = paid.entry(source).or_default();
        let owed = until.saturating_sub(now);
        let free = AT_ONCE.saturating_sub(1).saturating_mul(EACH);
        if owed > free {
            return Err(owed.saturating_sub(free).div_ceil(1_000_000));
        }
        *until = (*until).max(now).saturating_add(EACH);
        Ok(())
    }

    /// A request that was let in has a caller who is known.
    pub fn leave(&self, from: IpAddr) {
        if let Some(until) = self.locked().get_mut(&Source::of(from)) {
            *until = until.saturating_sub(EACH);
        }
    }

    /// Counts a request that was refused before its caller was known.
    pub fn count(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Source, u64>> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted since, for an entry of the log.
    pub fn take(&self) -> u64 {
        self.count.swap(0, Ordering::Relaxed)
    }

    /// Counts again what no entry took.
    pub fn put_back(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of many requests are looked at.
    fn flood(strangers: &Strangers, from: &str, now: u64) -> u64 {
        let many = 0..3 * AT_ONCE;
        let looks = many.filter(|_| strangers.enter(address(from), now).is_ok());
        u64::try_from(looks.count()).unwrap()
    }

    #[test]
    fn an_address_waits_after_many_looks_and_is_heard_again_after_a_pause() {
        let (strangers, now) = (Strangers::default(), 1_000_000);
        assert_eq!(flood(&strangers, "192.0.2.1", now), AT_ONCE);
        assert_eq!(strangers.enter(address("192.0.2.1"), now), Err(1));
        // However much came, the pause is not longer; and who goes on has one look each time.
        let later = now + EACH;
        assert_eq!(flood(&strangers, "192.0.2.1", later), 1);
        assert_eq!(flood(&strangers, "192.0.2.1", later + 7 * EACH), 7);
        assert_eq!(
            flood(&strangers, "192.0.2.1", later + 9 * AT_ONCE * EACH),
            AT_ONCE
        );
    }

    #[test]
    fn known_callers_cost_their_address_nothing() {
        let (strangers, now) = (Strangers::default(), 1_000_000);
        for _ in 0..3 * AT_ONCE {
            strangers.enter(address("192.0.2.1"), now).unwrap();
            strangers.leave(address("192.0.2.1"));
        }
        assert_eq!(flood(&strangers, "192.0.2.1", now), AT_ONCE);
        // Of an address that was never heard of, nothing is taken off.
        strangers.leave(address("192.0.2.9"));
        assert_eq!(flood(&strangers, "192.0.2.9", now), AT_ONCE);
    }

    #[test]
    fn another_address_does_not_wait_and_a_network_of_ipv6_is_one() {
        let (strangers, now) = (Strangers::default(), 5);
        flood(&strangers, "192.0.2.1", now);
        assert_eq!(strangers.enter(address("192.0.2.2"), now), Ok(()));
        assert!(strangers.enter(address("::ffff:192.0.2.1"), now).is_err());
        flood(&strangers, "2001:db8:1:2::1", now);
        assert!(
            strangers
                .enter(address("2001:db8:1:2:ffff::9"), now)
                .is_err()
        );
        assert_eq!(strangers.enter(address("2001:db8:1:3::1"), now), Ok(()));
    }

    #[test]
    fn no_number_of_addresses_takes_more_room_and_those_without_room_wait_together() {
        let (strangers, now) = (Strangers::default(), 5);
        let rest = u32::try_from(AT_ONCE).unwrap();
        for n in 0..u32::try_from(MAX_SOURCES).unwrap() + rest {
            strangers.enter(IpAddr::from(n.to_be_bytes()), now).unwrap();
        }
        assert_eq!(strangers.locked().len(), MAX_SOURCES + 1);
        assert!(strangers.enter(address("198.51.100.1"), now).is_err());
        // What was paid for makes room.
        let later = now + 9 * AT_ONCE * EACH;
        assert_eq!(strangers.enter(address("198.51.100.1"), later), Ok(()));
        assert_eq!(strangers.locked().len(), 1);
    }
}
