//! What there is for a caller: tools as upstreams describe them, and which further methods.
//!
//! What policy surely forbids is not shown. Nothing here is shared between callers.

use super::Place;
use crate::serve::Gateway;
use countersign_gateway::call::Who;
use countersign_gateway::mcp::tasks::EXTENSION;
use countersign_gateway::mcp::{Era, Filter};
use countersign_gateway::surface::Observed;
use countersign_json::{Limits, scan, write_string};
use countersign_policies::Capability;
use countersign_policies::site::method::Method;
use serde_json::{Map, Value, json};

/// The member `capabilities` of the answer to a handshake.
pub(super) fn offered(gateway: &Gateway, who: &Who, place: &Place) -> Value {
    let mut offered = Map::new();
    offered.insert("tools".to_owned(), json!({ "listChanged": true }));
    let Some(adapter) = place.adapter() else {
        return Value::Object(offered);
    };
    let visible = gateway.visible(who);
    let there = |method: Method| {
        let theirs = |c: &&std::sync::Arc<Capability>| c.adapter == adapter && c.method == method;
        visible
            .iter()
            .find(theirs)
            .is_some_and(|c| matches!(gateway.upstreams.observe(c), Observed::Descriptor(_)))
    };
    let of = |feature: &str| {
        Method::NAMED
            .into_iter()
            .any(|m| m.feature() == feature && there(m))
    };
    if of("resources") {
        let subscribe = there(Method::Subscribe);
        let said = json!({ "listChanged": true, "subscribe": subscribe });
        offered.insert("resources".to_owned(), said);
    }
    if of("prompts") {
        offered.insert("prompts".to_owned(), json!({ "listChanged": true }));
    }
    for plain in ["completions", "logging"] {
        if of(plain) {
            offered.insert(plain.to_owned(), json!({}));
        }
    }
    Value::Object(offered)
}

/// The same for clients without sessions, with the extensions that there are.
pub(super) fn discovered(gateway: &Gateway, who: &Who, place: &Place) -> Value {
    let mut offered = offered(gateway, who, place);
    if let Value::Object(members) = &mut offered {
        members.insert("extensions".to_owned(), json!({ EXTENSION: {} }));
    }
    offered
}

/// What of a filter can be heard here: changes of what is offered.
pub(super) fn heard(gateway: &Gateway, who: &Who, place: &Place, filter: Filter) -> Filter {
    let offered = offered(gateway, who, place);
    let there = |feature: &str| offered.get(feature).is_some();
    Filter {
        tools: filter.tools,
        prompts: filter.prompts && there("prompts"),
        resources: filter.resources && there("resources"),
        undeclared_tasks: filter.undeclared_tasks,
    }
}

/// The result of `tools/list`.
pub(super) fn tools(gateway: &Gateway, who: &Who, place: &Place, era: Era) -> String {
    let visible = gateway.visible(who);
    let mut tools = String::new();
    let mut put = |descriptor: &str| {
        if !tools.is_empty() {
            tools.push(',');
        }
        tools.push_str(descriptor);
    };
    match place {
        Place::Adapter(adapter) => {
            let listing = gateway.upstreams.listing(adapter);
            for tool in listing.iter().flat_map(|l| &l.order) {
                let theirs =
                    |c: &&std::sync::Arc<Capability>| c.adapter == *adapter && c.tool == *tool;
                let shown = visible.iter().filter(theirs);
                if let Some(descriptor) = shown.filter_map(|c| descriptor(gateway, c)).next() {
                    put(&descriptor);
                }
            }
        }
        Place::Joint => {
            for capability in visible.iter() {
                let renamed = gateway
                    .joint
                    .name(capability)
                    .and_then(|name| renamed(&descriptor(gateway, capability)?, &name));
                if let Some(descriptor) = renamed {
                    put(&descriptor);
                }
            }
        }
    }
    let tail = match era {
        Era::Initialize => "",
        Era::Stateless => ",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"",
    };
    format!("{{\"tools\":[{tools}]{tail}}}")
}

/// A tool's descriptor as the upstream wrote it, if it is the one that was registered.
fn descriptor(gateway: &Gateway, capability: &Capability) -> Option<String> {
    if capability.method != Method::CallTool {
        return None;
    }
    let listing = gateway.upstreams.listing(&capability.adapter)?;
    let listed = listing.tools.get(&capability.tool)?;
    (listed.digest == capability.descriptor)
        .then(|| String::from_utf8_lossy(&listed.descriptor).into_owned())
}

/// The descriptor with another name; every other byte stays.
fn renamed(descriptor: &str, name: &str) -> Option<String> {
    let document = scan(descriptor.as_bytes(), &Limits::of_bytes(descriptor.len())).ok()?;
    let range = document.member("name")?.range;
    let mut written = Vec::new();
    write_string(name, &mut written);
    let written = String::from_utf8(written).ok()?;
    let (head, tail) = (descriptor.get(..range.start)?, descriptor.get(range.end..)?);
    Some(format!("{head}{written}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_descriptor_changes() {
        let text = r#"{ "name" : "a", "x":1.50,"inputSchema":{"name":"a"} }"#;
        assert_eq!(
            renamed(text, "b__a").unwrap(),
            r#"{ "name" : "b__a", "x":1.50,"inputSchema":{"name":"a"} }"#
        );
    }
}
