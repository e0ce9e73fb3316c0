//! What stands beside a TPM's evidence when an epoch opens: reports of the platform, and what vendors say of it.
//!
//! In: the platform's attester, and the collateral of this site ([`crate::collateral`]). Out: the container, kept
//! beside the log, and its digest, which the TPM signs over.
//!
//! Spec: `docs/spec/evidence.md`, "Platform profiles".

use super::Opened;
use super::epoch::profile;
use crate::collateral::Collateral;
use anyhow::Context as _;
use countersign_platform::{Attester as _, PlatformReport, PlatformWord, Qualifying};
use countersign_record::body::EvidenceRef;
use countersign_record::body::lifecycle::PLATFORM_EVIDENCE_KIND;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::Anchor;
use countersign_record::evidence::{PlatformEvidence, PlatformKey};

/// Whether the platform would give all that an opening needs. Moves nothing and keeps nothing.
///
/// # Errors
/// What is missing.
pub fn expect(opened: &Opened) -> anyhow::Result<()> {
    let found = opened
        .attester
        .platform(Qualifying([0; 32]))
        .context("the platform does not report")?;
    if found.is_some() {
        Collateral::read(&opened.site)?.of(profile(opened.attester.profile()))?;
    }
    Ok(())
}

/// The platform's evidence of an opening; nothing where a TPM stands alone.
///
/// # Errors
/// If the platform does not give what its profile needs, or collateral is missing.
pub fn beside(opened: &Opened, anchor: Anchor) -> anyhow::Result<Option<EvidenceRef>> {
    let found = opened
        .attester
        .platform(Qualifying(anchor.qualifying().0))
        .context("the platform does not report")?;
    let Some(PlatformReport { paravisor, key }) = found else {
        return Ok(None);
    };
    let profile = profile(opened.attester.profile());
    let collateral = Collateral::read(&opened.site)?;
    let evidence = PlatformEvidence {
        profile,
        report: None,
        paravisor: paravisor.map(Bytes),
        key: key.map(|word| {
            let PlatformWord {
                public,
                certify,
                certify_signature,
            } = word;
            PlatformKey {
                public: Bytes(public),
                certify: Bytes(certify),
                certify_signature: Bytes(certify_signature),
            }
        }),
        endorsements: collateral.of(profile)?,
    };
    let digest = opened
        .journal
        .put_artifact(PLATFORM_EVIDENCE_KIND, &evidence.to_bytes())?;
    Ok(Some(EvidenceRef {
        kind: PLATFORM_EVIDENCE_KIND.to_owned(),
        digest,
    }))
}
