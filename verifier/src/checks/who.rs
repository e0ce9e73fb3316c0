//! Which gateway this is, whose, and on what hardware: identity, evidence, enrolment, class.

use super::{At, Checks, that};
use crate::codes::Code;
use crate::hardware::{Facts, Set, Settings, Use};
use crate::keys::{self, Claim};
use crate::trust::EvidenceClass;
use countersign_record::binding::{BINDING_VERSION, Binding, anchor_of, epoch_message};
use countersign_record::body::{Base, Enrol, EvidenceRef};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{Qualifying, UnixMillis, sha256};
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};

/// What is known of fleet statements.
#[derive(Debug, Default)]
pub(super) struct Enrolment {
    /// The statement with the highest number, if it was genuine.
    latest: Option<FleetStatement>,
    /// Attestation keys that genuine statements name for this gateway.
    named: Vec<Vec<u8>>,
    /// Times of the first and last calls.
    calls: Option<(UnixMillis, UnixMillis)>,
}

impl Enrolment {
    /// The statement with the highest number, if it was genuine.
    pub(super) fn latest(&self) -> Option<&FleetStatement> {
        self.latest.as_ref()
    }
}

impl Checks<'_> {
    /// Whether the identity key vouches for the epoch's key.
    pub(super) fn identity(&mut self, at: At, base: &Base, binding: &Binding) {
        let index = Some(at.index);
        if binding.version != BINDING_VERSION {
            let text = format!(
                "the binding has version {}: a newer verifier is needed",
                binding.version
            );
            self.ledger.unknown(Code::Identity, index, text);
        }
        let same = Some(binding.identity_key) == self.identity_key();
        let text = || "the epoch is of another gateway than the export".to_owned();
        self.ledger.observe(Code::Gateway, index, that(same, text));
        let message = epoch_message(&base.binding.0);
        let claim = Claim {
            message: &message,
            signature: base.identity_signature,
        };
        let signed = keys::verify(&binding.identity_key, claim)
            .map_err(|e| format!("the identity key does not vouch for this epoch: {e}"));
        self.ledger.observe(Code::Identity, index, signed);
        let software = base.software.clone();
        push_new(&mut self.subject.software, software);
        push_new(
            &mut self.subject.release_keys,
            hex::encode(sha256(&binding.release_key.0)),
        );
        push_new(
            &mut self.subject.attestation_keys,
            hex::encode(&binding.ak_name.0),
        );
        match base.recovery_key {
            Some(_) => self.ledger.held(Code::RecoveryKey),
            None => self.ledger.skipped(
                Code::RecoveryKey,
                index,
                "the epoch names no recovery key; that is for development only",
            ),
        }
        match &self.trust.release {
            None => self.ledger.skipped(
                Code::ReleaseKey,
                index,
                "your trust file pins no release keys",
            ),
            Some(pins) => {
                let known = pins.iter().any(|p| p.names(&binding.release_key.0));
                let text = || {
                    format!(
                        "release key {} is none of yours",
                        hex::encode(sha256(&binding.release_key.0))
                    )
                };
                self.ledger
                    .observe(Code::ReleaseKey, index, that(known, text));
            }
        }
    }

    /// What the evidence of an opening shows.
    pub(super) fn base_evidence(
        &mut self,
        at: At,
        base: &Base,
        binding: &Binding,
    ) -> Option<Facts> {
        let whose = Use::Opening(anchor_of(&base.binding.0));
        self.evidence(at, &base.evidence, whose, binding)
    }

    /// What the evidence of a renewal or close shows.
    pub(super) fn later_evidence(
        &mut self,
        at: At,
        refs: &[EvidenceRef],
        qualifying: Qualifying,
    ) -> Option<Facts> {
        let binding = self.epochs.last()?.binding.clone();
        self.evidence(at, refs, Use::Later(qualifying), &binding)
    }

    fn evidence(
        &mut self,
        at: At,
        refs: &[EvidenceRef],
        whose: Use,
        binding: &Binding,
    ) -> Option<Facts> {
        let found = |kind: &str, digest| {
            let mut all = self.evidence.iter();
            let kept = all.find(|e| e.kind == kind && e.digest() == digest);
            kept.map(|e| e.bytes.0.clone())
        };
        let mut settings = Settings {
            trust: self.trust,
            then: at.time,
            now: self.now,
            today: &self.options.today,
            chains: &mut self.chains,
        };
        let facts = Set::read(refs, binding.profile, whose, found)
            .and_then(|set| set.appraise(whose, binding, &mut settings));
        match facts {
            Ok(facts) => {
                self.ledger.held(Code::EvidenceSet);
                self.ledger.held(Code::Evidence);
                self.ledger.held(Code::AttestationKey);
                Some(facts)
            }
            Err(blames) => {
                for blame in blames {
                    self.ledger.fail(blame.code, Some(at.index), blame.text);
                }
                None
            }
        }
    }

    /// A customer's word that this gateway is its own.
    pub(super) fn enrol(&mut self, at: At, enrol: &Enrol) {
        let index = Some(at.index);
        if self.trust.governance.is_empty() {
            let text = "your trust file names no governance key, so the fleet statement says nothing to you";
            return self.ledger.skipped(Code::Enrolment, index, text);
        }
        let read = keys::statement(&enrol.statement.0, FLEET_TYP, &self.trust.governance).and_then(
            |(payload, _)| {
                FleetStatement::from_bytes(payload)
                    .map_err(|e| format!("the fleet statement is malformed: {e}"))
            },
        );
        let statement = match read {
            Ok(statement) => statement,
            Err(text) => return self.ledger.fail(Code::Enrolment, index, text),
        };
        let before = self.enrolment.latest.as_ref().map(|s| s.number);
        let ordered = that(statement.number == enrol.number, || {
            format!(
                "the entry names statement {}, and holds number {}",
                enrol.number, statement.number
            )
        })
        .and_then(|()| {
            that(before.is_none_or(|b| b <= statement.number), || {
                format!(
                    "statement {} comes after number {}",
                    statement.number,
                    before.unwrap_or(0)
                )
            })
        });
        self.ledger.observe(Code::Enrolment, index, ordered);
        let gateway = self.gateway();
        let mine = statement
            .members
            .iter()
            .find(|m| Some(m.gateway) == gateway);
        if let Some(name) = mine.and_then(|m| m.ak_name.clone()) {
            self.enrolment.named.push(name.0);
        }
        if before.is_none_or(|b| b <= statement.number) {
            self.enrolment.latest = Some(statement);
        }
    }

    /// The genuine fleet statement with the highest number.
    pub(super) fn fleet_statement(&self) -> Option<&FleetStatement> {
        self.enrolment.latest.as_ref()
    }

    /// A call happened; the fleet statement has to cover it.
    pub(super) fn call_time(&mut self, at: At) {
        let (first, last) = self.enrolment.calls.unwrap_or((at.time, at.time));
        self.enrolment.calls = Some((first.min(at.time), last.max(at.time)));
    }

    /// What can be said of enrolment and hardware at the end of the leaves.
    pub(super) fn who_end(&mut self) {
        if self.trust.governance.is_empty() && self.trust.gateways.is_empty() {
            let text =
                "genuine, but of whom? your trust file pins neither a governance key nor a gateway";
            self.ledger.skipped(Code::TrustAnchor, None, text);
        } else {
            self.ledger.held(Code::TrustAnchor);
        }
        let pinned = self
            .gateway()
            .is_some_and(|g| self.trust.gateways.contains(&g));
        match self.enrolment.latest.clone() {
            Some(statement) => self.membership_in_fleet(&statement),
            None if pinned && self.trust.governance.is_empty() => {
                self.ledger.held(Code::Enrolment);
                self.ledger.note(
                    Code::Enrolment,
                    "by your pin of this gateway, not by a fleet statement",
                );
            }
            None if self.trust.governance.is_empty() => {}
            None => {
                let text = "no fleet statement of your governance key is in the log: this gateway was never enrolled";
                self.ledger.fail(Code::Enrolment, None, text);
            }
        }
        self.classes();
    }

    fn membership_in_fleet(&mut self, statement: &FleetStatement) {
        self.subject.fleet = Some(format!(
            "{} (statement {})",
            statement.fleet, statement.number
        ));
        let gateway = self.gateway();
        let Some(member) = statement
            .members
            .iter()
            .find(|m| Some(m.gateway) == gateway)
        else {
            let text = format!(
                "fleet statement {} does not list this gateway",
                statement.number
            );
            return self.ledger.fail(Code::Enrolment, None, text);
        };
        self.subject.name = Some(member.name.clone());
        let FleetMember {
            gateway: _,
            name: _,
            from,
            until,
            ak_name,
        } = member;
        let window = self.enrolment.calls.map_or(Ok(()), |(first, last)| {
            that(first >= *from, || {
                "calls were decided before the gateway was enrolled".to_owned()
            })
            .and_then(|()| {
                that(until.is_none_or(|u| last <= u), || {
                    "calls were decided after the gateway had left the fleet".to_owned()
                })
            })
        });
        self.ledger.observe(Code::Enrolment, None, window);
        let last = self.epochs.last().map(|e| e.binding.ak_name.0.clone());
        if let (Some(named), Some(last)) = (ak_name, last) {
            let text =
                || "the last epoch's attestation key is not the one that was enrolled".to_owned();
            self.ledger
                .observe(Code::AttestationKey, None, that(named.0 == last, text));
        }
    }

    /// The class of each epoch's evidence; the weakest counts.
    fn classes(&mut self) {
        let classes: Vec<(u64, EvidenceClass)> = self
            .epochs
            .iter()
            .filter_map(|e| e.facts.as_ref().map(|f| (e.index, self.class(f))))
            .collect();
        self.downgrades();
        for (index, class) in classes {
            let text = || {
                match class {
                EvidenceClass::Software => "the evidence comes from a software TPM; your trust file does not accept class software".to_owned(),
                EvidenceClass::UnendorsedTpm => "nobody vouches that the attestation key is inside a chip: pin it in [[evidence.attestation_keys]] once somebody checked it".to_owned(),
                EvidenceClass::HardwareTpm
                | EvidenceClass::Processor
                | EvidenceClass::ParavisorTpm
                | EvidenceClass::HypervisorTpm => {
                    format!("your trust file does not accept class {}", class.word())
                }
            }
            };
            self.ledger.observe(
                Code::EvidenceClass,
                Some(index),
                that(self.trust.accept.contains(&class), text),
            );
        }
    }

    /// Openings that leave the processor's report away although their attestation key is one beside which it belongs.
    fn downgrades(&mut self) {
        let key = |f: &Facts| f.tpm.as_ref().map(|t| t.ak_name.clone());
        let facts = || {
            self.epochs
                .iter()
                .filter_map(|e| Some((e.index, e.facts.as_ref()?)))
        };
        let beside: Vec<_> = facts()
            .filter(|(_, f)| f.platform.is_some())
            .filter_map(|(_, f)| key(f))
            .collect();
        let bare: Vec<u64> = facts()
            .filter(|(_, f)| f.platform.is_none() && key(f).is_some_and(|k| beside.contains(&k)))
            .map(|(index, _)| index)
            .collect();
        for index in bare {
            let text = "the attestation key is that of a platform whose processor reports, and this opening has no report";
            self.ledger.unknown(Code::PlatformRules, Some(index), text);
        }
    }

    /// How well evidence is vouched for.
    fn class(&self, facts: &Facts) -> EvidenceClass {
        let software = facts.tpm.as_ref().is_some_and(|t| t.software);
        if let Some(platform) = facts.platform.as_ref().filter(|_| !software) {
            return platform.class;
        }
        let Some(tpm) = &facts.tpm else {
            return EvidenceClass::UnendorsedTpm;
        };
        // A key that another opening showed to be in a paravisor or hypervisor is in no chip, whoever pinned it.
        let elsewhere = self.epochs.iter().filter_map(|e| e.facts.as_ref());
        let elsewhere = elsewhere
            .filter(|f| f.tpm.as_ref().is_some_and(|t| t.ak_name == tpm.ak_name))
            .find_map(|f| f.platform.as_ref());
        if let Some(platform) = elsewhere.filter(|_| !software) {
            return platform.class;
        }
        let pinned = self
            .trust
            .attestation_keys
            .iter()
            .any(|p| p.name == tpm.ak_name)
            || self.enrolment.named.contains(&tpm.ak_name);
        EvidenceClass::of_tpm(tpm.software, pinned)
    }

    /// The weakest class of all epochs, if all of them showed one.
    pub(super) fn weakest(&self) -> Option<EvidenceClass> {
        let all: Option<Vec<_>> = self
            .epochs
            .iter()
            .map(|e| e.facts.as_ref().map(|f| self.class(f)))
            .collect();
        all.and_then(|classes| classes.into_iter().max())
    }
}

/// Adds to a short list of distinct values.
pub(super) fn push_new(list: &mut Vec<String>, value: String) {
    if list.len() < 16 && !list.contains(&value) {
        list.push(value);
    }
}
