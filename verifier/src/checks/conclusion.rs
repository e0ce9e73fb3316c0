//! What follows from what was seen: the report.

use super::Checks;
use crate::codes::{Code, Need};
use crate::fleet::Seen;
use crate::handover::Links;
use crate::ledger::State;
use crate::report::{
    Axes, Counts, REPORT_VERSION, Report, Source, Verdict, first_failure, first_words, results,
};
use crate::trust::EvidenceClass;
use countersign_record::digest::{UnixMillis, sha256};
use countersign_record::export::Scope;

impl Checks<'_> {
    /// The report, after the last item.
    pub(crate) fn finish(mut self) -> Report {
        self.complete_end();
        self.epochs_end();
        self.calls_end();
        self.shown_end();
        self.holds_end();
        self.stops_end();
        self.receipts_end();
        self.who_end();
        self.adoptions_end();
        self.depth_end();
        if self.ledger.state(Code::TrustSource) != State::Fail {
            self.ledger.held(Code::TrustSource);
        }
        self.witnesses_end();
        self.outside_end();
        self.subject.size = self.log.position();
        self.subject.root = self.log.root().to_string();
        let links = self.links();
        let class = self.weakest();
        let summary = if self.reads_calls() {
            summary(&self.counts)
        } else {
            format!(
                "the tree of {} entries; calls were not read",
                self.counts.entries
            )
        };
        let complete = self.completeness();
        let query = self.query_end();
        let seen = self.seen();
        let verdict = Verdict::of(&self.ledger);
        let first = first_failure(&self.ledger);
        Report {
            report: REPORT_VERSION,
            verifier: env!("CARGO_PKG_VERSION"),
            depth: self.options.depth,
            verdict,
            exit_code: verdict.exit_code(),
            headline: format!(
                "{}{}",
                first_words(&self.ledger, self.options.depth),
                Self::vouched(class)
            ),
            first_failure: first.map(|c| c.info().name),
            now: self.now.0,
            trust: Source {
                path: self.options.trust_path.clone(),
                sha256: Some(hex::encode(sha256(&self.trust.source))),
            },
            reference: self
                .options
                .reference_path
                .clone()
                .map(|path| Source { path, sha256: None }),
            axes: self.axes(class),
            parties: self.parties(class),
            not_checked: self.not_checked(),
            not_proved: self.not_proved(class),
            summary,
            complete,
            query,
            seen,
            subject: self.subject,
            counts: self.counts,
            checks: results(&self.ledger),
            self_test: None,
            links,
            vouched: Self::vouched(class).to_owned(),
            ledger: self.ledger,
        }
    }

    /// What other exports are compared with.
    fn seen(&self) -> Seen {
        Seen {
            gateway: self.gateway(),
            statement: self.fleet_statement().cloned(),
            size: self.log.position(),
            root: (!self.log.starts_late()).then(|| self.log.root()),
            // What starts late has roots of other trees.
            roots: match self.log.starts_late() {
                true => std::collections::BTreeMap::new(),
                false => self.kept.clone(),
            },
            whole: self.scope() == Scope::Whole && !self.log.starts_late(),
            period: self.period().cloned(),
            last: self.subject.last_at.map(UnixMillis),
            closed: self.epochs.last().is_some_and(|e| e.is_closed()),
        }
    }

    /// The end of the first line: what vouches for all of it.
    fn vouched(class: Option<EvidenceClass>) -> &'static str {
        match class {
            Some(EvidenceClass::Software) => {
                " — no hardware vouches for this: the evidence comes from a software TPM"
            }
            Some(EvidenceClass::UnendorsedTpm) => {
                " — nobody vouches that the evidence comes from hardware"
            }
            None => " — no evidence of hardware was verified",
            Some(EvidenceClass::HardwareTpm) => "",
            Some(EvidenceClass::Processor) => {
                " — the processor vouches for the gateway's keys; no counter spans its boots"
            }
            Some(EvidenceClass::ParavisorTpm) => {
                " — the processor vouches for the paravisor, and a TPM in the paravisor for what booted"
            }
            Some(EvidenceClass::HypervisorTpm) => {
                " — memory: the processor; what booted: a TPM in the hypervisor; joined by the anchor only"
            }
        }
    }

    /// What other exports of the same run are compared with.
    fn links(&mut self) -> Links {
        let (continues, handed) = self.handover();
        Links {
            gateway: self.gateway(),
            continues,
            handed,
            roots: self.log.known_roots(),
            size: self.log.position(),
            last_at: self.subject.last_at.map(UnixMillis),
        }
    }

    fn axes(&self, class: Option<EvidenceClass>) -> Axes {
        let quoted = [Code::Evidence, Code::Identity]
            .iter()
            .all(|c| self.ledger.state(*c) == State::Pass);
        Axes {
            vouched: match class.filter(|_| quoted) {
                Some(class) => format!("QUOTED by {}", class.word()),
                None => "SIGNED".to_owned(),
            },
            witnessed: self.witnessed_axis(),
        }
    }

    fn parties(&self, class: Option<EvidenceClass>) -> Vec<String> {
        let mut out = vec![
            "whoever holds your governance keys: they say which gateways are yours".to_owned(),
        ];
        match class {
            Some(EvidenceClass::HardwareTpm) => {
                out.push(
                    "the maker of the TPM: the chip keeps its keys and counts truthfully"
                        .to_owned(),
                );
                for pin in &self.trust.attestation_keys {
                    out.push(format!(
                        "whoever checked that an attestation key is inside a TPM: {}",
                        pin.checked_by
                    ));
                }
                if self.trust.attestation_keys.is_empty() {
                    out.push("whoever checked the attestation key at enrolment, as the fleet statement says".to_owned());
                }
            }
            Some(
                EvidenceClass::Processor
                | EvidenceClass::ParavisorTpm
                | EvidenceClass::HypervisorTpm,
            ) => out.extend(self.subject.rests_on.iter().map(|name| in_words(name))),
            Some(EvidenceClass::UnendorsedTpm) => {
                out.push(
                    "whoever runs the machine: nobody vouches that its TPM is a chip".to_owned(),
                );
            }
            Some(EvidenceClass::Software) | None => {
                out.push(
                    "whoever runs the machine: they can read and use every key of the gateway"
                        .to_owned(),
                );
            }
        }
        out.push(
            "the vendor of the gateway's program, for the builds among your reference values"
                .to_owned(),
        );
        out.push(
            "the holder of the release key: it decides which programs may use the gateway's keys"
                .to_owned(),
        );
        if self.trust.bundles.is_some() {
            out.push("the people who sign policy bundles".to_owned());
        }
        out.extend(self.witness_party());
        out.extend(self.outside.party());
        out
    }

    fn not_checked(&self) -> Vec<String> {
        let mut out: Vec<String> = Code::ALL
            .iter()
            .filter(|c| self.ledger.state(**c) == State::NotChecked)
            .filter(|c| !self.ledger.tally(**c).findings.is_empty() || self.ledger.lacks(**c))
            .map(|c| c.info())
            .map(|i| {
                let weight = if i.need == Need::Required {
                    "; there is no verdict without it"
                } else {
                    ""
                };
                format!("{}: whether {}{weight}", i.name, i.means)
            })
            .collect();
        for code in Code::ALL
            .iter()
            .filter(|c| self.ledger.state(**c) != State::NotChecked)
        {
            let tally = self.ledger.tally(*code);
            let first = tally.findings.iter().find(|f| f.state == State::NotChecked);
            if let Some(first) = first {
                out.push(format!(
                    "{}: {} times: {}",
                    code.info().name,
                    tally.skipped,
                    first.text
                ));
            }
        }
        if self.calls.erased > 0 {
            out.push(format!("disclosures of {} entries were erased; every proof of the entries themselves stands", self.calls.erased));
        }
        out
    }

    fn not_proved(&self, class: Option<EvidenceClass>) -> Vec<String> {
        let mut out = Vec::new();
        if matches!(
            class,
            None | Some(EvidenceClass::Software | EvidenceClass::UnendorsedTpm)
        ) {
            out.push("that the gateway ran on hardware that keeps its operator out".to_owned());
        }
        if let Some(note) = self.ledger.tally(Code::PlatformRules).note {
            out.push(format!(
                "that the platforms would be accepted today: {note}"
            ));
        }
        if let Some(note) = self.ledger.tally(Code::EpochEnds).note {
            out.push(format!("what happened between: {note}"));
        }
        if let Some(note) = self.ledger.tally(Code::Tail).note {
            out.push(format!("that nothing follows the last entry: {note}"));
        }
        out.extend(
            [
                "that a tool did what it answered",
                "that the model was right, or the policy wise",
                "that nothing went round the gateway",
            ]
            .map(str::to_owned),
        );
        out.extend(self.not_witnessed());
        let bound = if self.outside.saw_any() {
            ", no later than outside clocks say"
        } else {
            ""
        };
        out.push(format!(
            "when things happened: times are the gateway's claims{bound}"
        ));
        out
    }
}

/// What calls came to, in a sentence.
#[must_use]
fn summary(counts: &Counts) -> String {
    let mut parts = Vec::new();
    let mut part = |n: u64, words: &str| {
        if n > 0 {
            parts.push(format!("{n} {words}"));
        }
    };
    part(counts.carried_out, "carried out");
    part(counts.denied, "denied");
    match (counts.halted, counts.halted_approved) {
        (0, _) => {}
        (halted, 0) => part(halted, "halted for approval"),
        (halted, approved) if halted == approved => part(halted, "halted and approved"),
        (halted, approved) => parts.push(format!("{halted} halted, {approved} of them approved")),
    }
    let mut part = |n: u64, words: &str| {
        if n > 0 {
            parts.push(format!("{n} {words}"));
        }
    };
    part(counts.deferred, "deferred");
    part(counts.without_effect, "allowed without effect");
    part(counts.unknown, "with unknown outcome");
    part(counts.open, "still under way");
    if parts.is_empty() {
        parts.push("none".to_owned());
    }
    format!(
        "{} calls: {}; {} gaps",
        counts.calls,
        parts.join(", "),
        counts.gaps
    )
}

/// A party of a processor's evidence, and what one has to believe of it.
fn in_words(name: &str) -> String {
    let what = match name.split(':').next().unwrap_or_default() {
        "amd" => "the processor encrypts memory, and its firmware reports truthfully",
        "intel" => {
            "the processor encrypts memory, and its module and quoting enclave report truthfully"
        }
        "microsoft-paravisor" => {
            "the paravisor keeps the TPM's keys and measures what boots truthfully"
        }
        "google-hypervisor" => {
            "the hypervisor keeps the TPM's keys and measures what boots truthfully"
        }
        "cloud-provider" => "the provider keeps the key that signs reports on all of its machines",
        _ => "what it makes keeps its keys",
    };
    format!("{name}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut Counts)) -> String {
        let mut counts = Counts::default();
        change(&mut counts);
        summary(&counts)
    }

    #[test]
    fn calls_that_were_halted_are_said_with_how_many_were_approved() {
        let halted = |halted, approved| {
            of(|c| (c.calls, c.halted, c.halted_approved) = (halted, halted, approved))
        };
        assert_eq!(halted(2, 0), "2 calls: 2 halted for approval; 0 gaps");
        assert_eq!(halted(2, 2), "2 calls: 2 halted and approved; 0 gaps");
        assert_eq!(
            halted(2, 1),
            "2 calls: 2 halted, 1 of them approved; 0 gaps"
        );
    }

    #[test]
    fn a_provider_that_signs_reports_itself_is_relied_on_by_its_name() {
        assert_eq!(
            in_words("cloud-provider:acme"),
            "cloud-provider:acme: the provider keeps the key that signs reports on all of its machines"
        );
        assert_eq!(
            in_words("tpm-maker:acme"),
            "tpm-maker:acme: what it makes keeps its keys"
        );
    }

    #[test]
    fn every_outcome_that_there_was_is_said_and_no_other() {
        assert_eq!(of(|_| ()), "0 calls: none; 0 gaps");
        let all = |c: &mut Counts| {
            c.calls = 28;
            (c.carried_out, c.denied, c.halted, c.deferred) = (1, 2, 3, 4);
            (c.without_effect, c.unknown, c.open, c.gaps) = (5, 6, 7, 8);
        };
        assert_eq!(
            of(all),
            "28 calls: 1 carried out, 2 denied, 3 halted for approval, 4 deferred, 5 allowed without effect, \
             6 with unknown outcome, 7 still under way; 8 gaps"
        );
    }
}
