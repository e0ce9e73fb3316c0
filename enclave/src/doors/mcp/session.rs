//! What a client hears without a call: GET and DELETE of clients with sessions, and
//! `subscriptions/listen` of those without.

use super::{Place, SESSION, lists, reply, stream};
use crate::doors::{Taken, text};
use crate::serve::Gateway;
use crate::talk::{self, Principal};
use crate::upstreams::Change;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use countersign_adapters::Event;
use countersign_gateway::call::Who;
use countersign_gateway::mcp::Filter;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// How many notices may wait for a client that reads slowly.
const NOTICES: usize = 64;

pub(in crate::doors) async fn listen(
    State(gateway): State<Arc<Gateway>>,
    Path(adapter): Path<String>,
    request: HttpRequest,
) -> Response {
    match Place::of(&gateway, adapter) {
        Some(place) => hear(&gateway, &place, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(in crate::doors) async fn listen_joint(
    State(gateway): State<Arc<Gateway>>,
    request: HttpRequest,
) -> Response {
    hear(&gateway, &Place::Joint, request).await
}

pub(in crate::doors) async fn close(
    State(gateway): State<Arc<Gateway>>,
    Path(adapter): Path<String>,
    request: HttpRequest,
) -> Response {
    match Place::of(&gateway, adapter) {
        Some(place) => end(&gateway, &place, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(in crate::doors) async fn close_joint(
    State(gateway): State<Arc<Gateway>>,
    request: HttpRequest,
) -> Response {
    end(&gateway, &Place::Joint, request).await
}

/// The stream of a session. SPEC: 2025-11-25, "Listening for Messages from the Server".
async fn hear(gateway: &Gateway, place: &Place, request: HttpRequest) -> Response {
    let (taken, who) = match known(gateway, request).await {
        Ok(known) => known,
        Err(response) => return response,
    };
    let Some(session) = text(&taken.headers, &SESSION) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let of = Principal::of(&who);
    match gateway.sessions.listen(session, &of, place.adapter()) {
        Ok(notices) => stream::response(None, notices, std::future::ready(None)),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn end(gateway: &Gateway, place: &Place, request: HttpRequest) -> Response {
    let (taken, who) = match known(gateway, request).await {
        Ok(known) => known,
        Err(response) => return response,
    };
    let Some(session) = text(&taken.headers, &SESSION) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let of = Principal::of(&who);
    match gateway.sessions.close(session, &of, place.adapter()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn known(gateway: &Gateway, request: HttpRequest) -> Result<(Taken, Who), Response> {
    let taken = Taken::from(request).await?;
    match gateway.recognize(&taken, &gateway.callers) {
        Ok(who) => Ok((taken, who)),
        Err(refusal) => Err(reply::unknown_caller("null", &refusal)),
    }
}

/// Whether a request names a session that is not there; one that names none needs none.
pub(super) fn is_gone(gateway: &Gateway, taken: &Taken, who: &Who, place: &Place) -> bool {
    let of = Principal::of(who);
    text(&taken.headers, &SESSION)
        .is_some_and(|session| gateway.sessions.of(session, &of, place.adapter()).is_err())
}

/// A stream of changes. SPEC: 2026-07-28, "Subscriptions".
pub(super) fn subscribe(
    gateway: &Gateway,
    who: &Who,
    place: &Place,
    id: &str,
    filter: Filter,
) -> Response {
    let filter = lists::heard(gateway, who, place, filter);
    let mut agreed = serde_json::Map::new();
    for (name, wanted) in [
        ("toolsListChanged", filter.tools),
        ("promptsListChanged", filter.prompts),
        ("resourcesListChanged", filter.resources),
    ] {
        if wanted {
            agreed.insert(name.to_owned(), json!(true));
        }
    }
    let agreed = serde_json::Value::Object(agreed);
    let ours = format!("{{\"io.modelcontextprotocol/subscriptionId\":{id}}}");
    let acknowledged = format!("{{\"_meta\":{ours},\"notifications\":{agreed}}}");
    let first = talk::notification(
        "notifications/subscriptions/acknowledged",
        acknowledged.as_bytes(),
    );
    let (notices, heard) = mpsc::channel(NOTICES);
    let wanted = Wanted {
        of: Principal::of(who),
        adapter: place.adapter().map(str::to_owned),
        filter,
        params: format!("{{\"_meta\":{ours}}}"),
    };
    tokio::spawn(pass_on(gateway.upstreams.changes(), wanted, notices));
    stream::response(Some(first), heard, std::future::ready(None))
}

struct Wanted {
    of: Principal,
    adapter: Option<String>,
    filter: Filter,
    /// Of each notice.
    params: String,
}

impl Wanted {
    /// The notice of a change, if it is one that the client wants.
    fn notice(&self, change: &Change) -> Option<Bytes> {
        let here = self.adapter.as_ref().is_none_or(|a| *a == change.adapter);
        let theirs = change.of.as_ref().is_none_or(|of| *of == self.of);
        let what = match change.event {
            Event::ToolsChanged if self.filter.tools => "tools",
            Event::PromptsChanged if self.filter.prompts => "prompts",
            Event::ResourcesChanged if self.filter.resources => "resources",
            Event::ToolsChanged
            | Event::PromptsChanged
            | Event::ResourcesChanged
            | Event::ResourceUpdated(_) => return None,
        };
        let method = format!("notifications/{what}/list_changed");
        (here && theirs).then(|| talk::notification(&method, self.params.as_bytes()))
    }
}

/// Tells changes until the client is gone, or the gateway.
async fn pass_on(
    mut changes: broadcast::Receiver<Change>,
    wanted: Wanted,
    notices: mpsc::Sender<Bytes>,
) {
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = notices.closed() => return,
        };
        match change {
            Ok(change) => {
                if let Some(notice) = wanted.notice(&change) {
                    // Who reads too slowly misses one; each says only that something changed.
                    drop(notices.try_send(notice));
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
