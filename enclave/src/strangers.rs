//! Requests of callers whom nobody knows: counted for the log, and slowed down by where they come from.
//!
//! In: the address at the other end of a request that was refused before its caller was known. Out: how long requests from
//! there have to wait. To look at a token or a signature costs more than to send one, so an address that keeps sending what
//! nobody knows is answered without a look, until it has paused. A connection on which a known caller has spoken never waits:
//! whoever shares an address with a stranger goes on, but has to have been there before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Refusals in a row that cost an address nothing: clients start without a token, and look for one.
const AT_ONCE: u64 = 100;
/// Microseconds after which one more costs nothing: twenty a second take a processor a few thousandths of its time.
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
    /// Counts a request that was refused at `now` before its caller was known.
    pub fn refused(&self, from: IpAddr, now: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = Source::of(from);
        if paid.len() >= MAX_SOURCES && !paid.contains_key(&source) {
            paid.retain(|_, until| *until > now);
            if paid.len() >= MAX_SOURCES {
                source = Source::Rest;
            }
        }
        let until = paid.entry(source).or_default();
        // What is not looked at costs nothing more: who stops is heard again soon, however much was sent.
        let most = now.saturating_add(AT_ONCE.saturating_mul(EACH));
        *until = (*until).max(now).saturating_add(EACH).min(most);
    }

    /// How many whole seconds requests from there wait, if they do.
    #[must_use]
    pub fn wait(&self, from: IpAddr, now: u64) -> Option<u64> {
        let paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = match paid.get(&Source::of(from)) {
            Some(until) => *until,
            None if paid.len() >= MAX_SOURCES => *paid.get(&Source::Rest)?,
            None => return None,
        };
        let free = now.saturating_add(AT_ONCE.saturating_sub(1).saturating_mul(EACH));
        let over = until.checked_sub(free).filter(|over| *over > 0)?;
        Some(over.div_ceil(1_000_000))
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

    fn flood(strangers: &Strangers, from: &str, now: u64) {
        for _ in 0..AT_ONCE {
            strangers.refused(address(from), now);
        }
    }

    #[test]
    fn an_address_waits_after_many_refusals_and_is_heard_again_after_a_pause() {
        let (strangers, now) = (Strangers::default(), 1_000_000);
        let from = address("192.0.2.1");
        for _ in 1..AT_ONCE {
            strangers.refused(from, now);
            assert_eq!(strangers.wait(from, now), None);
        }
        strangers.refused(from, now);
        assert_eq!(strangers.wait(from, now), Some(1));
        assert_eq!(strangers.wait(from, now + EACH), None);
        // However much came, the pause is not longer.
        flood(&strangers, "192.0.2.1", now);
        assert_eq!(strangers.wait(from, now + EACH), None);
        assert_eq!(strangers.take(), 2 * AT_ONCE);
        assert_eq!(strangers.take(), 0);
    }

    #[test]
    fn another_address_does_not_wait_and_a_network_of_ipv6_is_one() {
        let (strangers, now) = (Strangers::default(), 5);
        flood(&strangers, "192.0.2.1", now);
        assert_eq!(strangers.wait(address("192.0.2.2"), now), None);
        assert!(strangers.wait(address("::ffff:192.0.2.1"), now).is_some());
        flood(&strangers, "2001:db8:1:2::1", now);
        assert!(
            strangers
                .wait(address("2001:db8:1:2:ffff::9"), now)
                .is_some()
        );
        assert_eq!(strangers.wait(address("2001:db8:1:3::1"), now), None);
    }

    #[test]
    fn no_number_of_addresses_takes_more_room_and_those_without_room_wait_together() {
        let (strangers, now) = (Strangers::default(), 5);
        for n in 0..u32::try_from(MAX_SOURCES).unwrap() + 200 {
            strangers.refused(IpAddr::from(n.to_be_bytes()), now);
        }
        let paid = |s: &Strangers| s.paid.lock().unwrap().len();
        assert_eq!(paid(&strangers), MAX_SOURCES + 1);
        assert!(strangers.wait(address("198.51.100.1"), now).is_some());
        // What was paid for makes room.
        strangers.refused(address("198.51.100.1"), now + 100 * AT_ONCE * EACH);
        assert_eq!(paid(&strangers), 1);
    }
}
