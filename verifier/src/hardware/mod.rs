//! What evidence of a gateway's platform shows, in the words of this verifier.
//!
//! In: the containers of an export ([`Set`]), and what they have to say. Out: [`Facts`], or which check
//! should be blamed and why. Everything that evidence is compared with comes from the binding, from the
//! trust file, or is computed; nothing comes from the evidence itself.
//!
//! Which containers there have to be, and what binds one to another, is one rule for each profile:
//! `docs/spec/evidence.md`, "Platform profiles".

mod platform;
mod tpm;

pub(crate) use platform::{Judged, PlatformFacts, Settings};
pub(crate) use tpm::TpmFacts;

use crate::codes::Code;
use countersign_record::binding::{Binding, Profile};
use countersign_record::body::EvidenceRef;
use countersign_record::body::lifecycle::{PLATFORM_EVIDENCE_KIND, TPM_EVIDENCE_KIND};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{Anchor, ArtifactDigest, Qualifying};
use countersign_record::evidence::{PlatformEvidence, TpmEvidence};

/// What verified evidence shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Of a TPM, where the profile has one.
    pub(crate) tpm: Option<TpmFacts>,
    /// Of the processor, where the profile has its report, and at openings alone where it has a TPM too.
    pub(crate) platform: Option<PlatformFacts>,
}

/// Evidence that does not show what it has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blame {
    /// The check that it fails.
    pub(crate) code: Code,
    /// Why.
    pub(crate) text: String,
}

impl Blame {
    fn one(code: Code, text: impl Into<String>) -> Vec<Self> {
        vec![Self {
            code,
            text: text.into(),
        }]
    }
}

/// What evidence is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// The opening of an epoch.
    Opening(Anchor),
    /// A renewal, a close, or an answer to a challenge.
    Later(Qualifying),
}

/// The containers of one use, read.
#[derive(Debug)]
pub(crate) struct Set {
    tpm: Option<TpmEvidence>,
    platform: Option<(PlatformEvidence, ArtifactDigest)>,
}

impl Set {
    /// Exactly what the profile names for this use, in its order, each under the digest that the entry holds.
    pub(crate) fn read(
        refs: &[EvidenceRef],
        profile: Profile,
        whose: Use,
        find: impl Fn(&str, ArtifactDigest) -> Option<Vec<u8>>,
    ) -> Result<Self, Vec<Blame>> {
        let kinds = kinds(profile, whose);
        if refs.len() != kinds.len() {
            let text = format!(
                "{} pieces of evidence are named, profile {profile} has exactly {}",
                refs.len(),
                kinds.len()
            );
            return Err(Blame::one(Code::EvidenceSet, text));
        }
        let mut set = Self {
            tpm: None,
            platform: None,
        };
        for (named, kind) in refs.iter().zip(kinds) {
            if named.kind != *kind {
                let text = "the evidence is of a kind that the profile does not have";
                return Err(Blame::one(Code::EvidenceSet, text));
            }
            let bytes = find(kind, named.digest).ok_or_else(|| {
                let text = format!("evidence {} does not stand before the entry", named.digest);
                Blame::one(Code::EvidenceSet, text)
            })?;
            set.keep(kind, &bytes, named.digest)?;
        }
        set.expect_profile(profile)?;
        Ok(set)
    }

    fn keep(&mut self, kind: &str, bytes: &[u8], digest: ArtifactDigest) -> Result<(), Vec<Blame>> {
        let malformed = |error: String| {
            Blame::one(
                Code::Evidence,
                format!("the evidence is malformed: {error}"),
            )
        };
        if kind == TPM_EVIDENCE_KIND {
            let read = TpmEvidence::from_bytes(bytes).map_err(|e| malformed(e.to_string()))?;
            self.tpm = Some(read);
        } else {
            let read = PlatformEvidence::from_bytes(bytes).map_err(|e| malformed(e.to_string()))?;
            self.platform = Some((read, digest));
        }
        Ok(())
    }

    fn expect_profile(&self, profile: Profile) -> Result<(), Vec<Blame>> {
        let of_tpm = self.tpm.as_ref().map(|e| e.profile);
        let of_platform = self.platform.as_ref().map(|(e, _)| e.profile);
        for found in [of_tpm, of_platform].into_iter().flatten() {
            if found != profile {
                let text =
                    format!("it is evidence of profile {found}, the opening names {profile}");
                return Err(Blame::one(Code::EvidenceSet, text));
            }
        }
        Ok(())
    }

    /// Appraises the set against a binding.
    pub(crate) fn appraise(
        &self,
        whose: Use,
        binding: &Binding,
        settings: &mut Settings<'_>,
    ) -> Result<Facts, Vec<Blame>> {
        let key = self.tpm.as_ref().map(|e| e.ak_public.0.as_slice());
        let platform = self
            .platform
            .as_ref()
            .map(|(evidence, _)| platform::appraise(evidence, key, whose, binding, settings))
            .transpose()?;
        let tpm = self
            .tpm
            .as_ref()
            .map(|evidence| tpm::appraise(evidence, self.qualifying(whose), binding))
            .transpose()?;
        Ok(Facts { tpm, platform })
    }

    /// What a TPM has signed.
    fn qualifying(&self, whose: Use) -> Qualifying {
        match (whose, &self.platform) {
            (Use::Opening(anchor), None) => anchor.qualifying(),
            (Use::Opening(anchor), Some((_, digest))) => anchor.qualifying_beside(*digest),
            (Use::Later(qualifying), _) => qualifying,
        }
    }
}

/// Kinds of evidence of a profile, in order.
pub(crate) fn kinds(profile: Profile, whose: Use) -> &'static [&'static str] {
    match (profile.has_tpm(), profile.has_report(), whose) {
        (true, true, Use::Opening(_)) => &[TPM_EVIDENCE_KIND, PLATFORM_EVIDENCE_KIND],
        (true, _, _) => &[TPM_EVIDENCE_KIND],
        (false, _, _) => &[PLATFORM_EVIDENCE_KIND],
    }
}
