//! Connections of an upstream over HTTP: each goes to the one place that its adapter names.

use super::tls::UpstreamHandshake;
use super::{Guard, Refused};
use anyhow::Context as _;
use countersign_adapters::{Barred, Dial, DialError, Dialled, Dialling, Met};
use countersign_policies::site::people::HttpUpstream;
use std::sync::Arc;

/// The way to one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamDial(Arc<Way>);

#[derive(Debug)]
struct Way {
    guard: Arc<Guard>,
    upstream: HttpUpstream,
    handshake: Option<UpstreamHandshake>,
}

impl UpstreamDial {
    /// # Errors
    /// If the roots cannot be read, or its name could never be resolved.
    pub fn new(guard: Arc<Guard>, upstream: HttpUpstream) -> anyhow::Result<Self> {
        anyhow::ensure!(
            guard.can_resolve() || !upstream.reaches.names_any(),
            "{} has to be resolved, and countersign.toml names no name server: [egress] nameservers",
            upstream.endpoint
        );
        let handshake = upstream
            .tls
            .as_ref()
            .map(|tls| UpstreamHandshake::new(upstream.endpoint.host(), tls))
            .transpose()
            .with_context(|| format!("{}: roots", upstream.endpoint))?;
        Ok(Self(Arc::new(Way {
            guard,
            upstream,
            handshake,
        })))
    }
}

impl Dial for UpstreamDial {
    fn dial(&self) -> Dialling {
        let way = Arc::clone(&self.0);
        Box::pin(async move { way.go().await })
    }
}

impl Way {
    async fn go(&self) -> Result<Dialled, DialError> {
        let HttpUpstream {
            endpoint, reaches, ..
        } = &self.upstream;
        let mut met = Met {
            destination: endpoint.to_string(),
            address: None,
            certificate: None,
            refused: None,
        };
        let connected = self.guard.connect(endpoint, reaches).await;
        let (stream, address) = connected.map_err(|why| failed(met.clone(), why))?;
        met.address = Some(address);
        let Some(handshake) = &self.handshake else {
            return Ok(Dialled {
                wire: Box::new(stream),
                met,
            });
        };
        let (stream, certificate) = handshake
            .shake(stream)
            .await
            .map_err(|why| failed(met.clone(), why))?;
        met.certificate = Some(certificate);
        Ok(Dialled {
            wire: Box::new(stream),
            met,
        })
    }
}

fn failed(met: Met, why: Refused) -> DialError {
    let met = Met {
        refused: Some(why.name()),
        ..met
    };
    let barred: Option<Barred> = why.barred();
    match barred {
        Some(barred) => DialError::Barred { barred, met },
        None => DialError::Unreachable(met),
    }
}
