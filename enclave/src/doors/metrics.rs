//! `GET /metrics`: numbers, as Prometheus reads them.
//!
//! On the gateway's own address for people of group `operator`, who sign their request. On an address that the
//! settings name under `[telemetry]`, and that is on loopback, for whoever is on this machine.

use super::{Taken, text};
use crate::serve::{Gateway, OPERATORS};
use crate::telemetry;
use crate::transport::{Transport, listener};
use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use countersign_gateway::call::Who;
use countersign_gateway::refusal::{Code, Refusal};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Connections at one time of programs that scrape.
const SCRAPERS: usize = 16;

/// `GET /metrics` on the gateway's own address.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    match gateway.recognize(&taken, &gateway.people) {
        Ok(who) if may_read(&gateway, &who) => numbers(&gateway),
        Ok(_) => super::log::refused(&Refusal::never(Code::PolicyDenied)),
        Err(refusal) => super::log::refused(&refusal),
    }
}

fn may_read(gateway: &Gateway, who: &Who) -> bool {
    let person = gateway.engine.content().approvers.get(&who.agent);
    person.is_some_and(|p| p.groups.iter().any(|g| g == OPERATORS))
}

/// Serves the numbers on the address for programs that scrape, if the settings name one.
pub(crate) async fn scrape(gateway: &Arc<Gateway>) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = gateway.telemetry.scrape() else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for telemetry.scrape"))?;
    crate::boot::tracing_line(&format!(
        "metrics at http://{}/metrics",
        listener.local_addr()?
    ));
    let router = Router::new()
        .route("/metrics", get(scraped))
        .with_state(Arc::clone(gateway));
    Ok(Some(tokio::spawn(async move {
        let never = std::future::pending();
        let serving =
            listener::serve(listener, &Transport::Loopback, router, SCRAPERS, never).await;
        if serving.is_err() {
            crate::boot::tracing_line("error: metrics are not served any more");
        }
    })))
}

async fn scraped(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    // A page in a browser must not reach it by rebinding a name.
    let host = text(request.headers(), &header::HOST).unwrap_or_default();
    if Transport::Loopback.is_ours(host) {
        numbers(&gateway)
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn numbers(gateway: &Gateway) -> Response {
    let head = [(header::CONTENT_TYPE, telemetry::MEDIA_TYPE)];
    (head, telemetry::text(gateway)).into_response()
}
