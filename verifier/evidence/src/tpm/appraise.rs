//! The checks themselves. Each says in one sentence what it found; none stops another that can run.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::pcr::{PcrSet, PcrSetError, PcrValues};
use super::structures::{
    ALG_SHA256, EccPublic, Head, NvPublic, NvStatement, QuoteStatement, SignedBytes, TpmName,
};
use super::vouched::{AK_ATTRIBUTES, AK_OPTIONAL_ATTRIBUTES, VouchedKey};
use super::{
    COUNTER_ATTRIBUTES, COUNTER_INDEX, EvidenceClass, Expected, FirmwareVersion, PolicyDigest,
    TpmAppraisal, TpmCheck, TpmEvidence, TpmProfile, TpmSession, VerifiedTpm,
};
use crate::appraisal::{Ledger, Outcome};
use crate::eventlog::EventLog;
use crate::hex::Hex;
use crate::reader::FormError;

/// Runs every check on evidence under a key for which nobody vouches.
#[must_use]
pub fn appraise_tpm(evidence: &TpmEvidence<'_>, expected: &Expected) -> TpmAppraisal {
    appraise(evidence, expected, None)
}

/// Runs every check on evidence under a key for which a key of the platform vouches
/// ([`super::appraise_certified`]); class and parties are then those of that key.
#[must_use]
pub fn appraise_vouched_tpm(
    evidence: &TpmEvidence<'_>,
    expected: &Expected,
    vouched: &VouchedKey,
) -> TpmAppraisal {
    appraise(evidence, expected, Some(vouched))
}

fn appraise(
    evidence: &TpmEvidence<'_>,
    expected: &Expected,
    vouched: Option<&VouchedKey>,
) -> TpmAppraisal {
    let mut ledger = Ledger(Vec::new());
    let key = appraise_key(&mut ledger, evidence, expected);
    let vouched = appraise_vouched(&mut ledger, key.as_ref(), vouched);

    let certify = SignedBytes {
        message: evidence.certify,
        signature: evidence.certify_signature,
    };
    let certified = NvStatement::parse(evidence.certify);
    let certified = ledger.note(TpmCheck::CounterStructure, certified, |_| {
        "well formed, type nv".into()
    });
    let context = Context {
        key: key.as_ref(),
        expected,
    };
    context.appraise_statement(
        &mut ledger,
        &COUNTER_CHECKS,
        certify,
        certified.as_ref().map(|it| &it.head),
    );
    let counter = appraise_counter(&mut ledger, evidence, expected, certified.as_ref());

    let quote = SignedBytes {
        message: evidence.quote,
        signature: evidence.quote_signature,
    };
    let quoted = QuoteStatement::parse(evidence.quote);
    let quoted = ledger.note(TpmCheck::QuoteStructure, quoted, |_| {
        "well formed, type quote".into()
    });
    context.appraise_statement(
        &mut ledger,
        &QUOTE_CHECKS,
        quote,
        quoted.as_ref().map(|it| &it.head),
    );
    let pcrs = appraise_pcrs(&mut ledger, evidence, expected, quoted.as_ref());

    let heads = certified
        .as_ref()
        .zip(quoted.as_ref())
        .map(|(certified, quoted)| (&certified.head, &quoted.head));
    appraise_pair(&mut ledger, heads);
    appraise_firmware(&mut ledger, heads, expected);
    appraise_event_log(&mut ledger, evidence, pcrs.as_ref());

    let firmware = quoted
        .as_ref()
        .map(|it| FirmwareVersion(it.head.firmware_version));
    let class = class_of(expected.profile, firmware, vouched);
    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => check.code.is_optional(),
    });
    let verified = verified(key.as_ref(), counter, heads, pcrs).filter(|_| all_hold);
    TpmAppraisal {
        checks: ledger.0,
        class,
        parties: vouched.map(|it| it.parties().to_vec()).unwrap_or_default(),
        verified,
    }
}

/// By name alone: a voucher that names a modulus only says nothing of this key's attributes.
fn appraise_vouched<'a>(
    ledger: &mut Ledger<TpmCheck>,
    key: Option<&EccPublic>,
    vouched: Option<&'a VouchedKey>,
) -> Option<&'a VouchedKey> {
    let Some(vouched) = vouched else {
        ledger.skip(TpmCheck::AkVouched, "no key of the platform vouches for it");
        return None;
    };
    let Some(key) = key else {
        ledger.skip(TpmCheck::AkVouched, NO_KEY);
        return None;
    };
    let found = key.name;
    let result = if vouched.name() == Some(found.into()) {
        Ok(vouched)
    } else {
        Err(Finding::NotVouched { found })
    };
    ledger.note(TpmCheck::AkVouched, result, |vouched| {
        format!("class {}", vouched.class().as_str())
    })
}

fn verified(
    key: Option<&EccPublic>,
    counter: Option<u64>,
    heads: Option<(&Head<'_>, &Head<'_>)>,
    pcrs: Option<PcrValues>,
) -> Option<VerifiedTpm> {
    let (certified, quoted) = heads?;
    Some(VerifiedTpm {
        attestation_key: key?.name,
        counter: counter?,
        session: session_of(quoted),
        certified_at_ms: certified.clock_ms,
        quoted_at_ms: quoted.clock_ms,
        firmware_version: FirmwareVersion(quoted.firmware_version),
        pcrs: pcrs?,
    })
}

fn class_of(
    profile: TpmProfile,
    firmware: Option<FirmwareVersion>,
    vouched: Option<&VouchedKey>,
) -> EvidenceClass {
    let says_libtpms = firmware.is_some_and(|version| version.0 & 0xffff_ffff == LIBTPMS_FIRMWARE);
    match profile {
        TpmProfile::Swtpm => EvidenceClass::Software,
        TpmProfile::Tpm if says_libtpms => EvidenceClass::Software,
        TpmProfile::Tpm => vouched.map_or(EvidenceClass::UnendorsedTpm, VouchedKey::class),
    }
}

/// Why a check of values fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error(
        "attributes are {found:#010x}: {wanted:#010x} must be set, and nothing but {optional:#010x} besides"
    )]
    AkAttributes {
        found: u32,
        wanted: u32,
        optional: u32,
    },
    #[error("name is {found}, the binding names {expected}")]
    AkName { found: TpmName, expected: TpmName },
    #[error("name is {found}, which is not the key that is vouched for")]
    NotVouched { found: TpmName },
    #[error(
        "qualified signer is {}, this key as a primary of the endorsement hierarchy is {expected}",
        Hex(found)
    )]
    Signer { found: Vec<u8>, expected: TpmName },
    #[error("qualifying data is {}, expected {}", Hex(found), Hex(expected))]
    Qualifying { found: Vec<u8>, expected: [u8; 32] },
    #[error("the tpm does not vouch for its clock: it may have been set back by a loss of power")]
    ClockUnsafe,
    #[error("counter: {0}")]
    NvForm(#[from] FormError),
    #[error("nv index is {found:#010x}, expected {COUNTER_INDEX:#010x}")]
    NvIndex { found: u32 },
    #[error("nv attributes are {found:#010x}, expected {COUNTER_ATTRIBUTES:#010x}")]
    NvAttributes { found: u32 },
    #[error("nv policy is {}, expected {}", Hex(found), Hex(expected))]
    NvPolicy { found: Vec<u8>, expected: [u8; 32] },
    #[error("nv index holds {found} bytes, a counter holds 8")]
    NvSize { found: u16 },
    #[error(
        "certified index has the name {}, the presented public area has {expected}",
        Hex(found)
    )]
    NvName { found: Vec<u8>, expected: TpmName },
    #[error("certification covers {bytes} bytes from byte {offset}, a counter has 8 from byte 0")]
    NvContents { bytes: usize, offset: u16 },
    #[error("quote covers {found} banks, expected exactly one")]
    Banks { found: usize },
    #[error("quote covers bank {found:#06x}, expected sha-256 ({ALG_SHA256:#06x})")]
    Bank { found: u16 },
    #[error("quote has a selection of {found} bytes, expected 3")]
    SelectionSize { found: usize },
    #[error("quote's selection: {0}")]
    Selection(#[from] PcrSetError),
    #[error("quote covers pcr {found}, expected {expected}")]
    OtherPcrs { found: PcrSet, expected: PcrSet },
    #[error("values are presented for pcr {found}, the quote covers {quoted}")]
    OtherValues { found: String, quoted: PcrSet },
    #[error(
        "presented values hash to {}, the quote has {}",
        Hex(computed),
        Hex(quoted)
    )]
    PcrDigest { computed: [u8; 32], quoted: Vec<u8> },
    #[error(
        "counter was certified at reset {}, restart {}, firmware {}; quote is of reset {}, restart {}, firmware {}",
        certified.0.reset_count, certified.0.restart_count, certified.1,
        quoted.0.reset_count, quoted.0.restart_count, quoted.1
    )]
    OtherSession {
        certified: (TpmSession, FirmwareVersion),
        quoted: (TpmSession, FirmwareVersion),
    },
    #[error("quote was made at {quoted_ms} ms, before the certification at {certified_ms} ms")]
    QuoteBefore { certified_ms: u64, quoted_ms: u64 },
    #[error("firmware is {found}, the trust policy accepts {floor} and later")]
    Firmware {
        found: FirmwareVersion,
        floor: FirmwareVersion,
    },
}

fn appraise_key(
    ledger: &mut Ledger<TpmCheck>,
    evidence: &TpmEvidence<'_>,
    expected: &Expected,
) -> Option<EccPublic> {
    let key = EccPublic::parse(evidence.ak_public);
    let key = ledger.note(TpmCheck::AkPublic, key, |_| {
        "ecdsa p-256 with sha-256".into()
    });
    let Some(key) = key else {
        ledger.skip(TpmCheck::AkAttributes, NO_KEY);
        ledger.skip(TpmCheck::AkName, NO_KEY);
        return None;
    };
    let (found, wanted, optional) = (key.attributes, AK_ATTRIBUTES, AK_OPTIONAL_ATTRIBUTES);
    let as_wanted = found & wanted == wanted && found & !(wanted | optional) == 0;
    let attributes = if as_wanted {
        Ok(())
    } else {
        Err(Finding::AkAttributes {
            found,
            wanted,
            optional,
        })
    };
    ledger.note(TpmCheck::AkAttributes, attributes, |()| {
        format!("{found:#010x}: restricted, made in and bound to its tpm")
    });
    let (found, expected) = (key.name, expected.attestation_key);
    let name = if found == expected {
        Ok(())
    } else {
        Err(Finding::AkName { found, expected })
    };
    ledger.note(TpmCheck::AkName, name, |()| {
        format!("{found}, as the binding names")
    });
    Some(key)
}

/// The checks that both statements have in common.
struct StatementChecks {
    signature: TpmCheck,
    signer: TpmCheck,
    qualifying: TpmCheck,
    clock: TpmCheck,
}

const COUNTER_CHECKS: StatementChecks = StatementChecks {
    signature: TpmCheck::CounterSignature,
    signer: TpmCheck::CounterSigner,
    qualifying: TpmCheck::CounterQualifying,
    clock: TpmCheck::CounterClock,
};

const QUOTE_CHECKS: StatementChecks = StatementChecks {
    signature: TpmCheck::QuoteSignature,
    signer: TpmCheck::QuoteSigner,
    qualifying: TpmCheck::QuoteQualifying,
    clock: TpmCheck::QuoteClock,
};

struct Context<'a> {
    key: Option<&'a EccPublic>,
    expected: &'a Expected,
}

impl Context<'_> {
    fn appraise_statement(
        &self,
        ledger: &mut Ledger<TpmCheck>,
        checks: &StatementChecks,
        signed: SignedBytes<'_>,
        head: Option<&Head<'_>>,
    ) {
        match self.key {
            Some(key) => {
                let result = key.verify(signed);
                ledger.note(checks.signature, result, |()| {
                    format!("holds under attestation key {}", key.name)
                });
            }
            None => ledger.skip(checks.signature, NO_KEY),
        }
        match (self.key, head) {
            (Some(key), Some(head)) => {
                let expected = key.name.qualified_by(RH_ENDORSEMENT);
                let is_it = head.qualified_signer == expected.0;
                let found = head.qualified_signer.to_vec();
                let result = if is_it {
                    Ok(())
                } else {
                    Err(Finding::Signer { found, expected })
                };
                ledger.note(checks.signer, result, |()| {
                    "a primary key of the endorsement hierarchy".into()
                });
            }
            (None, _) => ledger.skip(checks.signer, NO_KEY),
            (Some(_), None) => ledger.skip(checks.signer, NO_STATEMENT),
        }
        let Some(head) = head else {
            ledger.skip(checks.qualifying, NO_STATEMENT);
            ledger.skip(checks.clock, NO_STATEMENT);
            return;
        };
        let (found, expected) = (head.extra_data.to_vec(), self.expected.qualifying.0);
        let result = if found == expected {
            Ok(())
        } else {
            Err(Finding::Qualifying { found, expected })
        };
        ledger.note(checks.qualifying, result, |()| {
            format!("{}, all 32 bytes", Hex(&expected))
        });
        let result = if head.safe == 1 {
            Ok(())
        } else {
            Err(Finding::ClockUnsafe)
        };
        ledger.note(checks.clock, result, |()| {
            format!("{} ms, safe", head.clock_ms)
        });
    }
}

fn appraise_counter(
    ledger: &mut Ledger<TpmCheck>,
    evidence: &TpmEvidence<'_>,
    expected: &Expected,
    certified: Option<&NvStatement<'_>>,
) -> Option<u64> {
    let public = appraise_nv_public(evidence.nv_public, expected.counter_policy);
    ledger.note(TpmCheck::CounterPublic, public, |()| {
        "a counter that only the seal policy advances or reads".into()
    });
    let Some(certified) = certified else {
        ledger.skip(TpmCheck::CounterName, NO_STATEMENT);
        ledger.skip(TpmCheck::CounterValue, NO_STATEMENT);
        return None;
    };
    let (found, name) = (
        certified.index_name.to_vec(),
        TpmName::of(evidence.nv_public),
    );
    let result = if found == name.0 {
        Ok(())
    } else {
        Err(Finding::NvName {
            found,
            expected: name,
        })
    };
    ledger.note(TpmCheck::CounterName, result, |()| {
        format!("{name}, recomputed")
    });
    let (offset, bytes) = (certified.offset, certified.contents.len());
    let value = <[u8; 8]>::try_from(certified.contents)
        .ok()
        .filter(|_| offset == 0)
        .map(u64::from_be_bytes);
    let value = value.ok_or(Finding::NvContents { bytes, offset });
    ledger.note(TpmCheck::CounterValue, value, |value| {
        format!("counter is {value}")
    })
}

fn appraise_nv_public(bytes: &[u8], policy: PolicyDigest) -> Result<(), Finding> {
    let NvPublic {
        index,
        attributes,
        auth_policy,
        data_bytes,
    } = NvPublic::parse(bytes)?;
    if index != COUNTER_INDEX {
        return Err(Finding::NvIndex { found: index });
    }
    if attributes != COUNTER_ATTRIBUTES {
        return Err(Finding::NvAttributes { found: attributes });
    }
    if auth_policy != policy.0 {
        return Err(Finding::NvPolicy {
            found: auth_policy.to_vec(),
            expected: policy.0,
        });
    }
    if data_bytes != 8 {
        Err(Finding::NvSize { found: data_bytes })
    } else {
        Ok(())
    }
}

fn appraise_pcrs(
    ledger: &mut Ledger<TpmCheck>,
    evidence: &TpmEvidence<'_>,
    expected: &Expected,
    quoted: Option<&QuoteStatement<'_>>,
) -> Option<PcrValues> {
    let Some(quoted) = quoted else {
        ledger.skip(TpmCheck::QuoteSelection, NO_STATEMENT);
        ledger.skip(TpmCheck::QuoteDigest, NO_STATEMENT);
        return None;
    };
    let selection = selection_of(quoted);
    let digest_of = selection.as_ref().ok().copied();
    let selection = selection.and_then(|found| {
        let expected = expected.pcrs;
        if found == expected {
            Ok(found)
        } else {
            Err(Finding::OtherPcrs { found, expected })
        }
    });
    ledger.note(TpmCheck::QuoteSelection, selection, |set| {
        format!("sha-256 bank, pcr {set}")
    });
    let Some(set) = digest_of else {
        ledger.skip(
            TpmCheck::QuoteDigest,
            "the quote's selection cannot be used",
        );
        return None;
    };
    let values = quoted_values(&evidence.pcrs, set, quoted.pcr_digest);
    ledger.note(TpmCheck::QuoteDigest, values, |values| {
        format!("{} presented values are the quoted ones", values.len())
    })
}

fn selection_of(quoted: &QuoteStatement<'_>) -> Result<PcrSet, Finding> {
    let [(bank, octets)] = quoted.selections.as_slice() else {
        return Err(Finding::Banks {
            found: quoted.selections.len(),
        });
    };
    if *bank != ALG_SHA256 {
        return Err(Finding::Bank { found: *bank });
    }
    let octets = <[u8; 3]>::try_from(*octets).map_err(|_| Finding::SelectionSize {
        found: octets.len(),
    })?;
    Ok(PcrSet::from_selection(octets)?)
}

/// Values go by the quote's selection, never by their position in the evidence.
fn quoted_values(
    presented: &[(u8, [u8; 32])],
    set: PcrSet,
    quoted: &[u8],
) -> Result<PcrValues, Finding> {
    let values: BTreeMap<u8, [u8; 32]> = presented.iter().copied().collect();
    // A length of its own shows an index that is presented twice.
    if presented.len() != values.len() || !values.keys().copied().eq(set.iter()) {
        let found = presented
            .iter()
            .map(|(index, _)| index.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(Finding::OtherValues { found, quoted: set });
    }
    let mut hash = Sha256::new();
    values.values().for_each(|value| hash.update(value));
    let computed: [u8; 32] = hash.finalize().into();
    if computed == *quoted {
        Ok(values)
    } else {
        Err(Finding::PcrDigest {
            computed,
            quoted: quoted.to_vec(),
        })
    }
}

fn appraise_pair(ledger: &mut Ledger<TpmCheck>, heads: Option<(&Head<'_>, &Head<'_>)>) {
    let Some((certified, quoted)) = heads else {
        ledger.skip(TpmCheck::PairSession, NO_STATEMENT);
        ledger.skip(TpmCheck::PairClock, NO_STATEMENT);
        return;
    };
    let both = |head: &Head<'_>| (session_of(head), FirmwareVersion(head.firmware_version));
    let found = (both(certified), both(quoted));
    let session = if found.0 == found.1 {
        Ok(session_of(quoted))
    } else {
        Err(Finding::OtherSession {
            certified: found.0,
            quoted: found.1,
        })
    };
    ledger.note(TpmCheck::PairSession, session, |session| {
        format!(
            "reset {}, restart {}",
            session.reset_count, session.restart_count
        )
    });
    let (certified_ms, quoted_ms) = (certified.clock_ms, quoted.clock_ms);
    let between = quoted_ms
        .checked_sub(certified_ms)
        .ok_or(Finding::QuoteBefore {
            certified_ms,
            quoted_ms,
        });
    ledger.note(TpmCheck::PairClock, between, |between| {
        format!("quoted {between} ms after the certification")
    });
}

fn appraise_firmware(
    ledger: &mut Ledger<TpmCheck>,
    heads: Option<(&Head<'_>, &Head<'_>)>,
    expected: &Expected,
) {
    let Some((certified, quoted)) = heads else {
        return ledger.skip(TpmCheck::Firmware, NO_STATEMENT);
    };
    let Some(floor) = expected.firmware_floor else {
        return ledger.skip(
            TpmCheck::Firmware,
            "the trust policy names no oldest firmware",
        );
    };
    let found = FirmwareVersion(certified.firmware_version.min(quoted.firmware_version));
    let result = if found >= floor {
        Ok(found)
    } else {
        Err(Finding::Firmware { found, floor })
    };
    ledger.note(TpmCheck::Firmware, result, |found| {
        format!("{found}, floor is {floor}")
    });
}

fn appraise_event_log(
    ledger: &mut Ledger<TpmCheck>,
    evidence: &TpmEvidence<'_>,
    pcrs: Option<&PcrValues>,
) {
    let Some(bytes) = evidence.event_log else {
        let reason =
            "the evidence has no event log: pcr values are judged whole, not by what was measured";
        ledger.skip(TpmCheck::EventLogStructure, reason);
        return ledger.skip(TpmCheck::EventLogReplay, reason);
    };
    let log = EventLog::parse(bytes);
    let log = ledger.note(TpmCheck::EventLogStructure, log, |log| {
        format!("{} events", log.events().len())
    });
    match (log, pcrs) {
        (Some(log), Some(pcrs)) => {
            let result = log.appraise(pcrs);
            ledger.note(TpmCheck::EventLogReplay, result, |()| {
                "leads to every quoted value".into()
            });
        }
        (None, _) => ledger.skip(TpmCheck::EventLogReplay, "the event log is malformed"),
        (Some(_), None) => ledger.skip(TpmCheck::EventLogReplay, "there are no quoted values"),
    }
}

fn session_of(head: &Head<'_>) -> TpmSession {
    TpmSession {
        reset_count: head.reset_count,
        restart_count: head.restart_count,
    }
}

const NO_KEY: &str = "the attestation key's public area is malformed";
const NO_STATEMENT: &str = "the statement is malformed";

/// `TPM_RH_ENDORSEMENT`. Elsewhere a TPM obfuscates reset counts and firmware version. SPEC: Part 2, 7.4
const RH_ENDORSEMENT: u32 = 0x4000_000b;

/// The lower half of the firmware number of libtpms, the library of software TPMs. A hint only:
/// whoever writes a software TPM can report another.
pub(super) const LIBTPMS_FIRMWARE: u64 = 0x0016_3636;
