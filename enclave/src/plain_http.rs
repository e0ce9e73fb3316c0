//! One request to a program of somebody else, over plain HTTP.
//!
//! In: bytes to send. Out: a status and a bounded body, or why there is none, within a bounded
//! time. Whoever asks for something over this has to verify what comes: the wire is the operator's.
//! Redirects are not followed; a status is a status.

use bytes::Bytes;
use countersign_policies::site::settings::PlainAddress;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use thiserror::Error;

/// How long a kept connection may lie idle.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// No connection, or it broke.
    #[error("cannot be reached")]
    Unreachable,
    /// The time was up.
    #[error("does not answer in time")]
    Timeout,
    /// It broke off, or is longer than it may be.
    #[error("gives an answer that is none")]
    Malformed,
}

/// What is sent, and how much may come back.
pub struct Message<'a> {
    /// Path, from its first slash.
    pub path: &'a str,
    /// Media type.
    pub media_type: &'static str,
    /// What is sent.
    pub body: Vec<u8>,
    /// Longest answer, in bytes.
    pub limit: usize,
}

/// Sends to one address.
pub struct PlainHttp {
    authority: String,
    client: Client<HttpConnector, Full<Bytes>>,
    wait: Duration,
}

impl PlainHttp {
    /// For one address; waits so long for each answer, all of it.
    #[must_use]
    pub fn new(address: &PlainAddress, wait: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(wait));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Self {
            authority: address.authority.clone(),
            client,
            wait,
        }
    }

    /// Sends a `POST`; gives status and body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post(&self, message: Message<'_>) -> Result<(u16, Bytes), NoAnswer> {
        let Message {
            path,
            media_type,
            body,
            limit,
        } = message;
        let request = http::Request::builder()
            .method(http::Method::POST)
            .uri(format!("http://{}{path}", self.authority))
            .header(http::header::CONTENT_TYPE, media_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| NoAnswer::Unreachable)?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|_| NoAnswer::Unreachable)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), limit)
                .collect()
                .await
                .map_err(|_| NoAnswer::Malformed)?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(self.wait, exchange)
            .await
            .unwrap_or(Err(NoAnswer::Timeout))
    }
}
