//! Descriptors of tools, and the digest that a policy pins.
//!
//! *In:* one element of `tools/list`, as it arrived. *Out:* its name and its digest. Pure.

use bytes::Bytes;
use countersign_record::digest::{ArtifactDigest, sha256_in};

use crate::{Kind, Limits, ScanError, canonical, scan, write_string};

/// Largest descriptor, in bytes (1 MiB); a listing as a whole is bounded apart from this.
pub const MAX_DESCRIPTOR_BYTES: usize = 1024 * 1024;

/// Longest tool name, in bytes of UTF-8. MCP recommends at most 128 characters.
pub const MAX_TOOL_NAME_BYTES: usize = 256;

/// Members that the digest covers, in the order in which they are written.
///
/// These are what a model or a person reads before choosing the tool, and what arguments and
/// results are held against. Icons, `_meta` and unknown members are outside: they may change
/// from one listing to the next.
pub const DIGESTED_MEMBERS: [&str; 6] = [
    "annotations",
    "description",
    "inputSchema",
    "name",
    "outputSchema",
    "title",
];

/// Separates this digest from every other.
const DOMAIN: &str = "countersign/tool-descriptor/v1";

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTool {
    name: String,
    descriptor: Bytes,
}

impl RawTool {
    /// Reads a descriptor; unknown members stay.
    ///
    /// # Errors
    /// [`DescriptorError`] names what is missing or wrong.
    pub fn parse(descriptor: Bytes) -> Result<Self, DescriptorError> {
        let document = scan(&descriptor, &limits()).map_err(DescriptorError::NotJson)?;
        if document.root().kind != Kind::Object {
            return Err(DescriptorError::NotAnObject);
        }
        let name = document
            .member("name")
            .filter(|name| name.kind == Kind::String)
            .and_then(|name| serde_json::from_str::<String>(name.text).ok())
            .ok_or(DescriptorError::NoName)?;
        if name.is_empty() || name.len() > MAX_TOOL_NAME_BYTES || name.chars().any(char::is_control)
        {
            return Err(DescriptorError::Name {
                found: name.len(),
                limit: MAX_TOOL_NAME_BYTES,
            });
        }
        if document
            .member("inputSchema")
            .is_none_or(|schema| schema.kind != Kind::Object)
        {
            return Err(DescriptorError::NoInputSchema);
        }
        Ok(Self { name, descriptor })
    }

    /// The name by which the tool is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor as it arrived.
    #[must_use]
    pub fn descriptor(&self) -> &Bytes {
        &self.descriptor
    }
}

/// Why a descriptor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Not strict JSON.
    #[error("descriptor is not strict JSON: {0}")]
    NotJson(ScanError),
    /// Not an object.
    #[error("descriptor is not an object")]
    NotAnObject,
    /// No name, or it is not a string.
    #[error("descriptor has no name")]
    NoName,
    /// The name is empty, too long or holds control characters.
    #[error("name of {found} bytes is empty, over {limit} bytes, or holds control characters")]
    Name {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Without a schema its arguments cannot be decided upon.
    #[error("descriptor has no inputSchema object")]
    NoInputSchema,
}

/// The digest that a policy pins.
///
/// `SHA-256("countersign/tool-descriptor/v1" || 0x00 || canonical)`, where `canonical` is
/// [`canonical`] of an object of those [`DIGESTED_MEMBERS`] that the descriptor has. A member
/// that is absent is left out; one that is `null` stands as `null`. Order of keys and white
/// space do not matter; the text of numbers does.
///
/// # Errors
/// [`ScanError`], only if the descriptor could be read but is over the limits of its canonical
/// form.
pub fn descriptor_digest(tool: &RawTool) -> Result<ArtifactDigest, ScanError> {
    Ok(ArtifactDigest(sha256_in(DOMAIN, &[&covered(tool)?])))
}

/// What the digest is over: the canonical form of the descriptor's [`DIGESTED_MEMBERS`]. It is a descriptor itself,
/// of the same digest.
///
/// # Errors
/// As [`descriptor_digest`].
pub fn covered(tool: &RawTool) -> Result<Vec<u8>, ScanError> {
    let document = scan(&tool.descriptor, &limits())?;
    let mut covered = b"{".to_vec();
    let mut separator: &[u8] = b"";
    for name in DIGESTED_MEMBERS {
        if let Some(value) = document.member(name) {
            covered.extend_from_slice(separator);
            separator = b",";
            write_string(name, &mut covered);
            covered.push(b':');
            covered.extend_from_slice(&canonical(value.text.as_bytes(), &limits())?);
        }
    }
    covered.push(b'}');
    Ok(covered)
}

pub(crate) const fn limits() -> Limits {
    Limits::of_bytes(MAX_DESCRIPTOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &'static str) -> ArtifactDigest {
        descriptor_digest(&RawTool::parse(Bytes::from_static(text.as_bytes())).unwrap()).unwrap()
    }

    const TOOL: &str = r#"{"name":"t","title":"T","description":"d","inputSchema":{"type":"object","maximum":1},"outputSchema":{},"annotations":{"readOnlyHint":true}}"#;

    #[test]
    fn order_white_space_and_uncovered_members_do_not_change_the_digest() {
        assert_eq!(
            digest(TOOL),
            digest(
                r#" { "annotations":{"readOnlyHint" : true}, "_meta":{"v":2}, "outputSchema":{}, "title":"\u0054", "inputSchema":{"maximum":1,"type":"object"},
                "description":"d", "name":"t", "icons":[] } "#
            )
        );
    }

    #[test]
    fn every_covered_member_changes_the_digest() {
        for (from, to) in [
            (r#""name":"t""#, r#""name":"u""#),
            (r#""title":"T""#, r#""title":"U""#),
            (r#""description":"d""#, r#""description":"d ""#),
            (r#""maximum":1"#, r#""maximum":1.0"#),
            (
                r#""outputSchema":{}"#,
                r#""outputSchema":{"type":"object"}"#,
            ),
            (r#""readOnlyHint":true"#, r#""readOnlyHint":false"#),
        ] {
            let changed = TOOL.replace(from, to);
            assert_ne!(changed, TOOL);
            let changed = RawTool::parse(Bytes::from(changed)).unwrap();
            assert_ne!(descriptor_digest(&changed).unwrap(), digest(TOOL), "{to}");
        }
    }

    #[test]
    fn what_the_digest_covers_is_a_descriptor_of_the_same_digest() {
        let tool = RawTool::parse(Bytes::from_static(TOOL.as_bytes())).unwrap();
        let again = RawTool::parse(Bytes::from(covered(&tool).unwrap())).unwrap();
        assert_eq!(descriptor_digest(&again).unwrap(), digest(TOOL));
    }

    #[test]
    fn an_absent_member_is_not_a_null_one() {
        assert_ne!(
            digest(r#"{"name":"t","inputSchema":{}}"#),
            digest(r#"{"name":"t","inputSchema":{},"description":null}"#)
        );
    }

    #[test]
    fn the_digest_of_a_known_descriptor_stays() {
        // printf 'countersign/tool-descriptor/v1\0{"inputSchema":{"type":"object"},"name":"t"}' | sha256sum
        assert_eq!(
            digest(r#"{"name":"t","inputSchema":{"type":"object"}}"#).to_string(),
            "c7c64e9f57cc5db1588af7613295fa7be441925891dbce1e5764bbdb88339168"
        );
    }

    #[test]
    fn unusable_descriptors_are_refused_by_name() {
        let read = |text: &'static str| RawTool::parse(Bytes::from_static(text.as_bytes()));
        assert_eq!(read("[]"), Err(DescriptorError::NotAnObject));
        assert_eq!(read(r#"{"inputSchema":{}}"#), Err(DescriptorError::NoName));
        assert_eq!(
            read(r#"{"name":"","inputSchema":{}}"#),
            Err(DescriptorError::Name {
                found: 0,
                limit: 256
            })
        );
        assert_eq!(
            read(r#"{"name":"a\n","inputSchema":{}}"#),
            Err(DescriptorError::Name {
                found: 2,
                limit: 256
            })
        );
        assert_eq!(read(r#"{"name":"t"}"#), Err(DescriptorError::NoInputSchema));
        assert!(matches!(
            read(r#"{"name":"t","name":"u","inputSchema":{}}"#),
            Err(DescriptorError::NotJson(_))
        ));
    }
}
