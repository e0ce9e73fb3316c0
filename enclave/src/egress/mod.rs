//! The ways out: where connections to upstreams may go, and who has to be there.
//!
//! | module | what it does |
//! |---|---|
//! | [`resolver`] | names to addresses, with every alias on the way |
//! | [`tls`] | TLS 1.3 to an upstream: roots and pinned keys that the site names |
//! | [`http`] | connections of an upstream over HTTP, one place each |
//! | [`proxy`] | the way out of a sandboxed program, while one of its calls is carried out |
//!
//! In: an endpoint, and the list of what may be reached. Out: a connection to the very address that was judged, or a
//! [`Refused`]. The steps, numbered in the code: 1 the endpoint is listed; 2 a name is resolved here, by questions
//! of our own; 3 every alias on the way is listed; 4 every address of the answer may be reached, or none is used;
//! 5 the connection goes to one of these addresses, and the name is not looked up again.
//!
//! There is no proxy from the environment, no cache of answers and no redirect that is followed.
//! Why so: decision 0036.

pub mod http;
pub mod proxy;
pub(crate) mod resolver;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tls;

use countersign_adapters::Barred;
use countersign_policies::address;
use countersign_policies::endpoint::{Endpoint, EndpointList, Host};
use resolver::{Resolved, Resolver, Unresolved};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one address is given, so that a silent one leaves time for the next.
const ONE_ADDRESS: Duration = Duration::from_secs(2);

/// Most addresses that are tried for one connection.
const MAX_TRIED: usize = 4;

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The endpoint is not one that may be reached.
    #[error("the endpoint is not listed")]
    NotListed,
    /// The name leads nowhere.
    #[error("{0}")]
    Unresolved(ResolveError),
    /// The name is an alias of one that is not listed.
    #[error("the name leads over another name, which is not listed")]
    Alias,
    /// The address is in a range that is nobody's on the Internet, and not listed on purpose.
    #[error("the name leads to a {0} address, which is not listed")]
    Address(&'static str),
    /// Nobody answers.
    #[error("nobody answers there")]
    Unreachable,
    /// The certificate does not lead to a root that counts, or is for another name.
    #[error("the certificate is not one of the upstream's")]
    Certificate,
    /// The certificate has another key than those that are pinned.
    #[error("the certificate's key is not pinned")]
    Pin,
}

/// Why a name leads nowhere, without the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ResolveError(#[from] Unresolved);

impl Refused {
    /// The word in the record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotListed => "endpoint-not-listed",
            Self::Unresolved(_) => "name-unresolved",
            Self::Alias => "alias-not-listed",
            Self::Address(_) => "address-not-listed",
            Self::Unreachable => "unreachable",
            Self::Certificate => "certificate-not-trusted",
            Self::Pin => "certificate-not-pinned",
        }
    }

    /// What was barred; nothing, if somebody merely is not there.
    #[must_use]
    pub fn barred(self) -> Option<Barred> {
        match self {
            Self::NotListed | Self::Alias | Self::Address(_) => Some(Barred::Destination),
            Self::Certificate | Self::Pin => Some(Barred::Certificate),
            Self::Unresolved(_) | Self::Unreachable => None,
        }
    }
}

/// Makes connections to what may be reached.
#[derive(Debug, Default)]
pub struct Guard {
    resolver: Resolver,
}

impl Guard {
    /// Asks these name servers, in this order.
    #[must_use]
    pub fn new(nameservers: Vec<SocketAddr>) -> Self {
        Self {
            resolver: Resolver::new(nameservers),
        }
    }

    /// Whether names can be resolved at all.
    #[must_use]
    pub fn can_resolve(&self) -> bool {
        self.resolver.can_resolve()
    }

    /// A connection to an endpoint, and the address that it goes to.
    ///
    /// # Errors
    /// [`Refused`]; nothing was sent to anybody but name servers.
    pub async fn connect(
        &self,
        endpoint: &Endpoint,
        list: &EndpointList,
    ) -> Result<(TcpStream, SocketAddr), Refused> {
        for address in self.judged(endpoint, list).await? {
            let target = SocketAddr::new(address, endpoint.port());
            // 5.
            if let Ok(Ok(stream)) = timeout(ONE_ADDRESS, TcpStream::connect(target)).await
                && stream.set_nodelay(true).is_ok()
            {
                return Ok((stream, target));
            }
        }
        Err(Refused::Unreachable)
    }

    /// The addresses of an endpoint, all of which may be reached.
    async fn judged(
        &self,
        endpoint: &Endpoint,
        list: &EndpointList,
    ) -> Result<Vec<IpAddr>, Refused> {
        let port = endpoint.port();
        // 1.
        if !list.has(endpoint) {
            return Err(Refused::NotListed);
        }
        let addresses = match endpoint.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                // 2.
                let resolved = self.resolver.resolve(name).await;
                let Resolved { aliases, addresses } =
                    resolved.map_err(|why| Refused::Unresolved(why.into()))?;
                // 3.
                if !aliases.iter().all(|alias| list.has_name(alias, port)) {
                    return Err(Refused::Alias);
                }
                addresses
            }
        };
        // 4. An answer that mixes good addresses with others was made by somebody who wants the others tried.
        for address in &addresses {
            address::permitted(*address, list, port).map_err(Refused::Address)?;
        }
        Ok(addresses.into_iter().take(MAX_TRIED).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Nameserver, Zone};
    use super::*;
    use tokio::net::TcpListener;

    fn list(entries: &[&str]) -> EndpointList {
        let mut out = EndpointList::default();
        entries.iter().for_each(|e| out.add(e).unwrap());
        out
    }

    async fn refused(zone: Zone, endpoint: &str, entries: &[&str]) -> Refused {
        let nameserver = Nameserver::serve(zone).await;
        let guard = Guard::new(vec![nameserver.address()]);
        let endpoint = Endpoint::parse(endpoint).unwrap();
        guard.connect(&endpoint, &list(entries)).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_address_that_was_judged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let zone = Zone::default()
            .alias("api.example", "edge.cdn.example")
            .address("edge.cdn.example", "127.0.0.1");
        let nameserver = Nameserver::serve(zone).await;
        let guard = Guard::new(vec![nameserver.address()]);
        let endpoint = Endpoint::parse(&format!("api.example:{port}")).unwrap();
        let entries = [
            format!("api.example:{port}"),
            format!("*.cdn.example:{port}"),
            format!("127.0.0.1:{port}"),
        ];
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let (stream, address) = guard.connect(&endpoint, &list(&entries)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert_eq!(address, listener.local_addr().unwrap());
        // Asked once for each kind of address: what was judged is not looked up a second time.
        assert_eq!(nameserver.questions(), 2);
    }

    #[tokio::test]
    async fn what_is_not_listed_is_not_even_looked_up() {
        let nameserver =
            Nameserver::serve(Zone::default().address("evil.example", "192.0.2.1")).await;
        let guard = Guard::new(vec![nameserver.address()]);
        let endpoint = Endpoint::parse("evil.example:443").unwrap();
        let refused = guard.connect(&endpoint, &list(&["api.example:443"])).await;
        assert_eq!(refused.unwrap_err(), Refused::NotListed);
        assert_eq!(nameserver.questions(), 0);
    }

    #[tokio::test]
    async fn an_alias_that_leaves_the_list_is_refused() {
        let zone = Zone::default()
            .alias("api.example", "edge.cdn.example")
            .alias("edge.cdn.example", "evil.example")
            .address("evil.example", "8.8.8.8");
        let entries = ["api.example:443", "*.cdn.example:443"];
        assert_eq!(
            refused(zone, "api.example:443", &entries).await,
            Refused::Alias
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_special_address_is_refused() {
        for (address, kind) in [
            ("127.0.0.1", "loopback"),
            ("10.0.0.1", "private"),
            ("169.254.169.254", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("::ffff:10.0.0.1", "ipv4-mapped"),
            ("64:ff9b::a00:1", "nat64"),
            ("0.0.0.0", "unspecified"),
            ("224.0.0.1", "multicast"),
        ] {
            let zone = Zone::default().address("api.example", address);
            let found = refused(zone, "api.example:443", &["api.example:443"]).await;
            assert_eq!(found, Refused::Address(kind), "{address}");
        }
    }

    #[tokio::test]
    async fn one_bad_address_spoils_the_answer() {
        let zone = Zone::default()
            .address("api.example", "8.8.8.8")
            .address("api.example", "10.0.0.1");
        let found = refused(zone, "api.example:443", &["api.example:443"]).await;
        assert_eq!(found, Refused::Address("private"));
    }

    #[tokio::test]
    async fn an_address_that_is_written_down_is_judged_like_one_that_was_found() {
        let all = ["0.0.0.0/0:443"];
        let found = refused(Zone::default(), "169.254.169.254:443", &all).await;
        assert_eq!(found, Refused::Address("metadata"));
    }

    #[tokio::test]
    async fn where_nobody_listens_there_is_no_connection() {
        let entry = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let found = refused(Zone::default(), &entry, &[&entry]).await;
        assert_eq!(found, Refused::Unreachable);
        assert_eq!(found.barred(), None);
    }
}
