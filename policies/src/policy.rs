//! `policies/*.cedar`: loading, naming, typing and the obligations of policies.
//!
//! In: policy texts and the generated schema. Out: [`LoadedPolicy`], each with an `@id`, the
//! scope by which it is sliced, and its obligations. Strict validation; an annotation that is
//! not known is refused, because a misspelt obligation would otherwise permit without it.
//!
//! Annotations: `@id("…")` on every policy, `@description("…")`; on a permit also
//! `@obligation("step_up, defer, witnessed, redact:<rule>")` (any of them), and beside
//! `step_up` `@quorum("2")` and `@approvers("<group>")`.

use crate::problem::{Lines, Problem, Report, Source};
use crate::site::people::Agent;
use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Most policies of a site.
pub const MAX_POLICIES: usize = 20_000;

/// Most people that one approval can need.
pub const MAX_QUORUM: u8 = 16;

/// Beginning of the ids of rules that stand in code; no policy may have such an id.
pub const BUILTIN_PREFIX: &str = "builtin:";

/// Longest id of a policy, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Annotations that exist.
const ANNOTATIONS: [&str; 5] = ["id", "description", "obligation", "quorum", "approvers"];

/// A policy, ready to be sliced.
#[derive(Debug, Clone)]
pub struct LoadedPolicy {
    /// Its `@id`.
    pub id: String,
    /// What it is said to be for.
    pub description: Option<String>,
    /// File that it stands in.
    pub file: String,
    /// Line that it begins on.
    pub line: usize,
    /// Whether it permits or forbids.
    pub effect: PolicyEffect,
    /// What a permit obliges to.
    pub obligations: PolicyObligations,
    /// Whether more than its scope decides.
    pub condition: Condition,
    pub(crate) scope: Scope,
    pub(crate) cedar: Policy,
}

/// Permit or forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyEffect {
    /// Calls in scope are permitted, unless forbidden.
    Permit,
    /// Calls in scope are refused.
    Forbid,
}

/// Whether a policy looks at more than its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It has a `when` or an `unless`.
    Some,
    /// Its scope is all.
    None,
}

/// What a permit obliges to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyObligations {
    /// People must approve.
    pub step_up: Option<StepUpRule>,
    /// The call is put off.
    pub defer: bool,
    /// A witness must cosign before dispatch.
    pub witnessed: bool,
    /// Names of redaction rules for the result.
    pub redact: BTreeSet<String>,
}

/// How many people must approve, out of which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUpRule {
    /// How many.
    pub quorum: u8,
    /// Out of which group, if not out of all.
    pub group: Option<String>,
}

/// Who and what a policy's head names; what it is sliced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) principal: PrincipalScope,
    /// Names of actions; none means any.
    pub(crate) actions: Option<Vec<String>>,
    pub(crate) resource: ResourceScope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalScope {
    Any,
    Agent(String),
    Tenant(String),
    Group(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourceScope {
    Any,
    /// `<tenant>/<capability>`.
    Capability(String),
    Tenant(String),
    Adapter(String),
}

/// The name of a tenant's capability as an entity.
pub(crate) fn resource_name(tenant: &str, capability: &str) -> String {
    format!("{tenant}/{capability}")
}

/// Names that policies may speak of, by entity type.
pub(crate) type Known = BTreeMap<&'static str, BTreeSet<String>>;

/// Reads all policy files. Problems go to the report.
pub(crate) fn load(
    files: &[Source<'_>],
    schema: &Schema,
    known: &Known,
    report: &mut Report,
) -> Vec<LoadedPolicy> {
    let validator = Validator::new(schema.clone());
    let mut all: Vec<LoadedPolicy> = Vec::new();
    let mut first_use: BTreeMap<String, String> = BTreeMap::new();
    for source in files {
        let Some(set) = parse(*source, report) else {
            continue;
        };
        let lines = Lines::of(source.text);
        let mut policies: Vec<LoadedPolicy> = set
            .policies()
            .filter_map(|p| named((*source, &lines), p, report))
            .collect();
        policies.sort_by_key(|p| p.line);
        for p in &policies {
            if let Some(first) = first_use.insert(p.id.clone(), format!("{}:{}", p.file, p.line)) {
                let problem = Problem::Duplicate {
                    what: "policy",
                    name: p.id.clone(),
                    first,
                };
                report.line(&p.file, Some(p.line), problem);
            }
            check_names(p, known, report);
        }
        check_types(*source, &validator, &policies, report);
        all.append(&mut policies);
    }
    if all.len() > MAX_POLICIES {
        let problem = Problem::Limit {
            what: "policies",
            found: all.len(),
            limit: MAX_POLICIES,
        };
        report.file("policies", problem);
    }
    all
}

pub(crate) fn parse(source: Source<'_>, report: &mut Report) -> Option<PolicySet> {
    match PolicySet::from_str(source.text) {
        Ok(set) => {
            for t in set.templates() {
                let line = t.as_ref().loc().map_or(1, |l| source.line(l.start()));
                let problem = Problem::Syntax(
                    "this is a template; a policy names its principal and resource".into(),
                );
                report.line(source.file, Some(line), problem);
            }
            Some(set)
        }
        Err(errors) => {
            for e in errors.iter() {
                let line = label_line(source, e);
                report.line(
                    source.file,
                    line,
                    Problem::Syntax(format!("not Cedar: {}", with_help(e))),
                );
            }
            None
        }
    }
}

/// The line that an error of Cedar points at.
fn label_line(source: Source<'_>, e: &dyn Diagnostic) -> Option<usize> {
    e.labels()
        .and_then(|mut labels| labels.next())
        .map(|label| source.line(label.offset()))
}

/// What an error of Cedar says, and what it advises.
fn with_help(e: &dyn Diagnostic) -> String {
    match e.help() {
        Some(help) => format!("{e} ({help})"),
        None => e.to_string(),
    }
}

/// Ids stand in records and reports. They have no colon, so none is a built-in rule's.
fn is_policy_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain)
}

/// A policy with its id, scope and obligations.
fn named(
    (source, lines): (Source<'_>, &Lines),
    policy: &Policy,
    report: &mut Report,
) -> Option<LoadedPolicy> {
    let line = policy.as_ref().loc().map_or(1, |l| lines.line(l.start()));
    let Some(id) = policy.annotation("id").filter(|id| is_policy_id(id)) else {
        let expected =
            format!("@id(\"…\") on every policy, 1 to {MAX_ID_BYTES} letters, digits and - _ . /");
        report.line(
            source.file,
            Some(line),
            Problem::Missing {
                key: "@id".to_owned(),
                expected,
            },
        );
        return None;
    };
    let mut wrong = |message: String| {
        report.line(
            source.file,
            Some(line),
            Problem::Policy {
                id: id.to_owned(),
                message,
            },
        );
    };
    for (key, _) in policy.annotations() {
        if !ANNOTATIONS.contains(&key) {
            wrong(format!(
                "annotation @{key} is not known, expected one of {}",
                ANNOTATIONS.join(", ")
            ));
        }
    }
    let effect = match policy.effect() {
        Effect::Permit => PolicyEffect::Permit,
        Effect::Forbid => PolicyEffect::Forbid,
    };
    let obligations = match obligations(policy, effect) {
        Ok(obligations) => obligations,
        Err(message) => {
            wrong(message);
            return None;
        }
    };
    let scope = match scope(policy) {
        Ok(scope) => scope,
        Err(message) => {
            wrong(message);
            return None;
        }
    };
    Some(LoadedPolicy {
        id: id.to_owned(),
        description: policy.annotation("description").map(str::to_owned),
        file: source.file.to_owned(),
        line,
        effect,
        obligations,
        condition: if policy.has_non_scope_constraint() {
            Condition::Some
        } else {
            Condition::None
        },
        scope,
        cedar: policy.new_id(PolicyId::new(id)),
    })
}

fn obligations(policy: &Policy, effect: PolicyEffect) -> Result<PolicyObligations, String> {
    let mut out = PolicyObligations::default();
    let words = policy.annotation("obligation");
    if effect == PolicyEffect::Forbid {
        return match ["obligation", "quorum", "approvers"]
            .iter()
            .find(|k| policy.annotation(*k).is_some())
        {
            Some(key) => Err(format!("a forbid obliges to nothing, but has @{key}")),
            None => Ok(out),
        };
    }
    let mut step_up = false;
    for word in words.unwrap_or_default().split(',').map(str::trim) {
        match word {
            "" if words.is_none() => {}
            "step_up" => step_up = true,
            "defer" => out.defer = true,
            "witnessed" => out.witnessed = true,
            other => match other
                .strip_prefix("redact:")
                .filter(|rule| !rule.is_empty())
            {
                Some(rule) => {
                    out.redact.insert(rule.to_owned());
                }
                None => {
                    return Err(format!(
                        "obligation {other:?} is not known, expected step_up, defer, witnessed or redact:<rule>"
                    ));
                }
            },
        }
    }
    let quorum = match policy.annotation("quorum") {
        None => None,
        Some(text) => Some(
            text.parse::<u8>()
                .ok()
                .filter(|n| (1..=MAX_QUORUM).contains(n))
                .ok_or_else(|| format!("@quorum is {text:?}, expected 1 to {MAX_QUORUM}"))?,
        ),
    };
    let group = policy.annotation("approvers").map(str::to_owned);
    if step_up {
        out.step_up = Some(StepUpRule {
            quorum: quorum.unwrap_or(1),
            group,
        });
    } else if quorum.is_some() || group.is_some() {
        return Err("@quorum and @approvers need @obligation(\"step_up\")".to_owned());
    }
    Ok(out)
}

fn scope(policy: &Policy) -> Result<Scope, String> {
    let entity = |uid: &EntityUid| (uid.type_name().to_string(), uid.id().unescaped().to_owned());
    let principal_of = |uid: &EntityUid| match entity(uid) {
        (ty, id) if ty == "Agent" => Ok(PrincipalScope::Agent(id)),
        (ty, id) if ty == "Tenant" => Ok(PrincipalScope::Tenant(id)),
        (ty, id) if ty == "Group" => Ok(PrincipalScope::Group(id)),
        (ty, _) => Err(format!(
            "principal is a {ty}, expected Agent, Tenant or Group"
        )),
    };
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => PrincipalScope::Any,
        PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::In(uid)
        | PrincipalConstraint::IsIn(_, uid) => principal_of(&uid)?,
    };
    let actions = match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![entity(&uid).1]),
        ActionConstraint::In(uids) => Some(uids.iter().map(|u| entity(u).1).collect()),
    };
    let resource_of = |uid: &EntityUid| match entity(uid) {
        (ty, id) if ty == "Capability" => Ok(ResourceScope::Capability(id)),
        (ty, id) if ty == "Tenant" => Ok(ResourceScope::Tenant(id)),
        (ty, id) if ty == "Adapter" => Ok(ResourceScope::Adapter(id)),
        (ty, _) => Err(format!(
            "resource is a {ty}, expected Capability, Tenant or Adapter"
        )),
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => ResourceScope::Any,
        ResourceConstraint::Eq(uid)
        | ResourceConstraint::In(uid)
        | ResourceConstraint::IsIn(_, uid) => resource_of(&uid)?,
    };
    Ok(Scope {
        principal,
        actions,
        resource,
    })
}

/// A name that nothing has makes a rule that never holds; that is an error, not a quiet hole.
fn check_names(p: &LoadedPolicy, known: &Known, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for uid in p.cedar.entity_literals() {
        let ty = uid.type_name().to_string();
        let name = uid.id().unescaped().to_owned();
        let Some((what, names)) = known.get_key_value(ty.as_str()) else {
            continue;
        };
        if !names.contains(&name) && seen.insert((*what, name.clone())) {
            report.line(&p.file, Some(p.line), Problem::Unknown { what, name });
        }
    }
    if let Some(group) = p
        .obligations
        .step_up
        .as_ref()
        .and_then(|s| s.group.as_ref())
        && known
            .get("approvers")
            .is_none_or(|groups| !groups.contains(group))
    {
        report.line(
            &p.file,
            Some(p.line),
            Problem::Unknown {
                what: "group of approvers",
                name: group.clone(),
            },
        );
    }
}

fn check_types(
    source: Source<'_>,
    validator: &Validator,
    policies: &[LoadedPolicy],
    report: &mut Report,
) {
    // Ids may repeat at this point; the set that is typed must not.
    let mut set = PolicySet::new();
    for p in policies {
        let _ = set.add(p.cedar.clone());
    }
    let result = validator.validate(&set, ValidationMode::Strict);
    for e in result.validation_errors() {
        let id = e.policy_id().to_string();
        let line =
            label_line(source, e).or_else(|| policies.iter().find(|p| p.id == id).map(|p| p.line));
        let message = without_name(&with_help(e), &id);
        report.line(source.file, line, Problem::Policy { id, message });
    }
    for w in result.validation_warnings() {
        let id = w.policy_id().to_string();
        let line =
            label_line(source, w).or_else(|| policies.iter().find(|p| p.id == id).map(|p| p.line));
        let message = without_name(&w.to_string(), &id);
        report.line(source.file, line, Problem::Policy { id, message });
    }
}

/// A message of Cedar without the policy's name, which [`Problem::Policy`] says already.
fn without_name(message: &str, id: &str) -> String {
    message
        .strip_prefix(&format!("for policy `{id}`, "))
        .unwrap_or(message)
        .to_owned()
}

impl Scope {
    /// Whether the policy can hold for this capability of this tenant, for some agent of it.
    pub(crate) fn covers(&self, place: &Place<'_>) -> bool {
        let principal = match &self.principal {
            PrincipalScope::Any | PrincipalScope::Agent(_) | PrincipalScope::Group(_) => true,
            PrincipalScope::Tenant(name) => name == place.tenant,
        };
        let action = self
            .actions
            .as_ref()
            .is_none_or(|names| names.iter().any(|n| place.is_action(n)));
        let resource = match &self.resource {
            ResourceScope::Any => true,
            ResourceScope::Capability(name) => {
                name.strip_prefix(place.tenant)
                    .and_then(|rest| rest.strip_prefix('/'))
                    == Some(place.capability)
            }
            ResourceScope::Tenant(name) => name == place.tenant,
            ResourceScope::Adapter(name) => name == place.adapter,
        };
        principal && action && resource
    }
}

/// A capability of a tenant.
pub(crate) struct Place<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) capability: &'a str,
    pub(crate) adapter: &'a str,
}

impl Place<'_> {
    fn is_action(&self, name: &str) -> bool {
        name == self.capability
            || name == crate::schema::ANY_CALL
            || name.strip_prefix("adapter:") == Some(self.adapter)
    }
}

impl Scope {
    /// Whether the head names this agent.
    pub(crate) fn names(&self, agent: &Agent) -> bool {
        match &self.principal {
            PrincipalScope::Any => true,
            PrincipalScope::Agent(urn) => *urn == agent.urn,
            PrincipalScope::Tenant(tenant) => *tenant == agent.tenant,
            PrincipalScope::Group(group) => agent.groups.contains(group),
        }
    }

    /// Whether the head names nothing at all.
    pub(crate) fn is_open(&self) -> bool {
        let any_action = self
            .actions
            .as_ref()
            .is_none_or(|names| names.iter().any(|n| n == crate::schema::ANY_CALL));
        self.principal == PrincipalScope::Any && any_action && self.resource == ResourceScope::Any
    }
}
