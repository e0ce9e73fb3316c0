//! What a bundle means, in sentences.
//!
//! In: the content of a bundle. Out: lines for a person who is about to sign it: who may do
//! what, under which condition, who must approve; what nobody can reach; what permits too much; what exports
//! may open.

use crate::content::{Content, in_groups};
use crate::engine::permits_everything;
use crate::policy::{Condition, LoadedPolicy, Place, PolicyEffect, PrincipalScope};
use crate::site::capability::{Capability, Idempotency};
use crate::site::profiles::Profile;
use countersign_record::body::Mode;

/// The sentences.
#[must_use]
pub fn inspect(content: &Content) -> Vec<String> {
    let head = &content.head;
    let mut out = vec![format!(
        "Bundle {} version {} for environment {}: {} tenants, {} capabilities, {} agents, {} approvers, {} policies.",
        head.name,
        head.version,
        head.environment,
        head.tenants.len(),
        content.capabilities.len(),
        content.agents.len(),
        content.approvers.len(),
        content.policies.len(),
    )];
    for p in content.policies.iter().filter(|p| permits_everything(p)) {
        out.push(format!(
            "WARNING: policy {} ({}:{}) permits every agent every capability, without a condition.",
            p.id, p.file, p.line
        ));
    }
    out.extend(head.profiles.iter().map(Profile::sentence));
    if let Some(contact) = &content.contact {
        out.push(format!("Whoever is refused is told to ask: {contact}"));
    }
    for person in content.approvers.values() {
        if let Some(profiles) = &person.profiles {
            out.push(format!(
                "{} may export under {} alone.",
                person.name,
                profiles.join(", ")
            ));
        }
    }
    for (tenant, c) in content.places() {
        out.extend(capability(content, &tenant.name, c));
    }
    for p in &content.policies {
        if covers_nothing(content, p) {
            out.push(format!(
                "Policy {} ({}:{}) applies to no capability of any tenant.",
                p.id, p.file, p.line
            ));
        }
    }
    out
}

fn capability(content: &Content, tenant: &str, c: &Capability) -> Vec<String> {
    let place = Place {
        tenant,
        capability: &c.id,
        adapter: &c.adapter,
    };
    let covering: Vec<&LoadedPolicy> = content
        .policies
        .iter()
        .filter(|p| p.scope.covers(&place))
        .collect();
    let mut out = vec![format!(
        "{} of tenant {tenant} is {}, its results are {}.{}{}",
        c.id,
        c.mode,
        c.classification,
        match c.idempotency {
            Idempotency::Required => " A call needs an idempotency key.",
            Idempotency::NotNeeded =>
                " A call that is carried out twice is said to do no more than once.",
            Idempotency::Optional => "",
        },
        match c.num_calls {
            Some(n) => format!(
                " At most {} calls in {} seconds.",
                n.calls,
                n.window.as_secs()
            ),
            None => String::new(),
        },
    )];
    if !c.endpoint_in.is_empty() {
        out.push(format!(
            "  Its calls may reach: {}.",
            c.endpoint_in.texts().join(", ")
        ));
    }
    if !c.scopes.is_empty() {
        out.push(format!(
            "  It acts for a person whose token has: {}.",
            c.scopes.join(", ")
        ));
    }
    if let Some(contact) = &c.contact {
        out.push(format!("  Whoever is refused it is told to ask: {contact}"));
    }
    if c.tell_rules {
        out.push("  Whoever is refused it is told which rules fired.".to_owned());
    }
    let adapter = content.adapters.get(&c.adapter);
    if let Some(name) = adapter.and_then(|a| a.sandbox()) {
        out.push(format!("  Its program runs in the sandbox {name}."));
    }
    for (path, rules) in c
        .arguments
        .iter()
        .filter(|(_, rules)| !rules.shapes.is_empty())
    {
        for shape in &rules.shapes {
            out.push(format!(
                "  Its {path} may be, as {}: {}",
                shape.name(),
                shape.template()
            ));
        }
    }
    let mut reachable = false;
    for p in &covering {
        let people = principals(content, tenant, p);
        if people.is_empty() {
            continue;
        }
        reachable |= p.effect == PolicyEffect::Permit;
        out.push(sentence(&people, c, p));
    }
    if !reachable {
        out.push(format!(
            "  Nobody can reach {}: no policy permits it.",
            c.id
        ));
    } else if c.mode == Mode::Destructive {
        out.push(approval(content, tenant, c));
    }
    out
}

fn sentence(people: &str, c: &Capability, p: &LoadedPolicy) -> String {
    let may = match p.effect {
        PolicyEffect::Permit => "may call",
        PolicyEffect::Forbid => "must not call",
    };
    let condition = match p.condition {
        Condition::Some => " if the policy's condition holds",
        Condition::None => "",
    };
    let o = &p.obligations;
    let mut duties = Vec::new();
    if let Some(step_up) = &o.step_up {
        let group: Vec<String> = step_up
            .group
            .iter()
            .cloned()
            .chain(c.approvers.clone())
            .collect();
        let people = if step_up.quorum == 1 {
            "person"
        } else {
            "people"
        };
        duties.push(format!(
            "{} {people}{} must approve first",
            step_up.quorum,
            in_groups(&group)
        ));
    }
    if o.defer {
        duties.push("it is put off".to_owned());
    }
    if o.witnessed {
        duties.push("a witness cosigns first".to_owned());
    }
    duties.extend(
        o.redact
            .iter()
            .map(|r| format!("its result is redacted by {r}")),
    );
    let duties = if duties.is_empty() {
        String::new()
    } else {
        format!("; {}", duties.join("; "))
    };
    format!(
        "  {people} {may} {}{condition}{duties} ({}, {}:{}).",
        c.id, p.id, p.file, p.line
    )
}

fn approval(content: &Content, tenant: &str, c: &Capability) -> String {
    let groups: Vec<String> = c.approvers.iter().cloned().collect();
    let names: Vec<&str> = content
        .eligible(tenant, &c.id, &groups)
        .iter()
        .map(|a| a.name.as_str())
        .collect();
    if names.is_empty() {
        return format!(
            "  Every call of {} needs approval, but nobody is enrolled to give it: all are refused.",
            c.id
        );
    }
    format!(
        "  Every call of {} needs approval{}; enrolled: {}.",
        c.id,
        in_groups(&groups),
        names.join(", ")
    )
}

/// Whom a policy's head names, among this tenant's agents; empty if nobody.
fn principals(content: &Content, tenant: &str, p: &LoadedPolicy) -> String {
    let named: Vec<&str> = content
        .principals(tenant, p)
        .map(|a| a.urn.as_str())
        .collect();
    match &p.scope.principal {
        _ if named.is_empty() => String::new(),
        PrincipalScope::Any | PrincipalScope::Tenant(_) => format!("Every agent of {tenant}"),
        PrincipalScope::Agent(urn) => urn.clone(),
        PrincipalScope::Group(group) => format!("Group {group} ({})", named.join(", ")),
    }
}

fn covers_nothing(content: &Content, p: &LoadedPolicy) -> bool {
    !content.places().any(|(tenant, c)| {
        let place = Place {
            tenant: &tenant.name,
            capability: &c.id,
            adapter: &c.adapter,
        };
        p.scope.covers(&place) && content.principals(&tenant.name, p).next().is_some()
    })
}
