//! The command line's own HTTP requests, signed as a person's (RFC 9421), over TLS or on loopback in the clear.

use crate::keys::{public, random};
use crate::transport::reach::Target;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use countersign_signatures::http::{
    Header, HttpRequest, SigningParameters, UnixSeconds, sign_request,
};
use ed25519_dalek::{Signer as _, SigningKey};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::path::PathBuf;

/// Which gateway, and how to know it.
#[derive(Debug, Clone, Args)]
pub(super) struct Reach {
    /// The gateway, such as https://gateway.example:8480 or http://127.0.0.1:8480.
    #[arg(long)]
    url: String,
    /// PEM file of certificates that an https gateway's own must lead to; needed for https, and for nothing else.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Reach {
    /// What is said of the gateway, read.
    pub(super) fn target(&self) -> anyhow::Result<Target<'_>> {
        Target::parse(&self.url, self.ca.as_deref())
    }
}

/// A request to make.
pub(super) struct Ask<'a> {
    /// `GET` or `POST`.
    pub(super) method: &'static str,
    /// Path, without a query.
    pub(super) path: &'a str,
    /// Query, without its question mark.
    pub(super) query: Option<&'a str>,
    /// Body.
    pub(super) body: Vec<u8>,
    /// Who signs it.
    pub(super) key: Option<&'a SigningKey>,
}

/// Sends a request to a gateway and gives the response, whose status is a success.
pub(super) async fn ask(reach: &Reach, ask: Ask<'_>) -> anyhow::Result<http::Response<Incoming>> {
    let target = reach.target()?;
    let authority = target.authority();
    let mut request = http::Request::builder()
        .method(ask.method)
        .uri(match ask.query {
            Some(query) => format!("{}?{query}", ask.path),
            None => ask.path.to_owned(),
        })
        .header("host", authority);
    if let Some(key) = ask.key {
        for (name, value) in signature(&target, &ask, key)? {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::new(Bytes::from(ask.body)))?;
    let stream = target.connect().await?.wire;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let response = response.with_context(|| match target {
        Target::Plain { .. } => format!("{authority} does not answer in plain HTTP; is it https?"),
        Target::Tls { .. } => format!("{authority} does not answer in HTTP"),
    })?;
    if !response.status().is_success() {
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        bail!(
            "the gateway answers {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(response)
}

/// Like [`ask`], with the whole body read as JSON.
pub(super) async fn ask_json(reach: &Reach, what: Ask<'_>) -> anyhow::Result<serde_json::Value> {
    let body = ask(reach, what)
        .await?
        .into_body()
        .collect()
        .await?
        .to_bytes();
    serde_json::from_slice(&body).context("the gateway's answer is not JSON")
}

fn signature(
    target: &Target<'_>,
    ask: &Ask<'_>,
    key: &SigningKey,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let authority = target.authority();
    let headers = [Header {
        name: "host",
        value: authority.as_bytes(),
    }];
    let request = HttpRequest {
        method: ask.method,
        scheme: target.scheme(),
        authority,
        path: ask.path,
        query: ask.query,
        headers: &headers,
        body: &ask.body,
    };
    let key_id = public(key).id().to_string();
    let nonce = hex::encode(*random::<16>()?);
    // Rounded up: a gateway refuses signatures of the second in which its epoch opened, because it
    // cannot know which of them the epoch before has seen.
    let created = UnixSeconds(crate::clock::Clock::start().now().at.0.div_ceil(1000));
    let parameters = SigningParameters {
        key_id: &key_id,
        created,
        expires: None,
        nonce: &nonce,
    };
    let signed = sign_request(&request, &parameters, |message| {
        key.sign(message).to_bytes()
    })?;
    Ok(vec![
        ("content-digest", signed.content_digest),
        ("signature-input", signed.signature_input),
        ("signature", signed.signature),
    ])
}

/// Runs a future to its end, for commands that make a few requests.
pub(super) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}
