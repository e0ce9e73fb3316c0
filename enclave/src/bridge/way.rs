//! The way to the gateway: connections whose other end was appraised, and requests over them, each signed.
//!
//! In: a request. Out: its answer, whose body is still to come; or why there is none, and whether the request can have
//! left. Nothing is sent twice: only what no connection has taken goes over another one.
//! SPEC: RFC 9421 as `docs/http.md` narrows it; `docs/decisions/0027-attested-tls.md`.

use crate::clock::Clock;
use crate::keys::{public, random};
use crate::transport::attested::{self, Sender};
use crate::transport::reach::Target;
use anyhow::Context as _;
use bytes::Bytes;
use countersign_record::digest::UnixMillis;
use countersign_signatures::http::{
    Header, HttpRequest, SigningParameters, UnixSeconds, sign_request,
};
use countersign_verify::counterpart::Counterpart;
use countersign_verify::trust::Trust;
use ed25519_dalek::{Signer as _, SigningKey};
use http::Method;
use http_body_util::Full;
use hyper::body::Incoming;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};
use thiserror::Error;

/// Idle connections that are kept. Each carries one request at a time.
const MAX_IDLE: usize = 16;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum WayError {
    /// Nothing was sent.
    #[error("{0:#}")]
    NotSent(anyhow::Error),
    /// It was sent, and the connection broke.
    #[error(
        "the connection to the gateway broke; whether the request was carried out is not known"
    )]
    Broke,
}

/// Who is at the other end, and how that is known.
#[derive(Debug)]
pub enum Trusting {
    /// By its evidence, under this trust, on each connection.
    Evidence(Box<Trust>),
    /// Not at all: on this machine, in the clear, because that was asked for.
    Loopback,
}

/// How to reach a gateway, and as whom.
pub struct Way {
    url: String,
    path: String,
    ca: Option<PathBuf>,
    trusting: Trusting,
    key: SigningKey,
    key_id: String,
    clock: Clock,
    idle: Mutex<Vec<Sender>>,
    told: Once,
    tell: fn(&Counterpart),
}

/// A request, before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Names in lower case.
    pub(super) headers: Vec<(Cow<'static, str>, String)>,
    pub(super) body: Bytes,
}

/// An answer, and what it came over.
pub(super) struct Answer {
    pub(super) response: http::Response<Incoming>,
    sender: Sender,
}

impl Way {
    /// A way to `gateway`, an address with a path. `tell` is told once who is there.
    ///
    /// # Errors
    /// If the address is none, or not one that `trusting` is for.
    pub fn new(
        gateway: &str,
        ca: Option<PathBuf>,
        trusting: Trusting,
        key: SigningKey,
        tell: fn(&Counterpart),
    ) -> anyhow::Result<Self> {
        let (url, path) = split(gateway)?;
        let target = Target::parse(&url, ca.as_deref())?;
        match (&target, &trusting) {
            (Target::Tls { .. }, Trusting::Evidence(_)) => (),
            (Target::Plain { .. }, Trusting::Loopback) if target.is_loopback() => (),
            (Target::Plain { .. }, Trusting::Loopback) => anyhow::bail!(
                "{url} is not on this machine: in the clear anybody on the way reads and changes what is said"
            ),
            (Target::Plain { .. }, Trusting::Evidence(_)) => anyhow::bail!(
                "{url} is in the clear: nobody can vouch for where it ends; use https, or --plain-http without --trust on this machine"
            ),
            (Target::Tls { .. }, Trusting::Loopback) => {
                anyhow::bail!(
                    "--plain-http is for http:// alone; over https, --trust says whom to believe"
                )
            }
        }
        Ok(Self {
            key_id: public(&key).id().to_string(),
            url,
            path,
            ca,
            trusting,
            key,
            clock: Clock::start(),
            idle: Mutex::default(),
            told: Once::new(),
            tell,
        })
    }

    /// Sends a request, signed; its answer.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, WayError> {
        let target = self.target().map_err(WayError::NotSent)?;
        let mut request = self.signed(&target, ask).map_err(WayError::NotSent)?;
        loop {
            let (mut sender, fresh) = match self.kept() {
                Some(sender) => (sender, false),
                None => (
                    self.connect(&target).await.map_err(WayError::NotSent)?,
                    true,
                ),
            };
            if sender.ready().await.is_err() && !fresh {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Answer { response, sender }),
                Err(mut error) => match error.take_message() {
                    // A kept connection that the gateway has ended meanwhile took nothing.
                    Some(unsent) if !fresh => request = unsent,
                    Some(_) => {
                        let error = anyhow::Error::from(error.into_error());
                        return Err(WayError::NotSent(
                            error.context("the gateway ended the connection"),
                        ));
                    }
                    None => return Err(WayError::Broke),
                },
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    fn target(&self) -> anyhow::Result<Target<'_>> {
        Target::parse(&self.url, self.ca.as_deref())
    }

    async fn connect(&self, target: &Target<'_>) -> anyhow::Result<Sender> {
        match &self.trusting {
            Trusting::Loopback => attested::speak(target.connect().await?.wire).await,
            Trusting::Evidence(trust) => {
                let attested = attested::connect(target, trust, self.now()).await;
                let attested = attested.context("nothing was said to whoever is there")?;
                self.told.call_once(|| (self.tell)(&attested.counterpart));
                Ok(attested.sender)
            }
        }
    }

    fn now(&self) -> UnixMillis {
        self.clock.now().at
    }

    fn signed(&self, target: &Target<'_>, ask: &Ask) -> anyhow::Result<http::Request<Full<Bytes>>> {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        let authority = target.authority();
        let fields = ask
            .headers
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()));
        let fields = fields.chain([("host", authority)]);
        let headers: Vec<Header<'_>> = fields
            .clone()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let presented = HttpRequest {
            method: ask.method.as_str(),
            scheme: target.scheme(),
            authority,
            path,
            query,
            headers: &headers,
            body: &ask.body,
        };
        let parameters = SigningParameters {
            key_id: &self.key_id,
            // Rounded up: a gateway refuses signatures of the second in which its epoch opened.
            created: UnixSeconds(self.now().0.div_ceil(1000)),
            expires: None,
            nonce: &hex::encode(*random::<16>()?),
        };
        let signed = sign_request(&presented, &parameters, |message| {
            self.key.sign(message).to_bytes()
        })?;
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(&self.path);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        request
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature)
            .body(Full::new(ask.body.clone()))
            .context("the request cannot be written")
    }
}

impl Answer {
    /// The body, and what keeps the connection.
    pub(super) fn open(self) -> (http::response::Parts, Incoming, Sender) {
        let (parts, body) = self.response.into_parts();
        (parts, body, self.sender)
    }
}

/// Address and path.
fn split(gateway: &str) -> anyhow::Result<(String, String)> {
    let rest = gateway.split_once("://").map(|(_, rest)| rest);
    let slash = rest.and_then(|rest| rest.find('/'));
    let none = || {
        format!(
            "{gateway} is not an address with a path, such as https://gateway.example:8480/mcp/customers"
        )
    };
    let (rest, slash) = rest.zip(slash).with_context(none)?;
    let (authority, path) = rest.split_at(slash);
    let scheme = gateway.strip_suffix(rest).unwrap_or_default();
    let plain = path.len() > 1 && path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains('#');
    anyhow::ensure!(plain, none());
    Ok((format!("{scheme}{authority}"), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(gateway: &str, ca: bool, trusting: Trusting) -> Result<(), String> {
        let ca = ca.then(|| PathBuf::from("ca.pem"));
        let key = SigningKey::from_bytes(&[7; 32]);
        let way = Way::new(gateway, ca, trusting, key, |_| ());
        way.map(drop).map_err(|e| e.to_string())
    }

    fn evidence() -> Trusting {
        Trusting::Evidence(Box::new(Trust::parse(b"version = 1").unwrap()))
    }

    #[test]
    fn an_address_has_a_path() {
        assert_eq!(
            split("https://a:1/mcp/b?c=d").unwrap(),
            ("https://a:1".to_owned(), "/mcp/b?c=d".to_owned())
        );
        for address in [
            "https://a:1",
            "https://a:1/",
            "a:1/mcp",
            "https://a:1/mcp b",
            "https://a/b#c",
        ] {
            assert!(split(address).is_err(), "{address}");
        }
    }

    #[test]
    fn there_is_no_way_but_by_evidence_or_in_the_clear_on_this_machine_where_asked_for() {
        assert_eq!(way("https://a:1/mcp/x", true, evidence()), Ok(()));
        for host in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
            assert_eq!(
                way(&format!("http://{host}/mcp/x"), false, Trusting::Loopback),
                Ok(())
            );
        }
        for (gateway, ca, trusting) in [
            ("https://a:1/mcp/x", true, Trusting::Loopback),
            ("https://a:1/mcp/x", false, evidence()),
            ("http://127.0.0.1:1/mcp/x", false, evidence()),
            ("http://127.0.0.1:1/mcp/x", true, Trusting::Loopback),
            ("http://gateway.example:1/mcp/x", false, Trusting::Loopback),
            (
                "http://127.0.0.1.example:1/mcp/x",
                false,
                Trusting::Loopback,
            ),
            ("ftp://127.0.0.1:1/mcp/x", false, Trusting::Loopback),
        ] {
            assert!(way(gateway, ca, trusting).is_err(), "{gateway}");
        }
    }
}
