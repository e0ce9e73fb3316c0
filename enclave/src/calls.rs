//! The way of one call, stage by stage.
//!
//! In: a parsed request and what was presented with it. Out: a [`Reply`], which exists only once
//! the call's Decision Record is durable. A call runs in a task of its own: a client that goes
//! away does not leave it half done.

use crate::serve::{Gateway, Serving, locked};
use crate::talk::{Client, Principal};
use crate::telemetry::{Heard, Onward, Seen};
use crate::upstreams::ResultKind;
use crate::witnesses::Expected;
use bytes::Bytes;
use countersign_gateway::admission::{self, Conditions};
use countersign_gateway::approval::{self, Clearance};
use countersign_gateway::budget::Repeated;
use countersign_gateway::decision::{self, Answer, Record};
use countersign_gateway::execute::{NotSent, Outcome as Carried};
use countersign_gateway::identity::Identified;
use countersign_gateway::policy::Duty;
use countersign_gateway::policy::{self, Judgement};
use countersign_gateway::refusal::{Besides, Code, Refusal, Refused, Retry, Told};
use countersign_gateway::seal::{Committed, CosignedSize, Durable, IntentReceipt, Sealed};
use countersign_gateway::state::{MatchKey, Owned, Run, State};
use countersign_gateway::{budget, surface};
use countersign_journal::{AppendError, Appended, Draft};
use countersign_record::body::{Decision, Verdict};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::{ActionDigest, CallId, EntryDigest, RunId, TenantId};
use countersign_record::egress::{EgressConnection, EgressConnections};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::receipt::{RECEIPT_TYP, Receipt};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// What a caller gets, and what vouches for it.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub outcome: Outcome,
    /// Where the record stands; absent only if nothing could be recorded, and then nothing was released.
    pub audit: Option<Audit>,
    /// Where the time went.
    pub timings: Timings,
}

/// The answer.
#[derive(Debug)]
pub enum Outcome {
    /// A released result.
    Result(Bytes, ResultKind),
    /// A refusal.
    Refused(Box<Told>),
}

impl Reply {
    /// Whether a result was released.
    #[must_use]
    pub fn is_result(&self) -> bool {
        matches!(self.outcome, Outcome::Result(_, ResultKind::ToolResult))
    }
}

/// Where a call's Decision Record stands.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The call.
    pub call: CallId,
    /// Leaf index.
    pub index: u64,
    /// Digest of the record.
    pub digest: EntryDigest,
    /// The verdict.
    pub verdict: Verdict,
    /// The action that was sealed or halted.
    pub action: Option<ActionDigest>,
    /// The signed receipt.
    pub receipt: Vec<u8>,
}

/// Where the time of a call went, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Stages 1 to 6.
    pub decide: u64,
    /// The intent's way into the log.
    pub seal: u64,
    /// The upstream.
    pub upstream: u64,
    /// Stages 9 and 10, and the record's way into the log.
    pub release: u64,
}

/// A request's tenant and run.
#[derive(Debug, Clone, Copy)]
struct Owner {
    tenant: TenantId,
    run: RunId,
}

/// Carries a call of a known caller from admission to its reply.
pub async fn carry_out(
    gateway: Arc<Gateway>,
    identified: Identified,
    client: Client,
    heard: Heard,
) -> Reply {
    let _under_way = gateway.under_way();
    let Some(serving) = &gateway.serving else {
        let refusal = Refusal::never(Code::GatewayHeld);
        return unrecorded(&refusal, gateway.besides(None), Timings::default());
    };
    let mut client = client;
    let called = surface::called(&identified, &gateway.engine);
    let (_reachable, stopped) = gateway.stoppable.begin(called);
    client.stopped = stopped;
    let mut way = Way {
        gateway: &gateway,
        serving,
        of: Principal::of(identified.who()),
        party: identified.who().party(),
        onward: gateway
            .telemetry
            .onward(identified.call(), identified.trace(), &heard),
        heard,
        client,
        tool_error: false,
        went: Vec::new(),
        timings: Timings::default(),
    };
    way.go(identified).await
}

/// A reply to a caller about whom nothing can be recorded.
#[must_use]
pub fn unrecorded(refusal: &Refusal, besides: Besides<'_>, timings: Timings) -> Reply {
    Reply {
        outcome: Outcome::Refused(Box::new(Told::new(refusal, 0, None, besides))),
        audit: None,
        timings,
    }
}

struct Way<'g> {
    gateway: &'g Gateway,
    serving: &'g Serving,
    of: Principal,
    /// The same, as what it halts, repeats and reads is kept.
    party: String,
    client: Client,
    /// What came beside the call, and what goes on beside it: for spans alone.
    heard: Heard,
    onward: Onward,
    /// Whether the tool says that it failed.
    tool_error: bool,
    /// Where it went, as its span says.
    went: Vec<EgressConnection>,
    timings: Timings,
}

/// How far a call came before the journal was needed.
enum Decided {
    Seal(Box<Sealed>, Box<Draft>),
    Record(Box<Record>),
    Repeat(Box<Repeated>),
}

impl Way<'_> {
    async fn go(&mut self, identified: Identified) -> Reply {
        let owner = match self.owner(&identified) {
            Ok(owner) => owner,
            Err(refusal) => {
                return unrecorded(&refusal, self.gateway.besides(None), self.timings);
            }
        };
        let agent = identified.who().agent.clone();
        let decided = self.decide(identified.in_run(owner.run), owner);
        self.timings.decide = self.since(self.heard.started());
        match decided {
            Decided::Record(record) => {
                self.record(*record, owner, &agent, ResultKind::ToolResult)
                    .await
            }
            Decided::Repeat(repeated) => self.repeat(*repeated, owner, &agent).await,
            Decided::Seal(sealed, draft) => self.execute(*sealed, *draft, owner, &agent).await,
        }
    }

    fn since(&self, from: u64) -> u64 {
        self.gateway.clock.micros().saturating_sub(from)
    }

    /// The call's run; an idle one that it replaces is closed.
    fn owner(&self, identified: &Identified) -> Result<Owner, Refusal> {
        let now = self.gateway.clock.now();
        let who = identified.who();
        let Run { id, ended } =
            self.gateway
                .state()
                .run(who.tenant, &who.party(), identified.run(), now.at);
        if let Some(ended) = ended {
            self.gateway.journal.close_run(
                who.tenant,
                ended,
                now.at,
                now.since_boot,
                Box::new(|_| ()),
            );
        }
        Ok(Owner {
            tenant: who.tenant,
            run: id,
        })
    }

    /// Stages 3 to 7: everything up to the journal, without an await.
    fn decide(&self, identified: Identified, owner: Owner) -> Decided {
        let in_force = self.in_force();
        let refuse = |refused: Box<Refused>| {
            let now = self.gateway.clock.now();
            Decided::Record(Box::new(decision::settle_refused(
                *refused,
                in_force.clone(),
                now,
            )))
        };
        match self.clear(identified) {
            Err(refused) => refuse(refused),
            Ok(Clearance::Halted(halt)) => {
                let now = self.gateway.clock.now();
                Decided::Record(Box::new(decision::settle_halted(*halt, in_force, now)))
            }
            Ok(Clearance::Repeated(repeated)) => Decided::Repeat(Box::new(repeated)),
            Ok(Clearance::Approved(approved)) => {
                let (sealed, intent, disclosures) = Sealed::new(*approved, in_force);
                let draft = self.draft(Body::Intent(intent), Some(owner), disclosures);
                Decided::Seal(Box::new(sealed), Box::new(draft))
            }
        }
    }

    fn clear(&self, identified: Identified) -> Result<Clearance, Box<Refused>> {
        let gateway = self.gateway;
        let conditions = gateway.conditions(&identified);
        let admitted = admission::admit(identified, conditions)?;
        let engine = &gateway.engine;
        let surfaced = surface::surface(admitted, engine, |c| gateway.upstreams.observe(c))?;
        let surfaced = gateway.flow.look(surfaced);
        // The time is read under the lock: no call is decided on a later state and at an earlier time than another.
        let mut state = gateway.state();
        let now = gateway.clock.now();
        let budgeted = budget::budget(surfaced, &mut state, now)?;
        match policy::decide(budgeted, engine, &state, now)? {
            Judgement::Permitted(permitted) => approval::clear(permitted, &state),
            Judgement::Escalated(escalated) => {
                approval::approve(escalated, engine, &mut state, now)
            }
        }
    }

    /// Stages 7 to 10 of a call that may be carried out.
    async fn execute(&mut self, sealed: Sealed, draft: Draft, owner: Owner, agent: &str) -> Reply {
        let from = self.gateway.clock.micros();
        let call = sealed.call();
        let expected = match sealed.duty() {
            Duty::None => None,
            Duty::Witnessed if self.gateway.witnesses.can_witness() => {
                Some(self.gateway.witnesses.expect())
            }
            Duty::Witnessed => {
                // An obligation that cannot be met denies; it is never dropped.
                let refusal =
                    Refusal::never(Code::PolicyDenied).by_rule("obligation:witnessed".to_owned());
                let record = self.abandon(sealed, refusal);
                return self
                    .record(record, owner, agent, ResultKind::ToolResult)
                    .await;
            }
        };
        // ORDER: the intent is durable before anything leaves.
        let receipt = match self.append(draft).await {
            Ok(appended) => IntentReceipt {
                call,
                entry: EntryRef {
                    index: appended.index,
                    digest: appended.digest,
                },
            },
            Err(error) => {
                let record = self.abandon(sealed, unavailable(&error));
                return self
                    .record(record, owner, agent, ResultKind::ToolResult)
                    .await;
            }
        };
        let durable = match sealed.commit(receipt) {
            Ok(durable) => durable,
            Err(_) => {
                let refusal = Refusal::never(Code::AuditUnavailable);
                return unrecorded(&refusal, self.gateway.besides(None), self.timings);
            }
        };
        let committed = self.witnessed(durable, expected).await;
        self.timings.seal = self.since(from);
        let (outcome, kind) = match committed {
            // ORDER: looked at after the intent is durable; a stop that comes later reaches the call at its upstream.
            Ok(committed) if self.client.is_stopped() => {
                let now = self.gateway.clock.now();
                let outcome = committed.give_up(now, NotSent::Stopped);
                (outcome, ResultKind::ToolResult)
            }
            Ok(committed) => {
                let from = self.gateway.clock.micros();
                let (dispatch, dispatched) = committed.dispatch(self.gateway.clock.now());
                // Boxed, as it is large and would be moved with the call's own future.
                let carrying = self.gateway.upstreams.carry_out(
                    dispatch,
                    &dispatched,
                    (&self.of, &self.gateway.questions),
                    (&mut self.client, &self.onward),
                );
                let (report, kind, around) = Box::pin(carrying).await;
                self.timings.upstream = self.since(from);
                self.tool_error = report.is_tool_error();
                let went = around.egress.as_deref().map(EgressConnections::from_bytes);
                self.went = went
                    .and_then(Result::ok)
                    .map_or_else(Vec::new, |w| w.connections);
                // ORDER: traced before anybody sees it, so that no call with a value of it is decided without.
                if let Some(result) = report.result() {
                    let from = dispatched.capability();
                    self.gateway
                        .flow
                        .keep(owner.tenant, &self.party, from, result);
                }
                (dispatched.outcome(report).around(around), kind)
            }
            Err(outcome) => (*outcome, ResultKind::ToolResult),
        };
        let settled = outcome.release();
        let record = decision::settle(settled, self.in_force(), self.gateway.clock.now());
        self.record(record, owner, agent, kind).await
    }

    /// The right to carry a call out, after witnesses where policy obliges to them; or how the call ends without.
    async fn witnessed(
        &self,
        durable: Durable,
        expected: Option<Expected>,
    ) -> Result<Box<Committed>, Box<Carried>> {
        let unwitnessed = match durable {
            Durable::Committed(committed) => return Ok(committed),
            Durable::Unwitnessed(unwitnessed) => *unwitnessed,
        };
        let word = match &expected {
            Some(expected) => {
                let index = unwitnessed.intent().index;
                self.gateway.witnesses.reach(expected, index).await
            }
            None => CosignedSize(0),
        };
        unwitnessed
            .witness(word)
            .map(Box::new)
            .map_err(|given_up| Box::new(given_up.0.give_up(self.gateway.clock.now())))
    }

    /// The end of a call whose intent is not in the log: nothing was taken up, nothing has left.
    fn abandon(&self, sealed: Sealed, refusal: Refusal) -> Record {
        self.gateway.state().release(sealed.call());
        let now = self.gateway.clock.now();
        decision::settle_abandoned(*sealed.abandon(), refusal, self.in_force(), now)
    }

    /// A call that repeats a settled one gets the first outcome again.
    async fn repeat(&mut self, repeated: Repeated, owner: Owner, agent: &str) -> Reply {
        let now = self.gateway.clock.now();
        let (record, kind) = match self.first_outcome(repeated.first()) {
            Some((first, result)) => {
                let kind = ResultKind::of(&result);
                let from = repeated.capability();
                self.gateway
                    .flow
                    .keep(owner.tenant, &self.party, from, &result);
                (
                    decision::settle_repeated(repeated, first, &result, self.in_force(), now),
                    kind,
                )
            }
            None => {
                let refused = decision::settle_refused(*repeated.lost(), self.in_force(), now);
                (refused, ResultKind::ToolResult)
            }
        };
        self.record(record, owner, agent, kind).await
    }

    fn first_outcome(&self, index: u64) -> Option<(CallId, Bytes)> {
        let stored = self.gateway.journal.entry(index).ok()?;
        let Body::Decision(Decision { call, .. }) =
            Entry::parse(&stored.bytes).ok()?.body().clone()
        else {
            return None;
        };
        let disclosures = self.gateway.journal.disclosures(index).ok()?;
        let released = disclosures
            .into_iter()
            .find(|d| d.field == Field::Released)?;
        Some((call, Bytes::from(released.value.0)))
    }

    /// Stage 10: the record becomes durable, then the caller is answered.
    async fn record(
        &mut self,
        record: Record,
        owner: Owner,
        agent: &str,
        kind: ResultKind,
    ) -> Reply {
        let from = self.gateway.clock.micros();
        let Record {
            body,
            disclosures,
            tenant: _,
            answer,
            halted,
        } = record;
        let (call, verdict, settled) = (body.call, body.verdict, body.intent.is_some());
        let action = body.action;
        let seen = Seen::of(&body, &self.heard)
            .failed(self.tool_error)
            .went(std::mem::take(&mut self.went));
        let capability = body.capability.as_ref().map(|c| c.id.clone());
        let draft = self.draft(Body::Decision(body), Some(owner), disclosures);
        let appended = self.append(draft).await;
        self.timings.release = self.since(from);
        match appended {
            Ok(appended) => {
                let audit = self.audit((call, verdict, action), &appended);
                let seen = seen.recorded(appended.index, appended.digest);
                self.gateway.telemetry.ended(seen, self.timings);
                let what = (owner.tenant, agent, capability.as_deref());
                let outcome = self.outcome(answer, kind, what, &audit);
                Reply {
                    outcome,
                    audit: Some(audit),
                    timings: self.timings,
                }
            }
            Err(error) => {
                let mut state = self.gateway.state();
                if let Some(halt) = halted {
                    halt.undo(&mut state);
                }
                if !settled {
                    state.release(call);
                }
                let refusal = if settled {
                    Refusal::never(Code::ResultWithheld)
                } else {
                    unavailable(&error)
                };
                let seen = seen.unrecorded(refusal.code().name());
                self.gateway.telemetry.ended(seen, self.timings);
                let besides = self.gateway.besides(capability.as_deref());
                unrecorded(&refusal, besides, self.timings)
            }
        }
    }

    fn outcome(
        &self,
        answer: Answer,
        kind: ResultKind,
        what: (TenantId, &str, Option<&str>),
        audit: &Audit,
    ) -> Outcome {
        match answer {
            Answer::Result(bytes) => Outcome::Result(bytes, kind),
            Answer::Refused(refusal) => {
                let (tenant, agent, capability) = what;
                let key = MatchKey::new(tenant, agent, capability.unwrap_or_default(), b"");
                let repeats = self.gateway.state().repeat(key, refusal.code());
                let record = Some(audit.digest.to_string());
                let besides = self.gateway.besides(capability);
                Outcome::Refused(Box::new(Told::new(&refusal, repeats, record, besides)))
            }
        }
    }

    fn audit(
        &self,
        (call, verdict, action): (CallId, Verdict, Option<ActionDigest>),
        appended: &Appended,
    ) -> Audit {
        let receipt = Receipt {
            gateway: self.gateway.id,
            base: self.serving.base.digest,
            index: appended.index,
            digest: appended.digest,
            call,
            verdict,
            at: appended.at,
        };
        let receipt =
            crate::keys::sign_statement(&self.serving.key, RECEIPT_TYP, receipt.to_bytes());
        Audit {
            call,
            index: appended.index,
            digest: appended.digest,
            verdict,
            action,
            receipt,
        }
    }

    fn in_force(&self) -> EntryRef {
        self.gateway
            .state()
            .in_force()
            .unwrap_or_else(|| self.serving.base.clone())
    }

    fn draft(
        &self,
        body: Body,
        owner: Option<Owner>,
        disclosures: Vec<countersign_record::commitment::Disclosure>,
    ) -> Draft {
        let now = self.gateway.clock.now();
        Draft {
            tenant: owner.map(|o| o.tenant),
            run: owner.map(|o| o.run),
            body,
            at: now.at,
            since_boot: now.since_boot,
            disclosures,
        }
    }

    async fn append(&self, draft: Draft) -> Result<Appended, AppendError> {
        append(self.gateway, draft).await
    }
}

/// Appends an entry, waits until it is durable, and folds it into the control state.
pub(crate) async fn append(gateway: &Gateway, draft: Draft) -> Result<Appended, AppendError> {
    let owned = Owned {
        tenant: draft.tenant,
        run: draft.run,
    };
    let (done, wait) = oneshot::channel();
    let (state, clock) = (gateway.shared_state(), Arc::clone(&gateway.clock));
    gateway.journal.append(
        draft,
        Box::new(move |result| {
            // ORDER: folded here, where entries come in the order of the log, so that the state which decides a call
            // is at any time what a prefix of the log folds to.
            if let Ok(appended) = &result {
                clock.not_before(appended.at);
                fold(&state, appended, owned);
            }
            // Nobody waits any more only if the gateway is going down.
            let _unheard = done.send(result);
        }),
    );
    let stopped = AppendError::NotDurable(countersign_journal::Fault::Stopped);
    wait.await.unwrap_or(Err(stopped))
}

fn fold(state: &Mutex<State>, appended: &Appended, owned: Owned) {
    let entry = EntryRef {
        index: appended.index,
        digest: appended.digest,
    };
    let (body, disclosures) = (&appended.body, &appended.disclosures);
    locked(state).apply_body(body, &entry, owned, appended.at, disclosures);
}

fn unavailable(error: &AppendError) -> Refusal {
    match error {
        AppendError::Backpressure { .. } => Refusal::new(Code::AuditBackpressure, Retry::After(1)),
        AppendError::Refusing(_)
        | AppendError::NotDurable(_)
        | AppendError::Refused(_)
        | AppendError::TooLarge { .. }
        | AppendError::Disclosure { .. }
        | AppendError::Side(_) => Refusal::never(Code::AuditUnavailable),
    }
}

impl Gateway {
    /// What holds at this moment of what has to, before a call is looked at.
    fn conditions(&self, identified: &Identified) -> Conditions {
        let called = surface::called(identified, &self.engine);
        let state = self.state();
        let (enrolled, stopping) = (
            state.enrolled().is_some(),
            state.stops().entering_over(called),
        );
        drop(state);
        Conditions {
            enrolled,
            not_stopping: !stopping,
            clock_agrees: !self.clock.drifts(),
            lease_holds: self.lease.holds(self.clock.since_boot()),
            witnessed: self.witnesses.have_confirmed(),
        }
    }
}
