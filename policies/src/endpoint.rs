//! Where something goes: hosts and ports, and lists of those that may be reached.
//!
//! In: texts of a site (`endpoint_in`) and of a call (addresses in arguments). Out: an [`Endpoint`],
//! or a named reason why the text is none. One form is read and every other is refused, because
//! whoever reads the same text after us may read it another way: `0x7f.1`, `user@host`, a
//! backslash, a host outside of ASCII.
//!
//! SPEC: RFC 3986 3.2.2 (hosts), RFC 1123 2.1 and RFC 1035 2.3.4 (names), RFC 4291 2.2 (IPv6).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// Longest name, in bytes (RFC 1035 2.3.4, without the root).
const MAX_NAME_BYTES: usize = 253;

/// Longest part of a name, in bytes (RFC 1035 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// Most entries of one list.
pub const MAX_LISTED: usize = 256;

/// A host: a name, or the address itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case, without a final dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoEndpoint {
    /// Not `scheme://host…`.
    #[error("not an absolute address with a host")]
    Form,
    /// A scheme whose port is not known.
    #[error("scheme is neither https nor http")]
    Scheme,
    /// A user name or password in it.
    #[error("holds credentials")]
    Credentials,
    /// A character that readers of addresses treat differently.
    #[error("holds a character that an address may not have")]
    Character,
    /// Neither a name nor an address in its usual form.
    #[error(
        "host is neither a name of letters, digits and hyphens nor an address in its usual form"
    )]
    Host,
    /// No port, or none between 1 and 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
}

/// The scheme of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `https`.
    Https,
    /// `http`.
    Http,
}

impl Scheme {
    /// The port that an address without one means.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl Host {
    /// A name or an address, IPv6 without brackets.
    ///
    /// # Errors
    /// [`NoEndpoint::Host`] if it is neither.
    pub fn parse(text: &str) -> Result<Self, NoEndpoint> {
        // Of std: four decimal numbers without leading zeros, and nothing else.
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        // A zone (`%eth0`) is refused by std as well.
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        // `127.1`, `2130706433` and `0x7f000001` are addresses to some readers.
        let like_a_number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
        if name.len() > MAX_NAME_BYTES || like_a_number || !name.split('.').all(is_label) {
            return Err(NoEndpoint::Host);
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Endpoint {
    /// A host at a port.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, IPv6 in brackets.
    ///
    /// # Errors
    /// [`NoEndpoint`] if host or port is none.
    pub fn parse(authority: &str) -> Result<Self, NoEndpoint> {
        let (host, port) = authority.rsplit_once(':').ok_or(NoEndpoint::Port)?;
        Ok(Self {
            host: bracketed(host)?,
            port: port_number(port)?,
        })
    }

    /// The endpoint of `https://…` or `http://…`, and the scheme.
    ///
    /// # Errors
    /// [`NoEndpoint`] for every text that readers could understand in two ways.
    pub fn of_url(url: &str) -> Result<(Scheme, Self), NoEndpoint> {
        if !url.bytes().all(is_of_urls) {
            return Err(NoEndpoint::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(NoEndpoint::Form)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(NoEndpoint::Scheme),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(NoEndpoint::Credentials);
        }
        if authority.is_empty() {
            return Err(NoEndpoint::Form);
        }
        let after_brackets = authority.rfind(']').map_or(0, |at| at.saturating_add(1));
        let tail = authority.get(after_brackets..).unwrap_or_default();
        let endpoint = if tail.contains(':') {
            Self::parse(authority)?
        } else {
            Self {
                host: bracketed(authority)?,
                port: scheme.port(),
            }
        };
        Ok((scheme, endpoint))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// IPv6 addresses stand in brackets, and nothing else does.
fn bracketed(host: &str) -> Result<Host, NoEndpoint> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or(NoEndpoint::Host)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| NoEndpoint::Host)?;
            Ok(Host::Address(address.into()))
        }
        None if host.contains(':') => Err(NoEndpoint::Host),
        None => Host::parse(host),
    }
}

fn port_number(text: &str) -> Result<u16, NoEndpoint> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number = text.parse::<u16>().ok().filter(|_| plain);
    number.ok_or(NoEndpoint::Port)
}

/// Visible ASCII without what RFC 3986 gives no meaning and browsers and libraries read in their own ways.
fn is_of_urls(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `address/prefix`, or one address; the bits after the prefix are zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = longest(address);
        let prefix = match prefix {
            Some(text) => text.parse().ok().filter(|p| *p <= longest)?,
            None => longest,
        };
        let network = Self { address, prefix };
        (masked(address, prefix) == bits(address)).then_some(network)
    }

    /// One address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self {
            address,
            prefix: longest(address),
        }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && masked(address, self.prefix) == bits(self.address)
    }

    /// Whether all of another range is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.has(other.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn longest(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let dropped = u32::from(longest(address).saturating_sub(prefix));
    let bits = bits(address);
    bits.checked_shr(dropped)
        .and_then(|high| high.checked_shl(dropped))
        .unwrap_or(0)
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed {
    /// This name.
    Name(String),
    /// Every name below this one: `*.example.com`.
    Below(String),
    /// These addresses.
    Network(Network),
}

/// What may be reached: `name:port`, `*.name:port`, `address:port`, `network/prefix:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointList {
    entries: Vec<(Listed, u16)>,
    texts: Vec<String>,
}

/// What an entry of a list looks like, for whoever wrote another one.
pub const LISTED_FORM: &str =
    "<name>:<port>, *.<name>:<port>, <address>:<port> or <address>/<bits>:<port>, IPv6 in brackets";

impl EndpointList {
    /// The list of one endpoint.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        let listed = match endpoint.host() {
            Host::Name(name) => Listed::Name(name.clone()),
            Host::Address(address) => Listed::Network(Network::of(*address)),
        };
        Self {
            entries: vec![(listed, endpoint.port())],
            texts: vec![endpoint.to_string()],
        }
    }

    /// Adds an entry; whether it is one.
    #[must_use]
    pub fn add(&mut self, text: &str) -> Option<()> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port_number(port).ok()?;
        let listed = match host.strip_prefix("*.") {
            Some(name) => match Host::parse(name).ok()? {
                Host::Name(name) => Listed::Below(name),
                Host::Address(_) => return None,
            },
            None => match network(host) {
                Some(network) => Listed::Network(network),
                None => match bracketed(host).ok()? {
                    Host::Name(name) => Listed::Name(name),
                    Host::Address(_) => return None,
                },
            },
        };
        self.entries.push((listed, port));
        self.texts.push(text.to_owned());
        Some(())
    }

    /// Both lists as one.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.entries.extend(other.entries.iter().cloned());
        self.texts.extend(other.texts.iter().cloned());
        self
    }

    /// The entries as they were written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether nothing may be reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an endpoint is listed. Of an address, whether it may be reached at all is a further question.
    #[must_use]
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        match endpoint.host() {
            Host::Name(name) => self.has_name(name, endpoint.port()),
            Host::Address(address) => self.networks(endpoint.port()).any(|n| n.has(*address)),
        }
    }

    /// Whether a name, in lower case, is listed.
    #[must_use]
    pub fn has_name(&self, name: &str, port: u16) -> bool {
        self.entries.iter().any(|(listed, at)| {
            *at == port
                && match listed {
                    Listed::Name(listed) => listed == name,
                    Listed::Below(parent) => name
                        .strip_suffix(parent.as_str())
                        .and_then(|rest| rest.strip_suffix('.'))
                        .is_some_and(|rest| !rest.is_empty()),
                    Listed::Network(_) => false,
                }
        })
    }

    /// The ports that are listed, each as often as it is.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.entries.iter().map(|(_, port)| *port)
    }

    /// Whether a name is among its entries, so that somebody has to resolve it.
    #[must_use]
    pub fn names_any(&self) -> bool {
        let is_name = |listed: &Listed| matches!(listed, Listed::Name(_) | Listed::Below(_));
        self.entries.iter().any(|(listed, _)| is_name(listed))
    }

    /// The ranges of addresses that are listed for a port.
    pub fn networks(&self, port: u16) -> impl Iterator<Item = &Network> {
        self.entries
            .iter()
            .filter_map(move |(listed, at)| match listed {
                Listed::Network(network) if *at == port => Some(network),
                Listed::Network(_) | Listed::Name(_) | Listed::Below(_) => None,
            })
    }
}

/// A range before a port; IPv6 stands in brackets, with its prefix.
fn network(text: &str) -> Option<Network> {
    match text.strip_prefix('[') {
        Some(rest) => Network::parse(rest.strip_suffix(']')?).filter(|n| n.address.is_ipv6()),
        None => Network::parse(text).filter(|n| n.address.is_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> EndpointList {
        let mut out = EndpointList::default();
        for entry in entries {
            out.add(entry).unwrap_or_else(|| panic!("{entry}"));
        }
        out
    }

    #[test]
    fn an_address_has_one_host_and_one_port() {
        for (url, endpoint) in [
            ("https://api.example.com/a?b#c", "api.example.com:443"),
            ("https://API.Example.com", "api.example.com:443"),
            ("http://api.example.com", "api.example.com:80"),
            ("HTTPS://api.example.com:8443/", "api.example.com:8443"),
            ("https://192.0.2.1/x", "192.0.2.1:443"),
            ("https://[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
            ("https://[::1]?x", "[::1]:443"),
            (
                "https://api.example.com?u=https://evil.example@x/",
                "api.example.com:443",
            ),
        ] {
            let (_, found) = Endpoint::of_url(url).unwrap();
            assert_eq!(found.to_string(), endpoint, "{url}");
        }
    }

    #[test]
    fn a_text_that_can_be_read_in_two_ways_is_no_address() {
        for (url, why) in [
            ("", NoEndpoint::Form),
            ("api.example.com", NoEndpoint::Form),
            ("//api.example.com", NoEndpoint::Form),
            ("https:api.example.com", NoEndpoint::Form),
            ("https:///x", NoEndpoint::Form),
            ("file:///etc/passwd", NoEndpoint::Scheme),
            ("gopher://api.example.com", NoEndpoint::Scheme),
            (" https://api.example.com", NoEndpoint::Character),
            (
                "https://api.example.com\\@evil.example/",
                NoEndpoint::Character,
            ),
            (
                "https://api.example.com\t.evil.example",
                NoEndpoint::Character,
            ),
            ("https://bücher.example", NoEndpoint::Character),
            ("https://a{b}.example", NoEndpoint::Character),
            (
                "https://api.example.com@evil.example/",
                NoEndpoint::Credentials,
            ),
            ("https://u:p@api.example.com/", NoEndpoint::Credentials),
            ("https://127.1/", NoEndpoint::Host),
            ("https://2130706433/", NoEndpoint::Host),
            ("https://0x7f.0.0.1/", NoEndpoint::Host),
            ("https://0x7f000001/", NoEndpoint::Host),
            ("https://0177.0.0.1/", NoEndpoint::Host),
            ("https://127.0.0.1./", NoEndpoint::Host),
            ("https://api.example.com./", NoEndpoint::Host),
            ("https://api..example.com/", NoEndpoint::Host),
            ("https://-api.example.com/", NoEndpoint::Host),
            ("https://api%2eexample.com/", NoEndpoint::Host),
            ("https://api_x.example.com/", NoEndpoint::Host),
            ("https://[fe80::1%25eth0]/", NoEndpoint::Host),
            ("https://[127.0.0.1]/", NoEndpoint::Host),
            ("https://[::1]x/", NoEndpoint::Host),
            ("https://api.example.com:/", NoEndpoint::Port),
            ("https://api.example.com:0/", NoEndpoint::Port),
            ("https://api.example.com:00443/", NoEndpoint::Port),
            ("https://api.example.com:65536/", NoEndpoint::Port),
            ("https://api.example.com:+443/", NoEndpoint::Port),
        ] {
            assert_eq!(Endpoint::of_url(url).unwrap_err(), why, "{url}");
        }
    }

    #[test]
    fn what_is_listed_is_reached_and_nothing_beside_it() {
        let list = list(&[
            "api.example.com:443",
            "*.cdn.example:443",
            "10.1.0.0/16:5432",
            "[fd00::/8]:443",
            "192.0.2.7:80",
        ]);
        for (endpoint, expected) in [
            ("api.example.com:443", true),
            ("api.example.com:80", false),
            ("xapi.example.com:443", false),
            ("api.example.com.evil.example:443", false),
            ("a.cdn.example:443", true),
            ("a.b.cdn.example:443", true),
            ("cdn.example:443", false),
            ("acdn.example:443", false),
            ("10.1.2.3:5432", true),
            ("10.2.0.0:5432", false),
            ("10.1.2.3:443", false),
            ("[fd12::1]:443", true),
            ("[fe00::1]:443", false),
            ("192.0.2.7:80", true),
            ("192.0.2.8:80", false),
        ] {
            let parsed = Endpoint::parse(endpoint).unwrap();
            assert_eq!(list.has(&parsed), expected, "{endpoint}");
        }
    }

    #[test]
    fn an_entry_in_another_form_is_none() {
        for entry in [
            "",
            "api.example.com",
            "api.example.com:",
            "https://api.example.com:443",
            "*:443",
            "*.:443",
            "a.*.example:443",
            "*.10.0.0.1:443",
            "10.0.0.1/8:443",
            "10.0.0.0/33:443",
            "fd00::/8:443",
            "[10.0.0.0/8]:443",
            "10.0.0.0/8",
            "a b:443",
        ] {
            assert_eq!(EndpointList::default().add(entry), None, "{entry}");
        }
    }
}
