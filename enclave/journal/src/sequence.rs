//! The three sequences: leaves, tenants, runs; and which calls wait for their settlement.
//!
//! In: what an entry wants to be, or an entry of a stored log. Out: its place, or why it
//! cannot stand there. Appending and reopening ask the same code, so a log that could not
//! have been written is not accepted either. Memory is bounded by open runs, tenants and
//! open calls, and by 8 bytes for each closed run.
//!
//! Spec: `docs/spec/record.md`, "Log".

use crate::error::Refusal;
use countersign_record::binding::{Binding, CloseStatement, LogHead};
use countersign_record::body::{RunClosed, TenantHead};
use countersign_record::cbor::Cbor;
use countersign_record::digest::{
    CallId, EntryDigest, GatewayId, KeyId, RunId, TenantId, UnixMillis,
};
use countersign_record::entry::{Body, EntryRef, Place, RunPlace, TenantPlace};
use std::collections::{HashMap, HashSet};

/// What an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) run: Option<RunId>,
}

/// When an entry is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: UnixMillis,
    pub(crate) since_boot: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No key.
    Between,
    /// A key, and no base yet.
    Begun(KeyId),
    /// Entries are taken.
    Open { base: EntryDigest, kid: KeyId },
}

/// An open run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) tenant: TenantId,
    pub(crate) count: u64,
    head: EntryDigest,
    first: u64,
    last: u64,
    calls: u32,
}

/// A call whose settlement is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenCall {
    intent: EntryRefCopy,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EntryRefCopy {
    index: u64,
    digest: EntryDigest,
}

/// How much is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) runs: usize,
    pub(crate) tenants: usize,
}

/// How to take one entry back.
#[derive(Debug)]
pub(crate) struct Undo {
    last: Option<EntryDigest>,
    floor: Moment,
    phase: Phase,
    tenant: Option<(TenantId, Option<u64>)>,
    run: Option<(RunId, Option<Run>)>,
    closed: Option<u64>,
    call: Option<(CallId, Option<OpenCall>)>,
}

/// Where the next entry stands.
#[derive(Debug)]
pub(crate) struct Sequence {
    gateway: GatewayId,
    bounds: Bounds,
    next: u64,
    last: Option<EntryDigest>,
    floor: Moment,
    phase: Phase,
    /// Next number of each tenant.
    tenants: HashMap<TenantId, u64>,
    runs: HashMap<RunId, Run>,
    /// The first 8 bytes of closed runs. Identifiers are random, so two runs share them by
    /// chance once in 2⁶⁴ pairs; the second is then refused and its caller picks another.
    closed: HashSet<u64>,
    calls: HashMap<CallId, OpenCall>,
}

impl Sequence {
    pub(crate) fn new(gateway: GatewayId, bounds: Bounds) -> Self {
        Self {
            gateway,
            bounds,
            next: 0,
            last: None,
            floor: Moment {
                at: UnixMillis(0),
                since_boot: 0,
            },
            phase: Phase::Between,
            tenants: HashMap::new(),
            runs: HashMap::new(),
            closed: HashSet::new(),
            calls: HashMap::new(),
        }
    }

    /// An epoch key is at hand; a base may follow.
    pub(crate) fn begin(&mut self, kid: KeyId) -> Result<(), Refusal> {
        match self.phase {
            Phase::Between | Phase::Begun(_) => {
                self.phase = Phase::Begun(kid);
                Ok(())
            }
            Phase::Open { .. } => Err(Refusal::EpochOpen),
        }
    }

    /// The epoch key is gone: the process ended without a close, or with one.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Between;
    }

    /// The key that signs.
    pub(crate) fn kid(&self) -> Option<KeyId> {
        match self.phase {
            Phase::Between => None,
            Phase::Begun(kid) | Phase::Open { kid, .. } => Some(kid),
        }
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.next
    }

    pub(crate) fn tenant_heads(&self) -> impl Iterator<Item = TenantHead> {
        self.tenants.iter().map(|(tenant, next)| TenantHead {
            tenant: *tenant,
            seq: next.saturating_sub(1),
        })
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (&RunId, &Run)> {
        self.runs.iter()
    }

    /// How many calls wait for their settlement.
    pub(crate) fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// The place of the next entry. Its time is never behind the last one's.
    pub(crate) fn place(&self, owner: Owner, moment: Moment) -> Result<Place, Refusal> {
        let (base, since_boot) = match self.phase {
            Phase::Between => return Err(Refusal::NoEpoch),
            // A process that has just started counts from 0 again.
            Phase::Begun(_) => (None, moment.since_boot),
            Phase::Open { base, .. } => (Some(base), moment.since_boot.max(self.floor.since_boot)),
        };
        let tenant = owner
            .tenant
            .map(|tenant| self.tenant_place(tenant))
            .transpose()?;
        let run = owner
            .run
            .map(|run| self.run_place(run, owner.tenant))
            .transpose()?;
        let at = moment.at.max(self.floor.at);
        Ok(Place {
            index: self.next,
            base,
            at,
            since_boot,
            tenant,
            run,
        })
    }

    fn tenant_place(&self, tenant: TenantId) -> Result<TenantPlace, Refusal> {
        match self.tenants.get(&tenant) {
            Some(seq) => Ok(TenantPlace { tenant, seq: *seq }),
            None if self.tenants.len() >= self.bounds.tenants => Err(Refusal::TooManyTenants {
                limit: self.bounds.tenants,
            }),
            None => Ok(TenantPlace { tenant, seq: 0 }),
        }
    }

    fn run_place(&self, run: RunId, tenant: Option<TenantId>) -> Result<RunPlace, Refusal> {
        let tenant = tenant.ok_or(Refusal::RunWithoutTenant)?;
        match self.runs.get(&run) {
            Some(known) if known.tenant != tenant => Err(Refusal::RunOfOtherTenant),
            Some(known) => Ok(RunPlace {
                run,
                seq: known.count,
                previous: Some(known.head),
            }),
            None if self.closed.contains(&mark(run)) => Err(Refusal::RunClosed),
            None if self.runs.len() >= self.bounds.runs => Err(Refusal::TooManyRuns {
                limit: self.bounds.runs,
            }),
            None => Ok(RunPlace {
                run,
                seq: 0,
                previous: None,
            }),
        }
    }

    /// The body that closes a run.
    pub(crate) fn summary(&self, run: RunId) -> Result<RunClosed, Refusal> {
        let known = self.runs.get(&run).ok_or(Refusal::RunUnknown)?;
        if known.calls > 0 {
            return Err(Refusal::RunBusy { calls: known.calls });
        }
        let Run {
            count,
            head,
            first,
            last,
            ..
        } = *known;
        Ok(RunClosed {
            run,
            head,
            count,
            first,
            last,
        })
    }

    /// Whether an entry with this body may come next.
    pub(crate) fn admit(&self, owner: Owner, body: &Body) -> Result<(), Refusal> {
        match (body, self.phase) {
            (_, Phase::Between) => return Err(Refusal::NoEpoch),
            (Body::Base(_), Phase::Open { .. }) => return Err(Refusal::EpochOpen),
            (Body::Base(_), Phase::Begun(_)) | (_, Phase::Open { .. }) => {}
            (_, Phase::Begun(_)) => return Err(Refusal::NoEpoch),
        }
        match body {
            Body::Base(base) => {
                let binding = Binding::from_bytes(&base.binding.0)?;
                let found = binding.identity_key.gateway();
                if found != self.gateway {
                    return Err(Refusal::Gateway {
                        expected: self.gateway,
                        found,
                    });
                }
                if Some(binding.epoch_key.id()) != self.kid() {
                    return Err(Refusal::EpochKey);
                }
                if base.previous != self.last {
                    return Err(Refusal::Head {
                        claimed: binding.previous.size,
                        size: self.next,
                    });
                }
                Ok(())
            }
            Body::Intent(intent) if self.calls.contains_key(&intent.call) => {
                Err(Refusal::DuplicateCall { call: intent.call })
            }
            Body::Decision(decision) => {
                self.admit_decision(owner, decision.call, decision.intent.as_ref())
            }
            Body::Run(closed) => match self.summary(closed.run)? {
                expected if expected == *closed && owner.run == Some(closed.run) => Ok(()),
                _ => Err(Refusal::RunSummary),
            },
            Body::Close(_) if !self.calls.is_empty() => Err(Refusal::Unsettled {
                calls: self.calls.len(),
            }),
            Body::Close(_)
            | Body::Intent(_)
            | Body::Enrol(_)
            | Body::Approval(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => Ok(()),
        }
    }

    fn admit_decision(
        &self,
        owner: Owner,
        call: CallId,
        intent: Option<&EntryRef>,
    ) -> Result<(), Refusal> {
        match (self.calls.get(&call), intent) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Refusal::NoIntent { call }),
            (Some(_), None) => Err(Refusal::IntentNotNamed { call }),
            (Some(open), Some(named)) => {
                let same = open.intent.index == named.index && open.intent.digest == named.digest;
                if same && open.owner == owner {
                    Ok(())
                } else {
                    Err(Refusal::WrongIntent { call })
                }
            }
        }
    }

    /// The entry at `place` exists: everything after it counts from there.
    pub(crate) fn advance(
        &mut self,
        place: &Place,
        body: &Body,
        digest: EntryDigest,
    ) -> Result<Undo, Refusal> {
        let next = self.next.checked_add(1).ok_or(Refusal::Exhausted)?;
        let floor = Moment {
            at: place.at,
            since_boot: place.since_boot,
        };
        let mut undo = Undo {
            last: self.last.replace(digest),
            floor: std::mem::replace(&mut self.floor, floor),
            phase: self.phase,
            tenant: None,
            run: None,
            closed: None,
            call: None,
        };
        self.next = next;
        if let Some(TenantPlace { tenant, seq }) = place.tenant {
            undo.tenant = Some((tenant, self.tenants.insert(tenant, seq.saturating_add(1))));
        }
        let owner = Owner {
            tenant: place.tenant.as_ref().map(|t| t.tenant),
            run: place.run.as_ref().map(|r| r.run),
        };
        let mut calls = 0i32;
        match body {
            Body::Base(_) => {
                if let Some(kid) = self.kid() {
                    self.phase = Phase::Open { base: digest, kid };
                }
            }
            Body::Close(_) => self.phase = Phase::Between,
            Body::Intent(intent) => {
                let open = OpenCall {
                    intent: EntryRefCopy {
                        index: place.index,
                        digest,
                    },
                    owner,
                };
                undo.call = Some((intent.call, self.calls.insert(intent.call, open)));
                calls = 1;
            }
            Body::Decision(decision) if decision.intent.is_some() => {
                undo.call = Some((decision.call, self.calls.remove(&decision.call)));
                calls = -1;
            }
            Body::Decision(_)
            | Body::Enrol(_)
            | Body::Approval(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_) => {}
        }
        if let (Some(run), Some(tenant)) = (&place.run, owner.tenant) {
            self.advance_run(
                run,
                tenant,
                Step {
                    index: place.index,
                    digest,
                    calls,
                    last: matches!(body, Body::Run(_)),
                },
                &mut undo,
            );
        }
        Ok(undo)
    }

    fn advance_run(&mut self, place: &RunPlace, tenant: TenantId, step: Step, undo: &mut Undo) {
        let before = self.runs.remove(&place.run);
        if step.last {
            self.closed.insert(mark(place.run));
            undo.closed = Some(mark(place.run));
        } else {
            let run = Run {
                tenant,
                count: place.seq.saturating_add(1),
                head: step.digest,
                first: before.as_ref().map_or(step.index, |b| b.first),
                last: step.index,
                calls: before
                    .as_ref()
                    .map_or(0, |b| b.calls)
                    .saturating_add_signed(step.calls),
            };
            self.runs.insert(place.run, run);
        }
        undo.run = Some((place.run, before));
    }

    /// Takes back the last entry that is not taken back yet.
    pub(crate) fn undo(&mut self, undo: Undo) {
        let Undo {
            last,
            floor,
            phase,
            tenant,
            run,
            closed,
            call,
        } = undo;
        self.next = self.next.saturating_sub(1);
        self.last = last;
        self.floor = floor;
        self.phase = phase;
        if let Some((tenant, before)) = tenant {
            restore(&mut self.tenants, tenant, before);
        }
        if let Some((run, before)) = run {
            restore(&mut self.runs, run, before);
        }
        if let Some(mark) = closed {
            self.closed.remove(&mark);
        }
        if let Some((call, before)) = call {
            restore(&mut self.calls, call, before);
        }
    }
}

/// What one entry does to its run.
struct Step {
    index: u64,
    digest: EntryDigest,
    calls: i32,
    last: bool,
}

fn restore<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

fn mark(run: RunId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = run.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The log that a base or close stands for.
pub(crate) fn claimed_head(body: &Body) -> Result<Option<LogHead>, Refusal> {
    Ok(match body {
        Body::Base(base) => Some(Binding::from_bytes(&base.binding.0)?.previous),
        Body::Close(close) => Some(CloseStatement::from_bytes(&close.statement.0)?.head),
        Body::Enrol(_)
        | Body::Intent(_)
        | Body::Decision(_)
        | Body::Approval(_)
        | Body::Run(_)
        | Body::Change(_)
        | Body::Event(_)
        | Body::Renewal(_)
        | Body::Adopt(_)
        | Body::Gap(_)
        | Body::Erasure(_)
        | Body::Hold(_)
        | Body::Stop(_) => None,
    })
}
