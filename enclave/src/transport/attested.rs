//! A connection to a gateway whose other end was appraised before anything was said to it.
//!
//! In: a [`Target`] over TLS, and what the client trusts. Out: an [`Attested`], which sends requests, and knows whom
//! to. What it asks first tells nobody anything: a challenge, made anew for each connection.
//! SPEC: `docs/decisions/0027-attested-tls.md`. The checks are the verifier's ([`Counterpart`]).

use super::reach::Target;
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_record::digest::{ChannelBinding, Nonce, UnixMillis};
use countersign_verify::counterpart::{Asked, Counterpart, Shown};
use countersign_verify::trust::Trust;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::time::Duration;

/// Longest answer that is read here, in bytes (4 MiB). Evidence, base and fleet statement take some 20 KiB; an event
/// log of a device some 100 KiB more, and so do answers and lists of a processor's vendor, each in base64.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Most pieces of evidence that are looked at. No profile has more than two.
const MAX_PIECES: usize = 8;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often fresh evidence is asked for, where others ask at the same time.
const TRIES: u32 = 20;

/// Time between them. A gateway gives fresh evidence once in 200 ms.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What requests are sent with.
pub type Sender = SendRequest<Full<Bytes>>;

/// A connection, and who is at its other end.
pub struct Attested {
    /// Sends requests to nobody else.
    pub sender: Sender,
    /// The gateway there.
    pub counterpart: Counterpart,
}

#[derive(Deserialize)]
struct Answer {
    statement: String,
    base: String,
    evidence: Vec<String>,
    fleet: Option<String>,
}

#[derive(Deserialize)]
struct Fresh {
    statement: String,
    evidence: String,
}

/// Connects, and appraises who is there.
///
/// # Errors
/// If nobody is there, or not whom the trust allows.
pub async fn connect(
    target: &Target<'_>,
    trust: &Trust,
    now: UnixMillis,
) -> anyhow::Result<Attested> {
    let reached = target.connect().await?;
    let channel = reached
        .channel
        .context("a connection in the clear ends wherever somebody on the way likes")?;
    let mut sender = speak(reached.wire).await?;
    let counterpart = appraise(&mut sender, target, trust, channel, now).await?;
    Ok(Attested {
        sender,
        counterpart,
    })
}

/// Begins to speak HTTP.
///
/// # Errors
/// If the connection broke.
pub async fn speak(wire: Box<dyn super::reach::Wire>) -> anyhow::Result<Sender> {
    let (sender, connection) = handshake(TokioIo::new(wire)).await?;
    // It ends with the sender; how, is told to whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

async fn appraise(
    sender: &mut Sender,
    target: &Target<'_>,
    trust: &Trust,
    channel: ChannelBinding,
    now: UnixMillis,
) -> anyhow::Result<Counterpart> {
    let nonce = Nonce(*crate::keys::random::<32>()?);
    let answer: Answer = ask(
        sender,
        target,
        &format!("/attestation/connection?nonce={nonce}"),
    )
    .await?
    .context("the gateway was asked too often")?;
    let fleet = answer.fleet.as_deref().map(decoded).transpose()?;
    ensure!(
        answer.evidence.len() <= MAX_PIECES,
        "whoever is there shows {} pieces of evidence, no gateway has more than {MAX_PIECES}",
        answer.evidence.len()
    );
    let evidence = answer.evidence.iter().map(|piece| decoded(piece));
    let evidence = evidence.collect::<anyhow::Result<Vec<_>>>()?;
    let evidence: Vec<&[u8]> = evidence.iter().map(Vec::as_slice).collect();
    let shown = Shown {
        statement: &decoded(&answer.statement)?,
        base: &decoded(&answer.base)?,
        evidence: &evidence,
        fleet: fleet.as_deref(),
    };
    let asked = Asked {
        nonce,
        channel,
        now,
    };
    let counterpart = Counterpart::appraise(&shown, trust, &asked)?;
    if trust.log.max_age_seconds.is_some() {
        // Whoever says how old the hardware's last word may be gets one of this moment.
        alive(sender, target, &counterpart, trust, now).await?;
    }
    Ok(counterpart)
}

/// Has the hardware vouch for the epoch once more.
async fn alive(
    sender: &mut Sender,
    target: &Target<'_>,
    counterpart: &Counterpart,
    trust: &Trust,
    now: UnixMillis,
) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let nonce = Nonce(*crate::keys::random::<32>()?);
        let path = format!("/attestation?nonce={nonce}");
        if let Some(Fresh {
            statement,
            evidence,
        }) = ask(sender, target, &path).await?
        {
            let (statement, evidence) = (decoded(&statement)?, decoded(&evidence)?);
            return Ok(counterpart.is_alive(&statement, &evidence, nonce, trust, now)?);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    bail!("the gateway gives no fresh evidence: others ask all the time")
}

/// Asks; nothing if it was asked too often.
async fn ask<T: serde::de::DeserializeOwned>(
    sender: &mut Sender,
    target: &Target<'_>,
    path: &str,
) -> anyhow::Result<Option<T>> {
    let request = http::Request::get(path)
        .header(http::header::HOST, target.authority())
        .body(Full::new(Bytes::new()))?;
    let exchange = async {
        sender.ready().await?;
        let response: http::Response<Incoming> = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = body.map_err(|_| {
            anyhow::anyhow!("the gateway's evidence breaks off, or is longer than any")
        })?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let exchanged = tokio::time::timeout(PATIENCE, exchange).await;
    let (status, body) = exchanged.context("the gateway shows no evidence in time")??;
    if status == http::StatusCode::TOO_MANY_REQUESTS {
        return Ok(None);
    }
    ensure!(
        status.is_success(),
        "whoever is there shows no evidence, but answers {status}"
    );
    serde_json::from_slice(&body)
        .map(Some)
        .context("whoever is there shows no evidence")
}

fn decoded(text: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = STANDARD.decode(text);
    bytes.map_err(|_| anyhow::anyhow!("whoever is there shows something that is no base64"))
}
