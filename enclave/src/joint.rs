//! Names at the path that joins all adapters.
//!
//! In: an adapter and a tool. Out: a name within `[A-Za-z0-9_-]{1,64}`, which clients and models
//! take, and back again. A name that does not fit is shortened and given a digest; two tools that would have one
//! name have none.

use countersign_policies::Capability;
use countersign_policies::site::method::Method;
use countersign_record::digest::sha256_in;
use std::collections::HashMap;

/// Longest name that clients take.
const MAX_NAME: usize = 64;

/// Between adapter and tool.
const BETWEEN: &str = "__";

/// Digits of the digest in a name that was shortened.
const DIGITS: usize = 12;

/// The name of a tool at the joint path.
fn name(adapter: &str, tool: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain = format!("{adapter}{BETWEEN}{tool}");
    // Where the adapter's name holds the mark, the border would not be found again.
    if plain.len() <= MAX_NAME && plain.chars().all(fits) && !adapter.contains(BETWEEN) {
        return plain;
    }
    let digest = sha256_in(
        "countersign/joint-name/v1",
        &[adapter.as_bytes(), b"\0", tool.as_bytes()],
    );
    let mut short: String = plain
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .take(MAX_NAME.saturating_sub(DIGITS).saturating_sub(1))
        .collect();
    short.push('-');
    short.extend(hex::encode(digest).chars().take(DIGITS));
    short
}

/// Tools by their names at the joint path.
#[derive(Debug, Default)]
pub struct Joint(HashMap<String, Option<(String, String)>>);

impl Joint {
    /// Of all that there are. Two that would have one name have none.
    #[must_use]
    pub fn of<'c>(capabilities: impl Iterator<Item = &'c Capability>) -> Self {
        let mut names = HashMap::new();
        for capability in capabilities.filter(|c| c.method == Method::CallTool) {
            let tool = (capability.adapter.clone(), capability.tool.clone());
            names
                .entry(name(&capability.adapter, &capability.tool))
                .and_modify(|known| *known = None)
                .or_insert(Some(tool));
        }
        Self(names)
    }

    /// Adapter and tool of a name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<(&str, &str)> {
        let (adapter, tool) = self.0.get(name)?.as_ref()?;
        Some((adapter, tool))
    }

    /// The name of a tool, if it has one.
    #[must_use]
    pub fn name(&self, capability: &Capability) -> Option<String> {
        let name = name(&capability.adapter, &capability.tool);
        self.tool(&name).map(|_| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(name("notes", "get-sum"), "notes__get-sum");
        let long = "x".repeat(100);
        let mut seen = std::collections::HashSet::new();
        for (adapter, tool) in [
            ("a", "b__c"),
            ("a__b", "c"),
            ("a", "b.c"),
            ("a", "b/c"),
            ("a", "b_c"),
            ("a", &long),
            ("b", &long),
        ] {
            let name = name(adapter, tool);
            assert!(name.len() <= MAX_NAME);
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
            );
            assert!(seen.insert(name.clone()), "{name}");
        }
    }
}
