//! Addresses that are nobody's on the Internet, and when one of them may be reached all the same.
//!
//! In: an address that a name led to, or that was written down. Out: whether it may be connected to.
//! A special address may be reached only where the list names it on purpose: an entry that has it and
//! that lies within its range. So `0.0.0.0/0` opens no loopback address, and `10.1.0.0/16` opens its own
//! part of `10.0.0.0/8` and no more.
//!
//! SPEC: IANA "IPv4/IPv6 Special-Purpose Address Registry" (RFC 6890, RFC 8190). Addresses of instance
//! metadata are those that providers document; most lie within link-local or unique-local ranges.

use crate::endpoint::{EndpointList, Network};
use std::net::IpAddr;

/// What a special range is called, where it lies.
const SPECIAL: [(&str, &str); 40] = [
    // Before the ranges that they lie in, so that their names are told.
    ("metadata", "169.254.169.254/32"),
    ("metadata", "169.254.170.2/32"),
    ("metadata", "168.63.129.16/32"),
    ("metadata", "100.100.100.200/32"),
    ("metadata", "192.0.0.192/32"),
    ("metadata", "fd00:ec2::254/128"),
    ("metadata", "fd20:ce::254/128"),
    ("unspecified", "0.0.0.0/8"),
    ("private", "10.0.0.0/8"),
    ("shared", "100.64.0.0/10"),
    ("loopback", "127.0.0.0/8"),
    ("link-local", "169.254.0.0/16"),
    ("private", "172.16.0.0/12"),
    ("protocol", "192.0.0.0/24"),
    ("documentation", "192.0.2.0/24"),
    ("relay", "192.88.99.0/24"),
    ("private", "192.168.0.0/16"),
    ("benchmark", "198.18.0.0/15"),
    ("documentation", "198.51.100.0/24"),
    ("documentation", "203.0.113.0/24"),
    ("multicast", "224.0.0.0/4"),
    ("reserved", "240.0.0.0/4"),
    ("unspecified", "::/128"),
    ("loopback", "::1/128"),
    ("ipv4-mapped", "::ffff:0:0/96"),
    ("ipv4-compatible", "::/96"),
    ("nat64", "64:ff9b::/96"),
    ("nat64", "64:ff9b:1::/48"),
    ("discard", "100::/64"),
    ("protocol", "2001::/23"),
    ("documentation", "2001:db8::/32"),
    ("6to4", "2002::/16"),
    ("documentation", "3fff::/20"),
    ("segment-routing", "5f00::/16"),
    ("unique-local", "fc00::/7"),
    ("link-local", "fe80::/10"),
    ("site-local", "fec0::/10"),
    ("multicast", "ff00::/8"),
    // Global unicast is 2000::/3; whatever else there is, is not given out.
    ("reserved", "::/3"),
    ("reserved", "4000::/2"),
];

/// What has no meaning as the other end of a connection, listed or not.
const NEVER: [&str; 3] = ["unspecified", "multicast", "reserved"];

/// Whether an address may be connected to.
///
/// # Errors
/// The name of the special range that it lies in.
pub fn permitted(address: IpAddr, list: &EndpointList, port: u16) -> Result<(), &'static str> {
    let Some((name, range)) = special(address) else {
        return Ok(());
    };
    let listed = list
        .networks(port)
        .any(|listed| listed.has(address) && range.is_some_and(|range| range.covers(listed)));
    if listed && !NEVER.contains(&name) {
        Ok(())
    } else {
        Err(name)
    }
}

/// The special range of an address, if it lies in one.
fn special(address: IpAddr) -> Option<(&'static str, Option<Network>)> {
    for (name, text) in SPECIAL {
        // A range that cannot be read has everything, and is not to be listed; a test reads all of them.
        let Some(range) = Network::parse(text) else {
            return Some((name, None));
        };
        if range.has(address) {
            return Some((name, Some(range)));
        }
    }
    match address {
        IpAddr::V4(_) => None,
        // 2000::/3 alone is left.
        IpAddr::V6(v6) if v6.segments().first().is_some_and(|s| s & 0xe000 == 0x2000) => None,
        IpAddr::V6(_) => Some(("reserved", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> EndpointList {
        let mut out = EndpointList::default();
        entries.iter().for_each(|e| out.add(e).unwrap());
        out
    }

    fn judged(address: &str, entries: &[&str]) -> Result<(), &'static str> {
        permitted(address.parse().unwrap(), &list(entries), 443)
    }

    #[test]
    fn every_range_can_be_read() {
        for (_, text) in SPECIAL {
            assert!(Network::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_may_be_reached_without_being_listed() {
        for address in ["8.8.8.8", "193.0.14.129", "2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(judged(address, &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_refused_by_name() {
        for (address, name) in [
            ("127.0.0.1", "loopback"),
            ("127.8.8.8", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "shared"),
            ("169.254.1.1", "link-local"),
            ("169.254.169.254", "metadata"),
            ("169.254.170.2", "metadata"),
            ("168.63.129.16", "metadata"),
            ("100.100.100.200", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:10.0.0.1", "ipv4-mapped"),
            ("::ffff:8.8.8.8", "ipv4-mapped"),
            ("::10.0.0.1", "ipv4-compatible"),
            ("64:ff9b::a00:1", "nat64"),
            ("64:ff9b:1::a00:1", "nat64"),
            ("2002:a00:1::1", "6to4"),
            ("2001:0:1::1", "protocol"),
            ("fc00::1", "unique-local"),
            ("fd12:3456::1", "unique-local"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            ("5f00::1", "segment-routing"),
            ("4000::1", "reserved"),
            ("1000::1", "reserved"),
            ("e000::1", "reserved"),
        ] {
            assert_eq!(judged(address, &[]), Err(name), "{address}");
            // Everything is listed: that names none of them on purpose.
            let all = ["0.0.0.0/0:443", "[::/0]:443"];
            assert_eq!(judged(address, &all), Err(name), "{address}");
        }
    }

    #[test]
    fn a_special_address_that_is_listed_on_purpose_may_be_reached() {
        for (address, entry) in [
            ("10.1.2.3", "10.1.0.0/16:443"),
            ("10.1.2.3", "10.0.0.0/8:443"),
            ("127.0.0.1", "127.0.0.1:443"),
            ("fd12::1", "[fd12::/16]:443"),
            ("169.254.169.254", "169.254.169.254:443"),
        ] {
            assert_eq!(judged(address, &[entry]), Ok(()), "{address} {entry}");
        }
        for (address, entry, name) in [
            ("10.2.0.1", "10.1.0.0/16:443", "private"),
            ("10.1.2.3", "10.1.0.0/16:80", "private"),
            // Metadata is not listed by whoever lists the range around it.
            ("169.254.169.254", "169.254.0.0/16:443", "metadata"),
            ("10.1.2.3", "8.0.0.0/5:443", "private"),
            ("0.0.0.0", "0.0.0.0:443", "unspecified"),
            ("224.0.0.1", "224.0.0.1:443", "multicast"),
        ] {
            assert_eq!(judged(address, &[entry]), Err(name), "{address} {entry}");
        }
    }
}
