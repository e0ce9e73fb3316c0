//! What an upstream tells without having been asked.
//!
//! *In:* a notification. *Out:* an [`Event`], if it is one of the four that are passed on. Pure.

use bytes::Bytes;
use countersign_json::{Limits, scan};

/// Longest address of a resource that is told to have changed, in bytes.
const MAX_URI_BYTES: usize = 4096;

/// Something changed at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its tools.
    ToolsChanged,
    /// Its prompts.
    PromptsChanged,
    /// Its resources.
    ResourcesChanged,
    /// One resource, by its address.
    ResourceUpdated(String),
}

impl Event {
    pub(crate) fn of(method: &str, params: &Bytes) -> Option<Self> {
        match method {
            "notifications/tools/list_changed" => Some(Self::ToolsChanged),
            "notifications/prompts/list_changed" => Some(Self::PromptsChanged),
            "notifications/resources/list_changed" => Some(Self::ResourcesChanged),
            "notifications/resources/updated" => {
                let limits = Limits::of_bytes(MAX_URI_BYTES.saturating_mul(2));
                let document = scan(params, &limits).ok()?;
                let uri = serde_json::from_str::<String>(document.member("uri")?.text).ok()?;
                (uri.len() <= MAX_URI_BYTES).then_some(Self::ResourceUpdated(uri))
            }
            _ => None,
        }
    }
}
