//! Stage 3: the tool exists for this caller, is the one that was registered, and the arguments are permitted ones.
//!
//! In: [`Identified`], the compiled bundle, and the descriptor that the upstream lists now.
//! Out: [`Surfaced`]. A tool outside the bundle does not exist.

use crate::admission::Admitted;
use crate::call::{Progress, What, Who};
use crate::identity::Identified;
use crate::refusal::{Code, Refusal, Refused, Retry};
use crate::request::Tool;
use crate::state::stops::Called;
use bytes::Bytes;
use countersign_policies::constraint::{Own, Rule};
use countersign_policies::decision::FlowFact;
use countersign_policies::engine::Engine;
use countersign_policies::site::capability::{Capability, Constrained};
use countersign_policies::site::people::RunBudget;
use countersign_record::body::{CapabilityRef, Handling};
use countersign_record::digest::{ArtifactDigest, TenantId};
use std::sync::Arc;

/// What a refusal calls an argument that the tool does not have.
pub const UNDECLARED: &str = "(undeclared)";

/// What a refusal, and the controls of a record, call answers to a server's questions.
pub const ANSWERS: &str = "(answers)";

/// What is known of an upstream's tool at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The upstream lists it with this descriptor.
    Descriptor(ArtifactDigest),
    /// The upstream does not list it.
    Unlisted,
    /// The upstream cannot be asked.
    Unreachable,
    /// The way to the upstream is not one that may be gone.
    Barred,
    /// The upstream's certificate is not one that counts.
    Untrusted,
    /// The upstream's sandbox cannot be had.
    Unsandboxed,
}

/// A call of a registered tool with permitted arguments.
#[derive(Debug)]
pub struct Surfaced {
    pub(crate) progress: Progress,
    pub(crate) who: Arc<Who>,
    pub(crate) capability: Arc<Capability>,
    pub(crate) constrained: Constrained,
    pub(crate) descriptor: ArtifactDigest,
    pub(crate) arguments: Bytes,
    values: serde_json::Map<String, serde_json::Value>,
    /// Answers to the server's questions, as members of the parameters; nothing of them is shown to policy.
    pub(crate) answers: Option<Bytes>,
    /// What its run may spend.
    pub(crate) run_budget: RunBudget,
    /// What of the arguments repeats results; where a site traces any, policy is not asked without.
    pub(crate) flow: Option<FlowFact>,
}

impl Surfaced {
    /// Whose call it is, and its arguments: what [`crate::flow::Traces::find`] looks at.
    #[must_use]
    pub fn looked_at(
        &self,
    ) -> (
        TenantId,
        String,
        &serde_json::Map<String, serde_json::Value>,
    ) {
        (self.who.tenant, self.who.party(), &self.values)
    }

    /// With what was found.
    #[must_use]
    pub fn traced(self, flow: Option<FlowFact>) -> Self {
        Self { flow, ..self }
    }

    /// For whom.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.who.tenant
    }

    /// What is called.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }
}

/// Stage 3.
///
/// # Errors
/// A refusal, if the tool does not exist for this caller, differs from the registered one, or the arguments are not permitted.
pub fn surface(
    admitted: Admitted,
    engine: &Engine,
    observe: impl FnOnce(&Capability) -> Observed,
) -> Result<Surfaced, Box<Refused>> {
    let Identified {
        mut progress,
        who,
        tool,
        arguments,
        value,
        answers,
        run: _,
    } = admitted.0;
    let Some(capability) = named(&who, &tool, engine).cloned() else {
        return Err(Box::new(Refused {
            progress,
            refusal: Refusal::never(Code::UnknownCapability),
        }));
    };
    progress.what = Some(what(&capability));
    if answers.is_some() {
        progress.controls.push(ANSWERS.to_owned());
    }
    let outcome = pinned(&capability, observe(&capability))
        .and_then(|descriptor| answerable(&capability, answers.as_ref()).map(|()| descriptor))
        .and_then(|descriptor| Ok((descriptor, capability.constrain(&value).map_err(violation)?)))
        .and_then(|(descriptor, constrained)| {
            let own = Own {
                tenant: &who.tenant_name,
                tenant_id: &who.tenant.to_string(),
                user: who.user.as_deref(),
            };
            let bound = capability.bound(&constrained, own).map_err(violation);
            bound.map(|()| (descriptor, constrained))
        });
    let agent = engine.content().agents.get(&who.agent);
    let run_budget = agent.map_or_else(RunBudget::default, |a| a.run_budget);
    match outcome {
        Ok((descriptor, constrained)) => Ok(Surfaced {
            progress,
            who,
            capability,
            constrained,
            descriptor,
            arguments,
            values: value,
            answers,
            run_budget,
            flow: None,
        }),
        Err(refusal) => Err(Box::new(Refused { progress, refusal })),
    }
}

/// The capability that a tenant calls by this name.
fn named<'e>(who: &Who, tool: &Tool, engine: &'e Engine) -> Option<&'e Arc<Capability>> {
    match tool {
        Tool::Capability(id) => engine.capability_by_id(&who.tenant_name, id),
        Tool::Upstream {
            adapter,
            method,
            name,
        } => engine
            .capability(&who.tenant_name, adapter, name)
            // Names are joined by a dot, and both may come from a client; a tool may have a method's name.
            .filter(|c| c.adapter == *adapter && c.tool == *name && c.method == *method),
    }
}

/// A call as stops see it, before it is looked at. A tool that does not exist has no name.
#[must_use]
pub fn called<'a>(identified: &'a Identified, engine: &'a Engine) -> Called<'a> {
    let who = identified.who();
    let capability = named(who, identified.tool(), engine);
    Called {
        tenant: who.tenant,
        capability: capability.map_or("", |c| c.id.as_str()),
        agent: &who.agent,
    }
}

fn what(capability: &Capability) -> What {
    What {
        capability: capability_ref(capability),
        handling: Handling {
            classification: capability.classification,
            retention: capability.retention.clone(),
            residency: capability.residency.clone(),
        },
    }
}

pub(crate) fn capability_ref(capability: &Capability) -> CapabilityRef {
    CapabilityRef {
        id: capability.id.clone(),
        descriptor: Some(capability.descriptor),
        adapter: capability.adapter.clone(),
        upstream: None,
    }
}

fn pinned(capability: &Capability, observed: Observed) -> Result<ArtifactDigest, Refusal> {
    match observed {
        Observed::Descriptor(digest) if digest == capability.descriptor => Ok(digest),
        Observed::Descriptor(_) | Observed::Unlisted => {
            Err(Refusal::never(Code::DescriptorChanged))
        }
        Observed::Barred => Err(Refusal::never(Code::EgressDenied)),
        Observed::Unsandboxed => Err(Refusal::never(Code::SandboxUnavailable)),
        Observed::Untrusted => Err(Refusal::never(Code::UpstreamUntrusted)),
        Observed::Unreachable => Err(Refusal::new(Code::UpstreamUnavailable, Retry::After(5))),
    }
}

/// Answers to questions that the server may not ask are not handed on.
fn answerable(capability: &Capability, answers: Option<&Bytes>) -> Result<(), Refusal> {
    match answers {
        Some(_) if capability.asks.is_empty() => Err(Refusal::new(
            Code::InvalidArguments,
            Retry::WithChanges(ANSWERS.to_owned()),
        )
        .by_rule("asks:none".to_owned())),
        Some(_) | None => Ok(()),
    }
}

fn violation(violation: countersign_policies::constraint::ConstraintViolation) -> Refusal {
    let (code, argument) = match violation.rule {
        Rule::UnrepresentableNumber => (Code::UnrepresentableNumber, violation.argument),
        Rule::OwnTenant => (Code::CrossTenantDenied, violation.argument),
        Rule::EndpointIn => (Code::DestinationDenied, violation.argument),
        // The name is the client's own text, which no refusal repeats.
        Rule::UnknownArgument => (Code::InvalidArguments, UNDECLARED.to_owned()),
        Rule::Required
        | Rule::Type
        | Rule::InputSchema
        | Rule::MaxLength
        | Rule::Alphabet
        | Rule::Pattern
        | Rule::OneOf
        | Rule::AllowList
        | Rule::Min
        | Rule::Max
        | Rule::OwnUser
        | Rule::Destination
        | Rule::Shape => (Code::InvalidArguments, violation.argument),
    };
    Refusal::new(code, Retry::WithChanges(argument))
        .by_rule(format!("constraint:{}", violation.rule.name()))
}
