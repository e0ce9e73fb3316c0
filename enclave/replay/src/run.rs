//! From an export to a [`Replay`].
//!
//! Verify; index; fold the log in its order, and run each call where its basis ends.
//! Memory is bounded by the control state, the bundles, and about 200 bytes a call.

use crate::again::{First, Other, World, again};
use crate::call::{Recorded, Sealed};
use crate::compare::{Difference, Stage, compare, compare_policy};
use crate::export::{Index, Leaf, Leaves, ReadError, Slot};
use crate::report::{CallReplay, Replay, Status, Subject, Verification};
use crate::rules::{Rules, RulesError, Shelf};
use crate::whatif::{Against, Candidate, weigh};
use bytes::Bytes;
use countersign_gateway::refusal::Code;
use countersign_gateway::state::State;
use countersign_record::body::{Caller, Decision, Verdict};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{CallId, UnixMillis};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_verify::report::Verdict as Judged;
use countersign_verify::trust::Trust;
use countersign_verify::{Options as VerifyOptions, verify};
use std::io::{Read, Seek, SeekFrom};
use thiserror::Error;

/// What a replay is done with, besides trust.
#[derive(Debug, Default)]
pub struct Options {
    /// Path of the trust file, for the verifier's report.
    pub trust_path: String,
    /// Only the calls whose identifiers begin so, hexadecimal.
    pub call: Option<String>,
    /// A bundle to compare with.
    pub against: Option<Candidate>,
    /// How many threads verify signatures; 0 means 1.
    pub threads: usize,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The export is being verified.
    Verifying,
    /// It is being read.
    Reading,
    /// So many calls of all are done.
    Calls {
        /// Done.
        done: u64,
        /// All.
        of: u64,
    },
}

/// Why there is no replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The export.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The bundle to compare with.
    #[error("the bundle to compare with: {0}")]
    Against(RulesError),
}

/// Replays an export.
///
/// # Errors
/// If the file cannot be read, or the bundle to compare with cannot be used.
pub fn replay(
    mut export: impl Read + Seek,
    trust: &Trust,
    options: &Options,
    now: UnixMillis,
    progress: &mut dyn FnMut(Progress),
) -> Result<Replay, ReplayError> {
    progress(Progress::Verifying);
    let verify_options = VerifyOptions {
        trust_path: options.trust_path.clone(),
        threads: options.threads,
        ..VerifyOptions::default()
    };
    export.seek(SeekFrom::Start(0)).map_err(ReadError::from)?;
    let report = verify(&mut export, trust, &verify_options, now);
    let verification = Verification {
        headline: report.headline.clone(),
        first_failure: report.first_failure,
        exit_code: report.exit_code,
    };
    if report.verdict == Judged::Untrusted {
        let why = "the verifier finds the export altered, or not of a gateway of yours".to_owned();
        return Ok(Replay::tampered(verification, why));
    }
    compute(
        export,
        options,
        verification,
        &report.subject.root,
        progress,
    )
}

/// Everything after verification, on an export whose log has this root.
pub(crate) fn compute(
    mut export: impl Read + Seek,
    options: &Options,
    verification: Verification,
    root: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Replay, ReplayError> {
    progress(Progress::Reading);
    let index = Index::read(&mut export)?;
    let other = options
        .against
        .as_ref()
        .map(|candidate| Rules::compile(&candidate.bundle))
        .transpose()
        .map_err(ReplayError::Against)?;
    let mut run = Run {
        shelf: Shelf::new(index.bundles.clone()),
        index: &index,
        options,
        other,
        against: options.against.as_ref().map(Against::new),
        gaps: Gaps::default(),
        calls: Vec::new(),
    };
    let read = run.through(&mut export, progress)?;
    let (calls, against) = (run.calls, run.against);
    if [index.root, read]
        .into_iter()
        .flatten()
        .any(|r| r.to_string() != root)
    {
        return Err(ReadError::Changed.into());
    }
    let subject = Subject {
        gateway: index.gateway.map(|g| g.to_string()),
        entries: index.entries,
        root: root.to_owned(),
    };
    Ok(Replay::of_calls(
        subject,
        verification,
        index.open,
        calls,
        against,
    ))
}

/// Entries that the state could not take in whole, because what opens them is not there.
#[derive(Debug, Default)]
struct Gaps {
    /// An intent with an idempotency key.
    keys: Option<u64>,
    /// A halted call.
    halts: Option<u64>,
    /// A stop of an agent.
    stops: Option<u64>,
}

impl Gaps {
    fn note(&mut self, entry: &Entry<'_>, disclosures: &[Disclosure]) {
        let index = entry.place().index;
        let opens = |fields: &[Field]| {
            fields
                .iter()
                .all(|field| disclosures.iter().any(|d| d.field == *field))
        };
        let user = |caller: &Caller| caller.user.is_none() || opens(&[Field::User]);
        if let Body::Stop(stop) = entry.body() {
            if stop.agent.is_some() && !opens(&[Field::Agent]) {
                self.stops.get_or_insert(index);
            }
        } else if let Body::Intent(intent) = entry.body() {
            let needed = [Field::Agent, Field::Forwarded, Field::Idempotency];
            let known = opens(&needed) && user(&intent.caller);
            if intent.idempotency.is_some() && !known {
                self.keys.get_or_insert(index);
            }
        } else if let Body::Decision(decision) = entry.body() {
            let halts = decision.verdict == Verdict::StepUp && decision.parent.is_none();
            let needed = [Field::Agent, Field::Forwarded, Field::Preview];
            let known = opens(&needed) && user(&decision.caller);
            if halts && !known {
                self.halts.get_or_insert(index);
            }
        }
    }

    /// What keeps the state of this call from being known.
    fn reason(&self, decision: &Decision) -> Option<String> {
        let people = decision.verdict == Verdict::StepUp
            || !decision.approvals.is_empty()
            || decision
                .policy
                .iter()
                .flat_map(|p| &p.obligations)
                .any(|o| o.starts_with("step_up"));
        let keys = self.keys.filter(|_| decision.idempotency.is_some());
        let halts = self.halts.filter(|_| people);
        keys.or(halts).or(self.stops).map(|entry| {
            format!("what opens entry {entry} is not in the export, and the state depends on it")
        })
    }
}

struct Run<'a> {
    shelf: Shelf,
    index: &'a Index,
    options: &'a Options,
    other: Option<Rules>,
    against: Option<Against>,
    gaps: Gaps,
    calls: Vec<CallReplay>,
}

impl Run<'_> {
    /// Folds the log in its order, and runs each call where its basis ends; the root of what was read.
    fn through<R: Read + Seek>(
        &mut self,
        export: R,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<countersign_record::digest::NodeHash>, ReadError> {
        let mut leaves = Leaves::start(export)?;
        let gateway = self.index.gateway.ok_or(ReadError::Changed)?;
        let mut state = State::new(gateway);
        let wanted: Vec<Slot> = self
            .index
            .slots
            .iter()
            .filter(|slot| {
                let prefix = self.options.call.as_deref().unwrap_or_default();
                slot.call.to_string().starts_with(prefix)
            })
            .copied()
            .collect();
        let of = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        let mut slots = wanted.into_iter().peekable();
        let mut folded = 0u64;
        let mut done = 0u64;
        loop {
            while let Some(slot) = slots.next_if(|slot| slot.basis <= folded) {
                self.slot(&slot, &mut state, &mut leaves)?;
                done = done.saturating_add(1);
                progress(Progress::Calls { done, of });
            }
            let Some(leaf) = leaves.next_leaf()? else {
                break;
            };
            folded = self.fold(&leaf, folded, &mut state)?;
        }
        // A basis beyond the log is no state that ever was; the state at the end shows the difference.
        for slot in slots {
            self.slot(&slot, &mut state, &mut leaves)?;
        }
        Ok(leaves.root())
    }

    fn fold(&mut self, leaf: &Leaf, folded: u64, state: &mut State) -> Result<u64, ReadError> {
        let Some(bytes) = &leaf.entry else {
            return Ok(folded.saturating_add(1));
        };
        let entry = parse(bytes, leaf.offset)?;
        self.gaps.note(&entry, &leaf.disclosures);
        state.apply(&entry, &leaf.disclosures);
        Ok(entry.place().index.saturating_add(1))
    }

    fn slot<R: Read + Seek>(
        &mut self,
        slot: &Slot,
        state: &mut State,
        leaves: &mut Leaves<R>,
    ) -> Result<(), ReadError> {
        let recorded = recorded(slot, leaves)?;
        let judged = self.judge(slot, &recorded, state, leaves)?;
        let decision = &recorded.decision;
        let mut out = CallReplay {
            call: decision.call.to_string(),
            entry: recorded.index,
            capability: decision.capability.as_ref().map(|c| c.id.clone()),
            verdict: decision.verdict.name(),
            status: Status::Match,
            recomputed: Vec::new(),
            difference: None,
            reason: None,
        };
        match judged {
            Judgement::Match(ran) => out.recomputed = ran,
            Judgement::Diverged(difference) => {
                out.status = Status::Diverged;
                out.difference = Some(difference);
            }
            Judgement::Not { reason, ran } => {
                out.status = Status::NotReplayable;
                out.reason = Some(reason);
                out.recomputed = ran;
            }
        }
        self.calls.push(out);
        self.weigh(slot, &recorded, state);
        Ok(())
    }

    fn judge<R: Read + Seek>(
        &mut self,
        slot: &Slot,
        recorded: &Recorded,
        state: &mut State,
        leaves: &mut Leaves<R>,
    ) -> Result<Judgement, ReadError> {
        let index = self.index;
        let reason = self.unready(slot, recorded);
        let in_force = index.in_force_at(slot.first());
        let settled = index.in_force_at(slot.decision.index);
        let rules = self.shelf.rules(in_force.and_then(|i| i.bundle));
        let rules = match rules {
            Ok(rules) => rules,
            Err(e) => return Ok(Judgement::not(e.to_string())),
        };
        if let Some(reason) = reason {
            return Ok(by_facts(recorded, rules, reason));
        }
        let (Some(in_force), Some(settled)) = (in_force, settled) else {
            return Ok(Judgement::not("nothing was in force".to_owned()));
        };
        let least = index.least_basis(slot);
        if let Some(basis) = recorded.decision.basis.filter(|basis| *basis < least) {
            return Ok(Judgement::Diverged(Difference::new(
                Stage::Budget,
                "decision.basis",
                basis.to_string(),
                format!("at least {least}"),
            )));
        }
        let under_way = |wanted| index.under_way(slot, wanted);
        let mut lost: Option<u64> = None;
        let mut broken: Option<ReadError> = None;
        let mut first_difference = None;
        for other in Other::of(&recorded.decision) {
            let mut first = |at: u64| match outcome(index, leaves, at) {
                Ok(found) => {
                    if found.is_none() {
                        lost = Some(at);
                    }
                    found
                }
                Err(e) => {
                    broken = Some(e);
                    None
                }
            };
            let first: &mut First<'_> = &mut first;
            let mut world = World {
                rules,
                state,
                in_force: in_force.entry.clone(),
                settled_in_force: settled.entry.clone(),
                first,
                under_way: &under_way,
            };
            let difference = match again(recorded, &mut world, *other) {
                Ok(rebuilt) => match compare(recorded, &rebuilt) {
                    None => return Ok(Judgement::Match(rebuilt.ran)),
                    Some(difference) => difference,
                },
                Err(difference) => *difference,
            };
            first_difference.get_or_insert(difference);
        }
        if let Some(e) = broken {
            return Err(e);
        }
        Ok(match (lost, first_difference) {
            (Some(entry), _) => Judgement::not(format!(
                "the outcome that it repeats, of entry {entry}, is not in the export"
            )),
            (None, Some(difference)) => Judgement::Diverged(difference),
            (None, None) => Judgement::not("nothing was tried".to_owned()),
        })
    }

    /// What is missing for the stages to run.
    fn unready(&self, slot: &Slot, recorded: &Recorded) -> Option<String> {
        if let Some(partial) = &self.index.partial {
            return Some(partial.clone());
        }
        if recorded.decision.intent.is_some() && slot.intent.is_none() {
            return Some("its intent is not in the export".to_owned());
        }
        let withheld = recorded.withheld();
        if !withheld.is_empty() {
            let names: Vec<_> = withheld.iter().map(|f| f.name()).collect();
            return Some(format!("not in the export: {}", names.join(", ")));
        }
        self.gaps.reason(&recorded.decision)
    }

    fn weigh(&mut self, slot: &Slot, recorded: &Recorded, state: &mut State) {
        let (Some(against), Some(other)) = (&mut self.against, &self.other) else {
            return;
        };
        let code = recorded.decision.code.as_deref().and_then(Code::from_name);
        if recorded.decision.capability.is_none()
            && let Some(
                code @ (Code::NotEnrolled
                | Code::ClockDrift
                | Code::LeaseExpired
                | Code::NotWitnessed
                | Code::Stopped),
            ) = code
        {
            against.skip(&format!("no bundle was asked: {}", code.name()));
            return;
        }
        let in_force = self.index.in_force_at(slot.first());
        let rules = match self.shelf.rules(in_force.and_then(|i| i.bundle)) {
            Ok(rules) => rules,
            Err(e) => return against.skip(&e.to_string()),
        };
        let index = self.index;
        let under_way = |wanted| index.under_way(slot, wanted);
        let whole = self.index.partial.is_none();
        let before = weigh(recorded, rules, whole.then_some(&mut *state), &under_way);
        let after = weigh(recorded, other, whole.then_some(state), &under_way);
        match (before, after) {
            (Ok(before), Ok(after)) => against.take(recorded, before, after),
            (Err(reason), _) | (_, Err(reason)) => against.skip(&reason),
        }
    }
}

enum Judgement {
    Match(Vec<Stage>),
    Diverged(Difference),
    Not { reason: String, ran: Vec<Stage> },
}

impl Judgement {
    fn not(reason: String) -> Self {
        Self::Not {
            reason,
            ran: Vec::new(),
        }
    }
}

/// Where not everything is there: the facts are enough to ask policy again.
fn by_facts(recorded: &Recorded, rules: &Rules, reason: String) -> Judgement {
    let (Some(facts), Some(policy)) = (recorded.facts(), &recorded.decision.policy) else {
        return Judgement::not(reason);
    };
    let (_, outcome) = rules.decide(&facts);
    match compare_policy(policy, &outcome) {
        Some(difference) => Judgement::Diverged(difference),
        None => Judgement::Not {
            reason,
            ran: vec![Stage::Policy],
        },
    }
}

fn recorded<R: Read + Seek>(slot: &Slot, leaves: &mut Leaves<R>) -> Result<Recorded, ReadError> {
    let (bytes, mut disclosures) = leaves.look(slot.decision)?;
    let entry = parse(&bytes, slot.decision.offset)?;
    let Body::Decision(decision) = entry.body() else {
        return Err(ReadError::Changed);
    };
    let mut sealed = None;
    if let Some(spot) = slot.intent {
        let (bytes, more) = leaves.look(spot)?;
        let intent = parse(&bytes, spot.offset)?;
        let Body::Intent(body) = intent.body() else {
            return Err(ReadError::Changed);
        };
        disclosures.extend(more);
        sealed = Some(Sealed {
            intent: body.clone(),
            entry: EntryRef {
                index: spot.index,
                digest: spot.digest,
            },
            at: intent.place().at,
        });
    }
    let mut recorded = Recorded::new(
        entry.place().tenant.as_ref().map(|t| t.tenant),
        sealed,
        decision.clone(),
        slot.decision.index,
        disclosures,
    );
    recorded.run = entry.place().run.as_ref().map(|r| r.run);
    Ok(recorded)
}

/// The call that a Decision Record settles, and what was released of it.
fn outcome<R: Read + Seek>(
    index: &Index,
    leaves: &mut Leaves<R>,
    at: u64,
) -> Result<Option<(CallId, Bytes)>, ReadError> {
    let slot = index.decisions.get(&at).and_then(|n| index.slots.get(*n));
    let Some(slot) = slot else { return Ok(None) };
    let (_, disclosures) = leaves.look(slot.decision)?;
    let released = disclosures.into_iter().find(|d| d.field == Field::Released);
    Ok(released.map(|d| (slot.call, Bytes::from(d.value.0))))
}

fn parse(bytes: &[u8], offset: u64) -> Result<Entry<'_>, ReadError> {
    Entry::parse(bytes).map_err(|e| ReadError::Item {
        offset,
        reason: e.to_string(),
    })
}
