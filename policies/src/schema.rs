//! The Cedar schema of a site, generated from its capabilities.
//!
//! In: capabilities. Out: schema text, always the same for the same capabilities. Every
//! capability is an action of its own, so that `context.input` has its argument types and
//! `context.input_shape` its statement shapes; names of types are mangled (see
//! [`crate::mangle`]), names of actions and attributes stay as they are.

use crate::input::{Field, InputType, Null, Presence, cedar_record, cedar_string};
use crate::mangle::mangle;
use crate::site::capability::Capability;
use std::collections::{BTreeMap, BTreeSet};

/// The action that every capability is in.
pub(crate) const ANY_CALL: &str = "call";

/// The action that every capability of an adapter is in.
#[must_use]
pub(crate) fn adapter_action(adapter: &str) -> String {
    format!("adapter:{adapter}")
}

/// What policies can speak of, whatever the capabilities.
const PREAMBLE: &str = r#"// Generated from the capabilities of this site; do not edit.
entity Tenant;
entity Group;
entity Adapter;
entity Agent in [Tenant, Group] = {
  "urn": String,
  "tenant": String,
  // 0 static token, 1 OAuth token, 2 bound token, 3 signed request, 4 attested key
  "assurance": Long,
};
entity Capability in [Tenant, Adapter] = {
  "id": String,
  "tenant": String,
  "adapter": String,
  "mode": String,
  "classification": String,
  "destinations": Set<String>,
};
type Budget = {
  // calls of this tenant and capability in the current window, this one not counted
  "calls": Long,
  "limit"?: Long,
};
action "call";
"#;

/// What policies can speak of where tokens of issuers are accepted.
const TOKEN: &str = r#"type Token = {
  // short name of the issuer
  "issuer": String,
  "client": String,
  "scopes": Set<String>,
  // who stands behind the call, each as "<issuer's url>#<name there>"
  "principals": Set<String>,
  // how many of them
  "depth": Long,
};
"#;

/// What policies can speak of where results are traced.
const FLOW: &str = r#"type Flow = {
  // classifications of results that the arguments repeat
  "labels": Set<String>,
  // ids of the capabilities whose results they are
  "sources": Set<String>,
  // names of the arguments that repeat them
  "arguments": Set<String>,
  // since when results are traced, and whether some were dropped for want of room
  "since_ms": Long,
  "dropped": Bool,
};
"#;

/// Whether tokens of issuers are accepted. A site without them has the schema that it had before there were any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// They are not.
    None,
    /// They are.
    Accepted,
}

/// Whether programs of the site run in sandboxes. A site without them has the schema that it had before there were any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandboxes {
    /// None does.
    None,
    /// Some do.
    Some,
}

/// Where [`CONFINED`] stands in the preamble.
const DESTINATIONS: &str = "  \"destinations\": Set<String>,\n";

/// What policies can speak of where there are sandboxes.
const CONFINED: &str =
    "  // layers without which its program is not started\n  \"sandbox\": Set<String>,\n";

/// The schema text of these capabilities.
#[must_use]
pub fn cedar_schema<'a>(
    capabilities: impl Iterator<Item = &'a Capability> + Clone,
    tokens: Tokens,
    sandboxes: Sandboxes,
) -> String {
    let mut out = match sandboxes {
        Sandboxes::None => String::from(PREAMBLE),
        Sandboxes::Some => PREAMBLE.replacen(DESTINATIONS, &format!("{DESTINATIONS}{CONFINED}"), 1),
    };
    let token = match tokens {
        Tokens::None => "",
        Tokens::Accepted => {
            out.push_str(TOKEN);
            "    \"token\"?: Token,\n"
        }
    };
    // Never optional: a call whose arguments were not looked at is denied, as its facts are not of these types.
    let flow = if capabilities.clone().any(|c| c.trace_results) {
        out.push_str(FLOW);
        "    \"flow\": Flow,\n"
    } else {
        ""
    };
    let adapters: BTreeSet<&str> = capabilities.clone().map(|c| c.adapter.as_str()).collect();
    for adapter in adapters {
        let name = cedar_string(&adapter_action(adapter));
        out.push_str(&format!("action {name} in [Action::\"{ANY_CALL}\"];\n"));
    }
    for c in capabilities {
        let name = mangle(&c.id);
        out.push_str(&format!(
            "type Input_{name} = {};\n",
            cedar_record(c.fields())
        ));
        out.push_str(&format!(
            "type Shapes_{name} = {};\n",
            cedar_record(&shapes_type(c))
        ));
        out.push_str(&format!(
            "action {action} in [Action::{group}] appliesTo {{\n  principal: [Agent],\n  resource: [Capability],\n  \
             context: {{\n    \"input\": Input_{name},\n    \"input_shape\": Shapes_{name},\n    \
             \"mode\": String,\n    \"user\"?: String,\n    \"approvers\": Set<String>,\n    \
             \"budget\": Budget,\n    \"time_ms\": Long,\n{token}{flow}  }},\n}};\n",
            action = cedar_string(&c.id),
            group = cedar_string(&adapter_action(&c.adapter)),
        ));
    }
    out
}

/// One text for each argument with shapes; always there where the argument is.
pub(crate) fn shapes_type(c: &Capability) -> BTreeMap<String, Field> {
    c.shaped()
        .map(|path| {
            // A nested argument can be absent with what it is nested in.
            let presence = c
                .fields()
                .get(path)
                .map_or(Presence::Optional, |f| f.presence);
            (
                path.to_owned(),
                Field {
                    ty: InputType::Text,
                    presence,
                    null: Null::Refused,
                },
            )
        })
        .collect()
}
