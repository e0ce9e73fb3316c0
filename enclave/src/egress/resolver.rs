//! Names to addresses, by questions of our own.
//!
//! The system's resolver tells addresses and hides over which aliases it came to them; here every alias
//! (CNAME) of an answer is told, for the guard to compare with its list. One recursive name server after
//! the other is asked, over UDP and, where an answer is cut off, over TCP. Nothing is kept: each
//! connection is made to addresses that were asked for it.
//!
//! What DNS says is not authenticated, and the wire is the operator's. It decides where a connection goes and
//! never who is there: that is TLS's matter.
//!
//! SPEC: RFC 1035 4.1 and 4.2 (messages, transport), RFC 5452 9 (matching answers), RFC 2181 10.1 (aliases).

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, Cname};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// How long one name server is given for one question.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest message over UDP, in bytes: without EDNS, 512 (RFC 1035 4.2.1); servers that send more are read as well.
const MAX_UDP_BYTES: usize = 4096;

/// Most aliases that one name leads over. Resolvers give up at some eight to sixteen.
const MAX_ALIASES: usize = 8;

/// Most addresses that are taken of one answer.
const MAX_ADDRESSES: usize = 32;

/// What a name leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The names that it is an alias of, in order, in lower case.
    pub(super) aliases: Vec<String>,
    /// The addresses, of IPv4 first.
    pub(super) addresses: Vec<IpAddr>,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// The site names no name server.
    #[error("there is no name server to ask")]
    NoNameserver,
    /// None of them answered.
    #[error("no name server answers")]
    Silent,
    /// They say that there is no such name, or no address of it.
    #[error("the name has no address")]
    NoAddress,
    /// The answer is none, or leads over too many aliases, or in a circle.
    #[error("the answer is not usable")]
    Malformed,
}

/// Asks name servers.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver {
    nameservers: Vec<SocketAddr>,
}

impl Resolver {
    pub(super) fn new(nameservers: Vec<SocketAddr>) -> Self {
        Self { nameservers }
    }

    /// Whether names can be resolved at all.
    pub(super) fn can_resolve(&self) -> bool {
        !self.nameservers.is_empty()
    }

    /// The aliases and addresses of a name.
    pub(super) async fn resolve(&self, name: &str) -> Result<Resolved, Unresolved> {
        let mut why = Unresolved::NoNameserver;
        for nameserver in &self.nameservers {
            let (four, six) = tokio::join!(
                ask(*nameserver, name, Rtype::A),
                ask(*nameserver, name, Rtype::AAAA)
            );
            match (four, six) {
                (Ok(four), Ok(six)) => return joined(four, six),
                // A server that knows one kind alone; the other says nothing.
                (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.addresses.is_empty() => {
                    return Ok(one);
                }
                (Ok(_), Err(error)) | (Err(error), _) => why = error,
            }
        }
        Err(why)
    }
}

/// Both answers as one. Aliases are told of both: what either leads over has to be listed.
fn joined(four: Resolved, six: Resolved) -> Result<Resolved, Unresolved> {
    let mut out = four;
    for alias in six.aliases {
        if !out.aliases.contains(&alias) {
            out.aliases.push(alias);
        }
    }
    out.addresses.extend(six.addresses);
    if out.addresses.is_empty() {
        return Err(Unresolved::NoAddress);
    }
    Ok(out)
}

async fn ask(nameserver: SocketAddr, name: &str, kind: Rtype) -> Result<Resolved, Unresolved> {
    let question = question(name, kind).ok_or(Unresolved::Malformed)?;
    let asked = timeout(PATIENCE, async {
        let answer = over_udp(nameserver, &question).await?;
        if answer.header().tc() {
            return over_tcp(nameserver, &question).await;
        }
        Ok(answer)
    });
    let answer = asked.await.unwrap_or(Err(Unresolved::Silent))?;
    read(&answer, name)
}

type Question = Message<Vec<u8>>;

fn question(name: &str, kind: Rtype) -> Option<Question> {
    let name: Name<Vec<u8>> = Name::vec_from_str(name).ok()?;
    let mut id = [0u8; 2];
    getrandom::fill(&mut id).ok()?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(u16::from_be_bytes(id));
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((&name, kind)).ok()?;
    Some(question.into_message())
}

/// The socket is bound to a port of the system's choice and takes messages of this one server only.
async fn over_udp(nameserver: SocketAddr, question: &Question) -> Result<Question, Unresolved> {
    let any: IpAddr = match nameserver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let silent = |_| Unresolved::Silent;
    let socket = UdpSocket::bind((any, 0)).await.map_err(silent)?;
    socket.connect(nameserver).await.map_err(silent)?;
    socket.send(question.as_slice()).await.map_err(silent)?;
    let deadline = deadline();
    let mut buffer = vec![0u8; MAX_UDP_BYTES];
    loop {
        let received = timeout_at(deadline, socket.recv(&mut buffer)).await;
        let length = received.map_err(|_| Unresolved::Silent)?.map_err(silent)?;
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        // Somebody else's guess does not end the wait for the answer.
        if let Ok(answer) = Message::from_octets(bytes)
            && answer.is_answer(question)
        {
            return Ok(answer);
        }
    }
}

fn deadline() -> Instant {
    let now = Instant::now();
    now.checked_add(PATIENCE).unwrap_or(now)
}

async fn over_tcp(nameserver: SocketAddr, question: &Question) -> Result<Question, Unresolved> {
    let silent = |_| Unresolved::Silent;
    let mut stream = TcpStream::connect(nameserver).await.map_err(silent)?;
    let bytes = question.as_slice();
    let length = u16::try_from(bytes.len()).map_err(|_| Unresolved::Malformed)?;
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await.map_err(silent)?;
    let length = stream.read_u16().await.map_err(silent)?;
    let mut answer = vec![0u8; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(silent)?;
    let answer = Message::from_octets(answer).map_err(|_| Unresolved::Malformed)?;
    if answer.is_answer(question) {
        Ok(answer)
    } else {
        Err(Unresolved::Malformed)
    }
}

/// Follows the aliases of an answer from the name that was asked, and takes the addresses at their end.
fn read(answer: &Question, name: &str) -> Result<Resolved, Unresolved> {
    match answer.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Err(Unresolved::NoAddress),
        _ => return Err(Unresolved::Silent),
    }
    let malformed = |_| Unresolved::Malformed;
    let mut aliases: Vec<(String, String)> = Vec::new();
    let mut addresses: Vec<(String, IpAddr)> = Vec::new();
    for record in answer.answer().map_err(malformed)? {
        let record = record.map_err(malformed)?;
        let owner = plain(record.owner());
        if let Some(found) = record.to_record::<A>().map_err(malformed)? {
            addresses.push((owner, found.data().addr().into()));
        } else if let Some(found) = record.to_record::<Aaaa>().map_err(malformed)? {
            addresses.push((owner, found.data().addr().into()));
        } else if let Some(found) = record.to_record::<Cname<_>>().map_err(malformed)? {
            aliases.push((owner, plain(found.data().cname())));
        }
        if addresses.len() > MAX_ADDRESSES || aliases.len() > MAX_ALIASES {
            return Err(Unresolved::Malformed);
        }
    }
    let mut out = Resolved::default();
    let mut at = name.to_ascii_lowercase();
    while let Some((_, target)) = aliases.iter().find(|(owner, _)| *owner == at) {
        if out.aliases.contains(target) {
            return Err(Unresolved::Malformed);
        }
        out.aliases.push(target.clone());
        at.clone_from(target);
    }
    let of = addresses.into_iter().filter(|(owner, _)| *owner == at);
    out.addresses = of.map(|(_, address)| address).collect();
    Ok(out)
}

/// A name in lower case, without the final dot.
fn plain(name: impl std::fmt::Display) -> String {
    let text = name.to_string().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::testing::{Nameserver, Zone};

    async fn resolved(zone: Zone, name: &str) -> Result<Resolved, Unresolved> {
        let nameserver = Nameserver::serve(zone).await;
        Resolver::new(vec![nameserver.address()])
            .resolve(name)
            .await
    }

    #[tokio::test]
    async fn a_name_leads_to_its_addresses() {
        let zone = Zone::default()
            .address("api.example", "192.0.2.1")
            .address("api.example", "2001:db8::1")
            .address("other.example", "192.0.2.9");
        let found = resolved(zone, "api.example").await.unwrap();
        assert_eq!(found.aliases, Vec::<String>::new());
        let expected: Vec<IpAddr> =
            vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(found.addresses, expected);
    }

    #[tokio::test]
    async fn every_alias_on_the_way_is_told() {
        let zone = Zone::default()
            .alias("api.example", "edge.cdn.example")
            .alias("edge.cdn.example", "e7.cdn.example")
            .address("e7.cdn.example", "192.0.2.1");
        let found = resolved(zone, "api.example").await.unwrap();
        assert_eq!(found.aliases, ["edge.cdn.example", "e7.cdn.example"]);
        assert_eq!(found.addresses.len(), 1);
    }

    #[tokio::test]
    async fn an_address_of_another_name_in_the_answer_is_not_taken() {
        let zone = Zone::default()
            .address("api.example", "192.0.2.1")
            .beside("evil.example", "10.0.0.1");
        let found = resolved(zone, "api.example").await.unwrap();
        assert_eq!(found.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn aliases_in_a_circle_are_no_answer() {
        let zone = Zone::default()
            .alias("a.example", "b.example")
            .alias("b.example", "a.example");
        let found = resolved(zone, "a.example").await;
        assert_eq!(found, Err(Unresolved::Malformed));
    }

    #[tokio::test]
    async fn too_many_aliases_are_no_answer() {
        let mut zone = Zone::default();
        for n in 0..=MAX_ALIASES {
            let next = n.saturating_add(1);
            zone = zone.alias(&format!("n{n}.example"), &format!("n{next}.example"));
        }
        let found = resolved(zone, "n0.example").await;
        assert_eq!(found, Err(Unresolved::Malformed));
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_has_no_address() {
        let found = resolved(Zone::default(), "api.example").await;
        assert_eq!(found, Err(Unresolved::NoAddress));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_fit_is_asked_for_again_over_tcp() {
        let zone = Zone::default()
            .address("api.example", "192.0.2.1")
            .cut_over_udp();
        let found = resolved(zone, "api.example").await.unwrap();
        assert_eq!(found.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn an_answer_to_another_question_is_waited_past() {
        let zone = Zone::default()
            .address("api.example", "192.0.2.1")
            .guessed_before("10.0.0.1");
        let found = resolved(zone, "api.example").await.unwrap();
        assert_eq!(found.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn the_next_server_is_asked_where_one_fails() {
        let failing = Nameserver::serve(Zone::default().failing()).await;
        let good = Nameserver::serve(Zone::default().address("api.example", "192.0.2.1")).await;
        let resolver = Resolver::new(vec![failing.address(), good.address()]);
        assert_eq!(
            resolver
                .resolve("api.example")
                .await
                .unwrap()
                .addresses
                .len(),
            1
        );
    }

    #[tokio::test]
    async fn without_a_name_server_no_name_leads_anywhere() {
        let found = Resolver::new(Vec::new()).resolve("api.example").await;
        assert_eq!(found, Err(Unresolved::NoNameserver));
    }
}
