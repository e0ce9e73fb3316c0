//! `GET /v1/tools`: whether each tool is still the one that was registered.
//!
//! For people of group `operator`. A tool that says something else of itself than the signed bundle pins is held; here a
//! person sees which, and with `?capability=ID` both texts. Looking releases nothing: that takes a bundle which pins
//! what is listed now, signed as every bundle is.

use super::Taken;
use super::people::{Answer, answer, no, signed_request};
use crate::serve::{Gateway, OPERATORS};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign_gateway::surface::Observed;
use countersign_policies::Capability;
use countersign_policies::site::method::Method;
use serde_json::{Value, json as object};
use std::sync::Arc;

pub(super) async fn tools(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    if let Err(refused) = signed_request(&gateway, &taken, &[OPERATORS]) {
        return answer(Err(refused));
    }
    answer(asked(&gateway, taken.query.as_deref()))
}

fn asked(gateway: &Gateway, query: Option<&str>) -> Answer {
    let content = gateway.engine.content();
    let tools = match query.filter(|q| !q.is_empty()) {
        None => {
            let tools = content.capabilities.values();
            let tools = tools.filter(|c| c.method == Method::CallTool);
            tools.map(|c| state(gateway, c)).collect()
        }
        // Ids of capabilities have nothing that a query would have to escape.
        Some(query) => {
            let id = query.strip_prefix("capability=");
            let id = id.ok_or_else(|| no(StatusCode::BAD_REQUEST, "ask for capability=ID"))?;
            let tool = content.capabilities.get(id);
            let tool = tool.filter(|c| c.method == Method::CallTool);
            let tool = tool.ok_or_else(|| no(StatusCode::NOT_FOUND, "there is no such tool"))?;
            vec![with_texts(gateway, tool)]
        }
    };
    Ok(object!({
        "bundle": { "name": content.head.name, "version": content.head.version },
        "tools": tools,
    }))
}

/// How it stands with a tool. These words are shown as they are.
fn word(observed: Observed, capability: &Capability) -> &'static str {
    match observed {
        Observed::Descriptor(digest) if digest == capability.descriptor => "served",
        Observed::Descriptor(_) => "changed",
        Observed::Unlisted => "gone",
        Observed::Unreachable => "unreachable",
        Observed::Barred => "barred",
        Observed::Untrusted => "untrusted",
        Observed::Unsandboxed => "unsandboxed",
    }
}

fn state(gateway: &Gateway, capability: &Capability) -> Value {
    let observed = gateway.upstreams.observe(capability);
    let listed = match observed {
        Observed::Descriptor(digest) => Some(digest.to_string()),
        Observed::Unlisted
        | Observed::Unreachable
        | Observed::Barred
        | Observed::Untrusted
        | Observed::Unsandboxed => None,
    };
    object!({
        "capability": capability.id,
        "state": word(observed, capability),
        "pinned": capability.descriptor.to_string(),
        "listed": listed,
    })
}

fn with_texts(gateway: &Gateway, capability: &Capability) -> Value {
    let mut out = state(gateway, capability);
    let pinned = capability
        .pinned
        .as_ref()
        .map(|raw| raw.descriptor().clone());
    let listing = gateway.upstreams.listing(&capability.adapter);
    let listed = listing.and_then(|l| l.tools.get(&capability.tool).map(|t| t.descriptor.clone()));
    let text =
        |bytes: Option<bytes::Bytes>| bytes.map(|b| String::from_utf8_lossy(&b).into_owned());
    if let Some(members) = out.as_object_mut() {
        members.insert("pinned_text".to_owned(), object!(text(pinned)));
        members.insert("listed_text".to_owned(), object!(text(listed)));
    }
    out
}
