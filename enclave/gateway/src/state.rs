//! Control state: what earlier entries mean for the next call.
//!
//! In: entries in the order of the log, with what opens their commitments. Out: budgets,
//! idempotency, halted actions and their approvals, what is in force. The state is a fold
//! over the log, live and after a restart by the same function, so it cannot be rolled back
//! without the log. What a running call has reserved stands beside the fold, under the
//! call's identifier, and is given back or replaced by the call's entry; so the folded part
//! of a live state is always the state that its log folds to. A gateway that continues another's
//! work takes in that log first ([`State::inherit`]), of which nothing may be done twice.
//!
//! Memory: [`keys`] and [`windows`] are bounded by themselves, halted actions by number, by
//! bytes and by age, runs by agent.

mod behind;
pub mod holds;
pub mod keys;
pub mod runs;
pub mod spending;
pub mod stops;
pub mod windows;

use crate::approval::WAIT_MILLIS;
use crate::identity::{proof_slot, signature_slot};
use crate::refusal::Code;
use countersign_record::body::{
    Action, Approval, Caller, Decision, Effect, Erasure, Intent, Verdict,
};
use countersign_record::cbor::Cbor;
use countersign_record::claims::CallerClaims;
use countersign_record::commitment::{CallerProof, Disclosure, Field};
use countersign_record::digest::{
    ActionDigest, CallId, GatewayId, KeyId, RunId, TenantId, UnixMillis, sha256_in,
};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::statement::Choice;
use countersign_tokens::dpop::signed_part;
use std::collections::{BTreeMap, HashMap, VecDeque};

pub use behind::Behind;
use holds::Holds;
pub use keys::Earlier;
use keys::{Keys, Owner};
pub use runs::Run;
use runs::Runs;
use spending::{Spending, Spent as RunSpent};
use stops::Stops;
use windows::Counter;

/// Halted actions that wait at one time; more are refused.
pub const MAX_HALTED: usize = 10_000;

/// Halted actions of one agent that wait at one time; so no agent can keep others from asking people.
pub const MAX_HALTED_PER_AGENT: usize = 100;

/// What opens halted actions, in bytes (128 MiB). It is kept in memory until people have decided.
pub const MAX_HALTED_BYTES: usize = 128 * 1024 * 1024;

/// Silence after which a repeated refusal counts as new (10 minutes).
pub const REPEAT_MILLIS: u64 = 10 * 60 * 1000;

/// Refusals whose repeats are counted. They are forgotten together; counting them changes a sentence, never a verdict.
const MAX_REPEATS: usize = 10_000;

/// How far back signatures of the log are remembered at a start: past and lead of a fresh signature, in milliseconds.
const SIGNATURE_MILLIS: u64 = 2 * 60 * 1000;

/// What makes a retry the same action: tenant, agent, capability and the bytes of the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// A hash of parts with their lengths, so that no two lists of as many parts share one.
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How often a call that had taken its approvals gave them back. Not folded: it says no more than to try again.
    pub given_back: u64,
    /// For whom the agent asks. No part of the action, so of nothing that people sign: shown beside it.
    pub behind: Behind,
    pub(crate) owner: Owner,
}

impl Halted {
    fn bytes(&self) -> usize {
        self.disclosures.iter().fold(self.behind.bytes(), |n, d| {
            n.saturating_add(d.value.0.len())
        })
    }

    /// Whether it still waits.
    #[must_use]
    pub fn waits(&self, now: UnixMillis) -> bool {
        now.0.saturating_sub(self.at.0) <= WAIT_MILLIS
    }
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

/// Calls of a capability by a tenant.
#[derive(Debug, Default)]
struct Budget {
    sealed: Counter,
    /// Running calls without an intent. Each of them counts as of now.
    reserved: u64,
}

/// What a running call holds until its entry replaces it.
#[derive(Debug, Clone, Default)]
struct Reservation {
    counted: Option<(TenantId, String)>,
    slot: Option<[u8; 32]>,
    spending: Option<ActionDigest>,
    halting: Option<MatchKey>,
    /// The run, and the tokens that the call declares.
    spends: Option<(RunId, u64)>,
}

/// Whose an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owned {
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// Its run.
    pub run: Option<RunId>,
}

/// What earlier entries mean for the next call.
#[derive(Debug)]
pub struct State {
    gateway: GatewayId,
    enrolled: Option<u64>,
    in_force: Option<EntryRef>,
    latest: UnixMillis,
    /// Leaf index after the newest entry that was taken in.
    size: u64,
    budgets: HashMap<TenantId, HashMap<String, Budget>>,
    keys: Keys,
    halted: HashMap<MatchKey, Halted>,
    by_action: HashMap<ActionDigest, MatchKey>,
    /// Records of halted calls whose action waits.
    halt_entries: BTreeMap<u64, ActionDigest>,
    holds: Holds,
    stops: Stops,
    /// Of the adopted log that is being read.
    inheriting: Stops,
    spending: Spending,
    signatures: VecDeque<(UnixMillis, [u8; 32])>,
    // Beside the fold: what running calls hold, and what only changes words.
    running: HashMap<CallId, Reservation>,
    reserved_keys: HashMap<[u8; 32], MatchKey>,
    halting: HashMap<MatchKey, Halted>,
    approving: HashMap<ActionDigest, CallId>,
    repeats: HashMap<(MatchKey, Code), (u32, UnixMillis)>,
    runs: Runs,
}

impl State {
    /// Before the first entry.
    #[must_use]
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            enrolled: None,
            in_force: None,
            latest: UnixMillis(0),
            size: 0,
            budgets: HashMap::new(),
            keys: Keys::default(),
            halted: HashMap::new(),
            by_action: HashMap::new(),
            halt_entries: BTreeMap::new(),
            holds: Holds::default(),
            stops: Stops::default(),
            inheriting: Stops::default(),
            spending: Spending::default(),
            signatures: VecDeque::new(),
            running: HashMap::new(),
            reserved_keys: HashMap::new(),
            halting: HashMap::new(),
            approving: HashMap::new(),
            repeats: HashMap::new(),
            runs: Runs::default(),
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

    /// How many leaves of the log were taken in: all entries that concern calls, of those before this index.
    #[must_use]
    pub fn basis(&self) -> u64 {
        self.size
    }

    /// Calls that hold something which no entry has replaced yet.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes in one entry of the log, at a start.
    pub fn apply(&mut self, entry: &Entry<'_>, disclosures: &[Disclosure]) {
        let at = EntryRef {
            index: entry.place().index,
            digest: entry.digest(),
        };
        let place = Owned {
            tenant: entry.place().tenant.as_ref().map(|t| t.tenant),
            run: entry.place().run.as_ref().map(|r| r.run),
        };
        self.apply_body(entry.body(), &at, place, entry.place().at, disclosures);
        self.remember_signature(entry.place().at, disclosures);
    }

    /// Takes in the parts of an entry; [`Self::apply`] for one that was just written. In the order of the log.
    pub fn apply_body(
        &mut self,
        body: &Body,
        entry: &EntryRef,
        Owned { tenant, run }: Owned,
        at: UnixMillis,
        disclosures: &[Disclosure],
    ) {
        self.latest = self.latest.max(at);
        self.size = self.size.max(entry.index.saturating_add(1));
        if let Some(run) = run {
            self.spending.apply(run, body, at);
        }
        match body {
            Body::Base(_) | Body::Change(_) => self.in_force = Some(entry.clone()),
            Body::Enrol(enrol) => self.enrolled = Some(enrol.number),
            Body::Intent(intent) => {
                self.apply_intent(intent, (at, Some(entry.index)), disclosures);
            }
            Body::Approval(approval) => self.apply_approval(approval, entry),
            Body::Decision(decision) => self.apply_decision(decision, entry, tenant, disclosures),
            Body::Run(closed) => self.runs.close(closed.run),
            Body::Event(_) | Body::Renewal(_) | Body::Adopt(_) | Body::Gap(_) | Body::Close(_) => {}
            Body::Erasure(erasure) => self.erase(erasure),
            Body::Hold(hold) => self.holds.apply(hold, entry, at),
            Body::Stop(stop) => self.stops.apply(stop, (entry, at), disclosures),
        }
    }

    /// Takes in one entry of a log that this gateway adopted, before its own: which calls were made, under which keys, and
    /// which are stopped.
    ///
    /// Nothing else of another's log holds here: its approvals name another gateway, its runs and its policy are over.
    pub fn inherit(&mut self, entry: &Entry<'_>, disclosures: &[Disclosure]) {
        match entry.body() {
            Body::Intent(intent) => {
                self.apply_intent(intent, (entry.place().at, None), disclosures);
            }
            Body::Decision(decision) if decision.intent.is_some() => {
                let outcome = match decision.effect {
                    Effect::None => None,
                    // The first answer stands in the other log; what matters here is that there was a call.
                    Effect::Unknown | Effect::Dispatched | Effect::Confirmed => {
                        Some(Earlier::Unknown)
                    }
                };
                self.keys.settle(decision.call, outcome);
            }
            Body::Stop(stop) => {
                let at = EntryRef {
                    index: entry.place().index,
                    digest: entry.digest(),
                };
                self.inheriting
                    .apply(stop, (&at, entry.place().at), disclosures);
            }
            Body::Decision(_)
            | Body::Enrol(_)
            | Body::Base(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Close(_) => (),
        }
    }

    /// An adopted log is at its end: nobody will settle what it leaves open.
    pub fn inherited(&mut self) {
        self.keys.abandon();
        self.stops.take_over(&std::mem::take(&mut self.inheriting));
    }

    fn apply_intent(
        &mut self,
        intent: &Intent,
        (at, index): (UnixMillis, Option<u64>),
        disclosures: &[Disclosure],
    ) {
        // The entry replaces what the call had reserved: from here on nothing of it can be given back.
        self.release(intent.call);
        let Ok(action) = Action::from_bytes(&intent.action.0) else {
            return;
        };
        self.budget(action.tenant, &action.capability.id)
            .sealed
            .add(at);
        self.forget_halted(action.digest());
        let (Some(key), Some((agent, party))) = (
            opened(disclosures, Field::Idempotency),
            parties(&intent.caller, disclosures),
        ) else {
            return;
        };
        let arguments = opened(disclosures, Field::Forwarded).unwrap_or_default();
        let capability = &action.capability.id;
        let request = MatchKey::new(action.tenant, &party, capability, arguments);
        let slot = idempotency_slot(action.tenant, &party, capability, key);
        let owner = Owner::new(action.tenant, &agent);
        self.keys.open(intent.call, slot, request, (owner, index));
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
        if decision.intent.is_none() {
            self.release(decision.call);
            if decision.verdict == Verdict::StepUp {
                self.halt_recorded(decision, (tenant, entry.index), disclosures);
            }
            return;
        }
        let code = decision.code.as_deref();
        let outcome = match (decision.effect, code) {
            // Nothing left: the key is as good as new.
            (Effect::None, _) => None,
            (Effect::Unknown, _) => Some(Earlier::Unknown),
            (Effect::Dispatched | Effect::Confirmed, None) => Some(Earlier::Settled(entry.index)),
            (Effect::Dispatched | Effect::Confirmed, Some(name)) => {
                Some(Code::from_name(name).map_or(Earlier::Unknown, Earlier::Withheld))
            }
        };
        self.keys.settle(decision.call, outcome);
    }

    /// Takes in a halted action from the record of the halted call.
    fn halt_recorded(
        &mut self,
        decision: &Decision,
        (tenant, index): (Option<TenantId>, u64),
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
        let digest = action.digest();
        // A call that met an action which was halted before it carries that action's digest, and halts nothing itself.
        if Some(digest) != decision.action {
            return;
        }
        let (Some((agent, party)), Some(arguments)) = (
            parties(&decision.caller, disclosures),
            opened(disclosures, Field::Forwarded),
        ) else {
            return;
        };
        let key = MatchKey::new(tenant, &party, &capability.id, arguments);
        let kept = disclosures
            .iter()
            .filter(|d| matches!(d.field, Field::Agent | Field::Forwarded | Field::Preview));
        let halted = Halted {
            call: decision.call,
            digest,
            action,
            at: decision.times.decided,
            disclosures: kept.cloned().collect(),
            approvals: Vec::new(),
            refused: false,
            given_back: 0,
            behind: Behind::recorded(&decision.caller, disclosures),
            owner: Owner::new(tenant, &agent),
        };
        self.forget_outdated();
        if let Some(old) = self.halted.insert(key, halted) {
            self.by_action.remove(&old.digest);
        }
        self.by_action.insert(digest, key);
        self.halt_entries.insert(index, digest);
    }

    /// Forgets what stood in values that are gone: halted actions wait no more, idempotency keys are unknown.
    /// A restart, which cannot read those values, comes to the same state.
    fn erase(&mut self, erasure: &Erasure) {
        let covered = self
            .halt_entries
            .iter()
            .filter(|(index, _)| erasure.covers(**index));
        let covered: Vec<ActionDigest> = covered.map(|(_, digest)| *digest).collect();
        for digest in covered {
            self.forget_halted(digest);
        }
        self.keys.erase(|intent| erasure.covers(intent));
    }

    /// Legal holds.
    #[must_use]
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Calls that people stopped.
    #[must_use]
    pub fn stops(&self) -> &Stops {
        &self.stops
    }

    /// A stop counts from now on; its entry is on its way. `false` if another of this name is, too.
    pub fn stop(&mut self, id: &str, covers: &stops::Covers) -> bool {
        self.stops.begin(id, covers)
    }

    /// Forgets actions that waited too long, by the time of the log.
    fn forget_outdated(&mut self) {
        let (latest, by_action) = (self.latest, &mut self.by_action);
        self.halted.retain(|_, halted| {
            let waits = halted.waits(latest);
            if !waits {
                by_action.remove(&halted.digest);
            }
            waits
        });
        self.halt_entries
            .retain(|_, digest| by_action.contains_key(digest));
    }

    fn forget_halted(&mut self, digest: ActionDigest) {
        if let Some(key) = self.by_action.remove(&digest) {
            self.halted.remove(&key);
        }
    }

    /// The halted action of a request, once its record is durable.
    #[must_use]
    pub fn halted(&self, key: &MatchKey) -> Option<&Halted> {
        self.halted.get(key)
    }

    /// The halted action with this digest, if it still waits. Before its record is durable nobody can approve it.
    #[must_use]
    pub fn halted_action(&self, digest: &ActionDigest) -> Option<&Halted> {
        self.by_action
            .get(digest)
            .and_then(|k| self.halted.get(k))
            .filter(|h| h.waits(self.latest))
    }

    /// All halted actions, the oldest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<&Halted> {
        let mut all: Vec<_> = self
            .halted
            .values()
            .filter(|h| h.waits(self.latest))
            .collect();
        all.sort_by_key(|h| (h.at, h.call));
        all
    }

    /// Whether there is room for another halted action of this agent.
    pub(crate) fn may_halt(&self, owner: Owner, bytes: usize) -> bool {
        let (mut own, mut all, mut held) = (0usize, 0usize, bytes);
        let recorded = self.halted.values().filter(|h| h.waits(self.latest));
        for h in recorded.chain(self.halting.values()) {
            own = own.saturating_add(usize::from(h.owner == owner));
            all = all.saturating_add(1);
            held = held.saturating_add(h.bytes());
        }
        own < MAX_HALTED_PER_AGENT && all < MAX_HALTED && held <= MAX_HALTED_BYTES
    }

    /// Holds an action until its record is durable.
    pub(crate) fn halt(&mut self, key: MatchKey, halted: Halted) {
        self.running.entry(halted.call).or_default().halting = Some(key);
        self.halting.insert(key, halted);
    }

    /// An action of this request whose record is on its way.
    pub(crate) fn halting(&self, key: &MatchKey) -> Option<&Halted> {
        self.halting.get(key)
    }

    /// Takes the approvals of an action for a call; no other call can while this one has them.
    pub(crate) fn spend(&mut self, digest: ActionDigest, call: CallId) -> Spent {
        if self.approving.contains_key(&digest) {
            return Spent::ByAnother;
        }
        self.approving.insert(digest, call);
        self.running.entry(call).or_default().spending = Some(digest);
        Spent::Now
    }

    fn budget(&mut self, tenant: TenantId, capability: &str) -> &mut Budget {
        let of_tenant = self.budgets.entry(tenant).or_default();
        if !of_tenant.contains_key(capability) {
            of_tenant.insert(capability.to_owned(), Budget::default());
        }
        of_tenant.entry(capability.to_owned()).or_default()
    }

    pub(crate) fn reserve_call(&mut self, tenant: TenantId, capability: &str, call: CallId) {
        let reservation = self.running.entry(call).or_default();
        if reservation.counted.is_some() {
            return;
        }
        reservation.counted = Some((tenant, capability.to_owned()));
        let budget = self.budget(tenant, capability);
        budget.reserved = budget.reserved.saturating_add(1);
    }

    pub(crate) fn reserve_run(&mut self, run: RunId, tokens: u64, call: CallId) {
        let reservation = self.running.entry(call).or_default();
        if reservation.spends.is_none() {
            reservation.spends = Some((run, tokens));
            self.spending.reserve(run, tokens);
        }
    }

    /// What a run has spent, calls that are about to be sealed included.
    #[must_use]
    pub fn run_spent(&self, run: RunId) -> RunSpent {
        self.spending.of(run)
    }

    /// Calls within the window that ends at `now`, those that are about to be sealed included,
    /// and when the oldest of them leaves it.
    #[must_use]
    pub fn calls_within(
        &self,
        tenant: TenantId,
        capability: &str,
        window_millis: u64,
        now: UnixMillis,
    ) -> (u64, Option<UnixMillis>) {
        let Some(budget) = self.budgets.get(&tenant).and_then(|b| b.get(capability)) else {
            return (0, None);
        };
        let (sealed, free_at) = budget.sealed.within(window_millis, now);
        (sealed.saturating_add(budget.reserved), free_at)
    }

    /// What is known of an idempotency key, and whether it belongs to the same request.
    #[must_use]
    pub fn earlier(&self, slot: &[u8; 32], request: &MatchKey) -> Option<(Earlier, bool)> {
        match self.reserved_keys.get(slot) {
            Some(first) => Some((Earlier::Running, first == request)),
            None => self.keys.earlier(slot, request),
        }
    }

    pub(crate) fn reserve_key(&mut self, slot: [u8; 32], call: CallId, request: MatchKey) {
        self.running.entry(call).or_default().slot = Some(slot);
        self.reserved_keys.insert(slot, request);
    }

    /// Gives back what a call had reserved. Safe at any time: what an entry has replaced is not there any more.
    pub fn release(&mut self, call: CallId) {
        let Some(Reservation {
            counted,
            slot,
            spending,
            halting,
            spends,
        }) = self.running.remove(&call)
        else {
            return;
        };
        if let Some((tenant, capability)) = counted {
            let budget = self.budget(tenant, &capability);
            budget.reserved = budget.reserved.saturating_sub(1);
        }
        if let Some(slot) = slot {
            self.reserved_keys.remove(&slot);
        }
        if let Some((run, tokens)) = spends {
            self.spending.give_back(run, tokens);
        }
        if let Some(digest) = spending {
            self.approving.remove(&digest);
            let key = self.by_action.get(&digest);
            if let Some(halted) = key.and_then(|k| self.halted.get_mut(k)) {
                halted.given_back = halted.given_back.saturating_add(1);
            }
        }
        if let Some(key) = halting {
            self.halting.remove(&key);
        }
    }

    /// How often this very refusal came before, without a long silence between; counts it.
    pub fn repeat(&mut self, request: MatchKey, code: Code) -> u32 {
        if self.repeats.len() >= MAX_REPEATS {
            self.repeats.clear();
        }
        let now = self.latest;
        let (n, last) = self.repeats.entry((request, code)).or_insert((0, now));
        if now.0.saturating_sub(last.0) > REPEAT_MILLIS {
            *n = 0;
        }
        let before = *n;
        *n = n.saturating_add(1);
        *last = now;
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
        let in_force = self.in_force.as_ref().map_or([0; 32], |e| e.digest.0);
        self.runs.of_call(in_force, tenant, agent, label, now)
    }

    /// Takes out the runs that have been silent for too long, to be closed.
    pub fn idle_runs(&mut self, now: UnixMillis) -> Vec<(TenantId, RunId)> {
        self.runs.idle(now)
    }

    /// A restart forgets which nonces were used; the log remembers which signatures were.
    fn remember_signature(&mut self, at: UnixMillis, disclosures: &[Disclosure]) {
        let oldest = self.latest.0.saturating_sub(SIGNATURE_MILLIS);
        while self.signatures.front().is_some_and(|(t, _)| t.0 < oldest) {
            self.signatures.pop_front();
        }
        let proof = opened(disclosures, Field::CallerProof)
            .and_then(|bytes| CallerProof::from_bytes(bytes).ok())
            .map(|proof| signature_slot(&proof.signature.0));
        let dpop = opened(disclosures, Field::Claims)
            .and_then(|bytes| CallerClaims::from_bytes(bytes).ok())
            .and_then(|claims| signed_part(&claims.dpop?))
            .map(|signed| proof_slot(&signed));
        let used = proof.into_iter().chain(dpop);
        self.signatures.extend(used.map(|slot| (at, slot)));
    }

    /// Signatures of the newest calls that were folded at the start, for [`crate::identity::Nonces::of_log`].
    pub(crate) fn signatures(&self) -> impl Iterator<Item = &(UnixMillis, [u8; 32])> {
        self.signatures.iter()
    }

    /// Everything that is folded, in a form that can be compared.
    #[cfg(test)]
    pub(crate) fn folded(&self) -> String {
        use std::collections::BTreeMap;
        let budgets: BTreeMap<_, _> = self
            .budgets
            .iter()
            .flat_map(|(t, b)| b.iter().map(move |(c, b)| ((t.0, c), &b.sealed)))
            .filter(|(_, sealed)| !sealed.is_empty())
            .collect();
        let halted: BTreeMap<_, _> = self
            .halted
            .iter()
            .map(|(k, h)| (k, (h.digest, h.call, h.at, &h.approvals, h.refused)))
            .collect();
        format!(
            "{:?}\n{:?}\n{:?}\n{budgets:?}\n{:?}\n{halted:?}\n{}",
            self.enrolled,
            self.in_force,
            self.latest,
            self.keys.folded(),
            self.by_action.len(),
        ) + &self.holds.folded()
            + &self.stops.folded()
            + &self.spending.folded()
    }
}

/// Whether a call got the approvals of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// It did.
    Now,
    /// Another running call has them.
    ByAnother,
}

/// Where an idempotency key is kept: it belongs to tenant, agent and capability.
#[must_use]
pub fn idempotency_slot(tenant: TenantId, agent: &str, capability: &str, key: &[u8]) -> [u8; 32] {
    lengths_hash(
        "countersign/idempotency/v1",
        &[&tenant.0, agent.as_bytes(), capability.as_bytes(), key],
    )
}

/// Whether the fold reads what opens a commitment of this field. The rest need not be kept for it.
#[must_use]
pub fn reads(field: Field) -> bool {
    matches!(
        field,
        Field::Agent | Field::User | Field::Forwarded | Field::Preview | Field::Idempotency
    )
}

/// The agent of a record's caller, and the party that it was. `None` if either is not opened: a call of whom nobody
/// knows is nobody's to repeat.
fn parties(caller: &Caller, disclosures: &[Disclosure]) -> Option<(String, String)> {
    let text = |field| opened(disclosures, field).map(String::from_utf8_lossy);
    let agent = text(Field::Agent)?;
    let user = match caller.user {
        None => None,
        Some(_) => Some(text(Field::User)?),
    };
    let party = crate::call::party(&agent, user.as_deref());
    Some((agent.into_owned(), party))
}

fn opened(disclosures: &[Disclosure], field: Field) -> Option<&[u8]> {
    disclosures
        .iter()
        .find(|d| d.field == field)
        .map(|d| d.value.0.as_slice())
}
