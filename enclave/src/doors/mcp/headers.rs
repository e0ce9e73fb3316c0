//! Headers that repeat the body: they have to agree with it, and decide nothing.
//!
//! SPEC: Model Context Protocol 2026-07-28, Streamable HTTP, "Request Metadata".

use super::{Asking, Place};
use crate::doors::{Taken, text};
use crate::serve::Gateway;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_gateway::mcp::{Call, Era, Method};

pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Compares. In the revision with sessions these headers are not needed, and are compared where they are.
pub(super) fn compare(
    gateway: &Gateway,
    taken: &Taken,
    asking: &Asking,
    method: &Method,
) -> Result<(), &'static str> {
    let needed = asking.era == Era::Stateless;
    let found = text(&taken.headers, &METHOD);
    if found.map_or(needed, |found| found.trim() != name(method))
        || several(&taken.headers, &METHOD)
    {
        return Err("Mcp-Method is absent or differs from the method in the body");
    }
    let named = match method {
        Method::Call(call) => call.named(),
        // SPEC: extension `io.modelcontextprotocol/tasks`, "Routing Headers".
        Method::Task(asked) => Some(asked.id.as_str()),
        Method::Initialize { .. }
        | Method::Discover
        | Method::Ping
        | Method::ToolsList
        | Method::Listen(_)
        | Method::Other(_) => None,
    };
    let Some(named) = named else {
        return Ok(());
    };
    let found = taken.headers.get(&NAME).map(decoded);
    if found.map_or(needed, |found| found.as_deref() != Some(named))
        || several(&taken.headers, &NAME)
    {
        return Err("Mcp-Name is absent or differs from the name in the body");
    }
    match (&asking.place, method) {
        (Place::Adapter(adapter), Method::Call(call)) if needed => {
            mirrored(gateway, taken, adapter, call)
        }
        (Place::Adapter(_) | Place::Joint, _) => Ok(()),
    }
}

/// Arguments that the tool wants repeated.
fn mirrored(
    gateway: &Gateway,
    taken: &Taken,
    adapter: &str,
    call: &Call,
) -> Result<(), &'static str> {
    let listing = gateway.upstreams.listing(adapter);
    let Some(listed) = listing.as_ref().and_then(|l| l.tools.get(call.name())) else {
        return Ok(());
    };
    let wanted = listed.mirrored.of(call.arguments());
    for name in listed.mirrored.names() {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        let in_body = wanted.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        let found = taken.headers.get(&header).map(decoded);
        let agrees = match (&found, in_body) {
            (None, None) => true,
            (Some(Some(found)), Some(value)) => same(found, value),
            (Some(_), None) | (None, Some(_)) | (Some(None), Some(_)) => false,
        };
        if !agrees || several(&taken.headers, &header) {
            return Err("an Mcp-Param header is absent or differs from its argument");
        }
    }
    Ok(())
}

/// Whole numbers are compared as numbers: `42.0` is `42`.
fn same(header: &str, value: &str) -> bool {
    let whole = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let zeros = fraction.chars().all(|c| c == '0');
        whole.parse::<i64>().ok().filter(|_| zeros)
    };
    header == value
        || match (whole(header), value.parse::<i64>()) {
            (Some(found), Ok(value)) => found == value,
            (Some(_) | None, _) => false,
        }
}

/// The text of a value, which may be encoded; `None` if it is none.
fn decoded(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    match text
        .strip_prefix("=?base64?")
        .and_then(|t| t.strip_suffix("?="))
    {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

fn several(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn name(method: &Method) -> &str {
    match method {
        Method::Initialize { .. } => "initialize",
        Method::Discover => "server/discover",
        Method::Ping => "ping",
        Method::ToolsList => "tools/list",
        Method::Listen(_) => "subscriptions/listen",
        Method::Task(asked) => asked.what.name(),
        Method::Call(call) => call.action().name(),
        Method::Other(name) => name,
    }
}

/// Sets a header to a text of ours.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_values_are_decoded_before_they_are_compared() {
        let of = |text: &'static str| decoded(&HeaderValue::from_static(text));
        assert_eq!(of("us-west1").as_deref(), Some("us-west1"));
        assert_eq!(
            of("=?base64?SGVsbG8sIOS4lueVjA==?=").as_deref(),
            Some("Hello, 世界")
        );
        assert_eq!(of("=?base64?!?="), None);
    }

    #[test]
    fn whole_numbers_are_compared_as_numbers() {
        assert!(same("42.0", "42") && same("-7", "-7") && same("a", "a"));
        assert!(!same("42.5", "42") && !same("a", "b") && !same("4 2", "42"));
    }
}
