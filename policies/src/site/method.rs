//! What of MCP beside tools can be a capability, and what a server may ask back.
//!
//! In: names of MCP methods. Out: for each the schema of its parameters and a descriptor, both
//! fixed here, since servers describe none. A method is decided, recorded and bounded exactly as
//! a tool is: its parameters, without `_meta`, are the call's arguments.
//!
//! SPEC: Model Context Protocol 2025-11-25 and 2026-07-28, "Resources", "Prompts", "Completion", "Logging".

use bytes::Bytes;
use countersign_json::descriptor::{RawTool, descriptor_digest};
use countersign_record::digest::ArtifactDigest;

/// A method of MCP that reaches an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `tools/call`: a capability of its own for each tool.
    CallTool,
    /// `resources/list`.
    ListResources,
    /// `resources/templates/list`.
    ListTemplates,
    /// `resources/read`.
    ReadResource,
    /// `resources/subscribe`, of the revision with sessions.
    Subscribe,
    /// `resources/unsubscribe`, likewise.
    Unsubscribe,
    /// `prompts/list`.
    ListPrompts,
    /// `prompts/get`.
    GetPrompt,
    /// `completion/complete`.
    Complete,
    /// `logging/setLevel`, of the revision with sessions.
    SetLevel,
}

const CURSOR: &str = r#"{"type":"object","properties":{"cursor":{"type":"string"}}}"#;
const URI: &str = r#"{"type":"object","properties":{"uri":{"type":"string"}},"required":["uri"]}"#;
const PROMPT: &str = r#"{"type":"object","properties":{"name":{"type":"string"},"arguments":{"type":"object","additionalProperties":{"type":"string"}}},"required":["name"]}"#;
const COMPLETION: &str = r#"{"type":"object","properties":{"ref":{"type":"object","properties":{"type":{"type":"string"},"name":{"type":"string"},"title":{"type":"string"},"uri":{"type":"string"}},"required":["type"]},"argument":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string"}},"required":["name","value"]},"context":{"type":"object","properties":{"arguments":{"type":"object","additionalProperties":{"type":"string"}}}}},"required":["ref","argument"]}"#;
const LEVEL: &str = r#"{"type":"object","properties":{"level":{"type":"string","enum":["debug","info","notice","warning","error","critical","alert","emergency"]}},"required":["level"]}"#;

impl Method {
    /// All that can be named in a capability.
    pub const NAMED: [Self; 9] = [
        Self::ListResources,
        Self::ListTemplates,
        Self::ReadResource,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::ListPrompts,
        Self::GetPrompt,
        Self::Complete,
        Self::SetLevel,
    ];

    /// Its name in MCP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallTool => "tools/call",
            Self::ListResources => "resources/list",
            Self::ListTemplates => "resources/templates/list",
            Self::ReadResource => "resources/read",
            Self::Subscribe => "resources/subscribe",
            Self::Unsubscribe => "resources/unsubscribe",
            Self::ListPrompts => "prompts/list",
            Self::GetPrompt => "prompts/get",
            Self::Complete => "completion/complete",
            Self::SetLevel => "logging/setLevel",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::CallTool.name())
            .then_some(Self::CallTool)
            .or_else(|| Self::NAMED.into_iter().find(|m| m.name() == name))
    }

    /// Which member of a server's `capabilities` says that it has this method.
    #[must_use]
    pub const fn feature(self) -> &'static str {
        match self {
            Self::CallTool => "tools",
            Self::ListResources
            | Self::ListTemplates
            | Self::ReadResource
            | Self::Subscribe
            | Self::Unsubscribe => "resources",
            Self::ListPrompts | Self::GetPrompt => "prompts",
            Self::Complete => "completions",
            Self::SetLevel => "logging",
        }
    }

    /// The parameter that headers repeat. SPEC: 2026-07-28, Streamable HTTP, "Standard Request Headers".
    #[must_use]
    pub const fn named_by(self) -> Option<&'static str> {
        match self {
            Self::CallTool | Self::GetPrompt => Some("name"),
            Self::ReadResource => Some("uri"),
            Self::ListResources
            | Self::ListTemplates
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::ListPrompts
            | Self::Complete
            | Self::SetLevel => None,
        }
    }

    /// Whether it belongs to the revision with sessions alone.
    #[must_use]
    pub const fn needs_session(self) -> bool {
        match self {
            Self::Subscribe | Self::Unsubscribe | Self::SetLevel => true,
            Self::CallTool
            | Self::ListResources
            | Self::ListTemplates
            | Self::ReadResource
            | Self::ListPrompts
            | Self::GetPrompt
            | Self::Complete => false,
        }
    }

    /// JSON Schema of the parameters; a tool's is its own.
    #[must_use]
    pub const fn schema(self) -> Option<&'static str> {
        match self {
            Self::CallTool => None,
            Self::ListResources | Self::ListTemplates | Self::ListPrompts => Some(CURSOR),
            Self::ReadResource | Self::Subscribe | Self::Unsubscribe => Some(URI),
            Self::GetPrompt => Some(PROMPT),
            Self::Complete => Some(COMPLETION),
            Self::SetLevel => Some(LEVEL),
        }
    }

    /// What the records of its calls name as the descriptor: name and schema as they stand here.
    #[must_use]
    pub fn descriptor(self) -> Option<ArtifactDigest> {
        let text = format!(
            "{{\"name\":\"{}\",\"inputSchema\":{}}}",
            self.name(),
            self.schema()?
        );
        let raw = RawTool::parse(Bytes::from(text)).ok()?;
        descriptor_digest(&raw).ok()
    }
}

/// What a server may ask the agent back while it carries out a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// `elicitation/create`: of its user.
    Elicitation,
    /// `sampling/createMessage`: of its model.
    Sampling,
    /// `roots/list`: which directories it works in.
    Roots,
}

impl Ask {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Elicitation, Self::Sampling, Self::Roots];

    /// The word in a capability's file, and in what a client declares.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
        }
    }

    /// The method of MCP.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// What a method of MCP asks.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ask| ask.method() == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputType;

    #[test]
    fn every_method_has_a_schema_that_policy_can_see_and_a_descriptor_of_its_own() {
        let mut digests = std::collections::BTreeSet::new();
        for method in Method::NAMED {
            let schema = serde_json::from_str(method.schema().unwrap()).unwrap();
            assert!(
                !InputType::of_schema(&schema).unwrap().is_empty(),
                "{method:?}"
            );
            assert!(digests.insert(method.descriptor().unwrap().to_string()));
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::CallTool.descriptor(), None);
    }
}
