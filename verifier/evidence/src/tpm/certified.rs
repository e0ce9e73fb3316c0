//! One key of a TPM vouching for another: `TPM2_Certify`.
//!
//! In: [`CertifiedEvidence`]: a public area, and a statement about it under the platform's attestation
//! key. Out: [`CertifiedAppraisal`], and, only if nothing failed, a [`VouchedKey`] for the certified key,
//! with the class and the parties of the key that certified it.
//!
//! This is how our own key, which certifies the counter, comes under a platform's: the platform's key is
//! made from a template that cannot be ours, and the platform vouches for that one alone. What is shown:
//! when the statement was made, the TPM that holds the certifying key had an object of this name loaded.
//! A name covers attributes: so that object is a restricted key that was made in this TPM and cannot
//! leave it, and every later signature of it is of this TPM.
//!
//! Spec: `docs/spec/tpm-keys.md`. Structures: TCG "TPM 2.0 Library" Part 2, 10.12.3; Part 3, 18.2.

use thiserror::Error;

use super::key::{KeyName, KeySignature, TpmKey};
use super::quote::{NO_ATTRIBUTES, NO_KEY, NO_STATEMENT};
use super::structures::CertifyStatement;
use super::vouched::{ExpectedKey, PresentedKey, Signer, VouchedKey, Voucher, appraise_attributes};
use crate::appraisal::{Check, Ledger, Outcome};
use crate::hex::Hex;

/// What a TPM presented, untouched.
#[derive(Debug, Clone, Copy)]
pub struct CertifiedEvidence<'a> {
    /// The key that certifies.
    pub signer: PresentedKey<'a>,
    /// `TPMT_PUBLIC` of the key that is certified.
    pub public: &'a [u8],
    /// `TPMS_ATTEST` of type certify.
    pub certify: &'a [u8],
    /// The signature over it.
    pub signature: KeySignature<'a>,
}

/// What evidence has to say. None of it may come from the evidence.
#[derive(Debug, Clone)]
pub struct CertifiedPolicy<'a> {
    /// Whose key it has to be that certifies.
    pub signer: ExpectedKey<'a>,
    /// What the statement was made over. `None` checks nothing, and says so: a key that was once of this
    /// TPM cannot become another's, so what it signs is fresh or not by itself.
    pub qualifying: Option<Vec<u8>>,
    /// Name of the key that has to be certified.
    pub certified: KeyName,
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedAppraisal {
    checks: Vec<Check<CertifiedCheck>>,
    verified: Option<VouchedKey>,
}

impl CertifiedAppraisal {
    /// All checks, each once, in the order of [`CertifiedCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<CertifiedCheck>] {
        &self.checks
    }

    /// The certified key. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VouchedKey> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<CertifiedCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_certified`]. Their texts are stable: reports and tools rely on them.
    CertifiedCheck {
        /// The certifying key has its exact form and an algorithm that is accepted.
        SignerPublic = "tpm.certify.signer.public",
        /// It is restricted to what its TPM made, was made in that TPM, and cannot leave it.
        SignerAttributes = "tpm.certify.signer.attributes",
        /// Somebody that the policy believes vouches for it.
        SignerVouched = "tpm.certify.signer.vouched",
        /// The statement has its exact form.
        Structure = "tpm.certify.structure",
        /// The certifying key signed it.
        Signature = "tpm.certify.signature",
        /// It names that key as a primary of the endorsement hierarchy.
        Signer = "tpm.certify.signer",
        /// It was made over the expected qualifying data.
        Qualifying = "tpm.certify.qualifying",
        /// The certified key has its exact form and an algorithm that is accepted.
        KeyPublic = "tpm.certify.key.public",
        /// It is restricted to what its TPM made, was made in that TPM, and cannot leave it.
        KeyAttributes = "tpm.certify.key.attributes",
        /// It is the key that is expected.
        KeyExpected = "tpm.certify.key.expected",
        /// The statement is about that key.
        KeyName = "tpm.certify.key.name",
        /// That key is a primary of the endorsement hierarchy.
        KeyQualifiedName = "tpm.certify.key.qualified_name",
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
    #[error("key is {found}, expected {expected}")]
    OtherKey { found: KeyName, expected: KeyName },
    #[error("statement is about {}, the presented key is {expected}", Hex(found))]
    Name { found: Vec<u8>, expected: KeyName },
    #[error(
        "qualified name is {}, as a primary of the endorsement hierarchy it is {expected}",
        Hex(found)
    )]
    QualifiedName { found: Vec<u8>, expected: KeyName },
}

/// Runs every check on a key that another certifies.
#[must_use]
pub fn appraise_certified(
    evidence: &CertifiedEvidence<'_>,
    policy: &CertifiedPolicy<'_>,
) -> CertifiedAppraisal {
    let mut ledger = Ledger(Vec::new());
    let parsed = CertifyStatement::parse(evidence.certify);
    let named = parsed.as_ref().ok().map(|it| it.head.qualified_signer);
    let signer = Signer::read(evidence.signer, named);
    let (signer, voucher) = appraise_signer_key(&mut ledger, signer, policy.signer);
    let statement = ledger.note(CertifiedCheck::Structure, parsed, |_| {
        "well formed, type certify".into()
    });
    appraise_signature(&mut ledger, signer.as_ref(), evidence);
    appraise_signer(&mut ledger, signer.as_ref(), statement.as_ref());
    appraise_qualifying(&mut ledger, statement.as_ref(), policy);
    let key = appraise_key(&mut ledger, evidence, statement.as_ref(), policy);

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => check.code == CertifiedCheck::Qualifying,
    });
    let verified =
        key.zip(signer)
            .zip(voucher)
            .filter(|_| all_hold)
            .map(|((key, signer), voucher)| {
                VouchedKey::new(signer.plain, voucher.class, voucher.parties).passes_on_to(&key)
            });
    CertifiedAppraisal {
        checks: ledger.0,
        verified,
    }
}

fn appraise_signer_key(
    ledger: &mut Ledger<CertifiedCheck>,
    signer: Result<Signer, super::key::KeyError>,
    expected: ExpectedKey<'_>,
) -> (Option<Signer>, Option<Voucher>) {
    let signer = ledger.note(CertifiedCheck::SignerPublic, signer, |signer| {
        signer.plain.kind()
    });
    let Some(signer) = signer else {
        ledger.skip(CertifiedCheck::SignerAttributes, NO_KEY);
        ledger.skip(CertifiedCheck::SignerVouched, NO_KEY);
        return (None, None);
    };
    match &signer.tpm {
        Some(key) => {
            let attributes = appraise_attributes(key);
            ledger.note(CertifiedCheck::SignerAttributes, attributes, |found| {
                format!(
                    "{found:#010x}, {}: restricted, made in and bound to its tpm",
                    signer.area.as_str()
                )
            });
        }
        None => ledger.skip(CertifiedCheck::SignerAttributes, NO_ATTRIBUTES),
    }
    if matches!(expected, ExpectedKey::Nobody) {
        let reason = "nobody says whose key this is";
        ledger.skip(CertifiedCheck::SignerVouched, reason);
        return (Some(signer), None);
    }
    let voucher = signer.vouched(expected);
    let voucher = ledger.note(CertifiedCheck::SignerVouched, voucher, Voucher::to_string);
    (Some(signer), voucher)
}

fn appraise_signature(
    ledger: &mut Ledger<CertifiedCheck>,
    signer: Option<&Signer>,
    evidence: &CertifiedEvidence<'_>,
) {
    let Some(signer) = signer else {
        return ledger.skip(CertifiedCheck::Signature, NO_KEY);
    };
    let result = match &signer.tpm {
        Some(key) => key.verify(evidence.certify, evidence.signature),
        None => signer
            .plain
            .verify_plain(evidence.certify, evidence.signature),
    };
    ledger.note(CertifiedCheck::Signature, result, |()| {
        "holds under the certifying key".into()
    });
}

fn appraise_signer(
    ledger: &mut Ledger<CertifiedCheck>,
    signer: Option<&Signer>,
    statement: Option<&CertifyStatement<'_>>,
) {
    let Some(statement) = statement else {
        return ledger.skip(CertifiedCheck::Signer, NO_STATEMENT);
    };
    let Some(signer) = signer else {
        return ledger.skip(CertifiedCheck::Signer, NO_KEY);
    };
    let Some(key) = &signer.tpm else {
        return ledger.skip(CertifiedCheck::Signer, NO_ATTRIBUTES);
    };
    let (found, expected) = (statement.head.qualified_signer, key.name().qualified());
    let result = if found == expected.as_bytes() {
        Ok(key.name())
    } else {
        Err(Finding::Signer {
            found: found.to_vec(),
            expected,
        })
    };
    ledger.note(CertifiedCheck::Signer, result, |name| {
        format!("{name}, a primary key of the endorsement hierarchy")
    });
}

fn appraise_qualifying(
    ledger: &mut Ledger<CertifiedCheck>,
    statement: Option<&CertifyStatement<'_>>,
    policy: &CertifiedPolicy<'_>,
) {
    let Some(statement) = statement else {
        return ledger.skip(CertifiedCheck::Qualifying, NO_STATEMENT);
    };
    let found = statement.head.extra_data;
    let Some(expected) = &policy.qualifying else {
        let reason = "nobody named the qualifying data; what the certified key signs has its own";
        return ledger.skip(CertifiedCheck::Qualifying, reason);
    };
    let result = if found == expected.as_slice() {
        Ok(())
    } else {
        Err(Finding::Qualifying {
            found: found.to_vec(),
            expected: expected.clone(),
        })
    };
    ledger.note(CertifiedCheck::Qualifying, result, |()| {
        format!("{}, all {} bytes", Hex(found), found.len())
    });
}

fn appraise_key(
    ledger: &mut Ledger<CertifiedCheck>,
    evidence: &CertifiedEvidence<'_>,
    statement: Option<&CertifyStatement<'_>>,
    policy: &CertifiedPolicy<'_>,
) -> Option<TpmKey> {
    let key = TpmKey::parse(evidence.public);
    let key = ledger.note(CertifiedCheck::KeyPublic, key, |key| key.plain().kind());
    let Some(key) = key else {
        for code in [
            CertifiedCheck::KeyAttributes,
            CertifiedCheck::KeyExpected,
            CertifiedCheck::KeyName,
            CertifiedCheck::KeyQualifiedName,
        ] {
            ledger.skip(code, "the certified key's public area is malformed");
        }
        return None;
    };
    let attributes = appraise_attributes(&key);
    ledger.note(CertifiedCheck::KeyAttributes, attributes, |found| {
        format!("{found:#010x}: restricted, made in and bound to its tpm")
    });
    let (found, expected) = (key.name(), policy.certified);
    let result = if found == expected {
        Ok(found)
    } else {
        Err(Finding::OtherKey { found, expected })
    };
    ledger.note(CertifiedCheck::KeyExpected, result, |name| {
        format!("{name}, as expected")
    });
    let Some(statement) = statement else {
        ledger.skip(CertifiedCheck::KeyName, NO_STATEMENT);
        ledger.skip(CertifiedCheck::KeyQualifiedName, NO_STATEMENT);
        return None;
    };
    let expected = key.name();
    let result = if statement.name == expected.as_bytes() {
        Ok(())
    } else {
        Err(Finding::Name {
            found: statement.name.to_vec(),
            expected,
        })
    };
    ledger.note(CertifiedCheck::KeyName, result, |()| {
        "the statement is about this key".into()
    });
    let expected = key.name().qualified();
    let result = if statement.qualified_name == expected.as_bytes() {
        Ok(())
    } else {
        Err(Finding::QualifiedName {
            found: statement.qualified_name.to_vec(),
            expected,
        })
    };
    ledger.note(CertifiedCheck::KeyQualifiedName, result, |()| {
        "a primary key of the endorsement hierarchy".into()
    });
    Some(key)
}

#[cfg(test)]
mod tests;
