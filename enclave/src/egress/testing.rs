//! A name server that says what a test wants said, on a loopback address.

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, Cname};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

type Owned = Name<Vec<u8>>;

fn named(text: &str) -> Owned {
    Name::vec_from_str(text).unwrap()
}

/// What a name server knows, and how it behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone {
    addresses: Vec<(Owned, IpAddr)>,
    aliases: Vec<(Owned, Owned)>,
    beside: Vec<(Owned, IpAddr)>,
    guess: Option<IpAddr>,
    cut: bool,
    failing: bool,
}

impl Zone {
    pub(crate) fn address(mut self, name: &str, address: &str) -> Self {
        self.addresses.push((named(name), address.parse().unwrap()));
        self
    }

    pub(crate) fn alias(mut self, name: &str, target: &str) -> Self {
        self.aliases.push((named(name), named(target)));
        self
    }

    /// An address that stands in each answer, whatever was asked.
    pub(crate) fn beside(mut self, name: &str, address: &str) -> Self {
        self.beside.push((named(name), address.parse().unwrap()));
        self
    }

    /// Somebody who guesses the question wrong answers first.
    pub(crate) fn guessed_before(mut self, address: &str) -> Self {
        self.guess = Some(address.parse().unwrap());
        self
    }

    pub(crate) fn cut_over_udp(mut self) -> Self {
        self.cut = true;
        self
    }

    pub(crate) fn failing(mut self) -> Self {
        self.failing = true;
        self
    }

    fn answer(&self, query: &Message<&[u8]>) -> Vec<u8> {
        let question = query.sole_question().unwrap();
        let kind = question.qtype();
        let mut at: Owned = named(&question.qname().to_string());
        let known = self.addresses.iter().any(|(n, _)| *n == at)
            || self.aliases.iter().any(|(n, _)| *n == at);
        let rcode = match (self.failing, known) {
            (true, _) => Rcode::SERVFAIL,
            (false, true) => Rcode::NOERROR,
            (false, false) => Rcode::NXDOMAIN,
        };
        let builder = MessageBuilder::new_vec();
        let mut out = builder.start_answer(query, rcode).unwrap();
        // As a resolver that has followed them, and given up at some time.
        for _ in 0..20 {
            let Some((_, target)) = self.aliases.iter().find(|(n, _)| *n == at) else {
                break;
            };
            out.push((&at, 60, Cname::new(target.clone()))).unwrap();
            at = target.clone();
        }
        let found = self.addresses.iter().filter(|(name, _)| *name == at);
        for (name, address) in found.chain(&self.beside) {
            match address {
                IpAddr::V4(address) if kind == Rtype::A => {
                    out.push((name, 60, A::new(*address))).unwrap();
                }
                IpAddr::V6(address) if kind == Rtype::AAAA => {
                    out.push((name, 60, Aaaa::new(*address))).unwrap();
                }
                IpAddr::V4(_) | IpAddr::V6(_) => {}
            }
        }
        out.finish()
    }

    fn guessed(&self, query: &Message<&[u8]>) -> Option<Vec<u8>> {
        let guess = Self::default().address(
            &query.sole_question().unwrap().qname().to_string(),
            &self.guess?.to_string(),
        );
        let mut bytes = guess.answer(query);
        // Another identifier.
        *bytes.first_mut()? ^= 0xff;
        Some(bytes)
    }
}

/// A running name server.
pub(crate) struct Nameserver {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Nameserver {
    pub(crate) async fn serve(zone: Zone) -> Self {
        // The same port for both; another program may have one of them.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        let (counted, over_udp) = (Arc::clone(&questions), zone.clone());
        let first = tokio::spawn(async move {
            let mut buffer = [0u8; 512];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let query = Message::from_octets(&buffer[..length]).unwrap();
                if let Some(guess) = over_udp.guessed(&query) {
                    udp.send_to(&guess, from).await.unwrap();
                }
                let mut answer = over_udp.answer(&query);
                if over_udp.cut {
                    answer = Zone::default().answer(&query);
                    answer[2] |= 0x02;
                    answer[3] &= 0xf0;
                }
                udp.send_to(&answer, from).await.unwrap();
            }
        });
        let second = tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0u8; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                let query = Message::from_octets(query.as_slice()).unwrap();
                let answer = zone.answer(&query);
                let length = u16::try_from(answer.len()).unwrap();
                stream.write_u16(length).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self {
            address,
            questions,
            tasks: [first, second],
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}
