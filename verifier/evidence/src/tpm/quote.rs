//! A bare quote: PCR values that a TPM signed, without a counter beside them.
//!
//! In: [`QuoteEvidence`], the bytes as received, and [`QuotePolicy`], what they have to say. Out:
//! [`QuoteAppraisal`]: every check by name, and, only if none failed, what is now known
//! ([`VerifiedQuote`]). This is how the TPMs of platforms are appraised, whose attestation keys are RSA
//! or ECDSA, and whose quotes may cover more registers than anybody asks for.
//!
//! Registers 16 and 23 may be among those quoted, for some tools quote all 24; they are hashed and then
//! dropped, because software resets them at will.
//!
//! Spec: `docs/spec/tpm-keys.md`. Structures: TCG "TPM 2.0 Library" Part 2.

use std::collections::BTreeMap;

use countersign_certificates::algorithm::Hash;
use thiserror::Error;

use super::appraise::LIBTPMS_FIRMWARE;
use super::key::{KeyName, KeySignature};
use super::pcr::{PcrSet, PcrValues};
use super::structures::{ALG_SHA256, QuoteStatement};
use super::vouched::{ExpectedKey, PresentedKey, Signer, Voucher, appraise_attributes};
use super::{EvidenceClass, FirmwareVersion, TpmSession};
use crate::appraisal::{Check, Ledger, Outcome};
use crate::eventlog::EventLog;
use crate::hex::Hex;
use crate::party::Party;

/// What a TPM presented, untouched.
#[derive(Debug, Clone)]
pub struct QuoteEvidence<'a> {
    /// The attestation key.
    pub key: PresentedKey<'a>,
    /// `TPMS_ATTEST` of type quote.
    pub quote: &'a [u8],
    /// The signature over it.
    pub signature: KeySignature<'a>,
    /// The values that the quote is said to cover, by index, SHA-256 bank.
    pub pcrs: Vec<(u8, [u8; 32])>,
    /// Event log of the boot, where the platform has one.
    pub event_log: Option<&'a [u8]>,
}

/// What evidence has to say. None of it may come from the evidence.
#[derive(Debug, Clone)]
pub struct QuotePolicy<'a> {
    /// Whose key it has to be.
    pub key: ExpectedKey<'a>,
    /// What it was made over, all of it. Without it nothing says when or for whom the quote was made, so
    /// nothing is verified.
    pub qualifying: Option<Vec<u8>>,
    /// The PCRs that are asked for.
    pub pcrs: PcrSet,
    /// Whether others may be quoted beside them.
    pub selection: Selection,
    /// Oldest firmware that is accepted; `None` checks nothing, and says so.
    pub firmware_floor: Option<FirmwareVersion>,
}

/// Which selections of PCRs are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Those asked for and no others.
    Exactly,
    /// Those asked for, and any others.
    AtLeast,
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteAppraisal {
    checks: Vec<Check<QuoteCheck>>,
    verified: Option<VerifiedQuote>,
}

impl QuoteAppraisal {
    /// All checks, each once, in the order of [`QuoteCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<QuoteCheck>] {
        &self.checks
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedQuote> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<QuoteCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// What a quote says, all checks passed. Only [`appraise_quote`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedQuote {
    key: KeyName,
    class: EvidenceClass,
    parties: Vec<Party>,
    pcrs: PcrValues,
    session: TpmSession,
    clock_ms: u64,
    firmware_version: FirmwareVersion,
}

impl VerifiedQuote {
    /// Name of the key that signed.
    #[must_use]
    pub fn key(&self) -> KeyName {
        self.key
    }

    /// What such evidence is worth.
    #[must_use]
    pub fn class(&self) -> EvidenceClass {
        self.class
    }

    /// Who has to be trusted that this is a key of such a TPM; none where the key is pinned.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// The quoted values, those that software can reset left out.
    #[must_use]
    pub fn pcrs(&self) -> &PcrValues {
        &self.pcrs
    }

    /// The run of the machine in which it was made.
    #[must_use]
    pub fn session(&self) -> TpmSession {
        self.session
    }

    /// The TPM's clock, in milliseconds it was ever powered.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Firmware of the TPM.
    #[must_use]
    pub fn firmware_version(&self) -> FirmwareVersion {
        self.firmware_version
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_quote`]. Their texts are stable: reports and tools rely on them.
    QuoteCheck {
        /// The attestation key has its exact form and an algorithm that is accepted.
        KeyPublic = "tpm.key.public",
        /// It is restricted to what its TPM made, was made in that TPM, and cannot leave it.
        KeyAttributes = "tpm.key.attributes",
        /// Somebody that the policy believes vouches for it.
        KeyVouched = "tpm.key.vouched",
        /// The quote has its exact form.
        Structure = "tpm.quote.structure",
        /// The attestation key signed it.
        Signature = "tpm.quote.signature",
        /// It names that key as a primary of the endorsement hierarchy.
        Signer = "tpm.quote.signer",
        /// It was made over the expected qualifying data.
        Qualifying = "tpm.quote.qualifying",
        /// The TPM vouches for its clock.
        Clock = "tpm.quote.clock",
        /// It covers the PCRs that are asked for, of the SHA-256 bank alone.
        Selection = "tpm.quote.selection",
        /// The presented values are those quoted.
        Digest = "tpm.quote.digest",
        /// The firmware is not older than the policy accepts.
        Firmware = "tpm.firmware",
        /// The event log has its exact form.
        EventLogStructure = "tpm.eventlog.structure",
        /// The event log leads to the quoted value of each PCR that is asked for. Others may hold what the
        /// firmware's log does not know of, such as PCR 10 what the kernel measures while it runs.
        EventLogReplay = "tpm.eventlog.replay",
    }
}

/// Why a check of values fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error(
        "qualified signer is {}, this key as a primary of the endorsement hierarchy is {expected}",
        Hex(found)
    )]
    Signer { found: Vec<u8>, expected: KeyName },
    #[error("qualifying data is {}, expected {}", Hex(found), Hex(expected))]
    Qualifying { found: Vec<u8>, expected: Vec<u8> },
    #[error("the tpm does not vouch for its clock: it may have been set back by a loss of power")]
    ClockUnsafe,
    #[error("quote covers {found} banks, expected exactly one")]
    Banks { found: usize },
    #[error("quote covers bank {found:#06x}, expected sha-256 ({ALG_SHA256:#06x})")]
    Bank { found: u16 },
    #[error("quote has a selection of {found} bytes, expected 3")]
    SelectionSize { found: usize },
    #[error("quote covers pcr {}, expected {expected}", list(found))]
    OtherPcrs { found: Vec<u8>, expected: PcrSet },
    #[error(
        "values are presented for pcr {}, the quote covers {}",
        list(found),
        list(quoted)
    )]
    OtherValues { found: Vec<u8>, quoted: Vec<u8> },
    #[error(
        "presented values hash to {}, the quote has {}",
        Hex(computed),
        Hex(quoted)
    )]
    Digest { computed: Vec<u8>, quoted: Vec<u8> },
    #[error("firmware is {found}, the policy accepts {floor} and later")]
    Firmware {
        found: FirmwareVersion,
        floor: FirmwareVersion,
    },
}

/// Runs every check on a quote.
#[must_use]
pub fn appraise_quote(evidence: &QuoteEvidence<'_>, policy: &QuotePolicy<'_>) -> QuoteAppraisal {
    let mut ledger = Ledger(Vec::new());
    let parsed = QuoteStatement::parse(evidence.quote);
    let named = parsed.as_ref().ok().map(|it| it.head.qualified_signer);
    let signer = Signer::read(evidence.key, named);
    let (signer, voucher) = appraise_key(&mut ledger, signer, policy.key);
    let quoted = ledger.note(QuoteCheck::Structure, parsed, |_| {
        "well formed, type quote".into()
    });
    appraise_signature(&mut ledger, signer.as_ref(), evidence);
    appraise_signer(&mut ledger, signer.as_ref(), quoted.as_ref());
    appraise_head(&mut ledger, quoted.as_ref(), policy);
    let hash = match signer.as_ref().and_then(|it| it.tpm.as_ref()) {
        Some(key) => key.hash(),
        None => Hash::Sha256,
    };
    let pcrs = appraise_pcrs(&mut ledger, evidence, policy, quoted.as_ref(), hash);
    appraise_firmware(&mut ledger, quoted.as_ref(), policy);
    let asked = pcrs.as_ref().map(|pcrs| asked_for(pcrs, policy.pcrs));
    appraise_event_log(&mut ledger, evidence, asked.as_ref());

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => matches!(
            check.code,
            QuoteCheck::Firmware | QuoteCheck::EventLogStructure | QuoteCheck::EventLogReplay
        ),
    });
    let verified = verified(signer, voucher, quoted, pcrs).filter(|_| all_hold);
    QuoteAppraisal {
        checks: ledger.0,
        verified,
    }
}

fn verified(
    signer: Option<Signer>,
    voucher: Option<Voucher>,
    quoted: Option<QuoteStatement<'_>>,
    pcrs: Option<PcrValues>,
) -> Option<VerifiedQuote> {
    let (voucher, head) = (voucher?, quoted?.head);
    let says_libtpms = head.firmware_version & 0xffff_ffff == LIBTPMS_FIRMWARE;
    Some(VerifiedQuote {
        key: signer?.tpm?.name(),
        class: if says_libtpms {
            EvidenceClass::Software
        } else {
            voucher.class
        },
        parties: voucher.parties,
        // Software resets these at will.
        pcrs: pcrs?
            .into_iter()
            .filter(|(index, _)| !matches!(index, 16 | 23))
            .collect(),
        session: TpmSession {
            reset_count: head.reset_count,
            restart_count: head.restart_count,
        },
        clock_ms: head.clock_ms,
        firmware_version: FirmwareVersion(head.firmware_version),
    })
}

fn appraise_key(
    ledger: &mut Ledger<QuoteCheck>,
    signer: Result<Signer, super::key::KeyError>,
    expected: ExpectedKey<'_>,
) -> (Option<Signer>, Option<Voucher>) {
    let signer = ledger.note(QuoteCheck::KeyPublic, signer, |signer| signer.plain.kind());
    let Some(signer) = signer else {
        ledger.skip(QuoteCheck::KeyAttributes, NO_KEY);
        ledger.skip(QuoteCheck::KeyVouched, NO_KEY);
        return (None, None);
    };
    match &signer.tpm {
        Some(key) => {
            let attributes = appraise_attributes(key);
            ledger.note(QuoteCheck::KeyAttributes, attributes, |found| {
                format!(
                    "{found:#010x}, {}: restricted, made in and bound to its tpm",
                    signer.area.as_str()
                )
            });
        }
        None => ledger.skip(QuoteCheck::KeyAttributes, NO_ATTRIBUTES),
    }
    if matches!(expected, ExpectedKey::Nobody) {
        ledger.skip(QuoteCheck::KeyVouched, "nobody says whose key this is");
        return (Some(signer), None);
    }
    let voucher = signer.vouched(expected);
    let voucher = ledger.note(QuoteCheck::KeyVouched, voucher, Voucher::to_string);
    (Some(signer), voucher)
}

fn appraise_signature(
    ledger: &mut Ledger<QuoteCheck>,
    signer: Option<&Signer>,
    evidence: &QuoteEvidence<'_>,
) {
    let Some(signer) = signer else {
        return ledger.skip(QuoteCheck::Signature, NO_KEY);
    };
    let result = match &signer.tpm {
        Some(key) => key.verify(evidence.quote, evidence.signature),
        None => signer
            .plain
            .verify_plain(evidence.quote, evidence.signature),
    };
    ledger.note(QuoteCheck::Signature, result, |()| {
        "holds under the attestation key".into()
    });
}

fn appraise_signer(
    ledger: &mut Ledger<QuoteCheck>,
    signer: Option<&Signer>,
    quoted: Option<&QuoteStatement<'_>>,
) {
    let Some(quoted) = quoted else {
        return ledger.skip(QuoteCheck::Signer, NO_STATEMENT);
    };
    let Some(signer) = signer else {
        return ledger.skip(QuoteCheck::Signer, NO_KEY);
    };
    let Some(key) = &signer.tpm else {
        return ledger.skip(QuoteCheck::Signer, NO_ATTRIBUTES);
    };
    let (found, expected) = (quoted.head.qualified_signer, key.name().qualified());
    let result = if found == expected.as_bytes() {
        Ok(key.name())
    } else {
        Err(Finding::Signer {
            found: found.to_vec(),
            expected,
        })
    };
    ledger.note(QuoteCheck::Signer, result, |name| {
        format!("{name}, a primary key of the endorsement hierarchy")
    });
}

fn appraise_head(
    ledger: &mut Ledger<QuoteCheck>,
    quoted: Option<&QuoteStatement<'_>>,
    policy: &QuotePolicy<'_>,
) {
    let Some(quoted) = quoted else {
        ledger.skip(QuoteCheck::Qualifying, NO_STATEMENT);
        return ledger.skip(QuoteCheck::Clock, NO_STATEMENT);
    };
    let found = quoted.head.extra_data;
    match &policy.qualifying {
        None => ledger.skip(
            QuoteCheck::Qualifying,
            "nobody named the qualifying data: this quote may be of any time, for anybody",
        ),
        Some(expected) => {
            let result = if found == expected.as_slice() {
                Ok(())
            } else {
                Err(Finding::Qualifying {
                    found: found.to_vec(),
                    expected: expected.clone(),
                })
            };
            ledger.note(QuoteCheck::Qualifying, result, |()| {
                format!("{}, all {} bytes", Hex(found), found.len())
            });
        }
    }
    let result = if quoted.head.safe == 1 {
        Ok(())
    } else {
        Err(Finding::ClockUnsafe)
    };
    ledger.note(QuoteCheck::Clock, result, |()| {
        format!("{} ms, safe", quoted.head.clock_ms)
    });
}

fn appraise_pcrs(
    ledger: &mut Ledger<QuoteCheck>,
    evidence: &QuoteEvidence<'_>,
    policy: &QuotePolicy<'_>,
    quoted: Option<&QuoteStatement<'_>>,
    hash: Hash,
) -> Option<PcrValues> {
    let Some(quoted) = quoted else {
        ledger.skip(QuoteCheck::Selection, NO_STATEMENT);
        ledger.skip(QuoteCheck::Digest, NO_STATEMENT);
        return None;
    };
    let selection = selected(quoted);
    let usable = selection.as_ref().ok().cloned();
    let selection = selection.and_then(|found| {
        let expected = policy.pcrs;
        let all = expected.iter().all(|index| found.contains(&index));
        let as_many = found.len() == expected.iter().count();
        if all && (as_many || policy.selection == Selection::AtLeast) {
            Ok(found)
        } else {
            Err(Finding::OtherPcrs { found, expected })
        }
    });
    ledger.note(QuoteCheck::Selection, selection, |found| {
        format!("sha-256 bank, pcr {}", list(found))
    });
    let Some(indices) = usable else {
        ledger.skip(QuoteCheck::Digest, "the quote's selection cannot be used");
        return None;
    };
    let values = quoted_values(&evidence.pcrs, indices, quoted.pcr_digest, hash);
    ledger.note(QuoteCheck::Digest, values, |values| {
        format!("{} presented values are the quoted ones", values.len())
    })
}

/// Indices of the one selection, ascending. SPEC: Part 2, 10.6.2: bit 0 of byte 0 is PCR 0
fn selected(quoted: &QuoteStatement<'_>) -> Result<Vec<u8>, Finding> {
    let [(bank, octets)] = quoted.selections.as_slice() else {
        return Err(Finding::Banks {
            found: quoted.selections.len(),
        });
    };
    if *bank != ALG_SHA256 {
        return Err(Finding::Bank { found: *bank });
    }
    let [low, middle, high] = *octets else {
        return Err(Finding::SelectionSize {
            found: octets.len(),
        });
    };
    let bits = u32::from_le_bytes([*low, *middle, *high, 0]);
    Ok((0..24).filter(|index| bits >> index & 1 == 1).collect())
}

/// Values go by the quote's selection, never by their position in the evidence.
fn quoted_values(
    presented: &[(u8, [u8; 32])],
    indices: Vec<u8>,
    quoted: &[u8],
    hash: Hash,
) -> Result<PcrValues, Finding> {
    let values: BTreeMap<u8, [u8; 32]> = presented.iter().copied().collect();
    // A length of its own shows an index that is presented twice.
    if presented.len() != values.len() || !values.keys().eq(indices.iter()) {
        return Err(Finding::OtherValues {
            found: presented.iter().map(|(index, _)| *index).collect(),
            quoted: indices,
        });
    }
    // SPEC: Part 3, 18.4: by the digest of the key's scheme.
    let all: Vec<u8> = values.values().flatten().copied().collect();
    let computed = hash.digest(&all);
    if computed == quoted {
        Ok(values)
    } else {
        Err(Finding::Digest {
            computed,
            quoted: quoted.to_vec(),
        })
    }
}

fn appraise_firmware(
    ledger: &mut Ledger<QuoteCheck>,
    quoted: Option<&QuoteStatement<'_>>,
    policy: &QuotePolicy<'_>,
) {
    let Some(quoted) = quoted else {
        return ledger.skip(QuoteCheck::Firmware, NO_STATEMENT);
    };
    let found = FirmwareVersion(quoted.head.firmware_version);
    let Some(floor) = policy.firmware_floor else {
        let reason = format!("nobody named an oldest firmware; it is {found}");
        return ledger.skip(QuoteCheck::Firmware, reason);
    };
    let result = if found >= floor {
        Ok(found)
    } else {
        Err(Finding::Firmware { found, floor })
    };
    ledger.note(QuoteCheck::Firmware, result, |found| {
        format!("{found}, floor is {floor}")
    });
}

fn appraise_event_log(
    ledger: &mut Ledger<QuoteCheck>,
    evidence: &QuoteEvidence<'_>,
    pcrs: Option<&PcrValues>,
) {
    let Some(bytes) = evidence.event_log else {
        let reason = "there is no event log: pcr values are judged whole, not by what was measured";
        ledger.skip(QuoteCheck::EventLogStructure, reason);
        return ledger.skip(QuoteCheck::EventLogReplay, reason);
    };
    let log = EventLog::parse(bytes);
    let log = ledger.note(QuoteCheck::EventLogStructure, log, |log| {
        format!("{} events", log.events().len())
    });
    match (log, pcrs) {
        (Some(log), Some(pcrs)) => {
            let result = log.appraise(pcrs);
            ledger.note(QuoteCheck::EventLogReplay, result, |()| {
                let indices: Vec<u8> = pcrs.keys().copied().collect();
                format!("leads to the quoted values of pcr {}", list(&indices))
            });
        }
        (None, _) => ledger.skip(QuoteCheck::EventLogReplay, "the event log is malformed"),
        (Some(_), None) => {
            ledger.skip(QuoteCheck::EventLogReplay, "there are no quoted values");
        }
    }
}

fn asked_for(pcrs: &PcrValues, asked: PcrSet) -> PcrValues {
    asked
        .iter()
        .filter_map(|index| Some((index, *pcrs.get(&index)?)))
        .collect()
}

fn list(pcrs: &[u8]) -> String {
    let indices: Vec<String> = pcrs.iter().map(u8::to_string).collect();
    indices.join(", ")
}

pub(super) const NO_KEY: &str = "the attestation key is malformed";
pub(super) const NO_STATEMENT: &str = "the statement is malformed";
pub(super) const NO_ATTRIBUTES: &str = "the key came without its public area, and the statement's signer is no key of a known template: it may be a key that signs anything";

#[cfg(test)]
mod tests;
