//! Calls: what was sealed before acting, who asked, who approved, how each call was settled, under which rules.
//!
//! Memory: one small value for each open intent, each unexpired approval, and 16 bytes for each settled call.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::keys;
use crate::parallel::Opened;
use countersign_record::body::{
    Action, Approval, Caller, Change, ChangeKind, Decision, Effect, IndexRange, Intent, Mode,
    PolicyOutcome, Verdict,
};
use countersign_record::bundle::Registry;
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::{
    ActionDigest, ArtifactDigest, CallId, Commitment, EntryDigest, KeyId, UnixMillis,
};
use countersign_record::entry::EntryRef;
use countersign_record::export::Scope;
use countersign_record::statement::{APPROVAL_TYP, ApprovalStatement, Choice};
use std::collections::{HashMap, HashSet};

/// How long a call that was decided under the rules before a change may take to reach the log, in milliseconds.
const IN_FLIGHT: u64 = 60_000;

/// Assurance from which on a caller's request is signed.
const SIGNED_REQUEST: u8 = 3;

/// Approvals that are kept before expired ones are looked for.
const APPROVALS_KEPT: usize = 1024;

/// Changes of one epoch that calls may still refer to. Calls refer to the newest, or to one that was just replaced.
const RULES_KEPT: usize = 256;

/// What was in force from some entry on.
#[derive(Debug)]
struct Rules {
    entry: EntryRef,
    bundles: Vec<ArtifactDigest>,
    /// When something else came into force.
    until: Option<UnixMillis>,
}

/// An intent that waits for its settlement.
#[derive(Debug)]
struct OpenIntent {
    entry: EntryRef,
    /// Number of the epoch, from 1.
    epoch: usize,
    in_force: EntryRef,
    action: Option<(ActionDigest, Commitment, String)>,
    received: Commitment,
    approvals: Vec<EntryRef>,
    basis: u64,
}

/// A person's word that was not used yet, or was.
#[derive(Debug)]
struct Word {
    digest: EntryDigest,
    action: ActionDigest,
    call: CallId,
    approver: KeyId,
    choice: Choice,
    expires: UnixMillis,
    /// What the person was shown, as far as the statement is disclosed.
    preview: Option<Commitment>,
    /// The entry that used it.
    spent: Option<u64>,
}

/// Everything about calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    rules: Vec<Rules>,
    /// What was in force at the end of the epoch before; the first change of an epoch may follow it.
    carried: Option<EntryRef>,
    /// The last change of the log.
    last_change: Option<EntryRef>,
    versions: HashMap<u64, u64>,
    open: HashMap<CallId, OpenIntent>,
    settled: HashSet<CallId>,
    words: HashMap<u64, Word>,
    /// How many there may be before expired ones are looked for.
    words_limit: usize,
    /// Entries whose disclosures were erased.
    pub(super) erased: u64,
}

impl Calls {
    /// An epoch opened.
    pub(super) fn opened(&mut self, at: At, bundles: Vec<ArtifactDigest>) {
        let entry = EntryRef {
            index: at.index,
            digest: at.digest,
        };
        self.carried = self.rules.last().map(|r| r.entry.clone());
        self.rules = vec![Rules {
            entry,
            bundles,
            until: None,
        }];
    }

    /// Something in force changed.
    pub(super) fn changed(
        &mut self,
        at: At,
        change: &Change,
        version: Option<u64>,
    ) -> Result<(), String> {
        let bundles = match change.kind {
            ChangeKind::Bundle => vec![change.digest],
            ChangeKind::Pack
            | ChangeKind::Registry
            | ChangeKind::Configuration
            | ChangeKind::Roles
            | ChangeKind::Key
            | ChangeKind::Kill => self
                .rules
                .last()
                .map(|r| r.bundles.clone())
                .unwrap_or_default(),
        };
        let first = self.rules.len() == 1;
        let last = self.rules.last_mut();
        let in_force = last.as_ref().is_some_and(|r| r.entry == change.before);
        let earlier = [&self.carried, &self.last_change];
        let follows = in_force || (first && earlier.contains(&&Some(change.before.clone())));
        if let Some(rules) = last {
            rules.until = Some(at.time);
        }
        let entry = EntryRef {
            index: at.index,
            digest: at.digest,
        };
        self.last_change = Some(entry.clone());
        if self.rules.len() >= RULES_KEPT {
            self.rules.remove(0);
        }
        self.rules.push(Rules {
            entry,
            bundles,
            until: None,
        });
        let before = self.versions.insert(change.kind.code(), change.version);
        that(follows, || {
            "the change names something else as in force before it".to_owned()
        })?;
        that(version.is_none_or(|v| v == change.version), || {
            "the change and its bundle name different versions".to_owned()
        })?;
        that(before.is_none_or(|b| b <= change.version), || {
            format!(
                "version {} came into force after version {}",
                change.version,
                before.unwrap_or(0)
            )
        })
    }

    /// Whether these rules were in force, and this bundle part of them.
    fn in_force(
        &self,
        at: At,
        named: &EntryRef,
        bundle: Option<ArtifactDigest>,
    ) -> Result<(), String> {
        let rules = self.rules.iter().rev().find(|r| r.entry == *named).ok_or(
            "it names as in force what is neither its epoch's base nor a change of this epoch",
        )?;
        if let Some(until) = rules.until {
            let late = at.time.0.saturating_sub(until.0);
            that(late <= IN_FLIGHT, || {
                format!(
                    "it was decided under rules that had been replaced {} s before",
                    late / 1000
                )
            })?;
        }
        that(bundle.is_none_or(|b| rules.bundles.contains(&b)), || {
            "it was decided under a bundle that was not in force".to_owned()
        })
    }
}

impl Checks<'_> {
    /// A call is about to be carried out.
    pub(super) fn intent(&mut self, at: At, intent: &Intent, opened: &Opened) {
        let index = Some(at.index);
        self.call_time(at);
        self.asked_intent(intent.call, opened);
        self.accepted(at);
        let action = Action::from_bytes(&intent.action.0)
            .map_err(|e| format!("the action is malformed: {e}"));
        let agrees = action
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|action| self.agrees(at, intent, action));
        self.ledger.observe(Code::Actions, index, agrees);
        let in_force = self
            .calls
            .in_force(at, &intent.in_force, Some(intent.policy.bundle));
        self.ledger.observe(Code::InForce, index, in_force);
        self.caller(
            at,
            &intent.caller,
            Some(intent.policy.bundle),
            opened,
            Absence::Said,
        );
        if let Ok(action) = &action {
            self.approved(at, intent, action);
        }
        if let Err(text) = based(at, intent.basis) {
            self.ledger.fail(Code::Settlement, index, text);
        }
        let twice =
            self.calls.settled.contains(&intent.call) || self.calls.open.contains_key(&intent.call);
        if twice {
            self.ledger
                .fail(Code::Settlement, index, "the call was sealed before");
        }
        self.calls.open.insert(
            intent.call,
            OpenIntent {
                entry: EntryRef {
                    index: at.index,
                    digest: at.digest,
                },
                epoch: self.epochs.len(),
                in_force: intent.in_force.clone(),
                action: action
                    .ok()
                    .map(|a| (a.digest(), a.forwarded, a.capability.id)),
                received: intent.received,
                approvals: intent.approvals.clone(),
                basis: intent.basis,
            },
        );
    }

    /// Whether an intent agrees with the action in it.
    fn agrees(&self, at: At, intent: &Intent, action: &Action) -> Result<(), String> {
        that(Some(action.gateway) == self.gateway(), || {
            "the action is of another gateway".to_owned()
        })?;
        that(Some(action.tenant) == at.tenant, || {
            "the action is of another tenant than the entry".to_owned()
        })?;
        that(action.bundle == intent.policy.bundle, || {
            "the action was decided under another bundle".to_owned()
        })?;
        that(action.mode == intent.policy.effective, || {
            "the action runs under another mode than policy gave".to_owned()
        })?;
        // A halted action keeps the call that asked for it first, so that a later call can take it up.
        that(
            action.call == intent.call || Some(action.call) == intent.parent,
            || "the action is of another call".to_owned(),
        )?;
        that(
            matches!(intent.verdict, Verdict::Allow | Verdict::Modify),
            || {
                format!(
                    "a call with verdict {} was sealed for carrying out",
                    intent.verdict
                )
            },
        )?;
        that(intent.policy.errors.is_empty(), || {
            "it was allowed although policies could not be evaluated".to_owned()
        })
    }

    /// Who asked.
    fn caller(
        &mut self,
        at: At,
        caller: &Caller,
        bundle: Option<ArtifactDigest>,
        opened: &Opened,
        absence: Absence,
    ) {
        let index = Some(at.index);
        let Some((signer, signed)) = &opened.proof else {
            let claims = caller.assurance >= SIGNED_REQUEST || caller.proof.is_some();
            if claims && (caller.proof.is_none() || caller.key.is_none()) {
                let text = "the caller is said to have signed, and no signature was kept";
                self.ledger.fail(Code::CallerProofs, index, text);
            } else if claims && absence == Absence::Said {
                let text = self.undisclosed("the caller's signature", Field::CallerProof);
                self.ledger.skipped(Code::CallerProofs, index, text);
            }
            return;
        };
        let result = that(caller.key == Some(*signer), || {
            "the request is signed by another key than the record says".to_owned()
        })
        .and_then(|()| {
            signed
                .clone()
                .map_err(|e| format!("the agent's signature does not hold: {e}"))
        })
        .and_then(|content| {
            that(opened.received.is_none_or(|r| r == content), || {
                "the agent signed another request than the one that is shown".to_owned()
            })
        })
        .and_then(|()| self.registered(at, *signer, bundle, opened));
        self.ledger.observe(Code::CallerProofs, index, result);
    }

    /// Whether the agent with that key is the one that is named, and of this tenant.
    fn registered(
        &self,
        at: At,
        signer: KeyId,
        bundle: Option<ArtifactDigest>,
        opened: &Opened,
    ) -> Result<(), String> {
        let current = self
            .calls
            .rules
            .last()
            .and_then(|r| r.bundles.first().copied());
        let registry = bundle
            .or(current)
            .and_then(|b| self.artifacts.bundle(&b))
            .map(|b| &b.registry)
            .ok_or("the bundle that lists the agents is not in the export")?;
        let agent = registry
            .agent_by_key(signer)
            .ok_or("no agent of the bundle has the key that signed")?;
        that(
            opened
                .agents
                .iter()
                .all(|named| named == agent.urn.as_bytes()),
            || "the key that signed belongs to another agent than the one that is named".to_owned(),
        )?;
        let tenant = registry
            .tenants
            .iter()
            .find(|t| t.name == agent.tenant)
            .map(|t| t.id);
        that(at.tenant.is_none() || tenant == at.tenant, || {
            "the agent belongs to another tenant".to_owned()
        })
    }

    /// Callers and people of the bundle that is in force.
    pub(super) fn registry_in_force(&self) -> Option<&Registry> {
        let rules = self.calls.rules.last()?;
        let bundle = rules.bundles.iter().find_map(|b| self.artifacts.bundle(b));
        bundle.map(|b| &b.registry)
    }

    /// A person's word.
    pub(super) fn approval(&mut self, at: At, approval: &Approval, opened: &Opened) {
        let index = Some(at.index);
        let preview = match &opened.approval {
            None => {
                let text =
                    self.undisclosed("the person's signed statement", Field::ApprovalStatement);
                self.ledger.skipped(Code::Approvals, index, text);
                None
            }
            Some(bytes) => match self.person_signed(approval, bytes) {
                Ok(statement) => {
                    self.ledger.held(Code::Approvals);
                    Some(statement.preview)
                }
                Err(text) => {
                    self.ledger.fail(Code::Approvals, index, text);
                    None
                }
            },
        };
        if self.calls.words.len() >= self.calls.words_limit.max(APPROVALS_KEPT) {
            self.calls.words.retain(|_, w| w.expires >= at.time);
            // Looking again only at twice the number keeps the work in proportion to the approvals.
            self.calls.words_limit = self.calls.words.len().saturating_mul(2);
        }
        let Approval {
            action,
            call,
            approver,
            choice,
            statement: _,
            expires,
        } = approval;
        self.calls.words.insert(
            at.index,
            Word {
                digest: at.digest,
                action: *action,
                call: *call,
                approver: *approver,
                choice: *choice,
                expires: *expires,
                preview,
                spent: None,
            },
        );
    }

    /// Whether an enrolled person signed what the entry says.
    fn person_signed(
        &self,
        approval: &Approval,
        bytes: &[u8],
    ) -> Result<ApprovalStatement, String> {
        let approver = self
            .calls
            .rules
            .last()
            .and_then(|r| {
                r.bundles.iter().find_map(|b| {
                    self.artifacts
                        .bundle(b)?
                        .registry
                        .approver(approval.approver)
                })
            })
            .ok_or("no approver of the bundle in force has the key that is named")?;
        let (payload, _) = keys::statement(bytes, APPROVAL_TYP, &[approver.key])?;
        let statement = ApprovalStatement::from_bytes(payload)
            .map_err(|e| format!("the statement is malformed: {e}"))?;
        let ApprovalStatement {
            gateway,
            action,
            preview: _,
            approver,
            choice,
            issued: _,
            expires,
            nonce: _,
        } = &statement;
        let same = Some(*gateway) == self.gateway()
            && *action == approval.action
            && *approver == approval.approver
            && *choice == approval.choice
            && *expires == approval.expires;
        that(same, || {
            "the person signed something else than the entry says".to_owned()
        })?;
        Ok(statement)
    }

    /// Whether what needs a person's approval has it.
    fn approved(&mut self, at: At, intent: &Intent, action: &Action) {
        let index = Some(at.index);
        let needed = needed(&intent.policy, action.mode);
        let mut approvers = HashSet::new();
        let mut left_out = 0u64;
        for reference in &intent.approvals {
            if self.is_left_out(reference.index) {
                left_out = left_out.saturating_add(1);
                let text = format!("the approval in entry {} is withheld", reference.index);
                self.ledger.unknown(Code::Approvals, index, text);
                continue;
            }
            let result = self.spend(at, action, reference, &needed);
            if let Ok(approver) = result {
                approvers.insert(approver);
            }
            self.ledger
                .observe(Code::Approvals, index, result.map(|_| ()));
        }
        if needed.people == 0 {
            return;
        }
        let have = super::count(approvers.len());
        let most = have.saturating_add(left_out);
        if have < needed.people && most >= needed.people {
            let text = format!(
                "{left_out} of its approvals are withheld, and it needs {}",
                needed.people
            );
            self.ledger.unknown(Code::ApprovalRequired, index, text);
            return;
        }
        let text = || {
            format!(
                "a {} call needs {} approvals, and has {have}",
                action.mode, needed.people
            )
        };
        self.ledger.observe(
            Code::ApprovalRequired,
            index,
            that(have >= needed.people, text),
        );
    }

    /// Uses an approval, once.
    fn spend(
        &mut self,
        at: At,
        action: &Action,
        named: &EntryRef,
        needed: &Needed<'_>,
    ) -> Result<KeyId, String> {
        let registry = self.artifacts.bundle(&action.bundle).map(|b| &b.registry);
        let word = self
            .calls
            .words
            .get_mut(&named.index)
            .filter(|w| w.digest == named.digest)
            .ok_or_else(|| format!("no unexpired approval is entry {}", named.index))?;
        if let Some(by) = word.spent {
            return Err(format!(
                "the approval in entry {} was used before, by entry {by}",
                named.index
            ));
        }
        word.spent = Some(at.index);
        that(word.action == action.digest(), || {
            format!(
                "the approval in entry {} is for another action",
                named.index
            )
        })?;
        that(word.choice == Choice::Approve, || {
            format!("the person of entry {} refused", named.index)
        })?;
        that(at.time <= word.expires, || {
            format!("the approval in entry {} had expired", named.index)
        })?;
        that(word.call == action.call, || {
            format!("the approval in entry {} is for another call", named.index)
        })?;
        that(word.preview.is_none_or(|p| p == action.preview), || {
            format!(
                "the person of entry {} was shown something else than the action",
                named.index
            )
        })?;
        let registry =
            registry.ok_or("the bundle that lists the approvers is not in the export")?;
        that(may_approve(registry, word.approver, action), || {
            format!(
                "the person of entry {} may not approve this capability of this tenant",
                named.index
            )
        })?;
        let person = registry.approver(word.approver);
        that(
            person.is_some_and(|p| {
                needed
                    .groups
                    .iter()
                    .all(|g| p.groups.iter().any(|has| has == g))
            }),
            || {
                format!(
                    "the person of entry {} is not in the groups that policy names",
                    named.index
                )
            },
        )?;
        Ok(word.approver)
    }

    /// Whether entries after this one were left out because they stand after the period.
    fn may_be_withheld_after(&self, index: u64) -> bool {
        self.period().is_some() && self.log.withheld_after(index)
    }

    /// Whether an entry was left out, by the limits of the export.
    fn is_left_out(&self, index: u64) -> bool {
        self.left_out.has(index)
    }

    /// Entries are withheld.
    pub(super) fn leave_out(&mut self, index: u64, count: u64) {
        let limited = self.period().is_some() || self.scope() == Scope::Run;
        if let Some(more) = count.checked_sub(1).filter(|_| limited) {
            let last = index.saturating_add(more);
            self.left_out.add(&IndexRange { first: index, last });
        }
    }

    /// A call is settled.
    pub(super) fn decision(&mut self, at: At, decision: &Decision, opened: &Opened) {
        let index = Some(at.index);
        if !waits_for_enrolment(decision) {
            self.call_time(at);
        }
        self.asked_decision(at, decision, opened);
        let fresh = self.calls.settled.insert(decision.call);
        let text = || format!("call {} has a second outcome", decision.call);
        self.ledger
            .observe(Code::SettledTwice, index, that(fresh, text));
        let bundle = decision.policy.as_ref().map(|p| p.bundle);
        let absence = if decision.intent.is_some() {
            Absence::SaidElsewhere
        } else {
            Absence::Said
        };
        self.caller(at, &decision.caller, bundle, opened, absence);
        let open = self.calls.open.remove(&decision.call);
        match (&decision.intent, open) {
            (Some(named), Some(open)) => {
                self.ledger
                    .observe(Code::Settlement, index, settles(decision, named, &open));
                // What a restart settles names what is in force now.
                let in_force = match open.in_force == decision.in_force {
                    true => Ok(()),
                    false => self.calls.in_force(at, &decision.in_force, None),
                };
                self.ledger.observe(Code::InForce, index, in_force);
                self.ledger.held(Code::IntentFirst);
            }
            (Some(named), None) if self.log.starts_late() || self.is_left_out(named.index) => {
                let text = format!("its intent, entry {}, is not in the export", named.index);
                self.ledger.skipped(Code::Settlement, index, text);
            }
            (Some(named), None) => {
                let text = format!(
                    "it settles entry {}, which is no open intent of this call",
                    named.index
                );
                self.ledger.fail(Code::Settlement, index, text);
            }
            (None, Some(open)) => {
                let text = format!(
                    "the call was sealed in entry {}, and its outcome does not say so",
                    open.entry.index
                );
                self.ledger.fail(Code::Settlement, index, text);
            }
            (None, None) => {
                let in_force = self.calls.in_force(at, &decision.in_force, bundle);
                self.ledger.observe(Code::InForce, index, in_force);
                if let Err(text) = based(at, decision.basis.unwrap_or_default()) {
                    self.ledger.fail(Code::Settlement, index, text);
                }
                self.ledger
                    .observe(Code::IntentFirst, index, without_intent(decision));
            }
        }
        self.witnessed_call(at, decision);
        // What stands there only to show where a period begins and ends is none of its calls.
        if self.counts_at(at.time) {
            self.count_call(decision);
        }
    }

    fn count_call(&mut self, decision: &Decision) {
        let counts = &mut self.counts;
        counts.calls = counts.calls.saturating_add(1);
        let approved = !decision.approvals.is_empty();
        let slot = match (decision.effect, decision.verdict) {
            (Effect::Unknown, _) => &mut counts.unknown,
            (_, Verdict::Deny) => &mut counts.denied,
            (_, Verdict::StepUp) => &mut counts.halted,
            (_, Verdict::Defer) => &mut counts.deferred,
            (Effect::Dispatched | Effect::Confirmed, Verdict::Allow | Verdict::Modify) => {
                if approved {
                    counts.carried_out_approved = counts.carried_out_approved.saturating_add(1);
                }
                &mut counts.carried_out
            }
            (Effect::None, Verdict::Allow | Verdict::Modify) => &mut counts.without_effect,
        };
        *slot = slot.saturating_add(1);
        if approved && decision.parent.is_some() {
            counts.halted_approved = counts.halted_approved.saturating_add(1);
        }
    }

    /// What can be said of calls at the end of the leaves.
    pub(super) fn calls_end(&mut self) {
        let last = self.epochs.len();
        let running = self.epochs.last().is_some_and(|e| !e.is_closed());
        let mut open: Vec<(u64, usize)> = self
            .calls
            .open
            .values()
            .map(|i| (i.entry.index, i.epoch))
            .collect();
        open.sort_unstable();
        self.counts.open = super::count(open.len());
        for (index, epoch) in open {
            if running && epoch == last {
                let text = "the call was still under way at the end of the export";
                self.ledger.skipped(Code::Settlement, Some(index), text);
            } else if self.may_be_withheld_after(index) {
                let text = "the call's outcome is not in the export: it stands after the period";
                self.ledger.skipped(Code::Settlement, Some(index), text);
            } else {
                let text = "the call was sealed before acting, and was never settled";
                self.ledger.fail(Code::Settlement, Some(index), text);
            }
        }
    }
}

/// Whether it says no more than that the gateway is not enrolled: then it may well stand before the time from which it is.
fn waits_for_enrolment(decision: &Decision) -> bool {
    decision.intent.is_none() && decision.code.as_deref() == Some("not_enrolled")
}

/// Whether the absence of a caller's proof is worth saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    Said,
    SaidElsewhere,
}

/// Whether a verdict was computed on leaves that stand before its entry.
fn based(at: At, basis: u64) -> Result<(), String> {
    that(basis <= at.index, || {
        format!("it was decided on {basis} leaves, of which some stand after it")
    })
}

/// Whether a decision settles an intent as it was sealed.
fn settles(decision: &Decision, named: &EntryRef, open: &OpenIntent) -> Result<(), String> {
    that(*named == open.entry, || {
        format!(
            "it names entry {}, the call was sealed in entry {}",
            named.index, open.entry.index
        )
    })?;
    that(decision.basis == Some(open.basis), || {
        "it was decided on another state than its intent".to_owned()
    })?;
    that(decision.received == open.received, || {
        "it shows another request than its intent".to_owned()
    })?;
    that(decision.approvals == open.approvals, || {
        "it names other approvals than its intent".to_owned()
    })?;
    let Some((action, forwarded, capability)) = &open.action else {
        return Ok(());
    };
    that(decision.action == Some(*action), || {
        "it names another action than its intent".to_owned()
    })?;
    that(decision.forwarded == Some(*forwarded), || {
        "it shows other forwarded arguments than its intent".to_owned()
    })?;
    that(
        decision
            .capability
            .as_ref()
            .is_some_and(|c| c.id == *capability),
        || "it names another capability than its intent".to_owned(),
    )
}

/// Whether a decision without an intent left the world alone.
fn without_intent(decision: &Decision) -> Result<(), String> {
    that(decision.effect == Effect::None, || {
        format!(
            "the call may have had an effect ({}), and nothing was sealed before",
            decision.effect
        )
    })?;
    let allowed = matches!(decision.verdict, Verdict::Allow | Verdict::Modify);
    // A repeated outcome names the call it repeats; a call that failed before it was sealed says why.
    that(
        !allowed || decision.parent.is_some() || decision.code.is_some(),
        || "the call was allowed, and nothing was sealed before".to_owned(),
    )
}

/// Who must have approved.
#[derive(Debug, PartialEq, Eq)]
struct Needed<'a> {
    /// How many different people.
    people: u64,
    /// Groups that each of them is a member of.
    groups: Vec<&'a str>,
}

/// Who must have approved, by the mode of the call and the words of policy: `step_up:2:privacy+legal`.
fn needed(policy: &PolicyOutcome, mode: Mode) -> Needed<'_> {
    let final_ = mode == Mode::Destructive || policy.effective == Mode::Destructive;
    let mut needed = Needed {
        people: u64::from(final_),
        groups: Vec::new(),
    };
    for word in policy
        .obligations
        .iter()
        .filter_map(|o| o.strip_prefix("step_up"))
    {
        let mut parts = word.split(':').skip(1);
        // A word that cannot be read asks for one person, never for none.
        let people = parts
            .next()
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|n| n.parse().ok())
            .unwrap_or(1);
        needed.people = needed.people.max(people).max(1);
        needed
            .groups
            .extend(parts.next().into_iter().flat_map(|g| g.split('+')));
    }
    needed
}

fn may_approve(registry: &Registry, approver: KeyId, action: &Action) -> bool {
    let name = registry
        .tenants
        .iter()
        .find(|t| t.id == action.tenant)
        .map(|t| &t.name);
    registry
        .approver(approver)
        .zip(name)
        .is_some_and(|(person, name)| {
            let capability = &action.capability.id;
            person.tenants.contains(name)
                && (person.capabilities.is_empty() || person.capabilities.contains(capability))
        })
}
