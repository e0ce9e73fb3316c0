//! Arguments that HTTP headers repeat.
//!
//! *In:* a tool's descriptor. *Out:* which arguments it wants repeated as `Mcp-Param-…`, and for given
//! arguments the headers. Pure.
//!
//! SPEC: MCP 2026-07-28, Streamable HTTP, "Custom Headers from Tool Parameters".

use crate::descriptor::RawTool;
use serde_json::Value;

/// The member of a property's schema that asks for a header.
const MEMBER: &str = "x-mcp-header";

/// What such headers' names begin with.
pub const PREFIX: &str = "mcp-param-";

/// Most headers of one tool.
const MAX_HEADERS: usize = 64;

/// Longest name of a header, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Largest number that JavaScript holds exactly.
const MAX_SAFE: i64 = 9_007_199_254_740_991;

/// Which arguments of a tool headers repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored(Vec<(Vec<String>, String)>);

/// The descriptor asks for headers in a way that the protocol forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("x-mcp-header stands where it may not, or names no header")]
pub struct NotMirrored;

impl Mirrored {
    /// Of a descriptor.
    ///
    /// # Errors
    /// [`NotMirrored`]: clients must leave such a tool out.
    pub fn of_tool(tool: &RawTool) -> Result<Self, NotMirrored> {
        if !contains(tool.descriptor(), MEMBER.as_bytes()) {
            return Ok(Self::default());
        }
        let descriptor: Value =
            serde_json::from_slice(tool.descriptor()).map_err(|_| NotMirrored)?;
        let schema = descriptor.get("inputSchema").ok_or(NotMirrored)?;
        let mut found = Vec::new();
        collect(schema, &mut Vec::new(), &mut found)?;
        let mut names: Vec<String> = found.iter().map(|(_, n)| n.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        // Whatever stands elsewhere was not collected.
        let fits = names.len() == found.len()
            && found.len() == count(schema)
            && found.len() <= MAX_HEADERS;
        fits.then_some(Self(found)).ok_or(NotMirrored)
    }

    /// Names and values of the headers for these arguments, names in lower case. An argument that is absent or `null`
    /// has none.
    #[must_use]
    pub fn of(&self, arguments: &[u8]) -> Vec<(String, String)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let Ok(arguments) = serde_json::from_slice::<Value>(arguments) else {
            return Vec::new();
        };
        self.0
            .iter()
            .filter_map(|(path, name)| {
                let found = path
                    .iter()
                    .try_fold(&arguments, |value, key| value.get(key))?;
                Some((
                    format!("{PREFIX}{}", name.to_ascii_lowercase()),
                    text(found)?,
                ))
            })
            .collect()
    }

    /// Names of all headers that it knows, in lower case.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(_, name)| format!("{PREFIX}{}", name.to_ascii_lowercase()))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => {
            let whole = number.as_i64()?;
            (-MAX_SAFE..=MAX_SAFE)
                .contains(&whole)
                .then(|| whole.to_string())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn collect(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, String)>,
) -> Result<(), NotMirrored> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (key, property) in properties {
        path.push(key.clone());
        if let Some(name) = property.get(MEMBER) {
            let name = name.as_str().ok_or(NotMirrored)?;
            let kind = property.get("type").and_then(Value::as_str);
            let plain = matches!(kind, Some("string" | "integer" | "boolean"));
            if !plain || !is_token(name) {
                return Err(NotMirrored);
            }
            found.push((path.clone(), name.to_owned()));
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}

/// How often the member stands anywhere in a schema.
fn count(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| {
                let here = usize::from(key == MEMBER && value.is_string());
                here.saturating_add(count(value))
            })
            .sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// SPEC: RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn of(properties: &str) -> Result<Mirrored, NotMirrored> {
        let text = format!(
            r#"{{"name":"t","inputSchema":{{"type":"object","properties":{properties}}}}}"#
        );
        Mirrored::of_tool(&RawTool::parse(Bytes::from(text)).unwrap())
    }

    #[test]
    fn marked_arguments_become_headers_also_nested_ones() {
        let mirrored = of(
            r#"{"region":{"type":"string","x-mcp-header":"Region"},"o":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},"q":{"type":"string"}}"#,
        )
        .unwrap();
        let mut headers = mirrored.of(br#"{"region":"us","o":{"n":42},"q":"x"}"#);
        headers.sort();
        assert_eq!(
            headers,
            [
                ("mcp-param-n".to_owned(), "42".to_owned()),
                ("mcp-param-region".to_owned(), "us".to_owned())
            ]
        );
        assert_eq!(mirrored.of(br#"{"region":null}"#), []);
        assert_eq!(of(r#"{"q":{"type":"string"}}"#), Ok(Mirrored::default()));
    }

    #[test]
    fn what_the_protocol_forbids_is_refused() {
        for properties in [
            r#"{"a":{"type":"string","x-mcp-header":""}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"b c"}}"#,
            r#"{"a":{"type":"number","x-mcp-header":"A"}}"#,
            r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#,
            r#"{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}"#,
            r#"{"a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}}"#,
        ] {
            assert_eq!(of(properties), Err(NotMirrored), "{properties}");
        }
    }
}
