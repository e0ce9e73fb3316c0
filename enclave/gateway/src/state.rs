//! Control state: what earlier entries mean for the next call.
//!
//! In: entries in the order of the log, with what opens their commitments. Out: budgets,
//! idempotency, halted actions and their approvals, what is in force. The state is a fold
//! over the log, live and after a restart by the same function, so it cannot be rolled back
//! without the log. What a running call has reserved is held beside the fold under the
//! call's identifier; the entry that makes it durable replaces it.

use countersign_record::body::{Action, Approval, Decision, Intent, Verdict};
use countersign_record::cbor::Cbor;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{
    ActionDigest, CallId, GatewayId, KeyId, RunId, TenantId, UnixMillis, sha256_in,
};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::statement::Choice;
use std::collections::{HashMap, VecDeque};

use crate::refusal::Code;

/// Idempotency keys that are remembered; the oldest settled ones go first.
///
/// One takes about 200 bytes, so this is 20 MB. At 10 keyed calls a second it is 2.7 hours.
pub const MAX_IDEMPOTENCY_KEYS: usize = 100_000;

/// Halted actions that wait at one time; more are refused.
pub const MAX_HALTED: usize = 10_000;

/// Longest window that calls are counted over (a day).
pub const MAX_WINDOW_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Silence after which a run that the gateway chose for a caller ends (30 minutes).
pub const RUN_IDLE_MILLIS: u64 = 30 * 60 * 1000;

/// What makes a retry the same action: tenant, agent, capability and the bytes of the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatchKey([u8; 32]);

impl MatchKey {
    /// The key of a request.
    #[must_use]
    pub fn new(tenant: TenantId, agent: &str, capability: &str, arguments: &[u8]) -> Self {
        Self(lengths_hash(
            "countersign/match/v1",
            &[
                &tenant.0,
                agent.as_bytes(),
                capability.as_bytes(),
                arguments,
            ],
        ))
    }
}

/// A hash of parts with their lengths, so that no two lists of parts share one.
fn lengths_hash(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<[u8; 8]> = parts
        .iter()
        .map(|p| u64::try_from(p.len()).unwrap_or(u64::MAX).to_be_bytes())
        .collect();
    let both: Vec<&[u8]> = lengths
        .iter()
        .map(<[u8; 8]>::as_slice)
        .chain(parts.iter().copied())
        .collect();
    sha256_in(domain, &both)
}

/// An action that waits for people.
#[derive(Debug, Clone)]
pub struct Halted {
    /// The action.
    pub action: Action,
    /// Digest of the action.
    pub digest: ActionDigest,
    /// The halted call.
    pub call: CallId,
    /// When it was halted.
    pub at: UnixMillis,
    /// Opens the action's commitments.
    pub disclosures: Vec<Disclosure>,
    /// Approvals so far, each by another person.
    pub approvals: Vec<Given>,
    /// Whether somebody refused.
    pub refused: bool,
    /// The running call that is about to spend the approvals.
    pub spending: Option<CallId>,
}

/// An approval that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its entry.
    pub entry: EntryRef,
    /// The person's key.
    pub approver: KeyId,
    /// Until when it may be used.
    pub expires: UnixMillis,
}

/// What is known of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Its first call is running.
    Running,
    /// Its first call was settled by the Decision Record at this leaf, with an answer.
    Settled(u64),
    /// Its first call has an unknown outcome.
    Unknown,
}

#[derive(Debug, Clone)]
struct Keyed {
    request: MatchKey,
    earlier: Earlier,
}

/// A run that a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// An idle run that this one replaces, to be closed.
    pub ended: Option<RunId>,
}

#[derive(Debug, Clone)]
struct OpenRun {
    id: RunId,
    last: UnixMillis,
    generation: u64,
}

/// What earlier entries mean for the next call.
#[derive(Debug)]
pub struct State {
    gateway: GatewayId,
    enrolled: Option<u64>,
    in_force: Option<EntryRef>,
    calls: HashMap<(TenantId, String), VecDeque<(CallId, UnixMillis)>>,
    keyed: HashMap<[u8; 32], Keyed>,
    keyed_order: VecDeque<[u8; 32]>,
    halted: HashMap<MatchKey, Halted>,
    by_action: HashMap<ActionDigest, MatchKey>,
    repeats: HashMap<(MatchKey, Code), u32>,
    runs: HashMap<(TenantId, String, Option<String>), OpenRun>,
    running: HashMap<CallId, Reservation>,
}

/// What a running call holds, so that it can be given back or settled without a search.
#[derive(Debug, Clone, Default)]
struct Reservation {
    counted: Option<(TenantId, String)>,
    slot: Option<[u8; 32]>,
    halted: Option<MatchKey>,
}

impl State {
    /// Before the first entry.
    #[must_use]
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            enrolled: None,
            in_force: None,
            calls: HashMap::new(),
            keyed: HashMap::new(),
            keyed_order: VecDeque::new(),
            halted: HashMap::new(),
            by_action: HashMap::new(),
            repeats: HashMap::new(),
            runs: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// The gateway whose log this folds.
    #[must_use]
    pub fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// Number of the fleet statement that names this gateway, if one does.
    #[must_use]
    pub fn enrolled(&self) -> Option<u64> {
        self.enrolled
    }

    /// The base or the last change: what is in force.
    #[must_use]
    pub fn in_force(&self) -> Option<EntryRef> {
        self.in_force.clone()
    }

    /// Takes in one entry.
    pub fn apply(&mut self, entry: &Entry<'_>, disclosures: &[Disclosure]) {
        let at = EntryRef {
            index: entry.place().index,
            digest: entry.digest(),
        };
        let tenant = entry.place().tenant.as_ref().map(|t| t.tenant);
        self.apply_body(entry.body(), &at, tenant, entry.place().at, disclosures);
    }

    /// Takes in the parts of an entry; [`Self::apply`] for one that was just written.
    pub fn apply_body(
        &mut self,
        body: &Body,
        entry: &EntryRef,
        tenant: Option<TenantId>,
        at: UnixMillis,
        disclosures: &[Disclosure],
    ) {
        match body {
            Body::Base(_) | Body::Change(_) => self.in_force = Some(entry.clone()),
            Body::Enrol(enrol) => self.enrolled = Some(enrol.number),
            Body::Intent(intent) => self.apply_intent(intent, tenant, at, disclosures),
            Body::Approval(approval) => self.apply_approval(approval, entry),
            Body::Decision(decision) => self.apply_decision(decision, entry, tenant, disclosures),
            Body::Run(closed) => self.runs.retain(|_, open| open.id != closed.run),
            Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Close(_) => (),
        }
    }

    fn apply_intent(
        &mut self,
        intent: &Intent,
        tenant: Option<TenantId>,
        at: UnixMillis,
        disclosures: &[Disclosure],
    ) {
        let Ok(action) = Action::from_bytes(&intent.action.0) else {
            return;
        };
        self.count_call(action.tenant, &action.capability.id, intent.call, at);
        self.forget_halted(action.digest());
        let (Some(key), Some(agent), Some(tenant)) = (
            opened(disclosures, Field::Idempotency),
            opened(disclosures, Field::Agent),
            tenant,
        ) else {
            return;
        };
        let arguments = opened(disclosures, Field::Forwarded).unwrap_or_default();
        let agent = String::from_utf8_lossy(agent);
        let request = MatchKey::new(tenant, &agent, &action.capability.id, arguments);
        let slot = idempotency_slot(tenant, &agent, &action.capability.id, key);
        self.reserve_key(slot, intent.call, request);
    }

    fn apply_approval(&mut self, approval: &Approval, entry: &EntryRef) {
        let Some(halted) = self
            .by_action
            .get(&approval.action)
            .and_then(|k| self.halted.get_mut(k))
        else {
            return;
        };
        match approval.choice {
            Choice::Refuse => halted.refused = true,
            Choice::Approve => {
                halted.approvals.retain(|g| g.approver != approval.approver);
                halted.approvals.push(Given {
                    entry: entry.clone(),
                    approver: approval.approver,
                    expires: approval.expires,
                });
            }
        }
    }

    fn apply_decision(
        &mut self,
        decision: &Decision,
        entry: &EntryRef,
        tenant: Option<TenantId>,
        disclosures: &[Disclosure],
    ) {
        if decision.verdict == Verdict::StepUp {
            self.halt_again(decision, tenant, disclosures);
        }
        if decision.intent.is_none() {
            self.release(decision.call);
            return;
        }
        let answered = decision.code.is_none();
        let Some(slot) = self.running.remove(&decision.call).and_then(|r| r.slot) else {
            return;
        };
        match self.keyed.get_mut(&slot) {
            Some(keyed) if answered => keyed.earlier = Earlier::Settled(entry.index),
            Some(keyed) => keyed.earlier = Earlier::Unknown,
            None => (),
        }
    }

    /// Rebuilds a halted action from the record of the halted call.
    fn halt_again(
        &mut self,
        decision: &Decision,
        tenant: Option<TenantId>,
        disclosures: &[Disclosure],
    ) {
        let (Some(tenant), Some(capability), Some(policy), Some(forwarded), Some(preview)) = (
            tenant,
            &decision.capability,
            &decision.policy,
            decision.forwarded,
            decision.preview,
        ) else {
            return;
        };
        let action = Action {
            gateway: self.gateway,
            tenant,
            agent: decision.caller.agent,
            capability: capability.clone(),
            mode: policy.effective,
            forwarded,
            preview,
            bundle: policy.bundle,
            call: decision.call,
        };
        if Some(action.digest()) != decision.action {
            return;
        }
        let (Some(agent), Some(arguments)) = (
            opened(disclosures, Field::Agent),
            opened(disclosures, Field::Forwarded),
        ) else {
            return;
        };
        let key = MatchKey::new(
            tenant,
            &String::from_utf8_lossy(agent),
            &capability.id,
            arguments,
        );
        let mut kept = disclosures.to_vec();
        kept.retain(|d| matches!(d.field, Field::Agent | Field::Forwarded | Field::Preview));
        self.halt(key, action, decision.times.decided, kept);
    }

    pub(crate) fn halt(
        &mut self,
        key: MatchKey,
        action: Action,
        at: UnixMillis,
        disclosures: Vec<Disclosure>,
    ) {
        let digest = action.digest();
        if self.halted.get(&key).is_some_and(|h| h.digest == digest) {
            return;
        }
        if let Some(old) = self.halted.remove(&key) {
            self.by_action.remove(&old.digest);
        }
        self.by_action.insert(digest, key);
        let call = action.call;
        let approvals = Vec::new();
        let halted = Halted {
            action,
            digest,
            call,
            at,
            disclosures,
            approvals,
            refused: false,
            spending: None,
        };
        self.halted.insert(key, halted);
    }

    fn forget_halted(&mut self, digest: ActionDigest) {
        if let Some(key) = self.by_action.remove(&digest) {
            self.halted.remove(&key);
        }
    }

    /// The halted action of a request.
    #[must_use]
    pub fn halted(&self, key: &MatchKey) -> Option<&Halted> {
        self.halted.get(key)
    }

    /// The halted action with this digest.
    #[must_use]
    pub fn halted_action(&self, digest: &ActionDigest) -> Option<&Halted> {
        self.by_action.get(digest).and_then(|k| self.halted.get(k))
    }

    /// All halted actions, the oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<&Halted> {
        let mut all: Vec<_> = self.halted.values().collect();
        all.sort_by_key(|h| (h.at, h.call));
        all
    }

    /// Whether there is room for another halted action.
    #[must_use]
    pub fn may_halt(&self) -> bool {
        self.halted.len() < MAX_HALTED
    }

    pub(crate) fn spend(&mut self, key: &MatchKey, call: CallId) -> bool {
        match self.halted.get_mut(key) {
            Some(halted) if halted.spending.is_none() => {
                halted.spending = Some(call);
                self.running.entry(call).or_default().halted = Some(*key);
                true
            }
            _ => false,
        }
    }

    /// Drops an expired or refused halted action, so that the next call halts anew.
    pub(crate) fn drop_halted(&mut self, key: &MatchKey) {
        if let Some(halted) = self.halted.remove(key) {
            self.by_action.remove(&halted.digest);
        }
    }

    pub(crate) fn count_call(
        &mut self,
        tenant: TenantId,
        capability: &str,
        call: CallId,
        at: UnixMillis,
    ) {
        let reservation = self.running.entry(call).or_default();
        if reservation.counted.is_some() {
            return;
        }
        reservation.counted = Some((tenant, capability.to_owned()));
        let calls = self
            .calls
            .entry((tenant, capability.to_owned()))
            .or_default();
        calls.push_back((call, at));
        let oldest = at.0.saturating_sub(MAX_WINDOW_MILLIS);
        while calls.front().is_some_and(|(_, t)| t.0 < oldest) {
            calls.pop_front();
        }
    }

    /// Calls within the window that ends at `now`, and when the oldest of them leaves it.
    #[must_use]
    pub fn calls_within(
        &self,
        tenant: TenantId,
        capability: &str,
        window_millis: u64,
        now: UnixMillis,
    ) -> (u64, Option<UnixMillis>) {
        let from = now.0.saturating_sub(window_millis);
        let Some(calls) = self.calls.get(&(tenant, capability.to_owned())) else {
            return (0, None);
        };
        let inside = calls.iter().rev().take_while(|(_, t)| t.0 > from);
        let (count, oldest) = inside.fold((0u64, None), |(n, _), (_, t)| {
            (n.saturating_add(1), Some(*t))
        });
        (
            count,
            oldest.map(|t| UnixMillis(t.0.saturating_add(window_millis))),
        )
    }

    /// What is known of an idempotency key, and whether it belongs to the same request.
    #[must_use]
    pub fn earlier(&self, slot: &[u8; 32], request: &MatchKey) -> Option<(Earlier, bool)> {
        self.keyed
            .get(slot)
            .map(|k| (k.earlier, k.request == *request))
    }

    pub(crate) fn reserve_key(&mut self, slot: [u8; 32], call: CallId, request: MatchKey) {
        self.running.entry(call).or_default().slot = Some(slot);
        self.remember(
            slot,
            Keyed {
                request,
                earlier: Earlier::Running,
            },
        );
    }

    fn remember(&mut self, slot: [u8; 32], keyed: Keyed) {
        if self.keyed.insert(slot, keyed).is_none() {
            self.keyed_order.push_back(slot);
        }
        while self.keyed_order.len() > MAX_IDEMPOTENCY_KEYS {
            if let Some(old) = self.keyed_order.pop_front() {
                self.keyed.remove(&old);
            }
        }
    }

    /// Gives back what a call had reserved and never made durable.
    pub fn release(&mut self, call: CallId) {
        let Some(Reservation {
            counted,
            slot,
            halted,
        }) = self.running.remove(&call)
        else {
            return;
        };
        if let Some(calls) = counted.and_then(|key| self.calls.get_mut(&key)) {
            // The reservation is among the newest, so the search is short.
            if let Some(at) = calls.iter().rposition(|(c, _)| *c == call) {
                calls.remove(at);
            }
        }
        if let Some(slot) = slot {
            self.keyed.remove(&slot);
        }
        if let Some(halted) = halted.and_then(|key| self.halted.get_mut(&key)) {
            halted.spending = None;
        }
    }

    /// How often this very refusal came before; counts it.
    pub fn repeat(&mut self, request: MatchKey, code: Code) -> u32 {
        if self.repeats.len() >= MAX_HALTED {
            self.repeats.clear();
        }
        let n = self.repeats.entry((request, code)).or_insert(0);
        let before = *n;
        *n = n.saturating_add(1);
        before
    }

    /// The run of a call: the one that the client names, or one that the gateway chooses by idle time.
    pub fn run(
        &mut self,
        tenant: TenantId,
        agent: &str,
        label: Option<&str>,
        now: UnixMillis,
    ) -> Run {
        let base = self.in_force.clone().map_or([0; 32], |e| e.digest.0);
        let key = (tenant, agent.to_owned(), label.map(str::to_owned));
        let idle =
            |open: &OpenRun| label.is_none() && now.0.saturating_sub(open.last.0) > RUN_IDLE_MILLIS;
        if let Some(open) = self.runs.get_mut(&key)
            && !idle(open)
        {
            open.last = now;
            return Run {
                id: open.id,
                ended: None,
            };
        }
        let old = self.runs.remove(&key);
        let generation = old.as_ref().map_or(0, |o| o.generation.saturating_add(1));
        let label_bytes = label.unwrap_or_default().as_bytes();
        let chosen: &[u8] = if label.is_some() {
            b"client"
        } else {
            b"gateway"
        };
        let digest = lengths_hash(
            "countersign/run/v1",
            &[
                &base,
                &tenant.0,
                agent.as_bytes(),
                chosen,
                label_bytes,
                &generation.to_be_bytes(),
                &now.0.to_be_bytes(),
            ],
        );
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = digest;
        let id = RunId([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        self.runs.insert(
            key,
            OpenRun {
                id,
                last: now,
                generation,
            },
        );
        Run {
            id,
            ended: old.map(|o| o.id),
        }
    }
}

/// Where an idempotency key is kept: it belongs to tenant, agent and capability.
#[must_use]
pub fn idempotency_slot(tenant: TenantId, agent: &str, capability: &str, key: &[u8]) -> [u8; 32] {
    lengths_hash(
        "countersign/idempotency/v1",
        &[&tenant.0, agent.as_bytes(), capability.as_bytes(), key],
    )
}

fn opened(disclosures: &[Disclosure], field: Field) -> Option<&[u8]> {
    disclosures
        .iter()
        .find(|d| d.field == field)
        .map(|d| d.value.0.as_slice())
}
