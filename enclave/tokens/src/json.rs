//! JSON of strangers: one object, strictly read, and typed members of it.
//!
//! In: bytes. Out: an object without duplicate keys, or which claim is not what it should be. Numbers
//! that count seconds are whole; what has no use here is kept and ignored.

use countersign_json::{Limits, scan};
use serde_json::{Map, Value};

/// An object.
pub(crate) type Object = Map<String, Value>;

/// Longest text of a claim, in bytes. Subjects and URLs in use are well below.
pub(crate) const MAX_TEXT_BYTES: usize = 512;

/// Deepest nesting of a token's objects.
const DEPTH: usize = 24;

/// Most members of a token's two upper levels.
const MEMBERS: usize = 256;

/// What a claim is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Missing,
    Malformed,
}

/// One object, without a key twice at any level.
pub(crate) fn object(bytes: &[u8]) -> Option<Object> {
    let limits = Limits {
        bytes: bytes.len(),
        depth: DEPTH,
        members: MEMBERS,
    };
    scan(bytes, &limits).ok()?;
    serde_json::from_slice(bytes).ok()
}

/// A text: not empty, short, without control characters.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|t| is_text(t))
}

pub(crate) fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
}

/// A member that is a text, if it is there.
pub(crate) fn optional<'o>(object: &'o Object, name: &str) -> Result<Option<&'o str>, Wrong> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => text(value).map(Some).ok_or(Wrong::Malformed),
    }
}

/// A member that is a text.
pub(crate) fn required<'o>(object: &'o Object, name: &str) -> Result<&'o str, Wrong> {
    optional(object, name)?.ok_or(Wrong::Missing)
}

/// A member that is a whole number of seconds, if it is there.
pub(crate) fn seconds(object: &Object, name: &str) -> Result<Option<u64>, Wrong> {
    match object.get(name) {
        None => Ok(None),
        // A date with a fraction is legal and rare; taking none of them leaves nothing to round.
        Some(value) => value.as_u64().map(Some).ok_or(Wrong::Malformed),
    }
}
