//! Metrics of a log: what an export shows of how the controls worked, and out of how many.
//!
//! In: the entries of an export, in order, that was verified before, and what a replay counted. Out: a
//! [`Measure`] for each metric of `docs/metrics.md`: a numerator, a denominator, or why there is no number.
//! Nothing is estimated: what the log does not show is said to be not computed.
//!
//! Memory: about 200 bytes for each call.

use countersign_gateway::refusal::Code;
use countersign_gateway::security::SECURITY_EVENT;
use countersign_record::body::{Action, Approval, Decision, Effect, Intent, Mode, Verdict};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{ActionDigest, CallId, RunId};
use countersign_record::entry::{Body, Entry};
use countersign_record::statement::Choice;
use countersign_replay::report::Counts as Replayed;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Version of the names and meanings of the metrics.
pub const METRICS_VERSION: u64 = 1;

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// Its name; `docs/metrics.md` says what it means.
    pub name: &'static str,
    /// How many of them; absent if it was not computed.
    pub count: Option<u64>,
    /// Out of how many.
    pub of: Option<u64>,
    /// Of what, or why there is no number.
    pub note: &'static str,
}

/// All metrics of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measures {
    /// [`METRICS_VERSION`].
    pub metrics: u64,
    /// What the verifier says of the export.
    pub verifier: String,
    /// Entries that were read.
    pub entries: u64,
    /// The metrics, in the order of the page.
    pub measures: Vec<Measure>,
    /// Calls by the code of their refusal.
    pub refusals: BTreeMap<String, u64>,
    /// Security events by their names.
    pub security_events: BTreeMap<String, u64>,
}

/// A call that was sealed.
#[derive(Debug)]
struct Sealed {
    run: Option<RunId>,
    permitted: bool,
    approvals: Approvals,
    settled: bool,
}

/// Whether a call needed people, and had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Approvals {
    NotNeeded,
    Given,
    Missing,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    entries: u64,
    approved: HashMap<u64, ActionDigest>,
    sealed: HashMap<CallId, Sealed>,
    runs: HashSet<RunId>,
    decisions: u64,
    left: u64,
    left_permitted: u64,
    needed: u64,
    honoured: u64,
    redacted: u64,
    redaction_failed: u64,
    refusals: BTreeMap<String, u64>,
    events: BTreeMap<String, u64>,
}

impl Seen {
    /// Takes in one entry, after all before it.
    pub fn take(&mut self, entry: &Entry<'_>) {
        bump(&mut self.entries);
        let place = entry.place();
        let run = place.run.as_ref().map(|r| r.run);
        match entry.body() {
            Body::Approval(approval) => self.approval(place.index, approval),
            Body::Intent(intent) => self.intent(run, intent),
            Body::Decision(decision) => self.decision(decision),
            Body::Enrol(_)
            | Body::Base(_)
            | Body::Run(_)
            | Body::Change(_)
            | Body::Event(_)
            | Body::Renewal(_)
            | Body::Adopt(_)
            | Body::Gap(_)
            | Body::Erasure(_)
            | Body::Hold(_)
            | Body::Stop(_)
            | Body::Close(_) => {}
        }
    }

    fn approval(&mut self, index: u64, approval: &Approval) {
        if approval.choice == Choice::Approve {
            self.approved.insert(index, approval.action);
        }
    }

    fn intent(&mut self, run: Option<RunId>, intent: &Intent) {
        let policy = &intent.policy;
        let action = Action::from_bytes(&intent.action.0).ok();
        let permitted = !policy.fired.is_empty()
            && policy.errors.is_empty()
            && policy.effective <= policy.highest
            && matches!(intent.verdict, Verdict::Allow | Verdict::Modify);
        let digest = action.map(|a| a.digest());
        let given = intent
            .approvals
            .iter()
            .filter(|a| digest.is_some() && self.approved.get(&a.index).copied() == digest)
            .count();
        let given = u64::try_from(given).unwrap_or(u64::MAX);
        let approvals = match needed(intent) {
            0 => Approvals::NotNeeded,
            n if given >= n => Approvals::Given,
            _ => Approvals::Missing,
        };
        self.runs.extend(run);
        let sealed = Sealed {
            run,
            permitted,
            approvals,
            settled: false,
        };
        self.sealed.insert(intent.call, sealed);
    }

    fn decision(&mut self, decision: &Decision) {
        bump(&mut self.decisions);
        if let Some(code) = &decision.code {
            bump(self.refusals.entry(code.clone()).or_default());
        }
        let events = decision.controls.iter();
        for event in events.filter_map(|c| c.strip_prefix(SECURITY_EVENT)) {
            bump(self.events.entry(event.to_owned()).or_default());
        }
        let sealed = self.sealed.get_mut(&decision.call);
        let permitted = sealed.as_ref().is_some_and(|s| s.permitted);
        let approvals = sealed.as_ref().map_or(Approvals::Missing, |s| s.approvals);
        if let (Some(sealed), true) = (sealed, decision.intent.is_some()) {
            sealed.settled = true;
        }
        if decision.effect == Effect::None {
            return;
        }
        bump(&mut self.left);
        if permitted {
            bump(&mut self.left_permitted);
        }
        match approvals {
            Approvals::NotNeeded => {}
            Approvals::Given => {
                bump(&mut self.needed);
                bump(&mut self.honoured);
            }
            Approvals::Missing => bump(&mut self.needed),
        }
        let obliged = decision.policy.iter().flat_map(|p| &p.obligations);
        if obliged.into_iter().any(|o| o.starts_with("redact:")) && decision.raw_result.is_some() {
            bump(&mut self.redacted);
            if decision.code.as_deref() == Some(Code::RedactionFailed.name()) {
                bump(&mut self.redaction_failed);
            }
        }
    }

    /// The metrics. `replayed` is what a replay of the same export counted.
    #[must_use]
    pub fn measures(self, verifier: String, replayed: &Replayed) -> Measures {
        let calls = count(self.sealed.len());
        let settled = count(self.sealed.values().filter(|s| s.settled).count());
        let open: HashSet<RunId> = self
            .sealed
            .values()
            .filter(|s| !s.settled)
            .filter_map(|s| s.run)
            .collect();
        let runs = count(self.runs.len());
        let whole = runs.saturating_sub(count(open.len()));
        let denials = self.events.get("cross_tenant_denied").copied().unwrap_or(0);
        let compared = replayed.matched.saturating_add(replayed.diverged);
        let of = |name, count, of, note| Measure {
            name,
            count: Some(count),
            of: Some(of),
            note,
        };
        let none = |name, note| Measure {
            name,
            count: None,
            of: None,
            note,
        };
        let measures = vec![
            of(
                "policy_compliance",
                self.left_permitted,
                self.left,
                "calls that left",
            ),
            of(
                "approval_honoured",
                self.honoured,
                self.needed,
                "calls that left and needed people",
            ),
            of(
                "cross_tenant_denials",
                denials,
                self.decisions,
                "settled calls",
            ),
            of(
                "audit_coverage_calls",
                settled,
                calls,
                "calls that were sealed",
            ),
            of(
                "audit_coverage_runs",
                whole,
                runs,
                "runs in which a call was sealed",
            ),
            of(
                "replay_determinism",
                replayed.matched,
                compared,
                "calls that could be run again",
            ),
            of(
                "not_replayable",
                replayed.not_replayable,
                replayed.calls,
                "settled calls",
            ),
            of(
                "redaction_failures",
                self.redaction_failed,
                self.redacted,
                "answers that had to be redacted",
            ),
            none(
                "attack_success_rate",
                "not computed: no record says whether a call was an attack; tests with attacks measure it",
            ),
            none(
                "time_to_replay",
                "not computed: it is the time that `countersign replay --call` takes on a machine",
            ),
            none(
                "time_to_detect",
                "not computed: when a person noticed something stands in no log",
            ),
        ];
        Measures {
            metrics: METRICS_VERSION,
            verifier,
            entries: self.entries,
            measures,
            refusals: self.refusals,
            security_events: self.events,
        }
    }
}

/// How many people a sealed call needs: what its policies oblige to, and for what may destroy at least one.
fn needed(intent: &Intent) -> u64 {
    let destructive = u64::from(intent.policy.highest == Mode::Destructive);
    let obliged = intent.policy.obligations.iter().filter_map(|o| {
        let rest = o.strip_prefix("step_up:")?;
        rest.split(':').next()?.parse::<u64>().ok()
    });
    obliged.fold(destructive, u64::max)
}

fn bump(n: &mut u64) {
    *n = n.saturating_add(1);
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Measures {
    /// For people: a line each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "verifier  {}\nentries   {}\n\n",
            self.verifier, self.entries
        );
        for Measure {
            name,
            count,
            of,
            note,
        } in &self.measures
        {
            let line = match (count, of) {
                (Some(_), Some(0)) => format!("{name:<22}nothing to measure: no {note}\n"),
                (Some(n), Some(of)) => format!("{name:<22}{n} of {of} {note}\n"),
                (_, _) => format!("{name:<22}{note}\n"),
            };
            out.push_str(&line);
        }
        for (title, counts) in [
            ("refusals", &self.refusals),
            ("security events", &self.security_events),
        ] {
            out.push_str(&format!("\n{title}\n"));
            if counts.is_empty() {
                out.push_str("  none\n");
            }
            for (name, n) in counts {
                out.push_str(&format!("  {n:>8}  {name}\n"));
            }
        }
        out
    }
}
