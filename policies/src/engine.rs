//! Deciding.
//!
//! In: a [`Bundle`] once, then [`Facts`] a call. Out: a [`PolicyDecision`]. Pure: no clock, no
//! randomness, no I/O.
//!
//! Policies are sliced when the bundle is compiled: by tenant and capability, and within these
//! by the agent or group that a policy's head names. A decision evaluates a few small sets
//! (policies for everybody, for this agent, for its groups), so 10,000 policies cost what 10 do.
//! Splitting is exact: a policy outside these sets has a head that cannot match.
//!
//! Mandatory rules stand here in code, after Cedar has spoken, and only ever make a verdict
//! stricter; their ids begin with `builtin:`.

use crate::bundle::Bundle;
use crate::content::Content;
use crate::decision::{
    BudgetFact, FACTS_VERSION, Facts, FlowFact, Modes, Obligations, Outcome, PolicyDecision,
    PolicyFault, StepUp, TokenFact, builtin,
};
use crate::input::{Input, Value};
use crate::policy::{LoadedPolicy, Place, PolicyEffect, PrincipalScope, resource_name};
use crate::site::capability::Capability;
use crate::site::people::{Agent, Approver};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PartialEntities, PartialEntityUid, PartialRequest, PolicySet, Request, RestrictedExpression,
    Schema,
};
use countersign_record::body::Mode;
use countersign_record::digest::{ArtifactDigest, UnixMillis};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Highest level of assurance: an attested key.
pub const MAX_ASSURANCE: u8 = 4;

/// Most places of policies in slices. One takes about 300 bytes (assumed), so this is 600 MB at worst.
pub const MAX_SLICE_PLACES: usize = 2_000_000;

/// Why a bundle makes no engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// Policies with open heads times tenants times capabilities are too many.
    #[error(
        "{found} places of policies, limit is {MAX_SLICE_PLACES}; name agents, capabilities or tenants in heads"
    )]
    TooManyPlaces {
        /// How many there are.
        found: usize,
    },
    /// The policy library refused something that was checked before.
    #[error("policy library refuses {what}: {reason}")]
    Library {
        /// What was given to it.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// A compiled bundle.
#[derive(Debug)]
pub struct Engine {
    content: Arc<Content>,
    digest: ArtifactDigest,
    authorizer: Authorizer,
    schema: Schema,
    tenants: HashMap<String, TenantRules>,
    policies: HashMap<String, usize>,
    agents: HashMap<String, EntityUid>,
}

/// What one tenant has.
#[derive(Debug)]
struct TenantRules {
    /// Entities, one set for each level of assurance.
    entities: Vec<Entities>,
    capabilities: HashMap<String, Slice>,
}

/// The policies of one capability of one tenant.
#[derive(Debug)]
struct Slice {
    capability: Arc<Capability>,
    action: EntityUid,
    resource: EntityUid,
    everybody: PolicySet,
    by_agent: HashMap<String, PolicySet>,
    by_group: HashMap<String, PolicySet>,
}

/// Who asks for a list of tools.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// URN of the agent.
    pub agent: &'a str,
    /// How sure the agent is known.
    pub assurance: u8,
}

/// A registered agent and its entity.
struct Caller<'a> {
    agent: &'a Agent,
    uid: &'a EntityUid,
}

/// Cedar's verdict on a slice's sets together.
struct Raw {
    permits: BTreeSet<String>,
    forbids: BTreeSet<String>,
    errors: Vec<PolicyFault>,
}

impl Engine {
    /// Compiles a bundle.
    ///
    /// # Errors
    /// If the slices would be too large.
    pub fn compile(bundle: &Bundle) -> Result<Self, EngineError> {
        Self::of_content(bundle.content(), bundle.digest())
    }

    /// Compiles what a bundle contains although nobody verified its signatures: to compute verdicts again or to
    /// compare them, never to put it in force.
    ///
    /// # Errors
    /// If the slices would be too large.
    pub fn danger_unverified(
        content: Content,
        digest: ArtifactDigest,
    ) -> Result<Self, EngineError> {
        Self::of_content(&Arc::new(content), digest)
    }

    pub(crate) fn of_content(
        content: &Arc<Content>,
        digest: ArtifactDigest,
    ) -> Result<Self, EngineError> {
        let mut places: usize = 0;
        let mut tenants = HashMap::new();
        for tenant in &content.head.tenants {
            let mut capabilities = HashMap::new();
            for c in content
                .capabilities
                .values()
                .filter(|c| c.tenants.contains(&tenant.name))
            {
                let slice = Slice::compile(content, &tenant.name, c, &mut places)?;
                capabilities.insert(c.id.clone(), slice);
            }
            let entities = (0..=MAX_ASSURANCE)
                .map(|assurance| entities(content, &tenant.name, assurance))
                .collect::<Result<_, _>>()?;
            tenants.insert(
                tenant.name.clone(),
                TenantRules {
                    entities,
                    capabilities,
                },
            );
        }
        let policies = content
            .policies
            .iter()
            .enumerate()
            .map(|(i, p)| (p.id.clone(), i))
            .collect();
        let agents = content
            .agents
            .keys()
            .map(|urn| Ok((urn.clone(), uid("Agent", urn)?)))
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            content: Arc::clone(content),
            digest,
            authorizer: Authorizer::new(),
            schema: content.schema.clone(),
            tenants,
            policies,
            agents,
        })
    }

    /// Digest of the bundle.
    #[must_use]
    pub fn bundle(&self) -> ArtifactDigest {
        self.digest
    }

    /// What the bundle contains.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The agent of this URN, if it is this tenant's.
    #[must_use]
    pub fn agent(&self, tenant: &str, urn: &str) -> Option<&Agent> {
        self.content.agents.get(urn).filter(|a| a.tenant == tenant)
    }

    /// The capability of a tenant that an adapter's tool is.
    #[must_use]
    pub fn capability(&self, tenant: &str, adapter: &str, tool: &str) -> Option<&Arc<Capability>> {
        self.capability_by_id(tenant, &format!("{adapter}.{tool}"))
    }

    /// The capability of a tenant with this id.
    #[must_use]
    pub fn capability_by_id(&self, tenant: &str, id: &str) -> Option<&Arc<Capability>> {
        self.tenants
            .get(tenant)?
            .capabilities
            .get(id)
            .map(|s| &s.capability)
    }

    /// People whose approval counts for a step-up of this tenant's capability.
    #[must_use]
    pub fn eligible_approvers(
        &self,
        tenant: &str,
        capability: &str,
        step_up: &StepUp,
    ) -> Vec<&Approver> {
        self.content
            .eligible(tenant, capability, &step_up.approvers)
    }

    /// Decides.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> PolicyDecision {
        let denied = |rule: &str, highest: Mode| {
            let modes = Modes {
                requested: facts.requested,
                effective: facts.requested.min(highest),
                highest,
            };
            deny(vec![rule.to_owned()], Vec::new(), modes)
        };
        if facts.version != FACTS_VERSION {
            return denied(builtin::FACTS_VERSION, Mode::ReadOnly);
        }
        let Some(tenant) = self.tenants.get(&facts.tenant) else {
            return denied(builtin::UNKNOWN_TENANT, Mode::ReadOnly);
        };
        let Some(slice) = tenant.capabilities.get(&facts.capability) else {
            return denied(builtin::UNKNOWN_CAPABILITY, Mode::ReadOnly);
        };
        let highest = slice.capability.mode;
        let caller = self.caller(&facts.tenant, &facts.agent);
        let entities = tenant.entities.get(usize::from(facts.assurance));
        let (Some(caller), Some(entities)) = (caller, entities) else {
            return denied(builtin::UNKNOWN_AGENT, highest);
        };
        if facts.assurance < slice.capability.min_assurance {
            return denied(builtin::ASSURANCE_TOO_LOW, highest);
        }
        // By the declared mode: asking for a lower one does not make the tool act for nobody.
        if highest == Mode::Delegated && (facts.token.is_none() || facts.user.is_none()) {
            return denied(builtin::DELEGATION_REQUIRED, highest);
        }
        let scopes = facts.token.as_ref().map(|token| &token.scopes);
        let has = |scope: &String| scopes.is_some_and(|has| has.contains(scope));
        if !slice.capability.scopes.iter().all(has) {
            return denied(builtin::SCOPE_MISSING, highest);
        }
        if facts.descriptor != slice.capability.descriptor {
            return denied(builtin::DESCRIPTOR_NOT_PINNED, highest);
        }
        if facts.requested > highest {
            return denied(builtin::MODE_ABOVE_DECLARED, highest);
        }
        if facts
            .budget
            .limit
            .is_some_and(|limit| facts.budget.calls >= limit)
        {
            return denied(builtin::BUDGET_SPENT, highest);
        }
        let modes = Modes {
            requested: facts.requested,
            effective: facts.requested,
            highest,
        };
        match self.ask(slice, &caller, entities, facts) {
            Some(raw) => self.conclude(slice, facts, raw, modes),
            None => deny(
                vec![builtin::EVALUATION_ERROR.to_owned()],
                vec![PolicyFault::Facts],
                modes,
            ),
        }
    }

    /// Whether results of any capability are traced into later arguments.
    #[must_use]
    pub fn traces_results(&self) -> bool {
        let mut all = self.content().capabilities.values();
        all.any(|c| c.trace_results)
    }

    fn caller(&self, tenant: &str, urn: &str) -> Option<Caller<'_>> {
        let agent = self.agent(tenant, urn)?;
        self.agents.get(urn).map(|uid| Caller { agent, uid })
    }

    /// What Cedar says; `None` if the facts are not of the schema's types.
    fn ask(
        &self,
        slice: &Slice,
        caller: &Caller<'_>,
        entities: &Entities,
        facts: &Facts,
    ) -> Option<Raw> {
        let context = context(facts)?;
        let request = Request::new(
            caller.uid.clone(),
            slice.action.clone(),
            slice.resource.clone(),
            context,
            Some(&self.schema),
        )
        .ok()?;
        let mut raw = Raw {
            permits: BTreeSet::new(),
            forbids: BTreeSet::new(),
            errors: Vec::new(),
        };
        for set in slice.sets(caller.agent) {
            if set.is_empty() {
                continue;
            }
            let response = self.authorizer.is_authorized(&request, set, entities);
            let reasons = response.diagnostics().reason().map(ToString::to_string);
            // Reasons of a denial are the forbids that held; a denial by default has none.
            match response.decision() {
                Decision::Allow => raw.permits.extend(reasons),
                Decision::Deny => raw.forbids.extend(reasons),
            }
            for e in response.diagnostics().errors() {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(e) = e;
                raw.errors.push(PolicyFault::Evaluation {
                    policy: e.policy_id().to_string(),
                });
            }
        }
        raw.errors.sort();
        Some(raw)
    }

    /// From Cedar's verdict to ours: errors and forbids deny, obligations and mandatory rules bind.
    fn conclude(&self, slice: &Slice, facts: &Facts, raw: Raw, modes: Modes) -> PolicyDecision {
        let Raw {
            permits,
            forbids,
            errors,
        } = raw;
        if !errors.is_empty() || !forbids.is_empty() {
            let mut policies: BTreeSet<String> = forbids;
            if !errors.is_empty() {
                policies.insert(builtin::EVALUATION_ERROR.to_owned());
            }
            return deny(policies.into_iter().collect(), errors, modes);
        }
        if permits.is_empty() {
            return deny(vec![builtin::DEFAULT_DENY.to_owned()], Vec::new(), modes);
        }
        let c = &slice.capability;
        let mut obligations = self.obligations(&permits, c);
        let mut policies = permits;
        if c.mode == Mode::Destructive {
            policies.insert(builtin::DESTRUCTIVE_NEEDS_APPROVAL.to_owned());
            let step_up = StepUp {
                quorum: 1,
                approvers: c.approvers.iter().cloned().collect(),
            };
            let _ = obligations.step_up.get_or_insert(step_up);
        }
        let unreachable = obligations.step_up.as_ref().is_some_and(|s| {
            self.content
                .eligible(&facts.tenant, &c.id, &s.approvers)
                .len()
                < usize::from(s.quorum)
        });
        if unreachable {
            return deny(
                vec![builtin::QUORUM_UNREACHABLE.to_owned()],
                Vec::new(),
                modes,
            );
        }
        let outcome = match (&obligations.step_up, obligations.defer) {
            (_, true) => Outcome::Defer,
            (Some(step_up), false) => Outcome::StepUp(step_up.clone()),
            (None, false) if obligations.redact.is_empty() => Outcome::Allow,
            (None, false) => Outcome::Modify {
                redactions: obligations.redact.iter().cloned().collect(),
            },
        };
        PolicyDecision {
            outcome,
            policies: policies.into_iter().collect(),
            obligations,
            errors,
            modes,
        }
    }

    /// The strongest of what the permits oblige to, and what the capability always does.
    fn obligations(&self, permits: &BTreeSet<String>, c: &Capability) -> Obligations {
        let mut out = Obligations {
            redact: Content::always_redacted(c).map(str::to_owned).collect(),
            ..Obligations::default()
        };
        let mut groups: BTreeSet<String> = BTreeSet::new();
        let mut quorum: u8 = 0;
        for p in permits.iter().filter_map(|id| self.policy(id)) {
            out.defer |= p.obligations.defer;
            out.witnessed |= p.obligations.witnessed;
            out.redact.extend(p.obligations.redact.iter().cloned());
            if let Some(step_up) = &p.obligations.step_up {
                quorum = quorum.max(step_up.quorum);
                groups.extend(step_up.group.iter().cloned());
            }
        }
        if quorum > 0 {
            groups.extend(c.approvers.iter().cloned());
            out.step_up = Some(StepUp {
                quorum,
                approvers: groups.into_iter().collect(),
            });
        }
        out
    }

    fn policy(&self, id: &str) -> Option<&LoadedPolicy> {
        self.policies
            .get(id)
            .and_then(|i| self.content.policies.get(*i))
    }

    /// Capabilities that policy could permit this agent for some arguments, in order of their ids.
    ///
    /// What is left out is denied for all arguments, at all times; what is listed may still be denied.
    #[must_use]
    pub fn visible(&self, viewer: &Viewer<'_>) -> Vec<&Arc<Capability>> {
        let Some(tenant) = self.tenants.get(viewer.tenant) else {
            return Vec::new();
        };
        let Some(caller) = self.caller(viewer.tenant, viewer.agent) else {
            return Vec::new();
        };
        let entities = tenant.entities.get(usize::from(viewer.assurance));
        let Some(entities) =
            entities.and_then(|e| PartialEntities::from_concrete(e.clone(), &self.schema).ok())
        else {
            return Vec::new();
        };
        let mut out: Vec<&Arc<Capability>> = tenant
            .capabilities
            .values()
            .filter(|slice| viewer.assurance >= slice.capability.min_assurance)
            .filter(|slice| self.is_conceivable(slice, &caller, &entities))
            .map(|slice| &slice.capability)
            .collect();
        out.sort_by(|a, b| a.id.cmp(&b.id));
        out
    }

    /// Whether partial evaluation, with nothing known of the call, leaves a permit and no sure forbid.
    fn is_conceivable(
        &self,
        slice: &Slice,
        caller: &Caller<'_>,
        entities: &PartialEntities,
    ) -> bool {
        let request = PartialRequest::new(
            PartialEntityUid::from_concrete(caller.uid.clone()),
            slice.action.clone(),
            PartialEntityUid::from_concrete(slice.resource.clone()),
            None,
            &self.schema,
        );
        let Ok(request) = request else { return false };
        let mut permit = false;
        for set in slice.sets(caller.agent) {
            let Ok(response) = set.tpe(&request, entities, &self.schema) else {
                return false;
            };
            if response.true_forbids().next().is_some() {
                return false;
            }
            permit |= response.true_permits().next().is_some()
                || response.residual_permits().next().is_some();
        }
        permit
    }
}

impl Slice {
    fn compile(
        content: &Content,
        tenant: &str,
        c: &Arc<Capability>,
        places: &mut usize,
    ) -> Result<Self, EngineError> {
        let place = Place {
            tenant,
            capability: &c.id,
            adapter: &c.adapter,
        };
        let mut everybody = PolicySet::new();
        let mut by_agent: HashMap<String, PolicySet> = HashMap::new();
        let mut by_group: HashMap<String, PolicySet> = HashMap::new();
        for p in content.policies.iter().filter(|p| p.scope.covers(&place)) {
            let set = match &p.scope.principal {
                PrincipalScope::Agent(urn) => {
                    if content.agents.get(urn).is_none_or(|a| a.tenant != tenant) {
                        continue;
                    }
                    by_agent.entry(urn.clone()).or_default()
                }
                PrincipalScope::Group(group) => by_group.entry(group.clone()).or_default(),
                PrincipalScope::Any | PrincipalScope::Tenant(_) => &mut everybody,
            };
            *places = places.saturating_add(1);
            if *places > MAX_SLICE_PLACES {
                return Err(EngineError::TooManyPlaces { found: *places });
            }
            set.add(p.cedar.clone())
                .map_err(|e| library("a policy", &e))?;
        }
        Ok(Self {
            capability: Arc::clone(c),
            action: uid("Action", &c.id)?,
            resource: uid("Capability", &resource_name(tenant, &c.id))?,
            everybody,
            by_agent,
            by_group,
        })
    }

    /// The sets whose heads can match this agent.
    fn sets(&self, agent: &Agent) -> impl Iterator<Item = &PolicySet> {
        let groups = agent.groups.iter().filter_map(|g| self.by_group.get(g));
        std::iter::once(&self.everybody)
            .chain(self.by_agent.get(&agent.urn))
            .chain(groups)
    }
}

impl Facts {
    /// Facts of a call whose arguments were constrained; the rest comes from identity, budget and approval.
    #[must_use]
    pub fn of_call(call: CallFacts<'_>) -> Self {
        let CallFacts {
            viewer,
            user,
            token,
            capability,
            descriptor,
            requested,
            constrained,
            approvers,
            budget,
            time,
            flow,
        } = call;
        let shapes =
            constrained
                .shapes()
                .iter()
                .map(|(argument, shape)| crate::decision::ShapeFact {
                    argument: argument.clone(),
                    shape: shape.clone(),
                });
        Self {
            version: FACTS_VERSION,
            tenant: viewer.tenant.to_owned(),
            agent: viewer.agent.to_owned(),
            assurance: viewer.assurance,
            user: user.map(str::to_owned),
            capability: capability.id.clone(),
            descriptor,
            requested: requested.unwrap_or(capability.mode),
            input: constrained.input().clone(),
            shapes: shapes.collect(),
            approvers: approvers.iter().cloned().collect(),
            budget,
            time,
            token: token.cloned(),
            flow: flow.cloned(),
        }
    }
}

/// What [`Facts::of_call`] is made from.
#[derive(Debug, Clone)]
pub struct CallFacts<'a> {
    /// Who calls.
    pub viewer: Viewer<'a>,
    /// The person it acts for.
    pub user: Option<&'a str>,
    /// What its token says, if it showed one of an issuer.
    pub token: Option<&'a TokenFact>,
    /// What is called.
    pub capability: &'a Capability,
    /// Digest of the descriptor that the upstream lists now.
    pub descriptor: ArtifactDigest,
    /// Mode that the request asked to run under, if it did.
    pub requested: Option<Mode>,
    /// The arguments.
    pub constrained: &'a crate::site::capability::Constrained,
    /// Ids of the people who have approved this very action.
    pub approvers: &'a BTreeSet<String>,
    /// The budget.
    pub budget: BudgetFact,
    /// Time of the decision.
    pub time: UnixMillis,
    /// What of the arguments repeats results, where the site traces any.
    pub flow: Option<&'a FlowFact>,
}

fn deny(policies: Vec<String>, errors: Vec<PolicyFault>, modes: Modes) -> PolicyDecision {
    PolicyDecision {
        outcome: Outcome::Deny,
        policies,
        obligations: Obligations::default(),
        errors,
        modes,
    }
}

fn library(what: &'static str, e: &impl ToString) -> EngineError {
    EngineError::Library {
        what,
        reason: e.to_string(),
    }
}

fn uid(ty: &str, id: &str) -> Result<EntityUid, EngineError> {
    let ty = EntityTypeName::from_str(ty).map_err(|e| library("an entity type", &e))?;
    Ok(EntityUid::from_type_name_and_id(ty, EntityId::new(id)))
}

/// Everything that policies of a tenant can look up, with its agents at one level of assurance.
fn entities(content: &Content, tenant: &str, assurance: u8) -> Result<Entities, EngineError> {
    let text = |s: &str| RestrictedExpression::new_string(s.to_owned());
    let attributes =
        |pairs: Vec<(&str, RestrictedExpression)>| -> HashMap<String, RestrictedExpression> {
            pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
        };
    let tenant_uid = uid("Tenant", tenant)?;
    let mut out = vec![Entity::new_no_attrs(tenant_uid.clone(), HashSet::new())];
    let mut groups = BTreeSet::new();
    for a in content.agents.values().filter(|a| a.tenant == tenant) {
        let mut parents = HashSet::from([tenant_uid.clone()]);
        for group in &a.groups {
            groups.insert(group);
            parents.insert(uid("Group", group)?);
        }
        let attrs = attributes(vec![
            ("urn", text(&a.urn)),
            ("tenant", text(tenant)),
            (
                "assurance",
                RestrictedExpression::new_long(i64::from(assurance)),
            ),
        ]);
        out.push(
            Entity::new(uid("Agent", &a.urn)?, attrs, parents)
                .map_err(|e| library("an agent", &e))?,
        );
    }
    let mut adapters = BTreeSet::new();
    for c in content
        .capabilities
        .values()
        .filter(|c| c.tenants.iter().any(|t| t == tenant))
    {
        adapters.insert(&c.adapter);
        let parents = HashSet::from([tenant_uid.clone(), uid("Adapter", &c.adapter)?]);
        let mut attrs = vec![
            ("id", text(&c.id)),
            ("tenant", text(tenant)),
            ("adapter", text(&c.adapter)),
            ("mode", text(c.mode.name())),
            ("classification", text(c.classification.name())),
            (
                "destinations",
                RestrictedExpression::new_set(c.destinations.iter().map(|d| text(d))),
            ),
        ];
        if let Some(layers) = content.guaranteed(&c.adapter) {
            let layers = layers.into_iter().map(text);
            attrs.push(("sandbox", RestrictedExpression::new_set(layers)));
        }
        let attrs = attributes(attrs);
        let name = resource_name(tenant, &c.id);
        out.push(
            Entity::new(uid("Capability", &name)?, attrs, parents)
                .map_err(|e| library("a capability", &e))?,
        );
    }
    for group in groups {
        out.push(Entity::new_no_attrs(uid("Group", group)?, HashSet::new()));
    }
    for adapter in adapters {
        out.push(Entity::new_no_attrs(
            uid("Adapter", adapter)?,
            HashSet::new(),
        ));
    }
    Entities::from_entities(out, Some(&content.schema)).map_err(|e| library("the entities", &e))
}

/// The context of a request; `None` if a number of the facts is beyond what Cedar holds.
fn context(facts: &Facts) -> Option<Context> {
    let text = |s: &String| RestrictedExpression::new_string(s.clone());
    let long = |n: u64| i64::try_from(n).ok().map(RestrictedExpression::new_long);
    let mut budget = vec![("calls".to_owned(), long(facts.budget.calls)?)];
    if let Some(limit) = facts.budget.limit {
        budget.push(("limit".to_owned(), long(limit)?));
    }
    let shapes = facts
        .shapes
        .iter()
        .map(|s| (s.argument.clone(), text(&s.shape)));
    let mut pairs = vec![
        ("input".to_owned(), record(&facts.input)?),
        (
            "input_shape".to_owned(),
            RestrictedExpression::new_record(shapes).ok()?,
        ),
        (
            "mode".to_owned(),
            RestrictedExpression::new_string(facts.requested.name().to_owned()),
        ),
        (
            "approvers".to_owned(),
            RestrictedExpression::new_set(facts.approvers.iter().map(text)),
        ),
        (
            "budget".to_owned(),
            RestrictedExpression::new_record(budget).ok()?,
        ),
        ("time_ms".to_owned(), long(facts.time.0)?),
    ];
    if let Some(user) = &facts.user {
        pairs.push(("user".to_owned(), text(user)));
    }
    if let Some(token) = &facts.token {
        pairs.push(("token".to_owned(), token_record(token)?));
    }
    if let Some(flow) = &facts.flow {
        pairs.push(("flow".to_owned(), flow_record(flow)?));
    }
    Context::from_pairs(pairs).ok()
}

fn flow_record(flow: &FlowFact) -> Option<RestrictedExpression> {
    let FlowFact {
        labels,
        sources,
        arguments,
        since,
        dropped,
    } = flow;
    let text = |s: &String| RestrictedExpression::new_string(s.clone());
    let set = |all: &Vec<String>| RestrictedExpression::new_set(all.iter().map(text));
    let pairs = [
        ("labels".to_owned(), set(labels)),
        ("sources".to_owned(), set(sources)),
        ("arguments".to_owned(), set(arguments)),
        (
            "since_ms".to_owned(),
            RestrictedExpression::new_long(i64::try_from(since.0).ok()?),
        ),
        (
            "dropped".to_owned(),
            RestrictedExpression::new_bool(*dropped),
        ),
    ];
    RestrictedExpression::new_record(pairs).ok()
}

fn token_record(token: &TokenFact) -> Option<RestrictedExpression> {
    let TokenFact {
        issuer,
        client,
        scopes,
        principals,
    } = token;
    let text = |s: &String| RestrictedExpression::new_string(s.clone());
    let set = |all: &Vec<String>| RestrictedExpression::new_set(all.iter().map(text));
    let depth = i64::try_from(principals.len()).ok()?;
    let pairs = [
        ("issuer".to_owned(), text(issuer)),
        ("client".to_owned(), text(client)),
        ("scopes".to_owned(), set(scopes)),
        ("principals".to_owned(), set(principals)),
        ("depth".to_owned(), RestrictedExpression::new_long(depth)),
    ];
    RestrictedExpression::new_record(pairs).ok()
}

fn record(input: &Input) -> Option<RestrictedExpression> {
    fields(input.0.iter())
}

fn fields<'a>(
    pairs: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Option<RestrictedExpression> {
    let pairs: Option<Vec<_>> = pairs
        .map(|(k, v)| Some((k.clone(), expression(v)?)))
        .collect();
    RestrictedExpression::new_record(pairs?).ok()
}

fn expression(value: &Value) -> Option<RestrictedExpression> {
    match value {
        Value::Bool(b) => Some(RestrictedExpression::new_bool(*b)),
        Value::Long(n) => Some(RestrictedExpression::new_long(*n)),
        Value::Text(s) => Some(RestrictedExpression::new_string(s.clone())),
        Value::Set(items) => {
            let items: Option<Vec<_>> = items.iter().map(expression).collect();
            items.map(RestrictedExpression::new_set)
        }
        Value::Record(inner) => fields(inner.iter()),
    }
}

/// Whether a permit has no condition and no scope at all.
pub(crate) fn permits_everything(p: &LoadedPolicy) -> bool {
    p.effect == PolicyEffect::Permit
        && p.condition == crate::policy::Condition::None
        && p.scope.is_open()
}

#[cfg(test)]
mod tests;
