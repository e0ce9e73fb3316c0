//! The stages of a call, run again.
//!
//! In: a [`Recorded`] call, the rules and the state on which it was decided. Out: [`Rebuilt`]:
//! intent and Decision Record as the same stages make them now. Every stage is the gateway's.
//!
//! What other calls held at that moment is not in the log. A record that says so ("the key is in
//! use", "wait with the other call") is tried without it first, and then with it ([`Other`]);
//! it only ever makes the outcome stricter.

use crate::call::{Recorded, Sealed};
use crate::compare::{Difference, Stage};
use crate::rules::Rules;
use bytes::Bytes;
use countersign_gateway::admission::{Admitted, Conditions, admit};
use countersign_gateway::approval::{self, Approved, Clearance};
use countersign_gateway::budget::{Budgeted, Repeated, budget};
use countersign_gateway::call::Moment;
use countersign_gateway::decision::{self, Record};
use countersign_gateway::execute::{Around, NoAnswer, NotSent, Report, ToolError};
use countersign_gateway::identity::Identified;
use countersign_gateway::mcp::{Message, Method};
use countersign_gateway::policy::{self, Judgement};
use countersign_gateway::recall::{Held, MAX_HELD, Presented, danger_identify, danger_seed};
use countersign_gateway::refusal::{Code, Refusal, Refused};
use countersign_gateway::request::{KEPT, Request, Untrusted};
use countersign_gateway::seal::{CosignedSize, Durable, IntentReceipt, Sealed as SealedCall};
use countersign_gateway::state::State;
use countersign_gateway::surface::{Observed, Surfaced, surface};
use countersign_policies::decision::FlowFact;
use countersign_policies::site::capability::Capability;
use countersign_record::body::{Action, Decision, Effect, Intent, Verdict};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{CallId, Commitment, TenantId, UnixMillis};
use countersign_record::entry::EntryRef;

/// Reads the outcome of a settled call by the leaf index of its record: the call, and what was released.
pub type First<'a> = dyn FnMut(u64) -> Option<(CallId, Bytes)> + 'a;

/// How many calls can have been under way, as far as so many are wanted.
pub type UnderWay<'a> = dyn Fn(u64) -> u64 + 'a;

/// What a call is run again on.
pub struct World<'a> {
    /// The bundle that was in force.
    pub rules: &'a Rules,
    /// What the log folds to at the call's basis.
    pub state: &'a mut State,
    /// What was in force when it was decided.
    pub in_force: EntryRef,
    /// What was in force when it was settled: another one, where a restart settled it.
    pub settled_in_force: EntryRef,
    /// Where a repeated call finds the first outcome.
    pub first: &'a mut First<'a>,
    /// Calls that can have been under way.
    pub under_way: &'a UnderWay<'a>,
}

/// What another call held, as the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// Nothing.
    Nothing,
    /// Places in the budget, as many as can have been under way.
    Budget,
    /// The idempotency key.
    Key,
    /// The approvals of the action.
    Approvals,
    /// The action itself: it was being halted.
    Action,
    /// Other calls of its run were about to be sealed.
    Run,
}

impl Other {
    /// What is worth trying for a record, in order.
    #[must_use]
    pub fn of(decision: &Decision) -> &'static [Self] {
        let code = decision.code.as_deref().and_then(Code::from_name);
        if decision.verdict == Verdict::StepUp && decision.parent.is_some() {
            &[Self::Nothing, Self::Action, Self::Approvals]
        } else if code == Some(Code::IdempotencyInProgress) {
            &[Self::Nothing, Self::Key]
        } else if code == Some(Code::RateExceeded) {
            &[Self::Nothing, Self::Budget]
        } else if code == Some(Code::RunBudgetExceeded) {
            &[Self::Nothing, Self::Run]
        } else {
            &[Self::Nothing]
        }
    }
}

/// A call's records as the stages make them now.
#[derive(Debug)]
pub struct Rebuilt {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The intent.
    pub intent: Option<Intent>,
    /// The Decision Record.
    pub decision: Decision,
    /// What opens their commitments.
    pub disclosures: Vec<Disclosure>,
    /// Stages that ran.
    pub ran: Vec<Stage>,
}

/// Runs a call again.
///
/// # Errors
/// Where it could not go on, which a live call could not have either.
pub fn again(
    recorded: &Recorded,
    world: &mut World<'_>,
    other: Other,
) -> Result<Rebuilt, Box<Difference>> {
    let mut held = Held::default();
    let mut way = Way {
        recorded,
        world,
        held: &mut held,
        other,
        ran: Vec::new(),
    };
    let rebuilt = way.go();
    held.release(world.state);
    world.state.release(recorded.decision.call);
    rebuilt.map(|rebuilt| with_subject(rebuilt, recorded))
}

/// A subject's pseudonym is made with a key that never leaves the gateway; both records have to have the same.
fn with_subject(mut rebuilt: Rebuilt, recorded: &Recorded) -> Rebuilt {
    let subject = recorded.decision.caller.subject;
    rebuilt.decision.caller.subject = subject;
    if let Some(intent) = &mut rebuilt.intent {
        intent.caller.subject = subject;
    }
    rebuilt
}

struct Way<'a, 'w> {
    recorded: &'a Recorded,
    world: &'a mut World<'w>,
    held: &'a mut Held,
    other: Other,
    ran: Vec<Stage>,
}

impl Way<'_, '_> {
    fn go(&mut self) -> Result<Rebuilt, Box<Difference>> {
        let request = request(self.recorded, self.world.rules)?;
        self.ran.push(Stage::Request);
        let identified = identified(self.recorded, self.world.rules, request)?;
        self.ran.push(Stage::Identity);
        let tenant = identified.who().tenant;
        match self.clear(identified) {
            Err(refused) => Ok(self.refused(tenant, *refused)),
            Ok(Clearance::Halted(halt)) => {
                let record =
                    decision::settle_halted(*halt, self.world.in_force.clone(), self.settled());
                Ok(self.finish(None, record, Vec::new()))
            }
            Ok(Clearance::Repeated(repeated)) => Ok(self.repeated(tenant, repeated)),
            Ok(Clearance::Approved(approved)) => self.carry_out(*approved),
        }
    }

    /// The time of the verdict; what a restart settles has it in its facts alone.
    fn decided(&self) -> Moment {
        let facts = self.recorded.facts().map(|f| f.time);
        moment(facts.unwrap_or(self.recorded.decision.times.decided))
    }

    fn settled(&self) -> Moment {
        moment(self.recorded.decision.times.settled)
    }

    fn clear(&mut self, identified: Identified) -> Result<Clearance, Box<Refused>> {
        let admitted = admitted(self.recorded, identified)?;
        self.ran.push(Stage::Surface);
        let rules = self.world.rules;
        let observe = |c: &Capability| observed(self.recorded, c);
        let surfaced = surface(admitted, &rules.engine, observe)?.traced(traced(self.recorded));
        self.ran.push(Stage::Budget);
        let now = self.decided();
        self.hold(&surfaced, now);
        let budgeted = budget(surfaced, self.world.state, now)?;
        self.ran.push(Stage::Policy);
        let judgement = policy::decide(budgeted, &rules.engine, self.world.state, now)?;
        self.ran.push(Stage::Approval);
        match judgement {
            Judgement::Permitted(permitted) => approval::clear(permitted, self.world.state),
            Judgement::Escalated(escalated) => {
                approval::approve(escalated, &rules.engine, self.world.state, now)
            }
        }
    }

    /// Puts into the state what other calls held.
    fn hold(&mut self, surfaced: &Surfaced, now: Moment) {
        let state = &mut *self.world.state;
        let Some(capability) = &self.recorded.decision.capability else {
            return;
        };
        let tenant = surfaced.tenant();
        if let Some(count) = places(self.recorded, surfaced, state, now) {
            self.held
                .calls(state, tenant, &capability.id, (self.world.under_way)(count));
        }
        match self.other {
            Other::Nothing => (),
            Other::Budget => {
                self.held.calls(
                    state,
                    tenant,
                    &capability.id,
                    (self.world.under_way)(MAX_HELD),
                );
            }
            Other::Run => {
                let count = (self.world.under_way)(MAX_HELD);
                self.held.run(state, self.recorded.run, count);
            }
            Other::Key => self.held.key(state, surfaced),
            Other::Approvals => {
                if let Some((action, _)) = shared_action(self.recorded, state) {
                    self.held.approvals(state, &action);
                }
            }
            Other::Action => {
                if let Some((action, opened)) = shared_action(self.recorded, state) {
                    self.held.action(state, surfaced, action, opened, now.at);
                }
            }
        }
    }

    fn refused(&mut self, tenant: TenantId, refused: Refused) -> Rebuilt {
        let record = decision::settle_refused(refused, self.world.in_force.clone(), self.settled());
        let mut out = self.finish(None, record, Vec::new());
        out.tenant = Some(tenant);
        out
    }

    fn repeated(&mut self, tenant: TenantId, repeated: Repeated) -> Rebuilt {
        match (self.world.first)(repeated.first()) {
            Some((call, result)) => {
                self.ran.push(Stage::Release);
                let in_force = self.world.in_force.clone();
                let record =
                    decision::settle_repeated(repeated, call, &result, in_force, self.settled());
                self.finish(None, record, Vec::new())
            }
            None => {
                let refused = repeated.lost();
                self.refused(tenant, *refused)
            }
        }
    }

    fn carry_out(&mut self, approved: Approved) -> Result<Rebuilt, Box<Difference>> {
        let in_force = self.world.in_force.clone();
        self.ran.push(Stage::Seal);
        let (sealed, intent, disclosures) = SealedCall::new(approved, in_force.clone());
        let recorded = &self.recorded.decision;
        let Some(Sealed { entry, at, .. }) = &self.recorded.sealed else {
            return self.abandoned(sealed);
        };
        let cancelled = recorded.cancelled.as_deref();
        if recorded.effect == Effect::Unknown && cancelled == Some(NoAnswer::Restarted.name()) {
            self.ran.push(Stage::Decision);
            let decision = decision::settle_unknown(
                &intent,
                entry.clone(),
                *at,
                self.world.settled_in_force.clone(),
                self.settled(),
            );
            return Ok(Rebuilt {
                tenant: self.recorded.tenant,
                intent: Some(intent),
                decision,
                disclosures,
                ran: std::mem::take(&mut self.ran),
            });
        }
        let receipt = IntentReceipt {
            call: recorded.call,
            entry: entry.clone(),
        };
        let durable = sealed.commit(receipt).map_err(|e| {
            Box::new(Difference::new(
                Stage::Seal,
                "call",
                e.acknowledged.to_string(),
                e.sealed.to_string(),
            ))
        })?;
        let dispatched = recorded.times.dispatched.unwrap_or(recorded.times.settled);
        // Who had cosigned by then stands in the record; whether they had is the verifier's to say.
        let committed = match durable {
            Durable::Committed(committed) => Ok(*committed),
            Durable::Unwitnessed(unwitnessed) if recorded.witnessed => unwitnessed
                .witness(CosignedSize(u64::MAX))
                .map_err(|given_up| given_up.0),
            Durable::Unwitnessed(unwitnessed) => Err(*unwitnessed),
        };
        let outcome = match committed {
            Ok(committed) => {
                let (_, dispatched) = committed.dispatch(moment(dispatched));
                let around = Around {
                    egress: self
                        .recorded
                        .bytes(Field::Egress, recorded.egress)
                        .map(|bytes| bytes.to_vec()),
                    sandbox: recorded.sandbox.clone(),
                };
                dispatched.outcome(report(self.recorded)?).around(around)
            }
            Err(unwitnessed) => unwitnessed.give_up(moment(dispatched)),
        };
        self.ran.push(Stage::Release);
        let settled = outcome.release();
        let record = decision::settle(settled, in_force, self.settled());
        Ok(self.finish(Some(intent), record, disclosures))
    }

    /// A call that could have gone on, and did not because the log did not take its intent.
    fn abandoned(&mut self, sealed: SealedCall) -> Result<Rebuilt, Box<Difference>> {
        let code = self
            .recorded
            .decision
            .code
            .as_deref()
            .and_then(Code::from_name);
        let refusal = code
            .filter(|c| matches!(c, Code::AuditBackpressure | Code::AuditUnavailable))
            .map(Refusal::never)
            .ok_or_else(|| {
                let said = self.recorded.decision.code.clone();
                let verdict = self.recorded.decision.verdict.name();
                let recorded = said.map_or(verdict.to_owned(), |code| format!("{verdict}, {code}"));
                let stage = code.map_or(Stage::Policy, Stage::of_code);
                Box::new(Difference::new(
                    stage,
                    "decision.verdict",
                    recorded,
                    "the call may be carried out".to_owned(),
                ))
            })?;
        let in_force = self.world.in_force.clone();
        let record =
            decision::settle_abandoned(*sealed.abandon(), refusal, in_force, self.settled());
        Ok(self.finish(None, record, Vec::new()))
    }

    fn finish(
        &mut self,
        intent: Option<Intent>,
        record: Record,
        mut disclosures: Vec<Disclosure>,
    ) -> Rebuilt {
        self.ran.push(Stage::Decision);
        let Record {
            body,
            disclosures: more,
            tenant,
            answer: _,
            halted: _,
        } = record;
        disclosures.extend(more);
        Rebuilt {
            tenant,
            intent,
            decision: body,
            disclosures,
            ran: std::mem::take(&mut self.ran),
        }
    }
}

fn moment(at: UnixMillis) -> Moment {
    // Only the place of an entry has the other clock, and that is the journal's.
    Moment { at, since_boot: 0 }
}

/// Stage 1. A body that is a JSON-RPC message came through MCP: no other door takes that member.
pub(crate) fn request(recorded: &Recorded, rules: &Rules) -> Result<Request, Box<Difference>> {
    let decision = &recorded.decision;
    let body = recorded
        .bytes(Field::Received, Some(decision.received))
        .unwrap_or_default();
    let session = decision
        .caller
        .session
        .and_then(|c| recorded.text(Field::Session, c))
        .map(str::to_owned);
    #[expect(
        clippy::disallowed_methods,
        reason = "the salts of the record go under the values that come out now"
    )]
    let seed = danger_seed(recorded.salts());
    let untrusted = |session| Untrusted {
        body: body.clone(),
        moment: moment(decision.times.received),
        seed,
        session,
    };
    let request = match Message::parse(&body) {
        Ok(Message::Request {
            method: Method::Call(call),
            ..
        }) => {
            let adapter = adapter(recorded, rules, call.name());
            let name = tool(recorded, &adapter).unwrap_or_else(|| call.name());
            Request::from_mcp(untrusted(session), &adapter, name, &call)
        }
        Ok(Message::Request { .. } | Message::Notification(_) | Message::Answer { .. })
        | Err(_) => Request::parse_call(untrusted(None)),
    };
    // Whether it arrived or was kept is the shell's to say, as the moment is.
    let kept = decision.controls.iter().any(|c| c == KEPT);
    let request = request.map(|request| if kept { request.kept() } else { request });
    request.map_err(|refused| {
        Box::new(Difference::new(
            Stage::Request,
            "request",
            "taken".to_owned(),
            refused.refusal().code().name().to_owned(),
        ))
    })
}

/// The tool's own name, where the client may have used that of the joint door.
fn tool<'r>(recorded: &'r Recorded, adapter: &str) -> Option<&'r str> {
    let capability = recorded.decision.capability.as_ref()?;
    capability.id.strip_prefix(adapter)?.strip_prefix('.')
}

/// The adapter whose door a call came through. A tool that does not exist has none in its record; then it is one that
/// lacks the tool, if there is such an adapter.
fn adapter(recorded: &Recorded, rules: &Rules, tool: &str) -> String {
    if let Some(capability) = &recorded.decision.capability {
        return capability.adapter.clone();
    }
    let tenant = recorded
        .agent()
        .and_then(|urn| rules.agent(urn))
        .map_or("", |(agent, _)| agent.tenant.as_str());
    let adapters = &rules.engine.content().adapters;
    let lacks = |name: &&String| {
        rules
            .engine
            .capability(tenant, name, tool)
            .is_none_or(|c| c.adapter != **name || c.tool != tool)
    };
    adapters
        .keys()
        .find(lacks)
        .or_else(|| adapters.keys().next())
        .cloned()
        .unwrap_or_default()
}

/// Stage 2.
pub(crate) fn identified(
    recorded: &Recorded,
    rules: &Rules,
    request: Request,
) -> Result<Identified, Box<Difference>> {
    let caller = &recorded.decision.caller;
    let differs = |recomputed: String| {
        Box::new(Difference::new(
            Stage::Identity,
            "decision.caller",
            "known".to_owned(),
            recomputed,
        ))
    };
    let (agent, tenant) = recorded
        .agent()
        .and_then(|urn| rules.agent(urn))
        .ok_or_else(|| differs("the bundle has no such agent".to_owned()))?;
    let opened = |field, commitment: Option<Commitment>| recorded.value(field, commitment?);
    let presented = Presented {
        proof: opened(Field::CallerProof, caller.proof),
        claims: opened(Field::Claims, caller.claims),
        chain: opened(Field::PrincipalChain, caller.principal_chain),
    };
    let content = rules.engine.content();
    #[expect(
        clippy::disallowed_methods,
        reason = "who called is taken from the record, as far as it cannot be shown again"
    )]
    let identified = danger_identify(
        request,
        content,
        (agent, tenant),
        (presented, caller.subject),
    );
    let identified = identified.map_err(|e| differs(e.to_string()))?;
    Ok(match recorded.run {
        Some(run) => identified.in_run(run),
        None => identified,
    })
}

/// Whether the gateway took calls at all is the shell's word: the lease, the clock, the fleet, a stop on its way into the log.
fn admitted(recorded: &Recorded, identified: Identified) -> Result<Admitted, Box<Refused>> {
    let decision = &recorded.decision;
    let code = decision.code.as_deref().and_then(Code::from_name);
    let refused = |by: Code| decision.capability.is_none() && code == Some(by);
    let conditions = Conditions {
        enrolled: !refused(Code::NotEnrolled),
        not_stopping: !refused(Code::Stopped),
        clock_agrees: !refused(Code::ClockDrift),
        lease_holds: !refused(Code::LeaseExpired),
        witnessed: !refused(Code::NotWitnessed),
    };
    admit(identified, conditions)
}

/// What of the arguments repeated earlier results: an observation, as traces are kept nowhere.
fn traced(recorded: &Recorded) -> Option<FlowFact> {
    recorded.facts()?.flow.clone()
}

/// The descriptor that the upstream listed: in the facts, or told by the refusal.
pub(crate) fn observed(recorded: &Recorded, capability: &Capability) -> Observed {
    if let Some(facts) = recorded.facts() {
        return Observed::Descriptor(facts.descriptor);
    }
    let code = recorded.decision.code.as_deref().and_then(Code::from_name);
    match code {
        Some(Code::DescriptorChanged) => Observed::Unlisted,
        Some(Code::UpstreamUnavailable) => Observed::Unreachable,
        Some(Code::EgressDenied) => Observed::Barred,
        Some(Code::UpstreamUntrusted) => Observed::Untrusted,
        Some(Code::SandboxUnavailable) => Observed::Unsandboxed,
        Some(_) | None => Observed::Descriptor(capability.descriptor),
    }
}

/// How many places of the budget other calls held: what the facts count beyond the log.
pub(crate) fn places(
    recorded: &Recorded,
    surfaced: &Surfaced,
    state: &State,
    now: Moment,
) -> Option<u64> {
    let facts = recorded.facts()?;
    let capability = surfaced.capability();
    let window = u64::try_from(capability.num_calls.as_ref()?.window.as_millis());
    let (sealed, _) = state.calls_within(
        surfaced.tenant(),
        &capability.id,
        window.unwrap_or(u64::MAX),
        now.at,
    );
    facts.budget.calls.checked_sub(sealed)
}

/// The action that a halted call waits with, which another call asked for first.
fn shared_action(recorded: &Recorded, state: &State) -> Option<(Action, Vec<Disclosure>)> {
    let decision = &recorded.decision;
    let (policy, forwarded, preview) = (
        decision.policy.as_ref()?,
        decision.forwarded?,
        decision.preview?,
    );
    let action = Action {
        gateway: state.gateway(),
        tenant: recorded.tenant?,
        agent: decision.caller.agent,
        capability: decision.capability.clone()?,
        mode: policy.effective,
        forwarded,
        preview,
        bundle: policy.bundle,
        call: decision.parent?,
    };
    let opened = recorded.opens(&[action.agent, forwarded, preview]);
    (Some(action.digest()) == decision.action).then_some((action, opened))
}

/// What the adapter reported, out of the record.
fn report(recorded: &Recorded) -> Result<Report, Box<Difference>> {
    let decision = &recorded.decision;
    let wrong = |what: &str| {
        Box::new(Difference::new(
            Stage::Execute,
            "decision.effect",
            decision.effect.name().to_owned(),
            what.to_owned(),
        ))
    };
    match decision.effect {
        Effect::Dispatched | Effect::Confirmed => {
            let result = recorded
                .bytes(Field::RawResult, decision.raw_result)
                .ok_or_else(|| wrong("no result was recorded"))?;
            Ok(Report::Answered {
                result,
                // A tool's own word that it failed changes nothing in the record.
                tool_error: ToolError::No,
                transcript: recorded.transcript().unwrap_or_default(),
            })
        }
        Effect::None => Ok(Report::NotSent {
            cause: match decision.code.as_deref().and_then(Code::from_name) {
                Some(Code::Cancelled) => NotSent::Cancelled,
                Some(Code::EgressDenied) => NotSent::Barred,
                Some(Code::UpstreamUntrusted) => NotSent::Untrusted,
                Some(Code::Stopped) => NotSent::Stopped,
                Some(Code::SandboxUnavailable) => NotSent::Unsandboxed,
                Some(_) | None => NotSent::Unavailable,
            },
        }),
        Effect::Unknown => {
            let name = decision.cancelled.as_deref().unwrap_or_default();
            let cause = [
                NoAnswer::Timeout,
                NoAnswer::Crashed,
                NoAnswer::Malformed,
                NoAnswer::TooLarge,
                NoAnswer::Cancelled,
                NoAnswer::Redirected,
                NoAnswer::Stopped,
            ]
            .into_iter()
            .find(|cause| cause.name() == name)
            .ok_or_else(|| wrong("no cause of this name"))?;
            Ok(Report::NoAnswer {
                cause,
                transcript: recorded.transcript().unwrap_or_default(),
            })
        }
    }
}

/// Stages 3 and 4 for another bundle, on the same state; gives back what the call reserved.
pub(crate) fn budgeted_under<T>(
    recorded: &Recorded,
    rules: &Rules,
    state: &mut State,
    under_way: &UnderWay<'_>,
    then: impl FnOnce(Result<Budgeted, Box<Refused>>, Moment) -> T,
) -> Result<T, Box<Difference>> {
    let request = request(recorded, rules)?;
    let identified = identified(recorded, rules, request)?;
    let admitted = admitted(recorded, identified);
    let facts = recorded.facts().map(|f| f.time);
    let now = moment(facts.unwrap_or(recorded.decision.times.decided));
    let mut held = Held::default();
    let budgeted = admitted
        .and_then(|admitted| surface(admitted, &rules.engine, |c| observed(recorded, c)))
        .and_then(|surfaced| {
            let surfaced = surfaced.traced(traced(recorded));
            if let Some(count) = places(recorded, &surfaced, state, now) {
                let (tenant, id) = (surfaced.tenant(), surfaced.capability().id.clone());
                held.calls(state, tenant, &id, under_way(count));
            }
            budget(surfaced, state, now)
        });
    let out = then(budgeted, now);
    held.release(state);
    state.release(recorded.decision.call);
    Ok(out)
}
