//! What an OAuth client needs to know to get a token for this gateway: metadata and challenges.
//!
//! In: which resource is asked for, and the issuers of the bundle. Out: metadata (RFC 9728), and what a 401 or 403 says
//! in `WWW-Authenticate`. Names come from the signed bundle, never from a request: whoever sets `Host` could
//! otherwise send a client to an issuer of their own.
//!
//! Each resource has metadata of its own below the well-known path; the root has none. Some clients drop a configured
//! header once they find any metadata, and look at the root last: for them there are the doors below `/key`, which
//! neither have metadata nor answer with a challenge.

use super::{Refusing, json};
use crate::serve::Gateway;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use countersign_gateway::refusal::{Code, Refusal};
use countersign_tokens::jws::Algorithm;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Metadata of `POST /v1/calls`.
pub(super) async fn of_calls(State(gateway): State<Arc<Gateway>>) -> Response {
    metadata(&gateway, "/v1/calls")
}

/// Metadata of the door to all adapters.
pub(super) async fn of_all(State(gateway): State<Arc<Gateway>>) -> Response {
    metadata(&gateway, "/mcp")
}

/// Metadata of an adapter's door.
pub(super) async fn of_adapter(
    State(gateway): State<Arc<Gateway>>,
    Path(adapter): Path<String>,
) -> Response {
    if !gateway.upstreams.has(&adapter) {
        return StatusCode::NOT_FOUND.into_response();
    }
    metadata(&gateway, &format!("/mcp/{adapter}"))
}

fn metadata(gateway: &Gateway, path: &str) -> Response {
    let issuers = &gateway.engine.content().issuers;
    let Some(resource) = issuers.values().next().map(|i| &i.audience) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let urls: Vec<&str> = issuers.values().map(|i| i.url.as_str()).collect();
    let name = &gateway.engine.content().head.name;
    let described = document(&format!("{resource}{path}"), name, &urls, &scopes(gateway));
    json(StatusCode::OK, described.to_string().into_bytes())
}

/// The metadata of a resource. SPEC: RFC 9728 2, and 3.2: what has no values is left out. Of an empty list of scopes a
/// client makes an empty scope, which its issuer refuses.
fn document(resource: &str, name: &str, issuers: &[&str], scopes: &BTreeSet<&str>) -> Value {
    let mut document = json!({
        "resource": resource,
        "resource_name": name,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": algorithms(),
    });
    if let (Some(members), false) = (document.as_object_mut(), scopes.is_empty()) {
        members.insert("scopes_supported".to_owned(), json!(scopes));
    }
    document
}

/// Algorithms of proofs of possession, by the names that RFC 9449 clients know.
fn algorithms() -> Vec<&'static str> {
    let names: BTreeSet<&str> = Algorithm::NAMES.iter().map(|(_, a)| a.name()).collect();
    names.into_iter().collect()
}

/// Scopes that some issuer's tokens need here.
fn scopes(gateway: &Gateway) -> BTreeSet<&str> {
    let issuers = gateway.engine.content().issuers.values();
    issuers
        .filter_map(|i| i.required_scope.as_deref())
        .collect()
}

/// Tells a client that was refused where to get a token, where that is what it lacks.
pub(super) async fn challenge(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let refusal = response.extensions_mut().remove::<Refusing>();
    let told = refusal.and_then(|Refusing(refusal)| words(&gateway, &path, &refusal));
    if let Some(value) = told.and_then(|words| HeaderValue::from_str(&words).ok()) {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// A challenge. SPEC: RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1.
fn words(gateway: &Gateway, path: &str, refusal: &Refusal) -> Option<String> {
    let issuers = &gateway.engine.content().issuers;
    let resource = issuers.values().next().map(|i| &i.audience)?;
    let is_resource = matches!(path, "/v1/calls" | "/mcp") || path.starts_with("/mcp/");
    if !is_resource {
        return None;
    }
    let mut words = Vec::new();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other refusal is cured by a token"
    )]
    let (scheme, error) = match refusal.code() {
        // A connection may have a certificate for other reasons, and its client a token still to come.
        Code::Unauthenticated | Code::CertificateInvalid => ("Bearer", None),
        Code::TokenInvalid => ("Bearer", Some("invalid_token")),
        Code::InsufficientScope => ("Bearer", Some("insufficient_scope")),
        Code::ProofInvalid => ("DPoP", Some("invalid_dpop_proof")),
        _ => return None,
    };
    if let Some(error) = error {
        words.push(format!("error=\"{error}\""));
        // The reason is one of a closed list of sentences and repeats nothing that was sent.
        let reason = refusal.rule().unwrap_or_default();
        words.push(format!("error_description=\"{reason}\""));
    }
    if scheme == "DPoP" {
        words.push(format!("algs=\"{}\"", algorithms().join(" ")));
    }
    let scopes: Vec<&str> = scopes(gateway).into_iter().collect();
    if !scopes.is_empty() {
        words.push(format!("scope=\"{}\"", scopes.join(" ")));
    }
    words.push(format!(
        "resource_metadata=\"{resource}{WELL_KNOWN}{path}\""
    ));
    Some(format!("{scheme} {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::document;
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn scopes_are_named_where_there_are_any_and_no_list_of_the_metadata_is_empty() {
        let of = |scopes: &[&'static str]| {
            let scopes = BTreeSet::from_iter(scopes.iter().copied());
            document(
                "https://g.example/mcp/a",
                "site",
                &["https://i.example"],
                &scopes,
            )
        };
        assert_eq!(of(&["tools"])["scopes_supported"], json!(["tools"]));
        let none = of(&[]);
        assert_eq!(none.get("scopes_supported"), None);
        let empty = |value: &serde_json::Value| value.as_array().is_some_and(Vec::is_empty);
        assert!(!none.as_object().unwrap().values().any(empty), "{none}");
    }
}
