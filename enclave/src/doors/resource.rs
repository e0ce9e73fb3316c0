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
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    Algorithm::NAMES.iter().map(|(name, _)| *name).collect()
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
    let shown = Shown::of(request.headers());
    let mut response = next.run(request).await;
    let refusal = response.extensions_mut().remove::<Refusing>();
    let told = refusal.map(|Refusing(refusal)| words(&gateway, &path, shown, &refusal));
    for words in told.unwrap_or_default() {
        if let Ok(value) = HeaderValue::from_str(&words) {
            response
                .headers_mut()
                .append(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// How a request shows a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// It shows none.
    None,
    /// As whoever has it.
    Bearer,
    /// As who holds its key.
    Proved,
}

impl Shown {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Self::None;
        };
        let (scheme, _) = value
            .to_str()
            .unwrap_or_default()
            .split_once(' ')
            .unwrap_or_default();
        match scheme.eq_ignore_ascii_case("dpop") {
            true => Self::Proved,
            false => Self::Bearer,
        }
    }
}

/// Schemes and error of what a caller is told. SPEC: RFC 6750 3.1: who shows nothing is told of no error; RFC 9449 7.1.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other refusal is cured by a token"
)]
fn error(code: Code, shown: Shown) -> Option<(&'static [&'static str], Option<&'static str>)> {
    let scheme: &[&str] = match shown {
        Shown::None | Shown::Bearer => &["Bearer"],
        Shown::Proved => &["DPoP"],
    };
    Some(match code {
        Code::Unauthenticated if shown != Shown::None => (scheme, Some("invalid_token")),
        // A connection may have a certificate for other reasons, and its client a token still to come. Clients that know
        // one scheme alone look at the first challenge.
        Code::Unauthenticated | Code::CertificateInvalid => (&["Bearer", "DPoP"], None),
        Code::TokenInvalid => (scheme, Some("invalid_token")),
        Code::InsufficientScope => (scheme, Some("insufficient_scope")),
        Code::ProofInvalid => (&["DPoP"], Some("invalid_dpop_proof")),
        _ => return None,
    })
}

/// The challenges, one for each scheme. SPEC: RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1.
fn words(gateway: &Gateway, path: &str, shown: Shown, refusal: &Refusal) -> Vec<String> {
    let issuers = &gateway.engine.content().issuers;
    let resource = issuers.values().next().map(|i| &i.audience);
    let is_resource = matches!(path, "/v1/calls" | "/mcp") || path.starts_with("/mcp/");
    let (Some(resource), true, Some((schemes, error))) =
        (resource, is_resource, error(refusal.code(), shown))
    else {
        return Vec::new();
    };
    // The reason is one of a closed list of sentences and repeats nothing that was sent.
    let reason = refusal.rule().filter(|_| error.is_some());
    let scopes: Vec<&str> = scopes(gateway).into_iter().collect();
    let of = |scheme: &&str| {
        let said = [
            error.map(|error| format!("error=\"{error}\"")),
            reason.map(|reason| format!("error_description=\"{reason}\"")),
            (*scheme == "DPoP").then(|| format!("algs=\"{}\"", algorithms().join(" "))),
            (!scopes.is_empty()).then(|| format!("scope=\"{}\"", scopes.join(" "))),
            Some(format!(
                "resource_metadata=\"{resource}{WELL_KNOWN}{path}\""
            )),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        format!("{scheme} {}", said.join(", "))
    };
    schemes.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::{Shown, document, error};
    use axum::http::{HeaderMap, HeaderValue, header};
    use countersign_gateway::refusal::Code;
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

    #[test]
    fn who_shows_a_token_is_told_of_an_error_in_its_own_scheme_and_who_shows_none_of_no_error() {
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            Shown::of(&headers)
        };
        assert_eq!(Shown::of(&HeaderMap::new()), Shown::None);
        assert_eq!(shown("Bearer a"), Shown::Bearer);
        assert_eq!(shown("dPoP a"), Shown::Proved);
        assert_eq!(shown("x"), Shown::Bearer);
        let invalid = Some("invalid_token");
        let (both, bearer, proved): (&[&str], &[&str], &[&str]) =
            (&["Bearer", "DPoP"], &["Bearer"], &["DPoP"]);
        for (code, of, expected) in [
            (Code::Unauthenticated, Shown::None, (both, None)),
            (Code::Unauthenticated, Shown::Bearer, (bearer, invalid)),
            (Code::Unauthenticated, Shown::Proved, (proved, invalid)),
            (Code::TokenInvalid, Shown::Bearer, (bearer, invalid)),
            (Code::TokenInvalid, Shown::Proved, (proved, invalid)),
        ] {
            assert_eq!(error(code, of), Some(expected));
        }
        assert_eq!(error(Code::PolicyDenied, Shown::Bearer), None);
    }
}
