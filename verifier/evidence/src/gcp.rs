//! Google Cloud: the launch endorsement, by which Google says which firmware a launch measurement is of.
//!
//! In: [`EndorsementEvidence`], the bytes as received, and [`EndorsementPolicy`]. Out:
//! [`EndorsementAppraisal`]: every check by name, and, only if none failed, the firmware
//! ([`VerifiedFirmware`]). Relies on `snp` or `tdx` for the measurement, which has to be a verified one, and
//! on `countersign-certificates` for X.509.
//!
//! What it shows: the holder of the pinned root signed that a firmware with this digest measures to this
//! value. It shows nothing of what the firmware booted: the guest's TPM, which Google's hypervisor runs,
//! says that ([`crate::tpm::appraise_ak`]).
//!
//! **Not proven on captured evidence.** No endorsement and no copy of Google's root
//! (`GCE-cc-tcb-root_1.crt`) were at hand: the layout is from Google's `endorsement.proto`, the signature
//! (RSASSA-PSS, SHA-256, salt of 32 bytes) from its verifier, and tests use endorsements under a root of
//! their own. So no root is built in: a trust file has to name one, and every appraisal says so
//! ([`EndorsementCheck::Proven`]).
//!
//! Checks: form, certificate and issuers, root, validity at the time, signature, firmware, measurement.
//! Spec: `docs/spec/gcp.md`.

mod endorsement;
mod protobuf;

pub use endorsement::{
    GoldenMeasurement, LaunchEndorsement, MAX_ENDORSEMENT_BYTES, SnpMeasurements, TdxMeasurement,
    TdxMeasurements,
};
pub use protobuf::ProtobufError;

use countersign_certificates::algorithm::{Hash, Scheme, Signed};
use countersign_certificates::pem::{self, PemError};
use countersign_certificates::{Certificate, CertificateError, usage};
use sha2::{Digest as _, Sha384};
use thiserror::Error;

use crate::Moment;
use crate::appraisal::{Check, Ledger, Outcome};
use crate::chains::{Chains, Link, LinkKind};
use crate::hex::Hex;

/// What a machine presented, untouched.
#[derive(Debug, Clone, Copy)]
pub struct EndorsementEvidence<'a> {
    /// `VMLaunchEndorsement`.
    pub endorsement: &'a [u8],
    /// The launch measurement that `snp` or `tdx` verified.
    pub measurement: LaunchMeasurement,
}

/// A verified launch measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchMeasurement {
    /// MEASUREMENT of a SEV-SNP report.
    Snp([u8; 48]),
    /// MRTD of a TDX quote.
    Tdx([u8; 48]),
}

/// What evidence has to say. None of it may come from the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementPolicy {
    /// SHA-384 of the `SubjectPublicKeyInfo` of each root that may endorse. An empty list accepts none.
    pub roots: Vec<[u8; 48]>,
    /// Digests of firmware that is accepted; `None` checks nothing, and says so; an empty list accepts none.
    pub firmware: Option<Vec<[u8; 48]>>,
    /// Lowest security version that is accepted; `None` checks nothing, and says so.
    pub svn_floor: Option<u32>,
}

impl EndorsementPolicy {
    /// Nobody may endorse: the checks of form, path and signature run, and nothing is verified.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            roots: Vec::new(),
            firmware: None,
            svn_floor: None,
        }
    }
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementAppraisal {
    checks: Vec<Check<EndorsementCheck>>,
    verified: Option<VerifiedFirmware>,
}

impl EndorsementAppraisal {
    /// All checks, each once, in the order of [`EndorsementCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<EndorsementCheck>] {
        &self.checks
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedFirmware> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<EndorsementCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// A firmware that Google endorses, all checks passed. Only [`appraise_endorsement`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedFirmware {
    firmware: [u8; 48],
    svn: u32,
    signed_at: Moment,
}

impl VerifiedFirmware {
    /// SHA-384 of the firmware.
    #[must_use]
    pub fn firmware(&self) -> [u8; 48] {
        self.firmware
    }

    /// Google's security version of it.
    #[must_use]
    pub fn svn(&self) -> u32 {
        self.svn
    }

    /// When Google signed.
    #[must_use]
    pub fn signed_at(&self) -> Moment {
        self.signed_at
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_endorsement`]. Their texts are stable: reports and tools rely on them.
    EndorsementCheck {
        /// The endorsement has its exact form.
        Structure = "gcp.endorsement.structure",
        /// Certificates are well formed, and each issuer issued the one before.
        Path = "gcp.endorsement.path",
        /// The root's key is pinned.
        Root = "gcp.endorsement.root",
        /// All certificates were valid at the time.
        Validity = "gcp.endorsement.validity",
        /// The certificate's key signed the endorsement.
        Signature = "gcp.endorsement.signature",
        /// The endorsement was not signed after the time.
        SignedBefore = "gcp.endorsement.time",
        /// The measurement is among those endorsed.
        Measurement = "gcp.endorsement.measurement",
        /// The firmware is one that the policy names.
        Firmware = "gcp.endorsement.firmware",
        /// Its security version is not below the policy's floor.
        Svn = "gcp.endorsement.svn",
        /// This format was met in captured evidence. It was not, and this is never more than not checked.
        Proven = "gcp.endorsement.proven",
    }
}

impl EndorsementCheck {
    /// Whether an auditor may see it one way or the other: not what makes the endorsement genuine.
    #[must_use]
    pub fn is_rule(self) -> bool {
        match self {
            Self::Root | Self::Firmware | Self::Svn | Self::Proven => true,
            Self::Structure
            | Self::Path
            | Self::Validity
            | Self::Signature
            | Self::SignedBefore
            | Self::Measurement => false,
        }
    }
}

/// Why a check fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("issuers: {0}")]
    Pem(#[from] PemError),
    #[error("issuers are not text")]
    NotText,
    #[error("there are no issuers, so there is no root")]
    NoIssuer,
    #[error("key of the root hashes to {}, which is not pinned", Hex(found))]
    NotPinned { found: Vec<u8> },
    #[error("signed at {signed}, the time is {at}")]
    Later { signed: Moment, at: Moment },
    #[error("no measurement of {kind} is endorsed")]
    NotOfKind { kind: &'static str },
    #[error(
        "measurement {} is not among the {count} that are endorsed",
        Hex(found)
    )]
    NotEndorsed { found: Vec<u8>, count: usize },
    #[error("firmware is {}, which the policy does not name", Hex(found))]
    Firmware { found: Vec<u8> },
    #[error("security version is {found}, the policy accepts {floor} and later")]
    Svn { found: u32, floor: u32 },
}

/// Runs every check on a launch endorsement, at a time.
#[must_use]
pub fn appraise_endorsement(
    evidence: &EndorsementEvidence<'_>,
    policy: &EndorsementPolicy,
    at: Moment,
    chains: &mut Chains,
) -> EndorsementAppraisal {
    let mut ledger = Ledger(Vec::new());
    let parsed = LaunchEndorsement::parse(evidence.endorsement);
    let parsed = ledger.note(EndorsementCheck::Structure, parsed, |it| {
        format!("{} signed bytes", it.signed.len())
    });
    let verified = match &parsed {
        Some(it) => {
            let signed = appraise_chain(&mut ledger, it, policy, at, chains);
            let known = appraise_contents(&mut ledger, it, evidence.measurement, policy, at);
            signed.and(known)
        }
        None => {
            for code in EndorsementCheck::ALL.iter().skip(1) {
                if *code != EndorsementCheck::Proven {
                    ledger.skip(*code, "the endorsement is malformed");
                }
            }
            None
        }
    };
    ledger.skip(EndorsementCheck::Proven, "not proven on captured evidence");
    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => matches!(
            check.code,
            EndorsementCheck::Firmware | EndorsementCheck::Svn | EndorsementCheck::Proven
        ),
    });
    EndorsementAppraisal {
        checks: ledger.0,
        verified: verified.filter(|_| all_hold),
    }
}

fn appraise_chain(
    ledger: &mut Ledger<EndorsementCheck>,
    endorsement: &LaunchEndorsement<'_>,
    policy: &EndorsementPolicy,
    at: Moment,
    chains: &mut Chains,
) -> Option<()> {
    let golden = &endorsement.golden;
    let blocks = issuers(golden.issuers);
    let parsed = blocks.and_then(|blocks| {
        // From the root down, in the endorsement; the root comes last here.
        let path = path(golden.certificate, &blocks, chains)?;
        Ok((blocks, path))
    });
    let parsed = ledger.note(EndorsementCheck::Path, parsed, |(_, count)| {
        format!("{count} issuers, each issued the one before")
    });
    let Some((blocks, _)) = parsed else {
        let reason = "certificates are malformed or lead nowhere";
        ledger.skip(EndorsementCheck::Root, reason);
        ledger.skip(EndorsementCheck::Validity, reason);
        ledger.skip(EndorsementCheck::Signature, reason);
        return None;
    };
    let root = pinned(&blocks, policy);
    ledger.note(EndorsementCheck::Root, root, |()| {
        "the root's key is pinned".into()
    });
    let valid = valid(golden.certificate, &blocks, at);
    ledger.note(EndorsementCheck::Validity, valid, |()| {
        format!("all certificates were valid at {at}")
    });
    let signature = signed(endorsement, chains);
    ledger.note(EndorsementCheck::Signature, signature, |()| {
        "holds under the certificate's key".into()
    })
}

fn issuers(text: &[u8]) -> Result<Vec<Vec<u8>>, Finding> {
    let text = core::str::from_utf8(text).map_err(|_| Finding::NotText)?;
    let mut blocks = pem::blocks(text, pem::CERTIFICATE)?;
    blocks.reverse();
    if blocks.is_empty() {
        return Err(Finding::NoIssuer);
    }
    Ok(blocks)
}

fn path(leaf: &[u8], issuers: &[Vec<u8>], chains: &mut Chains) -> Result<usize, Finding> {
    let leaf = Certificate::parse(leaf)?;
    if leaf
        .extensions()
        .constraints
        .as_ref()
        .is_some_and(|it| it.issuer)
    {
        return Err(CertificateError::Issuer("an issuer endorses no firmware").into());
    }
    if leaf
        .extensions()
        .usage
        .is_some_and(|it| it & usage::DIGITAL_SIGNATURE == 0)
    {
        return Err(CertificateError::Issuer("the endorser's key is not for signatures").into());
    }
    if leaf.extensions().unknown_critical {
        return Err(CertificateError::CriticalExtension("the endorser's certificate").into());
    }
    let mut issued = leaf;
    for (below, bytes) in (0_u8..).zip(issuers) {
        let issuer = Certificate::parse(bytes)?;
        let link = Link {
            kind: LinkKind::Certificate { below },
            issuer: issuer.whole(),
            subject: issued.whole(),
            signature: &[],
        };
        chains.verify(link, || issuer.issued(&issued, below.into()))?;
        issued = issuer;
    }
    Ok(issuers.len())
}

fn pinned(issuers: &[Vec<u8>], policy: &EndorsementPolicy) -> Result<(), Finding> {
    let root = Certificate::parse(issuers.last().ok_or(Finding::NoIssuer)?)?;
    let found: [u8; 48] = Sha384::digest(root.spki()).into();
    if policy.roots.contains(&found) {
        Ok(())
    } else {
        Err(Finding::NotPinned {
            found: found.to_vec(),
        })
    }
}

fn valid(leaf: &[u8], issuers: &[Vec<u8>], at: Moment) -> Result<(), CertificateError> {
    Certificate::parse(leaf)?.valid(at.0, "the endorser's certificate")?;
    issuers
        .iter()
        .try_for_each(|it| Certificate::parse(it)?.valid(at.0, "an issuer's certificate"))
}

fn signed(
    endorsement: &LaunchEndorsement<'_>,
    chains: &mut Chains,
) -> Result<(), CertificateError> {
    let certificate = Certificate::parse(endorsement.golden.certificate)?;
    let key = certificate.key("the endorser")?;
    let link = Link {
        kind: LinkKind::Statement,
        issuer: certificate.whole(),
        subject: endorsement.signed,
        signature: endorsement.signature,
    };
    let signed = Signed {
        message: endorsement.signed,
        signature: endorsement.signature,
    };
    chains.verify(link, || {
        key.verify(Scheme::RsaPss(Hash::Sha256), &signed, "the endorsement")
    })
}

fn appraise_contents(
    ledger: &mut Ledger<EndorsementCheck>,
    endorsement: &LaunchEndorsement<'_>,
    measurement: LaunchMeasurement,
    policy: &EndorsementPolicy,
    at: Moment,
) -> Option<VerifiedFirmware> {
    let golden = &endorsement.golden;
    let signed_at = Moment(golden.at_ms);
    let before = if signed_at <= at {
        Ok(())
    } else {
        Err(Finding::Later {
            signed: signed_at,
            at,
        })
    };
    ledger.note(EndorsementCheck::SignedBefore, before, |()| {
        format!("signed at {signed_at}")
    });
    let svn = endorsed(golden, measurement);
    let svn = ledger.note(EndorsementCheck::Measurement, svn, |_| {
        "the measurement is endorsed".into()
    });
    match &policy.firmware {
        None => ledger.skip(
            EndorsementCheck::Firmware,
            format!("nobody named firmware; it is {}", Hex(&golden.firmware)),
        ),
        Some(named) => {
            let result = if named.contains(&golden.firmware) {
                Ok(())
            } else {
                Err(Finding::Firmware {
                    found: golden.firmware.to_vec(),
                })
            };
            ledger.note(EndorsementCheck::Firmware, result, |()| {
                format!("{}, as named", Hex(&golden.firmware))
            });
        }
    }
    match (svn, policy.svn_floor) {
        (None, _) => ledger.skip(EndorsementCheck::Svn, "the measurement is not endorsed"),
        (Some(found), None) => ledger.skip(
            EndorsementCheck::Svn,
            format!("nobody named a lowest version; it is {found}"),
        ),
        (Some(found), Some(floor)) => {
            let result = if found >= floor {
                Ok(())
            } else {
                Err(Finding::Svn { found, floor })
            };
            ledger.note(EndorsementCheck::Svn, result, |()| {
                format!("{found}, floor is {floor}")
            });
        }
    }
    Some(VerifiedFirmware {
        firmware: golden.firmware,
        svn: svn?,
        signed_at,
    })
}

fn endorsed(
    golden: &GoldenMeasurement<'_>,
    measurement: LaunchMeasurement,
) -> Result<u32, Finding> {
    let not_endorsed = |found: [u8; 48], count| Finding::NotEndorsed {
        found: found.to_vec(),
        count,
    };
    match measurement {
        LaunchMeasurement::Snp(found) => {
            let kind = "sev-snp";
            let snp = golden.snp.as_ref().ok_or(Finding::NotOfKind { kind })?;
            if snp.by_processors.iter().any(|(_, it)| *it == found) {
                Ok(snp.svn)
            } else {
                Err(not_endorsed(found, snp.by_processors.len()))
            }
        }
        LaunchMeasurement::Tdx(found) => {
            let kind = "tdx";
            let tdx = golden.tdx.as_ref().ok_or(Finding::NotOfKind { kind })?;
            if tdx.by_memory.iter().any(|it| it.mrtd == found) {
                Ok(tdx.svn)
            } else {
                Err(not_endorsed(found, tdx.by_memory.len()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
